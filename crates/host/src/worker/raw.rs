//! Python stacks without Python's lock, for when nobody gives it back: `faulthandler` writes them when a signal comes.
//!
//! The signal is one of those that the system leaves to programs. Its handler writes the stacks of the interpreter that the
//! thread it comes to belongs to (`faulthandler_dump_traceback` in CPython's `Modules/faulthandler.c`): so each interpreter
//! gets a thread of its own to be asked in.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, SeekFrom, ftruncate, memfd_create, seek};
use rustix::io::pread;
use wsgi_core::wire::control::daemon::MAX_STACKS;

use super::entry;
use crate::adapter::exchange::Lossy;
use crate::host::Host;

/// Python functions.
const SOURCE: &CStr = match CStr::from_bytes_with_nul(concat!(include_str!("raw.py"), "\0").as_bytes()) {
    Ok(source) => source,
    Err(_) => panic!("raw.py holds a NUL"),
};

/// What is ready to be asked.
pub struct Raw {
    /// Where the stacks are written to.
    file: OwnedFd,
    signal: i32,
}

impl Raw {
    /// Prepares Python; `None` if that is not possible. Waits for Python's lock.
    pub fn prepare(host: &Host) -> Option<Raw> {
        let file = memfd_create(c"wsgi-stacks", MemfdFlags::CLOEXEC).ok()?;
        let raw = Raw {
            file,
            signal: entry::free_signal(1),
        };
        let registered = host.attach(&[], |py| {
            let register = || {
                let module = py.execute(SOURCE, c"_mod_wsgi_raw")?;
                let register = module.attribute(&py.text("register")?)?;
                register.call(&[&py.int(raw.signal.into())?, &py.int(raw.file.as_raw_fd().into())?])
            };
            register().is_ok()
        });
        (registered == Some(true)).then_some(raw)
    }

    /// The stacks, as far as they can be had. One thread at a time.
    pub fn take(&self, host: &Host) -> String {
        let mut text =
            "Python's lock is held, by a C extension perhaps; the stacks are those that could be read without it\n"
                .to_owned();
        let signal = self.signal;
        let clear = || ftruncate(&self.file, 0).is_ok() && seek(&self.file, SeekFrom::Start(0)).is_ok();
        if !clear() {
            return text;
        }
        host.each_unlocked(
            move || entry::raise(signal),
            |name| {
                let mut bytes = vec![0; MAX_STACKS];
                let read = pread(&self.file, &mut bytes, 0).unwrap_or(0);
                if name.is_empty() {
                    text += "main interpreter\n";
                } else {
                    text += &format!("application group {}\n", Lossy(name));
                }
                text += &String::from_utf8_lossy(&bytes[..read]);
                clear();
            },
        );
        text
    }
}
