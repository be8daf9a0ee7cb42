//! Service scripts: what a daemon with `threads=0` runs.

use std::sync::Arc;
use std::thread;

use rustix::process::{Signal, getpid, kill_process};
use wsgi_core::supervision::Reason;
use wsgi_core::wire::control::Preload;
use wsgi_core::wire::control::daemon::{FromDaemon, MAX_STACKS, ToDaemon};

use super::control::Control;
use super::log::StandardError;
use super::signals::Preparation;
use super::watch::PATIENCE;
use crate::adapter::Imported;
use crate::frames;
use crate::host::Host;

/// Runs the scripts of a service group, in the main thread; returns the exit code.
pub fn run(
    host: Arc<Host>,
    preparation: Preparation,
    control: &Arc<Control>,
    log: Arc<StandardError>,
    scripts: &[Preload],
) -> i32 {
    preparation.release_signals(&host);
    control.say(&FromDaemon::Ready);
    let (ears, ours) = (Arc::clone(control), Arc::downgrade(&host));
    thread::spawn(move || {
        loop {
            match ears.hear() {
                Ok(Some((ToDaemon::Log(level), file))) => log.change(level, file.into_iter().next()),
                Ok(Some((ToDaemon::Stacks, _))) => {
                    let stacks = ours.upgrade().map(|host| frames::of_all(&host));
                    let mut text = stacks.unwrap_or_default().into_bytes();
                    text.truncate(MAX_STACKS);
                    ears.say(&FromDaemon::Stacks(text));
                }
                // Whatever else wsgid says now, or its death, means the end.
                _ => break,
            }
        }
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
