//! Signals (`signal.h`, `sys/signalfd.h`).

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Holds all signals back, and makes them readable instead. Children must call [`restore`] before they become another
/// program.
///
/// # Errors
/// The system's.
pub fn collect() -> nix::Result<SignalFd> {
    let all = SigSet::all();
    all.thread_set_mask()?;
    SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Whether SIGTERM has come.
pub fn asked_to_end(signals: &SignalFd) -> bool {
    let mut end = false;
    while let Ok(Some(signal)) = signals.read_signal() {
        // What a terminal or an administrator sends to httpd's whole process group is for httpd to act on.
        end |= i32::try_from(signal.ssi_signo).is_ok_and(|number| number == Signal::SIGTERM as i32);
    }
    end
}

/// Every signal does what it does by default, and arrives.
pub fn restore() {
    for signal in Signal::iterator() {
        // SAFETY: sets the default action of a signal, without a handler; KILL and STOP are refused, which changes
        // nothing.
        unsafe { libc::signal(signal as i32, libc::SIG_DFL) };
    }
    // Fails only for a wrong argument.
    let _ = SigSet::empty().thread_set_mask();
}

/// SIGCHLD's default, whatever httpd had inherited: where it is ignored, nobody can be waited for.
pub fn keep_children() {
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}
