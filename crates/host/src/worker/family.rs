//! Telling the daemon itself from the processes that its application forks.

use rustix::process::{Pid, getpid};
use wsgi_core::abi::Level;

use super::entry::exit;
use crate::adapter::exchange::ServerLog;

/// The daemon's pid.
#[derive(Clone, Copy)]
pub struct Family(Pid);

impl Family {
    /// Of the calling process.
    pub fn here() -> Family {
        Family(getpid())
    }

    /// Ends the calling process if it is a child: it may not speak for its parent, which serves the same request.
    pub fn check(self, log: &dyn ServerLog) {
        if getpid() != self.0 {
            let text = "WSGI0521: a process that the application forked came back into the server and is ended; end it \
                        by os._exit(), or start programs by subprocess";
            log.log(Level::Error, text.as_bytes());
            exit(1)
        }
    }
}
