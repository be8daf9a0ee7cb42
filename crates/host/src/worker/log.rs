//! The daemon's own log: standard error, which is the server's error log, in httpd's format.

use std::io::{Write, stderr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::getpid;
use rustix::thread::gettid;
use wsgi_core::abi::{Level, Site};
use wsgi_core::log_line::{self, Place};

use crate::adapter::exchange::ServerLog;

/// The log.
pub struct StandardError {
    group: String,
    level: Level,
    /// Seconds that local time is ahead of UTC.
    offset: AtomicI64,
}

impl StandardError {
    /// The log of a daemon of this group, without records that are less important than `level`.
    pub fn new(group: String, level: Level) -> StandardError {
        StandardError {
            group,
            level,
            offset: AtomicI64::new(0),
        }
    }

    /// Says how many seconds local time is ahead of UTC.
    pub fn set_offset(&self, offset: i64) {
        self.offset.store(offset, Ordering::Relaxed);
    }
}

impl ServerLog for StandardError {
    fn log_from(&self, level: Level, _: Site<'_>, text: &[u8]) {
        if level > self.level {
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
        self.level
    }
}
