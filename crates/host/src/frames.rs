//! The Python stacks of threads, as text, taken while they run. Waits for Python's lock.

use std::ffi::CStr;
use std::sync::Arc;

use wsgi_core::stats::reading::{Running, thread};

use crate::adapter::exchange::Lossy;
use crate::adapter::{Live, text_of_error};
use crate::host::Host;
use crate::python::{Object, Python, Result};
use crate::stats::micros;

/// Python functions.
const SOURCE: &CStr = match CStr::from_bytes_with_nul(concat!(include_str!("frames.py"), "\0").as_bytes()) {
    Ok(source) => source,
    Err(_) => panic!("frames.py holds a NUL"),
};

/// What a thread is doing.
pub struct OfThread {
    /// The request that it runs.
    pub live: Arc<Live>,
    /// Its stack; none if it runs no Python code for it at the moment.
    pub stack: Option<String>,
}

/// What the thread that CPython knows by that number is doing for the application; `None` when that is nothing, or when
/// `still` says, with Python stopped, that it is not wanted any more.
pub fn of_thread(host: &Host, python: u64, still: impl Fn() -> bool) -> Option<OfThread> {
    let mut found = None;
    host.each(|_, events, py| {
        let Some(live) = events.running_in(py, python).filter(|_| found.is_none() && still()) else {
            return;
        };
        let stack = || {
            let ident = py.int(i64::try_from(python).unwrap_or(-1))?;
            let stack = function(py, "of_thread")?.call(&[&ident])?;
            Ok((!stack.is_none()).then(|| stack.to_text()))
        };
        let stack = stack().unwrap_or_else(|error| Some(text_of_error(error, py)));
        found = Some(OfThread { live, stack });
    });
    found
}

/// The stacks of all threads in all interpreters, with the requests that they run.
pub fn of_all(host: &Host) -> String {
    let mut groups = Vec::new();
    let mut threads: Vec<Shown> = Vec::new();
    host.each(|name, events, py| {
        let group = groups.len();
        groups.push(match name {
            [] => "main interpreter".to_owned(),
            name => format!("application group {}", Lossy(name)),
        });
        // Python tells each interpreter of the threads of all of them.
        for Told { ident, name, text } in of_interpreter(host, py) {
            let runs = u64::try_from(ident).is_ok_and(|ident| events.running_in(py, ident).is_some());
            let belongs = u8::from(!name.is_empty()) + 2 * u8::from(runs);
            let shown = Shown {
                ident,
                group,
                belongs,
                text,
            };
            match threads.iter_mut().find(|known| known.ident == ident) {
                Some(known) if known.belongs < belongs => *known = shown,
                Some(_) => {}
                None => threads.push(shown),
            }
        }
    });
    let mut text = String::new();
    for (at, group) in groups.iter().enumerate() {
        let mut own = threads.iter().filter(|thread| thread.group == at).peekable();
        if own.peek().is_some() {
            text += &format!("{group}\n");
            text.extend(own.map(|thread| &thread.text[..]));
        }
    }
    if text.is_empty() {
        text += "no thread runs Python\n";
    }
    text
}

/// A thread among those of the interpreter that it belongs to most: that of its request, or else that which knows it by
/// name, or else the first.
struct Shown {
    ident: i64,
    group: usize,
    belongs: u8,
    text: String,
}

/// A thread as an interpreter tells of it.
struct Told {
    ident: i64,
    name: String,
    text: String,
}

/// The same of one application group; empty if it runs nothing.
pub fn of_group(host: &Host, application_group: &[u8]) -> String {
    host.attach(application_group, |py| {
        of_interpreter(host, py).into_iter().map(|thread| thread.text).collect()
    })
    .unwrap_or_default()
}

fn of_interpreter(host: &Host, py: Python<'_>) -> Vec<Told> {
    let now = micros();
    let slots = host.stats().page.slots();
    let running: Vec<Running> = slots.filter_map(|slot| thread(&slot.copy()).running).collect();
    let threads = || {
        let list = function(py, "of_all")?.call(&[])?;
        let threads = (0..list.length()).filter_map(|at| list.item(at));
        Ok(threads.filter_map(|entry| describe(&entry, &running, now)).collect())
    };
    threads().unwrap_or_else(|error| {
        vec![Told {
            ident: 0,
            name: String::new(),
            text: text_of_error(error, py) + "\n",
        }]
    })
}

fn describe(entry: &Object<'_>, running: &[Running], now: u64) -> Option<Told> {
    let (ident, name, stack) = (
        entry.item(0)?.as_int()?,
        entry.item(1)?.to_text(),
        entry.item(2)?.to_text(),
    );
    let request = running
        .iter()
        .find(|running| i64::try_from(running.python) == Ok(ident));
    let request = request.map_or_else(String::new, |running| {
        let seconds = now.saturating_sub(running.since) as f64 / 1e6;
        format!(": {}, for {seconds:.1} s", running.text)
    });
    let shown = if name.is_empty() {
        format!("{ident}")
    } else {
        name.clone()
    };
    let text = format!("thread {shown}{request}\n{stack}");
    Some(Told { ident, name, text })
}

fn function<'py>(py: Python<'py>, name: &str) -> Result<'py, Object<'py>> {
    py.execute(SOURCE, c"_mod_wsgi_frames")?.attribute(&py.text(name)?)
}
