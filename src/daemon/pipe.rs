//! The pipes that pieces of large replies come through: the kernel copies those once less than through a socket.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::{Errno, ioctl_fionread, read};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use wsgi_core::wire::MAX_PIPED;

/// A pipe that a daemon may write to and that only httpd reads. Neither end ever waits.
pub struct Pipe {
    reading: OwnedFd,
    writing: OwnedFd,
    /// Of the process.
    count: Arc<AtomicUsize>,
}

/// How many pipes an httpd child has, and may have. Copies count together.
#[derive(Clone)]
pub struct Pipes {
    count: Arc<AtomicUsize>,
    most: usize,
}

/// Most pipes of all httpd children together. Their pages count against what Linux gives a user for pipes
/// (`/proc/sys/fs/pipe-user-pages-soft`, 64 MB unless changed), of which others need some.
const MOST_PIPES: usize = 32;

impl Pipe {
    /// The daemon's end.
    pub fn writing(&self) -> BorrowedFd<'_> {
        self.writing.as_fd()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        matches!(ioctl_fionread(&self.reading), Ok(0))
    }

    /// Takes bytes out of it, as many as fit.
    ///
    /// # Errors
    /// `AGAIN` when there are none.
    pub fn read<'b>(&self, space: &'b mut [MaybeUninit<u8>]) -> Result<&'b [u8], Errno> {
        read(&self.reading, space).map(|(bytes, _)| &*bytes)
    }
}

impl Pipes {
    /// None yet, in each of so many children.
    pub fn new(children: u32) -> Pipes {
        Pipes {
            count: Arc::default(),
            most: MOST_PIPES / usize::try_from(children).unwrap_or(usize::MAX).max(1),
        }
    }

    /// One more; `None` if that would be too many, or the system does not give one of that size.
    pub fn make(&self) -> Option<Pipe> {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        let pipe = Pipe {
            reading,
            writing,
            count: Arc::clone(&self.count),
        };
        (before < self.most && fcntl_setpipe_size(&pipe.writing, MAX_PIPED).is_ok()).then_some(pipe)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}
