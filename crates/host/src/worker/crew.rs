//! Whose turn it is: of the threads that have nothing to do, one waits for the next request (the leader), the others
//! wait for their turn. The last one that became idle is the next leader, so that few threads stay warm.
//!
//! A leader that has got a request hands over, or keeps the lead while it runs it (`wsgi_core::keeping`); then the lookout
//! hands over for it when that takes too long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use wsgi_core::clock;
use wsgi_core::doze::Doze;
use wsgi_core::keeping::{Keeping, Shown, is_too_long};
use wsgi_core::stats::proc::waits_in;

use super::entry::thread_usage;
use crate::stats::{micros, tid};

/// How often, in µs, the lookout looks at a request while which the lead is kept, and how long one runs before.
const LOOK: u64 = 1_000;
/// So often in a row the lookout finds nobody who keeps the lead, before it sleeps.
const QUIET: u32 = 8;

/// The threads of a daemon.
pub struct Crew {
    state: Mutex<State>,
    seats: Vec<Condvar>,
    /// Since when the leader runs a request, in µs; 0: it does not.
    kept: AtomicU64,
    /// Its number in the system.
    keeper: AtomicU64,
    dismissed: AtomicBool,
    lookout: Doze,
    /// There is a lookout.
    watched: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Somebody leads, or has been chosen to.
    led: bool,
    chosen: Option<usize>,
    /// Those that wait for their turn, the last one on top.
    idle: Vec<usize>,
    /// How many run a request.
    busy: usize,
    /// When the last request was taken, in µs.
    last: u64,
    keeping: Keeping,
}

/// What a thread that has taken a request comes back with.
pub struct Errand(Option<Kept>);

/// A request that runs while its thread keeps the lead.
struct Kept {
    since: u64,
    /// Nobody else ran a request when it began.
    alone: bool,
    /// How often its thread had slept by then, and what it had used of a processor.
    usage: (u64, u64),
}

impl Crew {
    /// A crew of so many threads.
    pub fn new(threads: usize) -> Crew {
        Crew {
            state: Mutex::default(),
            seats: (0..threads).map(|_| Condvar::new()).collect(),
            kept: AtomicU64::new(0),
            keeper: AtomicU64::new(0),
            dismissed: AtomicBool::new(false),
            lookout: Doze::new(),
            watched: AtomicBool::new(false),
        }
    }

    /// Waits until it is the turn of thread `me` to lead, which may come back from an `errand`; false when the crew has
    /// been dismissed.
    pub fn lead(&self, me: usize, errand: Option<Errand>) -> bool {
        let mut leads = false;
        let mut shown = None;
        if let Some(Errand(Some(kept))) = &errand {
            leads = self.take_back(kept.since);
            shown = Some(match (leads, kept.alone) {
                (false, true) => Shown::Waited,
                (false, false) => Shown::Long,
                (true, false) => Shown::Unclear,
                (true, true) => {
                    let (sleeps, used) = thread_usage();
                    if sleeps > kept.usage.0 {
                        Shown::Waited
                    } else {
                        Shown::Quick(used.saturating_sub(kept.usage.1))
                    }
                }
            });
        }
        let mut state = self.lock();
        if errand.is_some() {
            state.busy -= 1;
        }
        if let Some(shown) = shown {
            state.keeping.learn(shown);
        }
        if self.is_dismissed() {
            return false;
        }
        if leads || !state.led {
            state.led = true;
            return true;
        }
        state.idle.push(me);
        while !self.is_dismissed() {
            if state.chosen == Some(me) {
                state.chosen = None;
                return true;
            }
            state = self.seats[me].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        false
    }

    /// The leader, the calling thread, has a request to run: it hands over, or keeps the lead meanwhile.
    pub fn go(&self) -> Errand {
        let now = micros();
        let mut state = self.lock();
        let after = now.saturating_sub(std::mem::replace(&mut state.last, now));
        state.busy += 1;
        let keeps = state.keeping.take(after) && self.watched.load(Ordering::Relaxed) && !self.is_dismissed();
        if !keeps {
            self.hand_over(state);
            return Errand(None);
        }
        let alone = state.busy == 1;
        drop(state);
        self.keeper.store(tid(), Ordering::Relaxed);
        self.kept.store(now, Ordering::SeqCst);
        self.lookout.wake();
        Errand(Some(Kept {
            since: now,
            alone,
            usage: thread_usage(),
        }))
    }

    /// Hands over for a leader that keeps the lead for too long; until the crew is dismissed.
    pub fn look_out(&self) {
        self.watched.store(true, Ordering::SeqCst);
        while !self.is_dismissed() {
            self.lookout
                .until(|| self.kept.load(Ordering::SeqCst) != 0 || self.is_dismissed());
            let mut quiet = 0;
            let mut wait = LOOK;
            let mut before = (micros(), clock::processor());
            while quiet < QUIET && !self.is_dismissed() {
                sleep(Duration::from_micros(wait));
                wait = LOOK;
                let now = (micros(), clock::processor());
                let (span, used) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
                before = now;
                let since = self.kept.load(Ordering::SeqCst);
                let age = now.0.saturating_sub(since);
                if since == 0 {
                    quiet += 1;
                    continue;
                }
                quiet = 0;
                if age < LOOK {
                    // Not too soon: what is used in a shorter time says little.
                    wait = (LOOK - age).max(LOOK / 2);
                    continue;
                }
                // Only Python's lock, a futex, makes it wait for others.
                let call = waits_in(self.keeper.load(Ordering::Relaxed));
                let waits_else = call.is_some_and(|call| call != libc::SYS_futex);
                let state = self.lock();
                if is_too_long(state.busy > 1, waits_else, age, span, used) && self.take_back(since) {
                    self.hand_over(state);
                }
            }
        }
    }

    /// Sends all threads home that have nothing to do, now and later.
    pub fn dismiss(&self) {
        {
            let _state = self.lock();
            self.dismissed.store(true, Ordering::SeqCst);
        }
        self.lookout.wake();
        for seat in &self.seats {
            seat.notify_one();
        }
    }

    /// Ends the leadership of the leader.
    fn hand_over(&self, mut state: MutexGuard<'_, State>) {
        match state.idle.pop() {
            Some(next) => {
                state.chosen = Some(next);
                drop(state);
                self.seats[next].notify_one();
            }
            None => state.led = false,
        }
    }

    /// Ends that the lead is kept since then; false if that has ended.
    fn take_back(&self, since: u64) -> bool {
        self.kept
            .compare_exchange(since, 0, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    fn is_dismissed(&self) -> bool {
        self.dismissed.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
