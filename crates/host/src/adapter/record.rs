//! What the adapter keeps for one interpreter: names, types, functions, scripts. Reached only while attached to that
//! interpreter.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use wsgi_core::abi::Level;

use super::environ::{Known, Template};
use super::errors::{ErrorStream, Log, Stream};
use super::events::Events;
use super::exchange::ServerLog;
use super::failure::text_of;
use super::input::Input;
use super::response::Response;
use super::script::Script;
use super::tls::Tls;
use crate::gate::Gate;
use crate::python::{Error, GilCell, Kept, Object, Python, Result, Type};
use crate::stats::Stats;

/// Who wants to know about the scripts of the process. Must not wait: Python's lock is held.
pub trait ScriptWatch: Send + Sync {
    /// A script has been loaded.
    fn loaded(&self);
    /// A request uses a loaded script of that path, in the interpreter of that application group, for the first time.
    fn used(&self, script: &[u8], application_group: &[u8]);
    /// A script has another modification time than the code that runs, or wants to be loaded anew. The old code goes on:
    /// who watches sees to it that the process is replaced.
    fn changed(&self, script: &[u8], mtime: i64);
}

/// Tells what the threads of httpd do. Detached only.
pub type Scoreboard = Box<dyn Fn() -> Vec<u8> + Send + Sync>;

/// What is the same for every interpreter of the process.
pub struct Server {
    /// The process group's name; empty in embedded mode.
    pub process_group: String,
    /// `wsgi.multithread`
    pub multithread: bool,
    /// `wsgi.multiprocess`
    pub multiprocess: bool,
    /// `wsgi.run_once`
    pub run_once: bool,
    /// Who watches over scripts; `None`: nobody, and a changed one is loaded anew.
    pub scripts: Option<Arc<dyn ScriptWatch>>,
    /// Scripts whose paths differ in upper and lower case only are one.
    pub fold_case: bool,
    /// `apache.version`
    pub apache_version: [u16; 3],
    /// The server's log.
    pub log: Arc<dyn ServerLog>,
    /// Scripts are loaded one at a time.
    pub loading: Gate,
    /// What is counted.
    pub stats: Stats,
    /// Applications want to see it (`mod_wsgi.start_recording_metrics`).
    pub recording: AtomicBool,
    /// What the whole server does, as JSON; `None` where applications may not see it.
    pub scoreboard: Option<Scoreboard>,
}

/// One interpreter's record.
pub struct Record {
    pub server: Arc<Server>,
    /// Name of the application group, as text, and as it is.
    pub application_group: String,
    pub name: Box<[u8]>,
    pub names: Arc<Names>,
    pub functions: Functions,
    pub events: Arc<Events>,
    pub input: Type<Input>,
    pub response: Type<Response>,
    pub log: Type<Log>,
    pub tls: Type<Tls>,
    pub file_wrapper: Kept,
    pub request_timeout: Kept,
    /// The environ entries that are the same for every request of the interpreter.
    pub base: Kept,
    /// Those that no request uses.
    pub error_streams: GilCell<Vec<ErrorStream>>,
    /// By path, see [`Record::script_key`].
    pub scripts: GilCell<HashMap<Box<[u8]>, Script>>,
    /// Template environs, by path of the script.
    pub templates: GilCell<HashMap<Box<[u8]>, Arc<Template>>>,
    /// Keys of environs.
    pub known: GilCell<Known>,
}

/// Interned names.
pub struct Names {
    pub start_response: Kept,
    pub close: Kept,
    pub mtime: Kept,
    pub reload_required: Kept,
    pub input: Kept,
    pub errors: Kept,
    pub url_scheme: Kept,
    pub https: Kept,
    pub thread_id: Kept,
    pub request_start: Kept,
    pub queue_start: Kept,
    pub daemon_start: Kept,
    pub application_start: Kept,
    pub callable_object: Kept,
    pub write: Kept,
    /// What can be changed of a text stream.
    pub stream_state: [Kept; 4],
    /// `__dict__`
    pub attributes: Kept,
}

/// Functions of `api/host.py`.
pub struct Functions {
    /// `(path, mtime, path that its name is made of) -> module`, or a tuple of an error's text and whether permission is missing
    pub load: Kept,
    /// `(class, value, traceback) -> list of lines`
    pub format_exception: Kept,
    /// `(raw) -> io.TextIOWrapper`
    pub text_stream: Kept,
    /// `(file wrapper) -> (descriptor, offset, size)`
    pub rest_of_file: Kept,
    /// `() -> number of threads of Python's that are left`
    pub end: Kept,
    /// `()`
    pub run_exit_handlers: Kept,
    /// `(name, value or None)`
    pub correct_environment: Kept,
}

impl Record {
    /// Makes the record of the interpreter that the thread is attached to. `functions` and `events` are the modules of
    /// the host's Python functions.
    pub fn new<'py>(
        py: Python<'py>,
        server: Arc<Server>,
        group: &[u8],
        functions: &Object<'py>,
        events: &Object<'py>,
        mod_wsgi: &Object<'py>,
    ) -> Result<'py, Record> {
        let name = |text: &str| py.interned(text).map(Object::keep);
        let of = |module: &Object<'py>, name: &str| module.attribute(&py.text(name)?).map(Object::keep);
        let file_wrapper = of(mod_wsgi, "FileWrapper")?;
        let application_group = &*String::from_utf8_lossy(group);
        let base = base(py, &server, application_group, file_wrapper.get(py))?.keep();
        Ok(Record {
            names: Arc::new(Names {
                start_response: name("start_response")?,
                close: name("close")?,
                mtime: name("__mtime__")?,
                reload_required: name("reload_required")?,
                input: name("wsgi.input")?,
                errors: name("wsgi.errors")?,
                url_scheme: name("wsgi.url_scheme")?,
                https: name("https")?,
                thread_id: name("mod_wsgi.thread_id")?,
                request_start: name("mod_wsgi.request_start")?,
                queue_start: name("mod_wsgi.queue_start")?,
                daemon_start: name("mod_wsgi.daemon_start")?,
                application_start: name("mod_wsgi.application_start")?,
                callable_object: name("mod_wsgi.callable_object")?,
                write: name("write")?,
                stream_state: [
                    name("encoding")?,
                    name("errors")?,
                    name("line_buffering")?,
                    name("write_through")?,
                ],
                attributes: name("__dict__")?,
            }),
            functions: Functions {
                load: of(functions, "load")?,
                format_exception: of(functions, "format_exception")?,
                text_stream: of(functions, "text_stream")?,
                rest_of_file: of(functions, "rest_of_file")?,
                end: of(functions, "end")?,
                run_exit_handlers: of(functions, "run_exit_handlers")?,
                correct_environment: of(functions, "correct_environment")?,
            },
            events: Arc::new(Events::of(py, mod_wsgi, events)?),
            input: Type::new(py)?,
            response: Type::new(py)?,
            log: Type::new(py)?,
            tls: Type::new(py)?,
            file_wrapper,
            request_timeout: of(mod_wsgi, "RequestTimeout")?,
            base,
            error_streams: GilCell::default(),
            scripts: GilCell::default(),
            templates: GilCell::default(),
            known: GilCell::default(),
            application_group: application_group.into(),
            name: group.into(),
            server,
        })
    }

    /// The raw object for `sys.stdout` or `sys.stderr`.
    pub fn process_log<'py>(&self, py: Python<'py>, stream: Stream) -> Result<'py, Object<'py>> {
        self.log
            .instance(py, Log::of_process(stream, Arc::clone(&self.server.log)))
    }

    /// The path of a script as its module is named by.
    pub fn script_key<'p>(&self, path: &'p [u8]) -> Cow<'p, [u8]> {
        if self.server.fold_case {
            path.to_ascii_lowercase().into()
        } else {
            path.into()
        }
    }

    /// The door to loading scripts.
    pub fn loading(&self) -> &Gate {
        &self.server.loading
    }

    /// Whether this is the main interpreter.
    pub fn is_main(&self) -> bool {
        self.application_group.is_empty()
    }

    /// Waits for the threads of the interpreter that want to be waited for; returns how many are left.
    pub fn end(&self, py: Python<'_>) -> i64 {
        let left = self.functions.end.get(py).call(&[]);
        match left {
            Ok(left) => left.as_int().unwrap_or(1),
            Err(error) => {
                self.complain(py, "WSGI0305: waiting for the application's threads failed", error);
                1
            }
        }
    }

    /// Runs the exit handlers of an interpreter that cannot be ended.
    pub fn run_exit_handlers(&self, py: Python<'_>) {
        if let Err(error) = self.functions.run_exit_handlers.get(py).call(&[]) {
            self.complain(py, "WSGI0304: exit handlers failed", error);
        }
    }

    /// Tells the callbacks that the process is about to end, for this reason.
    pub fn tell_stopping(&self, py: Python<'_>, reason: &str) {
        if let Err(error) = self.events.stopping(py, reason) {
            self.complain(py, "WSGI0442: callbacks for process_stopping failed", error);
        }
    }

    /// Tells the callbacks of a signal.
    pub fn tell_signal(&self, py: Python<'_>, name: &str, number: i32) {
        if let Err(error) = self.events.signal(py, name, number) {
            self.complain(py, "WSGI0442: callbacks for process_signal failed", error);
        }
    }

    fn complain<'py>(&self, py: Python<'py>, what: &str, error: Error<'py>) {
        let text = format!("{what} ({}): {}", self.whereabouts(), text_of(error, py));
        py.detach(|| self.server.log.log(Level::Error, text.as_bytes()));
    }

    /// Interpreter and process group in words.
    pub fn whereabouts(&self) -> String {
        let interpreter = match self.application_group.as_str() {
            "" => String::from("main interpreter"),
            name => format!("interpreter \"{name}\""),
        };
        match self.server.process_group.as_str() {
            "" => format!("{interpreter}, embedded"),
            name => format!("{interpreter}, process group \"{name}\""),
        }
    }
}

/// A tuple of these numbers.
pub fn version<'py>(py: Python<'py>, numbers: [i64; 3]) -> Result<'py, Object<'py>> {
    let numbers = numbers.into_iter().map(|number| py.int(number));
    py.tuple(numbers.collect::<Result<'py, Vec<_>>>()?)
}

fn base<'py>(py: Python<'py>, server: &Server, group: &str, file_wrapper: &Object<'py>) -> Result<'py, Object<'py>> {
    let environ = py.dict()?;
    let (major, minor, micro) = wsgi_core::API_VERSION;
    let values = [
        ("wsgi.version", py.tuple(vec![py.int(1)?, py.int(0)?])?),
        ("wsgi.url_scheme", py.interned("http")?),
        ("wsgi.input", py.none()),
        ("wsgi.errors", py.none()),
        ("wsgi.input_terminated", py.boolean(true)),
        ("wsgi.multithread", py.boolean(server.multithread)),
        ("wsgi.multiprocess", py.boolean(server.multiprocess)),
        ("wsgi.run_once", py.boolean(server.run_once)),
        ("wsgi.file_wrapper", file_wrapper.clone()),
        ("apache.version", version(py, server.apache_version.map(i64::from))?),
        ("mod_wsgi.version", version(py, [major, minor, micro])?),
        ("mod_wsgi.process_group", py.latin1(server.process_group.as_bytes())?),
        ("mod_wsgi.application_group", py.latin1(group.as_bytes())?),
        ("mod_wsgi.callable_object", py.none()),
        ("mod_wsgi.thread_id", py.none()),
        ("mod_wsgi.request_start", py.none()),
        ("mod_wsgi.queue_start", py.float(0.0)?),
        ("mod_wsgi.daemon_start", py.float(0.0)?),
        ("mod_wsgi.application_start", py.none()),
    ];
    for (key, value) in values {
        environ.set_item(&py.interned(key)?, &value)?;
    }
    Ok(environ)
}
