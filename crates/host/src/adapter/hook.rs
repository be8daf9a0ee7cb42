//! Hooks: functions of scripts that httpd asks about a request before anything runs for it. Who may come in
//! (`WSGIAccessScript`, `WSGIAuthUserScript`, `WSGIAuthGroupScript`), and where it runs (`WSGIDispatchScript`).
//!
//! Whatever a function returns that is none of its answers counts as a failure, as does an exception.

use std::sync::Arc;

use wsgi_core::abi::Level;

use super::environ;
use super::errors::ErrorStream;
use super::exchange::{Exchange, LogRecord};
use super::failure::{Place, report};
use super::input::Body;
use super::live::Live;
use super::record::Record;
use super::script::{self, Failure, Source};
use super::tls::Tls;
use crate::fence::fence;
use crate::python::{Error, Interpreter, Kind, Object, Python, Result};

/// What httpd wants to know, and of which script.
pub struct Hook<'r> {
    /// The question.
    pub question: Question<'r>,
    /// The environ entries that are text.
    pub variables: Vec<(&'r [u8], &'r [u8])>,
    /// The script.
    pub source: Source<'r>,
    /// Address of httpd's `request_rec`, if the script may have it; else 0.
    pub request_rec: usize,
}

/// The question, with what the function gets beside environ.
#[derive(Clone, Copy)]
pub enum Question<'r> {
    /// `check_password(environ, user, password)`
    CheckPassword(&'r [u8], &'r [u8]),
    /// `get_realm_hash(environ, user, realm)`
    RealmHash(&'r [u8], &'r [u8]),
    /// `groups_for_user(environ, user)`
    Groups(&'r [u8]),
    /// `allow_access(environ, host)`
    Access(&'r [u8]),
    /// `process_group(environ)`, `application_group(environ)` and `callable_object(environ)`, each if it is there
    Dispatch,
}

/// What the script says.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing that can be used; a record says why.
    Failed,
    /// `None`
    Nothing,
    /// `True`
    Yes,
    /// `False`
    No,
    /// The user's name, or the hash.
    Text(Vec<u8>),
    /// The user's groups.
    Groups(Vec<Vec<u8>>),
    /// Process group, application group and callable, as far as they are to be others.
    Dispatch([Option<Vec<u8>>; 3]),
}

/// The functions of a dispatch script.
const DISPATCH: [&str; 3] = ["process_group", "application_group", "callable_object"];

/// Entries that are no text, and that environs of applications have as well.
const COMMON: [&[u8]; 2] = [b"apache.version", b"mod_wsgi.version"];

/// Asks in `interpreter`, whose record is `record`, in the calling thread.
pub fn ask(interpreter: &Interpreter, record: &Record, hook: &Hook<'_>, exchange: Box<dyn Exchange>) -> Answer {
    // httpd itself leaves out what its log does not show.
    let live = Live::begin(exchange, hook.source.path, b"", Level::Debug, Body::default());
    let answer = fence(|| {
        let (answer, notes) = interpreter.attach(|py| {
            let mut notes = Vec::new();
            let answer = Ask {
                py,
                record,
                hook,
                live: &live,
                notes: &mut notes,
            }
            .answer();
            (answer, notes)
        });
        live.log(&notes);
        answer
    });
    live.end();
    answer.unwrap_or(Answer::Failed)
}

struct Ask<'a, 'py> {
    py: Python<'py>,
    record: &'a Record,
    hook: &'a Hook<'a>,
    live: &'a Arc<Live>,
    notes: &'a mut Vec<LogRecord>,
}

impl<'py> Ask<'_, 'py> {
    fn answer(&mut self) -> Answer {
        let (py, record) = (self.py, self.record);
        let globals = match script::load(py, record, self.hook.source, self.notes) {
            Ok(globals) => globals,
            Err(Failure::Unreadable(record, _)) => {
                self.notes.push(record);
                return Answer::Failed;
            }
            Err(Failure::Exception(error)) => return self.failed(Place::Loading, error),
        };
        let errors = match ErrorStream::lend(py, record, self.live) {
            Ok(errors) => errors,
            Err(error) => return self.failed(Place::Loading, error),
        };
        let answer = match self.environ(errors.object(py)) {
            Ok(environ) => self.question(&globals, &environ),
            Err(error) => self.failed(Place::Loading, error),
        };
        errors.give_back(py, record);
        answer
    }

    fn environ(&self, errors: &Object<'py>) -> Result<'py, Object<'py>> {
        let (py, record) = (self.py, self.record);
        let environ = py.dict()?;
        for name in COMMON {
            let key = environ::key(py, record, name)?;
            if let Some(value) = record.base.get(py).get_item(&key)? {
                environ.set_item(&key, &value)?;
            }
        }
        for (name, value) in &self.hook.variables {
            environ.set_item(&environ::key(py, record, name)?, &environ::text(py, name, value)?)?;
        }
        environ.set_item(record.names.errors.get(py), errors)?;
        if self.hook.request_rec != 0 {
            environ.set_item(&py.interned("apache.request_rec")?, &py.capsule(self.hook.request_rec)?)?;
        }
        let tls = record.tls.instance(py, Tls::new(Arc::clone(self.live)))?;
        for name in ["is_https", "var_lookup"] {
            let method = tls.attribute(&py.interned(name)?)?;
            environ.set_item(
                &environ::key(py, record, format!("mod_ssl.{name}").as_bytes())?,
                &method,
            )?;
        }
        Ok(environ)
    }

    fn question(&mut self, globals: &Object<'py>, environ: &Object<'py>) -> Answer {
        let py = self.py;
        match self.hook.question {
            Question::CheckPassword(user, password) => {
                self.ask_for(globals, "check_password", environ, &[user, password], |result| {
                    if let Some(plain) = plain(py, result) {
                        return Ok(plain);
                    }
                    // mod_wsgi encodes this one by UTF-8, all others by Latin-1.
                    match result.utf8() {
                        Ok(name) if !name.is_empty() && !name.contains(&0) => Ok(Answer::Text(name)),
                        _ => Err("True, False, None, or another name for the user as str"),
                    }
                })
            }
            Question::RealmHash(user, realm) => {
                self.ask_for(globals, "get_realm_hash", environ, &[user, realm], |result| {
                    if result.is_none() {
                        return Ok(Answer::Nothing);
                    }
                    // Any other text could not come from a password, but it could be guessed.
                    match text(result) {
                        Some(hash) if hash.len() == 32 && hash.iter().all(u8::is_ascii_hexdigit) => {
                            Ok(Answer::Text(hash))
                        }
                        _ => Err("None, or the MD5 of user:realm:password in 32 hexadecimal digits"),
                    }
                })
            }
            Question::Groups(user) => self.groups(globals, environ, user),
            Question::Access(host) => self.ask_for(globals, "allow_access", environ, &[host], |result| {
                plain(py, result).ok_or("True, False or None")
            }),
            Question::Dispatch => self.dispatch(globals, environ),
        }
    }

    /// Calls the function and judges what it returns; `judge` says what is expected instead.
    fn ask_for(
        &mut self,
        globals: &Object<'py>,
        name: &'static str,
        environ: &Object<'py>,
        arguments: &[&[u8]],
        judge: impl FnOnce(&Object<'py>) -> std::result::Result<Answer, &'static str>,
    ) -> Answer {
        match self.call(globals, name, environ, arguments) {
            Ok(Some(result)) => judge(&result).unwrap_or_else(|wanted| self.unusable(name, &result, wanted)),
            Ok(None) => {
                let text = format!(
                    "WSGI0431: {}script has no function {name}(), which it needs to have here",
                    self.live.prefix()
                );
                self.notes.push((Level::Error, text));
                Answer::Failed
            }
            Err(error) => self.failed(Place::Hook(name), error),
        }
    }

    fn groups(&mut self, globals: &Object<'py>, environ: &Object<'py>, user: &[u8]) -> Answer {
        const NAME: &str = "groups_for_user";
        const WANTED: &str = "an iterable of bytes, or of str of Latin-1 characters";
        let mut error = None;
        let answer = self.ask_for(globals, NAME, environ, &[user], |result| {
            // A single name is surely meant as one, not as its letters.
            if result.is_text() || result.as_bytes().is_some() {
                return Err(WANTED);
            }
            match names(result) {
                Ok(names) => names.map(Answer::Groups).ok_or(WANTED),
                Err(raised) => {
                    error = Some(raised);
                    Ok(Answer::Failed)
                }
            }
        });
        match error {
            Some(error) => self.failed(Place::Hook(NAME), error),
            None => answer,
        }
    }

    fn dispatch(&mut self, globals: &Object<'py>, environ: &Object<'py>) -> Answer {
        let mut chosen = [None, None, None];
        for (name, slot) in DISPATCH.into_iter().zip(&mut chosen) {
            match self.call(globals, name, environ, &[]) {
                Ok(None) => {}
                Ok(Some(result)) if result.is_none() => {}
                Ok(Some(result)) => match text(&result) {
                    Some(value) => *slot = Some(value),
                    None => return self.unusable(name, &result, "None, bytes, or a str of Latin-1 characters"),
                },
                Err(error) => return self.failed(Place::Hook(name), error),
            }
        }
        Answer::Dispatch(chosen)
    }

    /// The function's result; `None` if the script has no such function.
    fn call(
        &self,
        globals: &Object<'py>,
        name: &str,
        environ: &Object<'py>,
        arguments: &[&[u8]],
    ) -> Result<'py, Option<Object<'py>>> {
        let py = self.py;
        let Some(function) = globals.get_item(&environ::key(py, self.record, name.as_bytes())?)? else {
            return Ok(None);
        };
        let texts: Vec<Object<'py>> = arguments
            .iter()
            .map(|text| py.latin1(text))
            .collect::<Result<'py, _>>()?;
        let all: Vec<&Object<'py>> = std::iter::once(environ).chain(&texts).collect();
        function.call(&all).map(Some)
    }

    fn unusable(&mut self, name: &str, result: &Object<'py>, wanted: &str) -> Answer {
        let text = format!(
            "WSGI0432: {}{name}() returned a value of type {} that is of no use here; it must return {wanted}",
            self.live.prefix(),
            result.type_name()
        );
        self.notes.push((Level::Error, text));
        Answer::Failed
    }

    fn failed(&mut self, place: Place, error: Error<'py>) -> Answer {
        self.notes
            .extend(report(self.py, self.record, self.hook.source.path, place, error).0);
        Answer::Failed
    }
}

/// What `True`, `False` and `None` themselves say, which no value that merely counts as one of them does.
fn plain<'py>(py: Python<'py>, result: &Object<'py>) -> Option<Answer> {
    if result.is(&py.boolean(true)) {
        Some(Answer::Yes)
    } else if result.is(&py.boolean(false)) {
        Some(Answer::No)
    } else {
        result.is_none().then_some(Answer::Nothing)
    }
}

/// The bytes of a `str` (as Latin-1) or `bytes` without a NUL, which httpd would cut it at.
fn text(value: &Object<'_>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match value.as_bytes() {
        Some(value) => bytes.extend_from_slice(value),
        None => value.latin1_into(&mut bytes).ok()?,
    }
    (!bytes.contains(&0)).then_some(bytes)
}

/// The items of an iterable; `None` if one is no name.
fn names<'py>(iterable: &Object<'py>) -> Result<'py, Option<Vec<Vec<u8>>>> {
    let iterator = match iterable.iterator() {
        Ok(iterator) => iterator,
        Err(error) if error.is(Kind::Type) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    while let Some(item) = iterator.next_item()? {
        match text(&item) {
            Some(name) => names.push(name),
            None => return Ok(None),
        }
    }
    Ok(Some(names))
}
