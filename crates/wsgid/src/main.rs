//! `wsgid`, the supervisor of mod_wsgi_rs: httpd's parent process starts it, and it starts the daemon processes.
//!
//! It reads no file and no argument. Its configuration comes over the control socket (descriptor 3), its log goes to
//! descriptor 2. It has one thread, loads no Python, and runs nothing of a tenant's under its own user.

mod config;
mod daemon;
mod group;
mod identity;
mod launch;
mod log;
mod supervisor;
mod sys;

use std::fs::OpenOptions;
use std::process::ExitCode;

use wsgi_core::abi::Level;

use crate::log::Log;
use crate::supervisor::Supervisor;
use crate::sys::{process, signal};

fn main() -> ExitCode {
    let control = process::control_socket();
    let fault = match prepare(&control) {
        Ok((null, signals)) => {
            Supervisor::new(control, null.into(), signals).run();
            return ExitCode::SUCCESS;
        }
        Err(fault) => fault,
    };
    Log::default().write(Level::Critical, &format!("WSGI0533: {fault}"));
    ExitCode::FAILURE
}

fn prepare(control: &std::os::fd::OwnedFd) -> Result<(std::fs::File, nix::sys::signalfd::SignalFd), String> {
    rustix::net::sockopt::socket_type(control)
        .ok()
        .filter(|kind| *kind == rustix::net::SocketType::SEQPACKET)
        .ok_or("wsgid is started by httpd; there is nothing to run by hand")?;
    signal::keep_children();
    rustix::io::fcntl_setfd(control, rustix::io::FdFlags::CLOEXEC).map_err(|error| error.to_string())?;
    let signals = signal::collect().map_err(|error| format!("cannot receive signals: {error}"))?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    Ok((
        null.map_err(|error| format!("cannot open /dev/null: {error}"))?,
        signals,
    ))
}
