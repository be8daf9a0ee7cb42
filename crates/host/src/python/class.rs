//! Our own types, written in Rust: heap types made anew in each interpreter (`object.h`, PEP 384), and the trampolines
//! through which Python calls their methods.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr::{self, NonNull};

use pyo3_ffi as ffi;

use super::{Error, Kept, Kind, Object, Python, Result};
use crate::fence::fence;

/// A Rust value that can be the inside of a Python object. Threads of one interpreter take turns with it: no two are
/// attached at the same time.
pub trait Class: Sized + Send + Sync + 'static {
    /// Dotted name: module and type.
    const NAME: &'static CStr;
    /// Its `__doc__`.
    const DOC: &'static CStr;

    /// Lists what the type has.
    fn members(members: &mut Members<Self>);
}

/// The layout of an instance.
#[repr(C)]
struct Instance<T> {
    head: ffi::PyObject,
    value: T,
}

/// A type made of a [`Class`], in one interpreter. Its instances are made by [`Type::instance`] alone; Python code can
/// neither instantiate nor derive from it, so the inside is always there.
pub struct Type<T> {
    object: Kept,
    _class: PhantomData<fn() -> T>,
}

impl<T: Class> Type<T> {
    /// Makes the type in the current interpreter.
    pub fn new(py: Python<'_>) -> Result<'_, Type<T>> {
        // CPython's allocator aligns to 16 bytes.
        const { assert!(align_of::<Instance<T>>() <= 16) };
        let mut members = Members {
            methods: Vec::new(),
            getters: Vec::new(),
            slots: vec![
                slot(ffi::Py_tp_dealloc, dealloc::<T> as *mut c_void),
                slot(ffi::Py_tp_doc, T::DOC.as_ptr() as *mut c_void),
            ],
            _class: PhantomData,
        };
        T::members(&mut members);
        // CPython keeps these two tables for as long as the type lives, so they are never freed: some hundred bytes
        // for each interpreter.
        members.methods.push(ffi::PyMethodDef::zeroed());
        let methods = members.methods.leak();
        members
            .slots
            .push(slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()));
        if !members.getters.is_empty() {
            members.getters.push(ffi::PyGetSetDef::default());
            let getters = members.getters.leak();
            members.slots.push(slot(ffi::Py_tp_getset, getters.as_mut_ptr().cast()));
        }
        members.slots.push(slot(0, ptr::null_mut()));
        let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION | ffi::Py_TPFLAGS_IMMUTABLETYPE;
        let mut spec = ffi::PyType_Spec {
            name: T::NAME.as_ptr(),
            basicsize: c_int::try_from(size_of::<Instance<T>>()).expect("instances are small"),
            itemsize: 0,
            flags: c_uint::try_from(flags).expect("the flags of a spec are 32 bits wide"),
            slots: members.slots.as_mut_ptr(),
        };
        // SAFETY: attached; the spec is complete, its slots end with 0, and CPython copies both.
        let object = unsafe { Object::from_new(py, ffi::PyType_FromSpec(&raw mut spec)) }?;
        Ok(Type {
            object: object.keep(),
            _class: PhantomData,
        })
    }

    /// Makes an instance around `value`.
    pub fn instance<'py>(&self, py: Python<'py>, value: T) -> Result<'py, Object<'py>> {
        // SAFETY: attached; a type of this layout. The memory after the head is ours to fill, before anyone sees it.
        unsafe {
            let raw = ffi::PyType_GenericAlloc(self.object.get(py).raw().cast(), 0);
            let object = Object::from_new(py, raw)?;
            let inside = raw.byte_add(offset_of!(Instance<T>, value)).cast::<T>();
            inside.write(value);
            Ok(object)
        }
    }

    /// The inside of an instance of this type.
    pub fn inside<'a>(&self, object: &'a Object<'_>) -> Option<&'a T> {
        // SAFETY: alive; of exactly this type, since nothing derives from it.
        unsafe {
            (ffi::Py_TYPE(object.raw()).cast() == self.object.get(object.py()).raw()).then(|| inside(object.raw()))
        }
    }
}

/// A method: the value, the object around it, the positional arguments.
pub trait Method<T>:
    for<'a, 'py> Fn(&'a T, &'a Object<'py>, &'a [Object<'py>]) -> Result<'py, Object<'py>> + Copy + 'static
{
}

impl<T, F> Method<T> for F where
    F: for<'a, 'py> Fn(&'a T, &'a Object<'py>, &'a [Object<'py>]) -> Result<'py, Object<'py>> + Copy + 'static
{
}

/// An attribute that is computed.
pub trait Getter<T>: for<'a, 'py> Fn(&'a T, Python<'py>) -> Result<'py, Object<'py>> + Copy + 'static {}

impl<T, F> Getter<T> for F where F: for<'a, 'py> Fn(&'a T, Python<'py>) -> Result<'py, Object<'py>> + Copy + 'static {}

/// The `__next__` of an iterator; `None` ends it.
pub trait Next<T>: for<'a, 'py> Fn(&'a T, Python<'py>) -> Result<'py, Option<Object<'py>>> + Copy + 'static {}

impl<T, F> Next<T> for F where
    F: for<'a, 'py> Fn(&'a T, Python<'py>) -> Result<'py, Option<Object<'py>>> + Copy + 'static
{
}

/// The list of what a type has.
pub struct Members<T> {
    methods: Vec<ffi::PyMethodDef>,
    getters: Vec<ffi::PyGetSetDef>,
    slots: Vec<ffi::PyType_Slot>,
    _class: PhantomData<fn() -> T>,
}

impl<T: Class> Members<T> {
    /// A method that takes positional arguments.
    pub fn method<F: Method<T>>(&mut self, name: &'static CStr, doc: &'static CStr, _function: F) -> &mut Self {
        self.methods.push(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer {
                PyCFunctionFast: method::<T, F>,
            },
            ml_flags: ffi::METH_FASTCALL,
            ml_doc: doc.as_ptr(),
        });
        self
    }

    /// An attribute that can only be read.
    pub fn getter<F: Getter<T>>(&mut self, name: &'static CStr, _function: F) -> &mut Self {
        self.getters.push(ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(getter::<T, F>),
            set: None,
            doc: ptr::null(),
            closure: ptr::null_mut(),
        });
        self
    }

    /// Makes the instances iterators of themselves.
    pub fn iterator<F: Next<T>>(&mut self, _function: F) -> &mut Self {
        self.slots
            .push(slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *mut c_void));
        self.slots
            .push(slot(ffi::Py_tp_iternext, iternext::<T, F> as *mut c_void));
        self
    }
}

fn slot(number: c_int, value: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot {
        slot: number,
        pfunc: value,
    }
}

/// # Safety
/// `object` is an instance of a type made of `T` and lives for `'a`.
unsafe fn inside<'a, T>(object: *mut ffi::PyObject) -> &'a T {
    // SAFETY: the caller's promise; `Type::instance` filled it.
    unsafe { &*object.byte_add(offset_of!(Instance<T>, value)).cast::<T>() }
}

/// The one value of a function item's type.
pub(super) fn function<F: Copy + 'static>() -> F {
    const { assert!(size_of::<F>() == 0, "methods are plain functions") };
    // SAFETY: a type without size, and a value of it existed when the member was listed; `Copy` allows another.
    unsafe { NonNull::<F>::dangling().read() }
}

/// Runs what Python asked for behind the fence and turns the result into what Python expects: an owned reference, or
/// NULL with an exception (or NULL alone for the end of an iterator).
///
/// # Safety
/// Called from Python: the thread is attached until this returns.
unsafe fn enter<'py>(work: impl FnOnce(Python<'py>) -> Result<'py, Option<Object<'py>>>) -> *mut ffi::PyObject {
    // SAFETY: the caller's promise.
    let py = unsafe { Python::assume() };
    let result = fence(|| work(py)).unwrap_or_else(|| {
        let message = "internal error in mod_wsgi; the error log has the details";
        Err(Error::new(py, Kind::Runtime, message))
    });
    match result {
        Ok(object) => object.map_or(ptr::null_mut(), Object::into_raw),
        Err(error) => {
            error.restore();
            ptr::null_mut()
        }
    }
}

unsafe extern "C" fn method<T: Class, F: Method<T>>(
    this: *mut ffi::PyObject,
    arguments: *mut *mut ffi::PyObject,
    len: ffi::Py_ssize_t,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls a method with an instance of its type and an array of live arguments.
    unsafe {
        enter(|_py| {
            let [object] = Object::slice(&raw const this, 1) else {
                return Ok(None);
            };
            let arguments = Object::slice(arguments, usize::try_from(len).unwrap_or(0));
            function::<F>()(inside(this), object, arguments).map(Some)
        })
    }
}

unsafe extern "C" fn getter<T: Class, F: Getter<T>>(this: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: Python calls a getter with an instance of its type.
    unsafe { enter(|py| function::<F>()(inside(this), py).map(Some)) }
}

unsafe extern "C" fn iternext<T: Class, F: Next<T>>(this: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python calls the slot with an instance of its type.
    unsafe { enter(|py| function::<F>()(inside(this), py)) }
}

unsafe extern "C" fn dealloc<T: Class>(this: *mut ffi::PyObject) {
    // SAFETY: called once, with the last reference gone: the inside is dropped, then the memory is given back, then
    // the instance's reference to its heap type.
    unsafe {
        let class = ffi::Py_TYPE(this);
        let value = this.byte_add(offset_of!(Instance<T>, value)).cast::<T>();
        fence(|| value.drop_in_place());
        ffi::PyObject_Free(this.cast());
        ffi::Py_DECREF(class.cast());
    }
}
