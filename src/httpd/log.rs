//! The error log (`http_log.h`), under the module's own log level (`LogLevel wsgi:debug`).

use std::ffi::c_int;
use std::ptr;

use wsgi_core::abi::Level;

use super::ffi;
use super::module::Module;
use super::request::Request;
use super::server::Server;

/// Logs one record with its request: into that host's log, with the client and the request's id.
pub fn request<M: Module>(request: Request<'_>, level: Level, text: &[u8]) {
    let index = M::record().index();
    // SAFETY: a live request; httpd's own accessor.
    if level as c_int > unsafe { ffi::ap_get_request_module_loglevel(request.as_ptr(), index) } {
        return;
    }
    let line = printable(text);
    // SAFETY: a live request; the text is an argument, never the format, and `%.*s` reads no more than its length.
    unsafe {
        ffi::ap_log_rerror_(
            ptr::null(),
            0,
            index,
            level as c_int,
            0,
            request.as_ptr(),
            c"%.*s".as_ptr(),
            c_int::try_from(line.len()).unwrap_or(c_int::MAX),
            line.as_ptr(),
        );
    }
}

/// Logs one record into a server's log.
pub fn server<M: Module>(server: Server<'_>, level: Level, text: &[u8]) {
    let index = M::record().index();
    // SAFETY: a live server; httpd's own accessor.
    if level as c_int > unsafe { ffi::ap_get_server_module_loglevel(server.as_ptr(), index) } {
        return;
    }
    let line = printable(text);
    // SAFETY: as above.
    unsafe {
        ffi::ap_log_error_(
            ptr::null(),
            0,
            index,
            level as c_int,
            0,
            server.as_ptr(),
            c"%.*s".as_ptr(),
            c_int::try_from(line.len()).unwrap_or(c_int::MAX),
            line.as_ptr(),
        );
    }
}

/// The least important level that a server's log shows.
pub fn level<M: Module>(server: Server<'_>) -> Level {
    // SAFETY: a live server; httpd's own accessor.
    Level::from_raw(unsafe { ffi::ap_get_server_module_loglevel(server.as_ptr(), M::record().index()) })
}

/// C formatting ends a text at a NUL; shown as a question mark, the rest is not lost.
fn printable(text: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if text.contains(&0) {
        text.iter()
            .map(|&b| if b == 0 { b'?' } else { b })
            .collect::<Vec<u8>>()
            .into()
    } else {
        text.into()
    }
}
