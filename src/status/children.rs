//! What httpd's own processes count when they run applications: a file in memory with a page for each, which outlives
//! restarts.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::io::{Errno, fcntl_dupfd_cloexec, pread};
use wsgi_core::stats::page::MAGIC;
use wsgi_core::stats::report::Group;
use wsgi_core::stats::shelf::Shelf;

use crate::httpd::kept::{Kept, KeptFd};
use crate::httpd::process;
use crate::httpd::server::Server;

/// The file, and how it is laid out.
pub struct Counters {
    file: File,
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
        let fits = |file: &KeptFd| {
            // Whoever takes a page takes the first one that is free. Another version of the module may have laid it out
            // otherwise.
            let mut magic = [0; 8];
            let is_read = pread(file, &mut magic, 0).is_ok_and(|count| count == magic.len());
            is_read
                && [0, MAGIC].contains(&u64::from_ne_bytes(magic))
                && fstat(file).is_ok_and(|stat| u64::try_from(stat.st_size) == Ok(shelf.bytes()))
        };
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
        Ok(Counters {
            file: copy.into(),
            shelf,
        })
    }

    /// The group that httpd's own processes are; `now` in µs of `CLOCK_MONOTONIC`.
    pub fn group(&self, now: u64) -> Group {
        self.shelf.group(&self.file, now, rustix::param::page_size() as u64)
    }
}

/// The file.
impl AsFd for Counters {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
