//! How the server is at a moment: its groups, their processes and threads. Made of what processes counted and of what
//! the supervisor knows; shown as JSON, as a page, as OpenMetrics, and in a terminal.
//!
//! Names ending in `_us` are microseconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::histogram::{Histogram, least};
use super::page::{CELL, CELLS};
use super::reading::{Reading, Totals};
use super::{PHASES, Phase};

/// The whole of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// When it was made, since the epoch.
    pub time_us: u64,
    /// The supervisor of the daemons, if there is one.
    pub supervisor: Option<u32>,
    /// The groups.
    pub groups: Vec<Group>,
}

impl Report {
    /// Puts the group of httpd's own processes at the front. Who runs all applications in daemons does not want to read of
    /// processes that run none.
    pub fn add_own(&mut self, own: Group) {
        if self.groups.is_empty() || own.requests.completed + own.requests.running > 0 {
            self.groups.insert(0, own);
        }
    }
}

/// A process group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its name; empty: httpd's own processes.
    pub name: String,
    /// `idle`, `starting`, `ready`, `draining` or `failed`.
    pub state: String,
    /// Bytes of the requests that wait in its queue.
    pub queue_bytes: u64,
    /// How many requests that are, judged by the usual size.
    pub queue_length: u64,
    /// Daemons started.
    pub starts: u64,
    /// Daemons that have ended, by reason.
    pub ends: BTreeMap<String, u64>,
    /// Processor time of all processes that there have been.
    pub cpu_user_us: u64,
    /// As above.
    pub cpu_system_us: u64,
    /// Requests of all processes that there have been.
    pub requests: Requests,
    /// Their times, by phase.
    pub times: BTreeMap<String, Times>,
    /// Requests ended in each of the last [`CELLS`] intervals, the current one last.
    pub history: Vec<u64>,
    /// Length of such an interval, in seconds.
    pub history_seconds: u64,
    /// Its processes.
    pub processes: Vec<Process>,
}

/// Sums of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    /// In progress.
    pub running: u64,
    /// Ended.
    pub completed: u64,
    /// Ended with a reply that is not whole, or that was not received.
    pub failed: u64,
    /// Replies by class of their status, 1xx to 5xx.
    pub status: [u64; 5],
    /// Bodies of requests.
    pub input_bytes: u64,
    /// Bodies of replies.
    pub output_bytes: u64,
    /// How often Python's lock was waited for.
    pub gil_waits: u64,
}

/// How long a phase of requests takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Requests that had it.
    pub count: u64,
    /// Their time together.
    pub sum_us: u64,
    /// Half of them took no longer.
    pub p50_us: Option<u64>,
    /// 90 % of them.
    pub p90_us: Option<u64>,
    /// 99 % of them.
    pub p99_us: Option<u64>,
    /// The longest.
    pub max_us: Option<u64>,
    /// Counts by the number of their bucket ([`super::histogram`]).
    pub buckets: Vec<(u16, u64)>,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// `starting`, `serving`, `draining`, `ending`.
    pub state: String,
    /// Generation of its group.
    pub generation: u64,
    /// When it was started, since the epoch.
    pub started_us: u64,
    /// Processor time.
    pub cpu_user_us: u64,
    /// As above.
    pub cpu_system_us: u64,
    /// Memory in use, in bytes.
    pub memory: u64,
    /// Python interpreters.
    pub interpreters: u64,
    /// Its requests.
    pub requests: Requests,
    /// Its threads that have had a request.
    pub threads: Vec<Thread>,
}

/// A thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// Its number in the system.
    pub tid: u64,
    /// Requests that it has ended.
    pub completed: u64,
    /// Time of its requests together.
    pub busy_us: u64,
    /// Its longest request.
    pub longest_us: u64,
    /// The request that it runs.
    pub running: Option<Running>,
}

/// A request in progress.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Method and URL without its query.
    pub request: String,
    /// Its application group; empty: the main interpreter.
    pub application_group: String,
    /// How long the process has had it.
    pub elapsed_us: u64,
    /// How long it had waited in the queue.
    pub queued_us: u64,
}

/// What a group has counted, also in processes that are gone.
#[derive(Clone, Debug, Default)]
pub struct Sums {
    totals: Totals,
    histograms: Vec<Histogram>,
    cpu: (u64, u64),
    running: u64,
}

impl Sums {
    /// Adds what a process counted, and the processor time that it used.
    pub fn add(&mut self, reading: &Reading, cpu: (u64, u64)) {
        self.totals.add(&reading.totals());
        self.histograms.resize_with(PHASES, Histogram::default);
        for (to, from) in self.histograms.iter_mut().zip(&reading.histograms) {
            to.add(from);
        }
        for (user, system) in [cpu, reading.cpu] {
            self.cpu.0 = self.cpu.0.saturating_add(user);
            self.cpu.1 = self.cpu.1.saturating_add(system);
        }
        self.running += reading.running() as u64;
    }

    /// The same with nothing in progress: of a process that has ended.
    pub fn retire(&mut self, reading: &Reading, cpu: (u64, u64)) {
        let running = self.running;
        self.add(reading, cpu);
        self.running = running;
    }

    /// How many requests so many bytes in the queue are, judged by those that were taken from there.
    pub fn requests_in(&self, bytes: u64) -> u64 {
        /// What most requests have.
        const USUAL: u64 = 1500;
        if bytes == 0 {
            return 0;
        }
        let mean = self.totals.queue_bytes.checked_div(self.totals.started);
        let mean = mean.filter(|mean| *mean > 0).unwrap_or(USUAL);
        ((bytes + mean / 2) / mean).max(1)
    }

    /// Fills in the group's part of it; `now` in µs of `CLOCK_MONOTONIC`.
    pub fn show(&self, group: &mut Group, now: u64) {
        group.requests = requests(&self.totals, self.running);
        (group.cpu_user_us, group.cpu_system_us) = self.cpu;
        group.history = self.totals.history(now);
        group.history_seconds = CELL;
        for (phase, histogram) in Phase::ALL.into_iter().zip(&self.histograms) {
            let times = times(histogram, self.totals.times[phase as usize]);
            group.times.insert(phase.name().to_owned(), times);
        }
    }
}

impl Process {
    /// Fills in what the process says of itself; `now` in µs of `CLOCK_MONOTONIC`.
    pub fn show(&mut self, reading: &Reading, now: u64) {
        self.interpreters = reading.interpreters;
        self.requests = requests(&reading.totals(), reading.running() as u64);
        self.threads = reading.threads.iter().map(|thread| Thread::of(thread, now)).collect();
    }
}

impl Thread {
    fn of(thread: &super::reading::Thread, now: u64) -> Thread {
        Thread {
            tid: thread.tid,
            completed: thread.totals.completed,
            busy_us: thread.totals.times[Phase::Request as usize],
            longest_us: thread.longest,
            running: thread.running.as_ref().map(|running| Running {
                request: running.text.clone(),
                application_group: running.application_group.clone(),
                elapsed_us: now.saturating_sub(running.since),
                queued_us: running.queued,
            }),
        }
    }
}

impl Group {
    /// Requests per second over the last whole intervals, at most so many of them.
    pub fn rate(&self, intervals: usize) -> f64 {
        let whole = &self.history[..self.history.len().saturating_sub(1)];
        let last = &whole[whole.len().saturating_sub(intervals)..];
        let seconds = last.len() as u64 * self.history_seconds;
        if seconds == 0 {
            return 0.0;
        }
        last.iter().fold(0, |sum: u64, count| sum.saturating_add(*count)) as f64 / seconds as f64
    }

    /// Its name for people.
    pub fn title(&self) -> &str {
        if self.name.is_empty() {
            "httpd's own processes"
        } else {
            &self.name
        }
    }

    /// The times of a phase.
    pub fn times(&self, phase: Phase) -> Times {
        self.times.get(phase.name()).cloned().unwrap_or_default()
    }

    /// Memory of its processes, in bytes.
    pub fn memory(&self) -> u64 {
        self.processes
            .iter()
            .fold(0, |sum, process| sum.saturating_add(process.memory))
    }
}

impl Times {
    /// The mean in µs.
    pub fn mean_us(&self) -> Option<u64> {
        self.sum_us.checked_div(self.count)
    }

    /// How many took at most so many µs, to the width of a bucket.
    pub fn up_to(&self, micros: u64) -> u64 {
        let below = self
            .buckets
            .iter()
            .filter(|(at, _)| least(usize::from(*at) + 1) <= micros + 1);
        below.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

fn requests(totals: &Totals, running: u64) -> Requests {
    Requests {
        running,
        completed: totals.completed,
        failed: totals.failed,
        status: totals.status,
        input_bytes: totals.input_bytes,
        output_bytes: totals.output_bytes,
        gil_waits: totals.gil_waits,
    }
}

fn times(histogram: &Histogram, sum_us: u64) -> Times {
    let buckets = (0..).zip(&histogram.counts).filter(|(_, count)| **count > 0);
    Times {
        count: histogram.count(),
        sum_us,
        p50_us: histogram.quantile(0.5),
        p90_us: histogram.quantile(0.9),
        p99_us: histogram.quantile(0.99),
        max_us: histogram.range().map(|(_, greatest)| greatest),
        buckets: buckets.map(|(at, count)| (at, *count)).collect(),
    }
}

/// An empty history.
pub fn no_history() -> Vec<u64> {
    vec![0; CELLS]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        let mut histograms = vec![Histogram::default(); PHASES];
        for millis in [1, 2, 400] {
            histograms[Phase::Request as usize].record(millis * 1000);
        }
        let mut totals = Totals {
            started: 4,
            completed: 3,
            status: [0, 2, 0, 0, 1],
            recent: vec![(1, 2), (2, 1)],
            ..Totals::default()
        };
        totals.times[Phase::Request as usize] = 403_000;
        Reading {
            pid: 5,
            histograms,
            threads: vec![super::super::reading::Thread {
                tid: 6,
                totals,
                running: Some(super::super::reading::Running {
                    since: 9_000_000,
                    queued: 7,
                    number: 4,
                    python: 1,
                    text: "GET /".into(),
                    application_group: String::new(),
                }),
                longest: 400_000,
            }],
            ..Reading::default()
        }
    }

    #[test]
    fn sums_of_the_living_and_the_dead() {
        let mut sums = Sums::default();
        sums.retire(&reading(), (100, 10));
        sums.add(&reading(), (1, 2));
        let mut group = Group::default();
        sums.show(&mut group, 10_000_000);
        assert_eq!((group.requests.completed, group.requests.running), (6, 1));
        assert_eq!(group.requests.status, [0, 4, 0, 0, 2]);
        assert_eq!((group.cpu_user_us, group.cpu_system_us), (101, 12));
        let times = group.times(Phase::Request);
        assert_eq!(
            (times.count, times.sum_us, times.mean_us()),
            (6, 806_000, Some(134_333))
        );
        assert_eq!((times.up_to(1), times.up_to(5000), times.up_to(1 << 40)), (0, 4, 6));
        assert!(times.p50_us.is_some_and(|micros| micros.abs_diff(2000) < 100));
        assert_eq!(group.history[CELLS - 2..], [4, 2]);
        assert!((group.rate(2) - 0.4).abs() < 1e-9);
        assert_eq!(group.times(Phase::Queue).mean_us(), None);
        assert_eq!(
            (sums.requests_in(0), sums.requests_in(1), sums.requests_in(4000)),
            (0, 1, 3)
        );
    }

    #[test]
    fn a_process_and_its_threads() {
        let mut process = Process::default();
        process.show(&reading(), 10_000_000);
        assert_eq!((process.requests.completed, process.requests.running), (3, 1));
        let running = process.threads[0].running.clone().unwrap();
        assert_eq!((running.elapsed_us, running.queued_us), (1_000_000, 7));
    }

    #[test]
    fn an_empty_group_divides_by_nothing() {
        let group = Group::default();
        assert_eq!((group.rate(12), group.memory()), (0.0, 0));
        assert_eq!(group.title(), "httpd's own processes");
    }
}
