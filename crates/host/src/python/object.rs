//! References to Python objects and what one does with any object (`object.h`, `abstract.h`).

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use pyo3_ffi as ffi;

use super::attached::is_attached;
use super::{Error, Python, Result};

/// An owned reference to an object, given back when it drops.
#[repr(transparent)]
pub struct Object<'py> {
    raw: NonNull<ffi::PyObject>,
    _py: PhantomData<Python<'py>>,
}

impl Drop for Object<'_> {
    fn drop(&mut self) {
        // SAFETY: an owned reference, and the lifetime shows that the thread is attached.
        unsafe { ffi::Py_DECREF(self.raw.as_ptr()) }
    }
}

impl Clone for Object<'_> {
    fn clone(&self) -> Self {
        // SAFETY: alive while borrowed; attached by the lifetime.
        unsafe { ffi::Py_INCREF(self.raw.as_ptr()) };
        Object {
            raw: self.raw,
            _py: PhantomData,
        }
    }
}

impl<'py> Object<'py> {
    /// Takes over a new reference that a C function returned; NULL is its exception.
    ///
    /// # Safety
    /// `raw` is NULL with an exception set, or an owned reference.
    pub(super) unsafe fn from_new(py: Python<'py>, raw: *mut ffi::PyObject) -> Result<'py, Object<'py>> {
        match NonNull::new(raw) {
            Some(raw) => Ok(Object { raw, _py: PhantomData }),
            None => Err(Error::fetch(py)),
        }
    }

    /// Takes over an owned reference, if there is one.
    ///
    /// # Safety
    /// `raw` is NULL or an owned reference; the thread is attached for `'py`.
    pub(super) unsafe fn from_owned(raw: *mut ffi::PyObject) -> Option<Object<'py>> {
        NonNull::new(raw).map(|raw| Object { raw, _py: PhantomData })
    }

    /// Makes a reference of one's own to a borrowed object.
    ///
    /// # Safety
    /// `raw` is NULL or an object that is alive now; the thread is attached for `'py`.
    pub(super) unsafe fn from_borrowed(raw: *mut ffi::PyObject) -> Option<Object<'py>> {
        // SAFETY: the caller's promise.
        unsafe {
            ffi::Py_XINCREF(raw);
            Object::from_owned(raw)
        }
    }

    /// Sees an array of borrowed references, as Python passes arguments, as a slice of objects.
    ///
    /// # Safety
    /// `raw` points to `len` references that stay alive for `'a` (NULL only if `len` is 0).
    pub(super) unsafe fn slice<'a>(raw: *const *mut ffi::PyObject, len: usize) -> &'a [Object<'py>] {
        if len == 0 {
            return &[];
        }
        // SAFETY: `Object` is transparent over a non-NULL pointer; as a shared slice nothing is dropped.
        unsafe { std::slice::from_raw_parts(raw.cast(), len) }
    }

    pub(super) fn raw(&self) -> *mut ffi::PyObject {
        self.raw.as_ptr()
    }

    pub(super) fn into_raw(self) -> *mut ffi::PyObject {
        let raw = self.raw.as_ptr();
        std::mem::forget(self);
        raw
    }

    /// The token of the thread that this object is used in.
    pub fn py(&self) -> Python<'py> {
        // SAFETY: an object exists only while attached.
        unsafe { Python::assume() }
    }

    /// Keeps the object beyond this visit to Python.
    pub fn keep(self) -> Kept {
        let raw = self.raw;
        std::mem::forget(self);
        Kept(raw)
    }

    /// How many references to the object there are.
    pub fn reference_count(&self) -> u32 {
        // SAFETY: alive. The count's field is part of the stable ABI; since 3.12 it has 32 bits, and the upper half of
        // the old field serves other purposes.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        unsafe {
            ffi::Py_REFCNT(self.raw()) as u32
        }
    }

    /// `self is other`
    pub fn is(&self, other: &Object<'py>) -> bool {
        self.raw == other.raw
    }

    /// `self is None`
    pub fn is_none(&self) -> bool {
        // SAFETY: `Py_None` always exists.
        self.raw() == unsafe { ffi::Py_None() }
    }

    /// `getattr(self, name)`
    pub fn attribute(&self, name: &Object<'py>) -> Result<'py, Object<'py>> {
        // SAFETY: both are alive.
        unsafe { Object::from_new(self.py(), ffi::PyObject_GetAttr(self.raw(), name.raw())) }
    }

    /// `getattr(self, name, None)`: an attribute that is not there is no error, any other exception is.
    pub fn attribute_if_any(&self, name: &Object<'py>) -> Result<'py, Option<Object<'py>>> {
        match self.attribute(name) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is(super::Kind::Attribute) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `setattr(self, name, value)`
    pub fn set_attribute(&self, name: &Object<'py>, value: &Object<'py>) -> Result<'py, ()> {
        // SAFETY: all are alive.
        Error::check(self.py(), unsafe {
            ffi::PyObject_SetAttr(self.raw(), name.raw(), value.raw())
        })
    }

    /// `self(*arguments)`, for up to six arguments.
    pub fn call(&self, arguments: &[&Object<'py>]) -> Result<'py, Object<'py>> {
        let null = ptr::null_mut::<ffi::PyObject>();
        let at = |i: usize| arguments.get(i).map_or(null, |a| a.raw());
        assert!(arguments.len() <= 6, "more arguments than this function passes");
        // SAFETY: all are alive, and a NULL ends the list.
        unsafe {
            let result = ffi::PyObject_CallFunctionObjArgs(self.raw(), at(0), at(1), at(2), at(3), at(4), at(5), null);
            Object::from_new(self.py(), result)
        }
    }

    /// `iter(self)`
    pub fn iterator(&self) -> Result<'py, Object<'py>> {
        // SAFETY: alive.
        unsafe { Object::from_new(self.py(), ffi::PyObject_GetIter(self.raw())) }
    }

    /// `next(self)` of an iterator; `None` at its end.
    pub fn next_item(&self) -> Result<'py, Option<Object<'py>>> {
        // SAFETY: an iterator (PyIter_Next needs one; `iterator` returned it).
        let item = unsafe { Object::from_owned(ffi::PyIter_Next(self.raw())) };
        match item {
            Some(item) => Ok(Some(item)),
            None => Error::fetch_if_any(self.py()).map_or(Ok(None), Err),
        }
    }

    /// `isinstance(self, class)`; false when the check itself fails.
    pub fn is_instance(&self, class: &Object<'py>) -> bool {
        // SAFETY: both are alive.
        let result = unsafe { ffi::PyObject_IsInstance(self.raw(), class.raw()) };
        if result < 0 {
            drop(Error::fetch(self.py()));
        }
        result > 0
    }

    /// `bool(self)`
    pub fn is_true(&self) -> Result<'py, bool> {
        // SAFETY: alive.
        let result = unsafe { ffi::PyObject_IsTrue(self.raw()) };
        Error::check(self.py(), result)?;
        Ok(result > 0)
    }

    /// `type(self).__name__`, for messages.
    pub fn type_name(&self) -> String {
        // SAFETY: alive; the type of a live object is alive.
        let class = unsafe { Object::from_borrowed(ffi::Py_TYPE(self.raw()).cast()) };
        let name = class.and_then(|class| {
            let name = self.py().text("__name__").ok()?;
            class.attribute(&name).ok()
        });
        name.map_or_else(|| "object".into(), |name| name.to_text())
    }
}

/// A reference that outlives a visit to Python: kept in records, in instances of our types. It can be looked at only
/// with a token. Dropped while its thread is not attached it leaks the reference, which is harmless: that happens only
/// when a process ends with Python stuck.
#[repr(transparent)]
pub struct Kept(NonNull<ffi::PyObject>);

// SAFETY: only a pointer; the object behind it is reached through `get` with a token alone.
unsafe impl Send for Kept {}
// SAFETY: as above.
unsafe impl Sync for Kept {}

impl Kept {
    /// The object, while attached.
    pub fn get<'a, 'py>(&'a self, _py: Python<'py>) -> &'a Object<'py> {
        let this: *const Kept = self;
        // SAFETY: both types are transparent over the same pointer, and a shared borrow drops nothing.
        unsafe { &*this.cast::<Object<'py>>() }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if is_attached() {
            // SAFETY: an owned reference, in an attached thread.
            unsafe { ffi::Py_DECREF(self.0.as_ptr()) }
        }
    }
}
