//! A request's body on its way to a daemon.
//!
//! Small bodies are collected before the request is queued, so that a slow client holds no daemon thread. What is larger
//! is sent as it comes, once the application asks for it.

use std::fs::File;
use std::io::{IoSlice, Read, Seek, Write};

use wsgi_core::wire::MAX_INLINE_BODY;
use wsgi_core::wire::body as frames;
use wsgi_core::wire::request as wire;

use crate::httpd::body::{Body, BodyError};
use crate::httpd::brigade::Brigade;
use crate::httpd::request::Request;

/// Up to this size a body is collected before the request is queued, and stays in memory; what must be collected beyond
/// goes on in an unlinked file.
const MAX_COLLECTED: usize = 1024 * 1024;
/// Largest piece of a body that is not in memory.
const PIECE: usize = 64 * 1024;

/// A body.
pub struct Upload<'r> {
    /// The first bytes: as many as fit into the datagram.
    front: Vec<u8>,
    /// What came after them, as it came out of httpd's filters.
    middle: Brigade<'r>,
    middle_len: usize,
    /// What came after that.
    file: Option<File>,
    /// What is still to come from the client; `None` when all of it was collected.
    live: Option<Body<'r>>,
    sent: Sent,
    /// Bytes of `front` that went out, and of front and middle that must go out now.
    front_at: usize,
    in_flight: usize,
}

/// How far the body has been sent.
enum Sent {
    Nothing,
    Memory,
    File,
    All,
}

/// What can be sent now.
pub enum Step {
    /// A frame was appended; the upload itself may have the rest of it.
    Frames,
    /// The client has sent nothing yet.
    Wait,
    /// The last frame was appended before.
    Done,
}

impl<'r> Upload<'r> {
    /// Collects the body, unless it is large or the client waits to be asked for it. With `whole`, large ones too.
    ///
    /// # Errors
    /// When the client does not deliver the body, or it cannot be kept.
    pub fn collect(request: Request<'r>, mut body: Body<'r>, whole: bool) -> Result<Upload<'r>, CollectError> {
        let mut upload = Upload {
            front: Vec::new(),
            middle: Brigade::new(request),
            middle_len: 0,
            file: None,
            live: None,
            sent: Sent::Nothing,
            front_at: 0,
            in_flight: 0,
        };
        if !request.has_body() {
            return Ok(upload);
        }
        if request.expects_continue() && !whole {
            upload.live = Some(body);
            return Ok(upload);
        }
        while upload.front.len() < MAX_INLINE_BODY {
            let room = MAX_INLINE_BODY - upload.front.len();
            if body.append(&mut upload.front, room).map_err(CollectError::Client)? == 0 {
                return Ok(upload);
            }
        }
        while upload.front.len() + upload.middle_len < MAX_COLLECTED {
            match body.keep(&mut upload.middle).map_err(CollectError::Client)? {
                0 => return Ok(upload),
                count => upload.middle_len += count,
            }
        }
        if whole {
            let mut file = tempfile::tempfile().map_err(CollectError::File)?;
            let mut piece = Vec::new();
            while body.append(&mut piece, PIECE).map_err(CollectError::Client)? > 0 {
                file.write_all(&piece).map_err(CollectError::File)?;
                piece.clear();
            }
            file.rewind().map_err(CollectError::File)?;
            upload.file = Some(file);
        } else {
            upload.live = Some(body);
        }
        Ok(upload)
    }

    /// The daemon asks for it: a client that waits for `100 Continue` may go on, whatever the application answers next.
    pub fn invite(&self) {
        if let Some(live) = &self.live {
            live.invite();
        }
    }

    /// How the datagram tells of it.
    pub fn mode(&self) -> wire::Body<'_> {
        if self.live.is_some() || self.file.is_some() || self.middle_len > 0 {
            wire::Body::Stream
        } else if self.front.is_empty() {
            wire::Body::None
        } else {
            wire::Body::Inline(&self.front)
        }
    }

    /// Appends the next frame to `out`. Of what is in memory that is only the frame's head: the rest follows by
    /// [`Upload::slices`].
    pub fn step(&mut self, nonce: u64, out: &mut Vec<u8>) -> Step {
        match self.sent {
            Sent::Nothing => {
                self.sent = Sent::Memory;
                self.in_flight = self.front.len() + self.middle_len;
                if self.in_flight == 0 {
                    return self.step(nonce, out);
                }
                out.extend_from_slice(&frames::body(nonce, self.in_flight));
                Step::Frames
            }
            Sent::Memory => {
                let mut piece = Vec::with_capacity(PIECE);
                let part = self
                    .file
                    .as_mut()
                    .map(|file| file.take(PIECE as u64).read_to_end(&mut piece));
                match part {
                    Some(Ok(count)) if count > 0 => put(nonce, &piece, out),
                    Some(Err(error)) => self.fail(nonce, &format!("the server lost the body: {error}"), out),
                    _ => {
                        self.sent = Sent::File;
                        return self.step(nonce, out);
                    }
                }
                Step::Frames
            }
            Sent::File => {
                let Some(live) = &mut self.live else {
                    out.extend_from_slice(&frames::body_end(nonce));
                    self.sent = Sent::All;
                    return Step::Frames;
                };
                let mut piece = Vec::new();
                match live.try_append(&mut piece, PIECE) {
                    Ok(None) => return Step::Wait,
                    Ok(Some(0)) => self.live = None,
                    Ok(Some(_)) => put(nonce, &piece, out),
                    Err(error) => self.fail(nonce, &error.text(), out),
                }
                Step::Frames
            }
            Sent::All => Step::Done,
        }
    }

    /// Bytes in memory that must go out before the next frame.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Shows the next of these bytes in the first of the slices; how many slices that took.
    pub fn slices<'s>(&'s self, slices: &mut [IoSlice<'s>]) -> usize {
        let front = &self.front[self.front_at..];
        match slices {
            _ if self.in_flight == 0 => 0,
            [first, rest @ ..] if !front.is_empty() => {
                *first = IoSlice::new(front);
                1 + self.middle.slices(rest)
            }
            _ => self.middle.slices(slices),
        }
    }

    /// So many of them went out.
    pub fn advance(&mut self, count: usize) {
        let of_front = count.min(self.front.len() - self.front_at);
        self.front_at += of_front;
        self.middle.discard(count - of_front);
        self.in_flight -= count;
    }

    /// Nobody is there any more to send the rest to.
    pub fn abandon(&mut self) {
        self.in_flight = 0;
    }

    /// Whether the daemon has been sent all there is, the end included.
    pub fn is_sent(&self) -> bool {
        matches!(self.sent, Sent::All)
    }

    /// Tells the daemon that the rest will not come.
    pub fn fail(&mut self, nonce: u64, reason: &str, out: &mut Vec<u8>) {
        frames::body_error(nonce, reason.as_bytes(), out);
        self.sent = Sent::All;
    }
}

fn put(nonce: u64, piece: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&frames::body(nonce, piece.len()));
    out.extend_from_slice(piece);
}

/// Why a body was not collected.
pub enum CollectError {
    /// The client's fault, or its network's.
    Client(BodyError),
    /// No room for the temporary file.
    File(std::io::Error),
}
