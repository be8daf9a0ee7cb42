//! What stops a command, in the administrator's words.

use std::fmt;

/// One line: a stable code, what happened to which file, what to do.
#[derive(Debug)]
pub struct Fault(String);

impl Fault {
    /// A fault of this command; codes are `WSGI06xx`.
    pub fn new(code: u16, text: impl fmt::Display) -> Fault {
        Fault(format!("WSGI{code:04}: {text}"))
    }
}

impl From<wsgi_core::python::PythonError> for Fault {
    fn from(error: wsgi_core::python::PythonError) -> Fault {
        Fault(error.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}
