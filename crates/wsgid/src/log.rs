//! Records for the error log, in httpd's format.

use std::os::fd::{AsFd, OwnedFd};

use wsgi_core::abi::Level;
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
        let line = line(&clock::stamp(), level, std::process::id(), text);
        // As a whole, so that lines of several processes do not mix. There is nobody to tell when it fails.
        let _ = rustix::io::write(log, line.as_bytes());
    }
}

/// One line, whatever the text holds.
fn line(stamp: &str, level: Level, pid: u32, text: &str) -> String {
    let name = match level {
        Level::Critical => "crit",
        Level::Error => "error",
        Level::Warning => "warn",
        Level::Notice => "notice",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("[{stamp}] [wsgi:{name}] [pid {pid}] {text}\n")
}

/// Reports that a child could not become a daemon, and ends it.
pub fn fail(text: &str) -> ! {
    Log::default().write(Level::Error, text);
    std::process::exit(exit::NOT_LAUNCHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let stamp = "Sun Nov 22 12:00:00.000001 2026";
        assert_eq!(
            line(stamp, Level::Warning, 5, "WSGI0700: a\nb"),
            "[Sun Nov 22 12:00:00.000001 2026] [wsgi:warn] [pid 5] WSGI0700: a b\n"
        );
    }
}
