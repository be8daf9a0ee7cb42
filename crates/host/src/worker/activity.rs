//! What the threads of a daemon are doing, for its clock to look at.

use std::ffi::c_ulong;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wsgi_core::limits::Running;

use crate::stats::micros;

/// The same as time since the clock's origin.
pub fn now() -> Duration {
    Duration::from_micros(micros())
}

/// When the application last did something for its clients.
#[derive(Default)]
pub struct Activity(AtomicU64);

impl Activity {
    /// It does now.
    pub fn note(&self) {
        self.0.store(micros(), Ordering::Relaxed);
    }

    /// When; `None`: never yet.
    pub fn last(&self) -> Option<Duration> {
        moment(&self.0)
    }
}

/// The time that is stored there; `None`: 0 is.
pub fn moment(of: &AtomicU64) -> Option<Duration> {
    Some(of.load(Ordering::SeqCst))
        .filter(|at| *at != 0)
        .map(Duration::from_micros)
}

/// One thread, as the clock sees it.
#[derive(Default)]
pub struct Seat {
    /// Since when it runs a request; 0: it does not.
    since: AtomicU64,
    /// When its request was interrupted; 0: it was not.
    interrupted: AtomicU64,
    /// Python's number of the thread.
    python: AtomicU64,
    application_group: Mutex<Vec<u8>>,
}

impl Seat {
    /// The thread begins a request of that application group.
    pub fn begin(&self, python: c_ulong, application_group: &[u8]) {
        let mut group = self.group();
        group.clear();
        group.extend_from_slice(application_group);
        drop(group);
        self.python.store(python, Ordering::Relaxed);
        self.since.store(micros(), Ordering::SeqCst);
    }

    /// The thread's request has ended; returns whether somebody wanted to interrupt it.
    pub fn end(&self) -> bool {
        self.since.store(0, Ordering::SeqCst);
        self.interrupted.swap(0, Ordering::SeqCst) != 0
    }

    /// Since when it runs a request.
    pub fn since(&self) -> Option<Duration> {
        moment(&self.since)
    }

    /// The request that it runs.
    pub fn running(&self) -> Option<Running> {
        Some(Running {
            since: self.since()?,
            interrupted: moment(&self.interrupted),
        })
    }

    /// Marks the request that runs since then as interrupted; false when it is already, or has ended. Call this
    /// attached: as long as the caller is, the thread cannot pass its end without seeing the mark.
    pub fn interrupt(&self, since: Duration) -> bool {
        let free = self
            .interrupted
            .compare_exchange(0, micros(), Ordering::SeqCst, Ordering::SeqCst);
        let runs = self.since() == Some(since);
        if free.is_ok() && !runs {
            self.interrupted.store(0, Ordering::SeqCst);
        }
        free.is_ok() && runs
    }

    /// Python's number of the thread.
    pub fn python(&self) -> c_ulong {
        self.python.load(Ordering::Relaxed)
    }

    /// Where its request runs.
    pub fn application_group(&self) -> Vec<u8> {
        self.group().clone()
    }

    fn group(&self) -> MutexGuard<'_, Vec<u8>> {
        self.application_group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the threads and the clock share.
pub struct Board {
    /// One for each thread.
    pub seats: Vec<Seat>,
    /// Of all requests that count.
    pub activity: Arc<Activity>,
    /// Requests that have ended.
    pub completed: AtomicU64,
    /// Requests that are taken from now on are handed back.
    pub draining: AtomicBool,
}

impl Board {
    /// For so many threads.
    pub fn new(threads: usize) -> Board {
        Board {
            seats: (0..threads).map(|_| Seat::default()).collect(),
            activity: Arc::default(),
            completed: AtomicU64::new(0),
            draining: AtomicBool::new(false),
        }
    }

    /// Where the longest of the requests that run does so.
    pub fn busiest(&self) -> Option<Vec<u8>> {
        let busy = self.seats.iter().filter_map(|seat| Some((seat.since()?, seat)));
        busy.min_by_key(|(since, _)| *since)
            .map(|(_, seat)| seat.application_group())
    }

    /// Threads that run a request.
    pub fn busy(&self) -> usize {
        self.seats.iter().filter(|seat| seat.since().is_some()).count()
    }
}
