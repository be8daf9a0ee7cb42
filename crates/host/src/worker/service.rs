//! Service scripts: what a daemon with `threads=0` runs.

use std::sync::Arc;
use std::thread;

use rustix::process::{Signal, getpid, kill_process};
use wsgi_core::supervision::Reason;
use wsgi_core::wire::control::Preload;
use wsgi_core::wire::control::daemon::FromDaemon;

use super::control::Control;
use super::signals::Preparation;
use super::watch::PATIENCE;
use crate::adapter::Imported;
use crate::host::Host;

/// Runs the scripts of a service group, in the main thread; returns the exit code.
pub fn run(host: Arc<Host>, preparation: Preparation, control: &Arc<Control>, scripts: &[Preload]) -> i32 {
    preparation.release_signals(&host);
    control.say(&FromDaemon::Ready);
    let ears = Arc::clone(control);
    thread::spawn(move || {
        // Whatever wsgid says now, or its death, means the end.
        let _ = ears.hear();
        let _ = kill_process(getpid(), Signal::TERM);
    });
    for preload in scripts {
        if host.import(&preload.application_group, &preload.script) == Imported::Exited {
            break;
        }
    }
    control.say(&FromDaemon::Exiting(Reason::ServiceEnd));
    host.stop_shared(PATIENCE);
    0
}
