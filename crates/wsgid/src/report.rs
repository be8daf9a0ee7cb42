//! How the groups are, for administrators and for httpd's status pages.

use wsgi_core::clock::{epoch, monotonic};
use wsgi_core::stats::proc::Usage;
use wsgi_core::stats::reading::Reading;
use wsgi_core::stats::report::{self, Process, Report};
use wsgi_core::supervision::State;

use crate::group::Group;
use crate::sys::clock;

/// All groups now.
pub fn report(groups: &[Group]) -> Report {
    let epoch = epoch();
    Report {
        time_us: epoch,
        supervisor: Some(std::process::id()),
        groups: groups.iter().map(|group| describe(group, epoch)).collect(),
    }
}

fn describe(group: &Group, epoch: u64) -> report::Group {
    let (now, micros) = (clock::now(), monotonic());
    let mut shown = report::Group {
        name: String::from_utf8_lossy(group.name()).into_owned(),
        state: name(group.state()).to_owned(),
        starts: group.books.starts,
        ends: group.books.ends.clone(),
        ..report::Group::default()
    };
    let mut sums = group.books.sums.clone();
    for daemon in group.daemons() {
        let usage = Usage::of(daemon.pid).unwrap_or_default();
        let reading = daemon.reading().unwrap_or_default();
        sums.add(&reading, usage.cpu);
        let age = u64::try_from(now.saturating_sub(daemon.started).as_micros()).unwrap_or(u64::MAX);
        let (state, generation) = group.phase(daemon.id);
        shown.processes.push(process(
            Process {
                pid: u32::try_from(daemon.pid.as_raw()).unwrap_or(0),
                state: state.to_owned(),
                generation,
                started_us: epoch.saturating_sub(age),
                ..Process::default()
            },
            usage,
            &reading,
            micros,
        ));
    }
    sums.show(&mut shown, micros);
    shown.queue_bytes = group.queue_bytes();
    shown.queue_length = sums.requests_in(shown.queue_bytes);
    shown
}

fn process(mut process: Process, usage: Usage, reading: &Reading, now: u64) -> Process {
    (process.cpu_user_us, process.cpu_system_us) = usage.cpu;
    process.memory = usage.pages.saturating_mul(rustix::param::page_size() as u64);
    process.show(reading, now);
    process
}

fn name(state: State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Starting => "starting",
        State::Ready => "ready",
        State::Draining => "draining",
        State::Failed { .. } => "failed",
    }
}
