//! The token that says "this thread is attached to an interpreter" (`pystate.h`, `ceval.h`).

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::Duration;

use pyo3_ffi as ffi;
use rustix::time::{ClockId, clock_gettime};

use super::turn;

thread_local! {
    /// Whether this thread is attached by way of [`attach`] and not detached within.
    static ATTACHED: Cell<bool> = const { Cell::new(false) };
    /// How long, in ns, and how often, this thread has waited to be attached.
    static WAITED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// How long, and how often, the calling thread has waited for the GIL since it called [`forget_waits`].
pub fn waits() -> (Duration, u64) {
    let (nanos, count) = WAITED.get();
    (Duration::from_nanos(nanos), count)
}

/// Begins to count anew.
pub fn forget_waits() {
    WAITED.set((0, 0));
}

/// # Safety
/// As `PyEval_RestoreThread`.
unsafe fn restore(state: *mut ffi::PyThreadState, in_turn: bool) {
    let asked = nanos();
    if in_turn {
        turn::wait();
    }
    // SAFETY: the caller's promise.
    unsafe { ffi::PyEval_RestoreThread(state) };
    if in_turn {
        turn::come();
    }
    let (time, count) = WAITED.get();
    WAITED.set((time + nanos().saturating_sub(asked), count + 1));
}

/// ns of `CLOCK_MONOTONIC`; only differences count.
fn nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

/// Proof that the calling thread is attached to an interpreter for `'py`. Neither `Send` nor `Sync`.
#[derive(Clone, Copy)]
pub struct Python<'py>(PhantomData<(&'py (), *mut ())>);

impl<'py> Python<'py> {
    /// # Safety
    /// The calling thread is attached for all of `'py`, save for what runs inside [`Python::detach`].
    pub(super) unsafe fn assume() -> Python<'py> {
        Python(PhantomData)
    }

    /// Runs `work` detached, so that other threads can run Python meanwhile. Everything that may wait runs like this.
    /// `Send` keeps tokens and objects out of it.
    pub fn detach<R>(self, work: impl FnOnce() -> R + Send) -> R {
        struct Return {
            state: *mut ffi::PyThreadState,
            attached: bool,
            in_turn: bool,
        }
        impl Drop for Return {
            fn drop(&mut self) {
                // SAFETY: the state that this thread saved below and that is current nowhere.
                unsafe { restore(self.state, self.in_turn) };
                ATTACHED.set(self.attached);
            }
        }
        let attached = ATTACHED.replace(false);
        let in_turn = turn::leave();
        // SAFETY: the token says that this thread is attached.
        let state = unsafe { ffi::PyEval_SaveThread() };
        turn::end();
        let _return = Return {
            state,
            attached,
            in_turn,
        };
        work()
    }
}

/// Attaches with `state` for the length of `work`.
///
/// # Safety
/// `state` belongs to the calling thread, is alive and current nowhere.
///
/// # Panics
/// When the thread is attached already.
pub(super) unsafe fn attach<R>(
    state: *mut ffi::PyThreadState,
    in_turn: bool,
    work: impl for<'py> FnOnce(Python<'py>) -> R,
) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            ATTACHED.set(false);
            turn::leave();
            // SAFETY: attached since the creation of this guard.
            unsafe { ffi::PyEval_SaveThread() };
            turn::end();
        }
    }
    assert!(!is_attached(), "a thread attaches to one interpreter at a time");
    // SAFETY: the caller's promise.
    unsafe { restore(state, in_turn) };
    ATTACHED.set(true);
    let _leave = Leave;
    // SAFETY: attached until the guard drops, after everything that `work` made.
    work(unsafe { Python::assume() })
}

/// Whether this thread is surely attached. A thread of Python's own that calls into us counts as not.
pub(super) fn is_attached() -> bool {
    ATTACHED.get()
}
