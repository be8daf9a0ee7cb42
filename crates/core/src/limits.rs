//! When a daemon's own clock acts: decisions only. Times are those of `CLOCK_MONOTONIC`.

use std::time::Duration;

use crate::daemon_options::DaemonOptions;
use crate::supervision::{Reason, Time};

/// The limits that a daemon keeps itself; `None`: no limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Number of request threads.
    pub threads: u32,
    /// For one request.
    pub request: Option<Duration>,
    /// Between the exception in the request's thread and the end of the process; `None`: no exception.
    pub interrupt: Option<Duration>,
    /// Without any activity.
    pub inactivity: Option<Duration>,
    /// From the first request until a script is loaded.
    pub startup: Option<Duration>,
    /// Without Python's lock being obtainable.
    pub deadlock: Option<Duration>,
    /// For other requests, when one is overdue; `None`: they are waited for as long as they take.
    pub graceful: Option<Duration>,
    /// Completed requests.
    pub requests: Option<u64>,
}

/// A request that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Since when.
    pub since: Time,
    /// When its exception was raised.
    pub interrupted: Option<Time>,
}

/// What the clock sees.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The time.
    pub now: Time,
    /// What each thread runs.
    pub threads: &'a [Option<Running>],
    /// The last activity; `None` before the first request.
    pub activity: Option<Time>,
    /// When Python's lock was last obtained.
    pub python: Time,
    /// Requests that have been completed.
    pub completed: u64,
    /// Since when there are requests, and no script that can be loaded; `None`: there are none, or one was loaded.
    pub waiting: Option<Time>,
    /// Requests are being taken.
    pub taking: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Raise the exception in that thread's request.
    Interrupt(usize),
    /// The process should be replaced, and can serve until then.
    Replace(Reason),
    /// The process must end now.
    End(Reason),
}

impl Limits {
    /// What the options of the group say. `jitter`, from 0 up to 1, moves `maximum-requests` up by a tenth at most, so
    /// that the daemons of a group do not all end at the same time.
    pub fn of(options: &DaemonOptions, jitter: f64) -> Limits {
        let spread = if options.processes() > 1 { jitter / 10.0 } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "less than the number itself"
        )]
        let requests = |most: u32| u64::from(most) + (f64::from(most) * spread) as u64;
        Limits {
            threads: options.threads,
            request: options.request_timeout,
            interrupt: options.interrupt_timeout,
            inactivity: options.inactivity_timeout,
            startup: options.startup_timeout,
            deadlock: options.deadlock_timeout,
            graceful: options.graceful_timeout,
            requests: options.maximum_requests.map(requests),
        }
    }

    /// How long a request may take: the more threads a process has, the less a slow one matters.
    pub fn request_limit(&self) -> Option<Duration> {
        let factor = 1.0 + f64::from(self.threads.max(1)).ln();
        self.request.map(|limit| limit.mul_f64(factor))
    }

    /// How long Python's lock may be unobtainable before it is worth a note.
    pub fn lock(&self) -> Option<Duration> {
        [self.deadlock, self.request].into_iter().flatten().min()
    }

    /// What is to be done now. Nothing is remembered: what was done already comes again.
    pub fn judge(&self, scene: &Scene<'_>) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for (index, running) in scene.threads.iter().enumerate() {
            let Some(running) = running.filter(|running| self.due(running).is_some_and(|due| due <= scene.now)) else {
                continue;
            };
            if self.interrupt.is_some() && running.interrupted.is_none() {
                verdicts.push(Verdict::Interrupt(index));
            } else if self.graceful.is_some() && (self.fresh(scene, Some(index)) || self.useful(scene)) {
                verdicts.push(Verdict::Replace(Reason::RequestTimeout));
            } else {
                verdicts.push(Verdict::End(Reason::RequestTimeout));
            }
        }
        let passed = |limit: Option<Duration>, since: Time| limit.is_some_and(|limit| since + limit <= scene.now);
        if scene.waiting.is_some_and(|since| passed(self.startup, since)) {
            verdicts.push(Verdict::End(Reason::StartupTimeout));
        }
        if passed(self.deadlock, scene.python) {
            verdicts.push(Verdict::End(Reason::DeadlockTimeout));
        }
        if scene.activity.is_some_and(|since| passed(self.inactivity, since)) && !self.fresh(scene, None) {
            verdicts.push(Verdict::End(Reason::InactivityTimeout));
        }
        if self.requests.is_some_and(|most| scene.completed >= most) {
            verdicts.push(Verdict::Replace(Reason::MaximumRequests));
        }
        verdicts
    }

    /// When to look again, if nothing happens; requests that begin meanwhile are covered.
    pub fn next(&self, scene: &Scene<'_>) -> Option<Time> {
        let running = || scene.threads.iter().flatten().filter_map(|running| self.due(running));
        let ahead = |due: &Time| *due > scene.now;
        let later = |limit: Option<Duration>| limit.map(|limit| scene.now + limit);
        let inactivity = match scene.activity {
            Some(since) => self
                .inactivity
                .map(|limit| since + limit)
                .filter(ahead)
                .or(later(self.inactivity)),
            None => later(self.inactivity),
        };
        let startup = match (self.startup, scene.waiting) {
            (Some(limit), Some(since)) => Some(since + limit).filter(ahead),
            (limit, _) => later(limit),
        };
        running()
            .filter(ahead)
            .chain(later(self.request_limit()))
            .chain(startup)
            .chain(inactivity)
            .chain(self.deadlock.map(|limit| scene.python + limit).filter(ahead))
            .min()
    }

    /// When something is to be done about a request.
    fn due(&self, running: &Running) -> Option<Time> {
        match (running.interrupted, self.interrupt) {
            (Some(at), Some(grace)) => Some(at + grace),
            _ => self.request_limit().map(|limit| running.since + limit),
        }
    }

    /// Whether a thread is free to serve others.
    fn useful(&self, scene: &Scene<'_>) -> bool {
        scene.taking && scene.threads.iter().any(Option::is_none)
    }

    /// Whether a request runs that is worth waiting for, in another thread than this one.
    fn fresh(&self, scene: &Scene<'_>, except: Option<usize>) -> bool {
        let plain = self.request.unwrap_or_default() + self.interrupt.unwrap_or_default();
        let stale = |running: &Running| !plain.is_zero() && scene.now.saturating_sub(running.since) > plain;
        let mut threads = scene.threads.iter().enumerate();
        threads.any(|(index, running)| Some(index) != except && running.is_some_and(|running| !stale(&running)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            threads: 1,
            request: None,
            interrupt: None,
            inactivity: None,
            startup: None,
            deadlock: None,
            graceful: Some(seconds(15)),
            requests: None,
        }
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn since(number: u64) -> Option<Running> {
        Some(Running {
            since: seconds(number),
            interrupted: None,
        })
    }

    fn scene(now: u64, threads: &[Option<Running>]) -> Scene<'_> {
        Scene {
            now: seconds(now),
            threads,
            activity: None,
            python: seconds(now),
            completed: 0,
            waiting: None,
            taking: true,
        }
    }

    #[test]
    fn request_timeout() {
        let limits = Limits {
            request: Some(seconds(10)),
            ..limits()
        };
        let end = vec![Verdict::End(Reason::RequestTimeout)];
        assert_eq!(limits.judge(&scene(109, &[since(100)])), []);
        assert_eq!(limits.next(&scene(109, &[since(100)])), Some(seconds(110)));
        assert_eq!(limits.judge(&scene(110, &[since(100)])), end);
        // Nobody runs: whoever begins now is not due before the limit has passed.
        assert_eq!(limits.next(&scene(200, &[None])), Some(seconds(210)));
        // Another request runs that may still end well.
        let two = [since(100), since(109)];
        assert_eq!(
            limits.judge(&scene(110, &two)),
            [Verdict::Replace(Reason::RequestTimeout)]
        );
        // A thread is free: clients are served until a new process is there.
        let free = [since(100), None];
        assert_eq!(
            limits.judge(&scene(110, &free)),
            [Verdict::Replace(Reason::RequestTimeout)]
        );
        let draining = Scene {
            taking: false,
            ..scene(110, &free)
        };
        assert_eq!(limits.judge(&draining), end);
        // Without a graceful timeout nobody is waited for.
        let hard = Limits {
            graceful: None,
            ..limits.clone()
        };
        assert_eq!(hard.judge(&scene(110, &two)), end);
    }

    #[test]
    fn more_threads_more_time() {
        let limits = Limits {
            threads: 2,
            request: Some(seconds(100)),
            ..limits()
        };
        let limit = limits.request_limit().unwrap();
        assert!((169..170).contains(&limit.as_secs()), "{limit:?}");
        assert_eq!(limits.judge(&scene(269, &[since(100), None])), []);
        assert_eq!(limits.judge(&scene(270, &[since(100), None])).len(), 1);
    }

    #[test]
    fn interrupt_first() {
        let limits = Limits {
            request: Some(seconds(10)),
            interrupt: Some(seconds(3)),
            ..limits()
        };
        assert_eq!(limits.judge(&scene(111, &[None, since(100)])), [Verdict::Interrupt(1)]);
        let interrupted = [Some(Running {
            since: seconds(100),
            interrupted: Some(seconds(111)),
        })];
        assert_eq!(limits.judge(&scene(113, &interrupted)), []);
        assert_eq!(limits.next(&scene(113, &interrupted)), Some(seconds(114)));
        assert_eq!(
            limits.judge(&scene(114, &interrupted)),
            [Verdict::End(Reason::RequestTimeout)]
        );
    }

    #[test]
    fn inactivity() {
        let limits = Limits {
            inactivity: Some(seconds(10)),
            request: Some(seconds(30)),
            ..limits()
        };
        let at = |now, activity, running| {
            limits.judge(&Scene {
                activity,
                ..scene(now, &[running])
            })
        };
        let end = vec![Verdict::End(Reason::InactivityTimeout)];
        assert_eq!(at(1000, None, None), []);
        assert_eq!(at(109, Some(seconds(100)), None), []);
        assert_eq!(at(110, Some(seconds(100)), None), end);
        // A running request counts as activity, unless it is stale.
        assert_eq!(at(120, Some(seconds(100)), since(100)), []);
        assert!(at(131, Some(seconds(100)), since(100)).contains(&end[0]));
        let scene = scene(105, &[None]);
        assert_eq!(
            limits.next(&Scene {
                activity: Some(seconds(100)),
                ..scene
            }),
            Some(seconds(110))
        );
    }

    #[test]
    fn startup() {
        let limits = Limits {
            startup: Some(seconds(10)),
            ..limits()
        };
        let threads = [since(100)];
        let at = |now, waiting| Scene {
            waiting,
            ..scene(now, &threads)
        };
        let since = Some(seconds(100));
        assert_eq!(limits.judge(&at(109, since)), []);
        assert_eq!(limits.next(&at(109, since)), Some(seconds(110)));
        assert_eq!(limits.judge(&at(110, since)), [Verdict::End(Reason::StartupTimeout)]);
        // Nobody has asked yet, or a script is there: however long ago.
        assert_eq!(limits.judge(&at(1000, None)), []);
        assert_eq!(limits.next(&at(1000, None)), Some(seconds(1010)));
    }

    #[test]
    fn deadlock_and_requests() {
        let limits = Limits {
            deadlock: Some(seconds(10)),
            requests: Some(5),
            ..limits()
        };
        let stuck = Scene {
            python: seconds(90),
            ..scene(100, &[])
        };
        assert_eq!(limits.judge(&stuck), [Verdict::End(Reason::DeadlockTimeout)]);
        let served = |completed| {
            limits.judge(&Scene {
                completed,
                ..scene(100, &[])
            })
        };
        assert_eq!(served(4), []);
        assert_eq!(served(5), [Verdict::Replace(Reason::MaximumRequests)]);
        assert_eq!(limits.next(&scene(100, &[])), Some(seconds(110)));
    }

    #[test]
    fn each_on_its_own() {
        let none = limits();
        assert_eq!(none.judge(&scene(1_000_000, &[since(1)])), []);
        assert_eq!(none.next(&scene(1_000_000, &[since(1)])), None);
    }

    #[test]
    fn jitter() {
        let mut options = DaemonOptions::new(b"shop".to_vec());
        options.maximum_requests = Some(1000);
        assert_eq!(Limits::of(&options, 0.99).requests, Some(1000));
        options.processes = Some(2);
        assert_eq!(Limits::of(&options, 0.99).requests, Some(1099));
        assert_eq!(Limits::of(&options, 0.0).requests, Some(1000));
    }
}
