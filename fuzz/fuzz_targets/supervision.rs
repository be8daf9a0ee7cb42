//! Whatever happens to a group, and in whatever order: a service that was there is not taken away, processes do not pile
//! up, and the supervisor does not spin.
#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use wsgi_core::supervision::{Action, Event, Exit, Group, Moment, ProcessId, Reason, Settings, State};

#[derive(Arbitrary, Debug)]
struct Story {
    processes: u8,
    eager: bool,
    limited: bool,
    steps: Vec<(Step, u8, u8)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Pass,
    PassLong,
    Demand,
    Ready,
    Served,
    Replace,
    Exiting,
    Crash,
    End,
    Reload,
    Configure,
    Retire,
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    Asked,
    Leaving,
    Told,
    Killed,
}

fn settings(processes: u8, eager: bool, limited: bool) -> Settings {
    let limit = |seconds| limited.then(|| Duration::from_secs(seconds));
    Settings {
        processes: usize::from(processes % 4) + 1,
        eager,
        service: false,
        startup_timeout: limit(20),
        graceful_timeout: limit(15),
        eviction_timeout: limit(10),
        shutdown_timeout: limit(5),
        restart_interval: limit(60),
    }
}

fuzz_target!(|story: Story| {
    let mut group = Group::new(settings(story.processes, story.eager, story.limited), 1);
    let mut alive: BTreeMap<u64, Phase> = BTreeMap::new();
    let mut now = Duration::from_secs(1000);
    let mut ending = false;
    let mut evicting = false;
    let mut last = 0;
    for (step, which, starts) in &story.steps {
        let chosen = alive.keys().copied().nth(usize::from(*which) % alive.len().max(1));
        let process = ProcessId(chosen.unwrap_or(0));
        let mut harmless = true;
        let event = match step {
            Step::Pass => {
                now += Duration::from_millis(u64::from(*which) * 10);
                Event::Tick
            }
            Step::PassLong => {
                now += Duration::from_secs(u64::from(*which));
                Event::Tick
            }
            Step::Demand => Event::Demand,
            Step::Ready => {
                if let Some(phase) = chosen.and_then(|id| alive.get_mut(&id))
                    && *phase == Phase::Starting
                {
                    *phase = Phase::Ready;
                }
                Event::Ready(process)
            }
            Step::Served => Event::Served(process),
            Step::Replace => {
                let reason = Reason::from_number(which % 12 + 1).expect("a reason");
                // It ends at its time even if nothing replaces it.
                evicting |= reason == Reason::EvictionSignal;
                Event::Replace(process, reason)
            }
            Step::Exiting => {
                harmless = false;
                if let Some(phase) = chosen.and_then(|id| alive.get_mut(&id))
                    && matches!(phase, Phase::Starting | Phase::Ready)
                {
                    *phase = Phase::Leaving;
                }
                Event::Exiting(process, Reason::from_number(starts % 12 + 1).expect("a reason"))
            }
            Step::Crash | Step::End => {
                harmless = false;
                alive.remove(&process.0);
                let exit = if matches!(step, Step::End) {
                    Exit::Code(0)
                } else {
                    Exit::Signal(11)
                };
                Event::Gone(process, exit)
            }
            Step::Reload => Event::Reload,
            Step::Configure => {
                group.configure(
                    settings(*which, story.eager, story.limited),
                    group.generation() + u64::from(starts % 2),
                );
                harmless = false;
                Event::Tick
            }
            Step::Retire => {
                ending = true;
                Event::Retire
            }
            Step::Stop => {
                ending = true;
                Event::Stop
            }
        };
        let serving = |alive: &BTreeMap<u64, Phase>| alive.values().any(|phase| *phase == Phase::Ready);
        let before = serving(&alive);
        let moment = Moment {
            now,
            jitter: f64::from(*which) / 256.0,
            starts: usize::from(starts % 8),
        };
        let mut spawned = 0;
        for action in group.handle(event, &moment) {
            let mut set = |id: ProcessId, phase| {
                *alive.get_mut(&id.0).expect("only what exists is acted upon") = phase;
            };
            match action {
                Action::Spawn(id, generation) => {
                    assert!(id.0 > last && generation == group.generation());
                    last = id.0;
                    alive.insert(id.0, Phase::Starting);
                    spawned += 1;
                }
                Action::Drain(id) => set(id, Phase::Asked),
                Action::Terminate(id) => set(id, Phase::Told),
                Action::Kill(id) => set(id, Phase::Killed),
                Action::Note(_) => {}
            }
        }
        assert!(spawned <= moment.starts);
        if before && harmless && !ending && !evicting {
            assert!(serving(&alive), "{step:?} took the service away");
        }
        assert!(group.timer().is_none_or(|timer| timer > now), "a timer that has passed");
        let asked = alive.values().filter(|phase| **phase == Phase::Asked).count();
        assert!(asked <= 2 * 4 + 4 + 1, "{asked} old daemons");
        let current = alive
            .values()
            .filter(|phase| matches!(phase, Phase::Starting | Phase::Ready))
            .count();
        assert!(current <= 4 + 4 + 1, "{current} daemons");
        assert_eq!(serving(&alive), group.state() == State::Ready);
    }
    // The end comes, whatever has happened, if daemons can be killed at all.
    let mut told = Event::Stop;
    for _ in 0..100 {
        let moment = Moment {
            now,
            jitter: 0.0,
            starts: 8,
        };
        for action in group.handle(told, &moment) {
            match action {
                Action::Spawn(..) | Action::Drain(_) => panic!("{action:?} at the end"),
                Action::Kill(ProcessId(id)) => drop(alive.insert(id, Phase::Killed)),
                Action::Terminate(_) | Action::Note(_) => {}
            }
        }
        now = group.timer().unwrap_or(now);
        told = Event::Tick;
    }
    assert!(alive.values().all(|phase| *phase == Phase::Killed), "{alive:?}");
    for id in alive.keys() {
        group.handle(
            Event::Gone(ProcessId(*id), Exit::Signal(9)),
            &Moment {
                now,
                jitter: 0.0,
                starts: 8,
            },
        );
    }
    assert!(group.finished());
});
