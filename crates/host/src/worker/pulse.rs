//! The thread that takes Python's lock in the clock's name: so that the clock itself never waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::activity::micros;
use super::thread::Daemon;

/// The thread.
pub struct Pulse {
    jobs: Sender<Interrupt>,
    last: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// A request to be interrupted: in that thread's seat, running since then.
pub struct Interrupt {
    pub seat: usize,
    pub since: Duration,
}

impl Pulse {
    /// Starts it. With `limit` it tries the lock often enough to tell when that limit has passed.
    pub fn start(daemon: &Arc<Daemon>, limit: Option<Duration>) -> Pulse {
        let (jobs, work) = channel();
        let last = Arc::new(AtomicU64::new(micros()));
        let beat = Arc::clone(&last);
        let daemon = Arc::clone(daemon);
        let period = limit.map(|limit| (limit / 10).clamp(Duration::from_millis(100), Duration::from_secs(10)));
        let thread = thread::Builder::new().name(String::from("wsgi-pulse"));
        let thread = thread.spawn(move || live(&daemon, &work, &beat, period)).ok();
        Pulse { jobs, last, thread }
    }

    /// When it last had the lock.
    pub fn last(&self) -> Duration {
        Duration::from_micros(self.last.load(Ordering::SeqCst))
    }

    /// Has a request interrupted.
    pub fn interrupt(&self, interrupt: Interrupt) {
        // A thread that is not there cannot help.
        let _ = self.jobs.send(interrupt);
    }

    /// Ends it, and waits for that.
    pub fn stop(self) {
        let Pulse { jobs, thread, .. } = self;
        drop(jobs);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn live(daemon: &Daemon, work: &Receiver<Interrupt>, beat: &AtomicU64, period: Option<Duration>) {
    loop {
        let job = match period {
            Some(period) => work.recv_timeout(period),
            None => work.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match job {
            Ok(Interrupt { seat, since }) => {
                let seat = &daemon.board.seats[seat];
                let still = || seat.interrupt(since);
                daemon.host.interrupt(&seat.application_group(), seat.python(), still);
            }
            Err(RecvTimeoutError::Timeout) => {
                daemon.host.attach(|_| ());
                beat.store(micros(), Ordering::SeqCst);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
