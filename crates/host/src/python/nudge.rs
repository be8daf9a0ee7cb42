//! The cure for a fault of CPython before 3.13: a thread that waits for the GIL asks only threads of *its own* interpreter
//! to give it up. So a thread that computes in one interpreter starves all others, until it waits for something itself.
//!
//! The cure: while requests run, while applications are told something, and while Python ends, a thread of each interpreter
//! asks for the GIL from time to time, and so keeps it going round. Needed only where there are several interpreters.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wsgi_core::doze::Doze;

use super::interpreter::is_before;
use super::thread::active_visits;

/// Twice the time that CPython lets a thread compute while others wait (`sys.getswitchinterval`).
const INTERVAL: Duration = Duration::from_millis(10);

/// Where those threads are while they are not needed.
static DOZE: Doze = Doze::new();
/// How many there are of [`Nudging`].
static ALERTS: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicBool = AtomicBool::new(false);

/// Calls `ask` in a thread of its own from time to time, if this Python needs it. It shall attach to an interpreter and
/// detach again.
pub fn nudge(ask: impl Fn() + Send + 'static) {
    if is_before(13) {
        // It ends with Python.
        let _ = spawn(move || {
            while next() {
                ask();
            }
        });
    }
}

/// Keeps those threads at it as long as it exists, even without requests.
pub struct Nudging(());

impl Nudging {
    /// Wakes them.
    pub fn begin() -> Nudging {
        ALERTS.fetch_add(1, Ordering::SeqCst);
        DOZE.wake();
        Nudging(())
    }
}

impl Drop for Nudging {
    fn drop(&mut self) {
        ALERTS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Ends those threads, soon.
pub fn end_nudging() {
    ENDED.store(true, Ordering::SeqCst);
    DOZE.wake();
}

/// Called when a request has begun.
pub(super) fn wake_if_asleep() {
    DOZE.wake();
}

/// Starts a thread of the host's own. It gets no signals: those belong to the threads that httpd has made. Without a
/// thread (`None`) the work is left undone: all of it is help in need.
pub fn spawn(work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    // SAFETY: plain calls on two sets of this thread's; the new thread inherits the mask, this one gets its own back.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut own: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut own);
        let thread = thread::Builder::new().spawn(work).ok();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const own, std::ptr::null_mut());
        thread
    }
}

/// Waits until it is time to ask again; false when there is nothing to ask for any more.
fn next() -> bool {
    thread::sleep(INTERVAL);
    DOZE.until(is_awake);
    !ENDED.load(Ordering::SeqCst)
}

fn is_awake() -> bool {
    active_visits() > 0 || ALERTS.load(Ordering::SeqCst) > 0 || ENDED.load(Ordering::SeqCst)
}
