//! Loading libpython and the host into this process, and calling the host's table.

use std::ffi::{CStr, CString, c_int, c_void};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};

use wsgi_core::abi::{
    self, ABI_VERSION, Bytes, HOST_SYMBOL, HookResult, HostEntry, HostTable, ImportResult, Level, Outcome, Site,
    Variable,
};
use wsgi_core::directive::NameValue;

use super::exchange::{Exchange, TABLE, bytes};
use super::inquiry::{HOOKS, Inquiry};
use crate::httpd::fence::fence;
use crate::httpd::scoreboard::json;
use crate::httpd::server::Server;
use crate::httpd::{log, process};
use crate::interpreters::Settings;
use crate::module::Wsgi;

/// Milliseconds that the end of a child waits for threads that are still in Python. By then httpd has waited for them
/// itself, as long as it wanted to.
const PATIENCE: u32 = 1000;

/// What Python is started with; see `wsgi_core::abi::Start`.
pub struct Start<'a> {
    /// The shared library of Python.
    pub library: &'a Path,
    /// `wsgi_host.abi3.so`
    pub host: &'a Path,
    /// Folder in front of `PATH`.
    pub bin: &'a Path,
    /// Its settings.
    pub settings: Settings,
    /// Whether applications may see what the whole server does.
    pub scoreboard: bool,
}

/// A running Python.
pub struct Host {
    table: &'static HostTable,
    raw: NonNull<abi::Host>,
    stopped: AtomicBool,
}

// SAFETY: the table's functions may be called from any thread; see `wsgi_core::abi`.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// Loads the libraries and starts Python; `server`'s log gets what is written outside of requests.
    ///
    /// # Errors
    /// Which file could not be loaded, and why.
    pub fn start(start: &Start<'_>, server: Server<'_>) -> Result<Host, String> {
        // Global: extension modules look Python's functions up in whatever is loaded.
        open(start.library, libc::RTLD_NOW | libc::RTLD_GLOBAL)?;
        let library = open(start.host, libc::RTLD_NOW | libc::RTLD_LOCAL)?;
        // SAFETY: the host's file is installed beside this one; its symbol has this type.
        let table = unsafe {
            let symbol = libc::dlsym(library, HOST_SYMBOL.as_ptr());
            if symbol.is_null() {
                return Err(format!(
                    "WSGI0132: {} is not the host of this module",
                    start.host.display()
                ));
            }
            let entry = std::mem::transmute::<*mut c_void, HostEntry>(symbol);
            entry(ABI_VERSION).as_ref()
        };
        let table = table.ok_or_else(|| {
            format!(
                "WSGI0133: {} is of another version than mod_wsgi.so; install both from one build",
                start.host.display()
            )
        })?;

        let global = &server.config::<Wsgi>().global;
        let counters = global.counters.get();
        let mpm = process::mpm();
        let interpreters = start.settings.plan.to_list();
        let (environment, interpreters) = (list(&start.settings.environment), list(&interpreters));
        let raw = abi::Start {
            bin: Bytes::of(start.bin.as_os_str().as_bytes()),
            environment: environment.as_ptr(),
            environment_len: environment.len(),
            interpreters: interpreters.as_ptr(),
            interpreters_len: interpreters.len(),
            process_group: Bytes::EMPTY,
            multithread: mpm.threaded,
            multiprocess: mpm.forked,
            maximum_processes: mpm.processes,
            threads_per_process: mpm.threads,
            apache_version: process::version(),
            apache_description: Bytes::of(process::description()),
            mpm_name: Bytes::of(mpm.name),
            build_date: Bytes::of(process::build_date()),
            log: log_record,
            log_context: server.into_context(),
            counters: counters.map_or(-1, |counters| counters.as_fd().as_raw_fd()),
            counters_pages: counters.map_or(0, |counters| counters.shelf.pages),
            counters_slots: counters.map_or(0, |counters| counters.shelf.slots),
            slow_requests: global
                .metrics
                .slow_requests
                .map_or(0, |limit| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX)),
            log_level: log::level::<Wsgi>(server) as c_int,
            scoreboard: start.scoreboard.then_some(scoreboard),
        };
        // SAFETY: everything borrowed lives during the call; the server outlives the child's Python.
        let host = unsafe { (table.start)(&raw const raw) };
        match NonNull::new(host) {
            Some(raw) => Ok(Host {
                table,
                raw,
                stopped: AtomicBool::new(false),
            }),
            None => Err("WSGI0134: Python did not start, see above; requests for applications get 500".into()),
        }
    }

    /// Runs a request.
    pub fn run(&self, request: &abi::Request, exchange: &mut Exchange<'_>) -> Outcome {
        // SAFETY: all is borrowed for the call; the exchange is the type that TABLE's functions expect.
        unsafe {
            (self.table.run)(
                self.raw.as_ptr(),
                request,
                &raw const TABLE,
                ptr::from_mut(exchange).cast(),
            )
        }
    }

    /// Asks a script about a request; `inquiry` gets the texts of the answer.
    pub fn ask(&self, hook: &abi::Hook, inquiry: &mut Inquiry<'_>) -> HookResult {
        // SAFETY: all is borrowed for the call; the inquiry is the type that the functions of HOOKS expect.
        HookResult::from_raw(unsafe {
            (self.table.ask)(self.raw.as_ptr(), hook, &raw const HOOKS, ptr::from_mut(inquiry).cast())
        })
    }

    /// Loads a script with no request that needs it.
    pub fn import(&self, application_group: &[u8], script: &[u8]) -> ImportResult {
        // SAFETY: the texts are borrowed for the call.
        ImportResult::from_raw(unsafe {
            (self.table.import)(self.raw.as_ptr(), Bytes::of(application_group), Bytes::of(script))
        })
    }

    /// Ends Python. Only the first call does anything.
    pub fn stop(&self) {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        // SAFETY: once, by the thread that starts and ends the child.
        unsafe { (self.table.stop)(self.raw.as_ptr(), PATIENCE) }
    }
}

fn list(pairs: &[NameValue]) -> Vec<Variable> {
    let variable = |(name, value): &NameValue| Variable {
        name: Bytes::of(name),
        value: Bytes::of(value),
    };
    pairs.iter().map(variable).collect()
}

fn open(path: &Path, flags: c_int) -> Result<*mut c_void, String> {
    let shown = path.display();
    let file = CString::new(path.as_os_str().as_bytes()).map_err(|_| format!("WSGI0131: {shown} is no file name"))?;
    // SAFETY: loads a library that the administrator chose or installed; its initialisers run here.
    let library = unsafe { libc::dlopen(file.as_ptr(), flags) };
    if library.is_null() {
        // SAFETY: after a failure dlerror gives a message of this thread's, copied at once.
        let reason = unsafe {
            let message = libc::dlerror();
            if message.is_null() {
                String::new()
            } else {
                CStr::from_ptr(message).to_string_lossy().into_owned()
            }
        };
        return Err(format!("WSGI0131: {shown} cannot be loaded: {reason}"));
    }
    Ok(library)
}

/// # Safety
/// See `wsgi_core::abi::Start::log`; `context` is the server that `start` passed.
unsafe extern "C" fn log_record(context: *mut c_void, level: c_int, file: Bytes, line: u32, text: Bytes) {
    fence(
        (),
        |_| (),
        || {
            // SAFETY: the host's promise.
            unsafe {
                let (server, file) = (Server::from_context(context), bytes(file));
                log::server_from::<Wsgi>(server, Level::from_raw(level), Site { file, line }, bytes(text));
            }
        },
    );
}

/// # Safety
/// See `wsgi_core::abi::Start::scoreboard`.
unsafe extern "C" fn scoreboard(buffer: *mut u8, len: usize) -> usize {
    fence(
        0,
        |_| (),
        || {
            let text = json();
            if text.len() <= len {
                // SAFETY: the host's promise: the buffer has room for `len` bytes.
                unsafe { buffer.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
            }
            text.len()
        },
    )
}
