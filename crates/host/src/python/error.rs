//! Python exceptions as Rust errors (`pyerrors.h`).

use std::ptr;

use pyo3_ffi as ffi;

use super::{Object, Python};

/// What Python code returns.
pub type Result<'py, T> = std::result::Result<T, Error<'py>>;

/// An exception that is on its way: fetched, no longer set in the thread.
pub struct Error<'py> {
    class: Object<'py>,
    value: Option<Object<'py>>,
    traceback: Option<Object<'py>>,
}

/// The built-in exceptions that the host raises or tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `AttributeError`
    Attribute,
    /// `OSError`
    Os,
    /// `RuntimeError`
    Runtime,
    /// `SystemExit`
    SystemExit,
    /// `TypeError`
    Type,
    /// `ValueError`
    Value,
}

impl Kind {
    fn class(self) -> *mut ffi::PyObject {
        // SAFETY: reads statics that hold the built-in exceptions as long as Python runs.
        unsafe {
            match self {
                Kind::Attribute => ffi::PyExc_AttributeError,
                Kind::Os => ffi::PyExc_OSError,
                Kind::Runtime => ffi::PyExc_RuntimeError,
                Kind::SystemExit => ffi::PyExc_SystemExit,
                Kind::Type => ffi::PyExc_TypeError,
                Kind::Value => ffi::PyExc_ValueError,
            }
        }
    }
}

impl<'py> Error<'py> {
    /// A new exception with a message.
    pub fn new(py: Python<'py>, kind: Kind, message: &str) -> Error<'py> {
        match py.text(message) {
            // SAFETY: attached; class and message are alive. The call sets an exception, which `fetch` takes.
            Ok(message) => unsafe { ffi::PyErr_SetObject(kind.class(), message.raw()) },
            Err(error) => return error,
        }
        Error::fetch(py)
    }

    /// Takes the exception that is set in this thread. A C function that reported an error without one gets a
    /// `SystemError`, as CPython itself does.
    pub(super) fn fetch(py: Python<'py>) -> Error<'py> {
        Error::fetch_if_any(py).unwrap_or_else(|| {
            // SAFETY: attached; sets an exception.
            unsafe { ffi::PyErr_SetString(ffi::PyExc_SystemError, c"error return without exception set".as_ptr()) };
            match Error::fetch_if_any(py) {
                Some(error) => error,
                None => panic!("Python refuses to keep an exception"),
            }
        })
    }

    /// Takes the exception that is set in this thread, if there is one.
    pub(super) fn fetch_if_any(_py: Python<'py>) -> Option<Error<'py>> {
        let (mut class, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: attached; the three are owned references or NULL afterwards. This pair of functions is the one that
        // the stable ABI of 3.10 has.
        unsafe {
            ffi::PyErr_Fetch(&raw mut class, &raw mut value, &raw mut traceback);
            Some(Error {
                class: Object::from_owned(class)?,
                value: Object::from_owned(value),
                traceback: Object::from_owned(traceback),
            })
        }
    }

    /// The result of a C function that returns a negative number for an exception.
    pub(super) fn check(py: Python<'py>, result: std::ffi::c_int) -> Result<'py, ()> {
        if result < 0 { Err(Error::fetch(py)) } else { Ok(()) }
    }

    /// Sets the exception in this thread, for Python to find after a NULL.
    pub(super) fn restore(self) {
        let raw = |object: Option<Object<'py>>| object.map_or(ptr::null_mut(), Object::into_raw);
        let (class, value, traceback) = (self.class.into_raw(), raw(self.value), raw(self.traceback));
        // SAFETY: attached; the call takes over the three references.
        unsafe { ffi::PyErr_Restore(class, value, traceback) }
    }

    /// The exception that `sys.exc_info()` described by instance and traceback; `None` if they are no such things.
    pub fn from_exc_info(value: Object<'py>, traceback: Object<'py>) -> Option<Error<'py>> {
        // SAFETY: both are alive; the type of a live object is alive.
        unsafe {
            if ffi::PyExceptionInstance_Check(value.raw()) == 0
                || !(traceback.is_none() || ffi::PyTraceBack_Check(traceback.raw()) != 0)
            {
                return None;
            }
            Some(Error {
                class: Object::from_borrowed(ffi::Py_TYPE(value.raw()).cast())?,
                value: Some(value),
                traceback: Some(traceback).filter(|traceback| !traceback.is_none()),
            })
        }
    }

    /// Class, instance and traceback (`None` if there is none), as `traceback.format_exception` takes them.
    pub fn into_exc_info(self, py: Python<'py>) -> [Object<'py>; 3] {
        let raw = |object: Option<Object<'py>>| object.map_or(ptr::null_mut(), Object::into_raw);
        let (mut class, mut value, mut traceback) = (self.class.into_raw(), raw(self.value), raw(self.traceback));
        // SAFETY: three owned references or NULL, before and after.
        unsafe {
            ffi::PyErr_NormalizeException(&raw mut class, &raw mut value, &raw mut traceback);
            let [class, value, traceback] = [class, value, traceback].map(|raw| Object::from_owned(raw));
            if let (Some(value), Some(traceback)) = (&value, &traceback) {
                ffi::PyException_SetTraceback(value.raw(), traceback.raw());
            }
            [class, value, traceback].map(|object| object.unwrap_or_else(|| py.none()))
        }
    }

    /// Whether the exception is of that built-in class or of one derived from it.
    pub fn is(&self, kind: Kind) -> bool {
        // SAFETY: attached; both are alive.
        unsafe { ffi::PyErr_GivenExceptionMatches(self.class.raw(), kind.class()) != 0 }
    }

    /// Whether the exception is of that class or of one derived from it.
    pub fn is_a(&self, class: &Object<'py>) -> bool {
        // SAFETY: attached; both are alive.
        unsafe { ffi::PyErr_GivenExceptionMatches(self.class.raw(), class.raw()) != 0 }
    }
}
