//! The environment variables that steer Python while it starts. Under the stable ABI there is no other way to say which
//! prefix and which encoding it shall use.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Variables that have been changed, with the values they had.
pub struct Changed(Vec<(&'static str, Option<OsString>)>);

impl Changed {
    /// Sets the variables. `bin` leads `PATH`, by which Python finds its `pyvenv.cfg` or its prefix; `home` becomes
    /// `PYTHONHOME`; both may be empty. In the C locale Python starts with that of UTF-8.
    ///
    /// # Safety
    /// The process has no other thread.
    pub unsafe fn apply(bin: &[u8], home: &[u8]) -> Changed {
        let mut changed = Changed(Vec::new());
        // SAFETY: the caller's promise.
        unsafe {
            if !bin.is_empty() {
                let mut path = OsStr::from_bytes(bin).to_owned();
                if let Some(old) = env::var_os("PATH").filter(|old| !old.is_empty()) {
                    path.push(":");
                    path.push(old);
                }
                changed.set("PATH", &path);
            }
            if !home.is_empty() {
                changed.set("PYTHONHOME", OsStr::from_bytes(home));
            }
            if is_c_locale() {
                // PYTHONUTF8 would say it more plainly, but Py_InitializeEx does not read it.
                changed.set("LC_ALL", OsStr::new("C.UTF-8"));
            }
        }
        changed
    }

    /// Sets them back, and returns what they are now: Python has copied the changed ones into `os.environ`.
    ///
    /// # Safety
    /// The process has no other thread.
    pub unsafe fn restore(self) -> Vec<(&'static str, Option<Vec<u8>>)> {
        let restored = self.0.into_iter().map(|(name, value)| {
            // SAFETY: the caller's promise.
            unsafe {
                match &value {
                    Some(value) => env::set_var(name, value),
                    None => env::remove_var(name),
                }
            }
            (name, value.map(|value| value.as_bytes().to_vec()))
        });
        restored.collect()
    }

    /// # Safety
    /// The process has no other thread.
    unsafe fn set(&mut self, name: &'static str, value: &OsStr) {
        self.0.push((name, env::var_os(name)));
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
