//! What applications import: the modules `mod_wsgi` and `apache`, and the preparation of a new interpreter.

mod counters;
mod here;

use std::ffi::CStr;
use std::sync::Arc;

use wsgi_core::abi::Level;
use wsgi_core::interpreter::Plan;

use self::here::Here;
use crate::adapter::{Record, Server, Stream, version};
use crate::environment::Value;
use crate::python::{Fork, Object, Python, Result, Type};

/// The `mod_wsgi` module.
const MOD_WSGI: &CStr = source(concat!(include_str!("mod_wsgi.py"), "\0"));
/// Events.
const EVENTS: &CStr = source(concat!(include_str!("events.py"), "\0"));
/// Metrics.
const METRICS: &CStr = source(concat!(include_str!("metrics.py"), "\0"));
/// Functions of the host that are plainer in Python than in Rust.
const HOST: &CStr = source(concat!(include_str!("host.py"), "\0"));

const fn source(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("a source file holds a NUL"),
    }
}

/// What the `apache` module tells.
pub struct Apache {
    /// `apache.description`
    pub description: String,
    /// `apache.mpm_name`
    pub mpm_name: String,
    /// `apache.build_date`
    pub build_date: String,
    /// `apache.maximum_processes`
    pub maximum_processes: u32,
    /// `apache.threads_per_process`
    pub threads_per_process: u32,
}

/// What the modules of this process tell.
pub struct Settings {
    /// Of httpd.
    pub apache: Apache,
    /// What holds for interpreters.
    pub plan: Plan,
    /// `maximum_processes`
    pub maximum_processes: u32,
    /// `threads_per_process`
    pub threads_per_process: u32,
}

impl Settings {
    /// Whether the interpreter of an application group gets a GIL of its own.
    pub fn own_gil(&self, application_group: &str) -> bool {
        !application_group.is_empty() && self.plan.options(application_group.as_bytes()).own_gil == Some(true)
    }
}

/// Prepares the interpreter that the thread is attached to: its `sys`, the two modules, its record. `main_thread` is the
/// number of the process's main thread, as the preparation of the main interpreter returned it; 0 for that one.
pub fn install<'py>(
    py: Python<'py>,
    server: Arc<Server>,
    settings: &Settings,
    name: &[u8],
    main_thread: i64,
) -> Result<'py, (Record, i64)> {
    let functions = py.execute(HOST, c"_mod_wsgi_host")?;
    let mod_wsgi = py.execute(MOD_WSGI, c"mod_wsgi")?;
    let events = py.execute(EVENTS, c"_mod_wsgi_events")?;
    let here_type = Type::new(py)?;
    let here = here_type.instance(py, Here::of(Arc::clone(&server)))?;
    let record = Record::new(py, server, name, &functions, &events, &mod_wsgi)?;
    if let Some(here) = here_type.inside(&here) {
        // It is new.
        let _ = here.events.set(Arc::downgrade(&record.events));
    }

    let apache_version = version(py, record.server.apache_version.map(i64::from))?;
    let (major, minor, micro) = wsgi_core::API_VERSION;
    let set = |module: &Object<'py>, name: &str, value: &Object<'py>| module.set_attribute(&py.interned(name)?, value);

    set(&mod_wsgi, "version", &version(py, [major, minor, micro])?)?;
    set(&mod_wsgi, "process_group", &py.text(&record.server.process_group)?)?;
    let application_group = &*record.application_group.clone();
    set(&mod_wsgi, "application_group", &py.text(application_group)?)?;
    set(
        &mod_wsgi,
        "maximum_processes",
        &py.int(settings.maximum_processes.into())?,
    )?;
    set(
        &mod_wsgi,
        "threads_per_process",
        &py.int(settings.threads_per_process.into())?,
    )?;

    set(&mod_wsgi, "_server", &here)?;
    set(&mod_wsgi, "_metrics", &py.execute(METRICS, c"_mod_wsgi_metrics")?)?;
    let refuse = events.attribute(&py.text("refuse_signals")?)?;
    set(&mod_wsgi, "_refuse_signals", &refuse)?;
    let format_exception = functions.attribute(&py.text("format_exception")?)?;
    events
        .attribute(&py.text("connect")?)?
        .call(&[&mod_wsgi, &here, &format_exception])?;

    let apache = py.module(c"apache")?;
    set(&apache, "version", &apache_version)?;
    set(
        &apache,
        "description",
        &py.latin1(settings.apache.description.as_bytes())?,
    )?;
    set(&apache, "mpm_name", &py.latin1(settings.apache.mpm_name.as_bytes())?)?;
    set(
        &apache,
        "build_date",
        &py.latin1(settings.apache.build_date.as_bytes())?,
    )?;
    set(
        &apache,
        "maximum_processes",
        &py.int(settings.apache.maximum_processes.into())?,
    )?;
    set(
        &apache,
        "threads_per_process",
        &py.int(settings.apache.threads_per_process.into())?,
    )?;

    let options = settings.plan.options(application_group.as_bytes());
    let own_gil = settings.own_gil(application_group);
    let interval = match (application_group, own_gil) {
        ("", _) => settings.plan.common().switch_interval,
        (_, true) => options.switch_interval,
        // It has the main interpreter's.
        (_, false) => None,
    };
    if !own_gil
        && settings
            .plan
            .particular(application_group.as_bytes())
            .switch_interval
            .is_some()
    {
        let text = format!(
            "WSGI0421: WSGISwitchInterval for application group \"{application_group}\" alone is ignored: its interpreter \
             shares the GIL with others; set it for the process group"
        );
        py.detach(|| record.server.log.log(Level::Warning, text.as_bytes()));
    }
    let restricted = [
        ("stdin", options.restrict_stdin.unwrap_or(false)),
        ("stdout", options.restrict_stdout.unwrap_or(false)),
        ("signal", options.restrict_signal.unwrap_or(true)),
    ];
    let restricted = restricted.iter().filter(|(_, restricted)| *restricted);
    let restricted = py.list(
        &restricted
            .map(|(name, _)| py.text(name))
            .collect::<Result<'py, Vec<_>>>()?,
    )?;
    let entries = options.path.split(|b| *b == b':').filter(|entry| !entry.is_empty());
    let entries = py.list(&entries.map(|entry| py.path(entry)).collect::<Result<'py, Vec<_>>>()?)?;
    let stdout = record.process_log(py, Stream::Stdout)?;
    let stderr = record.process_log(py, Stream::Stderr)?;
    let prepare = functions.attribute(&py.text("prepare")?)?;
    let modules = py.tuple(vec![mod_wsgi, apache])?;
    let main_thread = prepare.call(&[&stdout, &stderr, &entries, &modules, &here, &py.int(main_thread)?])?;
    let restrict = functions.attribute(&py.text("restrict")?)?;
    restrict.call(&[&restricted, &py.float(interval.unwrap_or(0.0))?, &here])?;
    let fork = Type::new(py)?.instance(py, Fork::watch())?;
    functions.attribute(&py.text("watch_forks")?)?.call(&[&fork])?;
    Ok((record, main_thread.as_int().unwrap_or(0)))
}

/// Corrects `os.environ`, which Python filled while it started.
pub fn correct_environment<'py>(py: Python<'py>, record: &Record, variables: &[Value]) -> Result<'py, ()> {
    for (name, value) in variables {
        let value = value.as_ref().map_or(Ok(py.none()), |value| py.path(value))?;
        record
            .functions
            .correct_environment
            .get(py)
            .call(&[&py.path(name)?, &value])?;
    }
    Ok(())
}
