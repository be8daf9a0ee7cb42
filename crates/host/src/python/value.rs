//! Python's values from Rust's and back (`unicodeobject.h`, `bytesobject.h`, `dictobject.h`, `listobject.h` …).

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use pyo3_ffi as ffi;

use super::{Error, Kind, Object, Python, Result};

unsafe extern "C" {
    /// `pythonrun.h`. In the stable ABI since 3.2; pyo3-ffi leaves it out because the header hides it behind a macro.
    fn Py_CompileString(source: *const c_char, filename: *const c_char, start: c_int) -> *mut ffi::PyObject;
}

fn signed(len: usize) -> ffi::Py_ssize_t {
    ffi::Py_ssize_t::try_from(len).expect("no slice is larger than isize::MAX")
}

fn unsigned(len: ffi::Py_ssize_t) -> usize {
    usize::try_from(len).unwrap_or(0)
}

impl<'py> Python<'py> {
    /// `None`
    pub fn none(self) -> Object<'py> {
        // SAFETY: attached; never NULL.
        unsafe { Object::from_borrowed(ffi::Py_None()) }.expect("None exists")
    }

    /// `True` or `False`
    pub fn boolean(self, value: bool) -> Object<'py> {
        // SAFETY: attached; both always exist.
        unsafe { Object::from_borrowed(if value { ffi::Py_True() } else { ffi::Py_False() }) }
            .expect("True and False exist")
    }

    /// A `str` of UTF-8 text.
    pub fn text(self, text: &str) -> Result<'py, Object<'py>> {
        // SAFETY: attached; the bytes are valid for the call.
        unsafe {
            let raw = ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), signed(text.len()));
            Object::from_new(self, raw)
        }
    }

    /// An interned `str`, for a key or an attribute's name.
    pub fn interned(self, text: &str) -> Result<'py, Object<'py>> {
        let mut raw = self.text(text)?.into_raw();
        // SAFETY: an owned reference to an exact str, exchanged for an owned reference to its interned twin.
        unsafe {
            ffi::PyUnicode_InternInPlace(&raw mut raw);
            Object::from_new(self, raw)
        }
    }

    /// A `str` with one character per byte (PEP 3333, "Unicode Issues").
    pub fn latin1(self, bytes: &[u8]) -> Result<'py, Object<'py>> {
        // SAFETY: attached; the bytes are valid for the call. NULL means strict, and Latin-1 knows every byte.
        unsafe {
            let raw = ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), signed(bytes.len()), ptr::null());
            Object::from_new(self, raw)
        }
    }

    /// A `str` of a path, by the file system's encoding; by Latin-1 where that fails.
    pub fn path(self, bytes: &[u8]) -> Result<'py, Object<'py>> {
        // SAFETY: attached; the bytes are valid for the call.
        let decoded = unsafe {
            let raw = ffi::PyUnicode_DecodeFSDefaultAndSize(bytes.as_ptr().cast(), signed(bytes.len()));
            Object::from_new(self, raw)
        };
        decoded.or_else(|_| self.latin1(bytes))
    }

    /// A `bytes`.
    pub fn bytes(self, bytes: &[u8]) -> Result<'py, Object<'py>> {
        // SAFETY: attached; the bytes are valid for the call.
        unsafe {
            let raw = ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), signed(bytes.len()));
            Object::from_new(self, raw)
        }
    }

    /// A `PyCapsule` without a name, around an address that is not 0.
    pub fn capsule(self, address: usize) -> Result<'py, Object<'py>> {
        let pointer = std::ptr::with_exposed_provenance_mut(address);
        // SAFETY: attached; a capsule does not look at what it holds.
        unsafe { Object::from_new(self, ffi::PyCapsule_New(pointer, std::ptr::null(), None)) }
    }

    /// An `int`.
    pub fn int(self, value: i64) -> Result<'py, Object<'py>> {
        // SAFETY: attached.
        unsafe { Object::from_new(self, ffi::PyLong_FromLongLong(value)) }
    }

    /// A `float`.
    pub fn float(self, value: f64) -> Result<'py, Object<'py>> {
        // SAFETY: attached.
        unsafe { Object::from_new(self, ffi::PyFloat_FromDouble(value)) }
    }

    /// An empty `dict`.
    pub fn dict(self) -> Result<'py, Object<'py>> {
        // SAFETY: attached.
        unsafe { Object::from_new(self, ffi::PyDict_New()) }
    }

    /// A `list` of these.
    pub fn list(self, items: &[Object<'py>]) -> Result<'py, Object<'py>> {
        // SAFETY: attached; append takes a reference of its own.
        unsafe {
            let list = Object::from_new(self, ffi::PyList_New(0))?;
            for item in items {
                Error::check(self, ffi::PyList_Append(list.raw(), item.raw()))?;
            }
            Ok(list)
        }
    }

    /// A `tuple` of these.
    pub fn tuple(self, items: Vec<Object<'py>>) -> Result<'py, Object<'py>> {
        // SAFETY: attached; a new tuple, whose slots take over the references.
        unsafe {
            let tuple = Object::from_new(self, ffi::PyTuple_New(signed(items.len())))?;
            for (index, item) in items.into_iter().enumerate() {
                Error::check(self, ffi::PyTuple_SetItem(tuple.raw(), signed(index), item.into_raw()))?;
            }
            Ok(tuple)
        }
    }

    /// An empty module of this name, in no list of modules.
    pub fn module(self, name: &CStr) -> Result<'py, Object<'py>> {
        // SAFETY: attached; the name ends with NUL.
        unsafe { Object::from_new(self, ffi::PyModule_New(name.as_ptr())) }
    }

    /// Makes a module by running `source`, in no list of modules.
    pub fn execute(self, source: &CStr, name: &CStr) -> Result<'py, Object<'py>> {
        let module = self.module(name)?;
        let namespace = module.module_dict().expect("it is a module");
        // SAFETY: attached; both texts end with NUL; the builtins are alive.
        unsafe {
            let builtins = Object::from_borrowed(ffi::PyEval_GetBuiltins()).expect("an attached thread has builtins");
            namespace.set_item(&self.text("__builtins__")?, &builtins)?;
            let code = Py_CompileString(source.as_ptr(), c"<mod_wsgi>".as_ptr(), ffi::Py_file_input);
            let code = Object::from_new(self, code)?;
            let result = ffi::PyEval_EvalCode(code.raw(), namespace.raw(), namespace.raw());
            drop(Object::from_new(self, result)?);
        }
        Ok(module)
    }
}

impl<'py> Object<'py> {
    /// `type(self) is list or type(self) is tuple`
    pub fn is_plain_sequence(&self) -> bool {
        // SAFETY: alive.
        unsafe { ffi::PyList_CheckExact(self.raw()) != 0 || ffi::PyTuple_CheckExact(self.raw()) != 0 }
    }

    /// `isinstance(self, list)`
    pub fn is_list(&self) -> bool {
        // SAFETY: alive.
        unsafe { ffi::PyList_Check(self.raw()) != 0 }
    }

    /// `isinstance(self, tuple)`
    pub fn is_tuple(&self) -> bool {
        // SAFETY: alive.
        unsafe { ffi::PyTuple_Check(self.raw()) != 0 }
    }

    /// `isinstance(self, str)`
    pub fn is_text(&self) -> bool {
        // SAFETY: alive.
        unsafe { ffi::PyUnicode_Check(self.raw()) != 0 }
    }

    /// Number of items of a list or tuple; 0 of anything else.
    pub fn length(&self) -> usize {
        // SAFETY: alive, and of the type that each function asks for.
        unsafe {
            if self.is_list() {
                unsigned(ffi::PyList_Size(self.raw()))
            } else if self.is_tuple() {
                unsigned(ffi::PyTuple_Size(self.raw()))
            } else {
                0
            }
        }
    }

    /// The item of a list or tuple, if it has that many.
    pub fn item(&self, index: usize) -> Option<Object<'py>> {
        if index >= self.length() {
            return None;
        }
        // SAFETY: alive, of the right type, index within bounds; the result is borrowed.
        unsafe {
            Object::from_borrowed(if self.is_list() {
                ffi::PyList_GetItem(self.raw(), signed(index))
            } else {
                ffi::PyTuple_GetItem(self.raw(), signed(index))
            })
        }
    }

    /// The contents of a `bytes` (or of an instance of a class derived from it).
    pub fn as_bytes(&self) -> Option<&[u8]> {
        // SAFETY: alive; a bytes never changes, and lives as long as the borrow.
        unsafe {
            if ffi::PyBytes_Check(self.raw()) == 0 {
                return None;
            }
            let data = ffi::PyBytes_AsString(self.raw());
            let len = unsigned(ffi::PyBytes_Size(self.raw()));
            Some(std::slice::from_raw_parts(data.cast(), len))
        }
    }

    /// `bytes(self)` of an object with a buffer.
    pub fn to_bytes(&self) -> Result<'py, Object<'py>> {
        // SAFETY: alive.
        unsafe { Object::from_new(self.py(), ffi::PyBytes_FromObject(self.raw())) }
    }

    /// Appends the characters of a `str` to `buffer`, one byte each. A `UnicodeEncodeError` when one does not fit.
    pub fn latin1_into(&self, buffer: &mut Vec<u8>) -> Result<'py, ()> {
        // SAFETY: alive and a str (checked); the UTF-8 form lives in the object, which nothing changes meanwhile.
        unsafe {
            if !self.is_text() {
                return Err(Error::new(
                    self.py(),
                    Kind::Type,
                    &format!("expected a str, not {}", self.type_name()),
                ));
            }
            let mut len = 0;
            let data = ffi::PyUnicode_AsUTF8AndSize(self.raw(), &raw mut len);
            if data.is_null() {
                drop(Error::fetch(self.py())); // a lone surrogate: the encoder below words it
            } else if len == ffi::PyUnicode_GetLength(self.raw()) {
                // As many bytes as characters: all are ASCII, the same in both encodings.
                buffer.extend_from_slice(std::slice::from_raw_parts(data.cast(), unsigned(len)));
                return Ok(());
            }
            let encoded = Object::from_new(self.py(), ffi::PyUnicode_AsLatin1String(self.raw()))?;
            buffer.extend_from_slice(encoded.as_bytes().unwrap_or_default());
            Ok(())
        }
    }

    /// The UTF-8 form of a `str`. A `UnicodeEncodeError` when it has lone surrogates.
    pub fn utf8(&self) -> Result<'py, Vec<u8>> {
        // SAFETY: alive; a non-str is a TypeError. The UTF-8 form lives in the object, which nothing changes meanwhile.
        unsafe {
            let mut len = 0;
            let data = ffi::PyUnicode_AsUTF8AndSize(self.raw(), &raw mut len);
            if data.is_null() {
                return Err(Error::fetch(self.py()));
            }
            Ok(std::slice::from_raw_parts(data.cast(), unsigned(len)).to_vec())
        }
    }

    /// `str(self)` for messages; never fails.
    pub fn to_text(&self) -> String {
        // SAFETY: alive.
        let bytes = unsafe {
            Object::from_new(self.py(), ffi::PyObject_Str(self.raw())).and_then(|text| {
                let raw = ffi::PyUnicode_AsEncodedString(text.raw(), c"utf-8".as_ptr(), c"backslashreplace".as_ptr());
                Object::from_new(self.py(), raw)
            })
        };
        match &bytes {
            Ok(bytes) => String::from_utf8_lossy(bytes.as_bytes().unwrap_or_default()).into_owned(),
            Err(_) => String::from("(no text)"),
        }
    }

    /// `int(self)` of an int, or of an object with `__index__`, clipped to the range.
    pub fn to_index(&self) -> Result<'py, isize> {
        // SAFETY: alive; NULL means to clip.
        let value = unsafe { ffi::PyNumber_AsSsize_t(self.raw(), ptr::null_mut()) };
        if value == -1
            && let Some(error) = Error::fetch_if_any(self.py())
        {
            return Err(error);
        }
        Ok(value)
    }

    /// The value of an `int` that fits; `None` for anything else.
    pub fn as_int(&self) -> Option<i64> {
        // SAFETY: alive.
        unsafe {
            if ffi::PyLong_Check(self.raw()) == 0 {
                return None;
            }
            let value = ffi::PyLong_AsLongLong(self.raw());
            if value == -1 && Error::fetch_if_any(self.py()).is_some() {
                return None;
            }
            Some(value)
        }
    }

    /// `self[key]` of a `dict`, if it is there.
    pub fn get_item(&self, key: &Object<'py>) -> Result<'py, Option<Object<'py>>> {
        // SAFETY: alive; the result is borrowed.
        let value = unsafe { Object::from_borrowed(ffi::PyDict_GetItemWithError(self.raw(), key.raw())) };
        match value {
            Some(value) => Ok(Some(value)),
            None => Error::fetch_if_any(self.py()).map_or(Ok(None), Err),
        }
    }

    /// `self[key] = value` of a `dict`
    pub fn set_item(&self, key: &Object<'py>, value: &Object<'py>) -> Result<'py, ()> {
        // SAFETY: all are alive.
        Error::check(self.py(), unsafe {
            ffi::PyDict_SetItem(self.raw(), key.raw(), value.raw())
        })
    }

    /// `del self[key]` of a `dict`
    pub fn remove_item(&self, key: &Object<'py>) -> Result<'py, ()> {
        // SAFETY: both are alive.
        Error::check(self.py(), unsafe { ffi::PyDict_DelItem(self.raw(), key.raw()) })
    }

    /// `self.copy()` of a `dict`
    pub fn copy_dict(&self) -> Result<'py, Object<'py>> {
        // SAFETY: alive.
        unsafe { Object::from_new(self.py(), ffi::PyDict_Copy(self.raw())) }
    }

    /// `self.__dict__` of a module.
    pub fn module_dict(&self) -> Option<Object<'py>> {
        // SAFETY: alive and a module; the result is borrowed.
        unsafe {
            if ffi::PyModule_Check(self.raw()) == 0 {
                return None;
            }
            Object::from_borrowed(ffi::PyModule_GetDict(self.raw()))
        }
    }
}
