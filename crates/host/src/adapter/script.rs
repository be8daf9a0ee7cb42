//! Script files: loaded as modules, one copy per interpreter, loaded anew when they have changed.

use wsgi_core::abi::Level;

use super::exchange::{LogRecord, Lossy};
use super::failure::{Place, report};
use super::record::Record;
use crate::python::{Error, Kept, Object, Python};

/// A script file that is to be there as a module.
#[derive(Clone, Copy)]
pub struct Source<'r> {
    /// Path of the file.
    pub path: &'r [u8],
    /// Its modification time in µs since the epoch; negative: unknown.
    pub mtime: i64,
    /// When it is loaded anew.
    pub reload: Reload<'r>,
}

/// When a script is loaded anew that has been loaded before.
#[derive(Clone, Copy)]
pub enum Reload<'r> {
    /// Not at all.
    Never,
    /// When its file has changed.
    Changed,
    /// Then, and when its function `reload_required` says so. These are the entries of the request's environ: the function
    /// gets the file that the server mapped the request to.
    Asked(&'r [(&'r [u8], &'r [u8])]),
}

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

/// The namespace of a script, loaded if need be. `notes` gets what is to be logged.
pub fn load<'py>(
    py: Python<'py>,
    record: &Record,
    source: Source<'_>,
    notes: &mut Vec<LogRecord>,
) -> std::result::Result<Object<'py>, Failure<'py>> {
    let old = use_loaded(py, record, source);
    if let Some((_, dict)) = &old
        && !(has_changed(py, record, source, dict, notes) && reloads(record, source))
    {
        return Ok(dict.clone());
    }
    // One thread of the process loads; the others wait for it, detached, and then share what it loaded.
    let _gate = py.detach(|| record.loading().enter());
    if let Some((new, dict)) = use_loaded(py, record, source)
        && old.is_none_or(|(old, _)| !new.is(&old))
    {
        return Ok(dict);
    }
    let dict = execute(py, record, source)?;
    use_loaded(py, record, source);
    Ok(dict)
}

/// Loads a script that is not there yet, with no request asking for it.
pub fn preload<'py>(py: Python<'py>, record: &Record, source: Source<'_>) -> std::result::Result<(), Failure<'py>> {
    let _gate = py.detach(|| record.loading().enter());
    let key = record.script_key(source.path);
    if record.scripts.with(py, |scripts| scripts.contains_key(&key[..])) {
        return Ok(());
    }
    execute(py, record, source).map(drop)
}

/// Module and namespace of the script as it is loaded now, for a request to use.
fn use_loaded<'py>(py: Python<'py>, record: &Record, source: Source<'_>) -> Option<(Object<'py>, Object<'py>)> {
    let key = record.script_key(source.path);
    let (used, found) = record.scripts.with(py, |scripts| {
        let script = scripts.get_mut(&key[..])?;
        let used = std::mem::replace(&mut script.used, true);
        Some((used, (script.module.get(py).clone(), script.dict.get(py).clone())))
    })?;
    if !used && let Some(watch) = &record.server.scripts {
        watch.used(source.path, &record.name);
    }
    Some(found)
}

/// Whether a changed script is loaded anew in this process. If not, its old code goes on until the process is replaced.
fn reloads(record: &Record, source: Source<'_>) -> bool {
    match &record.server.scripts {
        Some(watch) => {
            watch.changed(source.path, source.mtime);
            false
        }
        None => true,
    }
}

fn has_changed<'py>(
    py: Python<'py>,
    record: &Record,
    source: Source<'_>,
    dict: &Object<'py>,
    notes: &mut Vec<LogRecord>,
) -> bool {
    let variables = match source.reload {
        Reload::Never => return false,
        Reload::Changed => None,
        Reload::Asked(variables) => Some(variables),
    };
    let names = &record.names;
    let Ok(Some(mtime)) = dict.get_item(names.mtime.get(py)) else {
        return true;
    };
    if source.mtime >= 0 && mtime.as_int() != Some(source.mtime) {
        return true;
    }
    let Some(variables) = variables else { return false };
    let Ok(Some(required)) = dict.get_item(names.reload_required.get(py)) else {
        return false;
    };
    let mapped = variables.iter().rev().find(|(name, _)| *name == b"SCRIPT_FILENAME");
    let answer = py
        .path(mapped.map_or(source.path, |(_, path)| *path))
        .and_then(|path| required.call(&[&path])?.is_true());
    answer.unwrap_or_else(|error| {
        notes.extend(report(py, record, source.path, Place::ReloadRequired, error).0);
        false
    })
}

fn execute<'py>(
    py: Python<'py>,
    record: &Record,
    source: Source<'_>,
) -> std::result::Result<Object<'py>, Failure<'py>> {
    // The old module goes first: a script that fails to load is tried again by the next request.
    let key = record.script_key(source.path);
    let old = record.scripts.with(py, |scripts| scripts.remove(&key[..]));
    drop(old);
    let (path, mtime) = (py.path(source.path)?, py.int(source.mtime)?);
    let module = record.functions.load.get(py).call(&[&path, &mtime, &py.path(&key)?])?;
    let Some(dict) = module.module_dict() else {
        return Err(unreadable(source, &module));
    };
    let script = Script {
        module: module.keep(),
        dict: dict.clone().keep(),
        used: false,
    };
    let old = record.scripts.with(py, |scripts| scripts.insert(key.into(), script));
    drop(old);
    if let Some(watch) = &record.server.scripts {
        watch.loaded();
    }
    Ok(dict)
}

fn unreadable<'py>(source: Source<'_>, result: &Object<'py>) -> Failure<'py> {
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
        Lossy(source.path)
    );
    Failure::Unreadable((Level::Error, text), if forbidden { 403 } else { 500 })
}
