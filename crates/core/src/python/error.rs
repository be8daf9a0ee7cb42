//! What can be wrong with a Python, in the administrator's words.

use std::fmt;
use std::path::PathBuf;

use super::OLDEST;

/// Where the path of an interpreter came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// `WSGIPython` names it.
    Python,
    /// It is the interpreter of the folder that `WSGIPythonHome` names.
    Home,
    /// No directive: the system's.
    Default,
}

/// Why a Python cannot be used. Its text is one line: which path, what is wrong, what to do; it begins with a stable
/// code (`WSGI02xx`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "the fields are the values of the text that each variant's line gives"
)]
pub enum PythonError {
    /// There is no such file.
    Missing { path: PathBuf, directive: Directive },
    /// It is a symbolic link to something that does not exist (any longer).
    Dangling { path: PathBuf, to: PathBuf },
    /// It is a folder or another thing that cannot be run.
    NoFile { path: PathBuf },
    /// The user may not enter a folder on the way.
    Barrier { path: PathBuf, at: PathBuf, uid: u32 },
    /// The user may not run the file.
    NotExecutable { path: PathBuf, uid: Option<u32> },
    /// The system could not start it.
    CannotRun { path: PathBuf, reason: String },
    /// It ended without an answer.
    NoAnswer { path: PathBuf, said: String },
    /// It did not answer in time.
    TimedOut { path: PathBuf, seconds: u64 },
    /// PyPy and others have no such library.
    NotCPython { path: PathBuf, implementation: String },
    /// Its stable ABI lacks what the host needs; `None`: older than 3.4.
    TooOld {
        path: PathBuf,
        version: Option<(u8, u8, u8)>,
    },
    /// Built without the global lock: another ABI.
    FreeThreaded { path: PathBuf, version: (u8, u8, u8) },
    /// Nothing to load into a process.
    NoLibrary {
        path: PathBuf,
        version: (u8, u8, u8),
        packaged: bool,
    },
    /// The library is not a shared object of this machine's kind.
    BadLibrary { library: PathBuf },
    /// `WSGIPythonHome` is neither a virtual environment nor an installation.
    NoHome { home: PathBuf },
    /// The Python that a virtual environment was made from is gone.
    BaseGone { venv: PathBuf, base: PathBuf },
    /// The virtual environment's interpreter has another version than its packages.
    VenvVersion {
        venv: PathBuf,
        made_for: String,
        version: (u8, u8, u8),
    },
    /// `WSGIPythonHome` and `WSGIPython` have different versions.
    OtherPython {
        venv: PathBuf,
        version: (u8, u8, u8),
        python: PathBuf,
        other: (u8, u8, u8),
    },
    /// `PATH` and `PYTHONHOME` cannot hold it.
    Colon { path: PathBuf },
}

impl fmt::Display for PythonError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let oldest = format!("{}.{}", OLDEST.0, OLDEST.1);
        match self {
            Self::Missing {
                path,
                directive: Directive::Python,
            } => {
                write!(f, "WSGI0201: {path:?} does not exist; correct WSGIPython")
            }
            Self::Missing {
                path,
                directive: Directive::Home,
            } => write!(
                f,
                "WSGI0201: {path:?} does not exist; correct WSGIPythonHome, or make the virtual environment anew"
            ),
            Self::Missing {
                path,
                directive: Directive::Default,
            } => write!(
                f,
                "WSGI0201: {path:?} does not exist; install the system's Python (Debian: apt-get install python3), or \
                 name another one by WSGIPython"
            ),
            Self::Dangling { path, to } => write!(
                f,
                "WSGI0202: {path:?} is a symbolic link to {to:?}, which does not exist; install that Python again, or \
                 make the virtual environment anew"
            ),
            Self::NoFile { path } => write!(
                f,
                "WSGI0203: {path:?} is not a file; WSGIPython takes an interpreter such as /usr/bin/python3 \
                 (WSGIPythonHome takes a folder)"
            ),
            Self::Barrier { path, at, uid } => write!(
                f,
                "WSGI0204: the user that is to run it (uid {uid}) cannot get to {path:?}: it may not enter \
                 {at:?}; run 'chmod o+x' on that folder, or use a Python elsewhere"
            ),
            Self::NotExecutable { path, uid: Some(uid) } => write!(
                f,
                "WSGI0205: the user that is to run it (uid {uid}) may not execute {path:?}; correct its \
                 permissions"
            ),
            Self::NotExecutable { path, uid: None } => {
                write!(
                    f,
                    "WSGI0205: {path:?} may not be executed; correct its permissions or its path"
                )
            }
            Self::CannotRun { path, reason } => {
                write!(
                    f,
                    "WSGI0206: {path:?} cannot be run: {reason}; try '{} -V'",
                    path.display()
                )
            }
            Self::NoAnswer { path, said } if said.is_empty() => write!(
                f,
                "WSGI0207: {path:?} says nothing, so it is not a working Python; try '{} -V'",
                path.display()
            ),
            Self::NoAnswer { path, said } => write!(
                f,
                "WSGI0207: {path:?} does not start as a Python: {said:?}; name an interpreter that does (a wrapper \
                 script is not enough), or make the virtual environment anew"
            ),
            Self::TimedOut { path, seconds } => write!(
                f,
                "WSGI0208: {path:?} did not answer within {seconds} seconds; see whether '{} -V' works at all",
                path.display()
            ),
            Self::NotCPython { path, implementation } => write!(
                f,
                "WSGI0209: {path:?} is {implementation}, not CPython; only CPython {oldest} or newer can be used"
            ),
            Self::TooOld {
                path,
                version: Some(version),
            } => write!(
                f,
                "WSGI0210: {path:?} is Python {}; {oldest} or newer is needed: name another one by WSGIPython",
                Dotted(*version)
            ),
            Self::TooOld { path, version: None } => write!(
                f,
                "WSGI0210: {path:?} is a Python older than 3.4; {oldest} or newer is needed: name another one by \
                 WSGIPython"
            ),
            Self::FreeThreaded { path, version } => write!(
                f,
                "WSGI0211: {path:?} is a free-threaded build of Python {}, which cannot load extensions of the stable \
                 ABI; use the ordinary build",
                Dotted(*version)
            ),
            Self::NoLibrary {
                path,
                version,
                packaged: true,
            } => write!(
                f,
                "WSGI0212: {path:?} (Python {}) has no shared library; install the package libpython{}.{} (apt-get \
                 install libpython{1}.{2})",
                Dotted(*version),
                version.0,
                version.1
            ),
            Self::NoLibrary {
                path,
                version,
                packaged: false,
            } => write!(
                f,
                "WSGI0212: {path:?} (Python {}) has no shared library; build it with './configure --enable-shared' \
                 (pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared), or use the distribution's Python",
                Dotted(*version)
            ),
            Self::BadLibrary { library } => write!(
                f,
                "WSGI0213: {library:?} is not a shared library for this machine's architecture; install this Python \
                 again, for the architecture of httpd"
            ),
            Self::NoHome { home } => write!(
                f,
                "WSGI0214: WSGIPythonHome {home:?} is neither a virtual environment (no pyvenv.cfg) nor the prefix of \
                 a Python (no bin/python3 with its lib/python3.X); name one of the two, or use WSGIPython"
            ),
            Self::BaseGone { venv, base } => write!(
                f,
                "WSGI0215: the virtual environment {venv:?} was made from a Python in {base:?}, which does not exist \
                 any longer; make the virtual environment anew"
            ),
            Self::VenvVersion {
                venv,
                made_for,
                version,
            } => write!(
                f,
                "WSGI0216: the virtual environment {venv:?} was made for Python {made_for}, but its python3 is now {}, \
                 which does not see its packages; make it anew",
                Dotted(*version)
            ),
            Self::OtherPython {
                venv,
                version,
                python,
                other,
            } => write!(
                f,
                "WSGI0217: WSGIPythonHome {venv:?} is a virtual environment of Python {}, but WSGIPython {python:?} is \
                 {}; remove WSGIPython, or make the virtual environment with it",
                Dotted(*version),
                Dotted(*other)
            ),
            Self::Colon { path } => write!(
                f,
                "WSGI0218: the path {path:?} has a ':' in it, with which Python cannot be started; move it elsewhere"
            ),
        }
    }
}

impl std::error::Error for PythonError {}

struct Dotted((u8, u8, u8));

impl fmt::Display for Dotted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0.0, self.0.1, self.0.2)
    }
}
