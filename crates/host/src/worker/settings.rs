//! What a daemon is told by `wsgid` when it starts.

use std::time::Duration;

use wsgi_core::abi::Level;
use wsgi_core::daemon_options::DaemonOptions;
use wsgi_core::interpreter::Plan;
use wsgi_core::wire::control::{Preload, daemon as control};

use crate::api::{self, Apache};

/// Everything that a daemon is told.
pub struct Settings {
    /// Name of the group.
    pub group: String,
    /// Its options.
    pub options: DaemonOptions,
    /// `apache.version`
    pub apache_version: [u16; 3],
    /// Less important records are not logged.
    pub log_level: Level,
    /// `WSGISlowRequests`
    pub slow_requests: Option<Duration>,
    /// For the modules that applications import.
    pub api: api::Settings,
    /// Scripts to load before it is READY.
    pub preload: Vec<Preload>,
}

impl Settings {
    /// Reads what `wsgid` sent.
    ///
    /// # Errors
    /// When an option is none of this version.
    pub fn read(sent: control::Settings) -> Result<Settings, String> {
        let group = String::from_utf8_lossy(&sent.group).into_owned();
        let options = DaemonOptions::from_written(sent.group, sent.options)?;
        let fact = |name: &str| {
            let fact = sent.facts.iter().find(|(known, _)| known == name.as_bytes());
            fact.map_or_else(String::new, |(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let version = fact("apache.version");
        let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
        let plan = Plan::from_list(sent.interpreters.iter().map(|(name, value)| (&name[..], &value[..])))?;
        Ok(Settings {
            group,
            slow_requests: fact("slow_requests")
                .parse()
                .ok()
                .filter(|micros| *micros > 0)
                .map(Duration::from_micros),
            log_level: fact("log_level").parse().map_or(Level::Notice, Level::from_raw),
            apache_version: std::array::from_fn(|_| numbers.next().unwrap_or(0)),
            api: api::Settings {
                apache: Apache {
                    description: fact("apache.description"),
                    mpm_name: fact("apache.mpm_name"),
                    build_date: fact("apache.build_date"),
                    maximum_processes: fact("apache.maximum_processes").parse().unwrap_or(1),
                    threads_per_process: fact("apache.threads_per_process").parse().unwrap_or(1),
                },
                plan,
                maximum_processes: options.processes(),
                threads_per_process: options.threads,
            },
            options,
            preload: sent.preload,
        })
    }
}
