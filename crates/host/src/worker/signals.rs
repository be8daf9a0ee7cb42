//! Signals to a daemon, which Python receives: it writes their numbers to a pipe.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::process::Signal;

use crate::adapter::text_of_error;
use crate::host::Host;
use crate::python::{self, Kept, Object, Python};

/// Signals that end the process.
pub const ENDS: [Signal; 2] = [Signal::TERM, Signal::INT];
/// Signals that ask for a new process, and those that are left to the application.
const OTHERS: [Signal; 4] = [Signal::USR1, Signal::XCPU, Signal::HUP, Signal::USR2];

/// Python functions.
const SOURCE: &CStr = match CStr::from_bytes_with_nul(concat!(include_str!("daemon.py"), "\0").as_bytes()) {
    Ok(source) => source,
    Err(_) => panic!("daemon.py holds a NUL"),
};

/// Python's part of it.
pub struct Preparation {
    module: Kept,
    /// Seconds that local time is ahead of UTC.
    pub offset: i64,
}

impl Preparation {
    /// Prepares signals: they ring the bell.
    ///
    /// # Errors
    /// With the reason.
    pub fn make(host: &Host, bell: &OwnedFd) -> Result<Preparation, String> {
        let made = host.attach(&[], |py| {
            let make = || {
                let module = py.execute(SOURCE, c"_mod_wsgi_daemon")?;
                let offset = module.attribute(&py.text("prepare")?)?.call(&[
                    &py.int(bell.as_raw_fd().into())?,
                    &numbers(py, &ENDS)?,
                    &numbers(py, &OTHERS)?,
                ])?;
                Ok(Preparation {
                    module: module.keep(),
                    offset: offset.as_int().unwrap_or(0),
                })
            };
            make().map_err(|error| text_of_error(error, py))
        });
        made.unwrap_or_else(|| Err(String::from("there is no main interpreter")))
    }

    /// From now on the main thread executes no scripts.
    pub fn serve(self, host: &Host) {
        host.attach(&[], |py| {
            // What has been prepared stays as it is.
            drop(
                self.function(py, "serve")
                    .and_then(|serve| serve.call(&[&numbers(py, &ENDS)?])),
            );
            drop(self.module);
        });
    }

    /// From now on scripts may have signal handlers of their own.
    pub fn release_signals(self, host: &Host) {
        host.attach(&[], |py| {
            drop(
                self.function(py, "release_signals")
                    .and_then(|release| release.call(&[])),
            );
            drop(self.module);
        });
    }

    fn function<'py>(&self, py: Python<'py>, name: &str) -> python::Result<'py, Object<'py>> {
        self.module.get(py).attribute(&py.text(name)?)
    }
}

/// Whether one of the signals that end the process has come, with the loading of scripts under way.
pub fn told_to_end(hearing: &OwnedFd) -> bool {
    let mut rung = [0; 64];
    let count = rustix::io::read(hearing, &mut rung).unwrap_or(0);
    let ends = |number: &u8| ENDS.iter().any(|signal| signal.as_raw() == i32::from(*number));
    rung[..count].iter().any(ends)
}

fn numbers<'py>(py: Python<'py>, signals: &[Signal]) -> python::Result<'py, Object<'py>> {
    let numbers = signals.iter().map(|signal| py.int(signal.as_raw().into()));
    py.list(&numbers.collect::<python::Result<'py, Vec<_>>>()?)
}
