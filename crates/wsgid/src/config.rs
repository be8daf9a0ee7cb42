//! The configuration that httpd sends, put together from its messages.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use wsgi_core::abi::Level;
use wsgi_core::daemon_options::DaemonOptions;
use wsgi_core::directive::NameValue;
use wsgi_core::stats::shelf::Shelf;
use wsgi_core::supervision::{Settings, State};
use wsgi_core::wire::control::parent::{Begin, Group};
use wsgi_core::wire::control::{Preload, published, status};

use crate::identity::Identity;
use crate::launch::Plan;

/// A configuration of which more is to come.
#[derive(Debug)]
pub struct Incoming {
    begin: Begin,
    status: File,
    /// Where administrators are heard.
    control: Option<OwnedFd>,
    /// The server's error log.
    log: Option<OwnedFd>,
    groups: Vec<Declared>,
    /// The first thing that is wrong with it.
    fault: Option<String>,
}

/// A group as the configuration declares it.
#[derive(Debug)]
pub struct Declared {
    /// What its daemons are and do.
    pub character: Character,
    /// Replace its daemons in any case.
    pub renew: bool,
    /// Less important records of it and of its daemons are not logged.
    pub log_level: Level,
    /// The receiving end of its queue.
    pub queue: OwnedFd,
    /// What httpd's threads do, for its daemons, if they may see that.
    pub scoreboard: Option<OwnedFd>,
    /// Its error log, if it has one of its own.
    pub log: Option<OwnedFd>,
}

/// All that makes a daemon what it is: two daemons with the same are the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Character {
    /// How it is started.
    pub plan: Plan,
    /// When.
    pub settings: Settings,
    /// What it is told of the server.
    pub facts: Vec<NameValue>,
    /// What holds for its interpreters.
    pub interpreters: Vec<NameValue>,
    /// What it loads before it is READY.
    pub preload: Vec<Preload>,
    /// The socket that it takes requests from.
    queue: u64,
}

/// A complete configuration, as long as httpd children of it live.
#[derive(Debug)]
pub struct Configuration {
    /// Its number.
    pub generation: u64,
    /// Names of its groups, in order.
    pub names: Vec<Vec<u8>>,
    /// Ends with the last of its httpd children.
    pub lifeline: OwnedFd,
    /// What httpd's own processes count, and how that is laid out.
    pub counters: Option<(File, Shelf)>,
    /// Where administrators are heard, until it is in effect.
    pub control: Option<OwnedFd>,
    status: File,
    /// What the status page says.
    shown: Vec<Option<State>>,
}

impl Incoming {
    /// Begins.
    ///
    /// # Errors
    /// When the status page is missing.
    pub fn new(begin: Begin, descriptors: Vec<OwnedFd>) -> Result<Incoming, String> {
        let mut descriptors = descriptors.into_iter();
        let status = descriptors.next().ok_or("the status page is missing")?;
        Ok(Incoming {
            control: if begin.listens { descriptors.next() } else { None },
            begin,
            status: File::from(status),
            log: descriptors.next(),
            groups: Vec::new(),
            fault: None,
        })
    }

    /// Its number.
    pub fn generation(&self) -> u64 {
        self.begin.generation
    }

    /// Adds a group.
    pub fn group(&mut self, group: Group, descriptors: Vec<OwnedFd>) {
        let name = String::from_utf8_lossy(&group.name).into_owned();
        match self.declare(group, descriptors) {
            Ok(declared) => self.groups.push(declared),
            Err(reason) => {
                self.fault.get_or_insert(format!("group '{name}': {reason}"));
            }
        }
    }

    /// Completes it: the configuration itself, its groups, and what is to be logged.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn end(self, descriptors: Vec<OwnedFd>) -> Result<(Configuration, Vec<Declared>, Level), String> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.groups.len() != usize::from(self.begin.groups) {
            return Err(format!(
                "{} groups were announced, {} came",
                self.begin.groups,
                self.groups.len()
            ));
        }
        let mut descriptors = descriptors.into_iter();
        let lifeline = descriptors.next().ok_or("the lifeline is missing")?;
        let [processes, threads] = ["apache.maximum_processes", "apache.threads_per_process"].map(|name| {
            let fact = self.begin.facts.iter().find(|(known, _)| known == name.as_bytes());
            fact.and_then(|(_, value)| str::from_utf8(value).ok()?.parse().ok())
        });
        let shelf = processes
            .zip(threads)
            .map(|(processes, threads)| Shelf::of(processes, threads));
        let names = self
            .groups
            .iter()
            .map(|group| group.character.name().to_vec())
            .collect::<Vec<_>>();
        if let Some(log) = self.log {
            // The file of before may have been moved away. If that fails, it stays.
            let _ = rustix::stdio::dup2_stderr(&log);
        }
        let configuration = Configuration {
            generation: self.begin.generation,
            shown: vec![None; names.len()],
            names,
            lifeline,
            counters: descriptors.next().map(File::from).zip(shelf),
            control: self.control,
            status: self.status,
        };
        Ok((configuration, self.groups, self.begin.log_level))
    }

    fn declare(&self, group: Group, descriptors: Vec<OwnedFd>) -> Result<Declared, String> {
        if self.groups.iter().any(|known| known.character.name() == group.name) {
            return Err("is declared twice".to_owned());
        }
        let mut descriptors = descriptors.into_iter().peekable();
        let queue = descriptors.next().ok_or("its queue is missing")?;
        let inode = rustix::fs::fstat(&queue)
            .map_err(|error| format!("its queue cannot be used: {error}"))?
            .st_ino;
        let options = DaemonOptions::from_written(group.name, group.options)?;
        let identity = Identity::find(&options, self.begin.uid, self.begin.gid)?;
        let settings = Settings::of(&options, group.eager);
        Ok(Declared {
            character: Character {
                plan: Plan::new(options, identity, &group.python, &self.begin.host, &group.environment)?,
                settings,
                facts: self.begin.facts.clone(),
                interpreters: group.interpreters,
                preload: group.preload,
                queue: inode,
            },
            renew: group.renew,
            log_level: group.log_level,
            queue,
            scoreboard: descriptors.next_if(|_| group.scoreboard),
            log: descriptors.next(),
        })
    }
}

impl Character {
    /// Name of the group.
    pub fn name(&self) -> &[u8] {
        &self.plan.options.name
    }
}

impl Configuration {
    /// Shows a report.
    pub fn publish(&mut self, report: &[u8]) {
        // Readers see what is not whole.
        let _ = published::write(&self.status, status::REPORT_AT, report);
    }

    /// Shows the state of its group number `at`.
    pub fn show(&mut self, at: usize, state: State) {
        if let Some(shown) = self.shown.get_mut(at)
            && *shown != Some(state)
            && let Ok(offset) = u64::try_from(at * status::SLOT)
        {
            // A page that cannot be written leaves httpd with what it said before; requests then wait instead of
            // failing.
            let _ = self.status.write_all_at(&status::encode(state), offset);
            *shown = Some(state);
        }
    }
}
