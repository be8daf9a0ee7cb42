//! A list of names and values in the form that crosses to the host.

use std::marker::PhantomData;

use wsgi_core::abi::{Bytes, Variable};

use super::exchange::bytes;

/// Entries borrowed for `'r`.
pub struct Variables<'r> {
    list: Vec<Variable>,
    borrowed: PhantomData<&'r [u8]>,
}

impl<'r> Variables<'r> {
    /// None, with room for those of a usual request.
    pub fn new() -> Variables<'r> {
        Variables {
            list: Vec::with_capacity(64),
            borrowed: PhantomData,
        }
    }

    /// Adds an entry.
    pub fn push(&mut self, name: &'r [u8], value: &'r [u8]) {
        self.list.push(Variable {
            name: Bytes::of(name),
            value: Bytes::of(value),
        });
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&'r [u8], &'r [u8])> {
        // SAFETY: every entry was borrowed for 'r by `push`.
        self.list
            .iter()
            .map(|entry| unsafe { (bytes(entry.name), bytes(entry.value)) })
    }

    /// Takes out every entry with a name that is not wanted.
    pub fn remove(&mut self, unwanted: impl Fn(&[u8]) -> bool) {
        // SAFETY: as above.
        self.list.retain(|entry| !unwanted(unsafe { bytes(entry.name) }));
    }

    /// The first entry of the list.
    pub fn as_ptr(&self) -> *const Variable {
        self.list.as_ptr()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }
}
