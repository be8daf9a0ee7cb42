//! A door that one thread at a time passes, for work that runs Python: nobody waits at it while attached, and no lock
//! is held while the work runs.

use std::sync::{Condvar, Mutex, PoisonError};

/// The door.
#[derive(Default)]
pub struct Gate {
    taken: Mutex<bool>,
    left: Condvar,
}

/// Proof of being inside; leaves when dropped.
pub struct Passage<'g>(&'g Gate);

impl Gate {
    /// Waits until nobody else is inside, then enters. Call detached.
    pub fn enter(&self) -> Passage<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self
            .left
            .wait_while(taken, |taken| *taken)
            .unwrap_or_else(PoisonError::into_inner);
        *taken = true;
        Passage(self)
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        // The lock is held for this one step only, by anyone: this never waits for Python.
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.left.notify_one();
    }
}
