//! Interpreters with a GIL of their own (PEP 684).
//!
//! The function is public but outside of the stable ABI, so it is looked up in the Python that runs, and what it takes is
//! declared here.

use std::ffi::{CStr, c_char, c_int};

use pyo3_ffi as ffi;

use super::interpreter::is_before;

/// `PyInterpreterConfig` (`cpython/pylifecycle.h`), the same from 3.12 on, with room for what may be added to it.
#[repr(C)]
struct Config {
    use_main_obmalloc: c_int,
    allow_fork: c_int,
    allow_exec: c_int,
    allow_threads: c_int,
    allow_daemon_threads: c_int,
    check_multi_interp_extensions: c_int,
    gil: c_int,
    later: [c_int; 25],
}

/// `PyInterpreterConfig_OWN_GIL`
const OWN_GIL: c_int = 2;

/// `PyStatus` (`cpython/initconfig.h`)
#[repr(C)]
struct Status {
    kind: c_int,
    function: *const c_char,
    message: *const c_char,
    exit_code: c_int,
}

type Create = unsafe extern "C" fn(state: *mut *mut ffi::PyThreadState, config: *const Config) -> Status;

/// Makes an interpreter; its first thread state is current then, or, when it cannot be made, the one that was.
///
/// # Safety
/// The thread is attached to the main interpreter.
pub unsafe fn create() -> Result<(), String> {
    // 3.12 corrupts its memory when such interpreters end.
    if is_before(13) {
        return Err("WSGIPerInterpreterGIL needs Python 3.13 or later".to_owned());
    }
    // SAFETY: looks up a name.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"Py_NewInterpreterFromConfig".as_ptr()) };
    if symbol.is_null() {
        return Err("this Python cannot make one with a GIL of its own".to_owned());
    }
    // Forks and threads as in every other interpreter; extensions must say that they can bear a GIL for each.
    let config = Config {
        use_main_obmalloc: 0,
        allow_fork: 1,
        allow_exec: 1,
        allow_threads: 1,
        allow_daemon_threads: 1,
        check_multi_interp_extensions: 1,
        gil: OWN_GIL,
        later: [0; 25],
    };
    let mut state = std::ptr::null_mut();
    // SAFETY: that function has this type; the caller's promise.
    let status = unsafe {
        let create = std::mem::transmute::<*mut libc::c_void, Create>(symbol);
        create(&raw mut state, &raw const config)
    };
    if status.kind == 0 && !state.is_null() {
        return Ok(());
    }
    if status.message.is_null() {
        return Err("Python refused".to_owned());
    }
    // SAFETY: a constant text of Python's.
    let message = unsafe { CStr::from_ptr(status.message) };
    Err(message.to_string_lossy().into_owned())
}
