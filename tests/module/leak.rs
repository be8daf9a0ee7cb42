//! Code that tries to keep what was borrowed from httpd beyond the hook call, or to hand it to another thread. With `--cfg
//! leak` of one kind it must not compile, for a reason at each marked line; without, it does.

#![allow(dead_code, unused_imports)]

use std::cell::RefCell;
use std::thread;

use super::httpd::brigade::Brigade;
use super::httpd::pool::Pool;
use super::httpd::request::Request;
use super::httpd::server::Server;

thread_local! {
    static REQUEST: RefCell<Option<Request<'static>>> = const { RefCell::new(None) };
    static POOL: RefCell<Option<Pool<'static>>> = const { RefCell::new(None) };
}

fn sendable<T: Send>(_: T) {}

fn shareable<T: Sync>(_: &T) {}

/// As long as the request: that is allowed.
fn within<'r>(request: Request<'r>) -> (&'r [u8], Brigade<'r>, Pool<'r>) {
    (request.uri(), Brigade::new(request), request.pool())
}

#[cfg(leak = "longer")]
mod longer {
    use super::*;

    fn request(request: Request<'_>) {
        REQUEST.with_borrow_mut(|kept| *kept = Some(request)); // ERROR
    }

    fn pool(request: Request<'_>) {
        POOL.with_borrow_mut(|kept| *kept = Some(request.pool())); // ERROR
    }

    fn server(server: Server<'_>) -> Server<'static> {
        server // ERROR
    }

    fn brigade(request: Request<'_>) -> Brigade<'static> {
        Brigade::new(request) // ERROR
    }

    fn bucket(request: Request<'_>) -> bool {
        let first = Brigade::new(request).first(); // ERROR
        first.is_none()
    }

    fn text(request: Request<'_>) -> &'static [u8] {
        request.uri() // ERROR
    }

    fn memory(pool: Pool<'_>) -> &'static [u8] {
        pool.bytes(b"text") // ERROR
    }
}

#[cfg(leak = "elsewhere")]
mod elsewhere {
    use super::*;

    fn thread(request: Request<'_>) {
        thread::scope(|scope| {
            scope.spawn(move || request.uri().len()); // ERROR
        });
    }

    fn all(request: Request<'_>, pool: Pool<'_>, server: Server<'_>) {
        sendable(request); // ERROR
        sendable(pool); // ERROR
        sendable(server); // ERROR
        sendable(Brigade::new(request)); // ERROR
        shareable(&request); // ERROR
        shareable(&pool); // ERROR
        shareable(&server); // ERROR
        shareable(&Brigade::new(request)); // ERROR
    }

    fn made() -> Request<'static> {
        // SAFETY: none; it must not be possible outside of the layer.
        unsafe { Request::from_ptr(std::ptr::null_mut()) } // ERROR
    }
}
