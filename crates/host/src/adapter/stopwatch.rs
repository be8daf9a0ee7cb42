//! The time that one request takes, and what passes through it.

use std::time::Duration;

use wsgi_core::stats::page::{Ended, Slot};
use wsgi_core::stats::{PHASES, Phase};

use super::exchange::Outcome;
use super::request::Request;
use crate::python::{forget_waits, waits};
use crate::stats::{Stats, epoch, micros};

/// Bytes that went one way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flow {
    /// Of a body.
    pub bytes: u64,
    /// In how many pieces.
    pub count: u64,
    /// Time that it took, in µs.
    pub time: u64,
    /// When it ended last, in µs of `CLOCK_MONOTONIC`.
    pub last: u64,
}

impl Flow {
    /// Something begins to flow; returns when.
    pub fn begin(&self) -> u64 {
        micros()
    }

    /// So many bytes have flowed.
    pub fn end(&mut self, begun: u64, bytes: u64) {
        self.bytes += bytes;
        self.count += 1;
        self.last = micros();
        self.time += self.last.saturating_sub(begun);
    }
}

/// What has passed through a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Of the reply; 0: none yet.
    pub status: u16,
    /// The request's body.
    pub received: Flow,
    /// The reply's.
    pub sent: Flow,
}

/// Times one request, from when its thread has it until it has done with it.
pub struct Stopwatch {
    stats: Stats,
    slot: Option<Slot<'static>>,
    begun: u64,
    server: u64,
    queued: Option<u64>,
    /// Between the queue and `begun`.
    taken: u64,
}

impl Stopwatch {
    /// The calling thread begins that request.
    pub fn begin(stats: &Stats, request: &Request<'_>, application_group: &str) -> Stopwatch {
        let between = |from: i64, to: i64| u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        let (begun, now) = (micros(), i64::try_from(epoch()).unwrap_or(i64::MAX));
        let queued = (request.daemon_start != 0).then(|| between(request.queue_start, request.daemon_start));
        let (server, taken) = match queued {
            Some(_) => (
                between(request.request_start, request.queue_start),
                between(request.daemon_start, now),
            ),
            None => (between(request.request_start, now), 0),
        };
        forget_waits();
        let slot = stats.slot();
        if let Some(slot) = &slot {
            let (method, url) = which(request);
            // What follows may be secret.
            let url = &url[..memchr::memchr(b'?', url).unwrap_or(url.len())];
            slot.begin(
                begun,
                (queued.unwrap_or(0), request.queue_bytes),
                (method, url),
                application_group.as_bytes(),
            );
        }
        Stopwatch {
            stats: *stats,
            slot,
            begun,
            server,
            queued,
            taken,
        }
    }

    /// It has done with it. `application`: when the application was called and had done its work.
    pub fn end(self, application: Option<(u64, u64)>, tally: &Tally, outcome: Outcome) {
        let Some(slot) = self.slot else { return };
        // What was sent last was the end, unless the application had more to do.
        let now = match application {
            Some((_, done)) if tally.sent.last >= done => tally.sent.last,
            _ => micros(),
        };
        let before = self.server + self.queued.unwrap_or(0) + self.taken;
        let (waited, gil_waits) = waits();
        let mut times = [None; PHASES];
        let mut set = |phase: Phase, time| times[phase as usize] = Some(time);
        set(Phase::Server, self.server);
        if let Some(queued) = self.queued {
            set(Phase::Queue, queued);
        }
        if let Some((from, to)) = application {
            set(Phase::Application, to.saturating_sub(from));
            if self.queued.is_some() {
                set(Phase::Daemon, self.taken + from.saturating_sub(self.begun));
            }
        }
        set(Phase::Request, before + now.saturating_sub(self.begun));
        set(Phase::GilWait, whole(waited));
        if tally.received.count > 0 {
            set(Phase::InputRead, tally.received.time);
        }
        if tally.sent.count > 0 {
            set(Phase::OutputWrite, tally.sent.time);
        }
        let ended = Ended {
            status: match outcome {
                Outcome::Refused(status) => status,
                _ => tally.status,
            },
            failed: matches!(outcome, Outcome::Truncated | Outcome::ClientGone),
            times,
            gil_waits,
            input: (tally.received.bytes, tally.received.count),
            output: (tally.sent.bytes, tally.sent.count),
        };
        slot.end(&self.stats.page, now, &ended);
    }
}

fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Method and URL of the request, which stand near the end.
fn which<'r>(request: &Request<'r>) -> (&'r [u8], &'r [u8]) {
    let (mut method, mut url) = (&b""[..], &b""[..]);
    for (name, value) in request.variables.iter().rev() {
        match name.len() {
            11 if *name == b"REQUEST_URI" && url.is_empty() => url = value,
            14 if *name == b"REQUEST_METHOD" => {
                method = value;
                break;
            }
            _ => {}
        }
    }
    (method, url)
}
