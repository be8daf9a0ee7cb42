//! The thread that takes Python's lock in the clock's name, so that the clock itself never waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wsgi_core::limits::Limits;

use super::thread::Daemon;
use crate::frames;
use crate::stats::micros;

/// The thread.
pub struct Pulse {
    jobs: Sender<Job>,
    last: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// What it does beside.
pub enum Job {
    /// Interrupts the request in that thread's seat, if it is still the one that runs since then.
    Interrupt { seat: usize, since: Duration },
    /// Sends the stacks of all threads there, or of those of one application group, and rings.
    Collect {
        application_group: Option<Vec<u8>>,
        to: Sender<String>,
    },
}

impl Pulse {
    /// Starts it. It tries the lock often enough to tell when a limit has passed.
    pub fn start(daemon: &Arc<Daemon>, limits: &Limits) -> Pulse {
        let (jobs, work) = channel();
        let last = Arc::new(AtomicU64::new(micros()));
        let beat = Arc::clone(&last);
        let daemon = Arc::clone(daemon);
        let limit = limits.lock();
        let thread = thread::Builder::new().name(String::from("wsgi-pulse"));
        let thread = thread.spawn(move || live(&daemon, &work, &beat, limit)).ok();
        Pulse { jobs, last, thread }
    }

    /// When it last had the lock.
    pub fn last(&self) -> Duration {
        Duration::from_micros(self.last.load(Ordering::SeqCst))
    }

    /// Has something done.
    pub fn ask(&self, job: Job) {
        // A thread that is not there cannot help.
        let _ = self.jobs.send(job);
    }

    /// Ends it, and waits for that.
    pub fn stop(self) {
        let Pulse { jobs, thread, .. } = self;
        drop(jobs);
        if let Some(thread) = thread {
            // If it panicked, that is in the log.
            let _ = thread.join();
        }
    }
}

fn live(daemon: &Daemon, work: &Receiver<Job>, beat: &AtomicU64, limit: Option<Duration>) {
    let period = limit.map(|limit| (limit / 10).clamp(Duration::from_millis(100), Duration::from_secs(10)));
    let mut latest = Vec::new();
    loop {
        let job = match period {
            Some(period) => work.recv_timeout(period),
            None => work.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match job {
            Ok(Job::Interrupt { seat, since }) => {
                let seat = &daemon.board.seats[seat];
                let still = || seat.interrupt(since);
                daemon.host.interrupt(&seat.application_group(), seat.python(), still);
            }
            Ok(Job::Collect { application_group, to }) => {
                let text = match application_group {
                    Some(group) => frames::of_group(&daemon.host, &group),
                    None => frames::of_all(&daemon.host),
                };
                // Who asked may have lost patience.
                let _ = to.send(text);
                daemon.ring();
            }
            Err(RecvTimeoutError::Timeout) => {
                // Of the interpreter that is most likely to keep it.
                latest = daemon.board.busiest().unwrap_or(latest);
                daemon.host.attach(&latest, |_| ());
                beat.store(micros(), Ordering::SeqCst);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
