//! The loop: waits until something happens, and passes it on to whom it concerns.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use wsgi_core::abi::Level;
use wsgi_core::stats::report::Report;
use wsgi_core::supervision::{Claim, Event, ProcessId, State, Time, share};
use wsgi_core::wire::control::command::{Answer, Command};
use wsgi_core::wire::control::parent::{FromSupervisor, ToSupervisor};

use crate::config::{Configuration, Declared, Incoming};
use crate::control::Control;
use crate::group::{Group, LOOK, Tools};
use crate::log::Log;
use crate::report::report;
use crate::sys::socket::{self, Received};
use crate::sys::{clock, signal};

/// How often a report is made.
const REPORT: Duration = Duration::from_secs(1);

/// The same for each daemon.
const REPORT_PER_DAEMON: Duration = Duration::from_millis(10);

/// The whole program.
#[derive(Debug)]
pub struct Supervisor {
    log: Log,
    signals: SignalFd,
    /// `/dev/null`, for daemons.
    null: OwnedFd,
    /// The control socket. Never closed: its number is where daemons get theirs.
    control: OwnedFd,
    /// That of administrators.
    administrators: Control,
    /// When the next report is made.
    next_report: Time,
    /// httpd's parent process is there.
    parent: bool,
    stopping: bool,
    incoming: Option<Incoming>,
    /// The parent has been told that it is not understood.
    deaf: bool,
    /// Those that httpd children live of; the newest one last.
    configurations: Vec<Configuration>,
    groups: Vec<Group>,
    /// Daemons that may be starting at the same time.
    starts: usize,
    /// When to look again who may start: somebody has to wait.
    next_share: Option<Time>,
}

/// What became readable.
#[derive(Clone, Copy, Debug)]
enum Source {
    Control,
    Signals,
    Lifeline(u64),
    Queue,
    Administrators,
    Daemon(usize, ProcessId),
    Ended(usize, ProcessId),
}

impl Supervisor {
    /// A supervisor without groups.
    pub fn new(control: OwnedFd, null: OwnedFd, signals: SignalFd) -> Supervisor {
        Supervisor {
            log: Log::default(),
            signals,
            null,
            control,
            administrators: Control::default(),
            next_report: Time::ZERO,
            parent: true,
            stopping: false,
            incoming: None,
            deaf: false,
            configurations: Vec::new(),
            groups: Vec::new(),
            // One more than the processors: a start waits for the disk, too.
            starts: std::thread::available_parallelism().map_or(2, |cores| cores.get() + 1),
            next_share: None,
        }
    }

    /// Runs until the server has ended.
    pub fn run(&mut self) {
        while !self.done() {
            let ready = self.wait();
            for source in ready {
                match source {
                    Source::Control => self.listen(),
                    Source::Signals => {
                        if signal::asked_to_end(&self.signals) {
                            self.asked_to_end();
                        }
                    }
                    Source::Lifeline(generation) => self.orphan(generation),
                    // Looked at below.
                    Source::Queue | Source::Administrators => {}
                    Source::Daemon(at, id) => self.group(at, |group, tools| group.hear(id, tools)),
                    Source::Ended(at, id) => self.group(at, |group, tools| group.reap(id, tools)),
                }
            }
            self.attend();
            self.settle();
        }
    }

    /// SIGTERM has come. Some init systems send it to every process of a service at once: what httpd still has to finish
    /// needs its daemons, and httpd says when it has.
    fn asked_to_end(&mut self) {
        if self.parent {
            let text = "WSGI0762: SIGTERM is not for this process: it ends when httpd does";
            self.log.write(Level::Info, text);
        } else {
            self.stop("SIGTERM");
        }
    }

    /// Brings everything up to date.
    fn settle(&mut self) {
        for at in 0..self.groups.len() {
            self.group(at, Group::look);
        }
        self.start();
        self.show();
        self.publish();
        let configurations = &self.configurations;
        self.groups.retain(|group| {
            let named = configurations
                .iter()
                .any(|known| known.names.iter().any(|name| name == group.name()));
            !group.finished() || (named && !self.stopping)
        });
    }

    /// Lets the groups act on the time, and start what they may.
    fn start(&mut self) {
        let now = clock::now();
        if self.next_share.is_some_and(|time| time <= now) {
            for group in &mut self.groups {
                group.watch_starts(now);
            }
            self.next_share = None;
        }
        let claims: Vec<Claim> = self.groups.iter().map(|group| group.claim(now)).collect();
        let shares = share(&claims, self.starts, now);
        if claims.iter().zip(&shares).any(|(claim, share)| claim.wants > *share) {
            self.next_share.get_or_insert(now + LOOK);
        }
        for (at, starts) in shares.into_iter().enumerate() {
            self.group_with(at, starts, |group, tools| group.tell(Event::Tick, tools));
        }
    }

    /// Shows how the groups are.
    fn show(&mut self) {
        let states: Vec<(Vec<u8>, State)> = self
            .groups
            .iter()
            .map(|group| (group.name().to_vec(), group.state()))
            .collect();
        for configuration in &mut self.configurations {
            for at in 0..configuration.names.len() {
                let state = states.iter().find(|(name, _)| *name == configuration.names[at]);
                configuration.show(at, state.map_or(State::Draining, |(_, state)| *state));
            }
        }
    }

    /// Shows how everything is, from time to time.
    fn publish(&mut self) {
        let now = clock::now();
        if self.next_report > now {
            return;
        }
        // Less often where there is much to look at.
        let daemons = self.groups.iter().map(|group| group.daemons().len()).sum::<usize>();
        self.next_report = now + REPORT.max(REPORT_PER_DAEMON * u32::try_from(daemons).unwrap_or(u32::MAX));
        if let Ok(report) = serde_json::to_vec(&report(&self.groups)) {
            for configuration in &mut self.configurations {
                configuration.publish(&report);
            }
        }
    }

    /// Does what administrators ask.
    fn attend(&mut self) {
        for (client, command) in self.administrators.attend() {
            let answer = match command {
                Command::Stacks { group } => match self.find(&group) {
                    Ok(at) => {
                        self.groups[at].ask_stacks(client);
                        continue;
                    }
                    Err(refusal) => refusal,
                },
                Command::Status => Answer::Report(self.full_report()),
                Command::Reload { group } => self.renew(&group, |group, tools| group.tell(Event::Reload, tools)),
                Command::Restart { group } => self.renew(&group, Group::restart),
            };
            self.administrators.answer(client, &answer);
        }
        for group in &mut self.groups {
            for (client, answer) in group.inquiries.finished(clock::now()) {
                self.administrators.answer(client, &answer);
            }
        }
    }

    /// How everything is, httpd's own processes included, which httpd's status page reads itself.
    fn full_report(&self) -> Report {
        let mut report = report(&self.groups);
        let counters = self.configurations.last().and_then(|newest| newest.counters.as_ref());
        if let Some((file, shelf)) = counters {
            let now = wsgi_core::clock::monotonic();
            report.add_own(shelf.group(file, now, rustix::param::page_size() as u64));
        }
        report
    }

    /// Where the group of that name is, or what to answer.
    fn find(&self, name: &str) -> Result<usize, Answer> {
        let found = self.groups.iter().position(|group| group.name() == name.as_bytes());
        found.ok_or_else(|| {
            let names = self.groups.iter().map(|group| String::from_utf8_lossy(group.name()));
            let names = names.collect::<Vec<_>>().join(", ");
            Answer::Refused(format!("there is no process group '{name}', only: {names}"))
        })
    }

    /// Gives a group new daemons.
    fn renew(&mut self, name: &str, by: impl FnOnce(&mut Group, &mut Tools<'_>)) -> Answer {
        let at = match self.find(name) {
            Ok(at) => at,
            Err(refusal) => return refusal,
        };
        if self.stopping {
            return Answer::Refused("the server ends".to_owned());
        }
        let old = self.groups[at].daemons().iter().map(|daemon| daemon.pid.as_raw());
        let old = old.filter_map(|pid| u32::try_from(pid).ok()).collect();
        self.log.write(
            Level::Notice,
            &format!("WSGI0740: group '{name}': its daemons are replaced, as an administrator asked"),
        );
        self.group(at, by);
        Answer::Begun {
            generation: self.groups[at].generation(),
            old,
        }
    }

    fn done(&self) -> bool {
        self.stopping && self.groups.is_empty()
    }

    /// Waits, and says what became readable.
    fn wait(&self) -> Vec<Source> {
        let mut sources = vec![Source::Signals];
        let mut polls = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let mut add = |source, socket, events| {
            sources.push(source);
            polls.push(PollFd::from_borrowed_fd(socket, events));
        };
        if self.parent {
            add(Source::Control, self.control.as_fd(), PollFlags::IN);
        }
        for configuration in &self.configurations {
            // Nothing is ever written to it: it only ends.
            let generation = configuration.generation;
            if self.concerned(configuration) {
                add(
                    Source::Lifeline(generation),
                    configuration.lifeline.as_fd(),
                    PollFlags::IN,
                );
            }
        }
        for (at, group) in self.groups.iter().enumerate() {
            if let Some(queue) = group.watched_queue() {
                add(Source::Queue, queue.as_fd(), PollFlags::IN);
            }
            for daemon in group.daemons() {
                add(Source::Ended(at, daemon.id), daemon.handle.as_fd(), PollFlags::IN);
                if let Some(control) = &daemon.control {
                    add(Source::Daemon(at, daemon.id), control.as_fd(), PollFlags::IN);
                }
            }
        }
        for (socket, writes) in self.administrators.sockets() {
            let events = if writes { PollFlags::OUT } else { PollFlags::IN };
            add(Source::Administrators, socket, events);
        }
        let timer = self.groups.iter().filter_map(Group::timer);
        let timer = timer.chain(self.administrators.timer()).chain([self.next_report]);
        let timer = timer.chain(self.next_share).min();
        let limit = timer.map(|timer| {
            let wait = timer.saturating_sub(clock::now());
            Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            }
        });
        match poll(&mut polls, limit.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Vec::new(),
            Err(error) => {
                self.log
                    .write(Level::Critical, &format!("WSGI0730: cannot wait for events: {error}"));
                std::process::exit(1);
            }
        }
        let ready = polls.iter().map(|poll| !poll.revents().is_empty());
        sources
            .iter()
            .zip(ready)
            .filter(|(_, ready)| *ready)
            .map(|(source, _)| *source)
            .collect()
    }

    /// The newest configuration goes on while httpd's parent is there, even when it has no children at the moment.
    fn concerned(&self, configuration: &Configuration) -> bool {
        let newest = self.configurations.last().map(|newest| newest.generation);
        !self.parent || newest != Some(configuration.generation)
    }

    /// Hears what httpd's parent says.
    fn listen(&mut self) {
        loop {
            match socket::receive(&self.control) {
                Received::Nothing => return,
                Received::End => {
                    self.parent = false;
                    if !self.stopping {
                        let text = "WSGI0731: httpd's parent process is gone; serving what is left of its children";
                        self.log.write(Level::Notice, text);
                        if self.configurations.is_empty() {
                            self.stop("httpd is gone");
                        }
                    }
                    return;
                }
                Received::Message(bytes, descriptors) => match ToSupervisor::decode(&bytes) {
                    Ok(message) => self.obey(message, descriptors),
                    Err(error) => {
                        self.incoming = None;
                        if !std::mem::replace(&mut self.deaf, true) {
                            self.answer(&FromSupervisor::Refused(0, error.to_string().into_bytes()));
                        }
                    }
                },
            }
        }
    }

    fn obey(&mut self, message: ToSupervisor, descriptors: Vec<OwnedFd>) {
        match message {
            // Nothing begins any more.
            ToSupervisor::Begin(begin) if self.stopping => self.refuse(begin.generation, "the supervisor ends"),
            ToSupervisor::Begin(begin) => {
                let generation = begin.generation;
                self.deaf = false;
                match Incoming::new(begin, descriptors) {
                    Ok(incoming) => self.incoming = Some(incoming),
                    Err(reason) => self.refuse(generation, &reason),
                }
            }
            ToSupervisor::Group(group) => {
                if let Some(incoming) = &mut self.incoming {
                    incoming.group(group, descriptors);
                }
            }
            ToSupervisor::End => {
                // If there is none, its beginning was refused.
                let Some(incoming) = self.incoming.take() else { return };
                let generation = incoming.generation();
                match incoming.end(descriptors) {
                    Ok((configuration, groups, level)) => {
                        self.log.level = level;
                        self.apply(configuration, groups);
                        // httpd serves as soon as it has the answer.
                        self.show();
                        self.answer(&FromSupervisor::Applied(generation));
                    }
                    Err(reason) => self.refuse(generation, &reason),
                }
            }
            ToSupervisor::Reload(name) => {
                if let Some(at) = self.groups.iter().position(|group| group.name() == name) {
                    self.group(at, |group, tools| group.tell(Event::Reload, tools));
                }
            }
            ToSupervisor::Stop => self.stop("httpd ends"),
        }
    }

    fn apply(&mut self, mut configuration: Configuration, groups: Vec<Declared>) {
        self.administrators.listen(configuration.control.take());
        let count = groups.len();
        for declared in groups {
            match self
                .groups
                .iter_mut()
                .find(|group| group.name() == declared.character.name())
            {
                Some(group) => group.declare(declared),
                None => self.groups.push(Group::new(declared)),
            }
        }
        let text = format!(
            "WSGI0700: configuration {} is in effect, with {count} process groups",
            configuration.generation
        );
        self.log.write(Level::Info, &text);
        self.configurations.push(configuration);
        self.retire();
    }

    fn refuse(&mut self, generation: u64, reason: &str) {
        let text = format!("WSGI0732: a configuration of daemon process groups cannot be used: {reason}");
        self.log.write(Level::Error, &text);
        self.answer(&FromSupervisor::Refused(generation, reason.as_bytes().to_vec()));
    }

    fn answer(&self, answer: &FromSupervisor) {
        if let Ok(message) = answer.encode() {
            // A parent that is gone needs no answer.
            let _ = socket::send(&self.control, &message, &[]);
        }
    }

    /// The last httpd child of a configuration has ended.
    fn orphan(&mut self, generation: u64) {
        self.configurations.retain(|known| known.generation != generation);
        if self.configurations.is_empty() {
            self.stop("the last httpd process is gone");
        } else {
            self.retire();
        }
    }

    /// Lets go the groups that no configuration names any more.
    fn retire(&mut self) {
        for at in 0..self.groups.len() {
            let name = self.groups[at].name();
            let named = self
                .configurations
                .iter()
                .any(|known| known.names.iter().any(|other| other == name));
            if !named {
                self.group(at, |group, tools| group.tell(Event::Retire, tools));
            }
        }
    }

    fn stop(&mut self, why: &str) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.log
            .write(Level::Info, &format!("WSGI0707: all daemons end: {why}"));
        for at in 0..self.groups.len() {
            self.group(at, |group, tools| group.tell(Event::Stop, tools));
        }
    }

    /// Lets a group act. What it wants to start it gets its share of later.
    fn group(&mut self, at: usize, act: impl FnOnce(&mut Group, &mut Tools<'_>)) {
        self.group_with(at, 0, act);
    }

    /// Lets a group act, and start so many daemons.
    fn group_with(&mut self, at: usize, starts: usize, act: impl FnOnce(&mut Group, &mut Tools<'_>)) {
        let Some(group) = self.groups.get_mut(at) else {
            return;
        };
        let mut tools = Tools {
            null: &self.null,
            place: &mut self.control,
            starts,
        };
        act(group, &mut tools);
    }
}
