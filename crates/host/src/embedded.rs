//! The host inside an httpd child: the table of C functions that `mod_wsgi.so` calls, and the exchange over the table
//! that it offers (`wsgi_core::abi`).

use std::ffi::{c_int, c_void};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wsgi_core::abi::{
    ABI_VERSION, Bytes, ExchangeTable, Hook as RawHook, HookKind, HookResult, HookTable, Host as OpaqueHost, HostTable,
    ImportResult, Level, Outcome as RawOutcome, OutcomeKind, Request as RawRequest, Sent, Site, Start, Variable,
    WRITE_END,
};
use wsgi_core::interpreter::Plan;
use wsgi_core::stats::shelf::Shelf;

use crate::adapter::exchange::{Exchange, Outcome, ServerLog};
use crate::adapter::{Answer, Head, Hook, Imported, Question, Reload, Request, Scoreboard, Server, Source};
use crate::api::{Apache, Settings};
use crate::environment::Changed;
use crate::fence::{fence, report_panics_to};
use crate::gate::Gate;
use crate::host::Host;
use crate::python::{Interpreter, Room};
use crate::slow::Slow;
use crate::stats::Stats;

static TABLE: HostTable = HostTable {
    version: ABI_VERSION,
    start,
    run,
    ask,
    import,
    stop,
};

/// The one exported function: the host's table, if it speaks that version.
#[unsafe(no_mangle)]
pub extern "C" fn wsgi_host(version: u32) -> *const HostTable {
    if version == ABI_VERSION {
        &raw const TABLE
    } else {
        std::ptr::null()
    }
}

unsafe extern "C" fn start(start: *const Start) -> *mut OpaqueHost {
    let host = fence(|| {
        // SAFETY: the module passes a valid Start, borrowed for this call; the strings in it as well.
        let (start, text) = unsafe {
            let start = start.as_ref()?;
            (start, |bytes: Bytes| String::from_utf8_lossy(slice(bytes)).into_owned())
        };
        let log: Arc<dyn ServerLog> = Arc::new(TableLog {
            log: start.log,
            context: start.log_context,
            level: Level::from_raw(start.log_level),
        });
        let panics = Arc::clone(&log);
        report_panics_to(move |text| panics.log(Level::Critical, text.as_bytes()));
        // SAFETY: as above.
        let (bin, environment, interpreters) = unsafe {
            let environment = variables(start.environment, start.environment_len);
            let interpreters = variables(start.interpreters, start.interpreters_len);
            (slice(start.bin), environment, interpreters)
        };
        let plan = match Plan::from_list(interpreters) {
            Ok(plan) => plan,
            Err(reason) => {
                let text = format!("WSGI0310: Python does not start: {reason}");
                log.log(Level::Critical, text.as_bytes());
                return None;
            }
        };
        let server = Server {
            process_group: text(start.process_group),
            multithread: start.multithread,
            multiprocess: start.multiprocess,
            run_once: false,
            scripts: None,
            fold_case: plan.fold_case,
            apache_version: start.apache_version,
            log: Arc::clone(&log),
            loading: Gate::default(),
            stats: counters(start),
            recording: AtomicBool::new(false),
            scoreboard: start.scoreboard.map(scoreboard),
        };
        let settings = Settings {
            apache: Apache {
                description: text(start.apache_description),
                mpm_name: text(start.mpm_name),
                build_date: text(start.build_date),
                maximum_processes: start.maximum_processes,
                threads_per_process: start.threads_per_process,
            },
            plan,
            maximum_processes: start.maximum_processes,
            threads_per_process: start.threads_per_process,
        };
        // SAFETY: the module calls this once, in child_init, when the process has this thread only.
        let (main, environment) = unsafe {
            let changed = Changed::apply(bin, &environment, &settings.plan.hidden);
            let main = Interpreter::start();
            (main, changed.restore())
        };
        let host = Host::begin(main, &environment, server, settings)?;
        let host = Arc::new(host);
        let limit = Some(start.slow_requests).filter(|micros| *micros > 0);
        let slow = limit.map(|micros| Slow::watch(&host, log, Duration::from_micros(micros)));
        Some(Box::into_raw(Box::new(Running { host, slow })).cast::<OpaqueHost>())
    });
    host.flatten().unwrap_or(std::ptr::null_mut())
}

/// What `OpaqueHost` is.
struct Running {
    host: Arc<Host>,
    /// Looks for slow requests.
    slow: Option<Slow>,
}

/// Where this process counts.
fn counters(start: &Start) -> Stats {
    let shelf = Shelf {
        pages: start.counters_pages,
        slots: start.counters_slots,
    };
    // SAFETY: negative, or a descriptor that the module keeps open during the call.
    let file = (start.counters >= 0).then(|| unsafe { BorrowedFd::borrow_raw(start.counters) });
    let stats = file.and_then(|file| Stats::claim(file, shelf));
    stats.unwrap_or_else(|| Stats::own(start.threads_per_process))
}

unsafe extern "C" fn run(
    host: *mut OpaqueHost,
    request: *const RawRequest,
    exchange: *const ExchangeTable,
    context: *mut c_void,
) -> RawOutcome {
    let outcome = fence(|| {
        // SAFETY: `host` came from `start` and has not been stopped; the request is valid for this call.
        let (host, raw) = unsafe { (&host.cast::<Running>().as_ref()?.host, request.as_ref()?) };
        // SAFETY: everything in the request is valid for this call.
        let (request, group) = unsafe {
            let request = Request {
                variables: variables(raw.variables, raw.variables_len),
                script: slice(raw.script),
                script_mtime: raw.script_mtime,
                reloading: raw.reloading,
                callable_object: slice(raw.callable_object),
                request_rec: raw.record.expose_provenance(),
                request_start: raw.request_start,
                queue_start: 0,
                daemon_start: 0,
                queue_bytes: 0,
                https: raw.https,
                header_only: raw.header_only,
                log_level: Level::from_raw(raw.log_level),
                retries: 0,
            };
            (request, slice(raw.application_group))
        };
        let exchange = Box::new(TableExchange {
            table: exchange,
            context,
        });
        Some(host.run(group, &request, exchange))
    });
    let (kind, status) = match outcome.flatten() {
        Some(Outcome::Complete) => (OutcomeKind::Complete, 0),
        Some(Outcome::Refused(status)) => (OutcomeKind::Refused, c_int::from(status)),
        Some(Outcome::ClientGone) => (OutcomeKind::ClientGone, 0),
        // A panic outside of the request's own fence: nothing is known, so nothing is promised.
        Some(Outcome::Truncated) | None => (OutcomeKind::Truncated, 0),
    };
    RawOutcome {
        kind: kind as c_int,
        status,
    }
}

unsafe extern "C" fn ask(
    host: *mut OpaqueHost,
    hook: *const RawHook,
    table: *const HookTable,
    context: *mut c_void,
) -> c_int {
    let result = fence(|| {
        // SAFETY: `host` came from `start` and has not been stopped; hook and table are valid for this call.
        let (host, raw, table) = unsafe { (&host.cast::<Running>().as_ref()?.host, hook.as_ref()?, table.as_ref()?) };
        // SAFETY: everything in the hook is valid for this call.
        let (hook, group) = unsafe {
            let [first, second] = raw.arguments.map(|argument| slice(argument));
            let hook = Hook {
                question: match HookKind::from_raw(raw.kind)? {
                    HookKind::CheckPassword => Question::CheckPassword(first, second),
                    HookKind::RealmHash => Question::RealmHash(first, second),
                    HookKind::Groups => Question::Groups(first),
                    HookKind::Access => Question::Access(first),
                    HookKind::Dispatch => Question::Dispatch,
                },
                variables: variables(raw.variables, raw.variables_len),
                source: Source {
                    path: slice(raw.script),
                    mtime: raw.script_mtime,
                    reload: if raw.reloading { Reload::Changed } else { Reload::Never },
                },
                request_rec: raw.record.expose_provenance(),
            };
            (hook, slice(raw.application_group))
        };
        let answer = host.ask(group, &hook, Box::new(HookExchange { table, context }));
        // SAFETY: the table is valid for this call, and the text for the inner one.
        let text = |index, text: &[u8]| unsafe { (table.text)(context, index, Bytes::of(text)) };
        Some(match answer {
            Answer::Failed => HookResult::Failed,
            Answer::Nothing => HookResult::Nothing,
            Answer::Yes => HookResult::Yes,
            Answer::No => HookResult::No,
            Answer::Text(answer) => {
                text(0, &answer);
                HookResult::Texts
            }
            Answer::Groups(groups) => {
                groups.iter().enumerate().for_each(|(index, group)| text(index, group));
                HookResult::Texts
            }
            Answer::Dispatch(chosen) => {
                for (index, choice) in chosen.iter().enumerate() {
                    if let Some(choice) = choice {
                        text(index, choice);
                    }
                }
                HookResult::Texts
            }
        })
    });
    result.flatten().unwrap_or(HookResult::Failed) as c_int
}

unsafe extern "C" fn import(host: *mut OpaqueHost, application_group: Bytes, script: Bytes) -> c_int {
    let result = fence(|| {
        // SAFETY: `host` came from `start` and has not been stopped; the texts are valid for this call.
        let (host, group, script) = unsafe {
            (
                &host.cast::<Running>().as_ref()?.host,
                slice(application_group),
                slice(script),
            )
        };
        Some(match host.import(group, script) {
            Imported::Loaded => ImportResult::Loaded,
            Imported::Failed => ImportResult::Failed,
            Imported::Exited => ImportResult::Exited,
        })
    });
    result.flatten().unwrap_or(ImportResult::Failed) as c_int
}

unsafe extern "C" fn stop(host: *mut OpaqueHost, patience: u32) {
    fence(|| {
        if !host.is_null() {
            // SAFETY: `host` came from `start` and is not used after this call.
            let running = unsafe { Box::from_raw(host.cast::<Running>()) };
            let Running { host, slow } = *running;
            let patience = Duration::from_millis(patience.into());
            host.tell_end(patience);
            if let Some(slow) = slow {
                slow.stop(patience);
            }
            let stats = host.stats();
            host.stop_shared(patience);
            stats.release();
            LOG_OPEN.store(false, Ordering::SeqCst);
        }
    });
}

/// # Safety
/// `bytes` is valid for `'a`.
unsafe fn slice<'a>(bytes: Bytes) -> &'a [u8] {
    if bytes.len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise; not NULL since it is not empty.
    unsafe { std::slice::from_raw_parts(bytes.data, bytes.len) }
}

/// # Safety
/// `first` points to so many entries (NULL only if there are none), all of them valid for `'a`.
unsafe fn variables<'a>(first: *const Variable, len: usize) -> Vec<(&'a [u8], &'a [u8])> {
    if len == 0 {
        return Vec::new();
    }
    // SAFETY: the caller's promise.
    let entries = unsafe { std::slice::from_raw_parts(first, len) };
    // SAFETY: as above.
    let pair = |entry: &Variable| unsafe { (slice(entry.name), slice(entry.value)) };
    entries.iter().map(pair).collect()
}

/// The module's scoreboard as a function.
fn scoreboard(write: unsafe extern "C" fn(*mut u8, usize) -> usize) -> Scoreboard {
    Box::new(move || {
        let mut bytes = Vec::new();
        loop {
            let room = bytes.capacity();
            // SAFETY: the buffer has room for that many bytes.
            let len = unsafe { write(bytes.as_mut_ptr(), room) };
            if len <= room {
                // SAFETY: the module has written so many.
                unsafe { bytes.set_len(len) };
                return bytes;
            }
            bytes.reserve(len + len / 8);
        }
    })
}

/// Cleared when the module's log may not be used any more.
static LOG_OPEN: AtomicBool = AtomicBool::new(true);

/// The log that came with [`Start`].
struct TableLog {
    log: unsafe extern "C" fn(context: *mut c_void, level: c_int, file: Bytes, line: u32, text: Bytes),
    context: *mut c_void,
    level: Level,
}

// SAFETY: the module's promise: `log` may be called from any thread.
unsafe impl Send for TableLog {}
// SAFETY: as above.
unsafe impl Sync for TableLog {}

impl ServerLog for TableLog {
    fn log_from(&self, level: Level, site: Site<'_>, text: &[u8]) {
        if LOG_OPEN.load(Ordering::SeqCst) {
            let (file, text) = (Bytes::of(site.file), Bytes::of(text));
            // SAFETY: `stop` has not returned yet; name and text are valid for the call.
            unsafe { (self.log)(self.context, level as c_int, file, site.line, text) }
        }
    }

    fn level(&self) -> Level {
        self.level
    }
}

/// The module's side of one request.
///
/// # Invariants
/// Exists only during the call of [`run`] that made it: the adapter owns it, and drops it when the request ends. So
/// table and context are valid.
struct TableExchange {
    table: *const ExchangeTable,
    context: *mut c_void,
}

// SAFETY: the module's promise: the functions may be called by any thread, one at a time. `&mut self` and the adapter's
// lock see to the latter.
unsafe impl Send for TableExchange {}

impl TableExchange {
    fn table(&self) -> &ExchangeTable {
        // SAFETY: see the invariant.
        unsafe { &*self.table }
    }
}

impl Exchange for TableExchange {
    fn read(&mut self, room: &mut Room<'_>) -> Result<usize, String> {
        let most = room.left();
        let memory = room.space().as_mut_ptr().cast();
        // SAFETY: see the invariant; there is room for that many bytes.
        let count = unsafe { (self.table().read)(self.context, memory, most) };
        usize::try_from(count)
            .map(|count| {
                let count = count.min(most);
                // SAFETY: the module has written so many bytes there.
                unsafe { room.advance(count) };
                count
            })
            .map_err(|_| {
                let mut reason = [0; 500];
                // SAFETY: as above.
                let len = unsafe { (self.table().error)(self.context, reason.as_mut_ptr(), reason.len()) };
                String::from_utf8_lossy(&reason[..len.min(reason.len())]).into_owned()
            })
    }

    fn head(&mut self, head: &Head) {
        let variable = |(name, value)| Variable {
            name: Bytes::of(name),
            value: Bytes::of(value),
        };
        let headers: Vec<Variable> = head.headers().map(variable).collect();
        let (status, reason) = (c_int::from(head.status), Bytes::of(head.reason()));
        // SAFETY: see the invariant; all of it is valid for the call.
        unsafe { (self.table().head)(self.context, status, reason, headers.as_ptr(), headers.len()) }
    }

    fn write(&mut self, pieces: &[&[u8]], end: bool) -> Sent {
        let flags = if end { WRITE_END } else { 0 };
        let pieces: Vec<Bytes> = pieces.iter().map(|piece| Bytes::of(piece)).collect();
        // SAFETY: see the invariant; all of it is valid for the call.
        Sent::from_raw(unsafe { (self.table().write)(self.context, pieces.as_ptr(), pieces.len(), flags) })
    }

    fn file(&mut self, descriptor: i32, offset: i64, len: u64) -> Sent {
        // SAFETY: see the invariant.
        Sent::from_raw(unsafe { (self.table().file)(self.context, descriptor, offset, len) })
    }

    fn log(&mut self, level: Level, site: Site<'_>, text: &[u8]) {
        let (file, text) = (Bytes::of(site.file), Bytes::of(text));
        // SAFETY: see the invariant; name and text are valid for the call.
        unsafe { (self.table().log)(self.context, level as c_int, file, site.line, text) }
    }
}

/// The module's side of one question: a request without a reply.
///
/// # Invariants
/// As those of [`TableExchange`], with the call of [`ask`].
struct HookExchange {
    table: *const HookTable,
    context: *mut c_void,
}

// SAFETY: as for `TableExchange`.
unsafe impl Send for HookExchange {}

impl HookExchange {
    fn table(&self) -> &HookTable {
        // SAFETY: see the invariant.
        unsafe { &*self.table }
    }
}

impl Exchange for HookExchange {
    fn read(&mut self, _: &mut Room<'_>) -> Result<usize, String> {
        Err("the body cannot be read before the request is run".into())
    }

    fn head(&mut self, _: &Head) {}

    fn write(&mut self, _: &[&[u8]], _: bool) -> Sent {
        Sent::Failed
    }

    fn file(&mut self, _: i32, _: i64, _: u64) -> Sent {
        Sent::Failed
    }

    fn log(&mut self, level: Level, site: Site<'_>, text: &[u8]) {
        let (file, text) = (Bytes::of(site.file), Bytes::of(text));
        // SAFETY: see the invariant; name and text are valid for the call.
        unsafe { (self.table().log)(self.context, level as c_int, file, site.line, text) }
    }

    fn is_tls(&mut self) -> bool {
        // SAFETY: see the invariant.
        unsafe { (self.table().is_tls)(self.context) }
    }

    fn tls_variable(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        // SAFETY: see the invariant; the value is valid until `ask` returns.
        unsafe {
            let value = (self.table().tls_variable)(self.context, Bytes::of(name));
            (!value.data.is_null()).then(|| slice(value).to_vec())
        }
    }
}
