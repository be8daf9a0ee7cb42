//! What the host may do while a script is asked about a request: the module's side of `wsgi_core::abi::HookTable`.

use std::ffi::{c_int, c_void};

use wsgi_core::abi::{Bytes, HookTable, Level, Site};

use super::exchange::bytes;
use crate::httpd::fence::fence;
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::module::Wsgi;

/// One question, and the texts that answer it.
pub struct Inquiry<'r> {
    request: Request<'r>,
    /// In the order in which they came, each with what it is about.
    pub texts: Vec<(usize, Vec<u8>)>,
}

impl<'r> Inquiry<'r> {
    /// A question about that request.
    pub fn new(request: Request<'r>) -> Inquiry<'r> {
        Inquiry {
            request,
            texts: Vec::new(),
        }
    }
}

/// The functions, for every question the same.
pub(super) static HOOKS: HookTable = HookTable {
    log: log_record,
    is_tls,
    tls_variable,
    text,
};

/// Runs `body` with the inquiry behind the panic fence.
///
/// # Safety
/// `context` is the `Inquiry` that `Host::ask` passed along, during that call, used by one thread at a time.
unsafe fn guarded<T>(context: *mut c_void, fallback: T, body: impl FnOnce(&mut Inquiry<'_>) -> T) -> T {
    // SAFETY: the caller's promise.
    let inquiry = unsafe { &mut *context.cast::<Inquiry<'_>>() };
    let request = inquiry.request;
    let report = |text: &str| log::request::<Wsgi>(request, Level::Error, format!("WSGI0199: {text}").as_bytes());
    fence(fallback, report, || body(inquiry))
}

/// # Safety
/// See `HookTable::log`.
unsafe extern "C" fn log_record(context: *mut c_void, level: c_int, file: Bytes, line: u32, text: Bytes) {
    // SAFETY: the host's promise.
    unsafe {
        guarded(context, (), |inquiry| {
            let site = Site {
                file: bytes(file),
                line,
            };
            log::request_from::<Wsgi>(inquiry.request, Level::from_raw(level), site, bytes(text));
        });
    }
}

/// # Safety
/// See `HookTable::is_tls`.
unsafe extern "C" fn is_tls(context: *mut c_void) -> bool {
    // SAFETY: the host's promise.
    unsafe { guarded(context, false, |inquiry| inquiry.request.cgi().is_tls()) }
}

/// # Safety
/// See `HookTable::tls_variable`.
unsafe extern "C" fn tls_variable(context: *mut c_void, name: Bytes) -> Bytes {
    // SAFETY: the host's promise.
    unsafe {
        guarded(context, Bytes::EMPTY, |inquiry| {
            let value = inquiry.request.cgi().tls_variable(bytes(name));
            value.map_or(Bytes::EMPTY, Bytes::of)
        })
    }
}

/// # Safety
/// See `HookTable::text`.
unsafe extern "C" fn text(context: *mut c_void, index: usize, text: Bytes) {
    // SAFETY: the host's promise.
    unsafe {
        guarded(context, (), |inquiry| {
            inquiry.texts.push((index, bytes(text).to_vec()));
        });
    }
}
