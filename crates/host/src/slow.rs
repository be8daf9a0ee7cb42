//! `WSGISlowRequests`: says which request takes long while it does, with the stack that its thread has then.
//!
//! Two threads: one watches the time and never waits for Python's lock, the other takes stacks.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wsgi_core::abi::Level;
use wsgi_core::stats::page::Slot;
use wsgi_core::stats::reading::{Running, thread};

use crate::adapter::Live;
use crate::adapter::exchange::ServerLog;
use crate::frames::{self, OfThread};
use crate::host::Host;
use crate::python;
use crate::stats::{Stats, micros};

/// How long a stack may take before the request is reported without it.
const STACK: Duration = Duration::from_secs(1);

/// The watch.
pub struct Slow {
    stop: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

/// Whose stack is wanted.
#[derive(Clone)]
struct Wanted {
    slot: Slot<'static>,
    running: Running,
}

impl Slow {
    /// Watches the requests of this process that take longer than `limit`.
    pub fn watch(host: &Arc<Host>, log: Arc<dyn ServerLog>, limit: Duration) -> Slow {
        let (stop, stopped) = channel();
        let (ask, asked) = channel();
        let (tell, told) = channel();
        let stats = host.stats();
        let host = Arc::clone(host);
        let taker = python::spawn(move || take(&host, &asked, &tell));
        let watcher = python::spawn(move || {
            Watch {
                stats,
                log,
                limit,
                ask,
                told,
                seen: Vec::new(),
            }
            .run(&stopped);
        });
        Slow {
            stop,
            threads: [taker, watcher].into_iter().flatten().collect(),
        }
    }

    /// Ends it; a thread that waits for Python's lock for longer than `patience` is left.
    pub fn stop(self, patience: Duration) {
        drop(self.stop);
        let deadline = Instant::now() + patience;
        while !self.threads.iter().all(JoinHandle::is_finished) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What was asked for, and what was found.
type Taken = (Wanted, Option<OfThread>);

/// Takes stacks, one after the other.
fn take(host: &Host, asked: &Receiver<Wanted>, tell: &Sender<Taken>) {
    while let Ok(wanted) = asked.recv() {
        let still = || wanted.slot.since() == wanted.running.since && wanted.slot.started() == wanted.running.number;
        let found = frames::of_thread(host, wanted.running.python, still);
        if tell.send((wanted, found)).is_err() {
            return;
        }
    }
}

struct Watch {
    stats: Stats,
    log: Arc<dyn ServerLog>,
    limit: Duration,
    ask: Sender<Wanted>,
    told: Receiver<Taken>,
    /// The last reported request of each slot.
    seen: Vec<u64>,
}

impl Watch {
    fn run(mut self, stopped: &Receiver<()>) {
        let period = (self.limit / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
            self.look();
        }
    }

    fn look(&mut self) {
        // What could not be told when it was asked for.
        for (wanted, found) in self.told.try_iter() {
            if let Some(OfThread {
                live,
                stack: Some(stack),
            }) = found
            {
                let text = format!(
                    "WSGI0451: the Python stack of slow request {}, when Python's lock came back:\n{}",
                    wanted.running.text,
                    stack.trim_end()
                );
                self.log(Some(&live), &text);
            }
        }
        let limit = u64::try_from(self.limit.as_micros()).unwrap_or(u64::MAX);
        for (at, slot) in self.stats.page.slots().enumerate() {
            if self.seen.len() <= at {
                self.seen.push(0);
            }
            let since = slot.since();
            if since == 0 || micros().saturating_sub(since) < limit || slot.started() == self.seen[at] {
                continue;
            }
            if let Some(running) = thread(&slot.copy()).running.filter(|running| running.since == since) {
                self.seen[at] = running.number;
                self.report(slot, running);
            }
        }
    }

    fn report(&self, slot: Slot<'static>, running: Running) {
        let seconds = |micros: u64| micros as f64 / 1e6;
        let (begun, python) = (running.since, running.python);
        let which = match &running.application_group[..] {
            "" => running.text.clone(),
            group => format!("{} (application group {group})", running.text),
        };
        let queued = match running.queued {
            0 => String::new(),
            queued => format!(", after {:.3} s in the queue", seconds(queued)),
        };
        // A thread that is gone answers nothing.
        let _ = self.ask.send(Wanted { slot, running });
        let deadline = Instant::now() + STACK;
        let found = loop {
            match self
                .told
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                // Asked for by an earlier one, which has its line already.
                Ok((wanted, _)) if (wanted.running.since, wanted.running.python) != (begun, python) => {}
                Ok((_, found)) => break Ok(found),
                Err(error) => break Err(error),
            }
        };
        let (live, stack) = match found {
            Ok(found) => {
                let (live, stack) = found.map_or((None, None), |found| (Some(found.live), found.stack));
                let stack =
                    stack.map(|stack| format!("its Python stack now, the latest call last:\n{}", stack.trim_end()));
                let stack = stack.unwrap_or_else(|| "it is not in Python code at the moment".to_owned());
                (live, stack)
            }
            Err(RecvTimeoutError::Disconnected) => (None, "its Python stack is not to be had".to_owned()),
            Err(RecvTimeoutError::Timeout) => {
                let text = "its Python stack follows when some C extension gives Python's lock back";
                (None, text.to_owned())
            }
        };
        let text = format!(
            "WSGI0450: slow request: {which} has been running for {:.3} s{queued}; {stack}",
            seconds(micros().saturating_sub(begun))
        );
        self.log(live.as_deref(), &text);
    }

    /// Logs it with the request; if that has ended, or its thread just reads or sends a body, into the server's log.
    fn log(&self, live: Option<&Live>, text: &str) {
        if !live.is_some_and(|live| live.try_log(Level::Warning, text.as_bytes())) {
            self.log.log(Level::Warning, text.as_bytes());
        }
    }
}
