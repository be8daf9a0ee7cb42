//! How a new process becomes a daemon. Nothing of the tenant's is opened or run before the user is the tenant's.

use std::convert::Infallible;
use std::ffi::CString;
use std::fmt::Display;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::unistd::{Pid, execve, getpid, getppid, setgroups, setresgid, setresuid, setsid};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, Signal};
use wsgi_core::abi::Level;
use wsgi_core::daemon_options::DaemonOptions;
use wsgi_core::directive::NameValue;
use wsgi_core::wire::control::daemon::LINE;

use crate::identity::Identity;
use crate::log::{self, Log};
use crate::sys::{process, signal};

/// All that is needed to start a daemon of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Name of the group, for messages.
    pub group: String,
    /// Its options.
    pub options: DaemonOptions,
    /// Whom it runs as.
    pub identity: Identity,
    /// The program and its arguments.
    pub program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

/// The descriptors of a new daemon.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors<'a> {
    /// Its end of the control socket.
    pub control: BorrowedFd<'a>,
    /// Where its standard output and error go.
    pub log: BorrowedFd<'a>,
    /// `/dev/null`
    pub null: BorrowedFd<'a>,
}

impl Plan {
    /// Prepares the start of daemons.
    ///
    /// # Errors
    /// When a word cannot be handed to a program.
    pub fn new(
        options: DaemonOptions,
        identity: Identity,
        python: &[u8],
        host: &[u8],
        server: &[NameValue],
    ) -> Result<Plan, String> {
        let word = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| "a path or variable holds a NUL".to_owned());
        let arguments = [python.to_vec(), b"-c".to_vec(), LINE.into(), host.to_vec()];
        let environment = environment(&options, &identity, server, |name| std::env::var_os(name));
        let pairs = environment
            .into_iter()
            .map(|(name, value)| [&name[..], b"=", &value[..]].concat());
        Ok(Plan {
            group: String::from_utf8_lossy(&options.name).into_owned(),
            program: word(python.to_vec())?,
            arguments: arguments.into_iter().map(word).collect::<Result<_, _>>()?,
            environment: pairs.map(word).collect::<Result<_, _>>()?,
            options,
            identity,
        })
    }

    /// Starts a daemon. `place` owns the number at which the daemon's control socket must be; it keeps it in this
    /// process.
    ///
    /// # Errors
    /// When no process can be made. What fails later is logged by the child, which then ends.
    pub fn start(&self, descriptors: Descriptors<'_>, place: &mut OwnedFd) -> nix::Result<Pid> {
        let supervisor = getpid();
        process::start(|| match self.become_daemon(descriptors, place, supervisor) {
            Err(reason) => log::fail(&format!(
                "WSGI0712: group '{}': a daemon cannot start: {reason}",
                self.group
            )),
        })
    }

    /// The order matters: what needs root comes before the switch of the user, what belongs to the tenant after it.
    fn become_daemon(
        &self,
        descriptors: Descriptors<'_>,
        place: &mut OwnedFd,
        supervisor: Pid,
    ) -> Result<Infallible, String> {
        rustix::stdio::dup2_stdin(descriptors.null).or_fail("cannot open /dev/null")?;
        rustix::stdio::dup2_stdout(descriptors.log).or_fail("cannot open the log")?;
        rustix::stdio::dup2_stderr(descriptors.log).or_fail("cannot open the log")?;
        rustix::io::dup2(descriptors.control, place).or_fail("cannot place the control socket")?;

        self.limit()?;
        setsid().or_fail("setsid")?;
        if let Some(root) = &self.options.chroot {
            rustix::process::chroot(root).or_fail(format!("cannot make {} the root directory", root.display()))?;
            rustix::process::chdir("/").or_fail("cannot enter the new root directory")?;
        }
        if let Some(switch) = &self.identity.switch {
            setgroups(&switch.groups).or_fail("cannot set the supplementary groups")?;
            setresgid(switch.gid, switch.gid, switch.gid)
                .or_fail(format!("cannot switch to the group {}", switch.gid))?;
            setresuid(switch.uid, switch.uid, switch.uid)
                .or_fail(format!("cannot switch to the user {}", switch.uid))?;
        }
        // A switch of the user clears it. Gently: requests in progress may end.
        rustix::process::set_parent_process_death_signal(Some(Signal::USR1)).or_fail("prctl")?;
        if getppid() != supervisor {
            return Err("the supervisor has ended".to_owned());
        }
        if let Some(mask) = self.options.umask {
            rustix::process::umask(Mode::from_bits_truncate(mask));
        }
        self.enter()?;
        process::close_others();
        signal::restore();
        execve(&self.program, &self.arguments, &self.environment)
            .or_fail(format!("cannot run {}", self.program.to_string_lossy()))
    }

    /// Priority and resource limits.
    fn limit(&self) -> Result<(), String> {
        let options = &self.options;
        if options.cpu_priority != 0
            && let Err(error) = rustix::process::setpriority_process(None, options.cpu_priority)
        {
            let text = format!(
                "WSGI0719: group '{}': cannot set cpu-priority={}: {error}",
                self.group, options.cpu_priority
            );
            Log::default().write(Level::Warning, &text);
        }
        let set = |resource, soft: u64, hard: u64, what: &str| {
            let limit = Rlimit {
                current: Some(soft),
                maximum: Some(hard),
            };
            rustix::process::setrlimit(resource, limit).or_fail(format!("cannot set the option {what}"))
        };
        if let Some(limit) = options.cpu_time_limit {
            let seconds = limit.as_secs();
            // Room for an orderly end after the soft limit's signal.
            let grace = 1 + options.shutdown_timeout.map_or(0, |time| time.as_secs());
            set(Resource::Cpu, seconds, seconds + grace, "cpu-time-limit")?;
        }
        if let Some(bytes) = options.memory_limit {
            set(Resource::Data, bytes, bytes, "memory-limit")?;
        }
        if let Some(bytes) = options.virtual_memory_limit {
            set(Resource::As, bytes, bytes, "virtual-memory-limit")?;
        }
        Ok(())
    }

    /// The working directory.
    fn enter(&self) -> Result<(), String> {
        let enter = |path: &Path| rustix::process::chdir(path);
        if let Some(home) = &self.options.home {
            return enter(home).or_fail(format!("cannot enter home={}", home.display()));
        }
        // System users often have a home that does not exist; nobody has asked to be there.
        if !self.identity.other || enter(&self.identity.home).is_err() {
            enter(Path::new("/")).or_fail("cannot enter /")?;
        }
        Ok(())
    }
}

/// The whole environment of a daemon. Of httpd's own only what says where and how people live here.
fn environment(
    options: &DaemonOptions,
    identity: &Identity,
    server: &[NameValue],
    inherited: impl Fn(&str) -> Option<std::ffi::OsString>,
) -> Vec<NameValue> {
    let mut variables: Vec<NameValue> = Vec::new();
    let mut set = |name: &[u8], value: &[u8]| {
        variables.retain(|(known, _)| known != name);
        variables.push((name.to_vec(), value.to_vec()));
    };
    set(b"PATH", b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    for name in ["TZ", "LANG", "LC_ALL", "LC_CTYPE"] {
        if let Some(value) = inherited(name) {
            set(name.as_bytes(), value.as_bytes());
        }
    }
    set(b"HOME", identity.home.as_os_str().as_bytes());
    if !identity.name.is_empty() {
        for name in ["USER", "LOGNAME"] {
            set(name.as_bytes(), identity.name.as_bytes());
        }
    }
    for (name, value) in server {
        set(name, value);
    }
    if let Some(lang) = &options.lang {
        set(b"LANG", lang);
    }
    if let Some(locale) = &options.locale {
        set(b"LC_ALL", locale);
    }
    if let Some(eggs) = &options.python_eggs {
        set(b"PYTHON_EGG_CACHE", eggs.as_os_str().as_bytes());
    }
    for (name, value) in &options.env {
        set(name, value);
    }
    variables
}

/// Adds to a system's error what was tried.
trait OrFail<T> {
    fn or_fail(self, what: impl Display) -> Result<T, String>;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, what: impl Display) -> Result<T, String> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments() {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let written = [
            ("lang", "C.UTF-8"),
            ("env", "TZ=UTC"),
            ("env", "PYTHONOPTIMIZE=2"),
            ("python-eggs", "/eggs"),
        ];
        let written = written.map(|(name, value)| (bytes(name), bytes(value)));
        let options = DaemonOptions::from_written(bytes("shop"), written.to_vec()).unwrap();
        let identity = Identity {
            switch: None,
            name: "shop".to_owned(),
            home: "/srv/shop".into(),
            other: true,
        };
        let server = [
            (bytes("PYTHONOPTIMIZE"), bytes("1")),
            (bytes("PYTHONHOME"), bytes("/opt/python")),
        ];
        let inherited = |name: &str| match name {
            "TZ" => Some("Europe/Berlin".into()),
            "LANG" => Some("C".into()),
            "SECRET" => Some("x".into()),
            _ => None,
        };
        let mut variables: Vec<String> = environment(&options, &identity, &server, inherited)
            .into_iter()
            .map(|(name, value)| String::from_utf8([name, value].join(&b"="[..])).unwrap())
            .collect();
        variables.sort();
        let expected = [
            "HOME=/srv/shop",
            "LANG=C.UTF-8",
            "LOGNAME=shop",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONHOME=/opt/python",
            "PYTHONOPTIMIZE=2",
            "PYTHON_EGG_CACHE=/eggs",
            "TZ=UTC",
            "USER=shop",
        ];
        assert_eq!(variables, expected);
    }
}
