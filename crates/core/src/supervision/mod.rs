//! When daemon processes are started, replaced and ended: decisions only.
//!
//! A [`Group`] is told what happened ([`Event`]) and when ([`Moment`]), and answers what to do ([`Action`]). It starts
//! nothing, reads no clock and rolls no dice, so all of it is tested with numbers for times. The supervisor carries the
//! actions out, and calls again at [`Group::timer`] at the latest.
//!
//! # Rules
//! - A group has `processes` daemons. An eager group starts them at once; another starts one when requests wait and
//!   nobody takes them, up to that number.
//! - Every change (configuration, reload, restart after a number of requests or a time) is a **replacement**: a
//!   new daemon is started beside the old ones, and only when it is READY does an old one drain. At most one daemon
//!   more than the group's number is on its way at a time, so a reload rolls through the group.
//! - A new configuration and a reload begin a new **generation**. If its daemons cannot start, those of the last good
//!   one go on serving, and it is tried again and again.
//! - A start has **failed** when the daemon ends before it is READY, exceeds its time for that, or dies by itself
//!   within [`STABLE`] after it without having completed a request. One that dies young, but has, is replaced without
//!   further ado, [`PACE`] after it was READY at the earliest. After the second failure in a row a group without any READY daemon is FAILED: httpd
//!   answers at once and lets nobody wait. It is tried again after 0.1 s, then 0.2 s and so on up to 30 s.
//! - A daemon that is to go is first asked (`Drain`: finish what you have, take nothing new), for `graceful-timeout`;
//!   then told (`Terminate`), for `shutdown-timeout`; then killed. At the server's end it is told at once. One that
//!   SIGUSR1 evicts has `eviction-timeout` for all of that up to being told, also where nothing replaces it.
//! - A daemon that replaces others loads the scripts that requests use in those that serve ([`Scripts`]), and is READY
//!   only then: a script that was broken meanwhile cannot take the place of its last good version.
//! - A daemon that found by itself that it should go says so: either it goes on serving until it is replaced, or it is
//!   on its way out already.

pub mod backoff;
mod group;
mod process;
mod scripts;
mod starts;

use std::fmt;
use std::time::Duration;

use crate::daemon_options::DaemonOptions;
pub use group::Group;
pub use process::ProcessId;
pub use scripts::{MOST, MOST_BYTES, Scripts};
pub use starts::{Claim, share};

/// A moment of `CLOCK_MONOTONIC`, as time since its origin.
pub type Time = Duration;

/// How long a daemon must have been READY for its start to count as good. A process that crashes on its first requests
/// is no better than one that does not start; one that ran for a while deserves a new one at once.
pub const STABLE: Duration = Duration::from_secs(10);

/// How long after a daemon was READY its successor is started at the earliest, when it dies after having completed
/// requests: the daemons of an application that crashes all the time do not follow each other faster.
pub const PACE: Duration = Duration::from_secs(1);

/// Failed starts in a row after which a group without a READY daemon is FAILED: the second try tells a broken
/// application from an accident.
pub const TRIES: u32 = 2;

/// How long daemons may take to end with the server when `shutdown-timeout` says "as long as they like": the server's
/// end waits for them, and so does the administrator.
pub const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How long a start counts as one that takes the processor, for others that want to start. One that takes longer hangs.
pub const BUSY: Duration = Duration::from_secs(5);

/// How long a group waits before it starts a service script again that has returned.
pub const SERVICE_PAUSE: Duration = Duration::from_secs(1);

/// How long a daemon that announced its own end may take beyond `shutdown-timeout`, which it keeps itself.
pub const LEAVING_MARGIN: Duration = Duration::from_secs(1);

/// What the decisions depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Number of daemons.
    pub processes: usize,
    /// They are started before anybody needs them.
    pub eager: bool,
    /// The group runs a service script.
    pub service: bool,
    /// From the start of a daemon until it is READY; `None`: no limit.
    pub startup_timeout: Option<Duration>,
    /// For requests in progress when a daemon is replaced; `None`: no limit.
    pub graceful_timeout: Option<Duration>,
    /// From an eviction (SIGUSR1) until the daemon is told to end; `None`: as `graceful_timeout`.
    pub eviction_timeout: Option<Duration>,
    /// For requests in progress when a daemon is ended; `None`: no limit.
    pub shutdown_timeout: Option<Duration>,
    /// Age at which a daemon is replaced.
    pub restart_interval: Option<Duration>,
}

impl Settings {
    /// What the options of the group say.
    pub fn of(options: &DaemonOptions, eager: bool) -> Settings {
        Settings {
            processes: usize::try_from(options.processes()).unwrap_or(usize::MAX),
            // Nothing ever waits in the queue of a service script.
            eager: eager || options.service(),
            service: options.service(),
            startup_timeout: options.startup_timeout,
            graceful_timeout: options.graceful_timeout,
            eviction_timeout: options.eviction_timeout,
            shutdown_timeout: options.shutdown_timeout,
            restart_interval: options.restart_interval,
        }
    }
}

/// What a decision needs to know of the world.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time.
    pub now: Time,
    /// A random number from 0 up to but not including 1.
    pub jitter: f64,
    /// How many daemons the group may start now ([`share`]).
    pub starts: usize,
}

/// What happened to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time passing, or starts becoming possible.
    Tick,
    /// A request waits in the queue, and has waited since the last look.
    Demand,
    /// The process said that it serves requests.
    Ready(ProcessId),
    /// The process has completed a request.
    Served(ProcessId),
    /// The process goes on serving, but should be replaced.
    Replace(ProcessId, Reason),
    /// The process takes no more requests and is about to end.
    Exiting(ProcessId, Reason),
    /// The process is gone, or could not be started.
    Gone(ProcessId, Exit),
    /// All daemons are to be replaced.
    Reload,
    /// The group is no longer wanted: its daemons drain.
    Retire,
    /// The server ends.
    Stop,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was never there: starting it failed.
    NotStarted,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a daemon of that generation.
    Spawn(ProcessId, u64),
    /// Ask it to finish what it has and to take nothing new.
    Drain(ProcessId),
    /// Send it SIGTERM.
    Terminate(ProcessId),
    /// Send it SIGKILL.
    Kill(ProcessId),
    /// Tell the administrator.
    Note(Note),
}

/// What the administrator should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// A daemon did not become READY in time.
    StartupTimeout(ProcessId),
    /// A daemon was killed because it did not end in time.
    Overdue(ProcessId),
    /// A daemon ended although nobody asked it to.
    Died(ProcessId, Exit),
    /// So many starts in a row have failed; requests are refused until one succeeds. The next try is after that time.
    Failed(u32, Duration),
    /// So many starts of a new generation have failed; the last good one goes on serving. The next try is after that
    /// time.
    KeepsOld(u32, Duration),
    /// Daemons start again.
    Recovered,
    /// A new generation has replaced the old one completely.
    Replaced(u64),
}

/// How a group is, for those who want to send requests to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No daemon; the first request starts one.
    Idle,
    /// A daemon is being started; requests wait.
    Starting,
    /// Daemons serve requests.
    Ready,
    /// Daemons finish what they have; nobody takes requests.
    Draining,
    /// Daemons cannot be started; requests are refused.
    Failed {
        /// The next try; `None`: one is on its way.
        retry: Option<Time>,
        /// No older daemon is left that may be running requests.
        alone: bool,
    },
}

/// Why a daemon ends. The names are those that applications get with mod_wsgi's `process_stopping` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// SIGTERM or SIGINT
    ShutdownSignal = 1,
    /// SIGUSR1, or replaced
    GracefulSignal = 2,
    /// SIGUSR1 where `eviction-timeout` is set
    EvictionSignal = 3,
    /// `maximum-requests`
    MaximumRequests = 4,
    /// `restart-interval`
    RestartInterval = 5,
    /// `inactivity-timeout`
    InactivityTimeout = 6,
    /// `request-timeout`
    RequestTimeout = 7,
    /// `startup-timeout`
    StartupTimeout = 8,
    /// `deadlock-timeout`
    DeadlockTimeout = 9,
    /// `cpu-time-limit`
    CpuTimeLimit = 10,
    /// A script was changed
    ScriptReload = 11,
    /// A service script returned
    ServiceEnd = 12,
}

impl Reason {
    const ALL: [Reason; 12] = [
        Reason::ShutdownSignal,
        Reason::GracefulSignal,
        Reason::EvictionSignal,
        Reason::MaximumRequests,
        Reason::RestartInterval,
        Reason::InactivityTimeout,
        Reason::RequestTimeout,
        Reason::StartupTimeout,
        Reason::DeadlockTimeout,
        Reason::CpuTimeLimit,
        Reason::ScriptReload,
        Reason::ServiceEnd,
    ];

    /// The reason of that number.
    pub fn from_number(number: u8) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.number() == number)
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Reason::ShutdownSignal => "shutdown_signal",
            Reason::GracefulSignal => "graceful_signal",
            Reason::EvictionSignal => "eviction_signal",
            Reason::MaximumRequests => "maximum_requests",
            Reason::RestartInterval => "restart_interval",
            Reason::InactivityTimeout => "inactivity_timeout",
            Reason::RequestTimeout => "request_timeout",
            Reason::StartupTimeout => "startup_timeout",
            Reason::DeadlockTimeout => "deadlock_timeout",
            Reason::CpuTimeLimit => "cpu_time_limit",
            Reason::ScriptReload => "script_reload",
            Reason::ServiceEnd => "service_end",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
