//! Loading a script without a request: `WSGIImportScript`, and what a daemon loads before it serves.

use wsgi_core::abi::Level;

use super::exchange::{LogRecord, Lossy};
use super::failure::{Place, report};
use super::record::Record;
use super::script::{self, Failure, Reload, Source};
use crate::python::{Interpreter, Kind};

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is there.
    Loaded,
    /// It ended by `SystemExit`.
    Exited,
    /// It is not there; a record says why.
    Failed,
}

/// Loads the script at `path`. The records are to be logged.
pub fn import(interpreter: &Interpreter, record: &Record, path: &[u8]) -> (Imported, Vec<LogRecord>) {
    let source = Source {
        path,
        mtime: -1,
        reload: Reload::Never,
    };
    let mut notes = Vec::new();
    let imported = interpreter.attach(|py| match script::preload(py, record, source) {
        Ok(()) => {
            let text = format!("[script {}] loaded ({})", Lossy(path), record.whereabouts());
            notes.push((Level::Info, text));
            Imported::Loaded
        }
        Err(Failure::Unreadable(record, _)) => {
            notes.push(record);
            Imported::Failed
        }
        Err(Failure::Exception(error)) if error.is(Kind::SystemExit) => Imported::Exited,
        Err(Failure::Exception(error)) => {
            notes.extend(report(py, record, path, Place::Loading, error).0);
            Imported::Failed
        }
    });
    (imported, notes)
}
