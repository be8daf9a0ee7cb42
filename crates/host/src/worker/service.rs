//! Service scripts: what a daemon with `threads=0` runs.

use std::sync::Arc;
use std::thread;

use rustix::process::{Signal, getpid, kill_process};
use wsgi_core::supervision::Reason;
use wsgi_core::wire::control::daemon::FromDaemon;

use super::control::Control;
use super::signals::Preparation;
use super::watch::PATIENCE;
use crate::adapter::Imported;
use crate::host::Host;

/// Runs the scripts of a service group, in the main thread; returns the exit code.
pub fn run(host: Arc<Host>, preparation: Preparation, control: Control, scripts: &[(Vec<u8>, Vec<u8>)]) -> i32 {
    preparation.release_signals(&host);
    let control = Arc::new(control);
    control.say(FromDaemon::Ready);
    let ears = Arc::clone(&control);
    thread::spawn(move || {
        // Whatever wsgid says now, or its death, means the end.
        let _ = ears.hear();
        let _ = kill_process(getpid(), Signal::TERM);
    });
    for (script, application_group) in scripts {
        if host.import(application_group, script) == Imported::Exited {
            break;
        }
    }
    control.say(FromDaemon::Exiting(Reason::ServiceEnd));
    host.stop_shared(PATIENCE);
    0
}
