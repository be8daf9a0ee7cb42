//! What this process counts, for its own application, for `wsgid` and for httpd's status (`wsgi_core::stats`).
//!
//! [`Stats`] is written by request threads, each through its slot, and read as a whole by [`Stats::reading`].

use std::cell::Cell;
use std::os::fd::AsFd;
use std::ptr;
use std::sync::atomic::AtomicU64;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::process::{Pid, test_kill_process};
use rustix::thread::gettid;
pub use wsgi_core::clock::{epoch, monotonic as micros};
use wsgi_core::stats::page::{Page, Slot, size};
use wsgi_core::stats::proc::Usage;
use wsgi_core::stats::reading::Reading;
use wsgi_core::stats::shelf::Shelf;

use crate::python::thread_ident;

/// Slots beside those of the request threads.
const SPARE: u32 = 2;

/// The counters of this process. Copies are the same counters.
#[derive(Clone, Copy)]
pub struct Stats {
    /// Where they are.
    pub page: Page<'static>,
}

impl Stats {
    /// Counters that nobody else can see, for so many threads.
    pub fn own(threads: u32) -> Stats {
        let words = (0..bytes(threads) / 8).map(|_| AtomicU64::new(0));
        // They live as long as the process.
        let words = Box::leak(words.collect::<Box<[AtomicU64]>>());
        Page::of(words).map_or_else(|| Stats::own(threads.max(1)), Stats::over)
    }

    /// Counters in a page of memory that others read: a file of [`size`] bytes for so many threads, which can become
    /// neither larger nor smaller. Counters of its own if it is not that.
    pub fn shared(page: &impl AsFd, threads: u32) -> Stats {
        let length = bytes(threads);
        if !rustix::fs::fstat(page)
            .is_ok_and(|stat| u64::try_from(stat.st_size).is_ok_and(|size| size >= length as u64))
        {
            return Stats::own(threads);
        }
        let page = map(page, 0, length).and_then(Page::of);
        page.map_or_else(|| Stats::own(threads), Stats::over)
    }

    /// Counters on a page of the shelf that nobody has; `None` if there is none.
    pub fn claim(file: impl AsFd, shelf: Shelf) -> Option<Stats> {
        let stat = rustix::fs::fstat(&file).ok()?;
        if shelf.pages < 2 || u64::try_from(stat.st_size) != Ok(shelf.bytes()) {
            return None;
        }
        let length = size(shelf.slots as usize);
        let open = |page| map(&file, shelf.offset(page), length).and_then(Page::of);
        for number in 0..shelf.last() {
            // Looked at before it is mapped: most are in use, or were never used.
            let mut front = [0; 16];
            rustix::io::pread(&file, &mut front, shelf.offset(number)).ok()?;
            let (is_new, owner) = (front[..8] == [0; 8], u64::from_ne_bytes(*front.last_chunk()?));
            if owner != 0 && !is_gone(owner) {
                continue;
            }
            let page = open(number)?;
            if page.claim(owner, std::process::id()) {
                if !is_new && let Some(sums) = open(shelf.last()) {
                    page.settle();
                    page.retire(&sums);
                }
                return Some(Stats::over(page));
            }
        }
        None
    }

    /// Gives the page up, for another process.
    pub fn release(&self) {
        self.page.release(own_usage().cpu);
    }

    fn over(page: Page<'static>) -> Stats {
        page.begin(std::process::id(), epoch(), own_usage().begun);
        Stats { page }
    }

    /// A copy of all that was counted.
    pub fn reading(&self) -> Reading {
        Reading::of(&self.page.copy()).unwrap_or_default()
    }

    /// Each slot's longest request since this was asked last, in µs, with the number of the thread.
    pub fn take_longest(&self) -> Vec<(u64, u64)> {
        let slots = self.page.slots().filter(|slot| slot.owner() != 0);
        slots.map(|slot| (slot.owner(), slot.take_longest())).collect()
    }

    /// Says that the process is alive.
    pub fn beat(&self, now: u64) {
        self.page.beat(now);
    }

    /// Says how many interpreters there are.
    pub fn set_interpreters(&self, count: usize) {
        self.page.set_interpreters(count as u64);
    }

    /// The calling thread's slot; `None` when there are more threads than slots.
    pub fn slot(&self) -> Option<Slot<'static>> {
        SEAT.with(|seat| {
            if seat.0.get().is_none() {
                seat.0.set(self.page.take_slot(tid(), thread_ident()));
            }
            seat.0.get()
        })
    }
}

/// What the system knows of this process.
fn own_usage() -> Usage {
    Usage::of("self").unwrap_or_default()
}

/// So many bytes of a file as memory, for good; `None` if the system refuses. The file must have them, and be sealed
/// against shrinking.
fn map(file: impl AsFd, offset: u64, length: usize) -> Option<&'static [AtomicU64]> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping, at a place of the kernel's choice, never unmapped; the callers have looked at the file's
    // size, and it is sealed. What others write there is read as numbers only, atomically.
    unsafe {
        let memory = mmap(ptr::null_mut(), length, access, MapFlags::SHARED, file, offset).ok()?;
        Some(std::slice::from_raw_parts(memory.cast::<AtomicU64>(), length / 8))
    }
}

/// Whether there is no process of that number.
fn is_gone(pid: u64) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_none_or(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

/// Bytes of a page for so many request threads.
fn bytes(threads: u32) -> usize {
    size((threads + SPARE) as usize)
}

thread_local! {
    static SEAT: Seat = const { Seat(Cell::new(None)) };
}

/// Where a thread counts.
struct Seat(Cell<Option<Slot<'static>>>);

impl Drop for Seat {
    fn drop(&mut self) {
        // A process that the application forked shares the memory, but not the slot.
        if let Some(slot) = self.0.get().filter(|slot| slot.owner() == tid()) {
            slot.free();
        }
    }
}

/// The system's number of the calling thread.
pub fn tid() -> u64 {
    u64::try_from(gettid().as_raw_nonzero().get()).unwrap_or(u64::MAX)
}
