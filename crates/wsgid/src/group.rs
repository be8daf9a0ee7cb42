//! One process group: carries out what the decisions say, and tells them what happens.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;
use wsgi_core::abi::Level;
use wsgi_core::stats::proc::Usage;
use wsgi_core::supervision::{
    self, Action, Claim, Event, Exit, MOST, MOST_BYTES, Moment, Note, ProcessId, Reason, Scripts, State, Time,
};
use wsgi_core::wire::control::daemon::{FromDaemon, exit};

use crate::books::Books;
use crate::config::{Character, Declared};
use crate::control::ClientId;
use crate::daemon::{Daemon, New, Said};
use crate::inquiry::Inquiries;
use crate::log::Log;
use crate::sys::clock;

/// How often a group with some daemons is asked whether it needs more.
pub const LOOK: Duration = Duration::from_millis(100);

/// Most messages of a daemon that are heard in one go: more than its socket holds.
const MOST_SAID: usize = 300;

/// What a group needs of the supervisor to act.
#[derive(Debug)]
pub struct Tools<'a> {
    /// `/dev/null`
    pub null: &'a OwnedFd,
    /// The owner of the number that a daemon's control socket gets.
    pub place: &'a mut OwnedFd,
    /// How many daemons the group may start.
    pub starts: usize,
}

/// A group and its processes.
#[derive(Debug)]
pub struct Group {
    character: Character,
    queue: OwnedFd,
    scoreboard: Option<OwnedFd>,
    log: Option<OwnedFd>,
    log_level: Level,
    decisions: supervision::Group,
    daemons: Vec<Daemon>,
    scripts: Scripts,
    /// It has been said that there are too many of them.
    many_scripts: bool,
    /// The last of the daemons that ran as another user: what they say is not for those that come now.
    foreign: Option<ProcessId>,
    /// What is remembered of daemons.
    pub books: Books,
    /// What administrators wait for.
    pub inquiries: Inquiries,
    stopping: bool,
    /// When to look whether requests wait, and whether one did the last time.
    look: Time,
    waiting: bool,
}

impl Group {
    /// A new group; it starts daemons at its next [`Group::tell`].
    pub fn new(declared: Declared) -> Group {
        Group {
            decisions: supervision::Group::new(declared.character.settings.clone(), 1),
            character: declared.character,
            queue: declared.queue,
            scoreboard: declared.scoreboard,
            log: declared.log,
            log_level: declared.log_level,
            daemons: Vec::new(),
            scripts: Scripts::default(),
            many_scripts: false,
            foreign: None,
            books: Books::default(),
            inquiries: Inquiries::default(),
            stopping: false,
            look: Time::ZERO,
            waiting: false,
        }
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        self.character.name()
    }

    /// Takes over what a new configuration says.
    pub fn declare(&mut self, declared: Declared) {
        let renew = declared.renew || declared.character != self.character;
        let generation = self.decisions.generation() + u64::from(renew);
        if declared.character.plan.identity != self.character.plan.identity {
            self.foreign = self.daemons.iter().map(|daemon| daemon.id).max().or(self.foreign);
        }
        self.decisions
            .configure(declared.character.settings.clone(), generation);
        self.character = declared.character;
        self.queue = declared.queue;
        self.scoreboard = declared.scoreboard;
        self.log = declared.log;
        self.log_level = declared.log_level;
        // Those that stay, and those that finish what they have: the log of before may have been moved away.
        let stderr = std::io::stderr();
        for daemon in &self.daemons {
            daemon.tell_log(self.log.as_ref().map_or(stderr.as_fd(), AsFd::as_fd), self.log_level);
        }
    }

    /// How it is.
    pub fn state(&self) -> State {
        self.decisions.state()
    }

    /// How far a daemon has come, and its generation.
    pub fn phase(&self, id: ProcessId) -> (&'static str, u64) {
        self.decisions.phase(id)
    }

    /// Bytes of the requests that wait.
    pub fn queue_bytes(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.queue).unwrap_or(0)
    }

    /// Ends the daemons that serve, as SIGTERM does, and starts others.
    pub fn restart(&mut self, tools: &mut Tools<'_>) {
        let serving = self
            .daemons
            .iter()
            .filter(|daemon| self.phase(daemon.id).0 == "serving");
        for id in serving.map(|daemon| daemon.id).collect::<Vec<_>>() {
            self.with(id, |daemon| daemon.signal(Signal::TERM));
            self.tell(Event::Exiting(id, Reason::ShutdownSignal), tools);
        }
    }

    /// Asks the daemons what their threads are doing, for that client.
    pub fn ask_stacks(&mut self, client: ClientId) {
        let asked = self.daemons.iter().filter(|daemon| daemon.ask_stacks());
        let asked = asked.filter_map(|daemon| u32::try_from(daemon.pid.as_raw()).ok());
        self.inquiries.begin(client, asked.collect(), clock::now());
    }

    /// The generation of the daemons that are started now.
    pub fn generation(&self) -> u64 {
        self.decisions.generation()
    }

    /// What it asks for when starts are shared out.
    pub fn claim(&self, now: Time) -> Claim {
        self.decisions.claim(now)
    }

    /// Looks which of its starts take processor time.
    pub fn watch_starts(&mut self, now: Time) {
        for id in self.decisions.young(now).collect::<Vec<_>>() {
            if let Some(daemon) = self.daemons.iter_mut().find(|daemon| daemon.id == id) {
                let quiet = daemon.slept();
                self.decisions.set_quiet(id, quiet);
            }
        }
    }

    /// Whether it has ended.
    pub fn finished(&self) -> bool {
        self.decisions.finished()
    }

    /// Its processes.
    pub fn daemons(&self) -> &[Daemon] {
        &self.daemons
    }

    /// Its queue, if the first request is to start a daemon.
    pub fn watched_queue(&self) -> Option<&OwnedFd> {
        (self.decisions.open() && !self.serving() && !self.pauses()).then_some(&self.queue)
    }

    /// When something is to be done at the latest.
    pub fn timer(&self) -> Option<Time> {
        let look = (self.decisions.open() && (self.serving() || self.pauses())).then_some(self.look);
        let due = self.inquiries.timer();
        self.decisions.timer().into_iter().chain(look).chain(due).min()
    }

    /// Tells the decisions what happened, and does what they say.
    pub fn tell(&mut self, event: Event, tools: &mut Tools<'_>) {
        self.stopping |= event == Event::Stop;
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let moment = Moment {
                now: clock::now(),
                jitter: jitter(),
                starts: tools.starts,
            };
            for action in self.decisions.handle(event, &moment) {
                match action {
                    Action::Spawn(id, generation) => {
                        tools.starts = tools.starts.saturating_sub(1);
                        if let Err(reason) = self.spawn(id, generation, tools) {
                            self.write(Level::Error, format!("WSGI0712: {reason}"));
                            events.push_back(Event::Gone(id, Exit::NotStarted));
                        }
                    }
                    Action::Drain(id) => {
                        self.books.asked(id);
                        let limit = self.character.settings.graceful_timeout;
                        self.with(id, |daemon| daemon.drain(limit));
                    }
                    Action::Terminate(id) => {
                        self.books.asked(id);
                        self.with(id, |daemon| daemon.signal(Signal::TERM));
                    }
                    Action::Kill(id) => {
                        self.books.forced(id);
                        self.with(id, |daemon| daemon.signal(Signal::KILL));
                    }
                    Action::Note(note) => self.note(note),
                }
            }
        }
    }

    /// Hears what a daemon says. One that talks without end is interrupted: others want to be heard, too.
    pub fn hear(&mut self, id: ProcessId, tools: &mut Tools<'_>) {
        for _ in 0..MOST_SAID {
            let Some(daemon) = self.daemons.iter_mut().find(|daemon| daemon.id == id) else {
                return;
            };
            let pid = daemon.pid;
            match daemon.said() {
                Said::Nothing => return,
                Said::Junk(what) => {
                    // Whoever holds that socket is not to be trusted with requests. First the signal: a daemon that sees the
                    // end of its socket says that the supervisor is gone.
                    daemon.signal(Signal::KILL);
                    daemon.control = None;
                    self.books.broke_protocol(id);
                    self.write(
                        Level::Error,
                        format!("WSGI0720: daemon process {pid} sent {what}; it is killed"),
                    );
                    return;
                }
                Said::Message(FromDaemon::Ready) => {
                    self.write(Level::Info, format!("WSGI0702: daemon process {pid} is ready"));
                    self.tell(Event::Ready(id), tools);
                }
                Said::Message(FromDaemon::Stacks(text)) => {
                    let pid = u32::try_from(pid.as_raw()).unwrap_or(0);
                    self.inquiries.hear(pid, &String::from_utf8_lossy(&text));
                }
                Said::Message(FromDaemon::Served) => self.tell(Event::Served(id), tools),
                Said::Message(FromDaemon::Loaded {
                    script,
                    application_group,
                }) => {
                    if !self.scripts.note(id, script, application_group) {
                        self.note_many_scripts(pid);
                    }
                }
                Said::Message(FromDaemon::Replace(reason)) => {
                    self.write(
                        Level::Info,
                        format!("WSGI0703: daemon process {pid} is to be replaced: {reason}"),
                    );
                    self.books.said(id, reason);
                    self.tell(Event::Replace(id, reason), tools);
                }
                Said::Message(FromDaemon::Exiting(reason)) => {
                    self.write(Level::Info, format!("WSGI0704: daemon process {pid} ends: {reason}"));
                    self.books.said(id, reason);
                    self.tell(Event::Exiting(id, reason), tools);
                }
            }
        }
    }

    /// Says once that a daemon uses more scripts than are remembered.
    fn note_many_scripts(&mut self, pid: Pid) {
        if !std::mem::replace(&mut self.many_scripts, true) {
            let text = format!(
                "WSGI0763: daemon process {pid} uses more than {MOST} scripts, or their paths have more than {MOST_BYTES} \
                 bytes: what replaces it loads the rest when it is asked for, broken or not"
            );
            self.write(Level::Warning, text);
        }
    }

    /// Waits for a daemon that has ended.
    pub fn reap(&mut self, id: ProcessId, tools: &mut Tools<'_>) {
        // What it said before it ended comes first.
        self.hear(id, tools);
        let Some(at) = self.daemons.iter().position(|daemon| daemon.id == id) else {
            return;
        };
        if self.stopping {
            self.daemons[at].signal_left_behind(Signal::KILL);
        }
        let daemon = &self.daemons[at];
        let (reading, usage) = (daemon.reading(), Usage::of(daemon.pid).unwrap_or_default());
        let Some(exit) = daemon.ended() else {
            return;
        };
        self.books.ended(id, exit, reading.as_ref(), usage);
        let pid = u32::try_from(daemon.pid.as_raw()).unwrap_or(0);
        self.inquiries.hear(pid, "it has ended");
        self.tell(Event::Gone(id, exit), tools);
        let daemon = self.daemons.swap_remove(at);
        self.scripts.forget(id);
        self.write(
            Level::Info,
            format!("WSGI0705: daemon process {} has ended", daemon.pid),
        );
    }

    /// Looks whether requests wait without a daemon that takes them.
    pub fn look(&mut self, tools: &mut Tools<'_>) {
        let now = clock::now();
        if !self.decisions.open() || now < self.look {
            return;
        }
        self.look = if self.serving() { now + LOOK } else { now };
        let before = self.waiting;
        self.waiting = readable(&self.queue);
        // Where daemons serve, a request must have waited from one look to the next, or another must have come.
        if self.waiting && (before || !self.serving()) {
            self.waiting = false;
            self.tell(Event::Demand, tools);
            // It is known now: until a daemon is started it is no reason to look again at once.
            self.look = now + LOOK;
        }
    }

    /// Whether it has just been looked whether requests wait.
    fn pauses(&self) -> bool {
        clock::now() < self.look
    }

    fn serving(&self) -> bool {
        self.decisions.state() == State::Ready
    }

    fn with(&self, id: ProcessId, act: impl FnOnce(&Daemon)) {
        if let Some(daemon) = self.daemons.iter().find(|daemon| daemon.id == id) {
            act(daemon);
        }
    }

    fn spawn(&mut self, id: ProcessId, generation: u64, tools: &mut Tools<'_>) -> Result<(), String> {
        let stderr = std::io::stderr();
        let declared = &self.character.preload;
        let new = New {
            id,
            generation,
            character: &self.character,
            preload: self
                .scripts
                .preload(declared, |id| Some(id) > self.foreign && self.decisions.serves(id)),
            queue: &self.queue,
            scoreboard: self.scoreboard.as_ref(),
            log: self.log.as_ref().map_or(stderr.as_fd(), AsFd::as_fd),
            log_level: self.log_level,
            null: tools.null.as_fd(),
        };
        let daemon = Daemon::start(new, tools.place)?;
        let text = format!(
            "WSGI0701: daemon process {} starts (generation {generation})",
            daemon.pid
        );
        self.books.starts += 1;
        self.daemons.push(daemon);
        self.write(Level::Info, text);
        Ok(())
    }

    fn note(&self, note: Note) {
        let name = |id: ProcessId| {
            let daemon = self.daemons.iter().find(|daemon| daemon.id == id);
            daemon.map_or_else(|| "(not started)".to_owned(), |daemon| daemon.pid.to_string())
        };
        let (level, text) = match note {
            Note::Died(id, exit) => (Level::Error, format!("WSGI0710: {}", self.obituary(id, exit))),
            Note::StartupTimeout(id) => {
                let text = "was not ready within startup-timeout; it is killed";
                (Level::Error, format!("WSGI0711: daemon process {} {text}", name(id)))
            }
            Note::Failed(tries, delay) => (
                Level::Error,
                format!(
                    "WSGI0713: {tries} starts in a row have failed; requests are answered 503. The reason stands above. \
                     Next try in {:.1} s",
                    delay.as_secs_f64()
                ),
            ),
            Note::KeepsOld(tries, delay) => (
                Level::Error,
                format!(
                    "WSGI0714: {tries} starts of new daemons in a row have failed; the old ones go on serving. The reason \
                     stands above. Next try in {:.1} s",
                    delay.as_secs_f64()
                ),
            ),
            Note::Recovered => (Level::Notice, "WSGI0715: daemons start again".to_owned()),
            Note::Overdue(id) => {
                let text = "did not end in time; it is killed";
                (Level::Warning, format!("WSGI0716: daemon process {} {text}", name(id)))
            }
            Note::Replaced(generation) => {
                let text = "all daemon processes are replaced";
                (Level::Info, format!("WSGI0706: {text} (generation {generation})"))
            }
        };
        self.write(level, text);
    }

    /// What is to be said of a daemon that ended unasked.
    fn obituary(&self, id: ProcessId, how: Exit) -> String {
        let how = match how {
            Exit::Code(exit::NOT_LAUNCHED) => "could not be started".to_owned(),
            Exit::Code(exit::MISUSED | exit::UNUSABLE) => "could not set up its Python".to_owned(),
            Exit::Code(exit::NOT_LOADED) => "could not load its application".to_owned(),
            Exit::Code(code) => format!("ended by itself with exit code {code}"),
            Exit::Signal(signal) => format!("was killed by {}", signal_name(signal)),
            Exit::NotStarted => return "a daemon process could not be made".to_owned(),
        };
        let Some(daemon) = self.daemons.iter().find(|daemon| daemon.id == id) else {
            return format!("a daemon process {how}");
        };
        let age = clock::now().saturating_sub(daemon.started).as_secs_f64();
        let mut text = format!("daemon process {} {how} after {age:.1} s", daemon.pid);
        if let Some(reading) = daemon.reading() {
            let (completed, running) = (reading.totals().completed, reading.running());
            text += &format!(", with {completed} requests completed and {running} in progress");
        }
        text
    }

    fn write(&self, level: Level, text: String) {
        // The code stays in front.
        let text = match text.split_once(": ") {
            Some((code, text)) => format!("{code}: group '{}': {text}", self.character.plan.group),
            None => text,
        };
        let log = Log { level: self.log_level };
        log.write_to(self.log.as_ref(), level, &text);
    }
}

fn readable(socket: &OwnedFd) -> bool {
    let mut poll = [PollFd::new(socket, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut poll, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

fn signal_name(number: i32) -> String {
    match nix::sys::signal::Signal::try_from(number) {
        Ok(signal) => signal.to_string(),
        Err(_) => format!("signal {number}"),
    }
}

/// A random number from 0 up to 1: the seed of a new hash map is one.
fn jitter() -> f64 {
    let random = RandomState::new().hash_one(0u8);
    f64::from(u32::try_from(random >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_a_fraction() {
        let numbers: Vec<f64> = (0..100).map(|_| jitter()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(numbers.iter().any(|number| *number != numbers[0]));
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(signal_name(9), "SIGKILL");
        assert_eq!(signal_name(40), "signal 40");
    }
}
