//! One exchange with a daemon: the request into the queue, the body after it, the reply to the client.

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use wsgi_core::abi::Sent;
use wsgi_core::header;
use wsgi_core::supervision::{State, Time};
use wsgi_core::wire::body::head_more;
use wsgi_core::wire::reply::{Ending, Event, Head, Reader};
use wsgi_core::wire::request::{self as wire, New};
use wsgi_core::wire::{Error, MAX_DATA};

use super::group::Group;
use super::pair::{Near, enqueue};
use super::upload::{Step, Upload};
use crate::environ::Environ;
use crate::httpd::log;
use crate::httpd::reply::{Files, Piece, Reply};
use crate::httpd::request::{Request, WriteLimit};
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
    NotRun(&'static str),
    /// Nothing was sent: this status, for this reason.
    Failed(u16, String),
    /// Not run; to be queued again.
    Retry,
}

/// Received at a time.
const PIECE: usize = 64 * 1024;
/// How often a request tries to get into a full queue.
const ENTRY: Duration = Duration::from_millis(20);
/// How often a waiting request looks after its group.
const LOOK: Duration = Duration::from_millis(500);
/// How soon the client is asked again for more of the body where its connection cannot be watched (HTTP/2).
const UNWATCHED: Duration = Duration::from_millis(5);

thread_local! {
    /// The buffer that replies come through, kept from request to request.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An exchange.
pub struct Relay<'r, 'e> {
    request: Request<'r>,
    reply: Reply<'r>,
    upload: &'e mut Upload<'r>,
    group: &'e Group,
    near: Near,
    nonce: u64,
    reader: Reader,
    /// Bytes for the daemon that have not gone out.
    out: Vec<u8>,
    out_at: usize,
    /// The daemon has asked for the body.
    wanted: bool,
    /// Since when the body waits for the client.
    starved: Option<Time>,
    /// The client has shown that there is more of the body to be read.
    fed: bool,
    /// Bytes of the reply's body that its `Content-Length` leaves to come.
    missing: Option<u64>,
    /// Path of this server whose answer the client gets instead.
    redirect: Option<Vec<u8>>,
    /// Statuses of errors are for httpd to answer (`WSGIErrorOverride`), and the one that is.
    overrides: bool,
    overridden: Option<u16>,
    /// The daemon has sent status and headers.
    headed: bool,
    /// Some of the reply was passed on.
    begun: bool,
    files: VecDeque<OwnedFd>,
    /// A file that waits for what follows it.
    held: Option<Piece<'static>>,
    /// How long the client may keep a write waiting.
    write_limit: Option<WriteLimit<'r>>,
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
            Err(Errno::MFILE | Errno::NFILE) => return End::NotRun("this httpd child has no descriptors left"),
            Err(error) => return End::Failed(500, format!("no socketpair can be made: {error}")),
        };
        let nonce = match nonce() {
            Ok(nonce) => nonce,
            Err(error) => return End::Failed(500, format!("no random number can be had: {error}")),
        };
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
            match enqueue(group.queue(), &out[..encoded.datagram], far.as_fd()) {
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
                return End::NotRun("its queue is full");
            }
            Err(error) => return End::Failed(503, format!("its queue cannot be reached: {error}")),
        }
        let body = !matches!(new.body, wire::Body::None) && !encoded.body_inline;
        let rest = out.split_off(encoded.datagram);
        let mut relay = Relay {
            request,
            reply: Reply::new(
                request,
                Files {
                    sendfile: target.files.sendfile,
                    mmap: false, // A daemon could cut its file short, and so end this process.
                },
            ),
            upload,
            group,
            near,
            nonce,
            reader: Reader::new(nonce, body),
            out: Vec::new(),
            out_at: 0,
            wanted: false,
            starved: None,
            fed: true,
            missing: None,
            redirect: None,
            overrides: target.error_override,
            overridden: None,
            headed: false,
            begun: false,
            files: VecDeque::new(),
            held: None,
            write_limit: None,
        };
        for part in rest.chunks(MAX_DATA) {
            relay.out.extend_from_slice(&head_more(nonce, part.len()));
            relay.out.extend_from_slice(part);
        }
        let mut buffer = BUFFER.take();
        let end = relay.run(&mut buffer, deadline);
        if buffer.len() <= 4 * PIECE {
            BUFFER.set(buffer);
        }
        relay.finish(end)
    }

    /// Moves bytes both ways until the daemon has ended the exchange.
    fn run(&mut self, buffer: &mut Vec<u8>, deadline: Option<Time>) -> Result<Ending, Stop> {
        if buffer.len() < PIECE {
            buffer.resize(PIECE, 0);
        }
        let mut filled = 0;
        let mut last = now();
        loop {
            if self.send_some() {
                last = now();
            }
            match self.near.receive(&mut buffer[filled..], &mut self.files) {
                Ok(received) if received.surplus => return Err(Stop::Invalid("sent more descriptors than it may")),
                Ok(received) if received.bytes == 0 => return Err(Stop::Gone),
                Ok(received) => {
                    filled += received.bytes;
                    let mut input = &buffer[..filled];
                    if let Some(ending) = self.take_events(&mut input)? {
                        return if input.is_empty() {
                            Ok(ending)
                        } else {
                            Err(Stop::Invalid("went on after the end"))
                        };
                    }
                    let (left, needed) = (input.len(), self.reader.needed(input));
                    buffer.copy_within(filled - left..filled, 0);
                    filled = left;
                    if needed > buffer.len() {
                        buffer.resize(needed, 0);
                    }
                    // Only now: passing it on may have taken as long as the client wished.
                    last = now();
                    continue;
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                Err(_) => return Err(Stop::Gone),
            }
            let begun = self.reader.begun();
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
            self.wait(if begun { wait } else { wait.min(LOOK) })?;
            if !self.reader.begun() && matches!(self.group.state(), State::Failed { .. }) {
                return Err(Stop::GivenUp);
            }
        }
    }

    /// Waits until something can be received, sent, or read from the client.
    fn wait(&mut self, limit: Duration) -> Result<(), Stop> {
        let mut events = PollFlags::IN;
        if self.out_at < self.out.len() {
            events |= PollFlags::OUT;
        }
        let client = self.request.client_socket();
        let mut limit = limit;
        let mut fds = vec![PollFd::new(&self.near, events)];
        if let Some(client) = &client {
            // Without a flag it still tells of a client that is gone altogether. One that has only finished sending
            // waits for its answer.
            let flags = if self.starved.is_some() {
                PollFlags::IN
            } else {
                PollFlags::empty()
            };
            if self.starved.is_some() || !self.reader.begun() {
                fds.push(PollFd::new(client, flags));
            }
        } else if self.starved.is_some() {
            limit = limit.min(UNWATCHED);
        }
        let timeout = Timespec::try_from(limit).ok();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Stop::System(error)),
        }
        let client = fds.get(1).map_or(PollFlags::empty(), PollFd::revents);
        if !self.reader.begun() && client.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Err(Stop::ClientGone);
        }
        self.fed = self.starved.is_some() && (fds.len() == 1 || !client.is_empty());
        Ok(())
    }

    /// Sends what is to go to the daemon, as far as it goes without waiting; whether something went.
    fn send_some(&mut self) -> bool {
        let mut progress = false;
        loop {
            while self.out_at < self.out.len() {
                match self.near.send(&self.out[self.out_at..]) {
                    Ok(count) => {
                        self.out_at += count;
                        progress = true;
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return progress,
                    // What it sent before it closed its end is still to be read.
                    Err(_) => {
                        self.wanted = false;
                        self.out.clear();
                        self.out_at = 0;
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

    /// Takes all events that are whole; passes on what they say to the client.
    fn take_events(&mut self, input: &mut &[u8]) -> Result<Option<Ending>, Stop> {
        let mut pieces: Vec<Piece<'_>> = self.held.take().into_iter().collect();
        let ending = loop {
            match self.reader.next(input) {
                Ok(Event::Started) => {}
                Ok(Event::Head(head)) => self.set_head(head)?,
                Ok(Event::Data(bytes)) => {
                    self.count(bytes.len() as u64)?;
                    pieces.push(Piece::Bytes(bytes));
                }
                Ok(Event::File { offset, length }) => {
                    self.count(length)?;
                    pieces.push(self.file(offset, length)?);
                }
                Ok(Event::WantBody) => {
                    self.wanted = true;
                    if !self.headed {
                        self.upload.invite();
                    }
                }
                Ok(Event::Log(level, site, text)) => log::request_from::<Wsgi>(self.request, level, site, text),
                Ok(Event::End(ending)) => break Some(ending),
                Err(Error::Incomplete) => break None,
                Err(Error::Invalid(reason)) => return Err(Stop::Invalid(reason)),
            }
        };
        if self.redirect.is_some() || self.overridden.is_some() {
            return Ok(ending);
        }
        // A file goes on together with what follows: filters that pick ranges want to see where the reply ends.
        if ending.is_none() {
            self.held = match pieces.pop() {
                Some(Piece::File { file, offset, length }) => Some(Piece::File { file, offset, length }),
                other => {
                    pieces.extend(other);
                    None
                }
            };
        }
        let short = self.missing.is_some_and(|missing| missing > 0);
        let end = ending == Some(Ending::Complete) && !short;
        if end || !pieces.is_empty() {
            self.begun = true;
            match self.reply.send(pieces.into_iter(), end) {
                Sent::Ok => {}
                Sent::ClientGone => return Err(Stop::ClientGone),
                Sent::Failed => return Err(Stop::FilterAnswered),
            }
        }
        if ending == Some(Ending::Complete) && short {
            return Ok(Some(Ending::Truncated));
        }
        Ok(ending)
    }

    /// Puts the head into the request. A daemon belongs to a tenant: what it says is checked as if the application had
    /// said it here.
    fn set_head(&mut self, head: Head<'_>) -> Result<(), Stop> {
        let headers: Vec<(&[u8], &[u8])> = head.headers.collect();
        let expects_body = !self.request.header_only() && !matches!(head.status, 204 | 304);
        for (name, value) in &headers {
            let length = name.eq_ignore_ascii_case(b"content-length");
            if length && expects_body {
                self.missing = header::content_length(value).ok();
            }
            if header::check_name(name).is_err()
                || header::is_hop_by_hop(name)
                || header::check_value(value).is_err()
                || (length && header::content_length(value).is_err())
            {
                return Err(Stop::Invalid("header that may not be sent"));
            }
        }
        let too_long = |limit: u64| {
            headers
                .iter()
                .any(|(name, value)| (name.len() + 2 + value.len()) as u64 > limit)
        };
        if self.group.longest_header.is_some_and(too_long) {
            return Err(Stop::LongHeader);
        }
        if head.reason.iter().any(u8::is_ascii_control) {
            return Err(Stop::Invalid("reason that may not be sent"));
        }
        // As CGI has it (RFC 3875, section 6.2.2), and users of mod_wsgi's daemon mode know it: files are sent so.
        let local = |(name, value): &&(&[u8], &[u8])| name.eq_ignore_ascii_case(b"location") && value.starts_with(b"/");
        if head.status == 200
            && let Some((_, path)) = headers.iter().find(local)
        {
            self.redirect = Some(path.to_vec());
            return Ok(());
        }
        self.headed = true;
        if self.overrides && (400..600).contains(&head.status) {
            self.overridden = Some(head.status);
            // All that httpd keeps of a reply that it replaces, and cannot know itself.
            let challenges = headers
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case(b"www-authenticate"));
            for (name, value) in challenges {
                self.reply.add_header(name, value);
            }
            return Ok(());
        }
        self.write_limit = self
            .group
            .write_timeout
            .and_then(|limit| self.request.limit_writes(limit));
        self.reply.forget_content();
        self.reply.set_status(head.status, head.reason);
        for (name, value) in headers {
            self.reply.add_header(name, value);
        }
        Ok(())
    }

    /// What exceeds the announced length would be taken for the next reply on the connection.
    fn count(&mut self, bytes: u64) -> Result<(), Stop> {
        if let Some(missing) = &mut self.missing {
            *missing = missing
                .checked_sub(bytes)
                .ok_or(Stop::Invalid("sent more than its Content-Length"))?;
        }
        Ok(())
    }

    fn file(&mut self, offset: u64, length: u64) -> Result<Piece<'static>, Stop> {
        let file = self
            .files
            .pop_front()
            .ok_or(Stop::Invalid("named a file that did not come"))?;
        let stat = fstat(&file).map_err(Stop::System)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || offset + length > size {
            return Err(Stop::Invalid(
                "sent a descriptor that is not the regular file it should be",
            ));
        }
        Ok(Piece::File { file, offset, length })
    }

    /// Keeps or drops the pair, and says what the end means to the client.
    fn finish(mut self, end: Result<Ending, Stop>) -> End {
        let stop = match end {
            Ok(ending) => {
                let far = self.files.pop_front();
                let clean =
                    self.files.is_empty() && self.out_at >= self.out.len() && (!self.wanted || self.upload.is_sent());
                if let (Some(far), true) = (far, clean) {
                    self.group.pairs.put(self.near, far);
                }
                if let (Ending::Complete | Ending::Truncated, Some(status)) = (ending, self.overridden) {
                    return End::Status(status);
                }
                return match (ending, self.redirect) {
                    (Ending::Complete, None) => End::Answered,
                    (Ending::Complete, Some(path)) => End::Redirected(path),
                    (Ending::Truncated, None) => {
                        self.reply.cut();
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
            let started = matches!(self.near.receive(&mut rest, &mut self.files), Ok(received) if received.bytes > 0);
            match stop {
                // Whoever had taken it would have said so by now: it has waited for longer than daemons may keep silent.
                Stop::GivenUp if !started => return End::NotRun("its daemons cannot be started"),
                Stop::Late if !started && self.group.queue_timeout.is_some() => {
                    return End::NotRun("no daemon was free within queue-timeout");
                }
                _ => {}
            }
        }
        let (status, reason) = match stop {
            Stop::ClientGone => {
                self.reply.cut();
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
        if self.begun {
            let text = format!(
                "WSGI0143: process group {}: the reply is cut short: {reason}",
                self.group.name
            );
            log::request::<Wsgi>(self.request, wsgi_core::abi::Level::Error, text.as_bytes());
            self.reply.cut();
            return End::Answered;
        }
        End::Failed(status, reason)
    }
}

/// Why an exchange stopped before its end.
enum Stop {
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

/// A number that nobody can guess.
fn nonce() -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes))
}

/// The time of `CLOCK_MONOTONIC`.
pub fn now() -> Time {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

fn as_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2)
}
