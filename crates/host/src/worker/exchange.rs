//! The exchange over frames: one request's way through its reply pair to httpd (`wsgi_core::wire`).

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use wsgi_core::abi::{Level, Sent, Site};
use wsgi_core::wire::body::{Event, Reader};
use wsgi_core::wire::frame::HEADER;
use wsgi_core::wire::reply::{self, Kind};
use wsgi_core::wire::{Error, MAX_DATA, MAX_PIPED};

use super::activity::Activity;
use super::entry::{self, with_descriptor};
use super::family::Family;
use super::held::{Held, Hold};
use super::report::Report;
use crate::adapter::Head;
use crate::adapter::exchange::{Outcome, ServerLog};
use crate::python::{Room, is_forked};

/// Pieces of the body from this size on go through the pipe, where there is one: they are not copied here, and not twice by
/// the kernel, but httpd must say that it has read them.
const LENT: usize = 128 * 1024;
/// Received at a time, but for what goes straight to where it is wanted.
const PIECE: usize = 4 * 1024;

/// The daemon's end of an exchange.
pub struct Connection {
    /// Gone when the exchange has ended.
    socket: Option<OwnedFd>,
    nonce: u64,
    reader: Reader,
    body: Body,
    /// What was received: up to `filled`, understood up to `at`; `piece` of it belongs to the body and is not read yet.
    input: Vec<u8>,
    filled: usize,
    at: usize,
    piece: Range<usize>,
    /// The encoded head, until it goes out.
    head: Vec<u8>,
    /// `Content-Length` of the reply.
    length: Option<u64>,
    head_sent: bool,
    head_failed: bool,
    held: Held,
    /// Where large pieces of the body may go.
    pipe: Option<OwnedFd>,
    /// Where records go when the exchange has ended.
    log: Arc<dyn ServerLog>,
    activity: Option<Arc<Activity>>,
    family: Family,
    /// Who is told that the request is completed.
    report: Option<Arc<Report>>,
}

/// The body of the request.
pub enum Body {
    /// There is none, or no more.
    None,
    /// It came with the request; from this position on it has not been read.
    Inline(Vec<u8>, usize),
    /// httpd sends it when it is asked.
    Stream {
        /// It has been asked.
        wanted: bool,
    },
    /// No more will come, for this reason.
    Failed(String),
}

/// What httpd said; pieces stand in the input.
enum Came {
    Piece(Range<usize>),
    BodyEnd,
    BodyError(String),
    PipeRead,
}

impl Connection {
    /// Begins an exchange over the far end of a reply pair. `head_missing` bytes of the request's head come through it.
    pub fn new(
        socket: OwnedFd,
        nonce: u64,
        head_missing: usize,
        log: Arc<dyn ServerLog>,
        family: Family,
    ) -> Connection {
        Connection {
            socket: Some(socket),
            nonce,
            reader: Reader::new(nonce, head_missing),
            body: Body::None,
            input: Vec::new(),
            filled: 0,
            at: 0,
            piece: 0..0,
            head: Vec::new(),
            length: None,
            head_sent: false,
            head_failed: false,
            held: Held::default(),
            pipe: None,
            log,
            activity: None,
            family,
            report: None,
        }
    }

    /// Says what body the request has, whom to tell about the progress of the application, and which pipe the reply may
    /// use.
    pub fn begin(&mut self, body: Body, activity: Option<Arc<Activity>>, report: Arc<Report>, pipe: Option<OwnedFd>) {
        self.body = body;
        self.pipe = pipe;
        self.activity = activity;
        self.report = Some(report);
    }

    /// Announces that the request is about to run.
    ///
    /// # Errors
    /// When httpd has withdrawn it.
    pub fn started(&mut self) -> Result<(), Errno> {
        let frame = reply::bare(Kind::Started, self.nonce);
        self.send(&[&frame])
    }

    /// Reads the rest of the request's head behind `head`.
    ///
    /// # Errors
    /// With the reason, for the log.
    pub fn read_head(&mut self, head: &mut Vec<u8>, missing: usize) -> Result<(), String> {
        let whole = head.len() + missing;
        while head.len() < whole {
            match self.next()? {
                Some(Came::Piece(piece)) => head.extend_from_slice(&self.input[piece]),
                Some(_) => return Err(String::from("httpd sent a body before the request's head was complete")),
                None => self.receive()?,
            }
        }
        Ok(())
    }

    /// Hands the request back unread.
    pub fn retry(mut self) {
        self.end(&[&reply::bare(Kind::Retry, self.nonce)]);
    }

    /// Ends the exchange, unless that is done.
    pub fn finish(&mut self, outcome: Outcome) {
        if self.socket.is_none() {
            return;
        }
        match outcome {
            Outcome::ClientGone => self.socket = None,
            Outcome::Complete if self.head_sent => {
                // httpd being gone is an end as well.
                let _ = self.complete(&[&reply::bare(Kind::End, self.nonce)]);
            }
            Outcome::Truncated | Outcome::Complete if self.head_sent => {
                self.end(&[&reply::bare(Kind::Truncated, self.nonce)]);
            }
            Outcome::Refused(status) if !self.head_sent => {
                let status = if (400..=599).contains(&status) { status } else { 500 };
                self.end(&[&reply::refused(self.nonce, status)]);
            }
            Outcome::Refused(_) => self.end(&[&reply::bare(Kind::Truncated, self.nonce)]),
            Outcome::Truncated | Outcome::Complete => self.end(&[&reply::refused(self.nonce, 500)]),
        }
    }

    /// As `Exchange::read`.
    pub fn read(&mut self, room: &mut Room<'_>) -> Result<usize, String> {
        if let Some(activity) = &self.activity {
            activity.note();
        }
        // The client may wait for it before it goes on.
        if !self.held.is_empty() {
            self.send(&[]).map_err(|_| gone())?;
        }
        match &mut self.body {
            Body::None => Ok(0),
            Body::Failed(reason) => Err(reason.clone()),
            Body::Inline(bytes, at) => {
                let len = room.put(&bytes[*at..]);
                *at += len;
                Ok(len)
            }
            Body::Stream { wanted } => {
                if !*wanted {
                    *wanted = true;
                    self.reader.want_body();
                    let frame = reply::bare(Kind::WantBody, self.nonce);
                    self.send(&[&frame]).map_err(|_| gone())?;
                }
                if room.left() == 0 {
                    return Ok(0);
                }
                self.read_body(room)
            }
        }
    }

    fn read_body(&mut self, room: &mut Room<'_>) -> Result<usize, String> {
        let mut count = 0;
        while room.left() > 0 {
            if self.piece.is_empty() {
                match self.next()? {
                    Some(Came::Piece(piece)) => self.piece = piece,
                    Some(Came::BodyEnd) => {
                        self.body = Body::None;
                        break;
                    }
                    // What came before it is still whole: the reason is for the next read.
                    Some(Came::BodyError(reason)) => {
                        self.body = Body::Failed(reason);
                        break;
                    }
                    // It comes only while it is waited for.
                    Some(Came::PipeRead) => {}
                    None if count > 0 => break,
                    None if self.at == self.filled && self.reader.ahead() > 0 => return self.receive_into(room),
                    None => self.receive()?,
                }
                continue;
            }
            let len = room.put(&self.input[self.piece.clone()]);
            self.piece.start += len;
            count += len;
        }
        match &self.body {
            Body::Failed(reason) if count == 0 => Err(reason.clone()),
            _ => Ok(count),
        }
    }

    /// Receives bytes of the body to where they are wanted, waiting for them.
    fn receive_into(&mut self, room: &mut Room<'_>) -> Result<usize, String> {
        let Some(socket) = &self.socket else {
            return Err(gone());
        };
        let ahead = self.reader.ahead();
        let count = loop {
            let received = room.fill(ahead, |space| {
                recv(socket, space, RecvFlags::empty()).map(|((bytes, _), _)| bytes)
            });
            match received {
                Err(Errno::INTR) => {}
                Ok(count) => break count,
                Err(_) => break 0,
            }
        };
        self.reader.skip(count);
        if count == 0 { Err(gone()) } else { Ok(count) }
    }

    /// The next event of what has been received; `None` when more must be received first.
    fn next(&mut self) -> Result<Option<Came>, String> {
        let mut rest = &self.input[self.at..self.filled];
        let event = self.reader.next(&mut rest);
        let at = self.filled - rest.len();
        self.at = at;
        match event {
            // It ends where the rest begins.
            Ok(Event::HeadMore(piece) | Event::Body(piece)) => Ok(Some(Came::Piece(at - piece.len()..at))),
            Ok(Event::BodyEnd) => Ok(Some(Came::BodyEnd)),
            Ok(Event::PipeRead) => Ok(Some(Came::PipeRead)),
            Ok(Event::BodyError(reason)) => Ok(Some(Came::BodyError(String::from_utf8_lossy(reason).into_owned()))),
            Err(Error::Incomplete) => Ok(None),
            Err(Error::Invalid(reason)) => Err(format!("httpd sent what cannot be understood ({reason})")),
        }
    }

    /// Receives more, waiting for it.
    fn receive(&mut self) -> Result<(), String> {
        let Some(socket) = &self.socket else {
            return Err(gone());
        };
        self.input.resize(PIECE, 0);
        // What is left is less than a frame's head, or than a short frame.
        self.input.copy_within(self.at..self.filled, 0);
        self.filled -= self.at;
        self.at = 0;
        let count = loop {
            match recv(socket, &mut self.input[self.filled..], RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                Ok((count, _)) => break count,
                Err(_) => break 0,
            }
        };
        self.filled += count;
        if count == 0 { Err(gone()) } else { Ok(()) }
    }

    /// As `Exchange::head`.
    pub fn head(&mut self, head: &Head) {
        self.length = head.content_length();
        self.head.clear();
        let put = reply::head(self.nonce, head.status, head.reason(), head.headers(), &mut self.head);
        if let Err(error) = put {
            let text = format!("WSGI0520: {error}; it is not sent");
            self.log(Level::Error, Site::NONE, text.as_bytes());
            self.head_failed = true;
        }
    }

    /// As `Exchange::write`.
    pub fn write(&mut self, pieces: &[&[u8]], end: bool) -> Sent {
        if let Some(activity) = &self.activity {
            activity.note();
        }
        if self.head_failed {
            return Sent::Failed;
        }
        let head = std::mem::take(&mut self.head);
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        if pieces.iter().any(|piece| piece.len() >= LENT) && self.pipe.is_some() && self.is_clean() {
            let result = self.lend(head, pieces);
            if result.is_ok() && end {
                return sent(self.complete(&[&reply::bare(Kind::End, self.nonce)]));
            }
            return self.after(result);
        }
        let (whole, ending);
        let mut headers = Vec::new();
        let mut parts: Vec<&[u8]> = Vec::with_capacity(pieces.len() + 3);
        if !head.is_empty() {
            parts.push(&head);
        }
        if total > MAX_DATA {
            let chunks = || pieces.iter().flat_map(|piece| piece.chunks(MAX_DATA));
            headers.extend(chunks().map(|chunk| reply::data(self.nonce, chunk.len())));
            parts.extend(
                headers
                    .iter()
                    .zip(chunks())
                    .flat_map(|(header, chunk)| [&header[..], chunk]),
            );
        } else if total > 0 {
            whole = reply::data(self.nonce, total);
            parts.push(&whole);
            parts.extend(pieces);
        }
        if end {
            ending = reply::bare(Kind::End, self.nonce);
            parts.push(&ending);
            self.head_sent = true;
            return sent(self.complete(&parts));
        }
        let result = self.send(&parts);
        self.head_sent = true;
        self.held.note(total);
        self.after(result)
    }

    /// Sends pieces of the body, large ones through the pipe, without copying them. Returns when httpd has read those.
    fn lend(&mut self, mut head: Vec<u8>, pieces: &[&[u8]]) -> Result<(), Errno> {
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let most = rest.len().min(MAX_PIPED);
                let lent = match &self.pipe {
                    Some(pipe) if rest.len() >= LENT => entry::lend(pipe.as_fd(), &rest[..most]).unwrap_or(0),
                    _ => 0,
                };
                let (piped, behind) = (reply::piped(self.nonce, lent), &rest[lent..]);
                // A short rest goes along; where nothing could be lent, as much as a frame holds.
                let copied = match (lent, behind.len()) {
                    (0, length) => length.min(MAX_DATA),
                    (_, length @ 0..LENT) => length,
                    _ => 0,
                };
                let data = reply::data(self.nonce, copied);
                let mut parts: Vec<&[u8]> = vec![&head];
                if lent > 0 {
                    self.reader.piped();
                    parts.push(&piped);
                } else {
                    self.pipe = self.pipe.take().filter(|_| rest.len() < LENT);
                }
                if copied > 0 {
                    parts.extend([&data, &behind[..copied]]);
                }
                self.send(&parts)?;
                self.head_sent = true;
                head.clear();
                if lent > 0 {
                    self.await_pipe().map_err(|_| Errno::PIPE)?;
                }
                rest = &behind[copied..];
            }
        }
        Ok(())
    }

    /// Waits until httpd has read what is in the pipe.
    fn await_pipe(&mut self) -> Result<(), String> {
        loop {
            match self.next()? {
                Some(Came::PipeRead) => return Ok(()),
                Some(_) => return Err(String::from("httpd sent a body that was complete")),
                None => self.receive()?,
            }
        }
    }

    /// As `Exchange::file`.
    pub fn file(&mut self, descriptor: i32, offset: i64, len: u64) -> Sent {
        if self.head_failed {
            return Sent::Failed;
        }
        let head = std::mem::take(&mut self.head);
        let part = reply::file(self.nonce, u64::try_from(offset).unwrap_or(0), len);
        let ending = reply::bare(Kind::End, self.nonce);
        // A file that is shorter than what was promised is for the outcome to judge.
        let whole = self.length.is_none_or(|length| length <= len);
        let parts = [&head, &part[..], &ending];
        let parts = if whole { &parts[..] } else { &parts[..2] };
        let result = with_descriptor(descriptor, |file| {
            let own = reopened(file);
            if whole {
                self.note_served();
            }
            let back = whole && self.is_clean();
            self.send_with(parts, Some(own.as_ref().map_or(file, AsFd::as_fd)), back)
        });
        let result = result.unwrap_or(Err(Errno::BADF));
        self.head_sent |= result.is_ok();
        match result {
            Err(Errno::BADF) => Sent::Failed,
            _ if whole => {
                self.socket = None;
                sent(result)
            }
            _ => self.after(result),
        }
    }

    /// As `Exchange::log`.
    pub fn log(&mut self, level: Level, site: Site<'_>, text: &[u8]) {
        let mut frames = Vec::with_capacity(HEADER + 64 + text.len());
        reply::log(self.nonce, level, site, text, &mut frames);
        if self.socket.is_none() || self.send(&[&frames]).is_err() {
            self.log.log_from(level, site, text);
        }
    }

    fn after(&mut self, result: Result<(), Errno>) -> Sent {
        if result.is_err() {
            self.socket = None;
        }
        sent(result)
    }

    /// Sends the end of a whole reply.
    fn complete(&mut self, parts: &[&[u8]]) -> Result<(), Errno> {
        self.note_served();
        self.try_end(parts)
    }

    fn note_served(&self) {
        if let Some(report) = &self.report {
            report.served();
        }
    }

    fn end(&mut self, parts: &[&[u8]]) {
        // httpd being gone is an end as well.
        let _ = self.try_end(parts);
    }

    /// Sends the frame that ends the exchange, with the far end if httpd can use it again, and closes it here.
    fn try_end(&mut self, parts: &[&[u8]]) -> Result<(), Errno> {
        let result = self.send_with(parts, None, self.is_clean());
        self.socket = None;
        result
    }

    /// Whether httpd has nothing more to say in this exchange.
    fn is_clean(&self) -> bool {
        self.reader.clean() && self.at == self.filled && self.piece.is_empty()
    }

    fn send(&mut self, parts: &[&[u8]]) -> Result<(), Errno> {
        self.send_with(parts, None, false)
    }

    /// Sends frames with the file that one of them names, and with the far end if httpd gets it `back`.
    fn send_with(&mut self, parts: &[&[u8]], file: Option<BorrowedFd<'_>>, back: bool) -> Result<(), Errno> {
        self.family.check(&*self.log);
        let socket = self.socket.as_ref().ok_or(Errno::PIPE)?.as_fd();
        let both = [file.unwrap_or(socket), socket];
        let descriptors = &both[usize::from(file.is_none())..1 + usize::from(back)];
        self.held.send_before(self.nonce, socket, parts, descriptors)
    }

    /// Holds a block back for the post, if blocks come one upon the other.
    pub fn hold(&mut self, block: &[u8]) -> Hold {
        if !self.head_sent || self.socket.is_none() || is_forked() {
            return Hold::No;
        }
        let hold = self.held.take(block);
        if hold != Hold::No
            && let Some(activity) = &self.activity
        {
            activity.note();
        }
        hold
    }

    /// Sends what is held back as far as that goes without waiting; whether nothing is left.
    pub fn send_held(&mut self) -> bool {
        let Some(socket) = &self.socket else { return true };
        match self.held.send(self.nonce, socket.as_fd()) {
            Ok(done) => done,
            Err(_) => {
                self.socket = None;
                true
            }
        }
    }
}

/// The same file with a position of its own: httpd reads it while the application may use the one that it has. Where that
/// cannot be had, the two share it.
fn reopened(file: BorrowedFd<'_>) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}

fn gone() -> String {
    String::from("the connection to the client is gone")
}

fn sent(result: Result<(), Errno>) -> Sent {
    if result.is_ok() { Sent::Ok } else { Sent::ClientGone }
}
