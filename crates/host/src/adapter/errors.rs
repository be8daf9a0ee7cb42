//! `wsgi.errors`, `sys.stdout` and `sys.stderr`: the raw object below their `io.TextIOWrapper`, which turns what is
//! written into log records (PEP 3333, "environ Variables").

use std::collections::HashMap;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

use wsgi_core::abi::Level;

use super::exchange::ServerLog;
use super::live::Live;
use super::record::Record;
use crate::python::{Class, Error, GilCell, Kept, Kind, Members, Object, Python, Result};

/// Bytes of the longest record; httpd cuts longer ones, its own part and the script's path included.
const LONGEST: usize = 7700;

/// What opens a traceback. Its lines are written one by one, so they are gathered.
const TRACEBACK: &[u8] = b"Traceback (most recent call last):";
/// Most lines of a traceback that are gathered.
const MOST_LINES: usize = 1000;
/// Threads that may have unfinished lines outside of requests; they may have ended without.
const MOST_THREADS: usize = 64;

/// Which of the text streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// `sys.stdout`
    Stdout = 0,
    /// `sys.stderr`
    Stderr = 1,
    /// `wsgi.errors`
    Errors = 2,
}

/// The raw object. It never fails for a reason that lies with the log.
pub struct Log {
    stream: Stream,
    target: Target,
}

enum Target {
    /// One request's log, until it ends.
    Request(GilCell<Option<Arc<Live>>>),
    /// The log of the request that the writing thread serves, or the server's log.
    Thread(Server),
}

struct Server {
    log: Arc<dyn ServerLog>,
    /// Of each thread that has not ended its line.
    lines: Mutex<HashMap<ThreadId, Lines>>,
}

impl Log {
    /// For `sys.stdout` or `sys.stderr` of an interpreter.
    pub fn of_process(stream: Stream, log: Arc<dyn ServerLog>) -> Log {
        let lines = Mutex::default();
        Log {
            stream,
            target: Target::Thread(Server { log, lines }),
        }
    }

    fn print(&self, py: Python<'_>, text: &[u8]) -> bool {
        let live = match &self.target {
            Target::Request(live) => live.with(py, |live| live.clone()),
            Target::Thread(server) => match Live::current() {
                Some(live) => Some(live),
                None => {
                    py.detach(|| server.print(text));
                    return true;
                }
            },
        };
        let Some(live) = live else { return false };
        let stream = self.stream as usize;
        // print() writes text and line end one after the other; only the latter is worth leaving the interpreter for.
        let held = !text.contains(&b'\n') && live.hold(stream, text);
        held || py.detach(|| live.print(stream, text))
    }
}

impl Server {
    fn print(&self, text: &[u8]) {
        let me = thread::current().id();
        let mut threads = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let own = threads.entry(me).or_default();
        let mut lines = own.push(text);
        if own.is_empty() {
            threads.remove(&me);
        } else if threads.len() > MOST_THREADS {
            lines.extend(threads.drain().flat_map(|(_, mut rest)| rest.take_rest()));
        }
        drop(threads);
        self.record(&lines);
    }

    fn record(&self, lines: &[Vec<u8>]) {
        if !lines.is_empty() {
            self.log.log(Level::Error, &lines.join(&b'\n'));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let threads = self.lines.get_mut().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<_> = threads.drain().flat_map(|(_, mut rest)| rest.take_rest()).collect();
        self.record(&lines);
    }
}

/// A `wsgi.errors`. Making one costs more than all the rest of a small request, so that they are lent to one request
/// after the other: as long as no application keeps one.
pub struct ErrorStream {
    text: Kept,
    raw: Kept,
    /// References to either while nobody else has any.
    references: [u32; 2],
    /// What [`Names::stream_state`](super::record::Names::stream_state) were in the beginning.
    state: Vec<Kept>,
}

impl ErrorStream {
    /// Takes one from those that are free, or makes one, for this request.
    pub fn lend<'py>(py: Python<'py>, record: &Record, live: &Arc<Live>) -> Result<'py, ErrorStream> {
        let free = record.error_streams.with(py, Vec::pop);
        let stream = free.map_or_else(|| ErrorStream::new(py, record), Ok)?;
        stream.point(py, record, Some(Arc::clone(live)));
        Ok(stream)
    }

    /// The text stream.
    pub fn object<'a, 'py>(&'a self, py: Python<'py>) -> &'a Object<'py> {
        self.text.get(py)
    }

    /// Takes it back at the end of the request. If somebody has kept it, then it is his, and expired.
    pub fn give_back(self, py: Python<'_>, record: &Record) {
        self.point(py, record, None);
        if self.references == self.count(py) && self.is_as_new(py, record) {
            record.error_streams.with(py, |free| free.push(self));
        }
    }

    fn new<'py>(py: Python<'py>, record: &Record) -> Result<'py, ErrorStream> {
        let log = Log {
            stream: Stream::Errors,
            target: Target::Request(GilCell::default()),
        };
        let raw = record.log.instance(py, log)?;
        let text = record.functions.text_stream.get(py).call(&[&raw])?;
        let mut stream = ErrorStream {
            text: text.clone().keep(),
            raw: raw.clone().keep(),
            references: [0, 0],
            state: Vec::new(),
        };
        for name in &record.names.stream_state {
            stream.state.push(text.attribute(name.get(py))?.keep());
        }
        drop((text, raw));
        stream.references = stream.count(py);
        Ok(stream)
    }

    /// Whether the application has changed nothing about it that the next request would find.
    fn is_as_new(&self, py: Python<'_>, record: &Record) -> bool {
        let text = self.text.get(py);
        let attributes = text.attribute(record.names.attributes.get(py));
        let mut state = record.names.stream_state.iter().zip(&self.state);
        attributes.is_ok_and(|attributes| attributes.length() == 0)
            && state.all(|(name, value)| text.attribute(name.get(py)).is_ok_and(|now| now.is(value.get(py))))
    }

    fn count(&self, py: Python<'_>) -> [u32; 2] {
        [&self.text, &self.raw].map(|kept| kept.get(py).reference_count())
    }

    fn point(&self, py: Python<'_>, record: &Record, live: Option<Arc<Live>>) {
        if let Some(Log {
            target: Target::Request(cell),
            ..
        }) = record.log.inside(self.raw.get(py))
        {
            drop(cell.with(py, |target| std::mem::replace(target, live)));
        }
    }
}

impl Class for Log {
    const NAME: &'static CStr = c"mod_wsgi.Log";
    const DOC: &'static CStr = c"Raw stream that writes the lines it gets to the server's error log.";

    fn members(members: &mut Members<Log>) {
        members
            .method(c"write", c"write(data) -> number of bytes", write)
            .method(c"writelines", c"writelines(pieces)", writelines)
            .method(c"flush", c"Does nothing: whole lines are in the log already.", nothing)
            .method(c"close", c"Does nothing: the log stays open.", nothing)
            .method(c"isatty", c"False", no)
            .method(c"readable", c"False", no)
            .method(c"seekable", c"False", no)
            .method(c"writable", c"True", yes)
            .method(c"fileno", c"Raises OSError: there is no descriptor.", fileno)
            .getter(c"closed", |_, py| Ok(py.boolean(false)))
            .getter(c"name", name)
            .getter(c"mode", |_, py| py.text("w"));
    }
}

fn write<'py>(this: &Log, me: &Object<'py>, arguments: &[Object<'py>]) -> Result<'py, Object<'py>> {
    let [data] = arguments else {
        return Err(Error::new(me.py(), Kind::Type, "write() takes exactly one argument"));
    };
    let converted;
    let data = if data.as_bytes().is_some() {
        data
    } else if data.is_text() {
        return Err(Error::new(
            me.py(),
            Kind::Type,
            "a bytes-like object is required, not str",
        ));
    } else {
        converted = data.to_bytes()?;
        &converted
    };
    let bytes = data.as_bytes().unwrap_or_default();
    if !bytes.is_empty() && !this.print(me.py(), bytes) {
        return Err(Error::new(
            me.py(),
            Kind::Runtime,
            "wsgi.errors was used after its request had ended",
        ));
    }
    me.py().int(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

fn writelines<'py>(this: &Log, me: &Object<'py>, arguments: &[Object<'py>]) -> Result<'py, Object<'py>> {
    let [pieces] = arguments else {
        return Err(Error::new(
            me.py(),
            Kind::Type,
            "writelines() takes exactly one argument",
        ));
    };
    let pieces = pieces.iterator()?;
    while let Some(piece) = pieces.next_item()? {
        write(this, me, &[piece])?;
    }
    Ok(me.py().none())
}

fn nothing<'py>(_: &Log, me: &Object<'py>, _: &[Object<'py>]) -> Result<'py, Object<'py>> {
    Ok(me.py().none())
}

fn yes<'py>(_: &Log, me: &Object<'py>, _: &[Object<'py>]) -> Result<'py, Object<'py>> {
    Ok(me.py().boolean(true))
}

fn no<'py>(_: &Log, me: &Object<'py>, _: &[Object<'py>]) -> Result<'py, Object<'py>> {
    Ok(me.py().boolean(false))
}

fn fileno<'py>(_: &Log, me: &Object<'py>, _: &[Object<'py>]) -> Result<'py, Object<'py>> {
    Err(Error::new(me.py(), Kind::Os, "a log stream has no file descriptor"))
}

fn name<'py>(this: &Log, py: Python<'py>) -> Result<'py, Object<'py>> {
    py.text(match this.stream {
        Stream::Stdout => "<stdout>",
        Stream::Stderr => "<stderr>",
        Stream::Errors => "<wsgi.errors>",
    })
}

/// Text that waits for its line end, and the lines of a traceback that wait for the last one.
#[derive(Default)]
pub struct Lines {
    waiting: Vec<u8>,
    traceback: Vec<Vec<u8>>,
}

impl Lines {
    /// Adds text; returns the records that are complete now.
    pub fn push(&mut self, text: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        for piece in text.split_inclusive(|b| *b == b'\n') {
            self.waiting.extend_from_slice(piece);
            while self.waiting.len() > LONGEST {
                let rest = self.waiting.split_off(LONGEST);
                let line = readable(std::mem::replace(&mut self.waiting, rest));
                self.complete(line, &mut records);
            }
            if self.waiting.last() == Some(&b'\n') {
                let line = self.take_line();
                self.complete(line, &mut records);
            }
        }
        records
    }

    /// Adds text that holds no line end, if no record becomes complete by it.
    pub fn hold(&mut self, text: &[u8]) -> bool {
        let fits = self.waiting.len() + text.len() <= LONGEST;
        if fits {
            self.waiting.extend_from_slice(text);
        }
        fits
    }

    /// Takes what is left as records.
    pub fn take_rest(&mut self) -> Vec<Vec<u8>> {
        let mut records = std::mem::take(&mut self.traceback);
        if !self.waiting.is_empty() {
            records.push(self.take_line());
        }
        records
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.traceback.is_empty()
    }

    /// A line is there. Those of a traceback wait for the one that ends it: the first that is not indented.
    fn complete(&mut self, line: Vec<u8>, records: &mut Vec<Vec<u8>>) {
        let within = !self.traceback.is_empty() && line.starts_with(b" ") && self.traceback.len() < MOST_LINES;
        if !within {
            records.append(&mut self.traceback);
        }
        if within || line == TRACEBACK {
            self.traceback.push(line);
        } else {
            records.push(line);
        }
    }

    fn take_line(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.waiting);
        while let Some(b'\n' | b'\r') = line.last() {
            line.pop();
        }
        readable(line)
    }
}

/// NUL would end the record early, in C.
fn readable(line: Vec<u8>) -> Vec<u8> {
    if !line.contains(&0) {
        return line;
    }
    line.split(|b| *b == 0).collect::<Vec<_>>().join(&b"\\x00"[..])
}
