//! A supervisor under test, and the test in the part of httpd's parent process.

#[path = "../../src/sys/socket.rs"]
mod socket;

use std::fs::{self, File, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::pipe::PipeFlags;
use socket::Received;
use tempfile::TempDir;
use wsgi_core::abi::Level;
use wsgi_core::stats::report::Report;
use wsgi_core::supervision::State;
use wsgi_core::wire::control::parent::{Begin, FromSupervisor, Group, ToSupervisor};
use wsgi_core::wire::control::{published, status};

/// How long anything may take before it counts as never.
const NEVER: Duration = Duration::from_secs(60);

pub struct World {
    directory: TempDir,
    pub supervisor: Child,
    control: Option<OwnedFd>,
    generation: u64,
    queues: Vec<(String, OwnedFd, OwnedFd)>,
}

/// What a configuration leaves with httpd.
pub struct Configuration {
    /// Held by the httpd children of this configuration.
    pub lifeline: OwnedFd,
    status: File,
}

impl World {
    /// Starts a supervisor.
    pub fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        // Daemons run as another user when the tests run as root.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        let trace = directory.path().join("trace");
        File::create(&trace).unwrap();
        fs::set_permissions(&trace, Permissions::from_mode(0o666)).unwrap();
        let script = directory.path().join("fake-daemon");
        fs::write(&script, include_str!("../fake-daemon")).unwrap();
        fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        let (near, far) = socket::pair().unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let supervisor = Command::new("/bin/sh")
            .args(["-c", "exec 3<&0 </dev/null; exec \"$0\""])
            .arg(env!("CARGO_BIN_EXE_wsgid"))
            .stdin(far)
            .stderr(log)
            .stdout(Stdio::null())
            .env("SECRET", "of httpd")
            .spawn()
            .unwrap();
        World {
            directory,
            supervisor,
            control: Some(near),
            generation: 0,
            queues: Vec::new(),
        }
    }

    /// A path in the test's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A group with its options, written as in the configuration file.
    pub fn group(&self, name: &str, options: &str) -> Group {
        let mut words: Vec<(Vec<u8>, Vec<u8>)> = options
            .split_whitespace()
            .map(|word| word.split_once('=').unwrap())
            .map(|(name, value)| {
                (
                    name.into(),
                    value.replace("DIR", self.path("").to_str().unwrap()).into(),
                )
            })
            .collect();
        words.push((
            b"env".to_vec(),
            format!("TRACE={}", self.path("trace").display()).into(),
        ));
        Group {
            name: name.into(),
            eager: true,
            renew: false,
            scoreboard: false,
            log_level: Level::Debug,
            python: self.path("fake-daemon").to_str().unwrap().into(),
            options: words,
            environment: vec![(b"PYTHONOPTIMIZE".to_vec(), b"1".to_vec())],
            interpreters: Vec::new(),
            preload: Vec::new(),
        }
    }

    /// Sends a configuration and awaits the answer.
    pub fn configure(&mut self, groups: &[Group]) -> Result<Configuration, String> {
        self.generation += 1;
        let status = rustix::fs::memfd_create("status", MemfdFlags::CLOEXEC).unwrap();
        // As httpd does it: until the supervisor shows something else the groups have failed.
        let failed = status::encode(State::Failed {
            retry: None,
            alone: true,
        });
        let status = File::from(status);
        status.write_all_at(&failed.repeat(64), 0).unwrap();
        let status = OwnedFd::from(status);
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        let begin = ToSupervisor::Begin(Begin {
            listens: false,
            generation: self.generation,
            groups: u16::try_from(groups.len()).unwrap(),
            log_level: Level::Debug,
            uid: 65_534,
            gid: 65_534,
            host: b"/nowhere/wsgi_host.abi3.so".to_vec(),
            facts: Vec::new(),
        });
        self.send(&begin, &[&status]);
        for group in groups {
            let name = String::from_utf8(group.name.clone()).unwrap();
            if !self.queues.iter().any(|(known, ..)| *known == name) {
                let (near, far) = socket::pair().unwrap();
                self.queues.push((name.clone(), near, far));
            }
            let (.., far) = self.queues.iter().find(|(known, ..)| *known == name).unwrap();
            self.send(&ToSupervisor::Group(group.clone()), &[far]);
        }
        self.send(&ToSupervisor::End, &[&read]);
        let configuration = Configuration {
            lifeline: write,
            status: File::from(status),
        };
        // Without a pause: what holds from the answer on is looked at before the supervisor has done anything more.
        let asked = Instant::now();
        let answer = loop {
            if let Received::Message(bytes, _) = socket::receive(self.control.as_ref().unwrap()) {
                break FromSupervisor::decode(&bytes).unwrap();
            }
            assert!(asked.elapsed() < NEVER, "no answer");
            std::thread::yield_now();
        };
        match answer {
            FromSupervisor::Applied(generation) => {
                assert_eq!(generation, self.generation);
                Ok(configuration)
            }
            FromSupervisor::Refused(_, reason) => Err(String::from_utf8(reason).unwrap()),
        }
    }

    pub fn send(&self, message: &ToSupervisor, descriptors: &[&OwnedFd]) {
        let descriptors: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
        socket::send(self.control.as_ref().unwrap(), &message.encode().unwrap(), &descriptors).unwrap();
    }

    /// httpd's parent dies.
    pub fn forsake(&mut self) {
        self.control = None;
    }

    /// Puts a request into a group's queue.
    pub fn request(&self, group: &str, text: &str) {
        let (_, near, _) = self.queues.iter().find(|(known, ..)| known == group).unwrap();
        socket::send(near, text.as_bytes(), &[]).unwrap();
    }

    /// What daemons wrote down: lines of words.
    pub fn trace(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("trace")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The first word after `what` of each line that begins with it: pids, mostly.
    pub fn pids(&self, what: &str) -> Vec<String> {
        let trace = self.trace();
        let lines = trace
            .iter()
            .filter_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
        lines
            .map(|rest| rest.split(' ').next().unwrap_or_default().to_owned())
            .collect()
    }

    /// Awaits so many lines of that kind.
    pub fn await_trace(&self, what: &str, count: usize) -> Vec<String> {
        await_that(&format!("{count} × {what}"), || self.pids(what).len() >= count);
        self.pids(what)
    }

    /// Awaits so many daemons that are ready, and of which the supervisor has heard it: they write it down before.
    pub fn await_ready(&self, count: usize) -> Vec<String> {
        await_that(&format!("{count} that are heard"), || {
            self.log().matches("WSGI0702").count() >= count
        });
        self.pids("ready")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    pub fn await_log(&self, text: &str) {
        await_that(text, || self.log().contains(text));
    }

    /// Awaits the end of the supervisor.
    pub fn await_end(&mut self) {
        await_that("the supervisor's end", || self.supervisor.try_wait().unwrap().is_some());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log\n{}--- trace\n{}", self.log(), self.trace().join("\n"));
        }
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        // A daemon that a failed test has left behind.
        for pid in self.pids("ready").iter().chain(&self.pids("child")) {
            if is_alive(pid)
                && let Ok(pid) = pid.parse()
            {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

impl Configuration {
    /// What the status page says of a group.
    pub fn state(&self, at: usize) -> State {
        let mut slot = [0; status::SLOT];
        let offset = u64::try_from(at * status::SLOT).unwrap();
        self.status.read_exact_at(&mut slot, offset).unwrap();
        status::decode(slot)
    }

    /// What stands behind the states.
    pub fn report(&self) -> Option<Report> {
        serde_json::from_slice(&published::read(&self.status, status::REPORT_AT)?).ok()
    }

    pub fn await_state(&self, at: usize, accept: impl Fn(State) -> bool) {
        await_that("a state", || accept(self.state(at)));
    }
}

/// Whether a process of that number runs and is not a zombie.
pub fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

pub fn await_that(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < NEVER, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
