//! Forks by Python code (`os.fork`) in a process with several interpreters. CPython cannot go on in such a child: by its
//! version the child hangs for ever or aborts. So it ends at once, with a reason.

use std::cell::Cell;
use std::ffi::CStr;
use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use super::interpreter::interpreters;
use super::{Class, Members, Object, Result};
use crate::fence::fence;

thread_local! {
    /// Python code of this thread is about to fork. (Programs that are started by `subprocess` are no such fork.)
    static COMING: Cell<bool> = const { Cell::new(false) };
}

/// This process was forked from the one that began to watch.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Whether the calling process is a child of the one that called [`watch_forks`].
pub fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Begins to watch this process.
pub fn watch_forks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler stays valid: this library is never unloaded. Without memory for it nothing is watched.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// An object whose two methods an interpreter calls around its forks.
pub struct Fork(());

impl Fork {
    /// Begins to watch this process.
    pub fn watch() -> Fork {
        watch_forks();
        Fork(())
    }
}

impl Class for Fork {
    const NAME: &'static CStr = c"mod_wsgi.Fork";
    const DOC: &'static CStr = c"Hooks for os.register_at_fork.";

    fn members(members: &mut Members<Fork>) {
        members
            .method(c"before", c"Before a fork.", |_, me, _| set(me, true))
            .method(c"after", c"After it, in the parent.", |_, me, _| set(me, false));
    }
}

fn set<'py>(me: &Object<'py>, coming: bool) -> Result<'py, Object<'py>> {
    COMING.set(coming);
    Ok(me.py().none())
}

unsafe extern "C" fn in_child() {
    FORKED.store(true, Ordering::Relaxed);
    fence(|| {
        if COMING.get() && interpreters() > 1 {
            let text = b"WSGI0444: os.fork() in a process with several Python interpreters: the child is ended. Set \
                         WSGIApplicationGroup %{GLOBAL} for the applications of this process, or start programs by \
                         subprocess\n";
            // There is no better place to say it.
            let _ = std::io::stderr().write_all(text);
            // SAFETY: ends the child.
            unsafe { libc::_exit(1) }
        }
    });
}
