//! The httpd to run: where it is, what it was built with, where its modules are.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::arguments::Mpm;
use crate::fault::Fault;

/// An httpd of this machine.
#[derive(Debug)]
pub struct Httpd {
    /// The program.
    pub program: PathBuf,
    /// As it says itself, for example `2.4.62`.
    pub version: String,
    /// Where its modules are.
    pub modules: PathBuf,
    /// Source names of the modules that are part of the program, for example `mod_so.c`.
    built_in: BTreeSet<String>,
}

/// Folders that are searched after those of `PATH`: an ordinary user's seldom has them.
const FOLDERS: [&str; 4] = [
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/local/apache2/bin",
    "/opt/apache2/bin",
];

impl Httpd {
    /// Finds it: `program` if given, else the one that apxs was built with, else the first on the `PATH`.
    pub fn find(program: Option<&Path>) -> Result<Httpd, Fault> {
        let apxs = on_path("apxs").or_else(|| on_path("apxs2"));
        let query = |name| {
            apxs.as_deref()
                .and_then(|apxs| output(apxs, &["-q", name]))
                .map(PathBuf::from)
        };
        let named = || {
            let program = query("SBINDIR")?.join(query("PROGNAME")?);
            runs(&program).then_some(program)
        };
        let program = match program {
            Some(program) => program.to_owned(),
            None => named().or_else(|| on_path("apache2")).or_else(|| on_path("httpd")).ok_or_else(|| {
                Fault::new(630, "no httpd on this machine; install it (Debian: apt-get install apache2-bin), or name it by --httpd")
            })?,
        };
        let about = output(&program, &["-v"]).ok_or_else(|| {
            Fault::new(
                631,
                format!("{program:?} does not run as an httpd; correct --httpd, or install httpd again"),
            )
        })?;
        let version = version(&about).ok_or_else(|| {
            Fault::new(
                631,
                format!("{program:?} is not an httpd: it does not tell its version by -v; correct --httpd"),
            )
        })?;
        if !version.starts_with("2.4.") {
            return Err(Fault::new(
                632,
                format!("{program:?} is httpd {version}; 2.4 is needed"),
            ));
        }
        let built_in = output(&program, &["-l"]).unwrap_or_default();
        let built_in: BTreeSet<String> = built_in.lines().map(|line| line.trim().to_owned()).collect();
        let modules = query("LIBEXECDIR").into_iter().chain(module_folders(&program));
        let modules = modules
            .into_iter()
            .find(|folder| folder.join("mod_authz_core.so").is_file());
        let modules = modules.ok_or_else(|| {
            Fault::new(
                633,
                format!("the modules of {program:?} are nowhere to be found; install them again with it"),
            )
        })?;
        Ok(Httpd {
            program,
            version,
            modules,
            built_in,
        })
    }

    /// The MPMs that it can run with.
    pub fn mpms(&self) -> Vec<Mpm> {
        // One that is built in excludes the others.
        match Mpm::ALL
            .into_iter()
            .find(|mpm| self.built_in.contains(&format!("{}.c", mpm.name())))
        {
            Some(only) => vec![only],
            None => Mpm::ALL
                .into_iter()
                .filter(|mpm| self.file(&format!("mpm_{}", mpm.name())).is_file())
                .collect(),
        }
    }

    /// The MPM to use: `wanted`, else the best that is there.
    pub fn mpm(&self, wanted: Option<Mpm>) -> Result<Mpm, Fault> {
        let mpms = self.mpms();
        match (wanted, mpms.first()) {
            (Some(wanted), _) if mpms.contains(&wanted) => Ok(wanted),
            (None, Some(first)) => Ok(*first),
            _ => {
                let names: Vec<&str> = mpms.iter().map(|mpm| mpm.name()).collect();
                let wanted = wanted.map_or("event, worker or prefork", Mpm::name);
                Err(Fault::new(
                    634,
                    format!(
                        "{:?} has no MPM {wanted}, only [{}]; install it or choose another by --mpm",
                        self.program,
                        names.join(", ")
                    ),
                ))
            }
        }
    }

    /// The file of a module to load; `None` when it is built in. `name` is without `mod_`.
    pub fn module(&self, name: &str) -> Result<Option<PathBuf>, Fault> {
        let file = self.file(name);
        match (self.built_in.contains(&format!("mod_{name}.c")), file.is_file()) {
            (true, _) => Ok(None),
            (false, true) => Ok(Some(file)),
            (false, false) => Err(Fault::new(
                635,
                format!("httpd's module {file:?} is missing; install httpd's own modules again"),
            )),
        }
    }

    /// The file of an MPM to load; `None` when it is built in.
    pub fn mpm_module(&self, mpm: Mpm) -> Option<PathBuf> {
        let file = self.file(&format!("mpm_{}", mpm.name()));
        file.is_file().then_some(file)
    }

    /// Lets it read a configuration, without running anything.
    pub fn test(&self, configuration: &Path) -> Result<(), Fault> {
        let mut command = Command::new(&self.program);
        let run = command
            .arg("-t")
            .arg("-f")
            .arg(configuration)
            .stdin(Stdio::null())
            .output();
        let said = match run {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => String::from_utf8_lossy(&output.stderr)
                .split_ascii_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error.to_string(),
        };
        Err(Fault::new(
            636,
            format!("{:?} refuses a configuration with all of it: {said}", self.program),
        ))
    }

    /// The `PidFile` that a configuration names.
    ///
    /// # Errors
    /// With httpd's own words.
    pub fn pid_file(&self, configuration: &Path) -> Result<PathBuf, String> {
        let mut command = Command::new(&self.program);
        let run = command
            .args(["-t", "-D", "DUMP_RUN_CFG", "-f"])
            .arg(configuration)
            .stdin(Stdio::null())
            .output();
        let output = run.map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout);
        let file = said.lines().find_map(|line| line.strip_prefix("PidFile: "));
        file.map(|file| PathBuf::from(file.trim_matches('"'))).ok_or_else(|| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            complaint.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.modules.join(format!("mod_{name}.so"))
    }
}

/// Where distributions and httpd's own installation put modules.
fn module_folders(program: &Path) -> Vec<PathBuf> {
    let mut folders = [
        "/usr/lib/apache2/modules",
        "/usr/lib64/httpd/modules",
        "/usr/lib/httpd/modules",
    ]
    .map(PathBuf::from)
    .to_vec();
    if let Some(root) = program.parent().and_then(Path::parent) {
        // An installation in a folder of its own has its modules there, and they fit no other httpd.
        folders.insert(usize::from(root == Path::new("/usr")), root.join("modules"));
    }
    folders
}

/// `Server version: Apache/2.4.62 (Debian)` → `2.4.62`
fn version(about: &str) -> Option<String> {
    let (_, rest) = about.split_once("Apache/")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    Some(rest[..end].to_owned()).filter(|version| !version.is_empty())
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).filter(|folder| folder.is_absolute());
    folders
        .chain(FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| runs(program))
}

fn runs(program: &Path) -> bool {
    program
        .metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// What a program prints, without its last line end; `None` when it fails.
fn output(program: &Path, arguments: &[impl AsRef<OsStr>]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let debian = "Server version: Apache/2.4.62 (Debian)\nServer built:   2024-10-04T15:21:08";
        assert_eq!(version(debian).as_deref(), Some("2.4.62"));
        assert_eq!(version("Server version: Apache/2.4.7").as_deref(), Some("2.4.7"));
        assert_eq!(version("Apache/"), None);
        assert_eq!(version("nginx/1.2"), None);
    }

    #[test]
    fn an_own_installation_comes_first() {
        assert_eq!(
            module_folders(Path::new("/usr/local/apache2/bin/httpd"))[0],
            Path::new("/usr/local/apache2/modules")
        );
        assert_eq!(
            module_folders(Path::new("/usr/sbin/apache2"))[0],
            Path::new("/usr/lib/apache2/modules")
        );
    }
}
