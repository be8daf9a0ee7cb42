//! The run of one request: load the script, call the application, pass on what it returns, close it.

use std::sync::Arc;

use wsgi_core::abi::{Level, Sent};
use wsgi_core::header;

use super::environ;
use super::errors::ErrorStream;
use super::events::{Begun, Ended};
use super::exchange::{Exchange, LogRecord, Lossy, Outcome};
use super::failure::{Place, report};
use super::file_wrapper::rest_of_file;
use super::input::{Body, Input};
use super::live::Live;
use super::record::Record;
use super::response::{Head, Response, Stop, cut, not_bytes};
use super::script::{self, Failure, Reload, Source};
use super::stopwatch::Stopwatch;
use crate::fence::fence;
use crate::python::{Error, Interpreter, Kind, Object, Python, Result};
use crate::stats::micros;

/// Bodies up to this size are copied, so that all of Python's objects are gone before the reply is sent and the GIL is
/// taken once only. Copying so much costs less than taking the GIL again.
const COPIED: usize = 64 * 1024;

/// A request, as the server hands it over.
pub struct Request<'r> {
    /// The environ entries that are text, in order; of two with the same name the later one counts.
    pub variables: Vec<(&'r [u8], &'r [u8])>,
    /// Path of the script file.
    pub script: &'r [u8],
    /// Its modification time in µs since the epoch; negative: unknown.
    pub script_mtime: i64,
    /// Whether a changed script is loaded anew.
    pub reloading: bool,
    /// The script's global to call.
    pub callable_object: &'r [u8],
    /// Address of the server's own record of the request, for environ; 0: not for it.
    pub request_rec: usize,
    /// When the server got the request, in µs since the epoch.
    pub request_start: i64,
    /// When it was put into the queue of its process group, and when it was taken from there; 0 in embedded mode.
    pub queue_start: i64,
    /// As above.
    pub daemon_start: i64,
    /// Bytes of its message in the queue.
    pub queue_bytes: u64,
    /// Whether the client came by https.
    pub https: bool,
    /// The client asked by HEAD: it gets no body.
    pub header_only: bool,
    /// The least important level that its log shows.
    pub log_level: Level,
    /// How often draining daemons have handed it back.
    pub retries: u8,
}

impl<'r> Request<'r> {
    /// The environ entry of this name.
    pub fn variable(&self, name: &[u8]) -> Option<&'r [u8]> {
        let found = self.variables.iter().rfind(|(other, _)| *other == name);
        found.map(|(_, value)| *value)
    }
}

impl Request<'_> {
    fn source(&self) -> Source<'_> {
        Source {
            path: self.script,
            mtime: self.script_mtime,
            reload: if self.reloading {
                Reload::Asked(&self.variables)
            } else {
                Reload::Never
            },
        }
    }

    /// Bytes of the body that the client has announced; 0 if it has not said.
    fn announced(&self) -> usize {
        let length = self.variables.iter().find(|(name, _)| *name == b"CONTENT_LENGTH");
        let length = length.and_then(|(_, value)| header::content_length(value).ok());
        length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0)
    }
}

/// Runs the request in `interpreter`, whose record is `record`, in the calling thread.
pub fn run(interpreter: &Interpreter, record: &Record, request: &Request<'_>, exchange: Box<dyn Exchange>) -> Outcome {
    let watch = Stopwatch::begin(&record.server.stats, request, &record.application_group);
    let body = Body::new(request.announced());
    let id = request.variable(b"mod_wsgi.request_id").unwrap_or_default();
    let live = Live::begin(exchange, request.script, id, request.log_level, body);
    let mut application = None;
    let outcome = fence(|| {
        let finish = interpreter.attach_in_turn(|py| {
            Run {
                py,
                record,
                request,
                live: &live,
                notes: Vec::new(),
                application_start: 0,
            }
            .serve()
        });
        application = finish.application;
        finish.complete(&live)
    });
    let outcome = outcome.unwrap_or_else(|| {
        if live.has_begun() {
            Outcome::Truncated
        } else {
            Outcome::Refused(500)
        }
    });
    watch.end(application, &live.end(), outcome);
    outcome
}

/// What is left to do when the thread has left Python.
struct Finish {
    notes: Vec<LogRecord>,
    last: Last,
    /// When the application was called, and when it had done its work, in µs of `CLOCK_MONOTONIC`.
    application: Option<(u64, u64)>,
}

enum Last {
    /// Nothing.
    Done(Outcome),
    /// Sending a whole reply.
    Send {
        head: Head,
        body: Vec<u8>,
        /// Nothing is owed to the client afterwards.
        whole: bool,
    },
}

impl Finish {
    fn complete(self, live: &Live) -> Outcome {
        live.log(&self.notes);
        match self.last {
            Last::Done(outcome) => outcome,
            Last::Send { head, body, whole } => {
                live.log(&head.warnings(live));
                match live.send(Some(&head), &[&body], whole).unwrap_or(Sent::Failed) {
                    Sent::Ok if whole => Outcome::Complete,
                    Sent::Ok => Outcome::Truncated,
                    sent => stopped(sent),
                }
            }
        }
    }
}

fn stopped(sent: Sent) -> Outcome {
    match sent {
        Sent::ClientGone => Outcome::ClientGone,
        // The server has an answer of its own; this status is for its log.
        Sent::Failed | Sent::Ok => Outcome::Refused(500),
    }
}

/// A request inside of Python.
struct Run<'a, 'py> {
    py: Python<'py>,
    record: &'a Record,
    request: &'a Request<'a>,
    live: &'a Arc<Live>,
    notes: Vec<LogRecord>,
    /// µs of `CLOCK_MONOTONIC`; 0: not yet called.
    application_start: u64,
}

impl<'py> Run<'_, 'py> {
    fn serve(mut self) -> Finish {
        let last = match self.record.events.enter(self.py, self.live) {
            Ok(_active) => match self.application() {
                Ok(application) => self.call(&application),
                Err(outcome) => Last::Done(outcome),
            },
            Err(error) => self.failed(None, error),
        };
        Finish {
            application: (self.application_start != 0).then(|| (self.application_start, micros())),
            notes: self.notes,
            last,
        }
    }

    /// Finds the callable.
    fn application(&mut self) -> std::result::Result<Object<'py>, Outcome> {
        let (py, request) = (self.py, self.request);
        let globals = match script::load(py, self.record, request.source(), &mut self.notes) {
            Ok(globals) => globals,
            Err(Failure::Exception(error)) => return Err(Outcome::Refused(self.report(Place::Loading, error))),
            Err(Failure::Unreadable(text, status)) => {
                self.notes.push(text);
                return Err(Outcome::Refused(status));
            }
        };
        let found = environ::key(py, self.record, request.callable_object).and_then(|name| globals.get_item(&name));
        match found {
            Ok(Some(application)) => Ok(application),
            Ok(None) => {
                let text = format!(
                    "WSGI0404: {}script has no global \"{}\" to call; name it so, or set WSGICallableObject to the name \
                     that it has",
                    self.live.prefix(),
                    Lossy(request.callable_object)
                );
                self.notes.push((Level::Error, text));
                Err(Outcome::Refused(404))
            }
            Err(error) => Err(Outcome::Refused(self.report(Place::Application, error))),
        }
    }

    fn call(&mut self, application: &Object<'py>) -> Last {
        let (py, record) = (self.py, self.record);
        let errors = match ErrorStream::lend(py, record, self.live) {
            Ok(errors) => errors,
            Err(error) => return self.failed(None, error),
        };
        let response = Response::new(
            Arc::clone(self.live),
            Arc::clone(&record.names),
            Arc::clone(&record.events),
        );
        let last = match record.response.instance(py, response) {
            Ok(object) => self.call_with(application, errors.object(py), &object),
            Err(error) => self.failed(None, error),
        };
        errors.give_back(py, record);
        last
    }

    fn call_with(&mut self, application: &Object<'py>, errors: &Object<'py>, object: &Object<'py>) -> Last {
        let Some(response) = self.record.response.inside(object) else {
            return Last::Done(Outcome::Refused(500));
        };
        let mut begun = Begun {
            application_start: environ::now(),
            cpu: self.py.none(),
        };
        let result = self.environ(errors, &begun).and_then(|environ| {
            let replacement = self.tell_started(&environ, application, &mut begun)?;
            let start_response = object.attribute(self.record.names.start_response.get(self.py))?;
            self.application_start = micros();
            replacement
                .as_ref()
                .unwrap_or(application)
                .call(&[&environ, &start_response])
        });
        // What the application did not keep of its arguments is gone by now.
        let last = match result {
            Ok(iterable) => self.reply(response, iterable),
            Err(error) => self.failed(Some(response), error),
        };
        self.tell_finished(response, &begun, &last);
        last
    }

    fn environ(&self, errors: &Object<'py>, begun: &Begun<'py>) -> Result<'py, Object<'py>> {
        let input = self.record.input.instance(self.py, Input::new(Arc::clone(self.live)))?;
        environ::build(
            self.py,
            self.record,
            self.request,
            begun.application_start,
            &input,
            errors,
        )
    }

    /// Tells the callbacks, if there are any; they may have something else called.
    fn tell_started(
        &self,
        environ: &Object<'py>,
        application: &Object<'py>,
        begun: &mut Begun<'py>,
    ) -> Result<'py, Option<Object<'py>>> {
        let events = &self.record.events;
        if !events.wanted(self.py) {
            return Ok(None);
        }
        let start = begun.application_start;
        let (replacement, cpu) = events.started(self.request, self.live, start, environ, application)?;
        begun.cpu = cpu;
        Ok(Some(replacement))
    }

    /// Tells the callbacks, if there are any.
    fn tell_finished(&mut self, response: &Response, begun: &Begun<'py>, last: &Last) {
        if self.record.events.wanted(self.py) {
            let ended = Ended {
                application_finish: environ::now(),
                application_time: micros().saturating_sub(self.application_start),
                status: match last {
                    Last::Done(Outcome::Refused(status)) => *status,
                    Last::Send { head, .. } => head.status,
                    Last::Done(_) => response.status(self.py),
                },
            };
            if let Err(error) = self.record.events.finished(self.request, self.live, begun, &ended) {
                self.report(Place::Event, error);
            }
        }
    }

    /// Passes on what the application returned, and closes it.
    fn reply(&mut self, response: &Response, iterable: Object<'py>) -> Last {
        if iterable.is_plain_sequence()
            && !response.has_begun(self.py)
            && let Some(blocks) = plain_blocks(&iterable)
        {
            return self.reply_at_once(response, &blocks);
        }
        let result = self.transmit(response, &iterable);
        let last = match result {
            Ok(outcome) => Last::Done(outcome),
            Err(Stop::Sent(sent)) => Last::Done(stopped(sent)),
            Err(Stop::Error(error)) => self.failed(Some(response), error),
        };
        if !iterable.is_plain_sequence() {
            self.close(&iterable);
        }
        last
    }

    /// Sends the blocks of a list or tuple, which has no `close`.
    fn reply_at_once(&mut self, response: &Response, blocks: &[Object<'py>]) -> Last {
        let pieces: Vec<&[u8]> = blocks.iter().filter_map(Object::as_bytes).collect();
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        // Whoever is told of the end wants to know how sending went.
        if total > COPIED || self.record.events.wanted(self.py) {
            let result = response.finish(self.py, &pieces, self.request.header_only);
            return match result {
                Ok(owed) => Last::Done(self.outcome(owed)),
                Err(Stop::Sent(sent)) => Last::Done(stopped(sent)),
                Err(Stop::Error(error)) => self.failed(Some(response), error),
            };
        }
        let head = match response.begin(self.py) {
            Ok(head) => head,
            Err(error) => return self.failed(Some(response), error),
        };
        let mut missing = head.content_length();
        let body = cut(&pieces, &mut missing).concat();
        let owed = if self.request.header_only || !head.has_body() {
            0
        } else {
            missing.unwrap_or(0)
        };
        let whole = self.outcome(owed) == Outcome::Complete;
        Last::Send { head, body, whole }
    }

    fn transmit(&mut self, response: &Response, iterable: &Object<'py>) -> std::result::Result<Outcome, Stop<'py>> {
        let py = self.py;
        if !response.has_begun(py)
            && let Some(rest) = rest_of_file(self.record, iterable)
        {
            let owed = response.finish_with_file(py, rest, self.request.header_only)?;
            return Ok(self.outcome(owed));
        }
        let iterator = iterable.iterator().map_err(|error| not_iterable(iterable, error))?;
        while let Some(item) = iterator.next_item()? {
            match item.as_bytes() {
                None => return Err(Stop::Error(not_bytes(&item))),
                Some([]) => {}
                Some(block) => response.send(py, block, true)?,
            }
        }
        let owed = response.finish(py, &[], self.request.header_only)?;
        Ok(self.outcome(owed))
    }

    /// The outcome of a reply that lacks so many bytes of what its `Content-Length` promised.
    fn outcome(&mut self, owed: u64) -> Outcome {
        if owed == 0 {
            return Outcome::Complete;
        }
        let text = format!(
            "WSGI0409: {}the response is {owed} bytes shorter than its Content-Length; its connection is closed so that \
             the client can tell",
            self.live.prefix()
        );
        self.notes.push((Level::Warning, text));
        Outcome::Truncated
    }

    fn close(&mut self, iterable: &Object<'py>) {
        let close = iterable.attribute_if_any(self.record.names.close.get(self.py));
        let result = close.and_then(|close| close.map_or(Ok(()), |close| close.call(&[]).map(drop)));
        if let Err(error) = result {
            self.report(Place::Close, error);
        }
    }

    /// The end of a request by an exception.
    fn failed(&mut self, response: Option<&Response>, error: Error<'py>) -> Last {
        let status = self.report(Place::Application, error);
        Last::Done(match response {
            Some(response) if response.has_ended(self.py) => Outcome::Complete,
            Some(response) if response.has_begun(self.py) => Outcome::Truncated,
            _ => Outcome::Refused(status),
        })
    }

    /// Notes an exception; returns the status for a client that got nothing yet.
    fn report(&mut self, place: Place, error: Error<'py>) -> u16 {
        let (records, status) = report(self.py, self.record, self.request.script, place, error);
        self.notes.extend(records);
        status
    }
}

/// The exception for a result that cannot be iterated; `error` if that is not what is wrong with it.
fn not_iterable<'py>(result: &Object<'py>, error: Error<'py>) -> Error<'py> {
    let py = result.py();
    let name = py.text("__iter__");
    if !error.is(Kind::Type) || !matches!(name.and_then(|name| result.attribute_if_any(&name)), Ok(None)) {
        return error;
    }
    let message = format!(
        "the application must return an iterable of bytes, not {} (PEP 3333, \"Specification Details\")",
        result.type_name()
    );
    Error::new(py, Kind::Type, &message)
}

/// The items of a list or tuple if each is a `bytes`.
fn plain_blocks<'py>(sequence: &Object<'py>) -> Option<Vec<Object<'py>>> {
    (0..sequence.length())
        .map(|index| sequence.item(index).filter(|item| item.as_bytes().is_some()))
        .collect()
}
