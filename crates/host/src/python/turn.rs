//! Turns: threads that want the GIL for a request wait here for each other while that costs less than waiting at the GIL
//! (`wsgi_core::turns`).
//!
//! A turn says who asks for the GIL next, no more than that: the GIL is still what keeps threads apart, and who loses
//! patience asks for it without having the turn.

use std::cell::Cell;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use rustix::thread::futex::{Flags, wait as sleep, wake};
use rustix::time::Timespec;
use wsgi_core::clock;
use wsgi_core::turns::Proofs;

use super::thread::active_visits;

/// How long a turn lasts, in µs, before nobody waits for its end any more: a fifth of what CPython lets a thread compute
/// while others wait (`sys.getswitchinterval`).
const PATIENCE: u32 = 1000;
/// How long a thread waits for turns, in µs, while others are faster: then it goes to the GIL, which is given to who waits
/// there.
const FAIRNESS: u32 = 6000;
/// How often those who wait look at the time.
const INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 3_000_000,
};

/// Whose turn it is: nobody's, somebody's, or somebody's whose end others may wait for.
static TURN: AtomicU32 = AtomicU32::new(FREE);
const FREE: u32 = 0;
const TAKEN: u32 = 1;
const WANTED: u32 = 2;

/// When the last turn began, in µs modulo 2^32.
static BEGUN: AtomicU32 = AtomicU32::new(0);
/// Counts stays at the GIL. Written by who holds it.
static STAYS: AtomicU32 = AtomicU32::new(0);
/// [`Proofs`]. Written by who holds the GIL.
static PROOFS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// It is the calling thread's turn.
    static MINE: Cell<bool> = const { Cell::new(false) };
    /// The number of the calling thread's stay at the GIL.
    static STAY: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Waits for the calling thread's turn, if turns are taken. Before attaching.
pub(super) fn wait() {
    if Proofs::from_number(PROOFS.load(Relaxed)).are_enough() {
        MINE.set(take());
    }
}

/// A stay at the GIL begins. Attached only.
pub(super) fn come() {
    let stay = STAYS.load(Relaxed).wrapping_add(1);
    STAYS.store(stay, Relaxed);
    STAY.set(Some(stay));
}

/// The calling thread is about to detach. Whether it had come for a stay.
pub(super) fn leave() -> bool {
    let Some(stay) = STAY.take() else { return false };
    let before = Proofs::from_number(PROOFS.load(Relaxed));
    let after = before.after(STAYS.load(Relaxed) == stay, active_visits() > 1);
    if after != before {
        PROOFS.store(after.to_number(), Relaxed);
    }
    true
}

/// Ends the turn, if it is the calling thread's. After detaching.
pub(super) fn end() {
    if MINE.take() && TURN.swap(FREE, Release) == WANTED {
        // Whoever waited may have lost patience just now.
        let _ = wake(&TURN, Flags::PRIVATE, 1);
    }
}

/// Waits until it is the calling thread's turn; false if that takes too long.
fn take() -> bool {
    if TURN.compare_exchange(FREE, TAKEN, Acquire, Relaxed).is_err() {
        let came = now();
        while TURN.swap(WANTED, Acquire) != FREE {
            let now = now();
            if now.wrapping_sub(BEGUN.load(Relaxed)) > PATIENCE || now.wrapping_sub(came) > FAIRNESS {
                return false;
            }
            // Woken, or too late to sleep, or out of time: either way it looks again.
            let _ = sleep(&TURN, Flags::PRIVATE, WANTED, Some(&INTERVAL));
        }
    }
    BEGUN.store(now(), Relaxed);
    true
}

fn now() -> u32 {
    clock::monotonic() as u32
}
