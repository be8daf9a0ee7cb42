//! What kind of httpd process this is, and how it is built and run (`ap_mpm.h`, `httpd.h`).

use std::ffi::{CStr, OsStr, c_int, c_void};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::ptr;

use wsgi_core::python::{RunAs, Who};

use super::pool::Pool;
use super::{ffi, text};

/// Whether the configuration is being read for the first of two times at start. A configtest reads it once only.
pub fn is_first_pass() -> bool {
    // SAFETY: httpd's own state, asked for by code.
    unsafe {
        ffi::ap_state_query(ffi::AP_SQ_MAIN_STATE) == ffi::AP_SQ_MS_CREATE_PRE_CONFIG
            && ffi::ap_state_query(ffi::AP_SQ_RUN_MODE) == ffi::AP_SQ_RM_NORMAL
    }
}

/// Whether the configuration is only being tested.
pub fn is_configtest() -> bool {
    // SAFETY: httpd's own state, asked for by code.
    unsafe { ffi::ap_state_query(ffi::AP_SQ_RUN_MODE) == ffi::AP_SQ_RM_CONFIG_TEST }
}

/// Whether httpd was started with `-D name`.
pub fn is_defined(name: &CStr) -> bool {
    // SAFETY: reads httpd's list.
    unsafe { ffi::ap_exists_config_define(name.as_ptr()) != 0 }
}

/// Whether httpd is about to end, not to restart.
pub fn is_exiting() -> bool {
    // SAFETY: httpd's own state, asked for by code.
    unsafe { ffi::ap_state_query(ffi::AP_SQ_MAIN_STATE) == ffi::AP_SQ_MS_EXITING }
}

/// How this httpd runs requests.
#[derive(Clone, Copy, Debug)]
pub struct Mpm {
    /// `event`, `worker`, `prefork` …
    pub name: &'static [u8],
    /// Several requests of one process run at the same time.
    pub threaded: bool,
    /// There may be more than one process.
    pub forked: bool,
    /// Most processes there may be, at least 1.
    pub processes: u32,
    /// Threads of each process, at least 1.
    pub threads: u32,
}

/// Asks the MPM.
pub fn mpm() -> Mpm {
    let query = |code| {
        let mut answer: c_int = 0;
        // SAFETY: writes one int.
        let status = unsafe { ffi::ap_mpm_query(code, &raw mut answer) };
        if status == 0 {
            u32::try_from(answer).unwrap_or(0)
        } else {
            0
        }
    };
    Mpm {
        // SAFETY: a constant string of httpd's.
        name: unsafe { text::bytes(ffi::ap_show_mpm()) },
        threaded: query(ffi::AP_MPMQ_IS_THREADED) != 0,
        forked: query(ffi::AP_MPMQ_IS_FORKED) != 0
            && query(ffi::AP_MPMQ_MAX_DAEMON_USED).max(query(ffi::AP_MPMQ_MAX_DAEMONS)) > 1,
        processes: query(ffi::AP_MPMQ_MAX_DAEMONS).max(1),
        threads: query(ffi::AP_MPMQ_MAX_THREADS).max(1),
    }
}

/// httpd's version.
pub fn version() -> [u16; 3] {
    let mut version = ffi::ap_version_t {
        major: 0,
        minor: 0,
        patch: 0,
        add_string: ptr::null(),
    };
    // SAFETY: fills the structure.
    unsafe { ffi::ap_get_server_revision(&raw mut version) };
    [version.major, version.minor, version.patch].map(|part| u16::try_from(part).unwrap_or(0))
}

/// The server's full description, whatever `ServerTokens` shows to clients.
pub fn description() -> &'static [u8] {
    // SAFETY: a string that lives as long as the configuration, which outlives every call from a child.
    unsafe { text::bytes(ffi::ap_get_server_description()) }
}

/// When httpd was built.
pub fn build_date() -> &'static [u8] {
    // SAFETY: a constant string.
    unsafe { text::bytes(ffi::ap_get_server_built()) }
}

/// The user and group that children run as, when httpd was started as root and so can switch to them.
pub fn child_identity() -> Option<(u32, u32)> {
    // SAFETY: geteuid has no preconditions; the configuration is only read, after it was set.
    let (root, identity) = unsafe {
        (
            libc::geteuid() == 0,
            (ffi::ap_unixd_config.user_id, ffi::ap_unixd_config.group_id),
        )
    };
    // An unset User is -1; httpd refuses to start then, in its own words.
    (root && identity.0 != u32::MAX && identity.1 != u32::MAX).then_some(identity)
}

/// httpd's `PidFile`, as an absolute path.
pub fn pid_file(pool: Pool<'_>) -> Option<PathBuf> {
    // SAFETY: set while httpd read its configuration; the result is the pool's, NULL if the path is none.
    let path = unsafe {
        if ffi::ap_pid_fname.is_null() {
            return None;
        }
        text::bytes(ffi::ap_runtime_dir_relative(pool.as_ptr(), ffi::ap_pid_fname))
    };
    (!path.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(path)))
}

/// This process's number, for the threads that run requests: they fork nothing that runs requests itself.
pub fn id() -> u32 {
    thread_local! {
        static ID: u32 = std::process::id();
    }
    ID.with(|id| *id)
}

/// The file this module was loaded from.
pub fn module_file() -> Option<PathBuf> {
    let mut info = libc::Dl_info {
        dli_fname: ptr::null(),
        dli_fbase: ptr::null_mut(),
        dli_sname: ptr::null(),
        dli_saddr: ptr::null_mut(),
    };
    let here: *const c_void = (module_file as *const ()).cast();
    // SAFETY: an address inside this library; the name it gives stays while the library is loaded.
    let name = unsafe {
        if libc::dladdr(here, &raw mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        CStr::from_ptr(info.dli_fname)
    };
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes())))
}

/// As whom interpreters are asked about themselves, if not as this process's user.
pub fn run_as(who: &Who) -> RunAs<'_> {
    RunAs { who, switch }
}

/// Makes a command run as a user with all its groups, cut off from this process: it gets a session of its own, since
/// whoever has root's terminal can type into it, and none of the descriptors that others may have left open.
fn switch(command: &mut Command, who: &Who) {
    let (uid, gid, gids) = (who.uid, who.gid, who.gids.clone());
    // SAFETY: between fork and exec this makes system calls only; the list was made before.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            // An old kernel does not know it; httpd's own descriptors close at exec anyway.
            libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as c_int);
            // No way back is left: these set the saved ids, too.
            let switched = libc::setgroups(gids.len(), gids.as_ptr()) == 0
                && libc::setresgid(gid, gid, gid) == 0
                && libc::setresuid(uid, uid, uid) == 0;
            if switched {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        });
    }
}

/// Closes a descriptor that this child inherited from the parent and that nothing in this process uses.
pub fn close_inherited(number: c_int) {
    // SAFETY: the number came from the parent, which opened it and handed it to nobody else of this process.
    unsafe { libc::close(number) };
}

/// Writes to standard error, for what happens before there is a log. Nobody to tell of a failure.
pub fn tell(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
