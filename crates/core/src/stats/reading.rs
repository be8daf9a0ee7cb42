//! A page as it was copied by a reader. Nothing in it is believed: sums saturate, texts are made readable.

use super::histogram::{BUCKETS, Histogram};
use super::page::{CELL, CELLS, FRONT, HEADER, MAGIC, NAME, SLOT, TEXT, header, slot};
use super::{PHASES, Phase};

/// What a process counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Its number; 0: the page is nobody's at the moment.
    pub pid: u64,
    /// When it began, in µs since the epoch.
    pub started: u64,
    /// When the system began it: a process of the same number that has begun at another time is another one.
    pub begun: u64,
    /// When it last said that it is alive, in µs of `CLOCK_MONOTONIC`.
    pub heartbeat: u64,
    /// Processor time of processes that had the page and are gone, in µs.
    pub cpu: (u64, u64),
    /// Interpreters that it has.
    pub interpreters: u64,
    /// Its threads, those that have done or do something.
    pub threads: Vec<Thread>,
    /// Times, by phase.
    pub histograms: Vec<Histogram>,
}

/// One thread of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thread {
    /// Its number in the system; 0: it has ended.
    pub tid: u64,
    /// The request that it runs.
    pub running: Option<Running>,
    /// What it has done.
    pub totals: Totals,
    /// Its longest request, in µs.
    pub longest: u64,
}

/// A request that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Since when the process has it, in µs of `CLOCK_MONOTONIC`.
    pub since: u64,
    /// How long it had waited in the queue, in µs.
    pub queued: u64,
    /// Which one of its thread's it is.
    pub number: u64,
    /// Python's number of the thread.
    pub python: u64,
    /// Method and URL without the query, as much of it as is kept.
    pub text: String,
    /// Its application group, as much of the name as is kept.
    pub application_group: String,
}

/// Sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests begun.
    pub started: u64,
    /// Requests ended.
    pub completed: u64,
    /// Those of them whose reply is not whole, or was not received.
    pub failed: u64,
    /// Replies by class of their status, from 1xx to 5xx.
    pub status: [u64; 5],
    /// Time by phase, in µs.
    pub times: [u64; PHASES],
    /// How often Python's lock was waited for.
    pub gil_waits: u64,
    /// Bytes of their messages in the queue.
    pub queue_bytes: u64,
    /// Bytes of requests' bodies.
    pub input_bytes: u64,
    /// Reads of them.
    pub input_reads: u64,
    /// Bytes of replies' bodies.
    pub output_bytes: u64,
    /// Writes of them.
    pub output_writes: u64,
    /// Requests ended in the last five minutes: in which [`CELL`] (of `CLOCK_MONOTONIC`) how many.
    pub recent: Vec<(u64, u64)>,
}

impl Reading {
    /// Reads the copy of a page; `None` if that is none, or one that nobody has written yet.
    pub fn of(words: &[u64]) -> Option<Reading> {
        if words.first() != Some(&MAGIC) {
            return None;
        }
        let histograms = words.get(HEADER..FRONT)?.chunks_exact(BUCKETS).map(Histogram::of);
        let slots = words[FRONT..].chunks_exact(SLOT).map(thread);
        Some(Reading {
            pid: words[header::PID],
            started: words[header::STARTED],
            begun: words[header::BEGUN],
            heartbeat: words[header::HEARTBEAT],
            cpu: (words[header::CPU], words[header::CPU + 1]),
            interpreters: words[header::INTERPRETERS],
            histograms: histograms.collect(),
            threads: slots
                .filter(|thread| thread.tid != 0 || thread.totals.started > 0)
                .collect(),
        })
    }

    /// The same of bytes.
    pub fn of_bytes(bytes: &[u8]) -> Option<Reading> {
        let words = bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word));
        Reading::of(&words.collect::<Vec<u64>>())
    }

    /// The sums of all its threads.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for thread in &self.threads {
            totals.add(&thread.totals);
        }
        totals
    }

    /// Requests that run.
    pub fn running(&self) -> usize {
        self.threads.iter().filter(|thread| thread.running.is_some()).count()
    }

    /// Times of one phase.
    pub fn histogram(&self, phase: Phase) -> Histogram {
        self.histograms.get(phase as usize).cloned().unwrap_or_default()
    }
}

/// Reads the copy of a slot ([`super::page::Slot::copy`]); missing words count as 0.
pub fn thread(words: &[u64]) -> Thread {
    let word = |at: usize| words.get(at).copied().unwrap_or(0);
    let text = |at: usize, len: u64, most: usize| {
        let bytes = words.get(at..at + most / 8).unwrap_or_default().iter();
        let bytes = bytes.flat_map(|word| word.to_ne_bytes());
        let len = usize::try_from(len).unwrap_or(0).min(most);
        readable(&bytes.take(len).collect::<Vec<u8>>())
    };
    let lengths = word(slot::LENGTHS);
    let running = (word(slot::SINCE) != 0).then(|| Running {
        since: word(slot::SINCE),
        queued: word(slot::QUEUED),
        number: word(slot::STARTED),
        python: word(slot::PYTHON),
        text: text(slot::TEXT_AT, lengths >> 32, TEXT),
        application_group: text(slot::NAME_AT, lengths & 0xffff_ffff, NAME),
    });
    Thread {
        tid: word(slot::OWNER),
        running,
        longest: word(slot::LONGEST),
        totals: Totals {
            started: word(slot::STARTED),
            completed: word(slot::COMPLETED),
            failed: word(slot::FAILED),
            status: std::array::from_fn(|at| word(slot::STATUS + at)),
            times: std::array::from_fn(|at| word(slot::TIMES + at)),
            gil_waits: word(slot::GIL_WAITS),
            queue_bytes: word(slot::QUEUE_BYTES),
            input_bytes: word(slot::INPUT_BYTES),
            input_reads: word(slot::INPUT_READS),
            output_bytes: word(slot::OUTPUT_BYTES),
            output_writes: word(slot::OUTPUT_WRITES),
            recent: (slot::RING..slot::RING + CELLS)
                .map(|at| (word(at) >> 32, word(at) & 0xffff_ffff))
                .filter(|(_, count)| *count > 0)
                .collect(),
        },
    }
}

impl Totals {
    /// Adds another's.
    pub fn add(&mut self, other: &Totals) {
        let add = |to: &mut u64, from: u64| *to = to.saturating_add(from);
        add(&mut self.started, other.started);
        add(&mut self.completed, other.completed);
        add(&mut self.failed, other.failed);
        for (to, from) in self.status.iter_mut().zip(other.status) {
            add(to, from);
        }
        for (to, from) in self.times.iter_mut().zip(other.times) {
            add(to, from);
        }
        add(&mut self.gil_waits, other.gil_waits);
        add(&mut self.queue_bytes, other.queue_bytes);
        add(&mut self.input_bytes, other.input_bytes);
        add(&mut self.input_reads, other.input_reads);
        add(&mut self.output_bytes, other.output_bytes);
        add(&mut self.output_writes, other.output_writes);
        for (cell, count) in &other.recent {
            match self.recent.iter_mut().find(|(known, _)| known == cell) {
                Some((_, sum)) => add(sum, *count),
                None => self.recent.push((*cell, *count)),
            }
        }
        // Of the cells that writers can make up only the newest are of interest.
        if self.recent.len() > 2 * CELLS {
            self.recent.sort_unstable();
            self.recent.drain(..self.recent.len() - CELLS);
        }
    }

    /// Requests ended in each cell of the last five minutes, the current one last; `now` in µs of `CLOCK_MONOTONIC`.
    pub fn history(&self, now: u64) -> Vec<u64> {
        let last = (now / (CELL * 1_000_000)) & 0xffff_ffff;
        let mut history = vec![0; CELLS];
        for (cell, count) in &self.recent {
            if let Some(age) = last.checked_sub(*cell)
                && let Some(at) = (CELLS - 1).checked_sub(usize::try_from(age).unwrap_or(CELLS))
            {
                history[at] = u64::saturating_add(history[at], *count);
            }
        }
        history
    }
}

/// Bytes as text of one line without control characters.
fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::super::page::{Ended, Page, size};
    use super::*;

    fn memory(slots: usize) -> Vec<AtomicU64> {
        (0..size(slots) / 8).map(|_| AtomicU64::new(0)).collect()
    }

    fn ended(status: u16, micros: u64) -> Ended {
        let mut times = [None; PHASES];
        times[Phase::Request as usize] = Some(micros);
        Ended {
            status,
            times,
            gil_waits: 2,
            output: (5, 1),
            ..Ended::default()
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let memory = memory(2);
        let page = Page::of(&memory).unwrap();
        assert_eq!(Reading::of(&page.copy()), None);
        page.begin(7, 1000, 4);
        page.beat(5);
        page.set_interpreters(3);
        let slot = page.take_slot(70, 99).unwrap();
        slot.begin(10_000_000, (30, 500), (b"GET", b"/caf\xc3\xa9\n"), b"shop");
        let reading = Reading::of(&page.copy()).unwrap();
        assert_eq!(
            (reading.pid, reading.started, reading.begun, reading.heartbeat),
            (7, 1000, 4, 5)
        );
        assert_eq!((reading.interpreters, reading.running()), (3, 1));
        let running = reading.threads[0].running.clone().unwrap();
        assert_eq!(running.text, "GET /caf\u{e9}\u{fffd}");
        assert_eq!(running.application_group, "shop");
        assert_eq!((running.since, running.queued, running.python), (10_000_000, 30, 99));
        slot.end(&page, 10_000_000, &ended(404, 2000));
        slot.begin(10_000_000, (0, 0), (b"GET", &[b'x'; 200]), b"");
        slot.end(&page, 11_000_000, &ended(200, 3000));
        let reading = Reading::of(&page.copy()).unwrap();
        assert_eq!(reading.running(), 0);
        let totals = reading.totals();
        assert_eq!((totals.started, totals.completed, totals.failed), (2, 2, 0));
        assert_eq!(totals.status, [0, 1, 0, 1, 0]);
        assert_eq!(totals.times[Phase::Request as usize], 5000);
        assert_eq!(
            (totals.gil_waits, totals.output_bytes, totals.output_writes),
            (4, 10, 2)
        );
        assert_eq!(reading.histogram(Phase::Request).count(), 2);
        assert_eq!(reading.histogram(Phase::Queue).count(), 0);
        assert_eq!(slot.take_longest(), 3000);
        let history = totals.history(11_000_000);
        assert_eq!((history.len(), history[CELLS - 1]), (CELLS, 2));
        assert_eq!(totals.history(300_000_000 + 11_000_000), vec![0; CELLS]);
    }

    #[test]
    fn slots_are_taken_and_given_back() {
        let memory = memory(1);
        let page = Page::of(&memory).unwrap();
        let slot = page.take_slot(1, 0).unwrap();
        assert!(page.take_slot(2, 0).is_none());
        slot.free();
        assert_eq!(page.take_slot(2, 0).map(|slot| slot.owner()), Some(2));
    }

    #[test]
    fn slots_that_nobody_took_are_left_alone() {
        let memory = memory(3);
        let page = Page::of(&memory).unwrap();
        page.begin(1, 1, 1);
        assert_eq!((page.slots().count(), page.copy().len()), (0, FRONT));
        for thread in [1, 2] {
            page.take_slot(thread, 0).unwrap();
        }
        page.slots().next().unwrap().free();
        page.take_slot(3, 0).unwrap();
        assert_eq!((page.slots().count(), page.copy().len()), (2, FRONT + 2 * SLOT));
        assert_eq!(Reading::of(&page.copy()).unwrap().threads.len(), 2);
    }

    #[test]
    fn too_little_memory_is_no_page() {
        let memory = memory(1);
        assert!(Page::of(&memory[1..]).is_none());
    }

    #[test]
    fn pages_are_handed_on() {
        let (memory, rest) = (memory(2), memory(1));
        let (page, rest) = (Page::of(&memory).unwrap(), Page::of(&rest).unwrap());
        assert!(page.claim(0, 5) && !page.claim(0, 6));
        page.begin(5, 1, 1);
        rest.begin(1, 1, 1);
        for thread in [1, 2] {
            let slot = page.take_slot(thread, 0).unwrap();
            slot.begin(1, (0, 0), (b"GET", b"/"), b"");
            slot.end(&page, 1, &ended(200, 1000));
        }
        page.release((3, 4));
        assert_eq!(page.pid(), 0);
        let before = Reading::of(&page.copy()).unwrap().totals();
        page.retire(&rest);
        assert_eq!(Reading::of(&page.copy()).unwrap().totals(), Totals::default());
        let after = Reading::of(&rest.copy()).unwrap();
        assert_eq!(after.totals(), before);
        assert_eq!(after.cpu, (3, 4));
        assert_eq!(after.histogram(Phase::Request).count(), 2);
    }

    #[test]
    fn rubbish_harms_nobody() {
        for words in [vec![], vec![MAGIC], vec![MAGIC; FRONT], vec![1; FRONT + SLOT]] {
            let reading = Reading::of(&words);
            assert!(reading.is_none_or(|reading| reading.threads.is_empty()));
        }
        let mut words = vec![u64::MAX; FRONT + 3 * SLOT + 1];
        words[0] = MAGIC;
        let reading = Reading::of(&words).unwrap();
        assert_eq!(reading.threads.len(), 3);
        assert_eq!(reading.totals().completed, u64::MAX);
        assert_eq!(reading.histogram(Phase::Queue).count(), u64::MAX);
        assert!(reading.histogram(Phase::Queue).quantile(0.5).is_some());
        let running = reading.threads[0].running.as_ref().unwrap();
        assert!(running.text.chars().count() <= TEXT);
        assert_eq!(reading.totals().history(u64::MAX).len(), CELLS);
    }
}
