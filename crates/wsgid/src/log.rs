//! Records for the error log, in httpd's format.

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::getpid;
use rustix::thread::gettid;
use wsgi_core::abi::Level;
use wsgi_core::log_line::{self, Place};
use wsgi_core::wire::control::daemon::exit;

use crate::sys::clock;

/// Writes records to a descriptor.
#[derive(Debug)]
pub struct Log {
    /// Less important records are left out.
    pub level: Level,
}

impl Default for Log {
    fn default() -> Log {
        Log { level: Level::Notice }
    }
}

impl Log {
    /// Writes a record of the program itself.
    pub fn write(&self, level: Level, text: &str) {
        let stderr = std::io::stderr();
        self.to(&stderr, level, text);
    }

    /// Writes a record to another log; `None`: to the program's own.
    pub fn write_to(&self, log: Option<&OwnedFd>, level: Level, text: &str) {
        match log {
            Some(log) => self.to(log, level, text),
            None => self.write(level, text),
        }
    }

    fn to(&self, log: impl AsFd, level: Level, text: &str) {
        if level > self.level {
            return;
        }
        let place = Place {
            pid: getpid().as_raw_nonzero().get(),
            tid: gettid().as_raw_nonzero().get(),
            group: "",
        };
        let (now, offset) = clock::local();
        let line = log_line::format(now, offset, level, &place, text.as_bytes());
        // As a whole, so that lines of several processes do not mix. There is nobody to tell when it fails.
        let _ = rustix::io::write(log, &line);
    }
}

/// Reports that a child could not become a daemon, and ends it.
pub fn fail(text: &str) -> ! {
    Log::default().write(Level::Error, text);
    std::process::exit(exit::NOT_LAUNCHED)
}
