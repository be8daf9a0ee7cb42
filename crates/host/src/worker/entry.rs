//! How a daemon's Python reaches this library, what the process was given, and how it ends.
//!
//! `wsgid` executes the group's Python with a line (`wsgi_core::wire::control::daemon::LINE`) that loads this library as
//! an extension module and calls its one function, `wsgi_daemon_main()`, which does not return.

use std::ffi::c_void;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use wsgi_core::wire::control::CONTROL_FD;

use crate::fence::fence;
use crate::python::{Interpreter, extension};

/// The entry point that Python looks for in an extension module of this name.
#[unsafe(no_mangle)]
pub extern "C" fn PyInit_wsgi_host() -> *mut c_void {
    fence(|| extension(c"wsgi_host", c"wsgi_daemon_main", main)).unwrap_or(std::ptr::null_mut())
}

fn main(python: Interpreter) {
    // SAFETY: wsgid gave it to the process, and nothing else in it uses it.
    let control = unsafe { OwnedFd::from_raw_fd(CONTROL_FD) };
    exit(super::run(python, control))
}

/// Ends the process at once: without the exit handlers of C libraries, which crash while other threads run.
pub fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Uses a descriptor that the application owns and keeps open meanwhile.
pub fn with_descriptor<R>(descriptor: RawFd, work: impl FnOnce(BorrowedFd<'_>) -> R) -> Option<R> {
    if descriptor < 0 {
        return None;
    }
    // SAFETY: not -1. An application that closes it nonetheless gets another file sent, or an error: both are its own.
    Some(work(unsafe { BorrowedFd::borrow_raw(descriptor) }))
}
