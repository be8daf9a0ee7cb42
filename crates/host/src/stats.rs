//! What this process counts, for its own application, for `wsgid` and for httpd's status (`wsgi_core::stats`).
//!
//! [`Stats`] is written by request threads, each through its slot, and read as a whole by [`Stats::reading`].

use std::cell::Cell;
use std::os::fd::AsFd;
use std::ptr;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::thread::gettid;
use rustix::time::{ClockId, clock_gettime};
use wsgi_core::stats::page::{Page, Slot, size};
use wsgi_core::stats::reading::Reading;

use crate::python::thread_ident;

/// Slots beside those of the request threads.
const SPARE: u32 = 2;

/// µs of `CLOCK_MONOTONIC`, the same in all processes. Never 0.
pub fn micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let micros = u64::try_from(now.tv_nsec).unwrap_or(0) / 1000;
    (seconds * 1_000_000 + micros).max(1)
}

/// µs since the epoch.
pub fn epoch() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

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
        Stats::over(words).unwrap_or_else(|| Stats::own(threads.max(1)))
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
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at a place of the kernel's choice, never unmapped; the file is large enough and sealed
        // against shrinking. What others write there is read as numbers only, atomically.
        let words = unsafe {
            mmap(ptr::null_mut(), length, access, MapFlags::SHARED, page, 0)
                .map(|memory| std::slice::from_raw_parts(memory.cast::<AtomicU64>(), length / 8))
        };
        words.ok().and_then(Stats::over).unwrap_or_else(|| Stats::own(threads))
    }

    fn over(words: &'static [AtomicU64]) -> Option<Stats> {
        let page = Page::of(words)?;
        page.begin(std::process::id(), epoch());
        Some(Stats { page })
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
fn tid() -> u64 {
    u64::try_from(gettid().as_raw_nonzero().get()).unwrap_or(u64::MAX)
}
