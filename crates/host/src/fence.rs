//! The panic fence: what every function that C calls runs inside of.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};

/// Runs `work`; a panic inside becomes `None`. The hook of [`report_panics_to`] has logged it by then.
pub fn fence<R>(work: impl FnOnce() -> R) -> Option<R> {
    // Whoever panicked leaves only values behind that are consistent at every step: cells taken and put back whole,
    // locks whose poison is ignored on purpose.
    panic::catch_unwind(AssertUnwindSafe(work)).ok()
}

/// From now on a panic of this library is written by `log`, with its place, instead of to the raw standard error.
pub fn report_panics_to(log: impl Fn(&str) + Send + Sync + 'static) {
    panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = message(info.payload());
        log(&format!(
            "WSGI0390: internal error in the Python host at {place}: {message}; please report this"
        ));
    }));
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
