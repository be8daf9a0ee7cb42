//! The page as its process writes it. Words of 64 bits in the machine's order: no other machine reads it.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::histogram::{BUCKETS, bucket};
use super::{PHASES, Phase};

/// What a page begins with; another layout has another number.
pub const MAGIC: u64 = 0x5753_4749_5354_0003;

/// Words before the histograms.
pub(super) const HEADER: usize = 16;
/// Words before the slots.
pub(super) const FRONT: usize = HEADER + PHASES * BUCKETS;
/// Words of a slot: a multiple of two cache lines.
pub(super) const SLOT: usize = 112;

/// Seconds that one cell of a slot's ring counts.
pub const CELL: u64 = 5;
/// Cells: the last five minutes.
pub const CELLS: usize = 60;
/// Bytes of a request's description that are kept.
pub const TEXT: usize = 128;
/// Bytes of an application group's name that are kept.
pub const NAME: usize = 40;

/// The words of the header.
pub(super) mod header {
    pub const MAGIC: usize = 0;
    pub const PID: usize = 1;
    pub const STARTED: usize = 2;
    pub const HEARTBEAT: usize = 3;
    pub const INTERPRETERS: usize = 4;
    pub const BEGUN: usize = 5;
    /// Slots that were ever taken: the first ones. What lies behind them was never touched, and takes no memory.
    pub const TAKEN: usize = 6;
    /// What is summed up begins here.
    pub const CPU: usize = 7;
}

/// The words of a slot.
pub(super) mod slot {
    use super::{CELLS, NAME, PHASES, TEXT};

    pub const OWNER: usize = 0;
    pub const SINCE: usize = 1;
    pub const STARTED: usize = 2;
    pub const COMPLETED: usize = 3;
    pub const FAILED: usize = 4;
    pub const STATUS: usize = 5;
    pub const TIMES: usize = STATUS + 5;
    pub const GIL_WAITS: usize = TIMES + PHASES;
    pub const INPUT_BYTES: usize = GIL_WAITS + 1;
    pub const INPUT_READS: usize = GIL_WAITS + 2;
    pub const OUTPUT_BYTES: usize = GIL_WAITS + 3;
    pub const OUTPUT_WRITES: usize = GIL_WAITS + 4;
    pub const QUEUE_BYTES: usize = GIL_WAITS + 5;
    pub const LONGEST: usize = GIL_WAITS + 6;
    pub const QUEUED: usize = GIL_WAITS + 7;
    pub const PYTHON: usize = GIL_WAITS + 8;
    pub const LENGTHS: usize = GIL_WAITS + 9;
    pub const TEXT_AT: usize = LENGTHS + 1;
    pub const NAME_AT: usize = TEXT_AT + TEXT / 8;
    pub const RING: usize = NAME_AT + NAME / 8;
    const _: () = assert!(RING + CELLS <= super::SLOT);
}

/// Bytes of a page with so many slots.
pub const fn size(slots: usize) -> usize {
    (FRONT + slots * SLOT) * 8
}

/// A page in memory that other processes may read.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    words: &'a [AtomicU64],
}

impl<'a> Page<'a> {
    /// The page in this memory, [`size`] bytes of it; `None` if that is too little for one slot.
    pub fn of(words: &'a [AtomicU64]) -> Option<Page<'a>> {
        (words.len() >= FRONT + SLOT).then_some(Page { words })
    }

    /// Begins the life of the process that writes it: now, in µs since the epoch; and when the system began it
    /// ([`super::proc::Usage::begun`]).
    pub fn begin(&self, pid: u32, started: u64, begun: u64) {
        self.words[header::STARTED].store(started, Relaxed);
        self.words[header::BEGUN].store(begun, Relaxed);
        self.words[header::PID].store(pid.into(), Relaxed);
        self.words[header::MAGIC].store(MAGIC, Relaxed);
    }

    /// The process is alive at that time, in µs of `CLOCK_MONOTONIC`.
    pub fn beat(&self, now: u64) {
        self.words[header::HEARTBEAT].store(now, Relaxed);
    }

    /// It has so many interpreters.
    pub fn set_interpreters(&self, count: u64) {
        self.words[header::INTERPRETERS].store(count, Relaxed);
    }

    /// Whose page it is; 0: nobody's.
    pub fn pid(&self) -> u64 {
        self.words[header::PID].load(Relaxed)
    }

    /// Takes it over from `former` (0: from nobody); false when another was faster.
    pub fn claim(&self, former: u64, pid: u32) -> bool {
        self.words[header::PID]
            .compare_exchange(former, pid.into(), Relaxed, Relaxed)
            .is_ok()
    }

    /// Gives it up, with what was counted and the processor time that the process used, in µs.
    pub fn release(&self, cpu: (u64, u64)) {
        self.words[header::CPU].fetch_add(cpu.0, Relaxed);
        self.words[header::CPU + 1].fetch_add(cpu.1, Relaxed);
        self.settle();
        self.words[header::PID].store(0, Relaxed);
    }

    /// Frees what a process has left that did not end in order.
    pub fn settle(&self) {
        self.words[header::INTERPRETERS].store(0, Relaxed);
        for slot in self.slots() {
            slot.set(slot::SINCE, 0);
            slot.free();
        }
    }

    /// Moves what was counted to `to`, where only sums count, and forgets it here.
    pub fn retire(&self, to: &Page<'_>) {
        to.words[header::MAGIC].store(MAGIC, Relaxed);
        for (from, to) in self.words[header::CPU..FRONT].iter().zip(&to.words[header::CPU..FRONT]) {
            to.fetch_add(from.swap(0, Relaxed), Relaxed);
        }
        let Some(sums) = to.room().next() else { return };
        to.taken(1);
        for slot in self.slots() {
            for at in slot::STARTED..slot::LONGEST {
                sums.0[at].fetch_add(slot.0[at].swap(0, Relaxed), Relaxed);
            }
            for (from, to) in slot.0[slot::RING..].iter().zip(&sums.0[slot::RING..]) {
                let (from, old) = (from.swap(0, Relaxed), to.load(Relaxed));
                // Two at once lose a cell at worst.
                match (from >> 32).cmp(&(old >> 32)) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => to.store(old.saturating_add(from & 0xffff_ffff), Relaxed),
                    std::cmp::Ordering::Greater => to.store(from, Relaxed),
                }
            }
            slot.set(slot::LONGEST, 0);
        }
    }

    /// The slots that were ever taken.
    pub fn slots(&self) -> impl Iterator<Item = Slot<'a>> + use<'a> {
        self.room().take(self.words[header::TAKEN].load(Relaxed) as usize)
    }

    /// All that there is room for.
    fn room(&self) -> impl Iterator<Item = Slot<'a>> + use<'a> {
        self.words[FRONT..].as_chunks().0.iter().map(Slot)
    }

    fn taken(&self, slots: usize) {
        self.words[header::TAKEN].fetch_max(slots as u64, Relaxed);
    }

    /// Takes a free slot for the thread of that number (never 0), which CPython knows as `python`; `None` if all are in
    /// use.
    pub fn take_slot(&self, thread: u64, python: u64) -> Option<Slot<'a>> {
        let (at, slot) = self.room().enumerate().find(|(_, slot)| {
            slot.0[slot::OWNER]
                .compare_exchange(0, thread, Relaxed, Relaxed)
                .is_ok()
        })?;
        self.taken(at + 1);
        slot.set(slot::PYTHON, python);
        Some(slot)
    }

    /// A copy of all words but those of slots that were never taken, for [`super::reading::Reading`].
    pub fn copy(&self) -> Vec<u64> {
        let taken = self.words[header::TAKEN].load(Relaxed) as usize;
        let words = self.words.iter().take(FRONT + taken.saturating_mul(SLOT));
        words.map(|word| word.load(Relaxed)).collect()
    }
}

/// The place of one thread, which alone writes it.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a>(&'a [AtomicU64; SLOT]);

/// A request that has ended, for the books.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// Of the reply; 0 if there was none.
    pub status: u16,
    /// The reply is not whole, or was not received.
    pub failed: bool,
    /// How long each phase took, in µs; `None`: the request had no such phase.
    pub times: [Option<u64>; PHASES],
    /// How often Python's lock was waited for.
    pub gil_waits: u64,
    /// Body of the request, and how often some of it was read.
    pub input: (u64, u64),
    /// Body of the reply, and how often some of it was sent.
    pub output: (u64, u64),
}

impl Slot<'_> {
    /// Begins a request, which `what` says in two words, in the application group `name`. `queue`: how long it was in
    /// the queue, in µs, and its bytes there. `now` in µs of `CLOCK_MONOTONIC`.
    pub fn begin(&self, now: u64, queue: (u64, u64), what: (&[u8], &[u8]), name: &[u8]) {
        let mut bytes = [0; TEXT];
        let first = what.0.len().min(TEXT - 1);
        bytes[..first].copy_from_slice(&what.0[..first]);
        bytes[first] = b' ';
        let second = what.1.len().min(TEXT - 1 - first);
        let len = first + 1 + second;
        bytes[first + 1..len].copy_from_slice(&what.1[..second]);
        self.put(slot::TEXT_AT, &bytes[..len.next_multiple_of(8)]);
        let name = &name[..name.len().min(NAME)];
        if !name.is_empty() {
            let mut known = [0; NAME];
            known[..name.len()].copy_from_slice(name);
            self.put(slot::NAME_AT, &known[..name.len().next_multiple_of(8)]);
        }
        self.set(slot::LENGTHS, (len as u64) << 32 | name.len() as u64);
        self.set(slot::QUEUED, queue.0);
        self.add(slot::QUEUE_BYTES, queue.1);
        self.add(slot::STARTED, 1);
        self.set(slot::SINCE, now);
    }

    /// Ends it.
    pub fn end(&self, page: &Page<'_>, now: u64, ended: &Ended) {
        self.set(slot::SINCE, 0);
        self.add(slot::COMPLETED, 1);
        if ended.failed {
            self.add(slot::FAILED, 1);
        }
        if let class @ 1..=5 = ended.status / 100 {
            self.add(slot::STATUS + usize::from(class) - 1, 1);
        }
        let front = page.words.first_chunk::<FRONT>();
        for (at, time) in ended.times.iter().enumerate() {
            if let (Some(time), Some(front)) = (time, front) {
                self.add(slot::TIMES + at, *time);
                front[HEADER + at * BUCKETS + bucket(*time)].fetch_add(1, Relaxed);
            }
        }
        if ended.gil_waits > 0 {
            self.add(slot::GIL_WAITS, ended.gil_waits);
        }
        if ended.input.1 > 0 {
            self.add(slot::INPUT_BYTES, ended.input.0);
            self.add(slot::INPUT_READS, ended.input.1);
        }
        self.add(slot::OUTPUT_BYTES, ended.output.0);
        self.add(slot::OUTPUT_WRITES, ended.output.1);
        let total = ended.times[Phase::Request as usize].unwrap_or(0);
        if total > self.get(slot::LONGEST) {
            self.set(slot::LONGEST, total);
        }
        let cell = now / (CELL * 1_000_000);
        let at = slot::RING + cell as usize % CELLS;
        let held = self.get(at);
        let cell = cell << 32;
        self.set(
            at,
            if held & !0xffff_ffff == cell {
                held + 1
            } else {
                cell + 1
            },
        );
    }

    /// Gives the slot to whoever comes next.
    pub fn free(&self) {
        self.set(slot::OWNER, 0);
    }

    /// The number of the thread that has it; 0: nobody.
    pub fn owner(&self) -> u64 {
        self.get(slot::OWNER)
    }

    /// Since when it runs a request, in µs of `CLOCK_MONOTONIC`; 0: it does not.
    pub fn since(&self) -> u64 {
        self.get(slot::SINCE)
    }

    /// Requests that it has begun: names the one that runs.
    pub fn started(&self) -> u64 {
        self.get(slot::STARTED)
    }

    /// The longest request since this was asked last, in µs.
    pub fn take_longest(&self) -> u64 {
        self.0[slot::LONGEST].swap(0, Relaxed)
    }

    /// A copy of its words.
    pub fn copy(&self) -> Vec<u64> {
        self.0.iter().map(|word| word.load(Relaxed)).collect()
    }

    #[inline]
    fn put(&self, at: usize, bytes: &[u8]) {
        for (word, bytes) in self.0[at..].iter().zip(bytes.as_chunks().0) {
            word.store(u64::from_ne_bytes(*bytes), Relaxed);
        }
    }

    fn get(&self, at: usize) -> u64 {
        self.0[at].load(Relaxed)
    }

    fn set(&self, at: usize, value: u64) {
        self.0[at].store(value, Relaxed);
    }

    /// Nobody else writes it, so this needs no locked instruction.
    fn add(&self, at: usize, value: u64) {
        self.set(at, self.get(at).wrapping_add(value));
    }
}
