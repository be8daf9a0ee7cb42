//! The tables of C functions through which `mod_wsgi.so` and the Python host (`wsgi_host.abi3.so`) speak.
//!
//! The module loads the host into an httpd child, asks its one exported symbol, [`HOST_SYMBOL`], for a [`HostTable`]
//! and calls through it. For each request it hands over an [`ExchangeTable`] with which the host reads the body and
//! answers. Both sides wrap these raw types in safe ones at once; nothing else passes between them.
//!
//! # Rules
//! - Everything is borrowed for the length of the call that passes it. Who needs it longer copies it.
//! - No function unwinds: each side catches its own panics.
//! - [`ABI_VERSION`] changes with every change of a type or of a meaning in this file. The two files are installed
//!   together, so the host refuses any other version.

use std::ffi::{CStr, c_int, c_void};

/// Version of everything in this file.
pub const ABI_VERSION: u32 = 4;

/// Name of the host's exported function, of type [`HostEntry`].
pub const HOST_SYMBOL: &CStr = c"wsgi_host";

/// Returns the host's table, or NULL when it does not speak `version`.
pub type HostEntry = unsafe extern "C" fn(version: u32) -> *const HostTable;

/// Borrowed bytes. `data` may be NULL only when `len` is 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    /// First byte.
    pub data: *const u8,
    /// Number of bytes.
    pub len: usize,
}

impl Bytes {
    /// No bytes.
    pub const EMPTY: Bytes = Bytes {
        data: std::ptr::null(),
        len: 0,
    };

    /// Borrows `bytes`; the caller keeps them alive for the call that this value is passed to.
    pub const fn of(bytes: &[u8]) -> Bytes {
        Bytes {
            data: bytes.as_ptr(),
            len: bytes.len(),
        }
    }
}

/// A name with its value: an environ entry, or a response header.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// The key or header name.
    pub name: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// Severity of a log record; the numbers are those of syslog and of httpd's `http_log.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `APLOG_CRIT`
    Critical = 2,
    /// `APLOG_ERR`
    Error = 3,
    /// `APLOG_WARNING`
    Warning = 4,
    /// `APLOG_NOTICE`
    Notice = 5,
    /// `APLOG_INFO`
    Info = 6,
    /// `APLOG_DEBUG`
    Debug = 7,
}

impl Level {
    /// The level of that number; anything unknown counts as an error, so that it is seen.
    pub fn from_raw(raw: c_int) -> Level {
        match raw {
            0..=2 => Level::Critical,
            4 => Level::Warning,
            5 => Level::Notice,
            6 => Level::Info,
            7.. => Level::Debug,
            _ => Level::Error,
        }
    }
}

/// Where in a program a record was made, for `%F` of httpd's `ErrorLogFormat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site<'a> {
    /// The source file; empty where nobody says.
    pub file: &'a [u8],
    /// The line in it.
    pub line: u32,
}

impl Site<'_> {
    /// Nobody says.
    pub const NONE: Site<'static> = Site { file: b"", line: 0 };
}

/// What the host needs to start Python in this process. Text is UTF-8 or the file system's bytes.
#[repr(C)]
pub struct Start {
    /// Directory that goes to the front of `PATH` while Python starts, so that it finds its `pyvenv.cfg` or its own
    /// prefix: the `bin` folder of the virtual environment or of the interpreter. It holds a `python3`.
    pub bin: Bytes,
    /// Variables of the environment to set while Python starts (`PYTHONHOME`, `PYTHONOPTIMIZE` …).
    pub environment: *const Variable,
    /// Number of `environment`.
    pub environment_len: usize,
    /// What holds for the interpreters, and which of those variables are to be set back afterwards
    /// ([`crate::interpreter::Plan::to_list`]).
    pub interpreters: *const Variable,
    /// Number of `interpreters`.
    pub interpreters_len: usize,
    /// The process group's name; empty in embedded mode.
    pub process_group: Bytes,
    /// `wsgi.multithread`.
    pub multithread: bool,
    /// `wsgi.multiprocess`.
    pub multiprocess: bool,
    /// `mod_wsgi.maximum_processes`.
    pub maximum_processes: u32,
    /// `mod_wsgi.threads_per_process`.
    pub threads_per_process: u32,
    /// `apache.version`.
    pub apache_version: [u16; 3],
    /// `apache.description`.
    pub apache_description: Bytes,
    /// `apache.mpm_name`.
    pub mpm_name: Bytes,
    /// `apache.build_date`.
    pub build_date: Bytes,
    /// Writes records to the error log of the main server, one for each line of `text`; those of one call stay together.
    /// `file` and `line` are a [`Site`]. May be called from any thread, at any time until [`HostTable::stop`] has
    /// returned.
    pub log: unsafe extern "C" fn(context: *mut c_void, level: c_int, file: Bytes, line: u32, text: Bytes),
    /// First argument of `log`.
    pub log_context: *mut c_void,
    /// Descriptor of the file with the pages of all processes ([`crate::stats::shelf`]), borrowed; negative: none.
    pub counters: c_int,
    /// Its layout.
    pub counters_pages: u32,
    /// As above.
    pub counters_slots: u32,
    /// `WSGISlowRequests` in µs; 0: off.
    pub slow_requests: u64,
    /// The least important level that this log shows; a number of [`Level`].
    pub log_level: c_int,
    /// Writes up to `len` bytes of JSON, `mod_wsgi.server_metrics()`, and returns how many there are; NULL where
    /// applications may not see it. May be called from any thread.
    pub scoreboard: Option<unsafe extern "C" fn(buffer: *mut u8, len: usize) -> usize>,
}

/// A running Python in this process, as [`HostTable::start`] made it; opaque to the module.
#[repr(C)]
pub struct Host {
    _opaque: [u8; 0],
}

/// One request, ready to run.
#[repr(C)]
pub struct Request {
    /// Every environ entry whose value is a `str`, in order; of two with the same name the later one counts.
    pub variables: *const Variable,
    /// Number of `variables`.
    pub variables_len: usize,
    /// The script to load.
    pub script: Bytes,
    /// The script's modification time in µs since the epoch, as httpd saw it for this request; negative: unknown.
    pub script_mtime: i64,
    /// Whether a changed script is loaded anew (`WSGIScriptReloading`).
    pub reloading: bool,
    /// Interpreter to run in; empty: the main one.
    pub application_group: Bytes,
    /// Attribute of the script's module to call.
    pub callable_object: Bytes,
    /// httpd's `request_rec`, for environ (`WSGIPassApacheRequest`); NULL: not for it.
    pub record: *mut c_void,
    /// When httpd got the request, in µs since the epoch.
    pub request_start: i64,
    /// `wsgi.url_scheme` is `https`.
    pub https: bool,
    /// The client asked by HEAD (whatever `REQUEST_METHOD` says): the reply's body is not sent, so a body that is
    /// shorter than its `Content-Length` is no fault.
    pub header_only: bool,
    /// The least important level that the log of this request shows; a number of [`Level`].
    pub log_level: c_int,
}

/// The result of [`HostTable::run`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What happened; a number of [`OutcomeKind`].
    pub kind: c_int,
    /// With [`OutcomeKind::Refused`]: the HTTP status that httpd shall answer (404, 500, 504 …); else 0.
    pub status: c_int,
}

/// The kinds of [`Outcome`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeKind {
    /// The reply was sent whole; the exchange has had its end.
    Complete = 0,
    /// Nothing was sent: httpd answers with `status`. The reason is logged.
    Refused = 1,
    /// The head is out, but the reply cannot be completed: the connection must be cut so that the client can tell.
    Truncated = 2,
    /// The client went away, or its connection failed.
    ClientGone = 3,
}

impl OutcomeKind {
    /// The kind of that number; anything unknown counts as [`OutcomeKind::Truncated`], which promises nothing.
    pub fn from_raw(raw: c_int) -> OutcomeKind {
        match raw {
            0 => OutcomeKind::Complete,
            1 => OutcomeKind::Refused,
            3 => OutcomeKind::ClientGone,
            _ => OutcomeKind::Truncated,
        }
    }
}

/// What a script is asked about a request before anything runs for it. The names are those of its functions; the texts
/// beside environ are [`Hook::arguments`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// `check_password(environ, user, password)`
    CheckPassword = 0,
    /// `get_realm_hash(environ, user, realm)`
    RealmHash = 1,
    /// `groups_for_user(environ, user)`
    Groups = 2,
    /// `allow_access(environ, host)`
    Access = 3,
    /// `process_group(environ)`, `application_group(environ)` and `callable_object(environ)`, each if it is there
    Dispatch = 4,
}

impl HookKind {
    /// The kind of that number.
    pub fn from_raw(raw: c_int) -> Option<HookKind> {
        match raw {
            0 => Some(HookKind::CheckPassword),
            1 => Some(HookKind::RealmHash),
            2 => Some(HookKind::Groups),
            3 => Some(HookKind::Access),
            4 => Some(HookKind::Dispatch),
            _ => None,
        }
    }
}

/// One question to a script.
#[repr(C)]
pub struct Hook {
    /// A number of [`HookKind`].
    pub kind: c_int,
    /// Every environ entry that is text, in order; of two with the same name the later one counts.
    pub variables: *const Variable,
    /// Number of `variables`.
    pub variables_len: usize,
    /// What the function gets beside environ; the second is empty where it gets one text only.
    pub arguments: [Bytes; 2],
    /// The script to load.
    pub script: Bytes,
    /// Its modification time in µs since the epoch.
    pub script_mtime: i64,
    /// Whether a changed script is loaded anew (`WSGIScriptReloading`).
    pub reloading: bool,
    /// Interpreter to ask in; empty: the main one.
    pub application_group: Bytes,
    /// As [`Request::record`].
    pub record: *mut c_void,
}

/// The results of [`HostTable::ask`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookResult {
    /// The script cannot be loaded, lacks the function, or the function failed or returned what is no answer. The reason
    /// is logged.
    Failed = 0,
    /// `None`
    Nothing = 1,
    /// `True`
    Yes = 2,
    /// `False`
    No = 3,
    /// Texts, which [`HookTable::text`] was called with: one (a user's name, a hash), any number (groups), or those that
    /// a dispatch script chose.
    Texts = 4,
}

impl HookResult {
    /// The result of that number; anything unknown counts as a failure.
    pub fn from_raw(raw: c_int) -> HookResult {
        match raw {
            1 => HookResult::Nothing,
            2 => HookResult::Yes,
            3 => HookResult::No,
            4 => HookResult::Texts,
            _ => HookResult::Failed,
        }
    }
}

/// What the module offers to the host for one question. As with [`ExchangeTable`], every function takes `context` first,
/// and one thread at a time calls them.
#[repr(C)]
pub struct HookTable {
    /// As [`ExchangeTable::log`].
    pub log: unsafe extern "C" fn(context: *mut c_void, level: c_int, file: Bytes, line: u32, text: Bytes),
    /// Whether mod_ssl has encrypted the connection.
    pub is_tls: unsafe extern "C" fn(context: *mut c_void) -> bool,
    /// The variable of mod_ssl's of that name; NULL with length 0 if there is none. It stays valid until
    /// [`HostTable::ask`] returns.
    pub tls_variable: unsafe extern "C" fn(context: *mut c_void, name: Bytes) -> Bytes,
    /// Takes a text that the script answers with. `index` counts from 0; for a dispatch script it says what it chose:
    /// process group, application group, callable.
    pub text: unsafe extern "C" fn(context: *mut c_void, index: usize, text: Bytes),
}

/// The results of [`HostTable::import`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportResult {
    /// The script is loaded.
    Loaded = 0,
    /// It is not; the reason is logged.
    Failed = 1,
    /// It ended by `SystemExit`, which is not logged.
    Exited = 2,
}

impl ImportResult {
    /// The result of that number; anything unknown counts as a failure.
    pub fn from_raw(raw: c_int) -> ImportResult {
        match raw {
            0 => ImportResult::Loaded,
            2 => ImportResult::Exited,
            _ => ImportResult::Failed,
        }
    }
}

/// What the host offers to the module.
#[repr(C)]
pub struct HostTable {
    /// [`ABI_VERSION`] of the host.
    pub version: u32,
    /// Starts Python in this process; called once, by the thread that will call `stop`. NULL when it cannot start; the
    /// reason is logged.
    pub start: unsafe extern "C" fn(start: *const Start) -> *mut Host,
    /// Runs one request in the calling thread and returns when all that the application does for it is done,
    /// `close()` of its iterable included. Neither the request nor the exchange is used afterwards.
    pub run: unsafe extern "C" fn(
        host: *mut Host,
        request: *const Request,
        exchange: *const ExchangeTable,
        context: *mut c_void,
    ) -> Outcome,
    /// Asks a script about a request, in the calling thread. Returns a number of [`HookResult`]. Neither the question nor
    /// the table is used afterwards.
    pub ask: unsafe extern "C" fn(
        host: *mut Host,
        hook: *const Hook,
        table: *const HookTable,
        context: *mut c_void,
    ) -> c_int,
    /// Loads a script with no request that needs it, as the first request for it would. Returns a number of
    /// [`ImportResult`].
    pub import: unsafe extern "C" fn(host: *mut Host, application_group: Bytes, script: Bytes) -> c_int,
    /// Ends Python. Threads still inside `run` keep it from being finalised: then only the exit handlers run, and the
    /// process must exit soon. Takes no longer than `patience` milliseconds for the threads it waits for.
    pub stop: unsafe extern "C" fn(host: *mut Host, patience: u32),
}

/// Results of the exchange's writing functions.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Passed on.
    Ok = 0,
    /// The client is gone or its connection failed; nothing more can be sent.
    ClientGone = 1,
    /// The server failed before the head went out (an output filter refused); it will answer by itself.
    Failed = 2,
}

impl Sent {
    /// The result of that number; anything unknown counts as a lost client.
    pub fn from_raw(raw: c_int) -> Sent {
        match raw {
            0 => Sent::Ok,
            2 => Sent::Failed,
            _ => Sent::ClientGone,
        }
    }
}

/// Flag of [`ExchangeTable::write`]: the reply ends with this.
pub const WRITE_END: u32 = 1;

/// What the module offers to the host for one request. Every function takes `context` first. They are called by one
/// thread at a time, with Python's lock not held unless the function says that it never waits.
#[repr(C)]
pub struct ExchangeTable {
    /// Reads up to `len` bytes of the request body into `buffer`, waiting until there is at least one. Returns the
    /// number read, 0 at the end of the body, or -1 when it failed for good; then `error` gives the reason.
    /// `len` 0 reads nothing but tells a client that waits for `100 Continue` to go on.
    pub read: unsafe extern "C" fn(context: *mut c_void, buffer: *mut u8, len: usize) -> isize,
    /// Writes up to `len` bytes of text that says why `read` failed; returns its length. Never waits.
    pub error: unsafe extern "C" fn(context: *mut c_void, buffer: *mut u8, len: usize) -> usize,
    /// Records status and headers of the reply; they go out with the first `write` or `file`. Called once, before
    /// those. `reason` may be empty. Never waits.
    pub head: unsafe extern "C" fn(
        context: *mut c_void,
        status: c_int,
        reason: Bytes,
        headers: *const Variable,
        headers_len: usize,
    ),
    /// Sends the pieces one after the other, and flushes. With [`WRITE_END`] in `flags` the reply is complete; then no
    /// further call follows. Returns a number of [`Sent`].
    pub write: unsafe extern "C" fn(context: *mut c_void, pieces: *const Bytes, pieces_len: usize, flags: u32) -> c_int,
    /// Sends `len` bytes of the regular file `fd` from `offset` and completes the reply. The descriptor's own position
    /// does not change, and the descriptor is not needed after the call. Returns a number of [`Sent`].
    pub file: unsafe extern "C" fn(context: *mut c_void, fd: c_int, offset: i64, len: u64) -> c_int,
    /// Writes records to the log of this request, one for each line of `text`; those of one call stay together. `file`
    /// and `line` are a [`Site`]. Never waits for the client.
    pub log: unsafe extern "C" fn(context: *mut c_void, level: c_int, file: Bytes, line: u32, text: Bytes),
}
