//! Memory that another process writes and this one looks at, without a system call each time (`mmap`).

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file in memory, its beginning mapped for reading.
pub struct Page {
    file: File,
    words: *const AtomicU64,
    len: usize,
}

// SAFETY: it is only read, by atomic loads.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// Maps the first `len` bytes of a file, which must be sealed against shrinking (`F_SEAL_SHRINK`): reading behind the
    /// end of a file ends the process.
    ///
    /// # Errors
    /// When it is not sealed so, is shorter, or cannot be mapped.
    pub fn map(file: OwnedFd, len: usize) -> io::Result<Page> {
        let fd = file.as_raw_fd();
        // SAFETY: these calls take numbers only, but for the structure that fstat fills.
        let usable = unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            let seals = libc::fcntl(fd, libc::F_GET_SEALS);
            seals >= 0
                && seals & libc::F_SEAL_SHRINK != 0
                && libc::fstat(fd, &raw mut stat) == 0
                && usize::try_from(stat.st_size).is_ok_and(|size| size >= len)
        };
        if !usable {
            return Err(io::Error::other("the file could be cut short"));
        }
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = start.cast_const().cast();
        Ok(Page {
            file: file.into(),
            words,
            len,
        })
    }

    /// All of the file, for what is behind the part that is mapped.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The word of that number, in the byte order of memory.
    ///
    /// # Panics
    /// When the page does not hold it.
    pub fn word(&self, index: usize) -> u64 {
        assert!(index < self.len / size_of::<u64>(), "a word of the page");
        // SAFETY: within the mapping, aligned since that begins a page; its contents change under atomic loads only.
        unsafe { (*self.words.add(index)).load(Ordering::Relaxed) }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping that `map` made; nothing borrows from it.
        unsafe { libc::munmap(self.words.cast_mut().cast(), self.len) };
    }
}
