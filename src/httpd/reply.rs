//! The reply: status, headers and body on their way to the output filters.

use std::ffi::{CStr, c_int};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use wsgi_core::abi::Sent;

use super::brigade::Brigade;
use super::ffi;
use super::pool::Pool;
use super::request::Request;

/// The reply to one request.
pub struct Reply<'r> {
    request: Request<'r>,
    brigade: Brigade<'r>,
    files: Files,
}

/// A part of the reply's body.
pub enum Piece<'b> {
    /// These bytes.
    Bytes(&'b [u8]),
    /// A range of a regular file.
    File {
        /// The file; closed when the reply is with the client.
        file: OwnedFd,
        /// Where the range begins.
        offset: u64,
        /// Its length.
        length: u64,
    },
}

/// How the bytes of files may be read. httpd's `EnableSendfile` and `EnableMMAP` can forbid what is allowed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// By sendfile.
    pub sendfile: bool,
    /// Mapped into memory. Who cuts such a file short ends the process that reads it.
    pub mmap: bool,
}

/// Largest range that one bucket holds, as in APR's own `apr_brigade_insert_file`.
const MAX_FILE_BUCKET: u64 = 1 << 30;

impl<'r> Reply<'r> {
    /// A reply of which nothing was sent.
    pub fn new(request: Request<'r>, files: Files) -> Reply<'r> {
        Reply {
            request,
            brigade: Brigade::new(request),
            files,
        }
    }

    /// Sets the status. An empty reason stands for the usual one.
    pub fn set_status(&self, status: u16, reason: &[u8]) {
        let raw = self.request.as_ptr();
        let number = c_int::from(status);
        // SAFETY: answers a constant line, that of 500 for a number that it does not know.
        let usual = unsafe { CStr::from_ptr(ffi::ap_get_status_line(number)) };
        let mut digits = *b"000 ";
        for (digit, power) in digits.iter_mut().zip([100, 10, 1]) {
            *digit += (status / power % 10) as u8;
        }
        let known = usual.to_bytes().strip_prefix(&digits);
        let line = match known {
            Some(phrase) if reason.is_empty() || reason == phrase => usual,
            _ => self.pool().string(&[&digits, reason].concat()),
        };
        // SAFETY: a live request of this thread; the line is constant or its pool's.
        unsafe {
            (*raw).status = number;
            (*raw).status_line = line.as_ptr();
        }
    }

    /// Forgets what the script's file name made httpd believe about the content: type, encoding, languages.
    pub fn forget_content(&self) {
        let raw = self.request.as_ptr();
        // SAFETY: a live request of this thread; NULL stands for none.
        unsafe {
            ffi::ap_set_content_type(raw, ptr::null());
            (*raw).content_encoding = ptr::null();
            (*raw).content_languages = ptr::null_mut();
        }
    }

    /// Adds a header. httpd keeps some of them elsewhere than in its table.
    pub fn add_header(&self, name: &[u8], value: &[u8]) {
        let raw = self.request.as_ptr();
        let value = self.pool().string(value);
        // SAFETY: a live request of this thread, its own tables, strings of its pool.
        unsafe {
            if name.eq_ignore_ascii_case(b"content-type") {
                ffi::ap_set_content_type(raw, value.as_ptr());
            } else if name.eq_ignore_ascii_case(b"content-length") {
                // Checked to be a number by the host; a repeated header would be two lengths.
                let length = wsgi_core::header::content_length(value.to_bytes()).unwrap_or(0);
                ffi::ap_set_content_length(raw, i64::try_from(length).unwrap_or(i64::MAX));
            } else {
                let name = self.pool().string(name);
                // Headers of an error response survive ErrorDocument only in the second table.
                let table = if name.to_bytes().eq_ignore_ascii_case(b"www-authenticate") {
                    (*raw).err_headers_out
                } else {
                    (*raw).headers_out
                };
                ffi::apr_table_addn(table, name.as_ptr(), value.as_ptr());
            }
        }
    }

    /// Sends the pieces and flushes them; with `end` the reply is complete.
    pub fn send<'b>(&mut self, pieces: impl Iterator<Item = Piece<'b>>, end: bool) -> Sent {
        // Flushed in any case: what was yielded is on its way before anything else is done, and the worker thread finds
        // the client's next request already waiting.
        let mut any = false;
        for piece in pieces {
            match piece {
                Piece::Bytes([]) | Piece::File { length: 0, .. } => continue,
                // SAFETY: the bytes are borrowed for this whole call, which passes the brigade on.
                Piece::Bytes(bytes) => unsafe { self.brigade.push_transient(bytes) },
                Piece::File { file, offset, length } => self.push_file(file, offset, length),
            }
            any = true;
        }
        // The end before the flush: the last chunk goes out with the last block. But the filter that hides the end of a
        // subrequest from the document around it looks for it at the very end of what it is passed.
        let subrequest = !self.request.fields().main.is_null();
        if end && !subrequest {
            self.brigade.push_eos();
        }
        if any || end {
            self.brigade.push_flush();
        }
        if end && subrequest {
            self.brigade.push_eos();
        }
        self.pass()
    }

    /// The filters may keep the file until the last byte is with the client, so the request's pool closes it.
    fn push_file(&self, file: OwnedFd, offset: u64, length: u64) {
        let core = self.core();
        let sendfile = self.files.sendfile && core.enable_sendfile() == ffi::ENABLE_SENDFILE_ON.unsigned_abs();
        let mmap = self.files.mmap && core.enable_mmap() != ffi::ENABLE_MMAP_OFF.unsigned_abs();
        let flags = ffi::APR_FOPEN_READ | if sendfile { ffi::APR_SENDFILE_ENABLED } else { 0 };
        let mut descriptor = file.as_raw_fd();
        let pool = self.pool();
        pool.own(file);
        let mut file: *mut ffi::apr_file_t = ptr::null_mut();
        // SAFETY: the call makes a handle in the pool that now owns the descriptor.
        unsafe { ffi::apr_os_file_put(&raw mut file, &raw mut descriptor, flags, pool.as_ptr()) };
        let mut offset = offset;
        let end = offset.saturating_add(length);
        while offset < end {
            let part = (end - offset).min(MAX_FILE_BUCKET);
            // SAFETY: handle, descriptor and pool live until the bucket is gone.
            unsafe { self.brigade.push_file(file, offset, part, mmap) };
            offset += part;
        }
    }

    /// Ends a reply that cannot be completed so that the client can tell: the last chunk is withheld, the connection is
    /// closed, and where nothing but the end of the connection marks the reply's end, it is reset.
    pub fn cut(&mut self) {
        self.brigade.push_error(c_int::from(502_u16));
        self.brigade.push_eos();
        self.pass();
        let request = self.request.fields();
        // SAFETY: the request's own connection, used by this thread alone.
        unsafe {
            let connection = request.connection;
            (*connection).keepalive = ffi::ap_conn_keepalive_e_AP_CONN_CLOSE;
            let framed =
                request.chunked != 0 || !ffi::apr_table_get(request.headers_out, c"Content-Length".as_ptr()).is_null();
            if !framed && (*connection).master.is_null() {
                reset_on_close(connection);
                (*connection).aborted = 1;
            }
        }
    }

    fn pool(&self) -> Pool<'r> {
        self.request.pool()
    }

    fn core(&self) -> &'r ffi::core_dir_config {
        // SAFETY: httpd's core has such a configuration for every request, for as long as that lives.
        unsafe { &*ffi::ap_get_core_module_config(self.request.fields().per_dir_config).cast() }
    }

    fn pass(&mut self) -> Sent {
        let status = self.brigade.pass();
        // SAFETY: the request's own connection.
        let aborted = unsafe { (*self.request.fields().connection).aborted } != 0;
        match status {
            _ if aborted => Sent::ClientGone,
            0 => Sent::Ok,
            ffi::AP_FILTER_ERROR => Sent::Failed,
            _ => Sent::ClientGone,
        }
    }
}

/// Makes closing the connection a reset rather than an orderly end.
///
/// # Safety
/// A live connection of this thread's request.
unsafe fn reset_on_close(connection: *mut ffi::conn_rec) {
    // SAFETY: the connection's own socket; setsockopt reads the structure during the call.
    unsafe {
        let socket = ffi::ap_get_conn_socket(connection);
        let mut fd: ffi::apr_os_sock_t = -1;
        if socket.is_null() || ffi::apr_os_sock_get(&raw mut fd, socket) != 0 {
            return;
        }
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        );
    }
}
