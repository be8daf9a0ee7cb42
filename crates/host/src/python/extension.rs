//! The library as an extension module, for a Python that was started by its own command (`moduleobject.h`, PEP 489).

use std::ffi::{CStr, c_void};
use std::ptr;

use pyo3_ffi as ffi;

use super::Interpreter;
use super::class::function;
use crate::fence::fence;

/// The definition of an extension module `name` with one function, `entry()`, for its `PyInit_…` to return. It is
/// called in Python's main thread, with the main interpreter and detached, and must not come back.
pub fn extension<F: Fn(Interpreter) + Copy + 'static>(
    name: &'static CStr,
    entry: &'static CStr,
    _function: F,
) -> *mut c_void {
    let methods = Box::new([
        ffi::PyMethodDef {
            ml_name: entry.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer {
                PyCFunction: enter::<F>,
            },
            ml_flags: ffi::METH_NOARGS,
            ml_doc: ptr::null(),
        },
        ffi::PyMethodDef::zeroed(),
    ]);
    let slots = Box::new([ffi::PyModuleDef_Slot::default()]);
    let definition = Box::new(ffi::PyModuleDef {
        m_base: ffi::PyModuleDef_HEAD_INIT,
        m_name: name.as_ptr(),
        m_doc: ptr::null(),
        m_size: 0,
        // Python keeps all of this for as long as it runs.
        m_methods: Box::leak(methods).as_mut_ptr(),
        m_slots: Box::leak(slots).as_mut_ptr(),
        m_traverse: None,
        m_clear: None,
        m_free: None,
    });
    // SAFETY: complete, and never freed; the last method and the last slot are zero.
    unsafe { ffi::PyModuleDef_Init(Box::leak(definition)).cast() }
}

unsafe extern "C" fn enter<F: Fn(Interpreter) + Copy + 'static>(
    _: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls this, so the thread is attached; by its main thread, which has the first state.
    let interpreter = unsafe { Interpreter::running() };
    fence(|| function::<F>()(interpreter));
    // Python's own state of this thread has been taken over: there is no way back.
    std::process::abort()
}
