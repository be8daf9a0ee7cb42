//! What outlives a configuration: the supervisor and the queues, kept as a text in the pool of httpd's process
//! (`process_rec`).
//!
//! Plain text, for the module may be another file after a restart: no pointer of this one may stay there.

use std::ffi::CStr;
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use super::server::Server;
use super::{ffi, text};

const KEY: &CStr = c"mod_wsgi_rs: kept over restarts, version 1";

/// What is kept.
#[derive(Default)]
pub struct Kept {
    /// Number of the last configuration.
    pub generation: u64,
    /// The supervisor, if one was started.
    pub supervisor: Option<Supervisor>,
    /// What httpd's own processes count.
    pub counters: Option<KeptFd>,
    /// What they publish of the scoreboard.
    pub scoreboard: Option<KeptFd>,
    /// The queues of all groups.
    pub queues: Vec<Queue>,
}

/// A running supervisor.
pub struct Supervisor {
    /// Its process.
    pub pid: i32,
    /// httpd's end of its control socket.
    pub control: KeptFd,
}

/// The queue of a group.
pub struct Queue {
    /// Name of the group, and the user that its daemons run as: replies stay within one.
    pub key: Vec<u8>,
    /// The end that httpd's children send to.
    pub send: KeptFd,
    /// The end that daemons receive from.
    pub receive: KeptFd,
}

/// A descriptor that stays open until the process ends or [`KeptFd::close`] is called.
///
/// # Invariants
/// Open, and known by its number to nobody who would close it.
pub struct KeptFd(RawFd);

impl KeptFd {
    /// Keeps a descriptor.
    pub fn keep(fd: OwnedFd) -> KeptFd {
        KeptFd(fd.into_raw_fd())
    }

    /// Gives it up.
    pub fn close(self) {
        // SAFETY: the invariant; the value is consumed.
        drop(unsafe { OwnedFd::from_raw_fd(self.0) });
    }
}

impl AsFd for KeptFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the invariant.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl Kept {
    /// What was kept last; nothing in a new process.
    pub fn load(server: Server<'_>) -> Kept {
        let mut kept = std::ptr::null_mut();
        // SAFETY: the process's pool lives as long as the process; what is kept there is a string.
        let text = unsafe {
            let pool = (*(*server.as_ptr()).process).pool;
            ffi::apr_pool_userdata_get(&raw mut kept, KEY.as_ptr(), pool);
            text::bytes(kept.cast())
        };
        Kept::parse(text)
    }

    /// Keeps this in place of what was kept before.
    pub fn save(&self, server: Server<'_>) {
        let text = self.text();
        // SAFETY: as above; the string is copied into the same pool.
        unsafe {
            let pool = (*(*server.as_ptr()).process).pool;
            let copy = ffi::apr_pstrmemdup(pool, text.as_ptr().cast(), text.len());
            ffi::apr_pool_userdata_set(copy.cast(), KEY.as_ptr(), None, pool);
        }
    }

    /// First line: generation, pid and control socket, or 0 and -1, then the counters and the scoreboard, or -1. Then a
    /// line for each queue, its key in hexadecimal.
    fn text(&self) -> String {
        let (pid, control) = match &self.supervisor {
            Some(supervisor) => (supervisor.pid, supervisor.control.0),
            None => (0, -1),
        };
        let number = |file: &Option<KeptFd>| file.as_ref().map_or(-1, |file| file.0);
        let (counters, scoreboard) = (number(&self.counters), number(&self.scoreboard));
        let mut text = format!("{} {pid} {control} {counters} {scoreboard}\n", self.generation);
        for queue in &self.queues {
            for byte in &queue.key {
                // A String takes whatever is written to it.
                let _ = write!(text, "{byte:02x}");
            }
            let _ = writeln!(text, " {} {}", queue.send.0, queue.receive.0);
        }
        text
    }

    fn parse(text: &[u8]) -> Kept {
        let mut kept = Kept::default();
        let text = String::from_utf8_lossy(text);
        let mut lines = text.lines().map(|line| line.split(' '));
        let Some(mut first) = lines.next() else { return kept };
        let mut number = || first.next().and_then(|word| word.parse::<i64>().ok()).unwrap_or(-1);
        kept.generation = number().try_into().unwrap_or(0);
        if let (Ok(pid @ 1..), Ok(control @ 0..)) = (number().try_into(), number().try_into()) {
            kept.supervisor = Some(Supervisor {
                pid,
                control: KeptFd(control),
            });
        }
        let mut file = || Some(KeptFd(number().try_into().ok().filter(|fd| *fd >= 0)?));
        kept.counters = file();
        kept.scoreboard = file();
        for mut words in lines {
            let key = words.next().unwrap_or_default().as_bytes().chunks(2);
            let key = key.filter_map(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
            let key = key.collect();
            let mut number = || {
                words
                    .next()
                    .and_then(|word| word.parse::<RawFd>().ok())
                    .filter(|fd| *fd >= 0)
            };
            if let (Some(send), Some(receive)) = (number(), number()) {
                kept.queues.push(Queue {
                    key,
                    send: KeptFd(send),
                    receive: KeptFd(receive),
                });
            }
        }
        kept
    }
}
