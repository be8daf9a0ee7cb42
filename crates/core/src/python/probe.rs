//! Asking an interpreter about itself: one run, bounded in time and output.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::RunAs;
use super::error::PythonError;

/// How long the interpreter may take: it needs 20 ms, but its files may lie on a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read of what it says.
const LONGEST: u64 = 64 * 1024;

/// Runs in any Python from 3.4 on. Paths are bytes, hence NUL between the fields.
const PROBE: &str = r#"
import os, sys, sysconfig
def var(name):
    return str(sysconfig.get_config_var(name) or "")
fields = ["%d.%d.%d" % sys.version_info[:3], sys.implementation.name, var("Py_GIL_DISABLED"),
    getattr(sys, "abiflags", ""), sys.executable, sys.base_prefix, var("LIBDIR"), var("INSTSONAME"), var("MULTIARCH")]
sys.stdout.buffer.write(b"\0python\0" + b"\0".join(os.fsencode(field) for field in fields) + b"\0end\0")
"#;

/// What an interpreter says about itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Major, minor and micro version.
    pub version: (u8, u8, u8),
    /// `sys.implementation.name`.
    pub implementation: String,
    /// Built without a global lock.
    pub free_threaded: bool,
    /// `sys.abiflags`: `d` for a debug build, `t` for a free-threaded one.
    pub abi_flags: String,
    /// `sys.executable`: its own path.
    pub executable: PathBuf,
    /// Where it is installed.
    pub base_prefix: PathBuf,
    /// `LIBDIR` of its build.
    pub library_folder: PathBuf,
    /// File name of its shared library as the build knows it; of the static one when it was built without.
    pub library_name: String,
    /// Debian's name for the architecture; else empty.
    pub multiarch: String,
}

/// Runs `executable` and returns what it says.
///
/// # Errors
/// It cannot be run by the user, does not start, takes too long, or answers something else.
pub fn ask(executable: &Path, run_as: Option<RunAs<'_>>) -> Result<Answer, PythonError> {
    let path = || executable.to_owned();
    let said = run(executable, run_as).map_err(|error| match (error.kind(), run_as) {
        (io::ErrorKind::TimedOut, _) => PythonError::TimedOut {
            path: path(),
            seconds: PATIENCE.as_secs(),
        },
        (io::ErrorKind::PermissionDenied, Some(RunAs { who, .. })) => match who.barrier(executable) {
            Some(at) => PythonError::Barrier {
                path: path(),
                at,
                uid: who.uid,
            },
            None => PythonError::NotExecutable {
                path: path(),
                uid: Some(who.uid),
            },
        },
        (io::ErrorKind::PermissionDenied, None) => PythonError::NotExecutable {
            path: path(),
            uid: None,
        },
        _ => PythonError::CannotRun {
            path: path(),
            reason: error.to_string(),
        },
    })?;
    if let Some(answer) = parse(&said) {
        return Ok(answer);
    }
    let text = String::from_utf8_lossy(&said);
    // Python 2 and 3.3 do not know the option.
    if text.contains("Unknown option: -I") {
        return Err(PythonError::TooOld {
            path: path(),
            version: None,
        });
    }
    Err(PythonError::NoAnswer {
        path: path(),
        said: last_line(&text),
    })
}

/// Everything that the interpreter writes, standard error included.
fn run(executable: &Path, run_as: Option<RunAs<'_>>) -> io::Result<Vec<u8>> {
    // A socket instead of a pipe: reading from it can have a time limit.
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(executable);
    command
        .args(["-I", "-S", "-c", PROBE])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(OwnedFd::from(theirs.try_clone()?))
        .stderr(OwnedFd::from(theirs));
    // A Python in a folder of its own may need it to find its library, here as in the server.
    if let Some(folders) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", folders);
    }
    if let Some(user) = run_as {
        (user.switch)(&mut command, user.who);
    }
    let mut child = command.spawn()?;
    // The command holds copies of their end; while it lives there is no end of file.
    drop(command);
    let said = listen(ours, Instant::now() + PATIENCE);
    // It has said everything, or too much, or nothing in time: either way it is not needed any longer.
    let _ = child.kill();
    child.wait()?;
    said
}

/// Reads up to the end of file, [`LONGEST`] bytes or the deadline.
fn listen(stream: UnixStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut said = Vec::new();
    let mut stream = stream.take(LONGEST);
    let mut piece = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.get_ref().set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => return Ok(said),
            Ok(len) => said.extend_from_slice(&piece[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
}

/// The answer, if it is one. Warnings may stand before and after it.
fn parse(said: &[u8]) -> Option<Answer> {
    let fields: Vec<&[u8]> = said
        .split(|byte| *byte == 0)
        .skip_while(|field| *field != b"python")
        .collect();
    let [
        _,
        version,
        implementation,
        free,
        flags,
        executable,
        base,
        folder,
        name,
        multiarch,
        b"end",
        ..,
    ] = fields[..]
    else {
        return None;
    };
    let text = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
    let path = |field: &[u8]| PathBuf::from(OsString::from_vec(field.to_vec()));
    let version = text(version)?;
    let numbers: Vec<u8> = version.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [major, minor, micro] = numbers[..] else {
        return None;
    };
    Some(Answer {
        version: (major, minor, micro),
        implementation: text(implementation)?,
        free_threaded: free == b"1",
        abi_flags: text(flags)?,
        executable: path(executable),
        base_prefix: path(base),
        library_folder: path(folder),
        library_name: text(name)?,
        multiarch: text(multiarch)?,
    })
}

/// The last line that is not empty, shortened: Python and the dynamic loader put the reason there.
fn last_line(text: &str) -> String {
    let line = text
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &[u8] =
        b"warning\n\0python\x003.11.2\0cpython\0\0\0/usr/bin/python3\0/usr\0/usr/lib/x\0libpython3.11.so.1.0\0x86_64-linux-gnu\0end\0";

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = parse(SAID).unwrap();
        assert_eq!(answer.version, (3, 11, 2));
        assert_eq!(answer.base_prefix, Path::new("/usr"));
        assert_eq!(answer.library_name, "libpython3.11.so.1.0");
        assert!(!answer.free_threaded);
    }

    #[test]
    fn everything_else_is_no_answer() {
        for said in [b"".as_slice(), b"hello", b"\0python\0", &SAID[..SAID.len() - 5]] {
            assert_eq!(parse(said), None, "{said:?}");
        }
        let odd = String::from_utf8(SAID.to_vec()).unwrap();
        for version in ["3.11", "3.11.2.1", "3.11.999", "3.x.1"] {
            assert_eq!(parse(odd.replace("3.11.2", version).as_bytes()), None, "{version}");
        }
    }

    #[test]
    fn the_reason_is_the_last_line() {
        assert_eq!(
            last_line("a\nModuleNotFoundError: encodings\n\n"),
            "ModuleNotFoundError: encodings"
        );
        assert_eq!(last_line(""), "");
        assert_eq!(last_line(&"x".repeat(1000)).len(), 200);
    }
}
