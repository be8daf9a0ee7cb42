//! One exchange with a daemon: the request into the queue, the body after it, the reply back.

use std::borrow::Cow;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use wsgi_core::supervision::{State, Time};
use wsgi_core::wire::body::{head_more, pipe_read};
use wsgi_core::wire::reply::Ending;
use wsgi_core::wire::request::{self as wire, New};
use wsgi_core::wire::{MAX_DATA, STARTED_AFTER_US};

use super::group::Group;
use super::incoming::Incoming;
use super::pair::{LARGE, Near, enqueue};
use super::upload::{Step, Upload};
use crate::environ::Environ;
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::module::Wsgi;
use crate::target::Target;

/// How an exchange ended.
pub enum End {
    /// The client has the reply, or as much as it will get.
    Answered,
    /// An output filter answered.
    FilterAnswered,
    /// The reply is what this path of the server answers.
    Redirected(Vec<u8>),
    /// Nothing was sent; the daemon said why in the log.
    Status(u16),
    /// Certainly not run.
    NotRun(Cow<'static, str>),
    /// Nothing was sent: this status, for this reason.
    Failed(u16, String),
    /// Not run; to be queued again.
    Retry,
}

/// Received at a time. Most replies fit into it.
const PIECE: usize = 16 * 1024;
/// Received at a time of a frame of the body that is longer than that.
const LARGE_PIECE: usize = 256 * 1024;
/// How often a request tries to get into a full queue.
const ENTRY: Duration = Duration::from_millis(20);
/// Pieces of memory that go out in one call.
const SLICES: usize = 64;
/// From this age on a request does not run before its daemon has said so.
const ANNOUNCED: Duration = Duration::from_micros(STARTED_AFTER_US);
/// For so long an exchange waits for nothing but its daemon, before it looks after clocks, the client and its group as well.
pub const MOMENT: Duration = Duration::from_millis(20);
/// How often a waiting request looks after its group.
const LOOK: Duration = Duration::from_millis(500);
/// How soon the client is asked again for more of the body where its connection cannot be watched (HTTP/2).
const UNWATCHED: Duration = Duration::from_millis(5);

/// An exchange.
pub struct Relay<'r, 'e> {
    request: Request<'r>,
    incoming: Incoming<'r, 'e>,
    upload: &'e mut Upload<'r>,
    group: &'e Group,
    near: Near,
    nonce: u64,
    /// Bytes for the daemon that have not gone out; the upload may have more behind them.
    out: Vec<u8>,
    out_at: usize,
    /// The daemon has asked for the body.
    wanted: bool,
    /// Since when the body waits for the client.
    starved: Option<Time>,
    /// The client has shown that there is more of the body to be read.
    fed: bool,
    /// The reply has large pieces.
    large: bool,
}

impl<'r, 'e> Relay<'r, 'e> {
    /// Queues the request, which `retries` daemons have handed back before, and passes on what comes back.
    pub fn exchange(
        request: Request<'r>,
        target: &'r Target<'r>,
        upload: &'e mut Upload<'r>,
        group: &'e Group,
        deadline: Option<Time>,
        retries: u8,
    ) -> End {
        let (near, far) = match group.pairs.take() {
            Ok(pair) => pair,
            Err(Errno::MFILE | Errno::NFILE) => {
                return End::NotRun("this httpd child has no descriptors left".into());
            }
            Err(error) => return End::Failed(500, format!("no socketpair can be made: {error}")),
        };
        let nonce = nonce();
        let new = New {
            nonce,
            enqueued: as_micros(now()),
            deadline: deadline.map(as_micros),
            inode: near.inode,
            application: 0,
            body: upload.mode(),
        };
        let environ = Environ::of(request, target);
        let head = wire::Head {
            script: target.script,
            script_mtime: target.script_mtime,
            request_start: request.time(),
            application_group: &target.application_group,
            callable_object: &target.callable_object,
            reloading: target.reloading,
            https: environ.https,
            header_only: request.header_only(),
            ignore_activity: target.ignore_activity,
            log_level: log::request_level::<Wsgi>(request) as u8,
            retries,
        };
        let mut out = Vec::with_capacity(4096);
        let encoded = match wire::encode(&new, &head, environ.variables.iter(), &mut out) {
            Ok(encoded) => encoded,
            Err(error) => return End::Failed(413, error.to_string()),
        };
        let patience = now() + group.entry_timeout;
        let entered = loop {
            match enqueue(group.queue(), &out[..encoded.datagram], &near, far.as_fd()) {
                Err(Errno::AGAIN | Errno::TOOMANYREFS | Errno::NOBUFS)
                    if now() < patience.min(deadline.unwrap_or(patience))
                        && !matches!(group.state(), State::Failed { .. }) =>
                {
                    sleep(ENTRY);
                }
                result => break result,
            }
        };
        match entered {
            Ok(()) => drop(far), // From now on only the daemon holds it.
            Err(Errno::AGAIN | Errno::TOOMANYREFS | Errno::NOBUFS) => {
                group.pairs.put(near, far);
                return End::NotRun("its queue is full".into());
            }
            Err(error) => return End::NotRun(format!("its queue cannot be reached: {error}").into()),
        }
        let body = !matches!(new.body, wire::Body::None) && !encoded.body_inline;
        let mut rest = Vec::new();
        for part in out[encoded.datagram..].chunks(MAX_DATA) {
            rest.extend_from_slice(&head_more(nonce, part.len()));
            rest.extend_from_slice(part);
        }
        let mut relay = Relay {
            request,
            incoming: Incoming::new(request, target, group, nonce, body),
            upload,
            group,
            near,
            nonce,
            out: rest,
            out_at: 0,
            wanted: false,
            starved: None,
            fed: true,
            large: false,
        };
        let mut buffer = std::mem::take(&mut relay.near.buffer);
        buffer.resize(PIECE, 0);
        let end = relay.run(&mut buffer, deadline);
        buffer.truncate(PIECE);
        buffer.shrink_to_fit();
        relay.near.buffer = buffer;
        relay.finish(end)
    }

    /// Moves bytes both ways until the daemon has ended the exchange.
    fn run(&mut self, buffer: &mut Vec<u8>, deadline: Option<Time>) -> Result<Ending, Stop> {
        let mut filled = 0;
        // Made when it is needed, and gone with the exchange. What it holds does not matter, so nothing fills it first.
        let mut large = Box::default();
        let mut piped = Box::default();
        let entered = now();
        let mut last = entered;
        let mut readable = false;
        // Most answers, and most parts of long ones, come within a moment: these cost one system call.
        let mut soon = deadline.is_none_or(|deadline| entered + MOMENT < deadline);
        loop {
            if self.send_some() {
                last = now();
            }
            let begun = self.incoming.reader.begun();
            // A daemon that waits for nothing: there is only its answer to wait for.
            let patient = soon && self.starved.is_none() && !self.unsent();
            if patient || readable {
                readable = false;
                match self.receive(buffer, filled, &mut large, patient) {
                    _ if self.incoming.files.len() > 2 => {
                        return Err(Stop::Invalid("sent more descriptors than it may"));
                    }
                    Ok([]) => return Err(Stop::Gone),
                    Ok(mut input) => {
                        let whole = input.len();
                        loop {
                            if let Some(ending) = self.incoming.take(&mut input, self.upload)? {
                                return if input.is_empty() {
                                    Ok(ending)
                                } else {
                                    Err(Stop::Invalid("went on after the end"))
                                };
                            }
                            match self.incoming.piped.take() {
                                Some(length) => self.empty_pipe(length, &mut piped)?,
                                None => break,
                            }
                        }
                        self.wanted |= std::mem::take(&mut self.incoming.body_wanted);
                        let needed = self.incoming.reader.needed(input);
                        filled = input.len();
                        if filled > 0 {
                            buffer.copy_within(whole - filled..whole, 0);
                        }
                        if needed > buffer.len() {
                            buffer.resize(needed, 0);
                        }
                        // Only now: passing it on may have taken as long as the client wished.
                        last = now();
                        soon = true;
                    }
                    Err(Errno::AGAIN) => soon = false,
                    Err(Errno::INTR) => {}
                    Err(_) => return Err(Stop::Gone),
                }
                continue;
            }
            let moment = now();
            // While the client keeps the daemon waiting, it is the client's time that runs.
            let limit = match (self.starved, deadline) {
                (Some(since), _) => since + self.group.client_timeout,
                (None, Some(deadline)) if !begun => deadline,
                (None, _) => last + self.group.socket_timeout,
            };
            if moment >= limit {
                if self.starved.take().is_some() {
                    self.upload.fail(
                        self.nonce,
                        "the client sent nothing for too long (Timeout)",
                        &mut self.out,
                    );
                    last = moment;
                    continue;
                }
                return Err(if begun { Stop::Silent } else { Stop::Late });
            }
            let wait = limit.saturating_sub(moment);
            // Nobody tells a waiting request that its group has given up.
            readable = self.wait(if begun { wait } else { wait.min(LOOK) })?;
            if !begun && !readable && moment >= entered + ANNOUNCED && self.given_up(deadline) {
                // A daemon that had taken it and is gone has closed its end before the group was alone.
                readable = self.wait(Duration::ZERO)?;
                if !readable {
                    return Err(Stop::GivenUp);
                }
            }
        }
    }

    /// Receives into `buffer` behind what is left there, or, where nothing is left and a frame's contents are much longer,
    /// into `large`. All that is there then; nothing at the end of the stream.
    fn receive<'b>(
        &mut self,
        buffer: &'b mut [u8],
        filled: usize,
        large: &'b mut Box<[MaybeUninit<u8>]>,
        wait: bool,
    ) -> Result<&'b [u8], Errno> {
        let ahead = self.incoming.reader.ahead();
        self.large |= ahead >= LARGE;
        let ahead = ahead.min(LARGE_PIECE);
        if filled > 0 || ahead <= PIECE {
            let bytes = self
                .near
                .receive(&mut buffer[filled..], &mut self.incoming.files, wait)?;
            return Ok(if bytes > 0 { &buffer[..filled + bytes] } else { &[] });
        }
        if large.len() < ahead {
            *large = Box::new_uninit_slice(ahead);
        }
        self.near.receive_bytes(&mut large[..ahead], wait)
    }

    /// Passes on what is in the pipe, which the daemon has said are so many bytes, and says that it is read.
    fn empty_pipe(&mut self, length: usize, space: &mut Box<[MaybeUninit<u8>]>) -> Result<(), Stop> {
        if self.unsent() || self.wanted {
            return Err(Stop::Invalid(
                "did not read the request's body to its end before it used the pipe",
            ));
        }
        self.large = true;
        if space.is_empty() {
            *space = Box::new_uninit_slice(LARGE_PIECE);
        }
        let mut left = length;
        while left > 0 {
            let most = left.min(space.len());
            let bytes = match self.near.receive_piped(&mut space[..most]) {
                Err(Errno::INTR) => continue,
                Ok([]) | Err(_) => return Err(Stop::Invalid("has not put into the pipe what it said")),
                Ok(bytes) => bytes,
            };
            left -= bytes.len();
            if left == 0 {
                // The daemon can go on while the client gets the last of it.
                self.out.extend(pipe_read(self.nonce));
                self.send_some();
            }
            self.incoming.pass(bytes)?;
        }
        Ok(())
    }

    /// Whether nobody will take the request, nor runs it without having said so.
    fn given_up(&self, deadline: Option<Time>) -> bool {
        match self.group.state() {
            State::Failed { alone, .. } => alone || deadline.is_some(),
            _ => false,
        }
    }

    /// Waits until something can be received, sent, or read from the client; whether it is the first.
    fn wait(&mut self, limit: Duration) -> Result<bool, Stop> {
        let begun = self.incoming.reader.begun();
        let mut events = PollFlags::IN;
        if self.unsent() {
            events |= PollFlags::OUT;
        }
        let client = self.request.client_socket();
        let mut limit = limit;
        let mut near = [PollFd::new(&self.near, events)];
        let mut both;
        let fds = match &client {
            Some(client) if self.starved.is_some() || !begun => {
                // Without a flag it still tells of a client that is gone altogether. One that has only finished
                // sending waits for its answer.
                let flags = if self.starved.is_some() {
                    PollFlags::IN
                } else {
                    PollFlags::empty()
                };
                both = [PollFd::new(&self.near, events), PollFd::new(client, flags)];
                &mut both[..]
            }
            Some(_) => &mut near[..],
            None => {
                if self.starved.is_some() {
                    limit = limit.min(UNWATCHED);
                }
                &mut near[..]
            }
        };
        let timeout = Timespec::try_from(limit).ok();
        match poll(fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Stop::System(error)),
        }
        let daemon = fds[0].revents();
        let client = fds.get(1).map_or(PollFlags::empty(), PollFd::revents);
        let readable = daemon.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        if !begun && !readable && client.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err(Stop::ClientGone);
        }
        self.fed = self.starved.is_some() && (fds.len() == 1 || !client.is_empty());
        Ok(readable)
    }

    /// Whether something waits to be sent to the daemon.
    fn unsent(&self) -> bool {
        self.out_at < self.out.len() || self.upload.in_flight() > 0
    }

    /// Sends what is to go to the daemon, as far as it goes without waiting; whether something went.
    fn send_some(&mut self) -> bool {
        let mut progress = false;
        loop {
            while self.unsent() {
                let mut slices = [IoSlice::new(&[]); SLICES];
                slices[0] = IoSlice::new(&self.out[self.out_at..]);
                let more = self.upload.slices(&mut slices[1..]);
                match self.near.send(&slices[..=more]) {
                    Ok(count) => {
                        let own = count.min(self.out.len() - self.out_at);
                        self.out_at += own;
                        self.upload.advance(count - own);
                        progress = true;
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return progress,
                    // What it sent before it closed its end is still to be read.
                    Err(_) => {
                        self.wanted = false;
                        self.out.clear();
                        self.out_at = 0;
                        self.upload.abandon();
                        return progress;
                    }
                }
            }
            self.out.clear();
            self.out_at = 0;
            if !self.wanted || (self.starved.is_some() && !self.fed) {
                return progress;
            }
            self.fed = false;
            match self.upload.step(self.nonce, &mut self.out) {
                Step::Frames => self.starved = None,
                Step::Wait => {
                    self.starved.get_or_insert_with(now);
                    return progress;
                }
                Step::Done => {
                    self.starved = None;
                    self.wanted = false;
                }
            }
        }
    }

    /// Keeps or drops the pair, and says what the end means to the client.
    fn finish(mut self, end: Result<Ending, Stop>) -> End {
        let stop = match end {
            Ok(ending) => {
                self.group.pairs.note(self.large);
                let far = self.incoming.files.pop_front();
                let clean = self.incoming.files.is_empty() && !self.unsent() && (!self.wanted || self.upload.is_sent());
                if let (Some(far), true) = (far, clean) {
                    self.group.pairs.put(self.near, far);
                }
                if let (Ending::Complete | Ending::Truncated, Some(status)) = (ending, self.incoming.overridden) {
                    return End::Status(status);
                }
                return match (ending, self.incoming.redirect) {
                    (Ending::Complete, None) => End::Answered,
                    (Ending::Complete, Some(path)) => End::Redirected(path),
                    (Ending::Truncated, None) => {
                        self.incoming.reply.cut();
                        End::Answered
                    }
                    (Ending::Truncated, Some(_)) => End::Failed(502, "the reply was not completed".into()),
                    (Ending::Refused(status), _) => End::Status(status),
                    (Ending::Retry, _) => End::Retry,
                };
            }
            Err(stop) => stop,
        };
        if matches!(stop, Stop::Late | Stop::GivenUp) {
            self.near.shut();
            let mut rest = [0; 64];
            // A frame that was sent before the shutdown is still there: then the request runs.
            let started = matches!(self.near.receive(&mut rest, &mut self.incoming.files, false), Ok(1..));
            match stop {
                // Who takes it now says so, or finds that it is withdrawn: it has waited for that long.
                Stop::GivenUp if !started => return End::NotRun("its daemons cannot be started".into()),
                Stop::Late if !started && self.group.queue_timeout.is_some() => {
                    return End::NotRun("no daemon was free within queue-timeout".into());
                }
                _ => {}
            }
        }
        let (status, reason) = match stop {
            Stop::ClientGone => {
                self.incoming.reply.cut();
                return End::Answered;
            }
            Stop::FilterAnswered => return End::FilterAnswered,
            Stop::Gone => (502, "the daemon ended before it had answered".to_owned()),
            Stop::LongHeader => (
                500,
                "a header of the reply is longer than header-buffer-size".to_owned(),
            ),
            Stop::Invalid(reason) => (502, format!("the daemon broke the protocol: {reason}")),
            Stop::Silent | Stop::Late | Stop::GivenUp => (504, "no answer within socket-timeout".to_owned()),
            Stop::System(error) => (500, format!("the answer cannot be received: {error}")),
        };
        if self.incoming.begun {
            let text = format!(
                "WSGI0143: process group {}: the reply is cut short: {reason}",
                self.group.name
            );
            log::request::<Wsgi>(self.request, wsgi_core::abi::Level::Error, text.as_bytes());
            self.incoming.reply.cut();
            return End::Answered;
        }
        End::Failed(status, reason)
    }
}

/// Why an exchange stopped before its end.
pub enum Stop {
    /// The daemon's end is closed.
    Gone,
    /// The daemon sent what it may not send.
    Invalid(&'static str),
    /// A line of the reply's head is too long.
    LongHeader,
    /// The daemon runs the request, but has been silent for too long.
    Silent,
    /// No daemon has begun the request in time.
    Late,
    /// The group's daemons cannot be started.
    GivenUp,
    /// Nobody waits for the reply any more.
    ClientGone,
    /// An output filter has answered.
    FilterAnswered,
    /// A system call failed.
    System(Errno),
}

thread_local! {
    /// What nonces of this thread are made from: a secret and a count.
    static NONCES: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
}

/// A number that nobody can guess who does not know this process's memory.
fn nonce() -> u64 {
    NONCES.with(|(secret, count)| {
        count.set(count.get() + 1);
        secret.hash_one(count.get())
    })
}

/// The time of `CLOCK_MONOTONIC`.
pub fn now() -> Time {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

fn as_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2)
}
