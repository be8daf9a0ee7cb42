//! Script files: loaded as modules, one copy per interpreter, loaded anew when they have changed.

use super::exchange::LogRecord;
use super::failure::{Place, report};
use super::record::Record;
use super::request::Request;
use crate::python::{Error, Kept, Object, Python, Result};

/// A script that has been loaded into an interpreter.
pub struct Script {
    /// The module.
    module: Kept,
    /// Its `__dict__`.
    dict: Kept,
}

/// What came of asking for a script's module.
pub enum Loaded<'py> {
    /// It is there, with its `__dict__`.
    Ready(Object<'py>),
    /// It cannot be loaded.
    Failed(Error<'py>),
}

/// The namespace of the request's script, loaded if need be. `notes` gets what is to be logged.
pub fn load<'py>(py: Python<'py>, record: &Record, request: &Request<'_>, notes: &mut Vec<LogRecord>) -> Loaded<'py> {
    if let Some(dict) = current(py, record, request, notes) {
        return Loaded::Ready(dict);
    }
    // One thread of the process loads; the others wait for it, detached, and then share what it loaded.
    let _gate = py.detach(|| record.loading().enter());
    if let Some(dict) = current(py, record, request, notes) {
        return Loaded::Ready(dict);
    }
    match execute(py, record, request) {
        Ok(dict) => Loaded::Ready(dict),
        Err(error) => Loaded::Failed(error),
    }
}

/// The namespace of the script if it is loaded and needs no loading anew.
fn current<'py>(
    py: Python<'py>,
    record: &Record,
    request: &Request<'_>,
    notes: &mut Vec<LogRecord>,
) -> Option<Object<'py>> {
    let (module, dict) = record.scripts.with(py, |scripts| {
        let script = scripts.get(request.script)?;
        Some((script.module.get(py).clone(), script.dict.get(py).clone()))
    })?;
    let changed = request.reloading && has_changed(py, record, request, &dict, notes);
    drop(module);
    if changed { None } else { Some(dict) }
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

fn execute<'py>(py: Python<'py>, record: &Record, request: &Request<'_>) -> Result<'py, Object<'py>> {
    // The old module goes first: a script that fails to load is tried again by the next request.
    let old = record.scripts.with(py, |scripts| scripts.remove(request.script));
    drop(old);
    let arguments = [py.path(request.script)?, py.int(request.script_mtime)?];
    let module = record.functions.load.get(py).call(&[&arguments[0], &arguments[1]])?;
    let dict = module.module_dict().unwrap_or(py.dict()?);
    let script = Script {
        module: module.keep(),
        dict: dict.clone().keep(),
    };
    record
        .scripts
        .with(py, |scripts| scripts.insert(request.script.into(), script));
    Ok(dict)
}
