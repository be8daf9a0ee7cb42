//! Bucket brigades (`apr_buckets.h`, `util_filter.h`): the pieces of a body on their way through the filters.

use std::ffi::c_char;
use std::io::IoSlice;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, offset_of};
use std::ptr::{self, NonNull};

use super::ffi;
use super::request::Request;

/// How much of a file is read at a time where it is neither mapped nor sent by sendfile.
const FILE_PIECE: usize = 260 * 1024;

/// From this size on a bucket is kept rather than copied: httpd reads 8000 bytes at a time from a connection.
const LARGE: usize = 4000;

/// A brigade of a request's. What it holds was made by this module or handed over by an input filter.
pub struct Brigade<'r> {
    raw: NonNull<ffi::apr_bucket_brigade>,
    request: Request<'r>,
}

/// A bucket while it is looked at.
pub struct Bucket<'b> {
    raw: NonNull<ffi::apr_bucket>,
    borrowed: PhantomData<&'b ()>,
}

impl<'r> Brigade<'r> {
    /// An empty brigade. The request's pool frees it.
    pub fn new(request: Request<'r>) -> Brigade<'r> {
        // SAFETY: the request's pool and its connection's bucket allocator, both this thread's while it runs the
        // request. APR aborts rather than return NULL.
        let raw =
            unsafe { ffi::apr_brigade_create(request.fields().pool, (*request.fields().connection).bucket_alloc) };
        Brigade {
            raw: NonNull::new(raw).expect("APR does not return without memory"),
            request,
        }
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::apr_bucket_brigade {
        self.raw.as_ptr()
    }

    /// The ring's end mark: where a bucket's `link` would have to be for `list` to be its link.
    fn sentinel(&self) -> *mut ffi::apr_bucket {
        // SAFETY: address arithmetic as APR_RING_SENTINEL does it; the result is compared, and written to only through
        // its `link`, which is `list` itself.
        unsafe {
            (&raw mut (*self.as_ptr()).list)
                .byte_sub(offset_of!(ffi::apr_bucket, link))
                .cast()
        }
    }

    /// Whether it holds no bucket.
    pub fn is_empty(&self) -> bool {
        // SAFETY: a live brigade.
        unsafe { (*self.as_ptr()).list.next == self.sentinel() }
    }

    /// Destroys all that it holds.
    pub fn clear(&mut self) {
        // SAFETY: a live brigade.
        unsafe { ffi::apr_brigade_cleanup(self.as_ptr().cast()) };
    }

    /// The first bucket.
    pub fn first(&self) -> Option<Bucket<'_>> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: not empty, so `next` is a bucket, not the sentinel.
        let raw = unsafe { (*self.as_ptr()).list.next };
        NonNull::new(raw).map(|raw| Bucket {
            raw,
            borrowed: PhantomData,
        })
    }

    /// Moves bytes of the first bucket to `buffer`; 0 for a bucket that holds none.
    ///
    /// # Errors
    /// The APR status when the bucket cannot be read.
    pub fn take(&mut self, buffer: &mut [MaybeUninit<u8>]) -> Result<usize, i32> {
        let Some(bucket) = self.first() else { return Ok(0) };
        let bucket = bucket.raw.as_ptr();
        // SAFETY: a live bucket, which does not change before its bytes are copied.
        unsafe {
            let (data, len) = read(bucket)?;
            let copied = len.min(buffer.len());
            if copied > 0 {
                ptr::copy_nonoverlapping(data.cast(), buffer.as_mut_ptr(), copied);
            }
            if copied < len {
                // Types that cannot be split do not come here: a bucket that was read is memory.
                let status = (*(*bucket).type_)
                    .split
                    .map_or(ffi::APR_ENOTIMPL, |split| split(bucket, copied));
                if status != 0 {
                    return Err(status);
                }
            }
            remove(bucket);
            Ok(copied)
        }
    }

    /// Moves the first bucket, as memory, to the end of another brigade of the request, which may keep it; returns how
    /// many bytes that were. Little is copied, so that a client that sends byte by byte cannot fill memory with buckets
    /// that are almost empty.
    ///
    /// # Errors
    /// The APR status when the bucket cannot be read.
    pub fn move_first(&mut self, to: &mut Brigade<'r>) -> Result<usize, i32> {
        let Some(bucket) = self.first() else { return Ok(0) };
        let bucket = bucket.raw.as_ptr();
        // SAFETY: a live bucket, read as in `take`; both brigades are of this request and so of one allocator.
        unsafe {
            let (data, len) = read(bucket)?;
            let keeps = len >= LARGE
                && (*(*bucket).type_)
                    .setaside
                    .is_some_and(|setaside| setaside(bucket, self.request.fields().pool) == 0);
            if keeps {
                unlink(bucket);
                to.push(bucket);
            } else {
                if len > 0 {
                    let status = ffi::apr_brigade_write(to.as_ptr(), None, ptr::null_mut(), data, len);
                    if status != 0 {
                        return Err(status);
                    }
                }
                remove(bucket);
            }
            Ok(len)
        }
    }

    /// Shows the first bytes of buckets that are memory, in as many slices as there are; how many it took.
    pub fn slices<'b>(&'b self, slices: &mut [IoSlice<'b>]) -> usize {
        let mut count = 0;
        // SAFETY: a live brigade, walked from its first bucket to the sentinel. Reading memory changes nothing, and the
        // bytes stay while the brigade is borrowed.
        unsafe {
            let mut bucket = (*self.as_ptr()).list.next;
            while bucket != self.sentinel() && count < slices.len() {
                if let Ok((data, len @ 1..)) = read(bucket) {
                    slices[count] = IoSlice::new(std::slice::from_raw_parts(data.cast(), len));
                    count += 1;
                }
                bucket = (*bucket).link.next;
            }
        }
        count
    }

    /// Destroys the first so many bytes of buckets that are memory.
    pub fn discard(&mut self, bytes: usize) {
        let mut left = bytes;
        while left > 0
            && let Some(bucket) = self.first()
        {
            let bucket = bucket.raw.as_ptr();
            // SAFETY: a live bucket, which `remove` takes out; memory can be split.
            unsafe {
                let len = (*bucket).length;
                if left < len
                    && let Some(split) = (*(*bucket).type_).split
                {
                    split(bucket, left);
                }
                left -= left.min(len);
                remove(bucket);
            }
        }
    }

    /// Appends bytes without copying them.
    ///
    /// # Safety
    /// The bytes stay as they are until the brigade was passed on or cleared. (Filters that keep something longer copy
    /// it.)
    pub(super) unsafe fn push_transient(&self, bytes: &[u8]) {
        // SAFETY: this request's allocator; the caller's promise.
        let bucket = unsafe {
            ffi::apr_bucket_transient_create(bytes.as_ptr().cast(), bytes.len(), (*self.as_ptr()).bucket_alloc)
        };
        self.push(bucket);
    }

    pub(super) fn push_flush(&self) {
        // SAFETY: this request's allocator.
        self.push(unsafe { ffi::apr_bucket_flush_create((*self.as_ptr()).bucket_alloc) });
    }

    pub(super) fn push_eos(&self) {
        // SAFETY: as above.
        self.push(unsafe { ffi::apr_bucket_eos_create((*self.as_ptr()).bucket_alloc) });
    }

    /// A bucket that tells the filters that the reply broke off: no last chunk is sent, an HTTP/2 stream is reset.
    pub(super) fn push_error(&self, status: i32) {
        // SAFETY: as above; the pool outlives the bucket.
        let bucket = unsafe {
            ffi::ap_bucket_error_create(
                status,
                ptr::null(),
                self.request.fields().pool,
                (*self.as_ptr()).bucket_alloc,
            )
        };
        self.push(bucket);
    }

    /// # Safety
    /// `file` lives as long as the request's pool.
    pub(super) unsafe fn push_file(&self, file: *mut ffi::apr_file_t, offset: u64, length: u64, mmap: bool) {
        let offset = ffi::apr_off_t::try_from(offset).unwrap_or(ffi::apr_off_t::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        // SAFETY: the caller's promise; this request's pool and allocator.
        let bucket = unsafe {
            let (pool, list) = (self.request.fields().pool, (*self.as_ptr()).bucket_alloc);
            let bucket = ffi::apr_bucket_file_create(file, offset, length, pool, list);
            ffi::apr_bucket_file_enable_mmap(bucket, i32::from(mmap));
            ffi::apr_bucket_file_set_buf_size(bucket, FILE_PIECE);
            bucket
        };
        self.push(bucket);
    }

    fn push(&self, bucket: *mut ffi::apr_bucket) {
        // SAFETY: a fresh bucket goes between the last one and the sentinel, as APR_BRIGADE_INSERT_TAIL does it.
        unsafe {
            let sentinel = self.sentinel();
            let last = (*sentinel).link.prev;
            (*bucket).link.next = sentinel;
            (*bucket).link.prev = last;
            (*last).link.next = bucket;
            (*sentinel).link.prev = bucket;
        }
    }

    /// Hands all to the output filters and empties the brigade.
    pub(super) fn pass(&mut self) -> ffi::apr_status_t {
        // SAFETY: a live request of this thread and its brigade.
        let status = unsafe { ffi::ap_pass_brigade(self.request.fields().output_filters, self.as_ptr()) };
        self.clear();
        status
    }
}

impl Bucket<'_> {
    fn has_type(&self, kind: *const ffi::apr_bucket_type_t) -> bool {
        // SAFETY: a live bucket.
        unsafe { ptr::eq((*self.raw.as_ptr()).type_, kind) }
    }

    /// The end of the body.
    pub fn is_eos(&self) -> bool {
        self.has_type(&raw const ffi::apr_bucket_type_eos)
    }

    /// A filter's word that the body cannot be had.
    pub fn error_status(&self) -> Option<i32> {
        self.has_type(&raw const ffi::ap_bucket_type_error)
            .then_some(ffi::AP_FILTER_ERROR)
    }
}

/// The bytes of a bucket, waiting for them; valid until the bucket changes.
///
/// # Errors
/// The APR status when the bucket cannot be read.
///
/// # Safety
/// A live bucket in a brigade.
unsafe fn read(bucket: *mut ffi::apr_bucket) -> Result<(*const c_char, usize), i32> {
    let (mut data, mut len): (*const c_char, usize) = (ptr::null(), 0);
    // SAFETY: as apr_bucket_read does it.
    unsafe {
        if let Some(read) = (*(*bucket).type_).read {
            let status = read(bucket, &raw mut data, &raw mut len, ffi::apr_read_type_e_APR_BLOCK_READ);
            if status != 0 {
                return Err(status);
            }
        }
    }
    Ok((data, len))
}

/// Takes a bucket out of its ring.
///
/// # Safety
/// A live bucket in a brigade.
unsafe fn unlink(bucket: *mut ffi::apr_bucket) {
    // SAFETY: as APR_BUCKET_REMOVE does it.
    unsafe {
        let link = (*bucket).link;
        (*link.prev).link.next = link.next;
        (*link.next).link.prev = link.prev;
    }
}

/// Takes a bucket out of its ring and destroys it.
///
/// # Safety
/// A live bucket in a brigade, not used afterwards.
unsafe fn remove(bucket: *mut ffi::apr_bucket) {
    // SAFETY: as apr_bucket_delete does it.
    unsafe {
        unlink(bucket);
        if let Some(destroy) = (*(*bucket).type_).destroy {
            destroy((*bucket).data);
        }
        if let Some(free) = (*bucket).free {
            free(bucket.cast());
        }
    }
}
