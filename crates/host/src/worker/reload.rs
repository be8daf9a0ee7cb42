//! Scripts that have changed: the process is replaced, and serves their old code until then.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What has been noticed.
pub struct Reload {
    /// The main thread has not heard of it yet.
    news: AtomicBool,
    /// Modification times that have been seen, by path.
    seen: Mutex<HashMap<Vec<u8>, i64>>,
    /// Wakes the main thread.
    bell: OwnedFd,
}

impl Reload {
    /// Nothing yet. `bell` wakes the main thread.
    pub fn new(bell: OwnedFd) -> Reload {
        Reload {
            news: AtomicBool::new(false),
            seen: Mutex::default(),
            bell,
        }
    }

    /// The script has another modification time than the code that runs, or wants to be loaded anew. Each time counts
    /// once. Does not wait.
    pub fn notice(&self, script: &[u8], mtime: i64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.get(script) != Some(&mtime) {
            seen.insert(script.to_vec(), mtime);
            self.news.store(true, Ordering::SeqCst);
            // A full pipe wakes it, too.
            let _ = rustix::io::write(&self.bell, &[0]);
        }
    }

    /// Whether something has been noticed since the last call.
    pub fn take(&self) -> bool {
        self.news.swap(false, Ordering::SeqCst)
    }
}
