//! The environ of a request (PEP 3333, "environ Variables"), made fast: from a template that holds what the requests of
//! a script have in common, with keys that are made once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{SystemTime, UNIX_EPOCH};

use super::events::seconds;
use super::record::Record;
use super::request::Request;
use crate::python::{Kept, Object, Python, Result, thread_number};

/// At most so many keys are remembered; clients choose the names of headers.
const MOST_KEYS: usize = 1000;
/// Values that are longer are not remembered.
const LONGEST_VALUE: usize = 1024;
/// After so many requests that a template did not fit it is made anew.
const PATIENCE: u32 = 8;

/// Keys that have been made before, by name.
#[derive(Default)]
pub struct Known(HashMap<Box<[u8]>, Kept, BuildHasherDefault<Fnv>>);

/// FNV-1a, a tenth of the standard hash's cost for such short names. That clients could make names collide does no
/// harm: there are [`MOST_KEYS`] at most.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// An environ as the last requests of a script had it.
pub struct Template {
    dict: Kept,
    slots: Vec<Slot>,
    callable_object: Box<[u8]>,
    misses: AtomicU32,
}

/// A variable that each of those requests had, with its value in `dict`.
struct Slot {
    name: Box<[u8]>,
    key: Kept,
    value: Box<[u8]>,
}

/// Seconds since the epoch, as `time.time()` has them.
pub fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// Makes the environ of a request whose application is called now. `input` and `errors` are the request's streams.
pub fn build<'py>(
    py: Python<'py>,
    record: &Record,
    request: &Request<'_>,
    application_start: f64,
    input: &Object<'py>,
    errors: &Object<'py>,
) -> Result<'py, Object<'py>> {
    let environ = match from_template(py, record, request)? {
        Some(environ) => environ,
        None => from_scratch(py, record, request)?,
    };
    let names = &record.names;
    if request.https {
        environ.set_item(names.url_scheme.get(py), names.https.get(py))?;
    }
    environ.set_item(names.input.get(py), input)?;
    environ.set_item(names.errors.get(py), errors)?;
    environ.set_item(names.thread_id.get(py), &py.int(thread_number())?)?;
    environ.set_item(names.request_start.get(py), &py.float(seconds(request.request_start))?)?;
    if request.daemon_start > 0 {
        environ.set_item(names.queue_start.get(py), &py.float(seconds(request.queue_start))?)?;
        environ.set_item(names.daemon_start.get(py), &py.float(seconds(request.daemon_start))?)?;
    }
    if request.request_rec != 0 {
        environ.set_item(&py.interned("apache.request_rec")?, &py.capsule(request.request_rec)?)?;
    }
    environ.set_item(names.application_start.get(py), &py.float(application_start)?)?;
    Ok(environ)
}

/// A copy of the script's template with what differs in this request; `None` if the request lacks something that the
/// template has, or there is none.
fn from_template<'py>(py: Python<'py>, record: &Record, request: &Request<'_>) -> Result<'py, Option<Object<'py>>> {
    let template = record
        .templates
        .with(py, |templates| templates.get(request.script).map(Arc::clone));
    let Some(template) = template else {
        return Ok(None);
    };
    let environ = template.dict.get(py).copy_dict()?;
    if *template.callable_object != *request.callable_object {
        environ.set_item(
            record.names.callable_object.get(py),
            &py.latin1(request.callable_object)?,
        )?;
    }
    let mut slots = template.slots.iter();
    let mut slot = slots.next();
    for (name, value) in &request.variables {
        match slot {
            Some(expected) if *expected.name == **name => {
                if *expected.value != **value {
                    environ.set_item(expected.key.get(py), &text(py, name, value)?)?;
                }
                slot = slots.next();
            }
            _ if is_typed(name) => {}
            _ if !is_header(name) && template.slots.iter().any(|slot| *slot.name == **name) => {
                return Ok(missed(py, record, request, &template));
            }
            _ => environ.set_item(&key(py, record, name)?, &text(py, name, value)?)?,
        }
    }
    if slot.is_some() {
        return Ok(missed(py, record, request, &template));
    }
    Ok(Some(environ))
}

fn missed<'py>(py: Python<'py>, record: &Record, request: &Request<'_>, template: &Template) -> Option<Object<'py>> {
    use std::sync::atomic::Ordering::Relaxed;
    if template.misses.fetch_add(1, Relaxed) >= PATIENCE {
        let old = record.templates.with(py, |templates| templates.remove(request.script));
        drop(old);
    }
    None
}

/// The environ without a template; leaves one behind for the next request.
fn from_scratch<'py>(py: Python<'py>, record: &Record, request: &Request<'_>) -> Result<'py, Object<'py>> {
    let environ = record.base.get(py).copy_dict()?;
    environ.set_item(
        record.names.callable_object.get(py),
        &py.latin1(request.callable_object)?,
    )?;
    let learn = record
        .templates
        .with(py, |templates| !templates.contains_key(request.script));
    if !learn {
        for (name, value) in &request.variables {
            if !is_typed(name) {
                environ.set_item(&key(py, record, name)?, &text(py, name, value)?)?;
            }
        }
        return Ok(environ);
    }
    // First what is likely to come again: all but what the client chooses to send.
    let variables = &request.variables;
    let mut slots = Vec::new();
    for (name, value) in variables {
        let once = variables.iter().filter(|(other, _)| other == name).count() == 1;
        if once && !is_typed(name) && !is_header(name) && value.len() <= LONGEST_VALUE {
            let key = key(py, record, name)?;
            environ.set_item(&key, &text(py, name, value)?)?;
            slots.push(Slot {
                name: (*name).into(),
                key: key.keep(),
                value: (*value).into(),
            });
        }
    }
    let template = Arc::new(Template {
        dict: environ.copy_dict()?.keep(),
        slots,
        callable_object: request.callable_object.into(),
        misses: AtomicU32::new(0),
    });
    for (name, value) in variables {
        if !is_typed(name) {
            environ.set_item(&key(py, record, name)?, &text(py, name, value)?)?;
        }
    }
    let old = record
        .templates
        .with(py, |templates| templates.insert(request.script.into(), template));
    drop(old);
    Ok(environ)
}

/// Entries of this kind are ours alone, whatever the configuration sets.
fn is_typed(name: &[u8]) -> bool {
    name.starts_with(b"wsgi.")
}

fn is_header(name: &[u8]) -> bool {
    name.starts_with(b"HTTP_") || name.starts_with(b"CONTENT_")
}

/// The value of an entry of that name.
pub fn text<'py>(py: Python<'py>, name: &[u8], value: &[u8]) -> Result<'py, Object<'py>> {
    match name {
        b"SCRIPT_FILENAME" | b"DOCUMENT_ROOT" => py.path(value),
        _ => py.latin1(value),
    }
}

/// The key of this name, or any other `str` that comes again.
pub fn key<'py>(py: Python<'py>, record: &Record, name: &[u8]) -> Result<'py, Object<'py>> {
    let known = record
        .known
        .with(py, |known| known.0.get(name).map(|key| key.get(py).clone()));
    if let Some(key) = known {
        return Ok(key);
    }
    let key = py.latin1(name)?;
    let kept = key.clone().keep();
    let left = record.known.with(py, |known| {
        if known.0.len() < MOST_KEYS {
            known.0.insert(name.into(), kept)
        } else {
            Some(kept)
        }
    });
    drop(left);
    Ok(key)
}
