//! Interpreters: the main one and sub-interpreters (`pylifecycle.h`).

use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3_ffi as ffi;

use super::{Python, attached, isolated, thread};

/// The number of the next interpreter. Addresses can come again, numbers do not.
static NUMBERS: AtomicUsize = AtomicUsize::new(0);

/// How many interpreters this process has had.
pub(super) fn interpreters() -> usize {
    NUMBERS.load(Ordering::Relaxed)
}

/// Gives back to the system what starting Python or loading scripts has left free on the C heap: some 260 KB after a
/// start, which nobody would ask for again.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: glibc's own lists of free memory are all that it changes.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// A running interpreter.
///
/// # Invariants
/// Its first thread state, the keeper, lives as long as it does: 3.12 cannot make a new one in an interpreter that has
/// none left. Between its preparation and its end no thread uses the keeper.
pub struct Interpreter {
    raw: NonNull<ffi::PyInterpreterState>,
    keeper: NonNull<ffi::PyThreadState>,
    number: usize,
    own_gil: bool,
}

// SAFETY: a handle; every use of the interpreter goes through a thread state of the using thread and the GIL.
unsafe impl Send for Interpreter {}
// SAFETY: as above.
unsafe impl Sync for Interpreter {}

impl Interpreter {
    /// Starts Python, without its signal handlers, and returns the main interpreter. The thread is not attached
    /// afterwards. CPython reads its settings from the environment and ends the process when it cannot start.
    pub fn start() -> Interpreter {
        // SAFETY: called once in a process that has no other Python; afterwards this thread is attached to the main
        // interpreter, with the state that it keeps using.
        let main = unsafe {
            ffi::Py_InitializeEx(0);
            Interpreter::current()
        };
        main.adopt();
        main
    }

    /// The main interpreter of a Python that was started by its own command. Detaches.
    ///
    /// # Safety
    /// The calling thread is the one that started Python, and attached; nothing runs in it after this call but what
    /// goes through the returned handle.
    pub(super) unsafe fn running() -> Interpreter {
        // SAFETY: the caller's promise: its state is the interpreter's first.
        let main = unsafe { Interpreter::current() };
        main.adopt();
        main
    }

    /// Makes a sub-interpreter, which has a GIL of its own or shares it with `self`, the main one, and prepares it by
    /// `prepare`, attached with its keeper.
    ///
    /// # Errors
    /// Why CPython cannot.
    pub fn create<R>(
        &self,
        own_gil: bool,
        prepare: impl for<'py> FnOnce(Python<'py>) -> R,
    ) -> Result<(Interpreter, R), String> {
        let own = thread::state(self);
        // SAFETY: this thread's own state; either way the new state becomes current, or the old one stays so.
        let new = unsafe {
            ffi::PyEval_RestoreThread(own);
            let made = if own_gil {
                isolated::create()
            } else if ffi::Py_NewInterpreter().is_null() {
                Err("Python refused".to_owned())
            } else {
                Ok(())
            };
            if let Err(reason) = made {
                ffi::PyErr_Clear();
                ffi::PyEval_SaveThread();
                return Err(reason);
            }
            Interpreter {
                own_gil,
                ..Interpreter::current()
            }
        };
        new.adopt();
        let result = new.attach(prepare);
        thread::forget(&new);
        Ok((new, result))
    }

    /// Makes the keeper the calling thread's state, for preparing or ending the interpreter.
    pub fn adopt(&self) {
        thread::leave(self);
        thread::remember(self, self.keeper.as_ptr(), false);
    }

    /// Runs `work` attached to this interpreter, in the calling thread.
    pub fn attach<R>(&self, work: impl for<'py> FnOnce(Python<'py>) -> R) -> R {
        // SAFETY: the thread's own state.
        unsafe { attached::attach(thread::state(self), false, work) }
    }

    /// The same for a request: those that share a GIL take turns, where that is cheaper.
    pub fn attach_in_turn<R>(&self, work: impl for<'py> FnOnce(Python<'py>) -> R) -> R {
        // SAFETY: the thread's own state.
        unsafe { attached::attach(thread::state(self), !self.own_gil, work) }
    }

    /// Makes sure that the calling thread has its state for `self`, which should be the main interpreter, before any
    /// other: up to 3.11 PyGILState_Ensure, which C extensions call, finds the one that was made first. Needs no GIL.
    pub fn introduce_thread(&self) {
        thread::state(self);
    }

    /// Ends a sub-interpreter, in the thread that has adopted it.
    ///
    /// # Safety
    /// No other thread has a state in it or will use it again, and no object of it is used any more.
    pub unsafe fn end(self, main: &Interpreter) {
        let keeper = self.keeper.as_ptr();
        thread::forget(&self);
        let main_state = thread::state(main);
        // SAFETY: the keeper becomes current and is, by the caller's promise, the last state of its interpreter.
        unsafe {
            ffi::PyEval_RestoreThread(keeper);
            ffi::Py_EndInterpreter(keeper);
            // Up to 3.11 the GIL is still held, without a current state.
            if is_before(12) {
                ffi::PyThreadState_Swap(main_state);
                ffi::PyEval_SaveThread();
            }
        }
    }

    /// Ends Python. `self` is the main interpreter, and the calling thread the one that started it.
    ///
    /// # Safety
    /// All sub-interpreters have ended and no other thread will use Python again.
    pub unsafe fn finalize(self) {
        // SAFETY: the first thread's own state; by the caller's promise the only one.
        unsafe {
            ffi::PyEval_RestoreThread(thread::state(&self));
            ffi::Py_FinalizeEx();
        }
    }

    pub(super) fn raw(&self) -> *mut ffi::PyInterpreterState {
        self.raw.as_ptr()
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The interpreter whose first thread state is current. Detaches.
    ///
    /// # Safety
    /// The thread is attached with the first thread state of an interpreter.
    unsafe fn current() -> Interpreter {
        // SAFETY: the caller's promise; neither is NULL then.
        let (raw, keeper) = unsafe { (ffi::PyInterpreterState_Get(), ffi::PyEval_SaveThread()) };
        Interpreter {
            raw: NonNull::new(raw).expect("an attached thread has an interpreter"),
            keeper: NonNull::new(keeper).expect("an attached thread has a state"),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            own_gil: false,
        }
    }
}

/// Whether this is a CPython before 3.`minor`.
pub(super) fn is_before(minor: u32) -> bool {
    // SAFETY: a constant text such as "3.11.2 (main, …)".
    let version = unsafe { CStr::from_ptr(ffi::Py_GetVersion()) };
    let number = version.to_bytes().split(|b| *b == b'.').nth(1);
    let number = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
    number.is_some_and(|number| number < minor)
}
