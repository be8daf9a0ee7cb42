//! Script files: loaded as modules, one copy per interpreter, loaded anew when they have changed.

use wsgi_core::abi::Level;

use super::exchange::{LogRecord, Lossy};
use super::failure::{Place, report};
use super::record::Record;
use super::request::Request;
use crate::python::{Error, Kept, Object, Python};

/// A script that has been loaded into an interpreter.
pub struct Script {
    /// The module.
    module: Kept,
    /// Its `__dict__`.
    dict: Kept,
    /// A request has used it.
    used: bool,
}

/// Why there is no module.
pub enum Failure<'py> {
    /// The file cannot be read; a record says so. The status is for the client.
    Unreadable(LogRecord, u16),
    /// Executing it ended with an exception.
    Exception(Error<'py>),
}

impl<'py> From<Error<'py>> for Failure<'py> {
    fn from(error: Error<'py>) -> Failure<'py> {
        Failure::Exception(error)
    }
}

/// The namespace of the request's script, loaded if need be. `notes` gets what is to be logged.
pub fn load<'py>(
    py: Python<'py>,
    record: &Record,
    request: &Request<'_>,
    notes: &mut Vec<LogRecord>,
) -> std::result::Result<Object<'py>, Failure<'py>> {
    let old = use_loaded(py, record, request);
    if let Some((_, dict)) = &old
        && !(request.reloading && has_changed(py, record, request, dict, notes) && reloads(record, request))
    {
        return Ok(dict.clone());
    }
    // One thread of the process loads; the others wait for it, detached, and then share what it loaded.
    let _gate = py.detach(|| record.loading().enter());
    if let Some((new, dict)) = use_loaded(py, record, request)
        && old.is_none_or(|(old, _)| !new.is(&old))
    {
        return Ok(dict);
    }
    let dict = execute(py, record, request)?;
    use_loaded(py, record, request);
    Ok(dict)
}

/// Loads a script that is not there yet, with no request asking for it.
pub fn preload<'py>(py: Python<'py>, record: &Record, request: &Request<'_>) -> std::result::Result<(), Failure<'py>> {
    let _gate = py.detach(|| record.loading().enter());
    if record.scripts.with(py, |scripts| scripts.contains_key(request.script)) {
        return Ok(());
    }
    execute(py, record, request).map(drop)
}

/// Module and namespace of the script as it is loaded now, for a request to use.
fn use_loaded<'py>(py: Python<'py>, record: &Record, request: &Request<'_>) -> Option<(Object<'py>, Object<'py>)> {
    let (used, found) = record.scripts.with(py, |scripts| {
        let script = scripts.get_mut(request.script)?;
        let used = std::mem::replace(&mut script.used, true);
        Some((used, (script.module.get(py).clone(), script.dict.get(py).clone())))
    })?;
    if !used && let Some(watch) = &record.server.scripts {
        watch.used(request.script, &record.application_group);
    }
    Some(found)
}

/// Whether a changed script is loaded anew in this process. If not, its old code goes on until the process is replaced.
fn reloads(record: &Record, request: &Request<'_>) -> bool {
    match &record.server.scripts {
        Some(watch) => {
            watch.changed(request.script, request.script_mtime);
            false
        }
        None => true,
    }
}

fn has_changed<'py>(
    py: Python<'py>,
    record: &Record,
    request: &Request<'_>,
    dict: &Object<'py>,
    notes: &mut Vec<LogRecord>,
) -> bool {
    let names = &record.names;
    let Ok(Some(mtime)) = dict.get_item(names.mtime.get(py)) else {
        return true;
    };
    if request.script_mtime >= 0 && mtime.as_int() != Some(request.script_mtime) {
        return true;
    }
    let Ok(Some(required)) = dict.get_item(names.reload_required.get(py)) else {
        return false;
    };
    let answer = py
        .path(request.script)
        .and_then(|path| required.call(&[&path])?.is_true());
    answer.unwrap_or_else(|error| {
        notes.extend(report(py, record, request.script, Place::ReloadRequired, error).0);
        false
    })
}

fn execute<'py>(
    py: Python<'py>,
    record: &Record,
    request: &Request<'_>,
) -> std::result::Result<Object<'py>, Failure<'py>> {
    // The old module goes first: a script that fails to load is tried again by the next request.
    let old = record.scripts.with(py, |scripts| scripts.remove(request.script));
    drop(old);
    let (path, mtime) = (py.path(request.script)?, py.int(request.script_mtime)?);
    let module = record.functions.load.get(py).call(&[&path, &mtime])?;
    let Some(dict) = module.module_dict() else {
        return Err(unreadable(request, &module));
    };
    let script = Script {
        module: module.keep(),
        dict: dict.clone().keep(),
        used: false,
    };
    let old = record
        .scripts
        .with(py, |scripts| scripts.insert(request.script.into(), script));
    drop(old);
    if let Some(watch) = &record.server.scripts {
        watch.loaded();
    }
    Ok(dict)
}

fn unreadable<'py>(request: &Request<'_>, result: &Object<'py>) -> Failure<'py> {
    let reason = result.item(0).map_or_else(String::new, |reason| reason.to_text());
    let forbidden = result
        .item(1)
        .is_some_and(|forbidden| matches!(forbidden.is_true(), Ok(true)));
    let advice = if forbidden {
        ": the user that the server's processes run as needs permission to read it, and to search its folders"
    } else {
        ""
    };
    let text = format!(
        "WSGI0412: [script {}] cannot be read: {reason}{advice}",
        Lossy(request.script)
    );
    Failure::Unreadable((Level::Error, text), if forbidden { 403 } else { 500 })
}
