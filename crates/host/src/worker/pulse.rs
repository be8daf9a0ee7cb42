//! The thread that takes Python's lock in the clock's name, so that the clock itself never waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wsgi_core::limits::Limits;

use super::stacks::{When, write};
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
    /// Writes the stacks of the threads of that application group to standard error.
    Stacks(Vec<u8>),
    /// Sends the stacks of all threads there, and rings.
    Collect(Sender<String>),
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
    // When the lock does not come in time, then stacks are written without it: those of the interpreter that is most
    // likely to have it. A thread that begins meanwhile gives that order itself.
    let arm = |group: &[u8]| {
        if let Some(limit) = limit {
            let still = || daemon.board.busiest().is_none_or(|busiest| busiest == group);
            write(&daemon.host, &*daemon.log, group, When::Later(limit), still);
        }
    };
    let mut latest = Vec::new();
    arm(&latest);
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
            Ok(Job::Collect(to)) => {
                // Who asked may have lost patience.
                let _ = to.send(frames::of_all(&daemon.host));
                daemon.ring();
            }
            Ok(Job::Stacks(group)) => write(&daemon.host, &*daemon.log, &group, When::Now, || true),
            Err(RecvTimeoutError::Timeout) => {
                latest = daemon.board.busiest().unwrap_or(latest);
                arm(&latest);
                beat.store(micros(), Ordering::SeqCst);
            }
            Err(RecvTimeoutError::Disconnected) => {
                if limit.is_some() {
                    write(&daemon.host, &*daemon.log, &[], When::Never, || true);
                }
                return;
            }
        }
    }
}
