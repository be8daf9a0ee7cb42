//! Which Python is meant, and whether it can be loaded into a process.
//!
//! [`find`] follows the directives `WSGIPython` and `WSGIPythonHome` to an interpreter, asks that interpreter once about
//! itself, and judges the answer: version, build, shared library, virtual environment. Nothing of the site's own code
//! runs for that (no `site`, no `.pth`, no environment).

mod error;
mod probe;
mod reach;

use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use error::{Directive, PythonError};
use probe::Answer;
pub use reach::Who;

/// The oldest Python that can load the host: its stable ABI is that of 3.10.
pub const OLDEST: (u8, u8) = (3, 10);

/// Where a Python is looked for when no directive names one.
pub const DEFAULTS: [&str; 2] = ["/usr/bin/python3", "/usr/local/bin/python3"];

/// What the configuration says about the Python to use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// `WSGIPython`: the path of an interpreter.
    pub python: Option<&'a Path>,
    /// `WSGIPythonHome`: the folder of a virtual environment or of an installation.
    pub home: Option<&'a Path>,
}

/// Another user to ask an interpreter as. Only root may.
#[derive(Clone, Copy, Debug)]
pub struct RunAs<'a> {
    /// The user.
    pub who: &'a Who,
    /// Makes the command run as that user, and cuts it off from this process: its terminal, into which whoever holds it
    /// could type, and its descriptors. The interpreter may be that user's own program.
    pub switch: fn(&mut Command, &Who),
}

/// A Python that can be loaded into a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// The interpreter; what `sys.executable` should be.
    pub executable: PathBuf,
    /// Major, minor and micro version.
    pub version: (u8, u8, u8),
    /// The shared library to load (`libpython3.X.so…`).
    pub library: PathBuf,
    /// Folder that leads `PATH` while Python starts: it finds its `pyvenv.cfg` or its prefix from the `python3` there.
    pub bin: PathBuf,
    /// `PYTHONHOME` while Python starts. Set only where `bin` does not lead to the right prefix, and never to a virtual
    /// environment: Python would look for its standard library there.
    pub home: Option<PathBuf>,
    /// The virtual environment that the interpreter belongs to.
    pub venv: Option<PathBuf>,
    /// Where the interpreter and its standard library are installed.
    pub base_prefix: PathBuf,
}

/// Finds the Python of `choice` and makes sure that a process of the user `run_as` (`None`: this process's
/// user) can load it.
///
/// Runs the interpreter once, as that user, for at most ten seconds. Only root may name another user.
///
/// # Errors
/// The first thing that is wrong, worded for the administrator in one line.
pub fn find(choice: &Choice, run_as: Option<RunAs<'_>>) -> Result<Python, PythonError> {
    let Examined { found, answer, target } = examine(choice, run_as)?;
    let library = library(&found.executable, &answer, found.version)?;
    if let Some(user) = run_as
        && let Some(at) = user.who.barrier(&library)
    {
        let uid = user.who.uid;
        return Err(PythonError::Barrier { path: library, at, uid });
    }
    let bin = found.executable.parent().unwrap_or(Path::new("/")).to_owned();
    let home = match &target {
        // Python takes the first `python3` on PATH for itself; another one there has another prefix.
        Target::Interpreter(_) if found.venv.is_none() && !same_file(&bin.join("python3"), &found.executable) => {
            Some(answer.base_prefix.clone())
        }
        _ => found.home,
    };
    if let Some(path) = [Some(&bin), home.as_ref()]
        .into_iter()
        .flatten()
        .find(|path| has_colon(path))
    {
        return Err(PythonError::Colon { path: path.clone() });
    }
    Ok(Python {
        executable: found.executable,
        version: found.version,
        library,
        bin,
        home,
        venv: found.venv,
        base_prefix: answer.base_prefix,
    })
}

/// A Python that can be run as a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The interpreter.
    pub executable: PathBuf,
    /// Major, minor and micro version.
    pub version: (u8, u8, u8),
    /// `PYTHONHOME`, for an installation that the interpreter is not part of by itself.
    pub home: Option<PathBuf>,
    /// The virtual environment that the interpreter belongs to.
    pub venv: Option<PathBuf>,
}

/// As [`find`], for a Python that is to be run rather than loaded: it needs no shared library.
///
/// # Errors
/// As [`find`].
pub fn find_interpreter(choice: &Choice, run_as: Option<RunAs<'_>>) -> Result<Interpreter, PythonError> {
    examine(choice, run_as).map(|examined| examined.found)
}

/// What the interpreter that `choice` leads to says of itself.
struct Examined {
    found: Interpreter,
    answer: Answer,
    target: Target,
}

fn examine(choice: &Choice, run_as: Option<RunAs<'_>>) -> Result<Examined, PythonError> {
    let (target, directive) = target(choice)?;
    let executable = match &target {
        Target::Interpreter(path) => path.clone(),
        Target::Venv(home) => home.join("bin/python3"),
        Target::Installation { home, executable } => match executable {
            Some(path) => path.clone(),
            None => installed(home).ok_or_else(|| PythonError::NoHome { home: home.clone() })?,
        },
    };
    // The interpreter runs in another working directory than this process.
    let executable = std::path::absolute(&executable).unwrap_or(executable);
    check_file(&executable, directive)?;
    if let Some(venv) = venv_of(&executable) {
        check_base(&venv)?;
    }
    let answer = probe::ask(&executable, run_as)?;
    // A wrapper (a shim of pyenv) is left out: what it has started is the interpreter.
    let executable = if same_file(&answer.executable, &executable) {
        executable
    } else {
        answer.executable.clone()
    };
    let venv = venv_of(&executable);
    let version = judge(&executable, &answer)?;
    if let Some(venv) = &venv {
        check_version(venv, version)?;
    }
    if let (Target::Venv(home), Some(python)) = (&target, choice.python) {
        check_same(home, version, python, run_as)?;
    }
    let home = match &target {
        Target::Installation { home, .. } if !home.join(library_folder(version)).join("os.py").is_file() => {
            return Err(PythonError::NoHome { home: home.clone() });
        }
        Target::Installation { home, .. } => Some(home.clone()),
        _ => None,
    };
    let found = Interpreter {
        executable,
        version,
        home,
        venv,
    };
    Ok(Examined { found, answer, target })
}

/// What the directives point to.
enum Target {
    Interpreter(PathBuf),
    Venv(PathBuf),
    Installation { home: PathBuf, executable: Option<PathBuf> },
}

fn target(choice: &Choice) -> Result<(Target, Directive), PythonError> {
    match (choice.home, choice.python) {
        (Some(home), _) if home.join("pyvenv.cfg").is_file() => Ok((Target::Venv(home.to_owned()), Directive::Home)),
        (Some(home), python) if home.join("bin").is_dir() => {
            let directive = if python.is_some() {
                Directive::Python
            } else {
                Directive::Home
            };
            let target = Target::Installation {
                home: home.to_owned(),
                executable: python.map(Path::to_owned),
            };
            Ok((target, directive))
        }
        (Some(home), _) if home.exists() => Err(PythonError::NoHome { home: home.to_owned() }),
        (Some(home), _) => Err(PythonError::Missing {
            path: home.to_owned(),
            directive: Directive::Home,
        }),
        (None, Some(python)) => Ok((Target::Interpreter(python.to_owned()), Directive::Python)),
        (None, None) => {
            let found = DEFAULTS.iter().map(Path::new).find(|path| path.exists());
            let path = found.unwrap_or(Path::new(DEFAULTS[0]));
            Ok((Target::Interpreter(path.to_owned()), Directive::Default))
        }
    }
}

/// The interpreter of an installation: `bin/python3`, else the newest `bin/python3.X`.
fn installed(home: &Path) -> Option<PathBuf> {
    let bin = home.join("bin");
    let plain = bin.join("python3");
    if plain.exists() {
        return Some(plain);
    }
    let minor = |name: &str| name.strip_prefix("python3.")?.parse::<u8>().ok();
    let entries = fs::read_dir(&bin).ok()?;
    let versions = entries.filter_map(|entry| minor(entry.ok()?.file_name().to_str()?));
    versions.max().map(|minor| bin.join(format!("python3.{minor}")))
}

/// There is a file to run.
fn check_file(path: &Path, directive: Directive) -> Result<(), PythonError> {
    match fs::metadata(path) {
        Ok(file) if file.is_file() => Ok(()),
        Ok(_) => Err(PythonError::NoFile { path: path.to_owned() }),
        Err(_) => Err(match fs::read_link(path) {
            Ok(to) => PythonError::Dangling {
                path: path.to_owned(),
                to,
            },
            Err(_) => PythonError::Missing {
                path: path.to_owned(),
                directive,
            },
        }),
    }
}

/// The virtual environment of an interpreter, found as Python itself does: by a `pyvenv.cfg` beside the file or one
/// folder up, without resolving symbolic links.
fn venv_of(executable: &Path) -> Option<PathBuf> {
    let mut folders = executable.ancestors().skip(1).take(2);
    folders
        .find(|folder| folder.join("pyvenv.cfg").is_file())
        .map(Path::to_owned)
}

/// One value of a `pyvenv.cfg`: lines `key = value`, keys without regard to case (Python's `site` module).
fn setting(text: &str, key: &str) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(key))?;
    Some(value.trim().to_owned())
}

fn settings(venv: &Path) -> String {
    let bytes = read_small(&venv.join("pyvenv.cfg")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The Python that the virtual environment was made from is still there.
fn check_base(venv: &Path) -> Result<(), PythonError> {
    match setting(&settings(venv), "home") {
        Some(base) if !Path::new(&base).is_dir() => Err(PythonError::BaseGone {
            venv: venv.to_owned(),
            base: PathBuf::from(base),
        }),
        _ => Ok(()),
    }
}

/// The virtual environment was made for this version: after an upgrade of the system's Python its packages would not be
/// found.
fn check_version(venv: &Path, version: (u8, u8, u8)) -> Result<(), PythonError> {
    if venv.join(library_folder(version)).is_dir() {
        return Ok(());
    }
    let text = settings(venv);
    // `version` is written by venv, `version_info` by virtualenv and uv.
    let Some(made_for) = setting(&text, "version").or_else(|| setting(&text, "version_info")) else {
        return Ok(());
    };
    let mut numbers = made_for.split('.').map(str::parse::<u8>);
    let same = numbers.next() == Some(Ok(version.0)) && numbers.next() == Some(Ok(version.1));
    if same {
        return Ok(());
    }
    Err(PythonError::VenvVersion {
        venv: venv.to_owned(),
        made_for,
        version,
    })
}

/// `WSGIPythonHome` is a virtual environment of the interpreter that `WSGIPython` names.
fn check_same(venv: &Path, version: (u8, u8, u8), python: &Path, run_as: Option<RunAs<'_>>) -> Result<(), PythonError> {
    check_file(python, Directive::Python)?;
    if same_file(&venv.join("bin/python3"), python) {
        return Ok(());
    }
    let other = judge(python, &probe::ask(python, run_as)?)?;
    if (other.0, other.1) == (version.0, version.1) {
        return Ok(());
    }
    Err(PythonError::OtherPython {
        venv: venv.to_owned(),
        version,
        python: python.to_owned(),
        other,
    })
}

/// The host can run in such a Python.
fn judge(executable: &Path, answer: &Answer) -> Result<(u8, u8, u8), PythonError> {
    let path = || executable.to_owned();
    let version = answer.version;
    if answer.implementation != "cpython" {
        return Err(PythonError::NotCPython {
            path: path(),
            implementation: answer.implementation.clone(),
        });
    }
    if (version.0, version.1) < OLDEST {
        return Err(PythonError::TooOld {
            path: path(),
            version: Some(version),
        });
    }
    if answer.free_threaded {
        return Err(PythonError::FreeThreaded { path: path(), version });
    }
    Ok(version)
}

fn library_folder(version: (u8, u8, u8)) -> PathBuf {
    PathBuf::from(format!("lib/python{}.{}", version.0, version.1))
}

/// The shared library of the interpreter. A statically linked interpreter may have one too: Debian ships it in a
/// package of its own.
fn library(executable: &Path, answer: &Answer, version: (u8, u8, u8)) -> Result<PathBuf, PythonError> {
    let plain = format!("libpython{}.{}{}.so", version.0, version.1, answer.abi_flags);
    // The folders of the running interpreter come first: a Python that was moved still tells where it was built.
    let base = answer.base_prefix.join("lib");
    let folders = [
        base.clone(),
        base.join(&answer.multiarch),
        answer.base_prefix.join("lib64"),
        answer.library_folder.clone(),
        answer.library_folder.join(&answer.multiarch),
    ];
    let names = [
        answer.library_name.clone(),
        format!("{plain}.1.0"),
        format!("{plain}.1"),
        plain,
    ];
    let shared = names.iter().filter(|name| name.contains(".so") && !name.contains('/'));
    let mut unusable = None;
    for path in shared.flat_map(|name| folders.iter().map(move |folder| folder.join(name))) {
        match elf(&path) {
            Elf::Loadable => return Ok(path),
            Elf::Unusable => unusable = unusable.or(Some(path)),
            Elf::Missing => {}
        }
    }
    Err(match unusable {
        Some(library) => PythonError::BadLibrary { library },
        None => PythonError::NoLibrary {
            path: executable.to_owned(),
            version,
            packaged: answer.base_prefix == Path::new("/usr"),
        },
    })
}

enum Elf {
    Missing,
    Unusable,
    Loadable,
}

/// Whether the file is a shared object for the kind of machine that this process is built for.
fn elf(path: &Path) -> Elf {
    let Some(theirs) = elf_head(path) else {
        return if path.exists() { Elf::Unusable } else { Elf::Missing };
    };
    // Bytes 0 to 6: magic number, class (32 or 64 bits), byte order; 16 and 17: type; 18 and 19: machine (elf(5)).
    let shared = theirs[16..18] == 3u16.to_ne_bytes();
    let fits = elf_head(Path::new("/proc/self/exe"))
        .is_none_or(|ours| ours[4..6] == theirs[4..6] && ours[18..20] == theirs[18..20]);
    if theirs.starts_with(b"\x7fELF") && shared && fits {
        Elf::Loadable
    } else {
        Elf::Unusable
    }
}

/// Opens a regular file. Its owner may be anybody: what became a FIFO meanwhile must not make this process wait.
fn open_file(path: &Path) -> io::Result<fs::File> {
    const O_NONBLOCK: i32 = 0o4000; // Linux, on every architecture that Debian has httpd for
    let file = fs::OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// The front of a file that is small if it is what it should be.
fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(path)?.take(64 * 1024).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn elf_head(path: &Path) -> Option<[u8; 20]> {
    let mut head = [0; 20];
    open_file(path).ok()?.read_exact(&mut head).ok()?;
    Some(head)
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn has_colon(path: &Path) -> bool {
    path.as_os_str().as_bytes().contains(&b':')
}

#[cfg(test)]
mod tests;
