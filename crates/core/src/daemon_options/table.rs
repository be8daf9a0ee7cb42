//! The names of the options and what their values go to.

use super::DaemonOptions;
use super::value::Value;
use crate::directive::Refusal;

/// Options that are checked but change nothing here.
pub const NO_EFFECT: [&str; 8] = [
    // There is no socket file that somebody could own, and nothing to connect to.
    "socket-user",
    "connect-timeout",
    // Replies go to the client as they come.
    "response-socket-timeout",
    "response-flush-delay",
    "response-buffer-size",
    // A reply's head is bounded as a whole.
    "header-buffer-size",
    // Reply pairs are the same for all groups.
    "send-buffer-size",
    "receive-buffer-size",
];

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

struct Row {
    name: &'static str,
    /// The value may be empty.
    empty: bool,
    set: fn(&mut DaemonOptions, Value<'_>) -> Result<(), Refusal>,
}

type Set = fn(&mut DaemonOptions, Value<'_>) -> Result<(), Refusal>;

const fn valued(name: &'static str, set: Set) -> Row {
    Row {
        name,
        empty: false,
        set,
    }
}

const fn maybe_empty(name: &'static str, set: Set) -> Row {
    Row { name, empty: true, set }
}

/// Assigns to a field and succeeds; most rows are just that.
macro_rules! put {
    ($options:ident . $field:ident = $value:expr) => {{
        $options.$field = $value;
        Ok(())
    }};
}

const OPTIONS: [Row; 49] = [
    valued("processes", |o, v| {
        put!(o.processes = Some(v.between(1, i32::MAX.unsigned_abs())?))
    }),
    valued("threads", |o, v| put!(o.threads = v.between(0, 65_533)?)),
    valued("user", |o, v| put!(o.user = Some(v.user()?))),
    valued("group", |o, v| put!(o.group = Some(v.account()?))),
    maybe_empty("supplementary-groups", |o, v| {
        put!(o.supplementary_groups = Some(v.accounts()?))
    }),
    valued("umask", |o, v| put!(o.umask = Some(v.octal()?))),
    valued("home", |o, v| put!(o.home = Some(v.absolute()?))),
    valued("chroot", |o, v| put!(o.chroot = Some(v.absolute()?))),
    valued("python", |o, v| put!(o.python = Some(v.absolute()?))),
    maybe_empty("python-home", |o, v| put!(o.python_home = v.path())),
    maybe_empty("python-path", |o, v| put!(o.python_path = v.text.to_vec())),
    maybe_empty("python-eggs", |o, v| put!(o.python_eggs = v.path())),
    maybe_empty("lang", |o, v| put!(o.lang = v.words())),
    maybe_empty("locale", |o, v| put!(o.locale = v.words())),
    valued("env", |o, v| {
        o.env.push(v.variable()?);
        Ok(())
    }),
    maybe_empty("display-name", |o, v| put!(o.display_name = v.words())),
    valued("switch-interval", |o, v| put!(o.switch_interval = Some(v.interval()?))),
    valued("server-metrics", |o, v| put!(o.server_metrics = v.flag()?)),
    valued("maximum-requests", |o, v| {
        put!(o.maximum_requests = Some(v.count()?).filter(|&n| n != 0))
    }),
    valued("restart-interval", |o, v| put!(o.restart_interval = v.timeout()?)),
    valued("inactivity-timeout", |o, v| put!(o.inactivity_timeout = v.timeout()?)),
    valued("request-timeout", |o, v| put!(o.request_timeout = v.timeout()?)),
    valued("interrupt-timeout", |o, v| put!(o.interrupt_timeout = v.timeout()?)),
    valued("graceful-timeout", |o, v| put!(o.graceful_timeout = v.timeout()?)),
    valued("eviction-timeout", |o, v| put!(o.eviction_timeout = v.timeout()?)),
    valued("shutdown-timeout", |o, v| put!(o.shutdown_timeout = v.timeout()?)),
    valued("deadlock-timeout", |o, v| put!(o.deadlock_timeout = v.timeout()?)),
    valued("startup-timeout", |o, v| put!(o.startup_timeout = v.timeout()?)),
    valued("graceful-reload", |o, v| put!(o.graceful_reload = Some(v.flag()?))),
    valued("connect-timeout", |o, v| put!(o.connect_timeout = v.seconds()?)),
    valued("socket-timeout", |o, v| put!(o.socket_timeout = v.timeout()?)),
    valued("queue-timeout", |o, v| put!(o.queue_timeout = v.timeout()?)),
    valued("queue-limit", |o, v| {
        put!(o.queue_limit = Some(v.between(1, i32::MAX.unsigned_abs())?))
    }),
    valued("listen-backlog", |o, v| put!(o.listen_backlog = v.count()?)),
    valued("request-spool", |o, v| put!(o.request_spool = v.flag()?)),
    valued("response-socket-timeout", |o, v| {
        put!(o.response_socket_timeout = v.timeout()?)
    }),
    valued("response-flush-delay", |o, v| {
        put!(o.response_flush_delay = v.milliseconds()?)
    }),
    valued("response-buffer-size", |o, v| {
        put!(o.response_buffer_size = v.buffer(65_536)?.unwrap_or(8 * 1024 * 1024))
    }),
    valued("header-buffer-size", |o, v| {
        put!(o.header_buffer_size = v.buffer(8192)?.unwrap_or(32 * 1024))
    }),
    valued("send-buffer-size", |o, v| put!(o.send_buffer_size = v.buffer(512)?)),
    valued("receive-buffer-size", |o, v| {
        put!(o.receive_buffer_size = v.buffer(512)?)
    }),
    valued("socket-user", |o, v| put!(o.socket_user = Some(v.account()?))),
    valued("script-user", |o, v| put!(o.script_user = Some(v.account()?))),
    valued("script-group", |o, v| put!(o.script_group = Some(v.account()?))),
    valued("stack-size", |o, v| put!(o.stack_size = Some(v.positive_bytes()?))),
    valued("cpu-priority", |o, v| put!(o.cpu_priority = v.nice()?)),
    valued("cpu-time-limit", |o, v| put!(o.cpu_time_limit = v.timeout()?)),
    valued("memory-limit", |o, v| put!(o.memory_limit = v.bytes()?)),
    valued("virtual-memory-limit", |o, v| put!(o.virtual_memory_limit = v.bytes()?)),
];
