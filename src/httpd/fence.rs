//! The panic fence: no panic leaves an `extern "C"` function, for that would abort the child and every request in it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

thread_local! {
    /// What the last panic of this thread said and where, kept by [`keep_messages`] for the log line.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `body`. If it panics, tells `report` what happened and where, and returns `fallback`.
pub fn fence<T>(fallback: T, report: impl FnOnce(&str), body: impl FnOnce() -> T) -> T {
    // Unwind safety: whatever `body` was changing belongs to one request or one configuration that is given up now.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(payload) => {
            let message =
                LAST.with(|last| last.borrow_mut().take())
                    .unwrap_or_else(|| match payload.downcast::<String>() {
                        Ok(text) => *text,
                        Err(payload) => payload
                            .downcast::<&str>()
                            .map_or_else(|_| "panic".to_owned(), |text| (*text).to_owned()),
                    });
            // A panic while reporting a panic ends here as well.
            let _ = catch_unwind(AssertUnwindSafe(|| report(&message)));
            fallback
        }
    }
}

/// Makes panics of this process be kept for the fence's report, which knows the request, rather than written to
/// standard error line by line. For httpd children: called from child_init.
pub fn keep_messages() {
    set_hook(Box::new(|info| {
        let text = info.to_string().replace('\n', " ");
        LAST.with(|last| {
            if let Ok(mut last) = last.try_borrow_mut() {
                *last = Some(text);
            }
        });
    }));
}
