//! What this process has counted (`crate::stats`), as plain Python values for `api/metrics.py`.

use wsgi_core::stats::Phase;
use wsgi_core::stats::reading::{Reading, Thread};

use crate::python::{Object, Python, Result};
use crate::stats::{Stats, epoch, micros};

/// The counters at one moment.
#[derive(Clone)]
pub struct Moment {
    reading: Reading,
    /// µs since the epoch.
    at: u64,
    /// µs of `CLOCK_MONOTONIC`.
    clock: u64,
}

impl Moment {
    /// Now.
    pub fn now(stats: &Stats) -> Moment {
        Moment {
            reading: stats.reading(),
            at: epoch(),
            clock: micros(),
        }
    }

    /// What was counted up to now, and since `earlier`, if that is given.
    pub fn tell<'py>(
        &self,
        py: Python<'py>,
        earlier: Option<&Moment>,
        longest: &[(u64, u64)],
    ) -> Result<'py, Object<'py>> {
        let none = Reading::default();
        let before = earlier.map_or(&none, |earlier| &earlier.reading);
        let (sums, old) = (self.reading.totals(), before.totals());
        let number = |value: u64| py.int(i64::try_from(value).unwrap_or(i64::MAX));
        let numbers = |values: &[u64]| {
            py.tuple(
                values
                    .iter()
                    .map(|value| number(*value))
                    .collect::<Result<'py, Vec<_>>>()?,
            )
        };
        let told = py.dict()?;
        let put = |name: &str, value: Object<'py>| told.set_item(&py.interned(name)?, &value);
        put("pid", number(self.reading.pid)?)?;
        put("process_start", number(self.reading.started)?)?;
        put(
            "start",
            number(earlier.map_or(self.reading.started, |earlier| earlier.at))?,
        )?;
        put("stop", number(self.at)?)?;
        put("request_count", number(sums.completed.saturating_sub(old.completed))?)?;
        let status: Vec<u64> = sums
            .status
            .iter()
            .zip(old.status)
            .map(|(now, then)| now.saturating_sub(then))
            .collect();
        put("status", numbers(&status)?)?;
        let flows = [
            ("input_bytes", sums.input_bytes, old.input_bytes),
            ("input_reads", sums.input_reads, old.input_reads),
            ("output_bytes", sums.output_bytes, old.output_bytes),
            ("output_writes", sums.output_writes, old.output_writes),
            ("gil_wait_count", sums.gil_waits, old.gil_waits),
        ];
        for (name, now, then) in flows {
            put(name, number(now.saturating_sub(then))?)?;
        }
        let phases = py.dict()?;
        for phase in Phase::ALL {
            let times = self.reading.histogram(phase).since(&before.histogram(phase));
            let (least, most) = times.range().unwrap_or_default();
            let sum = sums.times[phase as usize].saturating_sub(old.times[phase as usize]);
            let values = py.tuple(vec![
                number(times.count())?,
                number(sum)?,
                number(least)?,
                number(most)?,
                numbers(&times.from_1ms())?,
            ])?;
            phases.set_item(&py.interned(phase.name())?, &values)?;
        }
        put("phases", phases)?;
        let nobody = Thread::default();
        let mut threads = Vec::new();
        for (index, thread) in self.reading.threads.iter().enumerate() {
            let then = before.threads.get(index).unwrap_or(&nobody);
            let longest = longest
                .iter()
                .find(|(tid, _)| *tid == thread.tid)
                .map_or(0, |(_, time)| *time);
            let elapsed = elapsed(thread, self.clock);
            threads.push(numbers(&[
                thread.tid,
                thread.totals.completed.saturating_sub(then.totals.completed),
                self.busy(thread)
                    .saturating_sub(earlier.map_or(0, |earlier| earlier.busy(then))),
                elapsed,
                longest.max(elapsed),
                thread.totals.completed,
            ])?);
        }
        put("threads", py.tuple(threads)?)?;
        Ok(told)
    }

    /// Time that a thread had spent on requests, in µs.
    fn busy(&self, thread: &Thread) -> u64 {
        let time = |phase: Phase| thread.totals.times[phase as usize];
        let before = time(Phase::Server).saturating_add(time(Phase::Queue));
        let ended = time(Phase::Request).saturating_sub(before);
        ended.saturating_add(elapsed(thread, self.clock))
    }
}

/// Since how long a thread has had its request, in µs; 0: it has none.
fn elapsed(thread: &Thread, clock: u64) -> u64 {
    let running = thread.running.as_ref();
    running.map_or(0, |running| clock.saturating_sub(running.since))
}
