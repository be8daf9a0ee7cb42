//! C strings of httpd's as bytes.

use std::ffi::{CStr, c_char};

/// The bytes of a string, or `None` for NULL.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string that stays as it is for `'a`.
pub unsafe fn optional<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        None
    } else {
        // SAFETY: not NULL, and the caller vouches for the rest.
        Some(unsafe { CStr::from_ptr(text) }.to_bytes())
    }
}

/// The bytes of a string; none for NULL.
///
/// # Safety
/// As for [`optional`].
pub unsafe fn bytes<'a>(text: *const c_char) -> &'a [u8] {
    // SAFETY: the caller's promise is passed on.
    unsafe { optional(text) }.unwrap_or_default()
}
