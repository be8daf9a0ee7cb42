//! One daemon process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::unistd::Pid;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, WaitId, WaitIdOptions};
use wsgi_core::abi::Level;
use wsgi_core::stats::page::size;
use wsgi_core::stats::proc::Usage;
use wsgi_core::stats::reading::Reading;
use wsgi_core::supervision::{Exit, ProcessId, Time};
use wsgi_core::wire::control::Preload;
use wsgi_core::wire::control::daemon::{FromDaemon, Settings, ToDaemon};

use crate::config::Character;
use crate::launch::Descriptors;
use crate::sys::clock;
use crate::sys::socket::{self, Received};

/// A process that was started and has not been waited for.
#[derive(Debug)]
pub struct Daemon {
    /// What the decisions call it.
    pub id: ProcessId,
    /// What the system calls it.
    pub pid: Pid,
    /// When it was started.
    pub started: Time,
    /// Readable when it has ended.
    pub handle: OwnedFd,
    /// Its control socket, until it closes it.
    pub control: Option<OwnedFd>,
    stats: OwnedFd,
    /// What the system knew of it at the last look.
    usage: Option<Usage>,
}

/// What is known of a daemon before it is started.
#[derive(Clone, Debug)]
pub struct New<'a> {
    pub id: ProcessId,
    pub generation: u64,
    pub character: &'a Character,
    /// What it loads before it is READY.
    pub preload: Vec<Preload>,
    /// Where it takes requests from.
    pub queue: &'a OwnedFd,
    /// What httpd's threads do, if it may see that.
    pub scoreboard: Option<&'a OwnedFd>,
    /// Where its output goes.
    pub log: BorrowedFd<'a>,
    /// Less important records are not logged.
    pub log_level: Level,
    /// `/dev/null`
    pub null: BorrowedFd<'a>,
}

/// What comes from a daemon.
#[derive(Debug)]
pub enum Said {
    /// A message.
    Message(FromDaemon),
    /// Something that is no message.
    Junk(&'static str),
    /// Nothing more at the moment.
    Nothing,
}

impl Daemon {
    /// Starts one. `place` owns the number at which it finds its control socket.
    ///
    /// # Errors
    /// What could not be done.
    pub fn start(new: New<'_>, place: &mut OwnedFd) -> Result<Daemon, String> {
        let character = new.character;
        let (control, far) = socket::pair().map_err(|error| format!("cannot make a socket: {error}"))?;
        socket::refuse_descriptors(&control);
        let stats = page(character.plan.options.threads)
            .map_err(|error| format!("cannot make a page for its numbers: {error}"))?;
        let log_level = (b"log_level".to_vec(), (new.log_level as i32).to_string().into_bytes());
        let mut settings = Settings {
            generation: new.generation,
            process: new.id.0,
            group: character.name().to_vec(),
            options: character.plan.options.written.clone(),
            facts: [&character.facts[..], &[log_level]].concat(),
            interpreters: character.interpreters.clone(),
            preload: new.preload,
        };
        let declared = character.preload.len();
        let message = loop {
            match ToDaemon::Settings(settings.clone()).encode() {
                Ok(message) => break message,
                // Rather less than what is in use than nothing.
                Err(_) if settings.preload.len() > declared => {
                    settings.preload.truncate(declared.max(settings.preload.len() / 2));
                }
                Err(error) => return Err(error.to_string()),
            }
        };
        let given = [Some(new.queue), Some(&stats), new.scoreboard];
        let given: Vec<BorrowedFd<'_>> = given.into_iter().flatten().map(AsFd::as_fd).collect();
        socket::send(&control, &message, &given).map_err(|error| format!("cannot send its settings: {error}"))?;
        let descriptors = Descriptors {
            control: far.as_fd(),
            log: new.log,
            null: new.null,
        };
        let pid = character
            .plan
            .start(descriptors, place)
            .map_err(|error| format!("cannot make a process: {error}"))?;
        let handle = handle(pid).map_err(|error| {
            // Nobody would ever notice its end.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(pid, None);
            format!("cannot watch process {pid}: {error}")
        })?;
        Ok(Daemon {
            id: new.id,
            pid,
            started: clock::now(),
            handle,
            control: Some(control),
            stats,
            usage: None,
        })
    }

    /// The next thing that it has said.
    pub fn said(&mut self) -> Said {
        let Some(control) = &self.control else {
            return Said::Nothing;
        };
        match socket::receive(control) {
            Received::Message(_, descriptors) if !descriptors.is_empty() => {
                descriptors.into_iter().for_each(socket::discard);
                Said::Junk("a descriptor")
            }
            Received::Message(bytes, _) => match FromDaemon::decode(&bytes) {
                Ok(message) => Said::Message(message),
                Err(_) => Said::Junk("a message that the supervisor does not know"),
            },
            Received::Nothing => Said::Nothing,
            Received::End => {
                self.control = None;
                Said::Nothing
            }
        }
    }

    /// Asks it to finish.
    pub fn drain(&self, limit: Option<Duration>) {
        let asked = match (&self.control, ToDaemon::Drain(limit).encode()) {
            (Some(control), Ok(message)) => socket::send(control, &message, &[]).is_ok(),
            _ => false,
        };
        if !asked {
            // It does not listen; the signal says the same.
            self.signal(Signal::USR1);
        }
    }

    /// Asks it what its threads are doing; false if it does not listen.
    pub fn ask_stacks(&self) -> bool {
        let Ok(message) = ToDaemon::Stacks.encode() else {
            return false;
        };
        self.control
            .as_ref()
            .is_some_and(|control| socket::send(control, &message, &[]).is_ok())
    }

    /// Says where its records go from now on, and which of them.
    pub fn tell_log(&self, log: BorrowedFd<'_>, level: Level) {
        if let (Some(control), Ok(message)) = (&self.control, ToDaemon::Log(level).encode()) {
            // One that does not listen goes on as before.
            let _ = socket::send(control, &message, &[log]);
        }
    }

    /// Sends it a signal. One that has ended meanwhile does not get it, nor does any other process.
    pub fn signal(&self, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(&self.handle, signal);
    }

    /// Sends a signal to whatever it has started and left in its process group. It must not have been waited for: until
    /// then nobody else can have its number.
    pub fn signal_left_behind(&self, signal: Signal) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid.as_raw()) {
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    /// How it ended, if it has. It exists no longer then.
    pub fn ended(&self) -> Option<Exit> {
        let status = rustix::process::waitid(
            WaitId::PidFd(self.handle.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
        match status {
            Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                (_, Some(signal)) => Exit::Signal(signal),
                (code, None) => Exit::Code(code.unwrap_or(0)),
            }),
            Ok(None) | Err(Errno::INTR) => None,
            // Somebody else has waited for it: its end is certain, not how.
            Err(_) => Some(Exit::Code(-1)),
        }
    }

    /// Whether it has slept from the last time that this was asked: then it waits for something else than the processor.
    pub fn slept(&mut self) -> bool {
        let (now, before) = (Usage::of(self.pid), self.usage);
        self.usage = now;
        matches!((now, before), (Some(now), Some(before)) if now.sleeps && before.sleeps && now.cpu == before.cpu)
    }

    /// What it counted, by its own account; `None` if it has not begun to.
    pub fn reading(&self) -> Option<Reading> {
        let length = rustix::fs::fstat(&self.stats).ok()?.st_size;
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        let read = rustix::io::pread(&self.stats, &mut bytes, 0).ok()?;
        Reading::of_bytes(&bytes[..read])
    }
}

fn handle(pid: Pid) -> Result<OwnedFd, Errno> {
    let pid = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(Errno::SRCH)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty())
}

/// A page for so many threads that a daemon can write to, and cannot make larger or smaller.
fn page(threads: u32) -> Result<OwnedFd, Errno> {
    let page = rustix::fs::memfd_create("wsgi-stats", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    // Two more than it should have; no more is touched than is used.
    let size = size(threads as usize + 2).next_multiple_of(4096);
    rustix::fs::ftruncate(&page, u64::try_from(size).unwrap_or(u64::MAX))?;
    rustix::fs::fcntl_add_seals(&page, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(page)
}
