//! String tables (`apr_tables.h`): headers, notes, the request's environment.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::{ffi, text};

/// A table of a request's. Its keys compare without regard to case.
#[derive(Clone, Copy)]
pub struct Table<'r> {
    raw: NonNull<ffi::apr_table_t>,
    borrowed: PhantomData<&'r ()>,
}

impl<'r> Table<'r> {
    /// # Safety
    /// `raw` is a live table for `'r` of the calling thread's request.
    pub(super) unsafe fn from_ptr(raw: *mut ffi::apr_table_t) -> Table<'r> {
        Table {
            raw: NonNull::new(raw).expect("httpd gives a request its tables"),
            borrowed: PhantomData,
        }
    }

    /// The value of a key.
    pub fn get(self, key: &CStr) -> Option<&'r [u8]> {
        // SAFETY: both are live; the value belongs to the request's pool.
        unsafe { text::optional(ffi::apr_table_get(self.raw.as_ptr(), key.as_ptr())) }
    }

    /// All entries, in order.
    pub fn iter(self) -> impl Iterator<Item = (&'r [u8], &'r [u8])> {
        // SAFETY: apr_table_elts returns the table's own array of `nelts` entries; it does not change while the
        // borrowed slice is walked, for nothing here changes a table that is being iterated.
        let entries: &'r [ffi::apr_table_entry_t] = unsafe {
            let array = &*ffi::apr_table_elts(self.raw.as_ptr());
            if array.nelts <= 0 || array.elts.is_null() {
                &[]
            } else {
                std::slice::from_raw_parts(array.elts.cast(), array.nelts as usize)
            }
        };
        entries.iter().filter(|entry| !entry.key.is_null()).map(|entry| {
            // SAFETY: keys and values of a table are strings of its pool; a NULL value reads as none.
            unsafe { (text::bytes(entry.key), text::bytes(entry.val)) }
        })
    }
}
