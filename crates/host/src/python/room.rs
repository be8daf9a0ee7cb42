//! Memory that is being filled from outside: at the end of a vector, or of a `bytes` that no Python code has seen yet.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use pyo3_ffi as ffi;

use super::{Object, Python, Result};

/// Room for bytes, filled from the front.
pub struct Room<'m> {
    memory: &'m mut [MaybeUninit<u8>],
    filled: usize,
}

impl Room<'_> {
    /// Lets `work` append at most so many bytes to a vector.
    pub fn behind<R>(vector: &mut Vec<u8>, most: usize, work: impl FnOnce(&mut Room<'_>) -> R) -> R {
        vector.reserve(most);
        let mut room = Room {
            memory: &mut vector.spare_capacity_mut()[..most],
            filled: 0,
        };
        let result = work(&mut room);
        let filled = room.filled;
        // SAFETY: so many bytes behind the end were written.
        unsafe { vector.set_len(vector.len() + filled) };
        result
    }

    /// Bytes that still fit.
    pub fn left(&self) -> usize {
        self.memory.len() - self.filled
    }

    /// Copies as much as fits; returns how much that was.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.left());
        let target = &mut self.memory[self.filled..self.filled + len];
        // SAFETY: both are `len` bytes long, and a mutable slice overlaps with nothing.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target.as_mut_ptr().cast(), len) };
        self.filled += len;
        len
    }

    /// Lets `work` write to the front of what is left, at most so many bytes; it returns what it has written.
    ///
    /// # Errors
    /// That of `work`.
    ///
    /// # Panics
    /// When it returns something else.
    pub fn fill<E>(
        &mut self,
        most: usize,
        work: impl for<'s> FnOnce(&'s mut [MaybeUninit<u8>]) -> std::result::Result<&'s mut [u8], E>,
    ) -> std::result::Result<usize, E> {
        let most = most.min(self.left());
        let space = &mut self.memory[self.filled..self.filled + most];
        let start = space.as_ptr().cast::<u8>();
        let written = work(space)?;
        assert!(written.is_empty() || written.as_ptr() == start, "the front of the room");
        let len = written.len().min(most);
        self.filled += len;
        Ok(len)
    }

    /// What is left.
    pub fn space(&mut self) -> &mut [MaybeUninit<u8>] {
        &mut self.memory[self.filled..]
    }

    /// # Safety
    /// The first `len` bytes of [`Room::space`] have been written.
    pub unsafe fn advance(&mut self, len: usize) {
        self.filled += len;
    }
}

/// A `bytes` in the making. Nobody else knows it, so it is filled by a thread that need not be attached.
pub struct Filling {
    object: NonNull<ffi::PyObject>,
    memory: NonNull<MaybeUninit<u8>>,
    len: usize,
    filled: usize,
}

// SAFETY: the object is nobody else's; without a token only its memory is touched.
unsafe impl Send for Filling {}

impl Filling {
    /// One of `len` bytes, none of them filled.
    pub fn new(py: Python<'_>, len: usize) -> Result<'_, Filling> {
        let size = ffi::Py_ssize_t::try_from(len).unwrap_or(ffi::Py_ssize_t::MAX);
        // SAFETY: attached; NULL asks for memory that is filled later, before anybody else sees the object.
        unsafe {
            let object = Object::from_new(py, ffi::PyBytes_FromStringAndSize(std::ptr::null(), size))?;
            let memory = NonNull::new(ffi::PyBytes_AsString(object.raw()).cast()).expect("it is a bytes");
            Ok(Filling {
                object: NonNull::new(object.into_raw()).expect("an object is not NULL"),
                memory,
                len,
                filled: 0,
            })
        }
    }

    /// Lets `work` fill some more.
    pub fn with<R>(&mut self, work: impl FnOnce(&mut Room<'_>) -> R) -> R {
        // SAFETY: the object's own memory, of this length, as long as it lives; nobody else reads or writes it.
        let memory = unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len) };
        let mut room = Room {
            memory,
            filled: self.filled,
        };
        let result = work(&mut room);
        self.filled = room.filled;
        result
    }

    /// Bytes that are not filled yet.
    pub fn left(&self) -> usize {
        self.len - self.filled
    }

    /// What has been filled.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes were written.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().cast(), self.filled) }
    }

    /// The object, if it is full; else one of what was filled.
    pub fn finish(self, py: Python<'_>) -> Result<'_, Object<'_>> {
        // SAFETY: the one reference to it, which is not used by `self` any more: it has no destructor.
        let object = unsafe { Object::from_owned(self.object.as_ptr()) }.expect("an object is not NULL");
        if self.left() == 0 {
            Ok(object)
        } else {
            py.bytes(self.bytes())
        }
    }
}
