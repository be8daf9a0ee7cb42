//! The environment variables that steer Python while it starts. Under the stable ABI there is no other way to say which
//! prefix and which encoding it shall use.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The name of a variable, and its value if it has one.
pub type Value = (Vec<u8>, Option<Vec<u8>>);

/// Variables that have been changed for the start only, with the values they had.
pub struct Changed(Vec<Value>);

impl Changed {
    /// Sets the variables, those of the names `hidden` for the start only. `bin`, unless it is empty, leads `PATH`, by
    /// which Python finds its `pyvenv.cfg` or its prefix. In the C locale Python starts with that of UTF-8.
    ///
    /// # Safety
    /// The process has no other thread.
    pub unsafe fn apply(bin: &[u8], variables: &[(&[u8], &[u8])], hidden: &[Vec<u8>]) -> Changed {
        let mut changed = Changed(Vec::new());
        // SAFETY: the caller's promise.
        unsafe {
            if !bin.is_empty() {
                let mut path = OsStr::from_bytes(bin).to_owned();
                if let Some(old) = env::var_os("PATH").filter(|old| !old.is_empty()) {
                    path.push(":");
                    path.push(old);
                }
                changed.set(OsStr::new("PATH"), &path);
            }
            for (name, value) in variables {
                let (variable, value) = (OsStr::from_bytes(name), OsStr::from_bytes(value));
                if hidden.iter().any(|hidden| hidden == name) {
                    changed.set(variable, value);
                } else {
                    env::set_var(variable, value);
                }
            }
            if is_c_locale() {
                // PYTHONUTF8 would say it more plainly, but Py_InitializeEx does not read it.
                changed.set(OsStr::new("LC_ALL"), OsStr::new("C.UTF-8"));
            }
        }
        changed
    }

    /// Sets them back, and returns what they are now: Python has copied the changed ones into `os.environ`.
    ///
    /// # Safety
    /// The process has no other thread.
    pub unsafe fn restore(self) -> Vec<Value> {
        for (name, value) in &self.0 {
            let name = OsStr::from_bytes(name);
            // SAFETY: the caller's promise.
            unsafe {
                match value {
                    Some(value) => env::set_var(name, OsStr::from_bytes(value)),
                    None => env::remove_var(name),
                }
            }
        }
        self.0
    }

    /// # Safety
    /// The process has no other thread.
    unsafe fn set(&mut self, name: &OsStr, value: &OsStr) {
        let old = env::var_os(name).map(OsStringExt::into_vec);
        self.0.push((name.as_bytes().to_vec(), old));
        // SAFETY: the caller's promise.
        unsafe { env::set_var(name, value) }
    }
}

/// Whether Python would take its encodings from the C locale, which knows ASCII only.
fn is_c_locale() -> bool {
    let variables = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(env::var_os);
    let locale = variables.into_iter().find(|value| !value.is_empty());
    locale.is_none_or(|locale| locale == "C" || locale == "POSIX")
}
