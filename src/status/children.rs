//! What httpd's own processes count when they run applications: a file in memory with a page for each, which outlives
//! restarts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::io::{Errno, fcntl_dupfd_cloexec, pread};
use wsgi_core::stats::proc::Usage;
use wsgi_core::stats::reading::Reading;
use wsgi_core::stats::report::{Group, Process, Sums};
use wsgi_core::stats::shelf::Shelf;

use crate::httpd::kept::{Kept, KeptFd};
use crate::httpd::process;
use crate::httpd::server::Server;

/// The file, and how it is laid out.
pub struct Counters {
    file: OwnedFd,
    /// Its layout.
    pub shelf: Shelf,
}

impl Counters {
    /// That of earlier configurations if it fits, or a new one.
    ///
    /// # Errors
    /// The system's.
    pub fn open(server: Server<'_>) -> Result<Counters, Errno> {
        let mpm = process::mpm();
        let shelf = Shelf::of(mpm.processes, mpm.threads);
        let mut kept = Kept::load(server);
        let fits = |file: &KeptFd| fstat(file).is_ok_and(|stat| u64::try_from(stat.st_size) == Ok(shelf.bytes()));
        let file = match kept.counters.take() {
            Some(file) if fits(&file) => file,
            other => {
                if let Some(file) = other {
                    file.close();
                }
                let file = memfd_create(c"wsgi-counters", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
                ftruncate(&file, shelf.bytes())?;
                // An application runs in processes that have it: it can write to it, and nothing worse.
                fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
                KeptFd::keep(file)
            }
        };
        let copy = fcntl_dupfd_cloexec(&file, 3)?;
        kept.counters = Some(file);
        kept.save(server);
        Ok(Counters { file: copy, shelf })
    }

    /// The group that httpd's own processes are; `now` in µs since the epoch and of `CLOCK_MONOTONIC`.
    pub fn group(&self, now: u64) -> Group {
        let mut group = Group {
            state: "ready".to_owned(),
            ..Group::default()
        };
        let mut sums = Sums::default();
        for page in 0..self.shelf.pages {
            let Some(reading) = self.read(page) else { continue };
            // A process that was killed has left its page as it was, and its number may be another's.
            let usage = Usage::of_same(reading.pid, reading.begun);
            let lives = page != self.shelf.last() && usage.is_some();
            let usage = usage.unwrap_or_default();
            match lives {
                true => sums.add(&reading, usage.cpu),
                false => sums.retire(&reading, (0, 0)),
            }
            if lives {
                let mut process = Process {
                    pid: u32::try_from(reading.pid).unwrap_or(0),
                    state: "serving".to_owned(),
                    started_us: reading.started,
                    cpu_user_us: usage.cpu.0,
                    cpu_system_us: usage.cpu.1,
                    memory: usage.pages.saturating_mul(rustix::param::page_size() as u64),
                    ..Process::default()
                };
                process.show(&reading, now);
                group.processes.push(process);
            }
        }
        sums.show(&mut group, now);
        group
    }

    fn read(&self, page: u32) -> Option<Reading> {
        // Most pages were never used.
        let mut magic = [0; 8];
        pread(&self.file, &mut magic, self.shelf.offset(page)).ok()?;
        if magic == [0; 8] {
            return None;
        }
        let mut bytes = vec![0; self.shelf.stride()];
        let read = pread(&self.file, &mut bytes, self.shelf.offset(page)).ok()?;
        Reading::of_bytes(&bytes[..read])
    }
}

/// The file.
impl AsFd for Counters {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
