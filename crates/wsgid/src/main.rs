//! `wsgid`, the supervisor of mod_wsgi_rs: httpd's parent process starts it, and it starts the daemon processes.
//!
//! It reads no file and no argument. Its configuration comes over the control socket (descriptor 3), its log goes to
//! descriptor 2. It has one thread, loads no Python, and runs nothing of a tenant's under its own user.

mod books;
mod config;
mod control;
mod daemon;
mod group;
mod identity;
mod inquiry;
mod launch;
mod log;
mod report;
mod supervisor;
mod sys;

use std::fs::OpenOptions;
use std::process::ExitCode;

use rustix::io::FdFlags;
use rustix::net::SocketType;
use rustix::thread::{CapabilitySet, CapabilitySets};
use wsgi_core::abi::Level;

use crate::log::Log;
use crate::supervisor::Supervisor;
use crate::sys::{process, signal};

fn main() -> ExitCode {
    match prepare() {
        Ok(mut supervisor) => {
            supervisor.run();
            ExitCode::SUCCESS
        }
        Err(fault) => {
            Log::default().write(Level::Critical, &format!("WSGI0733: {fault}"));
            ExitCode::FAILURE
        }
    }
}

fn prepare() -> Result<Supervisor, String> {
    let control = process::control_socket()
        .filter(|control| rustix::net::sockopt::socket_type(control) == Ok(SocketType::SEQPACKET))
        .ok_or("wsgid is started by httpd; there is nothing to run by hand")?;
    signal::keep_children();
    confine().map_err(|error| format!("cannot give up capabilities: {error}"))?;
    rustix::io::fcntl_setfd(&control, FdFlags::CLOEXEC).map_err(|error| error.to_string())?;
    let signals = signal::collect().map_err(|error| format!("cannot receive signals: {error}"))?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(|error| format!("cannot open /dev/null: {error}"))?;
    Ok(Supervisor::new(control, null.into(), signals))
}

/// Keeps of root's powers only those that starting and ending other users' processes takes (capabilities(7)). What
/// daemons may gain by programs of their own (`sudo`) is not touched.
fn confine() -> rustix::io::Result<()> {
    let needed = CapabilitySet::SETUID
        | CapabilitySet::SETGID
        | CapabilitySet::KILL
        | CapabilitySet::SYS_RESOURCE
        | CapabilitySet::SYS_NICE
        | CapabilitySet::SYS_CHROOT;
    let held = rustix::thread::capabilities(None)?.permitted & needed;
    let sets = CapabilitySets {
        effective: held,
        permitted: held,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)
}
