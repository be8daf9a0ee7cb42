//! Telling the daemon itself from the processes that its application forks.

use wsgi_core::abi::Level;

use super::entry::exit;
use crate::adapter::exchange::ServerLog;
use crate::python::{is_forked, watch_forks};

/// The daemon and its children.
#[derive(Clone, Copy)]
pub struct Family(());

impl Family {
    /// Of the calling process, which is the daemon.
    pub fn here() -> Family {
        watch_forks();
        Family(())
    }

    /// Ends the calling process if it is a child: it may not speak for its parent, which serves the same request.
    pub fn check(self, log: &dyn ServerLog) {
        if is_forked() {
            let text = "WSGI0521: a process that the application forked came back into the server and is ended; end it \
                        by os._exit(), or start programs by subprocess";
            log.log(Level::Error, text.as_bytes());
            exit(1)
        }
    }
}
