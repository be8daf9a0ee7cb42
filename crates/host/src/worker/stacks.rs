//! The stacks of Python's threads, written to standard error by CPython's `faulthandler`, which needs no lock for it.

use std::ffi::CStr;
use std::time::Duration;

use wsgi_core::abi::Level;

use crate::adapter::exchange::ServerLog;
use crate::adapter::text_of_error;
use crate::host::Host;

/// Python functions.
const SOURCE: &CStr = match CStr::from_bytes_with_nul(concat!(include_str!("stacks.py"), "\0").as_bytes()) {
    Ok(source) => source,
    Err(_) => panic!("stacks.py holds a NUL"),
};

/// When they are to be written.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Now.
    Now,
    /// After that time, unless something else is said before. There is one such order in a process.
    Later(Duration),
    /// Not, whatever was said before.
    Never,
}

/// Orders the stacks of the threads of one application group. Waits for Python's lock; then `still` says whether that is
/// still wanted.
pub fn write(host: &Host, log: &dyn ServerLog, application_group: &[u8], when: When, still: impl FnOnce() -> bool) {
    let result = host.attach(application_group, |py| {
        if !still() {
            return Ok(());
        }
        let order = || {
            let module = py.execute(SOURCE, c"_mod_wsgi_stacks")?;
            let function = |name| module.attribute(&py.text(name)?);
            let standard_error = py.int(2)?;
            match when {
                When::Now => function("now")?.call(&[&standard_error]),
                When::Later(limit) => {
                    let (limit, repeat) = (py.float(limit.as_secs_f64())?, py.boolean(false));
                    function("later")?.call(&[&limit, &repeat, &standard_error])
                }
                When::Never => function("never")?.call(&[]),
            }
        };
        order().map(drop).map_err(|error| text_of_error(error, py))
    });
    if let Some(Err(reason)) = result {
        let text = format!("WSGI0508: the stacks of Python's threads cannot be written: {reason}");
        log.log(Level::Warning, text.as_bytes());
    }
}

/// Lets a signal write the stacks of one application group to that descriptor; false if that is not possible.
pub fn register(host: &Host, application_group: &[u8], signal: i32, file: i32) -> bool {
    let result = host.attach(application_group, |py| {
        let order = || {
            let module = py.execute(SOURCE, c"_mod_wsgi_stacks")?;
            let register = module.attribute(&py.text("register")?)?;
            register.call(&[&py.int(signal.into())?, &py.int(file.into())?])
        };
        order().is_ok()
    });
    result == Some(true)
}
