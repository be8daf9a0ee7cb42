//! Whose turn it is: of the threads that have nothing to do, one waits for the next request (the leader), the others
//! wait for their turn. The last one that became idle is the next leader, so that few threads stay warm.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The threads of a daemon.
pub struct Crew {
    state: Mutex<State>,
    seats: Vec<Condvar>,
}

#[derive(Default)]
struct State {
    /// Somebody leads, or has been chosen to.
    led: bool,
    chosen: Option<usize>,
    /// Those that wait for their turn, the last one on top.
    idle: Vec<usize>,
    dismissed: bool,
}

impl Crew {
    /// A crew of so many threads.
    pub fn new(threads: usize) -> Crew {
        Crew {
            state: Mutex::default(),
            seats: (0..threads).map(|_| Condvar::new()).collect(),
        }
    }

    /// Waits until it is the turn of thread `me` to lead; false when the crew has been dismissed.
    pub fn lead(&self, me: usize) -> bool {
        let mut state = self.lock();
        if !state.led && !state.dismissed {
            state.led = true;
            return true;
        }
        state.idle.push(me);
        while !state.dismissed {
            if state.chosen == Some(me) {
                state.chosen = None;
                return true;
            }
            state = self.seats[me].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        false
    }

    /// Ends the leadership of the calling thread: it has something to do.
    pub fn hand_over(&self) {
        let mut state = self.lock();
        match state.idle.pop() {
            Some(next) => {
                state.chosen = Some(next);
                drop(state);
                self.seats[next].notify_one();
            }
            None => state.led = false,
        }
    }

    /// Sends all threads home that have nothing to do, now and later.
    pub fn dismiss(&self) {
        self.lock().dismissed = true;
        for seat in &self.seats {
            seat.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
