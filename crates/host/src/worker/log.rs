//! The daemon's own log: standard error, which is the server's error log, in httpd's format.

use std::io::{Write, stderr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::getpid;
use rustix::thread::gettid;
use wsgi_core::abi::{Level, Site};
use wsgi_core::log_line::{self, Place};

use crate::adapter::exchange::ServerLog;

/// The log.
pub struct StandardError {
    group: String,
    /// [`Level`] by its number.
    level: AtomicI32,
    /// Seconds that local time is ahead of UTC.
    offset: AtomicI64,
    /// The file that it is.
    file: Mutex<Option<(u64, u64)>>,
}

impl StandardError {
    /// The log of a daemon of this group, without records that are less important than `level`.
    pub fn new(group: String, level: Level) -> StandardError {
        StandardError {
            group,
            level: AtomicI32::new(level as i32),
            offset: AtomicI64::new(0),
            file: Mutex::new(identity(rustix::stdio::stderr())),
        }
    }

    /// From now on records that are less important than `level` are left out; `log` takes the place of standard output and
    /// error, each unless the application has put something else there.
    pub fn change(&self, level: Level, log: Option<OwnedFd>) {
        self.level.store(level as i32, Ordering::Relaxed);
        let Some(log) = log else { return };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *file, identity(&log));
        // What cannot be changed stays as it is.
        if identity(rustix::stdio::stdout()) == before {
            let _ = rustix::stdio::dup2_stdout(&log);
        }
        if identity(rustix::stdio::stderr()) == before {
            let _ = rustix::stdio::dup2_stderr(&log);
        }
    }

    /// Says how many seconds local time is ahead of UTC.
    pub fn set_offset(&self, offset: i64) {
        self.offset.store(offset, Ordering::Relaxed);
    }
}

impl ServerLog for StandardError {
    fn log_from(&self, level: Level, _: Site<'_>, text: &[u8]) {
        if level > self.level() {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let place = Place {
            pid: getpid().as_raw_nonzero().get(),
            tid: gettid().as_raw_nonzero().get(),
            group: &self.group,
        };
        let lines = log_line::format(now, self.offset.load(Ordering::Relaxed), level, &place, text);
        // One write, so that lines of several processes do not mix; there is no better place to complain to.
        let _ = stderr().write_all(&lines);
    }

    fn level(&self) -> Level {
        Level::from_raw(self.level.load(Ordering::Relaxed))
    }
}

/// What tells a file, or a pipe, from others.
fn identity(file: impl AsFd) -> Option<(u64, u64)> {
    rustix::fs::fstat(file).ok().map(|stat| (stat.st_dev, stat.st_ino))
}
