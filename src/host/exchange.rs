//! What the host may do with a request: the module's side of `wsgi_core::abi::ExchangeTable`.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::slice;

use rustix::fs::SeekFrom;
use wsgi_core::abi::{Bytes, ExchangeTable, Level, Sent, Site, Variable, WRITE_END};

use crate::httpd::body::{Body, BodyError};
use crate::httpd::fence::fence;
use crate::httpd::log;
use crate::httpd::reply::{Files, Piece, Reply};
use crate::httpd::request::Request;
use crate::module::Wsgi;

/// One request's body and reply.
pub struct Exchange<'r> {
    request: Request<'r>,
    body: Body<'r>,
    /// The reply.
    pub reply: Reply<'r>,
    error: Option<BodyError>,
    /// An output filter answered in the application's place.
    pub failed: bool,
}

impl<'r> Exchange<'r> {
    /// The exchange of a request of which nothing was read and to which nothing was sent.
    pub fn new(request: Request<'r>, body: Body<'r>, files: Files) -> Exchange<'r> {
        Exchange {
            request,
            body,
            reply: Reply::new(request, files),
            error: None,
            failed: false,
        }
    }

    fn sent(&mut self, sent: Sent) -> c_int {
        self.failed |= sent == Sent::Failed;
        sent as c_int
    }
}

/// The functions, for every request the same.
pub(super) static TABLE: ExchangeTable = ExchangeTable {
    read,
    error,
    head,
    write,
    file,
    log: log_record,
};

/// Runs `body` with the exchange behind the panic fence.
///
/// # Safety
/// `context` is the `Exchange` that `Host::run` passed along, during that call, used by one thread at a time.
unsafe fn guarded<T>(context: *mut c_void, fallback: T, body: impl FnOnce(&mut Exchange<'_>) -> T) -> T {
    // SAFETY: the caller's promise.
    let exchange = unsafe { &mut *context.cast::<Exchange<'_>>() };
    let request = exchange.request;
    let report = |text: &str| log::request::<Wsgi>(request, Level::Error, format!("WSGI0120: {text}").as_bytes());
    fence(fallback, report, || body(exchange))
}

/// # Safety
/// As the table says: live for the call.
pub(super) unsafe fn bytes<'a>(bytes: Bytes) -> &'a [u8] {
    if bytes.len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(bytes.data, bytes.len) }
}

/// # Safety
/// As the table says: live for the call.
unsafe fn list<'a, T>(data: *const T, len: usize) -> &'a [T] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(data, len) }
}

/// # Safety
/// See `ExchangeTable::read`.
unsafe extern "C" fn read(context: *mut c_void, buffer: *mut u8, len: usize) -> isize {
    // SAFETY: the host's promise.
    unsafe {
        guarded(context, -1, |exchange| {
            let buffer: &mut [MaybeUninit<u8>] = if len == 0 {
                &mut []
            } else {
                slice::from_raw_parts_mut(buffer.cast(), len)
            };
            match exchange.body.read(buffer) {
                Ok(count) => count.cast_signed(),
                Err(error) => {
                    exchange.error = Some(error);
                    -1
                }
            }
        })
    }
}

/// # Safety
/// See `ExchangeTable::error`.
unsafe extern "C" fn error(context: *mut c_void, buffer: *mut u8, len: usize) -> usize {
    // SAFETY: the host's promise.
    unsafe {
        guarded(context, 0, |exchange| {
            let text = exchange.error.map(BodyError::text).unwrap_or_default();
            let count = text.len().min(len);
            if count > 0 {
                slice::from_raw_parts_mut(buffer, count).copy_from_slice(&text.as_bytes()[..count]);
            }
            count
        })
    }
}

/// # Safety
/// See `ExchangeTable::head`.
unsafe extern "C" fn head(
    context: *mut c_void,
    status: c_int,
    reason: Bytes,
    headers: *const Variable,
    headers_len: usize,
) {
    // SAFETY: the host's promise.
    unsafe {
        guarded(context, (), |exchange| {
            exchange.reply.forget_content();
            exchange
                .reply
                .set_status(u16::try_from(status).unwrap_or(500), bytes(reason));
            for header in list(headers, headers_len) {
                exchange.reply.add_header(bytes(header.name), bytes(header.value));
            }
        });
    }
}

/// # Safety
/// See `ExchangeTable::write`.
unsafe extern "C" fn write(context: *mut c_void, pieces: *const Bytes, pieces_len: usize, flags: u32) -> c_int {
    // SAFETY: the host's promise.
    unsafe {
        guarded(context, Sent::ClientGone as c_int, |exchange| {
            let pieces = list(pieces, pieces_len).iter().map(|piece| Piece::Bytes(bytes(*piece)));
            let sent = exchange.reply.send(pieces, flags & WRITE_END != 0);
            exchange.sent(sent)
        })
    }
}

/// # Safety
/// See `ExchangeTable::file`.
unsafe extern "C" fn file(context: *mut c_void, fd: c_int, offset: i64, len: u64) -> c_int {
    // SAFETY: the host's promise.
    unsafe {
        guarded(context, Sent::ClientGone as c_int, |exchange| {
            // The application may close its own descriptor before the last byte is with the client.
            let Ok(file) = BorrowedFd::borrow_raw(fd).try_clone_to_owned() else {
                return exchange.sent(Sent::Failed);
            };
            let piece = Piece::File {
                file,
                offset: u64::try_from(offset).unwrap_or(0),
                length: len,
            };
            // The copy shares its position with the application's, and reading moves it.
            let position = rustix::fs::tell(BorrowedFd::borrow_raw(fd));
            let sent = exchange.reply.send(std::iter::once(piece), true);
            if let Ok(position) = position {
                // Nothing to do if it fails: a file that cannot be positioned has no position to keep.
                let _ = rustix::fs::seek(BorrowedFd::borrow_raw(fd), SeekFrom::Start(position));
            }
            exchange.sent(sent)
        })
    }
}

/// # Safety
/// See `ExchangeTable::log`.
unsafe extern "C" fn log_record(context: *mut c_void, level: c_int, file: Bytes, line: u32, text: Bytes) {
    // SAFETY: the host's promise.
    unsafe {
        guarded(context, (), |exchange| {
            let file = bytes(file);
            log::request_from::<Wsgi>(
                exchange.request,
                Level::from_raw(level),
                Site { file, line },
                bytes(text),
            );
        });
    }
}
