//! `WSGIDaemonProcess name [option=value …]`: the options of a daemon process group.
//!
//! What is parsed here is what the administrator wrote. Users, groups and paths stay names: who they are and whether
//! they exist is for those who use them. The options travel to the supervisor as they were written and are parsed
//! there by the same code.

mod table;
mod value;

use std::path::PathBuf;
use std::time::Duration;

use crate::directive::{NameValue, Refusal, Words};
pub use table::{Row, names, no_effect, table};

/// The user or group that an option names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// A name of the password or group database.
    Name(Vec<u8>),
    /// `#number`: the uid or gid itself.
    Number(u32),
}

/// All options of one group, with their defaults. Where 0 means "off", that is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonOptions {
    /// Name of the group.
    pub name: Vec<u8>,
    /// The options as they were written, in order.
    pub written: Vec<NameValue>,

    /// `processes`: number of daemons, at least 1. Given at all, even as 1, it makes `wsgi.multiprocess` true.
    pub processes: Option<u32>,
    /// `threads`: request threads of a daemon; 0: the group runs a service script.
    pub threads: u32,

    /// `user`: whom daemons run as; `None`: httpd's `User`.
    pub user: Option<Account>,
    /// `group`: their primary group; `None`: httpd's `Group`.
    pub group: Option<Account>,
    /// `supplementary-groups`: these instead of the user's own.
    pub supplementary_groups: Option<Vec<Account>>,
    /// `umask`: `None`: as inherited.
    pub umask: Option<u32>,
    /// `home`: working directory, and the front of `sys.path`.
    pub home: Option<PathBuf>,
    /// `chroot`: the root directory.
    pub chroot: Option<PathBuf>,

    /// `python`: the interpreter; `None`: as `WSGIPython` says. New here.
    pub python: Option<PathBuf>,
    /// `python-home`: the virtual environment or installation; `None`: as `WSGIPythonHome` says.
    pub python_home: Option<PathBuf>,
    /// `python-path`: site directories, separated by `:`, as written.
    pub python_path: Vec<u8>,
    /// `python-eggs`: `PYTHON_EGG_CACHE`.
    pub python_eggs: Option<PathBuf>,
    /// `lang`: `LANG` of the environment.
    pub lang: Option<Vec<u8>>,
    /// `locale`: `LC_ALL` of the environment.
    pub locale: Option<Vec<u8>>,
    /// `env`: more variables of the environment, in order. New here.
    pub env: Vec<NameValue>,
    /// `display-name`: what `ps` shows, as written; see [`DaemonOptions::title`].
    pub display_name: Option<Vec<u8>>,
    /// `switch-interval`: seconds; `None`: as `WSGISwitchInterval` says.
    pub switch_interval: Option<f64>,
    /// `interpreter-limit`: most interpreters of a daemon; `None`: as `WSGIInterpreterLimit` says. New here.
    pub interpreter_limit: Option<u32>,
    /// `server-metrics`: its daemons may see what the threads of httpd do.
    pub server_metrics: bool,

    /// `maximum-requests`: restart after so many completed requests.
    pub maximum_requests: Option<u32>,
    /// `restart-interval`: restart after that time.
    pub restart_interval: Option<Duration>,
    /// `inactivity-timeout`: restart when idle for that long.
    pub inactivity_timeout: Option<Duration>,
    /// `request-timeout`: limit for one request.
    pub request_timeout: Option<Duration>,
    /// `interrupt-timeout`: grace between the exception in the request's thread and the restart.
    pub interrupt_timeout: Option<Duration>,
    /// `graceful-timeout`: how long a draining daemon's requests may take; `None`: as long as they like.
    pub graceful_timeout: Option<Duration>,
    /// `eviction-timeout`: the same from SIGUSR1 on; `None`: as `graceful-timeout`, from when it is replaced on.
    pub eviction_timeout: Option<Duration>,
    /// `shutdown-timeout`: how long a shutdown may take before the hard end; `None`: as long as it likes.
    pub shutdown_timeout: Option<Duration>,
    /// `deadlock-timeout`: how long Python's lock may be unobtainable.
    pub deadlock_timeout: Option<Duration>,
    /// `startup-timeout`: how long it may take until a script is loaded.
    pub startup_timeout: Option<Duration>,
    /// `graceful-reload`: a graceful restart of httpd replaces the group although its options are as before; `None`: as
    /// `WSGIGracefulReload` says. New here.
    pub graceful_reload: Option<bool>,

    /// `connect-timeout`: how long a request tries to get into a full queue. Without it, and unlike mod_wsgi, it does not:
    /// so many others wait before it that its client had better come back later.
    pub connect_timeout: Duration,
    /// `socket-timeout`: for each read and write between httpd and a daemon; `None`: httpd's `Timeout`.
    pub socket_timeout: Option<Duration>,
    /// `queue-timeout`: how long a request may wait for a daemon.
    pub queue_timeout: Option<Duration>,
    /// `queue-limit`: how many requests may wait; see [`DaemonOptions::queue_limit`]. New here.
    pub queue_limit: Option<u32>,
    /// `listen-backlog`: the same under mod_wsgi's name.
    pub listen_backlog: u32,
    /// `request-spool`: request bodies are collected whole before a daemon gets the request. New here.
    pub request_spool: bool,
    /// `response-socket-timeout`: for each write to the client; `None`: as `socket-timeout` says.
    pub response_socket_timeout: Option<Duration>,
    /// `response-flush-delay`: 0: blocks of the reply are sent one by one; otherwise those that come in a rush together.
    pub response_flush_delay: Duration,
    /// `response-buffer-size`: most bytes that httpd passes on between flushes.
    pub response_buffer_size: u64,
    /// `header-buffer-size`: longest line of a response header, in bytes; `None`: the head is bounded as a whole.
    pub header_buffer_size: Option<u64>,
    /// `send-buffer-size`: bytes that wait between httpd and a daemon, in each direction; `None`: httpd's side chooses.
    pub send_buffer_size: Option<u64>,
    /// `receive-buffer-size`: bytes; `None`: the system's.
    pub receive_buffer_size: Option<u64>,
    /// `socket-user`: owner of mod_wsgi's socket file; there is no such file here.
    pub socket_user: Option<Account>,

    /// `script-user`: who must own the script.
    pub script_user: Option<Account>,
    /// `script-group`: which group the script must belong to.
    pub script_group: Option<Account>,

    /// `stack-size`: of threads, in bytes; `None`: the system's.
    pub stack_size: Option<u64>,
    /// `cpu-priority`: the nice value; 0: unchanged.
    pub cpu_priority: i32,
    /// `cpu-time-limit`: `RLIMIT_CPU`.
    pub cpu_time_limit: Option<Duration>,
    /// `memory-limit`: `RLIMIT_DATA`, in bytes.
    pub memory_limit: Option<u64>,
    /// `virtual-memory-limit`: `RLIMIT_AS`, in bytes.
    pub virtual_memory_limit: Option<u64>,
}

impl DaemonOptions {
    /// The options of a group for which none is written.
    pub fn new(name: Vec<u8>) -> DaemonOptions {
        DaemonOptions {
            name,
            written: Vec::new(),
            processes: None,
            threads: 15,
            user: None,
            group: None,
            supplementary_groups: None,
            umask: None,
            home: None,
            chroot: None,
            python: None,
            python_home: None,
            python_path: Vec::new(),
            python_eggs: None,
            lang: None,
            locale: None,
            env: Vec::new(),
            display_name: None,
            switch_interval: None,
            interpreter_limit: None,
            server_metrics: false,
            maximum_requests: None,
            restart_interval: None,
            inactivity_timeout: None,
            request_timeout: None,
            interrupt_timeout: None,
            graceful_timeout: Some(Duration::from_secs(15)),
            eviction_timeout: None,
            shutdown_timeout: Some(Duration::from_secs(5)),
            deadlock_timeout: Some(Duration::from_secs(300)),
            startup_timeout: None,
            graceful_reload: None,
            connect_timeout: Duration::ZERO,
            socket_timeout: None,
            queue_timeout: None,
            queue_limit: None,
            listen_backlog: 100,
            request_spool: false,
            response_socket_timeout: None,
            response_flush_delay: Duration::from_millis(5),
            response_buffer_size: 8 * 1024 * 1024,
            header_buffer_size: None,
            send_buffer_size: None,
            receive_buffer_size: None,
            socket_user: None,
            script_user: None,
            script_group: None,
            stack_size: None,
            cpu_priority: 0,
            cpu_time_limit: None,
            memory_limit: None,
            virtual_memory_limit: None,
        }
    }

    /// Reads the arguments of the directive.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(mut words: Words<'_>) -> Result<DaemonOptions, Refusal> {
        let name = words.required("name of the daemon process group")?;
        let mut written = Vec::new();
        while let Some(option) = words.option()? {
            written.push(option);
        }
        DaemonOptions::from_written(name, written)
    }

    /// The options of the group `name`, as they were written.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_written(name: Vec<u8>, written: Vec<NameValue>) -> Result<DaemonOptions, Refusal> {
        let mut options = DaemonOptions::new(name);
        for (name, value) in &written {
            table::set(&mut options, name, value)?;
        }
        if options.script_user.is_some() && options.script_group.is_some() {
            return Err("options 'script-user' and 'script-group' exclude each other: remove one".to_owned());
        }
        options.written = written;
        Ok(options)
    }

    /// Number of daemons.
    pub fn processes(&self) -> u32 {
        self.processes.unwrap_or(1)
    }

    /// `wsgi.multiprocess`: whether the option was given, whatever its number, as users of mod_wsgi know it.
    pub fn multiprocess(&self) -> bool {
        self.processes.is_some()
    }

    /// `wsgi.multithread`.
    pub fn multithread(&self) -> bool {
        self.threads > 1
    }

    /// `wsgi.run_once`: each daemon runs one request.
    pub fn run_once(&self) -> bool {
        self.threads == 1 && self.maximum_requests == Some(1)
    }

    /// The group runs a service script and no requests.
    pub fn service(&self) -> bool {
        self.threads == 0
    }

    /// How many requests may wait, at least 1.
    pub fn queue_limit(&self) -> u32 {
        self.queue_limit.unwrap_or(self.listen_backlog).max(1)
    }

    /// What `ps` shall show: `%{GROUP}` stands for `(wsgi:NAME)`.
    pub fn title(&self) -> Option<Vec<u8>> {
        match self.display_name.as_deref()? {
            b"%{GROUP}" => Some([b"(wsgi:", &self.name[..], b")"].concat()),
            text => Some(text.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests;
