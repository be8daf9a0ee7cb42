//! The decisions for one group.

use std::time::Duration;

use super::process::{Phase, Process};
use super::{
    Action, Claim, Event, Exit, LEAVING_MARGIN, Moment, Note, PACE, ProcessId, Reason, SERVICE_PAUSE, STABLE,
    STOP_LIMIT, Settings, State, TRIES, Time, backoff,
};

/// One process group and its daemons.
#[derive(Clone, Debug)]
pub struct Group {
    settings: Settings,
    /// What new daemons belong to.
    generation: u64,
    /// How many daemons there should be.
    target: usize,
    processes: Vec<Process>,
    /// The number of the next process.
    next: u64,
    /// Failed starts in a row.
    failures: u32,
    last_failure: Time,
    /// No start before that.
    retry: Option<Time>,
    last_start: Option<Time>,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    No,
    Retiring,
    Stopping,
}

impl Group {
    /// A group without daemons; the next [`Event::Tick`] starts those of an eager one.
    pub fn new(settings: Settings, generation: u64) -> Group {
        Group {
            target: if settings.eager { settings.processes } else { 0 },
            settings,
            generation,
            processes: Vec::new(),
            next: 1,
            failures: 0,
            last_failure: Time::ZERO,
            retry: None,
            last_start: None,
            ending: Ending::No,
        }
    }

    /// Takes over new settings; daemons of other generations are replaced. With `generation` as before nothing about the
    /// group has changed, and its daemons stay.
    pub fn configure(&mut self, settings: Settings, generation: u64) {
        self.target = if settings.eager {
            settings.processes
        } else {
            self.target.min(settings.processes)
        };
        self.settings = settings;
        if generation != self.generation {
            self.renew(generation);
        }
        if self.ending == Ending::Retiring {
            self.ending = Ending::No;
        }
    }

    /// Says what to do after `event`.
    pub fn handle(&mut self, event: Event, moment: &Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        self.settle(moment.now);
        self.note(event, moment, &mut actions);
        self.enforce(moment, &mut actions);
        match self.ending {
            Ending::No => self.reconcile(moment, &mut actions),
            Ending::Retiring => self.retire(moment.now, &mut actions),
            Ending::Stopping => self.stop(moment.now, &mut actions),
        }
        actions
    }

    /// When to call [`Group::handle`] with [`Event::Tick`] at the latest.
    pub fn timer(&self) -> Option<Time> {
        let retry = self.retry.filter(|_| self.ending == Ending::No);
        self.processes.iter().filter_map(Process::timer).chain(retry).min()
    }

    /// How the group is.
    pub fn state(&self) -> State {
        if self.processes.iter().any(Process::ready) {
            return State::Ready;
        }
        if self.ending != Ending::No {
            State::Draining
        } else if self.failures >= TRIES {
            State::Failed {
                retry: self.retry,
                alone: !self.processes.iter().any(Process::ending),
            }
        } else if self.starting() > 0 || self.target > 0 {
            State::Starting
        } else if self.processes.is_empty() {
            State::Idle
        } else {
            State::Draining
        }
    }

    /// How far a process has come, in one word, and its generation.
    pub fn phase(&self, id: ProcessId) -> (&'static str, u64) {
        let process = self.processes.iter().find(|process| process.id == id);
        process.map_or(("ending", 0), |process| {
            let phase = match process.phase {
                Phase::Starting { .. } => "starting",
                Phase::Ready { .. } => "serving",
                Phase::Draining { .. } => "draining",
                Phase::Terminating { .. } | Phase::Killed => "ending",
            };
            (phase, process.generation)
        })
    }

    /// Number of daemons that are being started.
    pub fn starting(&self) -> usize {
        self.processes.iter().filter(|process| process.starting()).count()
    }

    /// What it asks for when starts are shared out.
    pub fn claim(&self, now: Time) -> Claim {
        let starts = || self.processes.iter().filter(|process| process.starting());
        let young = |process: &&Process| process.young(now);
        Claim {
            wants: self.missing(now),
            busy: starts().filter(young).filter(|process| !process.quiet).count(),
            troubled: self.failures > 0 || starts().any(|process| !process.young(now)),
            last: self.last_start,
        }
    }

    /// Those whose start may take processor time, as far as time tells.
    pub fn young(&self, now: Time) -> impl Iterator<Item = ProcessId> {
        self.processes
            .iter()
            .filter(move |process| process.young(now))
            .map(|process| process.id)
    }

    /// Whether the start of that daemon waits for something else than the processor: then it keeps nobody else from
    /// starting.
    pub fn set_quiet(&mut self, id: ProcessId, quiet: bool) {
        if let Some(process) = self.process(id) {
            process.quiet = quiet;
        }
    }

    /// Whether [`Event::Demand`] would start a daemon: fewer are there than may be, and none is on its way.
    pub fn open(&self) -> bool {
        let present = self.processes.iter().filter(|process| !process.ending()).count();
        let coming = self.starting() > 0 || self.retry.is_some() || self.failures >= TRIES;
        self.ending == Ending::No && !self.settings.eager && !coming && present < self.settings.processes
    }

    /// Whether that daemon serves requests.
    pub fn serves(&self, id: ProcessId) -> bool {
        self.processes.iter().any(|process| process.id == id && process.ready())
    }

    /// What new daemons belong to.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the group has no daemons left and wants none.
    pub fn finished(&self) -> bool {
        self.ending != Ending::No && self.processes.is_empty()
    }

    /// Records what happened.
    fn note(&mut self, event: Event, moment: &Moment, actions: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Demand => {
                if self.open() {
                    let ready = self.processes.iter().filter(|process| process.ready()).count();
                    self.target = self.target.max(ready + 1);
                }
            }
            Event::Ready(id) => self.ready(id, moment, actions),
            Event::Served(id) => {
                if let Some(process) = self.process(id) {
                    process.served = true;
                }
            }
            Event::Replace(id, reason) => self.replace(id, reason, moment.now),
            Event::Exiting(id, reason) => self.exiting(id, reason, moment, actions),
            Event::Gone(id, exit) => self.gone(id, exit, moment, actions),
            Event::Reload => self.renew(self.generation + 1),
            Event::Retire => self.ending = self.ending.max(Ending::Retiring),
            Event::Stop => self.ending = Ending::Stopping,
        }
    }

    fn renew(&mut self, generation: u64) {
        self.generation = generation;
        self.failures = 0;
        self.retry = None;
    }

    fn process(&mut self, id: ProcessId) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.id == id)
    }

    fn ready(&mut self, id: ProcessId, moment: &Moment, actions: &mut Vec<Action>) {
        // Each daemon a little later than the interval, so that those started together are not replaced together.
        let restart = self.settings.restart_interval.map(|interval| {
            let jitter = interval.mul_f64(moment.jitter.clamp(0.0, 1.0) / 10.0);
            moment.now + interval + jitter
        });
        let Some(process) = self.process(id).filter(|process| process.starting()) else {
            return;
        };
        process.phase = Phase::Ready { since: moment.now };
        process.restart_at = restart;
        self.retry = None;
        if self.failures >= TRIES {
            actions.push(Action::Note(Note::Recovered));
        }
    }

    fn replace(&mut self, id: ProcessId, reason: Reason, now: Time) {
        let wanted = self.generation;
        let eviction = self.settings.eviction_timeout;
        let Some(process) = self.process(id).filter(|process| !process.ending()) else {
            return;
        };
        match reason {
            // The code has changed for all of them. A daemon says so once for each change: if it comes from one that is
            // being replaced in vain, the change may be the repair.
            Reason::ScriptReload if process.generation == wanted => self.renew(wanted + 1),
            Reason::ScriptReload => {
                let recent = self.last_start.is_some_and(|at| now < at + backoff::FIRST * 10);
                if self.failures > 0 && !recent {
                    self.renew(wanted + 1);
                }
            }
            Reason::EvictionSignal => {
                process.leaving = true;
                process.evict_at = process.evict_at.or(eviction.map(|limit| now + limit));
            }
            _ => process.leaving = true,
        }
    }

    fn exiting(&mut self, id: ProcessId, reason: Reason, moment: &Moment, actions: &mut Vec<Action>) {
        let until = self
            .settings
            .shutdown_timeout
            .map(|limit| moment.now + limit + LEAVING_MARGIN);
        let eager = self.settings.eager;
        let Some(process) = self.process(id).filter(|process| !process.ending()) else {
            return;
        };
        let current = process.generation;
        process.phase = Phase::Draining { until };
        process.leaving = true;
        match reason {
            // Nobody needs it: the next request starts another one.
            Reason::InactivityTimeout if !eager => {
                let present = self.processes.iter().filter(|process| !process.ending()).count();
                self.target = self.target.min(present);
            }
            Reason::StartupTimeout if current == self.generation => self.failed(moment, actions),
            Reason::ServiceEnd => self.retry = Some(moment.now + SERVICE_PAUSE),
            _ => {}
        }
    }

    fn gone(&mut self, id: ProcessId, exit: Exit, moment: &Moment, actions: &mut Vec<Action>) {
        let Some(at) = self.processes.iter().position(|process| process.id == id) else {
            return;
        };
        let process = self.processes.swap_remove(at);
        let unstable = match process.phase {
            Phase::Starting { .. } => true,
            Phase::Ready { since } => !process.served && moment.now < since + STABLE,
            Phase::Draining { .. } if exit != Exit::Code(0) => false,
            Phase::Draining { .. } | Phase::Terminating { .. } | Phase::Killed => return,
        };
        if self.ending == Ending::Stopping {
            return;
        }
        if self.settings.service && process.ready() && exit == Exit::Code(0) {
            self.retry = Some(moment.now + SERVICE_PAUSE);
            return;
        }
        actions.push(Action::Note(Note::Died(id, exit)));
        if unstable && process.generation == self.generation {
            self.failed(moment, actions);
        } else if let Phase::Ready { since } = process.phase {
            self.retry = self.retry.max(Some(since + PACE));
        }
    }

    /// Counts a failed start.
    fn failed(&mut self, moment: &Moment, actions: &mut Vec<Action>) {
        self.failures = self.failures.saturating_add(1);
        self.last_failure = moment.now;
        let delay = backoff::delay(self.failures, moment.jitter);
        self.retry = Some(moment.now + delay);
        if self.failures < TRIES {
            return;
        }
        let serving = self.processes.iter().any(Process::ready);
        actions.push(Action::Note(if serving {
            Note::KeepsOld(self.failures, delay)
        } else {
            Note::Failed(self.failures, delay)
        }));
    }

    /// Acts on the times that have come.
    fn enforce(&mut self, moment: &Moment, actions: &mut Vec<Action>) {
        let (settings, now, wanted) = (&self.settings, moment.now, self.generation);
        let mut late = 0;
        for process in &mut self.processes {
            if process.timer().is_none_or(|timer| now < timer) {
                continue;
            }
            match process.phase {
                Phase::Starting { .. } => {
                    process.phase = Phase::Killed;
                    late += usize::from(process.generation == wanted);
                    actions.push(Action::Note(Note::StartupTimeout(process.id)));
                    actions.push(Action::Kill(process.id));
                }
                Phase::Ready { .. } if process.evict_at.is_some_and(|time| time <= now) => {
                    terminate(process, settings.shutdown_timeout, now, actions);
                }
                Phase::Ready { .. } => process.leaving = true,
                Phase::Draining { .. } => terminate(process, settings.shutdown_timeout, now, actions),
                Phase::Terminating { .. } => {
                    process.phase = Phase::Killed;
                    actions.push(Action::Note(Note::Overdue(process.id)));
                    actions.push(Action::Kill(process.id));
                }
                Phase::Killed => {}
            }
        }
        for _ in 0..late {
            self.failed(moment, actions);
        }
    }

    /// Forgets failures when a daemon that was READY after the last of them has proved itself.
    fn settle(&mut self, now: Time) {
        let stable = self.processes.iter().any(|process| match process.phase {
            Phase::Ready { since } => since >= self.last_failure && (process.served || now >= since + STABLE),
            _ => false,
        });
        if stable {
            self.failures = 0;
        }
    }

    /// Starts what is missing, and lets go what is replaced.
    fn reconcile(&mut self, moment: &Moment, actions: &mut Vec<Action>) {
        self.start(moment, actions);
        let outdated = |process: &Process, wanted: u64| process.leaving || process.generation != wanted;
        let mut ready = self.processes.iter().filter(|process| process.ready()).count();
        let mut drained = false;
        let (wanted, target, until) = (self.generation, self.target, self.settings.graceful_timeout);
        for process in &mut self.processes {
            if process.ready() && ready > target && outdated(process, wanted) {
                process.phase = Phase::Draining {
                    until: process.evict_at.or(until.map(|limit| moment.now + limit)),
                };
                actions.push(Action::Drain(process.id));
                ready -= 1;
                drained |= process.generation != wanted;
            }
        }
        let left = self
            .processes
            .iter()
            .any(|process| !process.ending() && process.generation != wanted);
        if drained && !left {
            actions.push(Action::Note(Note::Replaced(wanted)));
        }
        // Each drain makes room for the next replacement.
        if !actions.is_empty() {
            self.start(moment, actions);
        }
    }

    fn start(&mut self, moment: &Moment, actions: &mut Vec<Action>) {
        if self.retry.is_some_and(|retry| moment.now < retry) {
            return;
        }
        self.retry = None;
        let spawned = actions
            .iter()
            .filter(|action| matches!(action, Action::Spawn(..)))
            .count();
        for _ in 0..self.missing(moment.now).min(moment.starts.saturating_sub(spawned)) {
            let id = ProcessId(self.next);
            self.next += 1;
            self.last_start = Some(moment.now);
            self.processes.push(Process {
                id,
                generation: self.generation,
                phase: Phase::Starting {
                    since: moment.now,
                    until: self.settings.startup_timeout.map(|limit| moment.now + limit),
                },
                restart_at: None,
                leaving: false,
                evict_at: None,
                served: false,
                quiet: false,
            });
            actions.push(Action::Spawn(id, self.generation));
        }
    }

    /// How many daemons it would start now.
    fn missing(&self, now: Time) -> usize {
        if self.ending != Ending::No || self.retry.is_some_and(|retry| now < retry) {
            return 0;
        }
        let count = |of: &dyn Fn(&Process) -> bool| self.processes.iter().filter(|process| of(process)).count();
        let fresh = count(&|process| !process.ending() && !process.leaving && process.generation == self.generation);
        let present = count(&|process| !process.ending());
        let ending = count(&Process::ending);
        // Up to its number the group takes what it gets; above it, one daemon at a time, and none while many old ones
        // still finish: changes in quick succession must not pile up processes.
        let more = usize::from(present <= self.target && ending <= 2 * self.target);
        let room = self.target.saturating_sub(present) + more;
        let missing = self.target.saturating_sub(fresh).min(room);
        // A generation that has failed is tried with one daemon at a time.
        if self.failures > 0 {
            missing.min(1_usize.saturating_sub(self.starting()))
        } else {
            missing
        }
    }

    fn retire(&mut self, now: Time, actions: &mut Vec<Action>) {
        for process in &mut self.processes {
            match process.phase {
                Phase::Starting { .. } => terminate(process, self.settings.shutdown_timeout, now, actions),
                Phase::Ready { .. } => {
                    process.phase = Phase::Draining {
                        until: self.settings.graceful_timeout.map(|limit| now + limit),
                    };
                    actions.push(Action::Drain(process.id));
                }
                Phase::Draining { .. } | Phase::Terminating { .. } | Phase::Killed => {}
            }
        }
    }

    fn stop(&mut self, now: Time, actions: &mut Vec<Action>) {
        let limit = self.settings.shutdown_timeout.unwrap_or(STOP_LIMIT);
        for process in &mut self.processes {
            match process.phase {
                Phase::Starting { .. } | Phase::Ready { .. } | Phase::Draining { .. } => {
                    terminate(process, Some(limit), now, actions);
                }
                Phase::Terminating { until } if until.is_none_or(|until| until > now + limit) => {
                    process.phase = Phase::Terminating {
                        until: Some(now + limit),
                    };
                }
                Phase::Terminating { .. } | Phase::Killed => {}
            }
        }
    }
}

fn terminate(process: &mut Process, limit: Option<Duration>, now: Time, actions: &mut Vec<Action>) {
    process.phase = Phase::Terminating {
        until: limit.map(|limit| now + limit),
    };
    actions.push(Action::Terminate(process.id));
}
