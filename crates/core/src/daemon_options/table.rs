//! The names of the options and what their values go to.

use super::DaemonOptions;
use super::value::Value;
use crate::directive::Refusal;

/// Why an option changes nothing here; `None`: it does.
pub fn no_effect(name: &[u8]) -> Option<&'static str> {
    let row = OPTIONS.iter().find(|row| row.name.as_bytes() == name)?;
    row.help.strip_prefix("Has no effect: ")
}

/// All options.
pub fn table() -> &'static [Row] {
    &OPTIONS
}

/// The names of all options.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|option| option.name)
}

/// Sets one option.
pub(super) fn set(options: &mut DaemonOptions, name: &[u8], text: &[u8]) -> Result<(), Refusal> {
    let Some(option) = OPTIONS.iter().find(|option| option.name.as_bytes() == name) else {
        let name = String::from_utf8_lossy(name);
        return Err(match &*name {
            "proxy-buffer-size" => "option 'proxy-buffer-size' is called 'response-buffer-size' now".to_owned(),
            _ => format!("unknown option '{name}' of a daemon process group"),
        });
    };
    if text.is_empty() && !option.empty {
        return Err(format!("option '{}' needs a value", option.name));
    }
    let value = Value {
        option: option.name,
        text,
    };
    (option.set)(options, value)
}

/// An option, as the documentation shows it.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What kind of value it takes.
    pub value: &'static str,
    /// What holds without it; empty: nothing of the kind.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
    /// The value may be empty.
    empty: bool,
    set: fn(&mut DaemonOptions, Value<'_>) -> Result<(), Refusal>,
}

type Set = fn(&mut DaemonOptions, Value<'_>) -> Result<(), Refusal>;

const fn valued([name, value, default, help]: [&'static str; 4], set: Set) -> Row {
    Row {
        name,
        value,
        default,
        help,
        empty: false,
        set,
    }
}

const fn maybe_empty(text: [&'static str; 4], set: Set) -> Row {
    Row {
        empty: true,
        ..valued(text, set)
    }
}

/// Assigns to a field and succeeds; most rows are just that.
macro_rules! put {
    ($options:ident . $field:ident = $value:expr) => {{
        $options.$field = $value;
        Ok(())
    }};
}

static OPTIONS: [Row; 50] = [
    valued(
        [
            "processes",
            "number",
            "1",
            "Number of daemons; given at all, it makes `wsgi.multiprocess` true",
        ],
        |o, v| put!(o.processes = Some(v.between(1, i32::MAX.unsigned_abs())?)),
    ),
    valued(
        [
            "threads",
            "number",
            "15",
            "Threads of a daemon that run requests; 0: the group runs a service script",
        ],
        |o, v| put!(o.threads = v.between(0, 65_533)?),
    ),
    valued(
        [
            "user",
            "name or #uid",
            "httpd's User",
            "Whom daemons run as, if httpd was started as root",
        ],
        |o, v| put!(o.user = Some(v.user()?)),
    ),
    valued(
        ["group", "name or #gid", "httpd's Group", "Their primary group"],
        |o, v| put!(o.group = Some(v.account()?)),
    ),
    maybe_empty(
        [
            "supplementary-groups",
            "name,…",
            "the user's",
            "Their further groups, instead of those that the user is in",
        ],
        |o, v| put!(o.supplementary_groups = Some(v.accounts()?)),
    ),
    valued(
        [
            "umask",
            "octal",
            "inherited",
            "Permissions that files which daemons make do not get",
        ],
        |o, v| put!(o.umask = Some(v.octal()?)),
    ),
    valued(
        ["home", "folder", "", "Working directory, and first entry of `sys.path`"],
        |o, v| put!(o.home = Some(v.absolute()?)),
    ),
    valued(["chroot", "folder", "", "Root directory of the daemons"], |o, v| {
        put!(o.chroot = Some(v.absolute()?))
    }),
    valued(
        ["python", "path", "WSGIPython", "Interpreter that the daemons are"],
        |o, v| put!(o.python = Some(v.absolute()?)),
    ),
    maybe_empty(
        [
            "python-home",
            "folder",
            "WSGIPythonHome",
            "Virtual environment or Python installation to use",
        ],
        |o, v| put!(o.python_home = v.path()),
    ),
    maybe_empty(
        [
            "python-path",
            "folder[:folder …]",
            "",
            "Folders to search for Python modules first",
        ],
        |o, v| put!(o.python_path = v.text.to_vec()),
    ),
    maybe_empty(
        [
            "python-eggs",
            "folder",
            "WSGIPythonEggs",
            "`PYTHON_EGG_CACHE` of the environment",
        ],
        |o, v| put!(o.python_eggs = v.path()),
    ),
    maybe_empty(["lang", "locale", "inherited", "`LANG` of the environment"], |o, v| {
        put!(o.lang = v.words())
    }),
    maybe_empty(
        ["locale", "locale", "inherited", "`LC_ALL` of the environment"],
        |o, v| put!(o.locale = v.words()),
    ),
    valued(
        [
            "env",
            "NAME=VALUE",
            "",
            "A variable of the environment; may be given several times",
        ],
        |o, v| {
            o.env.push(v.variable()?);
            Ok(())
        },
    ),
    maybe_empty(
        [
            "display-name",
            "text",
            "",
            "What `ps` shows; `%{GROUP}` stands for `(wsgi:name)`",
        ],
        |o, v| put!(o.display_name = v.words()),
    ),
    valued(
        [
            "switch-interval",
            "seconds",
            "WSGISwitchInterval",
            "How long a thread may keep the GIL when others want it",
        ],
        |o, v| put!(o.switch_interval = Some(v.interval()?)),
    ),
    valued(
        [
            "interpreter-limit",
            "number",
            "WSGIInterpreterLimit",
            "How many interpreters a daemon may have, the main one included; 0: any number",
        ],
        |o, v| put!(o.interpreter_limit = Some(v.count()?)),
    ),
    valued(
        [
            "server-metrics",
            "On|Off",
            "Off",
            "On lets the group's applications call `mod_wsgi.server_metrics()`, which shows what all of httpd's threads do, also for others",
        ],
        |o, v| put!(o.server_metrics = v.flag()?),
    ),
    valued(
        [
            "maximum-requests",
            "number",
            "0",
            "A daemon is replaced after so many requests; 0: never",
        ],
        |o, v| put!(o.maximum_requests = Some(v.count()?).filter(|&n| n != 0)),
    ),
    valued(
        [
            "restart-interval",
            "seconds",
            "0",
            "A daemon is replaced after that time; 0: never",
        ],
        |o, v| put!(o.restart_interval = v.timeout()?),
    ),
    valued(
        [
            "inactivity-timeout",
            "seconds",
            "0",
            "A daemon ends that has had nothing to do for that long; 0: never",
        ],
        |o, v| put!(o.inactivity_timeout = v.timeout()?),
    ),
    valued(
        [
            "request-timeout",
            "seconds",
            "0",
            "Longest time for a request; with several threads more, see the README; 0: any",
        ],
        |o, v| put!(o.request_timeout = v.timeout()?),
    ),
    valued(
        [
            "interrupt-timeout",
            "seconds",
            "0",
            "How long a request may go on after the exception that `request-timeout` raises in it; 0: none is raised",
        ],
        |o, v| put!(o.interrupt_timeout = v.timeout()?),
    ),
    valued(
        [
            "graceful-timeout",
            "seconds",
            "15",
            "How long the requests of a daemon that is replaced may take; 0: any time",
        ],
        |o, v| put!(o.graceful_timeout = v.timeout()?),
    ),
    valued(
        [
            "eviction-timeout",
            "seconds",
            "graceful-timeout",
            "The same after SIGUSR1",
        ],
        |o, v| put!(o.eviction_timeout = v.timeout()?),
    ),
    valued(
        [
            "shutdown-timeout",
            "seconds",
            "5",
            "How long a daemon may take to end, until it is killed; 0: any time",
        ],
        |o, v| put!(o.shutdown_timeout = v.timeout()?),
    ),
    valued(
        [
            "deadlock-timeout",
            "seconds",
            "300",
            "A daemon is replaced whose GIL cannot be had for that long; 0: never",
        ],
        |o, v| put!(o.deadlock_timeout = v.timeout()?),
    ),
    valued(
        [
            "startup-timeout",
            "seconds",
            "0",
            "A daemon is replaced that has loaded no script for that long; 0: never",
        ],
        |o, v| put!(o.startup_timeout = v.timeout()?),
    ),
    valued(
        [
            "graceful-reload",
            "On|Off",
            "WSGIGracefulReload",
            "Whether a graceful restart of httpd replaces the daemons although nothing changed for them",
        ],
        |o, v| put!(o.graceful_reload = Some(v.flag()?)),
    ),
    valued(
        [
            "connect-timeout",
            "seconds",
            "0",
            "How long a request waits for a place in a full queue until it is answered 503",
        ],
        |o, v| put!(o.connect_timeout = v.seconds()?),
    ),
    valued(
        [
            "socket-timeout",
            "seconds",
            "httpd's Timeout",
            "How long nothing may happen between httpd and a daemon that runs a request",
        ],
        |o, v| put!(o.socket_timeout = v.timeout()?),
    ),
    valued(
        [
            "queue-timeout",
            "seconds",
            "0",
            "How long a request may wait for a daemon until it is answered 503; 0: any time",
        ],
        |o, v| put!(o.queue_timeout = v.timeout()?),
    ),
    valued(
        [
            "queue-limit",
            "number",
            "listen-backlog",
            "How many requests may wait for a daemon",
        ],
        |o, v| put!(o.queue_limit = Some(v.between(1, i32::MAX.unsigned_abs())?)),
    ),
    valued(
        [
            "listen-backlog",
            "number",
            "100",
            "As queue-limit, which goes before it",
        ],
        |o, v| put!(o.listen_backlog = v.count()?),
    ),
    valued(
        [
            "request-spool",
            "On|Off",
            "Off",
            "Request bodies are collected whole before a daemon gets the request",
        ],
        |o, v| put!(o.request_spool = v.flag()?),
    ),
    valued(
        [
            "response-socket-timeout",
            "seconds",
            "socket-timeout",
            "How long each write to the client may wait while it is sent the response; without both, httpd's Timeout",
        ],
        |o, v| put!(o.response_socket_timeout = v.timeout()?),
    ),
    valued(
        [
            "response-flush-delay",
            "milliseconds",
            "5",
            "0: each block that an application yields is sent by itself, at once. Otherwise small ones that follow each other \
             within 0.1 ms are gathered for about as long, whatever the number",
        ],
        |o, v| put!(o.response_flush_delay = v.milliseconds()?),
    ),
    valued(
        [
            "response-buffer-size",
            "bytes",
            "8388608",
            "Has no effect: no more than 16 KB of the response are held back",
        ],
        |o, v| put!(o.response_buffer_size = v.buffer(65_536)?.unwrap_or(8 * 1024 * 1024)),
    ),
    valued(
        [
            "header-buffer-size",
            "bytes",
            "0",
            "Longest line of a response's head; longer ones are answered 500. 0: 1 MB for the whole head",
        ],
        |o, v| put!(o.header_buffer_size = v.buffer(8192)?),
    ),
    valued(
        [
            "send-buffer-size",
            "bytes",
            "0",
            "Buffers between httpd and a daemon, in both directions; 0: 262144, or as much as the system grants",
        ],
        |o, v| put!(o.send_buffer_size = v.buffer(512)?),
    ),
    valued(
        [
            "receive-buffer-size",
            "bytes",
            "0",
            "As send-buffer-size: there is one buffer for each direction, and the larger number counts",
        ],
        |o, v| put!(o.receive_buffer_size = v.buffer(512)?),
    ),
    valued(
        [
            "socket-user",
            "name or #uid",
            "",
            "Has no effect: there is no socket file",
        ],
        |o, v| put!(o.socket_user = Some(v.account()?)),
    ),
    valued(
        [
            "script-user",
            "name or #uid",
            "",
            "Scripts must belong to that user, and nobody else may be able to change them",
        ],
        |o, v| put!(o.script_user = Some(v.account()?)),
    ),
    valued(
        [
            "script-group",
            "name or #gid",
            "",
            "Scripts must belong to that group, and nobody else may be able to change them",
        ],
        |o, v| put!(o.script_group = Some(v.account()?)),
    ),
    valued(
        ["stack-size", "bytes", "the system's", "Size of the stacks of threads"],
        |o, v| put!(o.stack_size = Some(v.positive_bytes()?)),
    ),
    valued(
        ["cpu-priority", "number", "0", "The nice value; 0: unchanged"],
        |o, v| put!(o.cpu_priority = v.nice()?),
    ),
    valued(
        [
            "cpu-time-limit",
            "seconds",
            "0",
            "A daemon is replaced that has used so much processor time; 0: never",
        ],
        |o, v| put!(o.cpu_time_limit = v.timeout()?),
    ),
    valued(
        [
            "memory-limit",
            "bytes",
            "0",
            "Limit of a daemon's data (`RLIMIT_DATA`); 0: none",
        ],
        |o, v| put!(o.memory_limit = v.bytes()?),
    ),
    valued(
        [
            "virtual-memory-limit",
            "bytes",
            "0",
            "Limit of a daemon's address space (`RLIMIT_AS`); 0: none",
        ],
        |o, v| put!(o.virtual_memory_limit = v.bytes()?),
    ),
];
