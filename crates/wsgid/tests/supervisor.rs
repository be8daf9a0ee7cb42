//! The real supervisor with fake daemons: what starts, what is replaced, what ends, and when.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr)]

mod world;

use std::fs::{self, File};
use std::time::{Duration, Instant};

use world::{Configuration, World, await_that, is_alive};
use wsgi_core::abi::Level;
use wsgi_core::supervision::State;
use wsgi_core::wire::control::parent::ToSupervisor;

#[test]
fn a_daemon_has_what_it_needs_and_nothing_else() {
    let mut world = World::new();
    let group = world.group("shop", "umask=0027 home=/usr env=A=1 lang=C.UTF-8");
    let configuration = world.configure(&[group]).unwrap();
    configuration.await_state(0, |state| state == State::Ready);
    world.await_trace("ready", 1);
    let trace = world.trace();
    let text = &trace[0][trace[0].find('{').unwrap()..];
    for expected in [
        r#""cwd": "/usr""#,
        // Standard streams and the control socket; nothing of the supervisor's.
        r#""fds": [0, 1, 2, 3]"#,
        r#""leader": true"#,
        r#""umask": 23"#,
        r#""A": "1""#,
        r#""LANG": "C.UTF-8""#,
        r#""PYTHONOPTIMIZE": "1""#,
        r#"wsgi_daemon_main()", "/nowhere/wsgi_host.abi3.so"]"#,
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains("SECRET"), "{text}");
    if nix::unistd::geteuid().is_root() {
        assert!(
            text.contains(r#""ids": [65534, 65534, 65534, 65534, 65534, 65534]"#),
            "{text}"
        );
        assert!(text.contains(r#""groups": [65534]"#), "{text}");
    }
}

#[test]
fn groups_are_shown_before_httpd_goes_on() {
    let mut world = World::new();
    let groups: Vec<_> = (0..20)
        .map(|number| world.group(&format!("group-{number}"), ""))
        .collect();
    for _ in 0..5 {
        let configuration = world.configure(&groups).unwrap();
        let failed = (0..groups.len()).filter(|at| matches!(configuration.state(*at), State::Failed { .. }));
        assert_eq!(failed.count(), 0);
    }
}

#[test]
fn the_first_request_starts_a_daemon() {
    let mut world = World::new();
    // One: a second would help one that is slow.
    let mut group = world.group("shop", "");
    group.eager = false;
    let configuration = world.configure(&[group]).unwrap();
    configuration.await_state(0, |state| state == State::Idle);
    assert_eq!(world.trace().len(), 0);
    world.request("shop", "hello");
    assert_eq!(world.await_trace("served", 1), world.pids("ready"));
    configuration.await_state(0, |state| state == State::Ready);
    // It goes for lack of work; the next request starts another one.
    world.request("shop", "leave");
    configuration.await_state(0, |state| state == State::Idle);
    world.request("shop", "again");
    let ready = world.await_trace("ready", 2);
    world.await_trace("served", 3);
    assert_ne!(ready[0], ready[1]);
}

#[test]
fn a_killed_daemon_is_replaced_and_the_log_says_how_it_died() {
    let mut world = World::new();
    let group = world.group("shop", "");
    let configuration = world.configure(&[group]).unwrap();
    let first = world.await_trace("ready", 1).remove(0);
    world.request("shop", "die");
    world.request("shop", "waiting");
    world.await_trace("ready", 2);
    world.await_trace("served", 2);
    assert!(
        world.trace().iter().any(|line| line.ends_with(" waiting")),
        "the queue outlives the daemon"
    );
    world.await_log(&format!(
        "[wsgi:error] [pid {0}:tid {0}] WSGI0710: group 'shop': daemon process {first} was killed by SIGKILL",
        world.supervisor.id()
    ));
    world.await_log(", with 7 requests completed and 2 in progress");
    configuration.await_state(0, |state| state == State::Ready);
}

#[test]
fn a_crash_loop_fails_the_group_until_it_is_repaired() {
    let mut world = World::new();
    File::create(world.path("broken")).unwrap();
    let group = world.group("shop", "processes=3 env=FAKE=crash-if=DIRbroken");
    let start = Instant::now();
    let configuration = world.configure(&[group]).unwrap();
    configuration.await_state(0, |state| matches!(state, State::Failed { .. }));
    world.await_log("WSGI0713: group 'shop': 2 starts in a row have failed");
    world.await_trace("crash", 5);
    assert!(world.log().contains(" could not load its application after "));
    // 3 at once, then after 0.4 s, 0.8 s …: five starts take more than a second.
    assert!(start.elapsed() > Duration::from_millis(1100), "{:?}", start.elapsed());
    fs::remove_file(world.path("broken")).unwrap();
    configuration.await_state(0, |state| state == State::Ready);
    world.await_trace("ready", 3);
    world.await_log("WSGI0715: group 'shop': daemons start again");
}

#[test]
fn who_has_served_is_replaced_at_once() {
    let mut world = World::new();
    let group = world.group("shop", "");
    world.configure(&[group]).unwrap();
    for round in 1..=4 {
        world.await_trace("ready", round);
        world.request("shop", "hello");
        world.request("shop", "die");
    }
    world.await_trace("ready", 5);
    assert!(!world.log().contains("WSGI0713"), "{}", world.log());
}

#[test]
fn successors_load_what_is_served() {
    let mut world = World::new();
    let group = world.group("shop", "env=FAKE=uses=/srv/late env=BROKEN=DIRbroken");
    let configuration = world.configure(&[group]).unwrap();
    let first = world.await_trace("ready", 1).remove(0);
    assert_eq!(world.pids("given").len(), 0, "nobody has used it before");
    let second = reload_what_is_used(&world, &configuration);
    await_that("the end of the first one", || !is_alive(&first));

    File::create(world.path("broken")).unwrap();
    world.send(&ToSupervisor::Reload("shop".into()), &[]);
    world.await_log("WSGI0714: group 'shop': 2 starts of new daemons in a row have failed; the old ones go on");
    assert!(is_alive(&second));
    assert_eq!(configuration.state(0), State::Ready);

    // Once nobody serves it any more, nobody is asked to load it.
    world.request("shop", "die");
    world.await_trace("ready", 3);
    configuration.await_state(0, |state| state == State::Ready);
}

/// Reloads the group once the supervisor has heard what its requests use; the successor must load that. Returns it.
fn reload_what_is_used(world: &World, configuration: &Configuration) -> String {
    configuration.await_state(0, |state| state == State::Ready);
    let (given, ready) = (world.pids("given").len(), world.pids("ready").len());
    world.send(&ToSupervisor::Reload("shop".into()), &[]);
    let successor = world.await_trace("ready", ready + 1).remove(ready);
    assert_eq!(world.pids("given")[given..], [&*successor]);
    successor
}

#[test]
fn nobody_chooses_what_another_user_loads() {
    // Without root's rights there is one user only.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut world = World::new();
    let options = "env=FAKE=uses=/srv/late env=BROKEN=DIRbroken";
    let group = |world: &World, user: &str| world.group("shop", &format!("{options} user={user}"));
    let first = world.configure(&[group(&world, "daemon")]).unwrap();
    world.await_trace("ready", 1);
    reload_what_is_used(&world, &first);
    world.request("shop", "hello");
    world.await_trace("served", 1);
    let (given, ready) = (world.pids("given").len(), world.pids("ready").len());
    let second = world.configure(&[group(&world, "nobody")]).unwrap();
    world.await_trace("ready", ready + 1);
    assert_eq!(world.pids("given").len(), given, "another user has used it");
    await_that("the end of the others", || {
        world.pids("ready")[..ready].iter().all(|pid| !is_alive(pid))
    });
    reload_what_is_used(&world, &second);
}

#[test]
fn starts_that_hang_keep_nobody_else_from_starting() {
    let mut world = World::new();
    let many = std::thread::available_parallelism().unwrap().get() + 1;
    let hanging = world.group("hanging", &format!("processes={many} env=FAKE=mute"));
    let mut shop = world.group("shop", "");
    shop.eager = false;
    let configuration = world.configure(&[hanging, shop]).unwrap();
    configuration.await_state(0, |state| state == State::Starting);
    let supervisor = world.supervisor.id();
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{supervisor}/stat")).unwrap();
        let fields = stat.split(' ').skip(13).take(2);
        fields.map(|field| field.parse::<u64>().unwrap()).sum::<u64>()
    };
    let before = ticks();
    world.request("shop", "hello");
    configuration.await_state(1, |state| state == State::Ready);
    world.await_trace("served", 1);
    assert!(ticks() - before < 50, "it has waited without rest");
}

#[test]
fn what_cannot_be_executed_says_so() {
    let mut world = World::new();
    let mut group = world.group("shop", "");
    group.python = b"/nowhere/python3".to_vec();
    let mut homeless = world.group("homeless", "home=/nowhere");
    homeless.eager = true;
    let configuration = world.configure(&[group, homeless]).unwrap();
    configuration.await_state(0, |state| matches!(state, State::Failed { .. }));
    world.await_log("WSGI0712: group 'shop': a daemon cannot start: cannot run /nowhere/python3: ENOENT");
    world.await_log("WSGI0712: group 'homeless': a daemon cannot start: cannot enter home=/nowhere");
}

#[test]
fn a_graceful_restart_replaces_daemons_one_by_one() {
    let mut world = World::new();
    let group = |world: &World, renew| {
        let mut group = world.group("shop", "processes=2 env=FAKE=linger=DIRdone");
        group.renew = renew;
        group
    };
    let first = group(&world, false);
    let old = world.configure(&[first]).unwrap();
    let before = world.await_ready(2);
    let mut same = group(&world, false);
    same.log_level = Level::Warning;
    world.configure(&[same]).unwrap();
    // Who stays is told where its log is now, and what is logged.
    world.await_trace("log", 2);
    assert!(world.trace().iter().any(|line| *line == format!("log {} 4", before[0])));
    let renewed = group(&world, true);
    let new = world.configure(&[renewed]).unwrap();
    world.await_trace("ready", 4);
    world.await_trace("drain", 2);
    let trace = world.trace();
    let at = |what: &str, number| {
        let mut lines = (0..trace.len()).filter(|&at| trace[at].starts_with(what));
        lines.nth(number).unwrap()
    };
    assert!(
        at("ready", 2) < at("drain", 0) && at("ready", 3) < at("drain", 1),
        "{trace:?}"
    );
    assert_eq!(world.pids("ready").len(), 4, "the second configuration changed nothing");
    assert!(before.iter().all(|pid| is_alive(pid)), "they still have requests");
    old.await_state(0, |state| state == State::Ready);
    new.await_state(0, |state| state == State::Ready);
    File::create(world.path("done")).unwrap();
    await_that("their end", || before.iter().all(|pid| !is_alive(pid)));
    world.await_log("WSGI0706: group 'shop': all daemon processes are replaced");
}

#[test]
fn a_reload_that_fails_keeps_the_old_daemons() {
    let mut world = World::new();
    let group = world.group("shop", "env=FAKE=crash-if=DIRbroken");
    let configuration = world.configure(&[group]).unwrap();
    let good = world.await_ready(1).remove(0);
    configuration.await_state(0, |state| state == State::Ready);
    File::create(world.path("broken")).unwrap();
    world.send(&ToSupervisor::Reload(b"shop".to_vec()), &[]);
    world.await_log("WSGI0714: group 'shop': 2 starts of new daemons in a row have failed; the old ones go on serving");
    assert_eq!(configuration.state(0), State::Ready);
    world.request("shop", "hello");
    assert_eq!(world.await_trace("served", 1), std::slice::from_ref(&good));
    fs::remove_file(world.path("broken")).unwrap();
    world.send(&ToSupervisor::Reload(b"shop".to_vec()), &[]);
    world.await_trace("ready", 2);
    assert_eq!(world.await_trace("drain", 1), [good]);
}

#[test]
fn limits_of_a_drain() {
    let mut world = World::new();
    let group = world.group("shop", "graceful-timeout=1 shutdown-timeout=4 env=FAKE=stubborn");
    let configuration = world.configure(&[group]).unwrap();
    let old = world.await_trace("ready", 1).remove(0);
    configuration.await_state(0, |state| state == State::Ready);
    let start = Instant::now();
    world.send(&ToSupervisor::Reload(b"shop".to_vec()), &[]);
    await_that("its end", || !is_alive(&old));
    let took = start.elapsed();
    // Without these options it would be 20 s.
    assert!(
        took > Duration::from_millis(4900) && took < Duration::from_secs(19),
        "{took:?}"
    );
    assert!(world.trace().contains(&format!("signal {old} SIGTERM")));
    world.await_log(&format!(
        "WSGI0716: group 'shop': daemon process {old} did not end in time; it is killed"
    ));
}

#[test]
fn stop_leaves_nothing_behind() {
    let mut world = World::new();
    let groups = [
        world.group("good", "processes=2"),
        world.group("stubborn", "shutdown-timeout=7 env=FAKE=stubborn,child"),
        world.group("starting", "env=FAKE=mute"),
        world.group("broken", "env=FAKE=crash"),
    ];
    let configuration = world.configure(&groups).unwrap();
    let daemons = world.await_trace("ready", 3);
    let child = world.await_trace("child", 1);
    configuration.await_state(3, |state| matches!(state, State::Failed { .. }));
    let start = Instant::now();
    world.send(&ToSupervisor::Stop, &[]);
    world.await_end();
    // Without the option it would be 5 s.
    assert!(start.elapsed() > Duration::from_millis(6900), "{:?}", start.elapsed());
    await_that("the end of all", || {
        daemons.iter().chain(&child).all(|pid| !is_alive(pid))
    });
    let told = world.pids("signal");
    assert!(
        daemons.iter().all(|pid| told.contains(pid)),
        "all were told first: {told:?}"
    );
    assert!(world.supervisor.wait().unwrap().success());
}

#[test]
fn when_httpd_s_parent_is_killed_its_children_are_served() {
    let mut world = World::new();
    let group = world.group("shop", "");
    let configuration = world.configure(&[group]).unwrap();
    let daemon = world.await_trace("ready", 1);
    world.forsake();
    world.await_log("WSGI0731");
    world.request("shop", "hello");
    assert_eq!(world.await_trace("served", 1), daemon);
    world.request("shop", "die");
    assert_eq!(world.await_trace("ready", 2).len(), 2, "daemons are still replaced");
    assert!(world.supervisor.try_wait().unwrap().is_none());
    drop(configuration.lifeline);
    world.await_end();
    let daemons = world.pids("ready");
    await_that("the end of all", || daemons.iter().all(|pid| !is_alive(pid)));
}

#[test]
fn when_the_supervisor_is_killed_daemons_finish_and_end() {
    let mut world = World::new();
    let group = world.group("shop", "processes=2");
    let _configuration = world.configure(&[group]).unwrap();
    let daemons = world.await_ready(2);
    world.supervisor.kill().unwrap();
    await_that("their end", || daemons.iter().all(|pid| !is_alive(pid)));
    // By the end of the control socket or by the signal, whichever came first.
    assert_eq!(world.pids("orphan").len() + world.pids("signal").len(), 2);
}

#[test]
fn a_group_that_is_gone_serves_old_children_to_their_end() {
    let mut world = World::new();
    let groups = [world.group("shop", ""), world.group("blog", "")];
    let old = world.configure(&groups).unwrap();
    world.await_ready(2);
    let kept = [world.group("shop", "")];
    let new = world.configure(&kept).unwrap();
    world.request("blog", "late");
    world.await_trace("served", 1);
    new.await_state(0, |state| state == State::Ready);
    old.await_state(1, |state| state == State::Ready);
    assert_eq!(world.pids("drain").len(), 0);
    drop(old.lifeline);
    assert_eq!(world.await_trace("drain", 1), world.pids("served"));
    assert_eq!(new.state(0), State::Ready);
}

#[test]
fn a_configuration_that_cannot_be_used_changes_nothing() {
    let mut world = World::new();
    let good = world.group("shop", "");
    let configuration = world.configure(std::slice::from_ref(&good)).unwrap();
    configuration.await_state(0, |state| state == State::Ready);
    let bad = world.group("shop", "threads=x");
    assert_eq!(
        world.configure(&[bad]).err().unwrap(),
        "group 'shop': option 'threads' must be a number, not 'x'"
    );
    let twice = world.configure(&[good.clone(), good]);
    assert_eq!(twice.err().unwrap(), "group 'shop': is declared twice");
    if nix::unistd::geteuid().is_root() {
        let root = world.group("shop", "user=root");
        assert!(world.configure(&[root]).err().unwrap().contains("do not run as root"));
    }
    assert_eq!((configuration.state(0), world.trace().len()), (State::Ready, 1));
}

#[test]
fn junk_from_a_daemon_ends_it() {
    let mut world = World::new();
    let group = world.group("shop", "env=FAKE=junk");
    let configuration = world.configure(&[group]).unwrap();
    world.await_log("WSGI0720: group 'shop': daemon process");
    configuration.await_state(0, |state| matches!(state, State::Failed { .. }));
    world::await_that("its reason in a report", || {
        let ends = configuration.report().map(|report| report.groups[0].ends.clone());
        ends.is_some_and(|ends| ends.keys().map(String::as_str).eq(["protocol_broken"]))
    });
}

#[test]
fn a_daemon_that_is_never_ready_is_killed() {
    let mut world = World::new();
    let group = world.group("shop", "startup-timeout=1 env=FAKE=mute");
    let configuration = world.configure(&[group]).unwrap();
    world.await_log("was not ready within startup-timeout; it is killed");
    configuration.await_state(0, |state| matches!(state, State::Failed { .. }));
}

#[test]
fn the_supervisor_keeps_only_the_powers_that_it_needs() {
    let mut world = World::new();
    let group = world.group("shop", "");
    let _configuration = world.configure(&[group]).unwrap();
    world.await_trace("ready", 1);
    let status = fs::read_to_string(format!("/proc/{}/status", world.supervisor.id())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().to_owned()
    };
    assert_eq!(field("Threads:"), "1");
    // KILL 5, SETGID 6, SETUID 7, SYS_CHROOT 18, SYS_NICE 23, SYS_RESOURCE 24 (linux/capability.h)
    let allowed: u64 = [5, 6, 7, 18, 23, 24].iter().map(|bit| 1 << bit).sum();
    for set in ["CapEff:", "CapPrm:"] {
        let held = u64::from_str_radix(&field(set), 16).unwrap();
        assert_eq!(held & !allowed, 0, "{set} {held:x}");
    }
}

#[test]
fn by_hand_it_says_what_it_is() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_wsgid"))
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("wsgid is started by httpd"), "{text}");
}
