//! Processes (`unistd.h`).

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use nix::unistd::{ForkResult, Pid, fork};
use wsgi_core::wire::control::CONTROL_FD;

/// Makes a process, which runs `work`, and is aborted should it come back from it.
///
/// # Errors
/// The system's.
pub fn start(work: impl FnOnce()) -> nix::Result<Pid> {
    // SAFETY: this program has one thread, always: no lock can be held by another one that the child does not have.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            work();
            std::process::abort()
        }
    }
}

/// Takes the control socket that httpd has left at its number; `None` if nothing is there. To be called once, first of
/// all.
pub fn control_socket() -> Option<OwnedFd> {
    // SAFETY: only asked about, within this call.
    let there = unsafe { BorrowedFd::borrow_raw(CONTROL_FD) };
    rustix::io::fcntl_getfd(there).ok()?;
    // SAFETY: it is open, and nobody else in this process can have opened it: nothing else has run yet.
    Some(unsafe { OwnedFd::from_raw_fd(CONTROL_FD) })
}

/// Closes every descriptor above the control socket's. Only for a child that is about to become another program.
pub fn close_others() {
    let first = CONTROL_FD.unsigned_abs() + 1;
    // SAFETY: values that own these descriptors exist, but the process ends or is replaced without using them again.
    unsafe { libc::close_range(first, u32::MAX, 0) };
}
