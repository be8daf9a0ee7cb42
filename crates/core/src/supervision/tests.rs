use std::collections::BTreeMap;

use super::*;

/// A group in a world of its own: daemons that do what the test says, and a clock that the test moves.
struct World {
    group: Group,
    now: Time,
    /// The generations of the processes that exist.
    alive: BTreeMap<u64, u64>,
    drained: Vec<u64>,
    terminated: Vec<u64>,
    killed: Vec<u64>,
    notes: Vec<Note>,
}

fn settings(processes: usize) -> Settings {
    let options = DaemonOptions::new(b"shop".to_vec());
    Settings {
        processes,
        ..Settings::of(&options, true)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

impl World {
    fn new(settings: Settings) -> World {
        let mut world = World {
            group: Group::new(settings, 1),
            now: seconds(1000.0),
            alive: BTreeMap::new(),
            drained: Vec::new(),
            terminated: Vec::new(),
            killed: Vec::new(),
            notes: Vec::new(),
        };
        world.tell(Event::Tick);
        world
    }

    fn tell(&mut self, event: Event) {
        self.tell_with(event, usize::MAX);
    }

    fn tell_with(&mut self, event: Event, starts: usize) {
        let moment = Moment {
            now: self.now,
            jitter: 0.0,
            starts,
        };
        for action in self.group.handle(event, &moment) {
            match action {
                Action::Spawn(ProcessId(id), generation) => {
                    assert!(self.alive.insert(id, generation).is_none(), "{id} is used twice");
                }
                Action::Drain(ProcessId(id)) => self.drained.push(id),
                Action::Terminate(ProcessId(id)) => self.terminated.push(id),
                Action::Kill(ProcessId(id)) => self.killed.push(id),
                Action::Note(note) => self.notes.push(note),
            }
        }
    }

    fn ready(&mut self, id: u64) {
        self.tell(Event::Ready(ProcessId(id)));
    }

    fn gone(&mut self, id: u64, exit: Exit) {
        assert!(self.alive.remove(&id).is_some(), "{id} is not there");
        self.tell(Event::Gone(ProcessId(id), exit));
    }

    fn crash(&mut self, id: u64) {
        self.gone(id, Exit::Signal(11));
    }

    fn pass(&mut self, time: f64) {
        self.now += seconds(time);
        self.tell(Event::Tick);
    }

    /// Lets time pass until the next timer, and returns how long that was.
    fn next(&mut self) -> Duration {
        let timer = self.group.timer().expect("a timer");
        let wait = timer.saturating_sub(self.now);
        self.now = self.now.max(timer);
        self.tell(Event::Tick);
        wait
    }

    fn alive(&self) -> Vec<u64> {
        self.alive.keys().copied().collect()
    }

    fn last(&self) -> u64 {
        *self.alive.keys().next_back().expect("a process")
    }
}

#[test]
fn an_eager_group_starts_all_at_once() {
    let mut world = World::new(settings(3));
    assert_eq!(world.alive(), [1, 2, 3]);
    assert_eq!(world.group.state(), State::Starting);
    world.ready(2);
    assert_eq!(world.group.state(), State::Ready);
    assert_eq!(world.group.starting(), 2);
    assert_eq!(world.group.timer(), None);
    assert_eq!(world.notes, []);
}

#[test]
fn starts_are_limited_from_outside() {
    let mut world = World::new(Settings {
        eager: false,
        ..settings(3)
    });
    world.group.configure(settings(3), 2);
    world.tell_with(Event::Tick, 0);
    assert!(world.alive().is_empty());
    world.tell_with(Event::Tick, 2);
    assert_eq!(world.alive(), [1, 2]);
    world.tell_with(Event::Tick, 2);
    assert_eq!(world.alive(), [1, 2, 3]);
}

#[test]
fn who_hangs_is_not_busy() {
    let mut world = World::new(settings(2));
    assert_eq!(world.group.claim(world.now).busy, 2);
    world.ready(1);
    assert_eq!(world.group.claim(world.now).busy, 1);
    world.pass(BUSY.as_secs_f64());
    assert_eq!((world.group.claim(world.now).busy, world.group.starting()), (0, 1));
}

#[test]
fn on_demand() {
    let mut world = World::new(Settings {
        eager: false,
        ..settings(2)
    });
    assert_eq!(world.group.state(), State::Idle);
    world.pass(1.0);
    assert!(world.alive().is_empty());
    world.tell(Event::Demand);
    assert_eq!((world.alive(), world.group.state()), (vec![1], State::Starting));
    world.tell(Event::Demand);
    assert_eq!(world.alive(), [1], "one at a time");
    world.ready(1);
    world.tell(Event::Demand);
    assert_eq!(world.alive(), [1, 2]);
    world.ready(2);
    world.tell(Event::Demand);
    assert_eq!(world.alive(), [1, 2], "no more than its number");
    for id in [1, 2] {
        world.tell(Event::Exiting(ProcessId(id), Reason::InactivityTimeout));
        assert_eq!(world.alive().len(), 2, "nobody needs another one");
    }
    assert_eq!(world.group.state(), State::Draining);
    world.gone(1, Exit::Code(0));
    world.gone(2, Exit::Code(0));
    assert_eq!((world.group.state(), world.notes.len()), (State::Idle, 0));
    world.tell(Event::Demand);
    assert_eq!(world.alive(), [3]);
}

#[test]
fn an_idle_daemon_that_goes_does_not_take_its_successor_along() {
    let mut world = World::new(Settings {
        eager: false,
        ..settings(4)
    });
    world.tell(Event::Demand);
    world.tell(Event::Reload);
    assert_eq!(world.alive(), [1, 2]);
    world.tell(Event::Exiting(ProcessId(1), Reason::InactivityTimeout));
    world.ready(2);
    world.tell(Event::Replace(ProcessId(2), Reason::MaximumRequests));
    assert_eq!((world.alive(), world.drained.len()), (vec![1, 2, 3], 0));
}

#[test]
fn a_crash_after_a_while_is_made_good_at_once() {
    let mut world = World::new(settings(1));
    world.ready(1);
    world.pass(11.0);
    world.crash(1);
    assert_eq!(world.alive(), [2]);
    assert_eq!(world.notes, [Note::Died(ProcessId(1), Exit::Signal(11))]);
    world.ready(2);
    world.pass(11.0);
    world.crash(2);
    assert_eq!(world.alive(), [3], "each crash stands for itself");
}

#[test]
fn two_failed_starts_fail_the_group() {
    let mut world = World::new(settings(2));
    world.crash(1);
    assert_eq!(world.alive(), [2], "the other one is still on its way");
    assert_eq!(world.group.state(), State::Starting);
    world.crash(2);
    let retry = Some(world.now + seconds(0.2));
    assert_eq!(world.group.state(), State::Failed { retry, alone: true });
    assert_eq!(world.notes.last(), Some(&Note::Failed(2, seconds(0.2))));
    let mut waits = Vec::new();
    for _ in 0..10 {
        waits.push(world.next().as_secs_f64());
        assert_eq!(world.alive().len(), 1, "one try at a time");
        assert_eq!(
            world.group.state(),
            State::Failed {
                retry: None,
                alone: true
            }
        );
        let id = world.last();
        world.gone(id, Exit::Code(3));
    }
    assert_eq!(waits, [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]);
    world.next();
    let id = world.last();
    world.ready(id);
    assert_eq!(world.notes.last(), Some(&Note::Recovered));
    assert_eq!(world.group.state(), State::Ready);
    assert_eq!(world.alive().len(), 2);
}

#[test]
fn a_group_that_fails_is_not_alone_while_an_old_daemon_finishes_its_requests() {
    let mut world = World::new(settings(1));
    world.ready(1);
    world.tell(Event::Exiting(ProcessId(1), Reason::ShutdownSignal));
    for _ in 0..2 {
        let id = world.last();
        world.gone(id, Exit::Code(1));
        world.next();
    }
    assert!(matches!(world.group.state(), State::Failed { alone: false, .. }));
    world.gone(1, Exit::Code(0));
    assert!(matches!(world.group.state(), State::Failed { alone: true, .. }));
}

#[test]
fn a_daemon_that_cannot_be_spawned_is_a_failed_start() {
    let mut world = World::new(settings(1));
    world.gone(1, Exit::NotStarted);
    assert_eq!(world.next(), seconds(0.1));
    world.gone(2, Exit::NotStarted);
    assert!(matches!(world.group.state(), State::Failed { retry: Some(_), .. }));
}

#[test]
fn crashes_right_after_ready_do_not_become_a_storm() {
    let mut world = World::new(settings(2));
    world.ready(1);
    world.pass(100.0);
    // One daemon is well; the other one crashes on each first request.
    let mut waits = Vec::new();
    for _ in 0..5 {
        let id = world.last();
        world.ready(id);
        world.pass(1.0);
        world.crash(id);
        waits.push(world.next().as_secs_f64());
    }
    assert_eq!(waits, [0.1, 0.2, 0.4, 0.8, 1.6]);
    assert_eq!(world.group.state(), State::Ready);
    assert!(world.notes.contains(&Note::KeepsOld(2, seconds(0.2))));
    // Once it stays, all is forgotten.
    let id = world.last();
    world.ready(id);
    world.pass(10.0);
    world.crash(id);
    let id = world.last();
    world.crash(id);
    assert_eq!(world.next(), seconds(0.1));
}

#[test]
fn a_daemon_that_has_served_is_no_failed_start() {
    let mut world = World::new(settings(2));
    world.ready(1);
    world.ready(2);
    for _ in 0..10 {
        for _ in 0..2 {
            let id = *world.alive.keys().next().expect("a process");
            world.tell(Event::Served(ProcessId(id)));
            world.pass(1.0);
            world.crash(id);
            let id = world.last();
            assert_eq!(world.alive.len(), 2, "replaced at once");
            world.ready(id);
        }
    }
    assert!(world.notes.iter().all(|note| matches!(note, Note::Died(..))));
    // It crashes with each request: that is no reason to hurry.
    let id = world.last();
    world.tell(Event::Served(ProcessId(id)));
    world.pass(0.25);
    world.crash(id);
    assert_eq!(world.alive.len(), 1);
    assert_eq!(world.next(), seconds(0.75));
    assert_eq!(world.alive.len(), 2);
}

#[test]
fn the_first_request_ends_a_row_of_failures() {
    let mut world = World::new(settings(1));
    world.crash(1);
    world.next();
    world.crash(2);
    assert_eq!(world.next(), seconds(0.2));
    world.ready(3);
    world.tell(Event::Served(ProcessId(3)));
    world.pass(2.0);
    world.crash(3);
    assert_eq!(world.alive(), [4]);
    world.crash(4);
    assert_eq!(world.next(), seconds(0.1), "the first one again");
}

#[test]
fn eviction() {
    let evicting = |processes| Settings {
        eviction_timeout: Some(seconds(3.0)),
        ..settings(processes)
    };
    let mut world = World::new(evicting(1));
    world.ready(1);
    world.tell(Event::Replace(ProcessId(1), Reason::EvictionSignal));
    assert_eq!((world.alive(), world.drained.len()), (vec![1, 2], 0));
    world.pass(1.0);
    world.ready(2);
    assert_eq!(world.drained, [1]);
    assert_eq!(world.next(), seconds(2.0), "counted from the signal");
    assert_eq!(world.terminated, [1]);
    world.gone(1, Exit::Code(0));

    // Nothing replaces it, and it goes all the same.
    world.tell(Event::Replace(ProcessId(2), Reason::EvictionSignal));
    world.tell(Event::Replace(ProcessId(2), Reason::EvictionSignal));
    assert_eq!(world.alive(), [2, 3]);
    assert_eq!(world.next(), seconds(3.0));
    assert_eq!((world.terminated.clone(), world.drained.len()), (vec![1, 2], 1));
    assert_eq!(world.notes, []);

    // Without a time of its own it is a replacement as any other, and has the time of those.
    let mut world = World::new(settings(1));
    world.ready(1);
    world.tell(Event::Replace(ProcessId(1), Reason::GracefulSignal));
    assert_eq!(world.group.timer(), None);
    world.ready(2);
    assert_eq!(world.next(), seconds(15.0));
    assert_eq!(world.terminated, [1]);
}

#[test]
fn a_reload_rolls_through_the_group() {
    let mut world = World::new(settings(2));
    world.ready(1);
    world.ready(2);
    world.tell(Event::Replace(ProcessId(2), Reason::ScriptReload));
    assert_eq!(world.alive(), [1, 2, 3]);
    assert_eq!(world.drained, [], "the new one is not ready yet");
    world.tell(Event::Replace(ProcessId(1), Reason::ScriptReload));
    assert_eq!(world.alive(), [1, 2, 3], "the same change, seen by another daemon");
    world.ready(3);
    assert_eq!(world.drained, [1]);
    assert_eq!(world.alive(), [1, 2, 3, 4]);
    world.gone(1, Exit::Code(0));
    world.ready(4);
    assert_eq!(world.drained, [1, 2]);
    world.gone(2, Exit::Code(0));
    assert_eq!(world.alive(), [3, 4]);
    assert_eq!(world.notes, [Note::Replaced(2)]);
    assert_eq!(world.group.timer(), None);
}

#[test]
fn a_new_generation_that_fails_keeps_the_last_good_one() {
    let mut world = World::new(settings(1));
    world.ready(1);
    world.tell(Event::Reload);
    world.crash(2);
    world.next();
    world.crash(3);
    assert_eq!(world.group.state(), State::Ready);
    assert_eq!(world.drained, []);
    assert_eq!(world.notes.last(), Some(&Note::KeepsOld(2, seconds(0.2))));
    // The old one sees the repair.
    world.pass(0.15);
    world.tell(Event::Replace(ProcessId(1), Reason::ScriptReload));
    assert_eq!(world.alive(), [1], "not more than a try in a second");
    for _ in 0..5 {
        world.next();
        let id = world.last();
        world.crash(id);
    }
    world.pass(2.0);
    world.tell(Event::Replace(ProcessId(1), Reason::ScriptReload));
    let id = world.last();
    assert_ne!(id, 1, "tried at once");
    world.ready(id);
    assert_eq!(world.drained, [1]);
    world.gone(1, Exit::Code(0));
    assert_eq!(world.alive(), [id]);
}

#[test]
fn changes_in_quick_succession_do_not_pile_up() {
    let mut world = World::new(settings(2));
    world.ready(1);
    world.ready(2);
    for _ in 0..50 {
        world.tell(Event::Reload);
        let id = world.last();
        world.ready(id);
    }
    assert!(world.alive().len() <= 2 + 1 + 5, "{:?}", world.alive());
    assert!(world.group.state() == State::Ready);
    for id in world.drained.clone() {
        world.gone(id, Exit::Code(0));
    }
    let id = world.last();
    world.ready(id);
    let id = world.last();
    world.ready(id);
    assert_eq!(world.group.generation(), 51);
    let generations = world.alive.iter().filter(|(id, _)| !world.drained.contains(id));
    assert!(generations.clone().all(|(_, generation)| *generation == 51));
    assert_eq!(generations.count(), 2);
}

#[test]
fn requests_and_age_replace_one_by_one() {
    let mut world = World::new(Settings {
        restart_interval: Some(seconds(60.0)),
        ..settings(1)
    });
    world.ready(1);
    assert_eq!(world.next(), seconds(60.0));
    assert_eq!((world.alive(), world.drained.len()), (vec![1, 2], 0));
    world.ready(2);
    assert_eq!(world.drained, [1]);
    world.tell(Event::Replace(ProcessId(2), Reason::MaximumRequests));
    assert_eq!(world.last(), 3);
    assert_eq!(world.group.generation(), 1, "the others stay");
    world.ready(3);
    assert_eq!(world.drained, [1, 2]);
}

#[test]
fn limits_of_ending() {
    let mut world = World::new(settings(1));
    world.ready(1);
    world.tell(Event::Reload);
    world.ready(2);
    assert_eq!(world.drained, [1]);
    assert_eq!(world.next(), seconds(15.0), "graceful-timeout");
    assert_eq!((&world.terminated[..], &world.killed[..]), (&[1][..], &[][..]));
    assert_eq!(world.next(), seconds(5.0), "shutdown-timeout");
    assert_eq!(world.killed, [1]);
    assert_eq!(world.notes.last(), Some(&Note::Overdue(ProcessId(1))));
    world.gone(1, Exit::Signal(9));
    assert_eq!((world.alive(), world.group.timer()), (vec![2], None));

    // A daemon that says that it goes, and does not.
    world.tell(Event::Exiting(ProcessId(2), Reason::RequestTimeout));
    assert_eq!(world.alive(), [2, 3]);
    assert_eq!(world.next(), seconds(6.0));
    assert_eq!(world.terminated, [1, 2]);
}

#[test]
fn no_limits() {
    let mut world = World::new(Settings {
        graceful_timeout: None,
        shutdown_timeout: None,
        ..settings(1)
    });
    world.ready(1);
    world.tell(Event::Reload);
    world.ready(2);
    assert_eq!((&world.drained[..], world.group.timer()), (&[1][..], None));
    world.tell(Event::Stop);
    assert_eq!(world.terminated, [1, 2]);
    assert_eq!(world.next(), STOP_LIMIT);
    assert_eq!(world.killed, [1, 2]);
}

#[test]
fn startup_timeout() {
    let mut world = World::new(Settings {
        startup_timeout: Some(seconds(3.0)),
        ..settings(1)
    });
    assert_eq!(world.next(), seconds(3.0));
    assert_eq!(world.killed, [1]);
    assert_eq!(world.notes, [Note::StartupTimeout(ProcessId(1))]);
    world.ready(1);
    assert_eq!(world.group.state(), State::Starting, "too late");
    world.gone(1, Exit::Signal(9));
    assert_eq!(world.next(), seconds(0.1), "a failed start");
    world.tell(Event::Exiting(ProcessId(2), Reason::StartupTimeout));
    assert!(matches!(world.group.state(), State::Failed { retry: Some(_), .. }));
}

#[test]
fn stop() {
    let mut world = World::new(settings(2));
    world.ready(1);
    world.tell(Event::Stop);
    assert_eq!(world.terminated, [1, 2]);
    assert!(!world.group.finished());
    world.gone(2, Exit::Signal(15));
    assert_eq!(world.next(), seconds(5.0));
    assert_eq!(world.killed, [1]);
    world.gone(1, Exit::Signal(9));
    assert!(world.group.finished() && world.alive().is_empty());
    assert_eq!(world.notes, [Note::Overdue(ProcessId(1))]);
}

#[test]
fn retire() {
    let mut world = World::new(settings(2));
    world.ready(1);
    world.tell(Event::Retire);
    assert_eq!((&world.drained[..], &world.terminated[..]), (&[1][..], &[2][..]));
    assert_eq!(world.group.state(), State::Draining);
    world.gone(1, Exit::Code(0));
    world.gone(2, Exit::Signal(15));
    assert!(world.group.finished());
    // It comes back with a later configuration.
    world.group.configure(settings(1), 7);
    world.tell(Event::Tick);
    assert_eq!((world.alive(), world.group.finished()), (vec![3], false));
    assert_eq!(world.alive[&3], 7);
}

#[test]
fn a_new_configuration_changes_the_number() {
    let mut world = World::new(settings(3));
    for id in 1..=3 {
        world.ready(id);
    }
    world.group.configure(settings(1), 2);
    world.tell(Event::Tick);
    assert_eq!(world.drained, [1, 2]);
    assert_eq!(world.last(), 4);
    world.ready(4);
    assert_eq!(world.drained, [1, 2, 3]);
    world.group.configure(settings(2), 3);
    world.tell(Event::Tick);
    assert_eq!(
        world.group.starting(),
        2,
        "one for what is missing, one for what is replaced"
    );
}

#[test]
fn service_scripts_start_again_after_a_pause() {
    let mut options = DaemonOptions::new(b"jobs".to_vec());
    options.threads = 0;
    let mut world = World::new(Settings::of(&options, false));
    for id in 1..6 {
        world.ready(id);
        world.gone(id, Exit::Code(0));
        assert_eq!(world.next(), SERVICE_PAUSE);
    }
    assert_eq!(world.notes, []);
    world.ready(6);
    world.gone(6, Exit::Code(1));
    assert_eq!(world.next(), seconds(0.1), "but one that fails has failed");
}

#[test]
fn strangers_change_nothing() {
    let mut world = World::new(settings(1));
    let nobody = ProcessId(99);
    for event in [
        Event::Ready(nobody),
        Event::Replace(nobody, Reason::ScriptReload),
        Event::Exiting(nobody, Reason::InactivityTimeout),
        Event::Gone(nobody, Exit::Code(0)),
    ] {
        world.tell(event);
    }
    world.ready(1);
    world.ready(1);
    assert_eq!((world.alive(), world.group.state()), (vec![1], State::Ready));
    assert_eq!(world.notes, []);
}

#[test]
fn reasons() {
    for number in 0..=u8::MAX {
        if let Some(reason) = Reason::from_number(number) {
            assert_eq!(reason.number(), number);
            assert!(!reason.to_string().is_empty());
        }
    }
    assert_eq!(Reason::ALL.len(), (0..=u8::MAX).filter_map(Reason::from_number).count());
}
