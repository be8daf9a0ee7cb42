//! What the log says about an exception that came out of the application's code.

use wsgi_core::abi::Level;

use super::exchange::{LogRecord, Lossy};
use super::record::Record;
use crate::python::{Error, Kind, Object, Python};

/// Where the exception came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Executing the script file.
    Loading,
    /// `reload_required` of the script.
    ReloadRequired,
    /// The call of the application, or the iteration of its result.
    Application,
    /// `close()` of its result.
    Close,
    /// That function of a script, which httpd asks about a request.
    Hook(&'static str),
    /// A callback that was told of its end.
    Event,
}

impl Place {
    fn code(self) -> &'static str {
        match self {
            Place::Loading => "WSGI0401",
            Place::Application => "WSGI0402",
            Place::Close => "WSGI0403",
            Place::Event => "WSGI0443",
            Place::ReloadRequired => "WSGI0411",
            Place::Hook(_) => "WSGI0430",
        }
    }

    fn text(self) -> String {
        match self {
            Place::Loading => "while loading the script".into(),
            Place::ReloadRequired => "in reload_required() of the script".into(),
            Place::Application => "in the application".into(),
            Place::Close => "in close() of the response".into(),
            Place::Hook(name) => format!("in {name}() of the script"),
            Place::Event => "in a callback for request_finished".into(),
        }
    }
}

/// The exception as log records, and the status for a client that got nothing yet.
pub fn report<'py>(
    py: Python<'py>,
    record: &Record,
    script: &[u8],
    place: Place,
    error: Error<'py>,
) -> (Vec<LogRecord>, u16) {
    let prefix = format!("[script {}] ", Lossy(script));
    let whereabouts = record.whereabouts();
    let overdue = error.is_a(record.request_timeout.get(py));
    let exits = error.is(Kind::SystemExit);
    let parts = error.into_exc_info(py);
    if record.events.wanted(py) {
        // The only exception that comes out of there is the one that ends this request anyway.
        drop(record.events.failed(py, &parts));
    }
    if overdue {
        let text = format!(
            "WSGI0406: {prefix}RequestTimeout ended the request {} ({whereabouts})",
            place.text()
        );
        return (vec![(Level::Info, text)], 504);
    }
    let ignored = if exits {
        "; it is ignored, the process goes on"
    } else {
        ""
    };
    let head = format!(
        "{}: {prefix}exception {} {} ({whereabouts}){ignored}",
        place.code(),
        class_name(&parts[0]),
        place.text(),
    );
    let lines = format(record, &parts);
    let hint = if record.is_main() {
        None
    } else {
        subinterpreter_hint(&lines)
    };
    // One text, so that its lines stay together.
    let mut records = vec![(Level::Error, [head, lines.join("\n")].join("\n"))];
    if let Some(reason) = hint {
        let text = format!(
            "WSGI0408: {prefix}a C extension that this application imports does not work in a second interpreter of a \
             process (\"{reason}\"): set WSGIApplicationGroup %{{GLOBAL}} for it, so that it runs in the main interpreter"
        );
        records.push((Level::Error, text));
    }
    (records, 500)
}

/// The exception in one line, for failures outside of any request.
pub fn text_of(error: Error<'_>, py: Python<'_>) -> String {
    let parts = error.into_exc_info(py);
    format!("{}: {}", class_name(&parts[0]), parts[1].to_text())
}

fn class_name(class: &Object<'_>) -> String {
    let name = class.py().text("__name__").and_then(|name| class.attribute(&name));
    name.map_or_else(|_| String::from("of an unknown type"), |name| name.to_text())
}

/// The lines of the traceback.
fn format<'py>(record: &Record, parts: &[Object<'py>; 3]) -> Vec<String> {
    let [class, value, traceback] = parts;
    let py = class.py();
    match record
        .functions
        .format_exception
        .get(py)
        .call(&[class, value, traceback])
    {
        Ok(lines) => (0..lines.length())
            .filter_map(|index| Some(lines.item(index)?.to_text()))
            .collect(),
        Err(error) => {
            let name = class_name(class);
            let reason = text_of(error, py);
            vec![format!("{name}: {} (no traceback: {reason})", value.to_text())]
        }
    }
}

/// What C extensions say that refuse to be loaded a second time in a process.
fn subinterpreter_hint(lines: &[String]) -> Option<&'static str> {
    const REASONS: [&str; 7] = [
        "does not support loading in subinterpreters",
        "Interpreter change detected",
        "cannot load module more than once per process",
        "may only be initialized once per interpreter process",
        "Multiple interpreters not supported",
        "subinterpreters are not supported",
        "does not yet support subinterpreters",
    ];
    REASONS
        .into_iter()
        .find(|reason| lines.iter().any(|line| line.contains(reason)))
}
