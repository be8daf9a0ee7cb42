//! `mod_ssl.is_https` and `mod_ssl.var_lookup` in the environ of hooks.

use std::ffi::CStr;
use std::sync::Arc;

use super::live::Live;
use crate::python::{Class, Error, Kind, Members, Object, Python, Result};

/// The object whose methods they are.
pub struct Tls(Arc<Live>);

impl Tls {
    /// For the hook of that request.
    pub fn new(live: Arc<Live>) -> Tls {
        Tls(live)
    }
}

impl Class for Tls {
    const NAME: &'static CStr = c"mod_wsgi.Tls";
    const DOC: &'static CStr = c"What mod_ssl knows about a request, as long as a hook is asked about it.";

    fn members(members: &mut Members<Tls>) {
        members
            .method(
                c"is_https",
                c"is_https() -> 1 if the connection is encrypted, else 0",
                is_https,
            )
            .method(
                c"var_lookup",
                c"var_lookup(name) -> value of that variable of mod_ssl's, or None",
                var_lookup,
            );
    }
}

fn is_https<'py>(this: &Tls, me: &Object<'py>, arguments: &[Object<'py>]) -> Result<'py, Object<'py>> {
    let py = me.py();
    if !arguments.is_empty() {
        return Err(Error::new(py, Kind::Type, "is_https() takes no arguments"));
    }
    let encrypted = py.detach(|| this.0.with(|open| open.exchange.is_tls()));
    py.int(encrypted.ok_or_else(|| expired(py))?.into())
}

fn var_lookup<'py>(this: &Tls, me: &Object<'py>, arguments: &[Object<'py>]) -> Result<'py, Object<'py>> {
    let py = me.py();
    let [name] = arguments else {
        return Err(Error::new(py, Kind::Type, "var_lookup() takes exactly one argument"));
    };
    let mut bytes = Vec::new();
    match name.as_bytes() {
        Some(name) => bytes.extend_from_slice(name),
        None => name.latin1_into(&mut bytes)?,
    }
    let value = py.detach(|| this.0.with(|open| open.exchange.tls_variable(&bytes)));
    match value.ok_or_else(|| expired(py))? {
        Some(value) => py.latin1(&value),
        None => Ok(py.none()),
    }
}

fn expired(py: Python<'_>) -> Error<'_> {
    Error::new(
        py,
        Kind::Runtime,
        "mod_ssl was asked after the hook that it was asked for had ended",
    )
}
