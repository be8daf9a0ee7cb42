//! What httpd's threads do, for daemons of groups with `server-metrics=On`: they are no children of httpd and cannot see
//! its scoreboard, so httpd's processes publish it in a file in memory, which daemons can only read.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::time::Duration;

use rustix::fs::{FlockOperation, MemfdFlags, Mode, fchmod, fcntl_lock, memfd_create};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use wsgi_core::wire::control::published;

use super::{read_only, system};
use crate::httpd::kept::{Kept, KeptFd};
use crate::httpd::scoreboard::json;
use crate::httpd::server::Server;

/// What is older than that is published anew when somebody may want to see it.
const AGE: Duration = Duration::from_secs(1);

/// What is published.
pub struct Scoreboard {
    file: File,
    readable: OwnedFd,
    /// Whose turn it is to publish: the process that has a lock on this file, which no daemon has. One that had it could
    /// keep everybody from publishing.
    turn: OwnedFd,
    /// And of its threads the one that has this.
    threads: Mutex<()>,
}

impl Scoreboard {
    /// That of earlier configurations, or a new one. `turn` is a file that all of httpd's processes have, of all
    /// configurations, and nobody else.
    ///
    /// # Errors
    /// What cannot be made.
    pub fn open(server: Server<'_>, turn: BorrowedFd<'_>) -> Result<Scoreboard, String> {
        let made = || {
            let mut kept = Kept::load(server);
            if kept.scoreboard.is_none() {
                let file = memfd_create(c"wsgi-scoreboard", MemfdFlags::CLOEXEC)?;
                // Who has it open for reading could open it again for writing, if its mode did not forbid that.
                fchmod(&file, Mode::RUSR | Mode::WUSR)?;
                kept.scoreboard = Some(KeptFd::keep(file));
                kept.save(server);
            }
            let file = kept.scoreboard.as_ref().ok_or(Errno::BADF)?;
            Ok((fcntl_dupfd_cloexec(file, 3)?, fcntl_dupfd_cloexec(turn, 3)?))
        };
        let (file, turn) = made().map_err(|error| system("copy of the scoreboard", error))?;
        Ok(Scoreboard {
            readable: read_only(&file)?,
            file: file.into(),
            turn,
            threads: Mutex::default(),
        })
    }

    /// Publishes how it is now, unless that was done a moment ago, or somebody else is at it.
    pub fn refresh(&self) {
        let fresh = |file: &File| {
            let data = file.metadata()?;
            let age = data.modified()?.elapsed();
            // A time to come is one that the clock was set back to.
            Ok::<_, std::io::Error>(data.len() > 0 && age.is_ok_and(|age| age < AGE))
        };
        if fresh(&self.file).unwrap_or(false) {
            return;
        }
        let Ok(_turn) = self.threads.try_lock() else { return };
        if fcntl_lock(&self.turn, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // What cannot be published is not seen.
            let _ = published::write(&self.file, 0, json().as_bytes());
            let _ = fcntl_lock(&self.turn, FlockOperation::NonBlockingUnlock);
        }
    }
}

/// For those who only read it.
impl AsFd for Scoreboard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }
}
