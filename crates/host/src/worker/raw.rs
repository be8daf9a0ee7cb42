//! Python stacks without Python's lock, for when nobody gives it back: `faulthandler` writes them when a signal comes.
//!
//! Each interpreter has a signal of its own, of those that the system leaves to programs, and the clock's thread sends
//! them to itself.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{MemfdFlags, SeekFrom, ftruncate, memfd_create, seek};
use rustix::io::pread;
use wsgi_core::wire::control::daemon::MAX_STACKS;

use super::entry;
use super::stacks;
use crate::adapter::exchange::Lossy;
use crate::host::Host;

/// Most interpreters that can be asked.
const MOST: usize = 8;

/// What is ready to be asked.
pub struct Raw {
    /// Where the stacks are written to.
    file: OwnedFd,
    /// Application groups and their signals.
    known: Mutex<Vec<(Vec<u8>, i32)>>,
}

impl Raw {
    /// Nothing yet; `None` if the system has no memory for it.
    pub fn new() -> Option<Raw> {
        let file = memfd_create(c"wsgi-stacks", MemfdFlags::CLOEXEC).ok()?;
        Some(Raw {
            file,
            known: Mutex::default(),
        })
    }

    /// Makes an application group ready. Waits for Python's lock.
    pub fn prepare(&self, host: &Host, application_group: &[u8]) {
        let count = {
            let mut known = self.known();
            if known.len() >= MOST || known.iter().any(|(name, _)| name == application_group) {
                return;
            }
            // 0: not yet. Nobody else prepares it meanwhile.
            known.push((application_group.to_vec(), 0));
            known.len()
        };
        let signal = entry::free_signal(count);
        if stacks::register(host, application_group, signal, self.file.as_raw_fd()) {
            let mut known = self.known();
            if let Some((_, own)) = known.iter_mut().find(|(name, _)| name == application_group) {
                *own = signal;
            }
        }
    }

    /// The stacks, as far as they can be had.
    pub fn take(&self) -> String {
        let mut text =
            "Python's lock is held, by a C extension perhaps; the stacks are those that could be read without it\n"
                .to_owned();
        let known: Vec<(Vec<u8>, i32)> = self
            .known()
            .iter()
            .filter(|(_, signal)| *signal != 0)
            .cloned()
            .collect();
        for (name, signal) in known {
            if ftruncate(&self.file, 0).is_err() || seek(&self.file, SeekFrom::Start(0)).is_err() {
                continue;
            }
            entry::raise(signal);
            let mut bytes = vec![0; MAX_STACKS];
            let read = pread(&self.file, &mut bytes, 0).unwrap_or(0);
            if name.is_empty() {
                text += "main interpreter\n";
            } else {
                text += &format!("application group {}\n", Lossy(&name));
            }
            text += &String::from_utf8_lossy(&bytes[..read]);
        }
        text
    }

    fn known(&self) -> MutexGuard<'_, Vec<(Vec<u8>, i32)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
