//! Real interpreters, virtual environments made of folders and links, and scripts that play a broken Python.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const SYSTEM: &str = "/usr/bin/python3";

/// A folder that goes away at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wsgi-python-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        Folder(path.canonicalize().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Written by another process: a file that any thread of this one still has open for writing cannot be executed.
    fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        let mut shell = Command::new("/bin/sh");
        shell.args([
            "-c",
            "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\"; chmod 755 \"$1\"",
            "sh",
        ]);
        assert!(shell.arg(&path).arg(body).status().unwrap().success());
        path
    }

    /// Plays an interpreter: the fields of its answer have `|` between them, `SELF` is its own path.
    fn answers(&self, name: &str, fields: &str) -> PathBuf {
        self.script(
            name,
            &format!("echo '|python|{fields}|end|' | sed \"s,SELF,$0,\" | tr '|' '\\000'"),
        )
    }

    fn venv(&self, config: &str, python: &Path) -> PathBuf {
        self.file("venv/pyvenv.cfg", config);
        symlink(python, self.path("venv/bin/python3")).unwrap();
        self.0.join("venv")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn interpreter(path: &Path) -> Result<Python, PythonError> {
    let choice = Choice {
        python: Some(path),
        home: None,
    };
    find(&choice, None)
}

fn home(path: &Path) -> Result<Python, PythonError> {
    let choice = Choice {
        python: None,
        home: Some(path),
    };
    find(&choice, None)
}

fn code(found: Result<Python, PythonError>) -> String {
    found.unwrap_err().to_string()[..8].to_owned()
}

#[test]
fn the_systems_python_is_the_default() {
    let found = find(&Choice::default(), None).unwrap();
    assert_eq!(found, interpreter(Path::new(SYSTEM)).unwrap());
    assert_eq!(found.bin, Path::new("/usr/bin"));
    assert_eq!((found.home, found.venv), (None, None));
    assert!(found.library.is_file());
    let name = format!("libpython{}.{}.so", found.version.0, found.version.1);
    assert!(found.library.file_name().unwrap().to_str().unwrap().starts_with(&name));
}

#[test]
fn a_venv_is_known_by_its_file_and_is_never_a_home() {
    let folder = Folder::new();
    let system = interpreter(Path::new(SYSTEM)).unwrap();
    let (major, minor, _) = system.version;
    let venv = folder.venv(
        &format!("home = /usr/bin\nversion = {major}.{minor}.99"),
        Path::new(SYSTEM),
    );
    let by_home = home(&venv).unwrap();
    assert_eq!(by_home.venv.as_deref(), Some(venv.as_path()));
    assert_eq!(by_home.bin, venv.join("bin"));
    assert_eq!(by_home.home, None);
    assert_eq!(by_home.library, system.library);
    assert_eq!(by_home, interpreter(&venv.join("bin/python3")).unwrap());
    let both = Choice {
        python: Some(Path::new(SYSTEM)),
        home: Some(&venv),
    };
    assert_eq!(find(&both, None).unwrap(), by_home);
}

#[test]
fn an_installation_is_passed_as_home() {
    let found = home(Path::new("/usr")).unwrap();
    assert_eq!(found.home.as_deref(), Some(Path::new("/usr")));
    assert_eq!(found.executable, Path::new(SYSTEM));
    let both = Choice {
        python: Some(Path::new(SYSTEM)),
        home: Some(Path::new("/usr")),
    };
    assert_eq!(find(&both, None).unwrap(), found);
}

#[test]
fn an_interpreter_beside_another_python3_needs_its_prefix() {
    let folder = Folder::new();
    let alone = folder.path("bin/python3.999");
    symlink(SYSTEM, &alone).unwrap();
    assert_eq!(interpreter(&alone).unwrap().home.as_deref(), Some(Path::new("/usr")));
    folder.script("bin/python3", "exit 1");
    assert_eq!(interpreter(&alone).unwrap().home.as_deref(), Some(Path::new("/usr")));
}

#[test]
fn a_wrapper_is_left_out() {
    let folder = Folder::new();
    let wrapper = folder.script("python3", &format!("exec {SYSTEM} \"$@\""));
    assert_eq!(interpreter(&wrapper).unwrap(), interpreter(Path::new(SYSTEM)).unwrap());
}

#[test]
fn what_is_not_there_is_told() {
    let folder = Folder::new();
    assert_eq!(code(interpreter(&folder.path("python3"))), "WSGI0201");
    let link = folder.path("link");
    symlink("gone", &link).unwrap();
    assert_eq!(code(interpreter(&link)), "WSGI0202");
    assert_eq!(code(interpreter(&folder.0)), "WSGI0203");
    assert_eq!(code(home(&folder.path("gone"))), "WSGI0201");
    assert_eq!(code(home(&folder.0)), "WSGI0214");
    folder.script("bin/python3", "exit 1");
    assert_eq!(code(home(&folder.0)), "WSGI0207");
    fs::remove_file(folder.path("bin/python3")).unwrap();
    symlink(SYSTEM, folder.path("bin/python3")).unwrap();
    assert_eq!(code(home(&folder.0)), "WSGI0214", "a bin folder without its lib");
}

#[test]
fn what_does_not_start_is_told_with_its_last_line() {
    let folder = Folder::new();
    assert_eq!(code(interpreter(&folder.file("plain", "x"))), "WSGI0205");
    let garbage = folder.file("garbage", "x");
    fs::set_permissions(&garbage, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(code(interpreter(&garbage)), "WSGI0206");
    let broken = folder.script("broken", "echo first; echo 'no module named encodings' >&2; exit 1");
    let error = interpreter(&broken).unwrap_err().to_string();
    assert!(
        error.starts_with("WSGI0207") && error.contains("no module named encodings"),
        "{error}"
    );
    assert_eq!(code(interpreter(&folder.script("silent", "exit 0"))), "WSGI0207");
    assert_eq!(
        code(interpreter(&folder.script("endless", "exec cat /dev/zero"))),
        "WSGI0207"
    );
}

#[test]
fn an_unfit_python_is_told() {
    let folder = Folder::new();
    let two = folder.script("two", "echo 'Unknown option: -I' >&2; exit 2");
    assert_eq!(code(interpreter(&two)), "WSGI0210");
    for (fields, expected) in [
        ("3.9.18|cpython|||SELF|/nowhere|/nowhere/lib|libpython.a|", "WSGI0210"),
        ("3.11.0|pypy|||SELF|/nowhere|/nowhere/lib|libpython.a|", "WSGI0209"),
        ("3.14.0|cpython|1||SELF|/nowhere|/nowhere/lib|libpython.a|", "WSGI0211"),
        ("3.12.1|cpython|||SELF|/nowhere|/nowhere/lib|libpython.a|", "WSGI0212"),
        (
            "3.99.1|cpython|||SELF|/usr|/usr/lib|libpython.a|",
            "apt-get install libpython3.99)",
        ),
    ] {
        let error = interpreter(&folder.answers("python", fields)).unwrap_err().to_string();
        assert!(error.contains(expected), "{fields}: {error}");
    }
    let wrong = folder.file("lib/libpython3.12.so.1.0", "not an ELF file, only longer than its head");
    let fields = format!("3.12.1|cpython|||SELF|{}|/nowhere|libpython.a|", folder.0.display());
    let error = interpreter(&folder.answers("python", &fields)).unwrap_err();
    assert_eq!(error, PythonError::BadLibrary { library: wrong });
}

#[test]
fn a_broken_venv_is_told() {
    let folder = Folder::new();
    let moved = folder.venv("home = /nowhere/bin\nversion = 3.1.0", Path::new(SYSTEM));
    assert_eq!(code(home(&moved)), "WSGI0215");
    folder.file("venv/pyvenv.cfg", "HOME=/usr/bin\nversion_info = 3.1.4.final.0");
    assert_eq!(code(home(&moved)), "WSGI0216");
    let (major, minor, _) = interpreter(Path::new(SYSTEM)).unwrap().version;
    fs::create_dir_all(moved.join(format!("lib/python{major}.{minor}"))).unwrap();
    assert_eq!(
        home(&moved).unwrap().venv.as_deref(),
        Some(moved.as_path()),
        "upgraded in place"
    );
    let other = folder.answers("other", "3.10.0|cpython|||SELF|/nowhere|/nowhere|libpython.a|");
    let both = Choice {
        python: Some(&other),
        home: Some(&moved),
    };
    assert_eq!(code(find(&both, None)), "WSGI0217");
}

#[test]
fn a_colon_cannot_stand_in_path() {
    let folder = Folder::new();
    let python = folder.path("a:b/python3");
    symlink(SYSTEM, &python).unwrap();
    assert_eq!(code(interpreter(&python)), "WSGI0218");
}

#[test]
fn settings_are_read_as_python_does() {
    let text = "# x\nHome = /a = b\n home=/c\nversion= 3.11.2 \n";
    assert_eq!(setting(text, "home").as_deref(), Some("/a = b"));
    assert_eq!(setting(text, "version").as_deref(), Some("3.11.2"));
    assert_eq!(setting(text, "version_info"), None);
}
