//! How a daemon's Python reaches this library, what the process was given and asks of the system, and how it ends.
//!
//! `wsgid` executes the group's Python with a line (`wsgi_core::wire::control::daemon::LINE`) that loads this library as
//! an extension module and calls its one function, `wsgi_daemon_main()`, which does not return.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
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

/// Shows the process under that title in `ps`, cut to the length of the command line that it was started with: the title
/// takes that line's place in memory (proc(5), `arg_start` and `arg_end`). To be called while the process has one thread.
pub fn show_as(title: &[u8]) {
    // Nobody needs it to be there.
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else {
        return;
    };
    // The name in parentheses may hold anything; what follows it begins with the third field.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let field = |number: usize| fields.split(' ').nth(number - 3)?.parse::<usize>().ok();
    let (Some(start @ 1..), Some(end)) = (field(48), field(49)) else {
        return;
    };
    let Some(room) = end.checked_sub(start + 1) else { return };
    let mut line = title[..title.len().min(room)].to_vec();
    line.resize(room, 0);
    // SAFETY: the kernel says that the command line is there, of which the last byte stays as it is; it lies on the stack
    // of the first thread. Python has made copies of it, and no other thread is there to read it.
    unsafe { std::ptr::copy_nonoverlapping(line.as_ptr(), start as *mut u8, room) };
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

/// Puts bytes into a pipe without copying them, as many as it takes at once (vmsplice(2)); how many. Whoever reads the pipe
/// sees them as they are by then.
///
/// # Errors
/// When the system does not do that, when the pipe is full, or when nobody reads it.
pub fn lend(pipe: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: asks for the action, into a structure of which all zeros is a value as well.
    let deadly = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action) != 0 || action.sa_sigaction == libc::SIG_DFL
    };
    // Python ignores the signal; an application that has changed that would be ended by it when httpd gives up.
    if deadly {
        return Err(Errno::PIPE);
    }
    let vector = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: the kernel reads the memory only, and holds on to its pages, whatever becomes of it here.
    let count = unsafe { libc::vmsplice(pipe.as_raw_fd(), &raw const vector, 1, libc::SPLICE_F_NONBLOCK) };
    usize::try_from(count).map_err(|_| Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// How often the calling thread has slept so far, whatever for, and how much processor time it has used, in µs
/// (`RUSAGE_THREAD`, getrusage(2)).
pub fn thread_usage() -> (u64, u64) {
    // SAFETY: fills the structure, of which all zeros is a value as well.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage
    };
    let used = [usage.ru_utime, usage.ru_stime].map(|time| time.tv_sec * 1_000_000 + time.tv_usec);
    let number = |number| u64::try_from(number).unwrap_or(0);
    (number(usage.ru_nvcsw), number(used.iter().sum()))
}

/// A signal that the system leaves to programs: the `number`th from the last of them.
pub fn free_signal(number: usize) -> i32 {
    libc::SIGRTMAX() - i32::try_from(number).unwrap_or(0)
}

/// Sends a signal to the calling thread, and lets it come before this returns.
pub fn raise(signal: i32) {
    // SAFETY: plain calls on two sets of this thread's, whose mask is the same again in the end.
    unsafe {
        let mut only: libc::sigset_t = std::mem::zeroed();
        let mut own: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut only);
        libc::sigaddset(&raw mut only, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const only, &raw mut own);
        libc::raise(signal);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const own, std::ptr::null_mut());
    }
}
