//! What applications import: the modules `mod_wsgi` and `apache`, and the preparation of a new interpreter.

use std::ffi::CStr;
use std::sync::Arc;

use crate::adapter::{Record, Server, Stream, version};
use crate::python::{Fork, Object, Python, Result, Type};

/// The `mod_wsgi` module.
const MOD_WSGI: &CStr = source(concat!(include_str!("mod_wsgi.py"), "\0"));
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
    /// Directories for the front of `sys.path`, separated by `:`.
    pub path: Vec<u8>,
    /// `maximum_processes`
    pub maximum_processes: u32,
    /// `threads_per_process`
    pub threads_per_process: u32,
}

/// Prepares the interpreter that the thread is attached to: its `sys`, the two modules, its record. `main_thread` is the
/// number of the process's main thread, as the preparation of the main interpreter returned it; 0 for that one.
pub fn install<'py>(
    py: Python<'py>,
    server: Arc<Server>,
    settings: &Settings,
    application_group: &str,
    main_thread: i64,
) -> Result<'py, (Record, i64)> {
    let functions = py.execute(HOST, c"_mod_wsgi_host")?;
    let mod_wsgi = py.execute(MOD_WSGI, c"mod_wsgi")?;
    let record = Record::new(py, server, application_group, &functions, &mod_wsgi)?;

    let apache_version = version(py, record.server.apache_version.map(i64::from))?;
    let (major, minor, micro) = wsgi_core::API_VERSION;
    let set = |module: &Object<'py>, name: &str, value: &Object<'py>| module.set_attribute(&py.interned(name)?, value);

    set(&mod_wsgi, "version", &version(py, [major, minor, micro])?)?;
    set(&mod_wsgi, "process_group", &py.text(&record.server.process_group)?)?;
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

    let entries = settings.path.split(|b| *b == b':').filter(|entry| !entry.is_empty());
    let entries = py.list(&entries.map(|entry| py.path(entry)).collect::<Result<'py, Vec<_>>>()?)?;
    let stdout = record.process_log(py, Stream::Stdout)?;
    let stderr = record.process_log(py, Stream::Stderr)?;
    let prepare = functions.attribute(&py.text("prepare")?)?;
    let main_thread = prepare.call(&[&stdout, &stderr, &entries, &mod_wsgi, &apache, &py.int(main_thread)?])?;
    let fork = Type::new(py)?.instance(py, Fork::watch())?;
    functions.attribute(&py.text("watch_forks")?)?.call(&[&fork])?;
    Ok((record, main_thread.as_int().unwrap_or(0)))
}

/// Corrects `os.environ`, which Python filled while it started.
pub fn correct_environment<'py>(
    py: Python<'py>,
    record: &Record,
    variables: &[(&'static str, Option<Vec<u8>>)],
) -> Result<'py, ()> {
    for (name, value) in variables {
        let value = value.as_ref().map_or(Ok(py.none()), |value| py.path(value))?;
        record
            .functions
            .correct_environment
            .get(py)
            .call(&[&py.text(name)?, &value])?;
    }
    Ok(())
}
