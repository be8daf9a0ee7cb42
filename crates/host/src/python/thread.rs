//! Thread states: one per (thread, interpreter), made by the thread that uses it, kept for its life and deleted by it
//! (`pystate.h`); and the count of threads that are busy with Python, which shutting down waits for.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use pyo3_ffi as ffi;

use super::attached;
use super::interpreter::Interpreter;
use super::nudge;

/// Set when Python starts to end: from then on no thread gets in.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// Set when Python is given up with threads stuck in it: from then on states are left as they are.
static ABANDONED: AtomicBool = AtomicBool::new(false);
/// Threads inside.
static VISITS: AtomicUsize = AtomicUsize::new(0);
/// Thread states that threads have made for themselves and not deleted yet.
static OWN_STATES: AtomicUsize = AtomicUsize::new(0);
/// The last number given to a thread.
static NUMBERS: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static STATES: States = const { States(RefCell::new(Vec::new())) };
    static VISITING: Cell<bool> = const { Cell::new(false) };
    static NUMBER: Cell<i64> = const { Cell::new(0) };
}

/// A thread's stay with Python. Python is not ended as long as one exists.
pub struct Visit {
    /// The thread was on a visit already: httpd makes further requests while it sends the reply of one.
    nested: bool,
    _inside: Inside,
}

impl Visit {
    /// Comes in; `None` when Python is ending or has ended.
    pub fn begin() -> Option<Visit> {
        let inside = Inside::enter();
        if CLOSED.load(Ordering::SeqCst) {
            return None;
        }
        let nested = VISITING.replace(true);
        Some(Visit {
            nested,
            _inside: inside,
        })
    }

    /// Whether the calling thread itself is on a visit.
    pub fn is_under_way() -> bool {
        VISITING.get()
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        VISITING.set(self.nested);
    }
}

/// Counts a thread that uses Python.
struct Inside;

impl Inside {
    fn enter() -> Inside {
        VISITS.fetch_add(1, Ordering::SeqCst);
        nudge::wake_if_asleep();
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        VISITS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Lets no thread in any more; false if that was so already.
pub fn close_doors() -> bool {
    !CLOSED.swap(true, Ordering::SeqCst)
}

/// Gives Python up: threads that end do not tidy up after themselves any more.
pub fn abandon() {
    ABANDONED.store(true, Ordering::SeqCst);
}

/// Threads that are still inside.
pub fn active_visits() -> usize {
    VISITS.load(Ordering::SeqCst)
}

/// Thread states that threads have made for themselves. A thread deletes its own when it ends.
pub fn own_states() -> usize {
    OWN_STATES.load(Ordering::SeqCst)
}

/// The number of this thread among those that asked, from 1.
pub fn thread_number() -> i64 {
    if NUMBER.get() == 0 {
        NUMBER.set(NUMBERS.fetch_add(1, Ordering::Relaxed) + 1);
    }
    NUMBER.get()
}

struct State {
    interpreter: usize,
    raw: *mut ffi::PyThreadState,
    /// False for an interpreter's keeper, which ends with the interpreter.
    ours: bool,
}

struct States(RefCell<Vec<State>>);

impl Drop for States {
    fn drop(&mut self) {
        // The thread ends. Python is not finalised while a thread has states of its own; but it may be stuck for good,
        // or this may be exit() in a signal handler, in the middle of a request.
        let hopeless = ABANDONED.load(Ordering::SeqCst) || Visit::is_under_way() || attached::is_attached();
        if hopeless || !self.0.get_mut().iter().any(|state| state.ours) {
            return;
        }
        let _inside = Inside::enter();
        // The main interpreter's state was made first and goes last: up to 3.11 it is the one that
        // PyGILState_Ensure finds.
        while let Some(state) = self.0.get_mut().pop() {
            if state.ours {
                // SAFETY: this thread's own state, current nowhere.
                unsafe { delete(state.raw) }
            }
        }
    }
}

/// The calling thread's state in `interpreter`, made if it has none.
pub(super) fn state(interpreter: &Interpreter) -> *mut ffi::PyThreadState {
    find(interpreter).unwrap_or_else(|| {
        // SAFETY: the interpreter lives as long as its handle; needs no GIL.
        let raw = unsafe { ffi::PyThreadState_New(interpreter.raw()) };
        assert!(!raw.is_null(), "no memory for a thread state");
        OWN_STATES.fetch_add(1, Ordering::SeqCst);
        remember(interpreter, raw, true);
        raw
    })
}

/// Records a state that CPython made for the calling thread.
pub(super) fn remember(interpreter: &Interpreter, raw: *mut ffi::PyThreadState, ours: bool) {
    STATES.with(|states| {
        states.0.borrow_mut().push(State {
            interpreter: interpreter.number(),
            raw,
            ours,
        });
    });
}

/// Deletes the calling thread's state in `interpreter`, if it has one of its own.
pub(super) fn leave(interpreter: &Interpreter) {
    let state = STATES.with(|states| {
        let mut states = states.0.borrow_mut();
        let index = states
            .iter()
            .position(|state| state.interpreter == interpreter.number())?;
        Some(states.remove(index))
    });
    if let Some(State { raw, ours: true, .. }) = state {
        // SAFETY: this thread's own state, current nowhere, forgotten.
        unsafe { delete(raw) }
    }
}

/// Forgets the calling thread's state in `interpreter`.
pub(super) fn forget(interpreter: &Interpreter) {
    STATES.with(|states| {
        states
            .0
            .borrow_mut()
            .retain(|state| state.interpreter != interpreter.number());
    });
}

fn find(interpreter: &Interpreter) -> Option<*mut ffi::PyThreadState> {
    STATES.with(|states| {
        let states = states.0.borrow();
        let state = states.iter().find(|state| state.interpreter == interpreter.number());
        state.map(|state| state.raw)
    })
}

/// # Safety
/// `raw` is the calling thread's own state, current nowhere, and is not used again.
unsafe fn delete(raw: *mut ffi::PyThreadState) {
    // SAFETY: attached with it while it is cleared, detached when it is deleted. (PyThreadState_DeleteCurrent is not
    // in the stable ABI.)
    unsafe {
        attached::attach(raw, false, |_py| ffi::PyThreadState_Clear(raw));
        ffi::PyThreadState_Delete(raw);
    }
    OWN_STATES.fetch_sub(1, Ordering::SeqCst);
}
