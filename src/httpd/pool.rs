//! Memory pools (`apr_pools.h`).

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::mem::{align_of, size_of};
use std::ptr::NonNull;

use super::fence::fence;
use super::ffi;

/// A pool that lives at least for `'p` and belongs to the calling thread.
#[derive(Clone, Copy)]
pub struct Pool<'p> {
    raw: NonNull<ffi::apr_pool_t>,
    borrowed: PhantomData<&'p ()>,
}

impl<'p> Pool<'p> {
    /// # Safety
    /// `raw` is a live pool for `'p`, and no other thread allocates from it meanwhile.
    pub(super) unsafe fn from_ptr(raw: *mut ffi::apr_pool_t) -> Pool<'p> {
        Pool {
            raw: NonNull::new(raw).expect("httpd passes a pool"),
            borrowed: PhantomData,
        }
    }

    pub(super) fn as_ptr(self) -> *mut ffi::apr_pool_t {
        self.raw.as_ptr()
    }

    /// Copies bytes into the pool, a NUL behind them. Bytes after a NUL among them are left out of the result.
    pub fn string(self, bytes: &[u8]) -> &'p CStr {
        // SAFETY: the source is `len` readable bytes; the result is NUL-terminated memory of the pool's.
        unsafe { CStr::from_ptr(ffi::apr_pstrmemdup(self.as_ptr(), bytes.as_ptr().cast(), bytes.len())) }
    }

    /// Copies bytes into the pool.
    pub fn bytes(self, bytes: &[u8]) -> &'p [u8] {
        // SAFETY: as above; the copy holds exactly `len` bytes before its NUL.
        unsafe {
            let copy = ffi::apr_pstrmemdup(self.as_ptr(), bytes.as_ptr().cast(), bytes.len());
            std::slice::from_raw_parts(copy.cast(), bytes.len())
        }
    }

    /// Puts a plain value into the pool. It is never dropped, hence `Copy`.
    pub fn place<T: Copy>(self, value: T) -> &'p mut T {
        const { assert!(align_of::<T>() <= 8, "pools align to eight bytes") };
        // SAFETY: APR aborts the process rather than return NULL; the memory is large and aligned enough, nobody
        // else's, and lives as long as the pool.
        unsafe {
            let memory = ffi::apr_palloc(self.as_ptr(), size_of::<T>()).cast::<T>();
            memory.write(value);
            &mut *memory
        }
    }

    /// Hands a value to the pool, which drops it when it is cleared.
    pub fn own<T>(self, value: T) -> &'p mut T {
        let owned = Box::into_raw(Box::new(value));
        // SAFETY: `drop_box::<T>` takes exactly such a pointer, once: the pool runs each cleanup one time.
        unsafe {
            ffi::apr_pool_cleanup_register(
                self.as_ptr(),
                owned.cast(),
                Some(drop_box::<T>),
                Some(ffi::apr_pool_cleanup_null),
            );
            &mut *owned
        }
    }
}

/// # Safety
/// `value` came from `Box::into_raw` of a `Box<T>` and is not used again.
unsafe extern "C" fn drop_box<T>(value: *mut c_void) -> ffi::apr_status_t {
    // A pool has no log; a panicking drop leaks the rest of the value and nothing else.
    fence(
        (),
        |_| (),
        || {
            // SAFETY: the caller's promise.
            drop(unsafe { Box::from_raw(value.cast::<T>()) });
        },
    );
    0
}
