//! What a daemon's threads tell `wsgid` about their work, and what its clock wants to know of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wsgi_core::supervision::Reason;
use wsgi_core::wire::control::daemon::FromDaemon;

use super::activity::moment;
use super::control::Control;
use crate::adapter::ScriptWatch;
use crate::stats::micros;

/// The work so far. Nothing here waits: it may be called with Python's lock held.
pub struct Report {
    control: Arc<Control>,
    /// A request has been completed.
    served: AtomicBool,
    /// A script has been loaded.
    loaded: AtomicBool,
    /// When the first request began that found none; 0: none has.
    asked: AtomicU64,
    /// Modification times of changed scripts that `wsgid` has been told of, by path.
    changed: Mutex<HashMap<Vec<u8>, i64>>,
}

impl Report {
    /// Nothing yet.
    pub fn new(control: Arc<Control>) -> Report {
        Report {
            control,
            served: AtomicBool::new(false),
            loaded: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            changed: Mutex::default(),
        }
    }

    /// A request is about to run.
    pub fn asked(&self) {
        if !self.loaded.load(Ordering::Relaxed) && self.asked.load(Ordering::Relaxed) == 0 {
            self.asked.store(micros(), Ordering::SeqCst);
        }
    }

    /// A request is completed, and the end of its reply is about to be sent.
    pub fn served(&self) {
        if !self.served.load(Ordering::Relaxed) && !self.served.swap(true, Ordering::SeqCst) {
            self.control.say(&FromDaemon::Served);
        }
    }

    /// Since when requests find no script that can be loaded; `None`: they do, or there have been none.
    pub fn waiting(&self) -> Option<Duration> {
        moment(&self.asked).filter(|_| !self.loaded.load(Ordering::SeqCst))
    }
}

impl ScriptWatch for Report {
    fn loaded(&self) {
        self.loaded.store(true, Ordering::SeqCst);
    }

    fn used(&self, script: &[u8], application_group: &[u8]) {
        // What is longer than a message may be is not told.
        self.control.say(&FromDaemon::Loaded {
            script: script.to_vec(),
            application_group: application_group.to_vec(),
        });
    }

    fn changed(&self, script: &[u8], mtime: i64) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        if changed.insert(script.to_vec(), mtime) != Some(mtime) {
            self.control.say(&FromDaemon::Replace(Reason::ScriptReload));
        }
    }
}
