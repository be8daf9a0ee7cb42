//! Exceptions that one thread raises in another (`pystate.h`).

use std::ffi::{c_long, c_ulong};
use std::ptr;

use pyo3_ffi as ffi;

use super::{Object, Python};

/// CPython's number of the calling thread.
pub fn thread_ident() -> c_ulong {
    // SAFETY: reads the thread's own number; needs no GIL.
    unsafe { ffi::PyThread_get_thread_ident() }
}

/// Makes the thread of that number raise `exception`, a class, when it next executes Python code of this interpreter;
/// `None` takes back one that has not been raised yet.
pub fn raise_in_thread(_py: Python<'_>, ident: c_ulong, exception: Option<&Object<'_>>) {
    let exception = exception.map_or(ptr::null_mut(), Object::raw);
    // SAFETY: attached; the class is alive or NULL. A number that is no thread's any more does nothing. pyo3-ffi has the
    // parameter signed, as it was before 3.7: the bits are the same.
    unsafe { ffi::PyThreadState_SetAsyncExc(ident as c_long, exception) };
}
