//! The main thread of a daemon: it listens to `wsgid` and to signals, and watches the clock.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use wsgi_core::abi::Level;
use wsgi_core::limits::{Limits, Running, Scene, Verdict};
use wsgi_core::supervision::{Reason, Time};
use wsgi_core::wire::control::daemon::{FromDaemon, MAX_STACKS, ToDaemon};

use super::activity::{Seat, now};
use super::control::Control;
use super::entry;
use super::pulse::{Job, Pulse};
use super::signals::ENDS;
use super::thread::Daemon;
use crate::adapter::exchange::ServerLog;
use crate::host::News;
use crate::slow::Slow;
use crate::stats::{Stats, micros};

/// How long Python may take to end when no request runs.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// How often `wsgid` is told that the clock is going.
const TICK: Duration = Duration::from_secs(1);

/// How long stacks wait for Python's lock before they are taken without it.
const STACKS: Duration = Duration::from_secs(1);

/// What the watch needs beside the daemon.
pub struct Parts {
    pub control: Arc<Control>,
    /// Looks for slow requests.
    pub slow: Option<Slow>,
    /// Where the bell is heard.
    pub hearing: OwnedFd,
    /// For the numbers.
    pub stats: Stats,
    pub limits: Limits,
    pub graceful: Option<Duration>,
    pub shutdown: Option<Duration>,
    /// Whether SIGUSR1 is an eviction.
    pub evicts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Requests are taken.
    Serving,
    /// Those that run may end; then, or at that time, the process does.
    Draining(Option<Time>),
    /// The same, and whoever runs at that time is cut off.
    Ending(Option<Time>),
}

/// Stacks on their way.
struct Wanted {
    come: mpsc::Receiver<String>,
    /// When Python's lock is waited for no longer; `None`: only the end of the process is.
    until: Option<Time>,
    reader: Reader,
}

/// Who reads them.
enum Reader {
    /// `wsgid` has asked.
    Supervisor,
    /// They go to the log, behind that text.
    Log(String),
}

/// The main thread at work.
pub struct Watch {
    daemon: Arc<Daemon>,
    parts: Parts,
    pulse: Pulse,
    phase: Phase,
    /// `wsgid` is there.
    supervised: bool,
    /// What it has been told already.
    told: Vec<Reason>,
    /// Why the process ends, as far as that is known.
    reason: Option<Reason>,
    /// Stacks that somebody waits for.
    wanted: Vec<Wanted>,
    /// Applications are being told of the end.
    told_end: Option<mpsc::Receiver<()>>,
    next_tick: Time,
}

impl Watch {
    /// Begins to watch.
    pub fn new(daemon: Arc<Daemon>, parts: Parts) -> Watch {
        Watch {
            pulse: Pulse::start(&daemon, &parts.limits),
            daemon,
            parts,
            phase: Phase::Serving,
            supervised: true,
            told: Vec::new(),
            reason: None,
            told_end: None,
            wanted: Vec::new(),
            next_tick: Time::ZERO,
        }
    }

    /// Watches until the end; returns the exit code.
    pub fn run(mut self) -> i32 {
        loop {
            let now = now();
            if self.daemon.present.load(Ordering::SeqCst) == 0 {
                return self.leave();
            }
            match self.phase {
                Phase::Draining(Some(until)) if until <= now => self.end(now),
                Phase::Ending(Some(until)) if until <= now => return self.cut_off(),
                _ => {}
            }
            self.tick(now);
            self.tell_stacks(now);
            let next = self.judge(now);
            self.wait(now, next);
        }
    }

    /// Lets time and what happens come, up to `next`.
    fn wait(&mut self, before: Time, next: Option<Time>) {
        let until = match self.phase {
            Phase::Serving => None,
            Phase::Draining(until) | Phase::Ending(until) => until,
        };
        let stacks = self.wanted.iter().filter_map(|wanted| wanted.until).min();
        let next = [next, until, stacks, Some(self.next_tick)].into_iter().flatten().min();
        let wait = next.map_or(TICK, |next| next.saturating_sub(before)) + Duration::from_millis(1);
        let wait = Timespec::try_from(wait).ok();
        let mut ears = vec![PollFd::new(&self.parts.hearing, PollFlags::IN)];
        if self.supervised {
            ears.push(PollFd::new(&self.parts.control, PollFlags::IN));
        }
        if poll(&mut ears, wait.as_ref()).is_err() {
            return;
        }
        let (bell, control) = (
            !ears[0].revents().is_empty(),
            ears.get(1).is_some_and(|ear| !ear.revents().is_empty()),
        );
        if bell {
            self.answer_bell();
        }
        if control {
            self.hear();
        }
    }

    fn answer_bell(&mut self) {
        let mut rung = [0; 64];
        let count = rustix::io::read(&self.parts.hearing, &mut rung).unwrap_or(0);
        for &number in &rung[..count] {
            let is = |signal: Signal| signal.as_raw() == i32::from(number);
            if ENDS.into_iter().any(is) {
                self.announce(&FromDaemon::Exiting(Reason::ShutdownSignal));
                self.end(now());
            } else if is(Signal::XCPU) {
                self.replace(Reason::CpuTimeLimit);
            } else if is(Signal::USR1) {
                self.replace(if self.parts.evicts {
                    Reason::EvictionSignal
                } else {
                    Reason::GracefulSignal
                });
            } else if is(Signal::HUP) {
                self.tell_signal("SIGHUP", Signal::HUP);
            } else if is(Signal::USR2) {
                self.tell_signal("SIGUSR2", Signal::USR2);
            }
        }
    }

    fn hear(&mut self) {
        match self.parts.control.hear() {
            // It says how long that may take, and keeps to it: its signal ends what is left.
            Ok(Some((ToDaemon::Drain(_), _))) => self.drain(None),
            Ok(Some((ToDaemon::Stacks, _))) => {
                self.want_stacks(None, Some(now() + STACKS), Reader::Supervisor);
            }
            Ok(Some((ToDaemon::Log(level), log))) => self.daemon.log.change(level, log.into_iter().next()),
            Ok(Some((ToDaemon::Settings(_), _))) => {}
            Ok(None) => self.orphaned(),
            Err(reason) => {
                let text = format!("WSGI0503: wsgid sent what cannot be understood: {reason}");
                self.daemon.log.log(Level::Error, text.as_bytes());
            }
        }
    }

    /// `wsgid` is gone.
    fn orphaned(&mut self) {
        if self.supervised {
            self.supervised = false;
            // From now on nobody else watches the time.
            self.drain(self.parts.graceful);
            let text = "WSGI0504: wsgid is gone: this daemon finishes its requests and ends";
            self.daemon.log.log(Level::Error, text.as_bytes());
        }
    }

    fn want_stacks(&mut self, application_group: Option<Vec<u8>>, until: Option<Time>, reader: Reader) {
        let (to, come) = mpsc::channel();
        self.pulse.ask(Job::Collect { application_group, to });
        self.wanted.push(Wanted { come, until, reader });
    }

    /// Hands out the stacks that are there, and those that cannot be waited for any longer.
    fn tell_stacks(&mut self, now: Time) {
        for wanted in std::mem::take(&mut self.wanted) {
            let text = match wanted.come.try_recv() {
                Ok(text) => text,
                Err(mpsc::TryRecvError::Empty) if wanted.until.is_none_or(|until| now < until) => {
                    self.wanted.push(wanted);
                    continue;
                }
                Err(_) => self.raw_stacks(),
            };
            match wanted.reader {
                Reader::Supervisor => {
                    let mut text = text.into_bytes();
                    text.truncate(MAX_STACKS);
                    self.announce(&FromDaemon::Stacks(text));
                }
                // All in one record: other processes write to the same log.
                Reader::Log(said) => {
                    let text = format!("{said}\n{}", text.trim_end());
                    self.daemon.log.log(Level::Error, text.as_bytes());
                }
            }
        }
    }

    /// Hands out, before the process ends, what is still wanted.
    fn tell_last_stacks(&mut self) {
        for wanted in &mut self.wanted {
            wanted.until = Some(Time::ZERO);
        }
        self.tell_stacks(now());
    }

    /// Stacks without Python's lock.
    fn raw_stacks(&self) -> String {
        match &self.daemon.raw {
            Some(raw) => raw.take(&self.daemon.host),
            None => String::from("Python's lock is held, and stacks cannot be read without it"),
        }
    }

    /// What the clock says; returns when to ask again.
    fn judge(&mut self, now: Time) -> Option<Time> {
        let threads: Vec<Option<Running>> = self.daemon.board.seats.iter().map(Seat::running).collect();
        let scene = Scene {
            now,
            threads: &threads,
            activity: self.daemon.board.activity.last(),
            python: self.pulse.last(),
            completed: self.daemon.board.completed.load(Ordering::SeqCst),
            waiting: self.daemon.report.waiting(),
            taking: self.phase == Phase::Serving,
        };
        for verdict in self.parts.limits.judge(&scene) {
            match verdict {
                Verdict::Interrupt(seat) => {
                    if let Some(running) = threads[seat] {
                        self.pulse.ask(Job::Interrupt {
                            seat,
                            since: running.since,
                        });
                    }
                }
                Verdict::Replace(reason) => {
                    if self.daemon.run_once && reason == Reason::MaximumRequests {
                        self.exit(reason, now);
                    } else {
                        self.replace(reason);
                    }
                }
                Verdict::End(reason) => self.exit(reason, now),
            }
        }
        self.parts.limits.next(&scene)
    }

    /// Asks to be replaced, and serves until then.
    fn replace(&mut self, reason: Reason) {
        if self.phase == Phase::Serving && !self.told.contains(&reason) {
            self.told.push(reason);
            if reason == Reason::RequestTimeout {
                self.report_overdue(now());
            }
            let text = format!("this daemon asks to be replaced: {reason}");
            self.daemon.log.log(Level::Info, text.as_bytes());
            self.announce(&FromDaemon::Replace(reason));
        }
    }

    /// Ends by itself.
    fn exit(&mut self, reason: Reason, now: Time) {
        if matches!(self.phase, Phase::Ending(_)) {
            return;
        }
        match reason {
            Reason::RequestTimeout if !self.told.contains(&reason) => self.report_overdue(now),
            Reason::DeadlockTimeout => {
                let text = format!(
                    "WSGI0507: nothing could run Python for deadlock-timeout: a C extension does not give its lock back\n{}",
                    self.raw_stacks().trim_end()
                );
                self.daemon.log.log(Level::Error, text.as_bytes());
            }
            Reason::StartupTimeout => {
                let text = "WSGI0509: requests have found no script that can be loaded for startup-timeout: the reasons \
                            stand above";
                self.daemon.log.log(Level::Error, text.as_bytes());
            }
            _ => {}
        }
        let text = format!("this daemon ends: {reason}");
        self.daemon.log.log(Level::Info, text.as_bytes());
        self.announce(&FromDaemon::Exiting(reason));
        self.end(now);
    }

    fn tell_signal(&self, name: &'static str, signal: Signal) {
        // Nobody waits for what they do.
        drop(self.daemon.host.tell(News::Signal(name, signal.as_raw())));
    }

    /// Tells the applications that the process takes no more requests and is about to end.
    fn tell_end(&mut self) {
        if self.told_end.is_none() {
            let reason = self.reason.unwrap_or(Reason::GracefulSignal);
            self.told_end = Some(self.daemon.host.tell(News::Stopping(reason.name())));
        }
    }

    fn announce(&mut self, message: &FromDaemon) {
        if let FromDaemon::Replace(reason) | FromDaemon::Exiting(reason) = message {
            self.reason = Some(*reason);
        }
        if self.supervised && !self.parts.control.say(message) {
            self.orphaned();
        }
    }

    fn drain(&mut self, limit: Option<Duration>) {
        let until = limit.map(|limit| now() + limit);
        match self.phase {
            Phase::Serving => {
                self.phase = Phase::Draining(until);
                self.tell_end();
                self.daemon.stop_taking();
            }
            Phase::Draining(None) => self.phase = Phase::Draining(until),
            Phase::Draining(Some(_)) | Phase::Ending(_) => {}
        }
    }

    fn end(&mut self, now: Time) {
        if !matches!(self.phase, Phase::Ending(_)) {
            self.phase = Phase::Ending(self.parts.shutdown.map(|limit| now + limit.saturating_sub(PATIENCE)));
            self.tell_end();
            self.daemon.stop_taking();
        }
    }

    /// Ends with no request running.
    fn leave(mut self) -> i32 {
        self.tell_last_stacks();
        let Watch {
            daemon,
            pulse,
            parts,
            told_end,
            ..
        } = self;
        // Exit handlers may take as long as they like, in all of the time there is.
        if let Some(limit) = parts.shutdown {
            thread::spawn(move || {
                thread::sleep(limit.max(PATIENCE));
                entry::exit(0)
            });
        }
        // No request runs: on a busy machine threads may still take a while for their last steps.
        let patience = parts.shutdown.map_or(PATIENCE * 5, |limit| limit / 2).max(PATIENCE);
        pulse.stop();
        if let Some(slow) = parts.slow {
            slow.stop(patience);
        }
        if let Some(told) = told_end {
            // It ends, empty, when they have been told.
            let _ = told.recv();
        }
        // The threads are gone but for their last steps.
        let mut daemon = daemon;
        loop {
            match Arc::try_unwrap(daemon) {
                Ok(daemon) => {
                    daemon.host.stop_shared(patience);
                    return 0;
                }
                Err(shared) => {
                    thread::sleep(Duration::from_millis(1));
                    daemon = shared;
                }
            }
        }
    }

    /// Ends with requests running.
    fn cut_off(mut self) -> i32 {
        self.tell_last_stacks();
        let text = format!(
            "WSGI0505: {} requests did not end within shutdown-timeout and are cut off",
            self.daemon.board.busy()
        );
        self.daemon.log.log(Level::Warning, text.as_bytes());
        let host = Arc::clone(&self.daemon.host);
        // Whoever runs uses it.
        host.stop_shared(PATIENCE / 2);
        0
    }

    /// Says what has exceeded `request-timeout`, with the stacks of its interpreter.
    fn report_overdue(&mut self, now: Time) {
        let limit = self.parts.limits.request_limit().unwrap_or_default();
        let overdue = |seat: &&Seat| seat.since().is_some_and(|since| now.saturating_sub(since) >= limit);
        let mut groups: Vec<Vec<u8>> = Vec::new();
        for seat in self.daemon.board.seats.iter().filter(overdue) {
            let group = seat.application_group();
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        for group in groups {
            let name = String::from_utf8_lossy(&group);
            let text = format!(
                "WSGI0506: a request has exceeded request-timeout in application group \"{name}\"; the stacks of its \
                 threads follow"
            );
            self.daemon.log.log(Level::Error, text.as_bytes());
            let said = format!("WSGI0506: the threads of application group \"{name}\":");
            self.want_stacks(Some(group), None, Reader::Log(said));
        }
    }

    /// Tells `wsgid` so.
    fn tick(&mut self, now: Time) {
        if self.next_tick > now {
            return;
        }
        self.next_tick = now + TICK;
        self.parts.stats.beat(micros());
    }
}
