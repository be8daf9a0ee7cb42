//! The request (`request_rec` of `httpd.h`).

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::time::Duration;

use super::module::Module;
use super::pool::Pool;
use super::server::Server;
use super::table::Table;
use super::{ffi, text};

/// A request during one hook call. It cannot leave the call, nor its thread.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    raw: NonNull<ffi::request_rec>,
    borrowed: PhantomData<&'r ()>,
}

/// How long writes to the client may wait, until this is dropped.
pub struct WriteLimit<'r> {
    socket: *mut ffi::apr_socket_t,
    before: ffi::apr_interval_time_t,
    request: PhantomData<Request<'r>>,
}

impl Drop for WriteLimit<'_> {
    fn drop(&mut self) {
        // SAFETY: the socket of a live request's connection.
        unsafe { ffi::apr_socket_timeout_set(self.socket, self.before) };
    }
}

/// What the request's file name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Nothing is there.
    Missing,
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

impl<'r> Request<'r> {
    /// # Safety
    /// `raw` is a live request for `'r`, and it is this thread that runs it.
    pub(super) unsafe fn from_ptr(raw: *mut ffi::request_rec) -> Request<'r> {
        Request {
            raw: NonNull::new(raw).expect("httpd passes a request"),
            borrowed: PhantomData,
        }
    }

    /// The address of httpd's record, for Python code that has its own way to it.
    pub fn to_address(self) -> *mut c_void {
        self.as_ptr().cast()
    }

    pub(super) fn as_ptr(self) -> *mut ffi::request_rec {
        self.raw.as_ptr()
    }

    /// The structure itself, to read plain fields from. C code changes it between calls, so no reference is kept.
    pub(super) fn fields(&self) -> &ffi::request_rec {
        // SAFETY: live for 'r; the borrow ends with the expression that reads a field, before anything is called.
        unsafe { self.raw.as_ref() }
    }

    /// The request's pool. It is cleared, by whatever thread, when the last of the reply was sent.
    pub fn pool(self) -> Pool<'r> {
        // SAFETY: live as long as the request, and the request's thread's own.
        unsafe { Pool::from_ptr(self.fields().pool) }
    }

    /// The virtual host that the request is for.
    pub fn server(self) -> Server<'r> {
        // SAFETY: outlives its requests.
        unsafe { Server::from_ptr(self.fields().server) }
    }

    /// The module's configuration for the place that the request leads to.
    pub fn config<M: Module>(self) -> &'r M::Directory<'r> {
        // SAFETY: made by the module's create or merge function, in a pool that lives as long as the request.
        unsafe { &*ffi::ap_get_module_config(self.fields().per_dir_config, M::record().as_ptr()).cast() }
    }

    /// Keeps what this request was mapped to, for a later hook of the same request.
    pub fn set_mapping<M: Module>(self, mapping: &'r M::Mapping) {
        // SAFETY: the request's own vector; the pointer is read back below only, with the same type.
        unsafe {
            let mapping = ptr::from_ref(mapping).cast_mut().cast();
            ffi::ap_set_module_config(self.fields().request_config, M::record().as_ptr(), mapping);
        }
    }

    /// What [`Request::set_mapping`] kept; nothing for a request that an internal redirect made.
    pub fn mapping<M: Module>(self) -> Option<&'r M::Mapping> {
        // SAFETY: NULL or a pointer from `set_mapping`, whose referent lives for 'r.
        unsafe {
            ffi::ap_get_module_config(self.fields().request_config, M::record().as_ptr())
                .cast::<M::Mapping>()
                .as_ref()
        }
    }

    /// The URL's path, decoded.
    pub fn uri(self) -> &'r [u8] {
        // SAFETY: these strings are the request's pool's or constant; this holds for the whole file.
        unsafe { text::bytes(self.fields().uri) }
    }

    /// The method on the request line.
    pub fn method(self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { text::bytes(self.fields().method) }
    }

    /// `HTTP/1.1` and the like.
    pub fn protocol(self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { text::bytes(self.fields().protocol) }
    }

    /// The query, undecoded.
    pub fn query(self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { text::bytes(self.fields().args) }
    }

    /// The file that the URL leads to.
    pub fn filename(self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { text::bytes(self.fields().filename) }
    }

    /// Names the file; the path stays in the request's pool.
    pub fn set_filename(self, path: &[u8]) {
        let path = self.pool().string(path);
        // SAFETY: a live request of this thread; httpd's own way of mapping a URL.
        unsafe { (*self.as_ptr()).filename = path.as_ptr().cast_mut() };
    }

    /// What follows the file in the URL, decoded.
    pub fn path_info(self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { text::bytes(self.fields().path_info) }
    }

    /// `AcceptPathInfo Off` is in force.
    pub fn rejects_path_info(self) -> bool {
        self.fields().used_path_info == ffi::AP_REQ_REJECT_PATH_INFO
    }

    /// The handler that the configuration chose.
    pub fn handler(self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { text::bytes(self.fields().handler) }
    }

    /// Chooses the handler, as long as no `SetHandler` or `AddHandler` says otherwise.
    pub fn set_handler(self, name: &'static CStr) {
        // SAFETY: a live request of this thread; the name is constant.
        unsafe { (*self.as_ptr()).handler = name.as_ptr() };
    }

    /// The client asked by HEAD.
    pub fn header_only(self) -> bool {
        self.fields().header_only != 0
    }

    /// A body comes with the request, or may come.
    pub fn has_body(self) -> bool {
        // SAFETY: a live request.
        unsafe { ffi::ap_request_has_body(self.as_ptr()) != 0 }
    }

    /// The client sends the body only after `100 Continue`.
    pub fn expects_continue(self) -> bool {
        self.fields().expecting_100 != 0
    }

    /// The client's socket; `None` where the request does not have one of its own (HTTP/2).
    pub fn client_socket(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the request's own connection and its socket, open as long as the request runs.
        unsafe {
            let connection = self.fields().connection;
            if !(*connection).master.is_null() {
                return None;
            }
            let socket = ffi::ap_get_conn_socket(connection);
            let mut fd: ffi::apr_os_sock_t = -1;
            let known = !socket.is_null() && ffi::apr_os_sock_get(&raw mut fd, socket) == 0 && fd >= 0;
            known.then(|| BorrowedFd::borrow_raw(fd))
        }
    }

    /// Sets how long a write to the client may wait, in place of `Timeout`, for the life of what is returned. Nothing where
    /// the request has no socket of its own (HTTP/2).
    pub fn limit_writes(self, limit: Duration) -> Option<WriteLimit<'r>> {
        // SAFETY: the request's own connection and its socket, open as long as the request runs.
        unsafe {
            let connection = self.fields().connection;
            let socket = ffi::ap_get_conn_socket(connection);
            if !(*connection).master.is_null() || socket.is_null() {
                return None;
            }
            let mut before = 0;
            ffi::apr_socket_timeout_get(socket, &raw mut before);
            ffi::apr_socket_timeout_set(socket, i64::try_from(limit.as_micros()).unwrap_or(i64::MAX));
            Some(WriteLimit {
                socket,
                before,
                request: PhantomData,
            })
        }
    }

    /// The user that authentication found.
    pub fn user(self) -> Option<&'r [u8]> {
        // SAFETY: as above.
        unsafe { text::optional(self.fields().user) }
    }

    /// Gives the user that authentication found another name.
    pub fn set_user(self, name: &[u8]) {
        let name = self.pool().string(name);
        // SAFETY: a live request of this thread; the string lives as long.
        unsafe { (*self.as_ptr()).user = name.as_ptr().cast_mut() };
    }

    /// `Basic`, `Digest` …
    pub fn auth_type(self) -> Option<&'r [u8]> {
        // SAFETY: as above.
        unsafe { text::optional(self.fields().ap_auth_type) }
    }

    /// The request that an internal redirect led here from.
    pub fn previous(self) -> Option<Request<'r>> {
        let raw = self.fields().prev;
        // SAFETY: lives as long as the request it led to.
        (!raw.is_null()).then(|| unsafe { Request::from_ptr(raw) })
    }

    /// When httpd got the request, in µs since the epoch.
    pub fn time(self) -> i64 {
        self.fields().request_time
    }

    /// Headers of the request.
    pub fn headers_in(self) -> Table<'r> {
        // SAFETY: every request has these tables, in its own pool; likewise below.
        unsafe { Table::from_ptr(self.fields().headers_in) }
    }

    /// Sets a header of the reply, of an error reply too; the value is the request's pool's.
    pub fn set_error_header(self, name: &'static CStr, value: &'r CStr) {
        // SAFETY: the request's own table; strings that live as long.
        unsafe { ffi::apr_table_setn(self.fields().err_headers_out, name.as_ptr(), value.as_ptr()) };
    }

    /// Answers with what a path of this server answers to GET. Call it last.
    pub fn redirect(self, path: &[u8]) {
        let path = self.pool().string(path);
        let raw = self.as_ptr();
        // SAFETY: a live request of this thread, of which nothing was sent; as httpd does it for CGI programs.
        unsafe {
            (*raw).method = c"GET".as_ptr();
            (*raw).method_number = ffi::M_GET;
            // The body was the first request's.
            ffi::apr_table_unset((*raw).headers_in, c"Content-Length".as_ptr());
            ffi::ap_internal_redirect_handler(path.as_ptr(), raw);
        }
    }

    /// Notes that modules leave for one another.
    pub fn notes(self) -> Table<'r> {
        // SAFETY: as above.
        unsafe { Table::from_ptr(self.fields().notes) }
    }

    /// Variables that modules and directives (`SetEnv` and the like) set for the request.
    pub fn environment(self) -> Table<'r> {
        // SAFETY: as above.
        unsafe { Table::from_ptr(self.fields().subprocess_env) }
    }

    /// What the file name leads to, as httpd saw it while mapping the URL.
    pub fn file_kind(self) -> FileKind {
        match self.fields().finfo.filetype {
            ffi::apr_filetype_e_APR_NOFILE => FileKind::Missing,
            ffi::apr_filetype_e_APR_REG => FileKind::Regular,
            ffi::apr_filetype_e_APR_DIR => FileKind::Directory,
            _ => FileKind::Other,
        }
    }

    /// The file's modification time, in µs since the epoch, as httpd saw it.
    pub fn file_mtime(self) -> i64 {
        self.fields().finfo.mtime
    }

    /// `Options ExecCGI` is in force.
    pub fn may_execute(self) -> bool {
        // SAFETY: a live request.
        unsafe { ffi::ap_allow_options(self.as_ptr()) & ffi::OPT_EXECCGI != 0 }
    }

    /// A filter that works on the content, such as DEFLATE, is the first to see the reply.
    pub fn content_is_filtered(self) -> bool {
        // SAFETY: NULL, or the chain of a live request.
        unsafe {
            self.fields()
                .output_filters
                .as_ref()
                .and_then(|filter| filter.frec.as_ref())
                .is_some_and(|record| record.ftype < ffi::ap_filter_type_AP_FTYPE_PROTOCOL)
        }
    }
}
