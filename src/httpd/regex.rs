//! Regular expressions as httpd's directives know them (`ap_regex.h`).

use std::ffi::CStr;
use std::ops::Range;
use std::ptr::NonNull;

use super::ffi;
use super::pool::Pool;

/// A compiled expression; its pool frees it.
pub struct Regex {
    raw: NonNull<ffi::ap_regex_t>,
}

// SAFETY: a compiled expression is only read when matched, and matching keeps its state on the caller's side
// (PCRE's documented thread safety); httpd itself shares its expressions between threads.
unsafe impl Send for Regex {}
// SAFETY: as above.
unsafe impl Sync for Regex {}

/// The groups `$0` to `$9` of a match, as ranges of the subject.
pub type Groups = [Option<Range<usize>>; 10];

impl Regex {
    /// Compiles an extended expression, or returns `None` when it is no valid one. The result is used no longer than
    /// the configuration whose pool this is.
    pub fn compile(pool: Pool<'_>, pattern: &CStr) -> Option<Regex> {
        // SAFETY: live pool, NUL-terminated pattern.
        let raw = unsafe { ffi::ap_pregcomp(pool.as_ptr(), pattern.as_ptr(), ffi::AP_REG_EXTENDED) };
        NonNull::new(raw).map(|raw| Regex { raw })
    }

    /// Finds the first match anywhere in the subject.
    pub fn find(&self, subject: &[u8]) -> Option<Groups> {
        const NONE: ffi::ap_regmatch_t = ffi::ap_regmatch_t { rm_so: -1, rm_eo: -1 };
        let mut groups = [NONE; 10];
        // SAFETY: the expression is live while its configuration is; the subject is given with its length and the
        // groups with their number.
        let answer = unsafe {
            ffi::ap_regexec_len(
                self.raw.as_ptr(),
                subject.as_ptr().cast(),
                subject.len(),
                groups.len(),
                groups.as_mut_ptr(),
                0,
            )
        };
        (answer == 0).then(|| {
            groups.map(|group| {
                let range = usize::try_from(group.rm_so).ok()?..usize::try_from(group.rm_eo).ok()?;
                (range.start <= range.end && range.end <= subject.len()).then_some(range)
            })
        })
    }
}
