//! A request's body on its way to a daemon.
//!
//! Small bodies are collected before the request is queued, so that a slow client holds no daemon thread. What is larger
//! is sent as it comes, once the application asks for it.

use std::fs::File;
use std::io::{Read, Seek, Write};

use wsgi_core::wire::MAX_INLINE_BODY;
use wsgi_core::wire::body as frames;
use wsgi_core::wire::request as wire;

use crate::httpd::body::{Body, BodyError};
use crate::httpd::request::Request;

/// Up to this size a body is collected before the request is queued.
const MAX_COLLECTED: usize = 1024 * 1024;
/// Up to this size a collected body stays in memory; then it goes on in an unlinked file.
const MAX_MEMORY: usize = 64 * 1024;
/// Largest piece that is sent in a frame.
const PIECE: usize = 64 * 1024;

/// A body.
pub struct Upload<'r> {
    /// The first bytes.
    memory: Vec<u8>,
    /// What came after them.
    file: Option<File>,
    /// What is still to come from the client; `None` when all of it was collected.
    live: Option<Body<'r>>,
    sent: Sent,
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
    /// Frames were appended.
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
            memory: Vec::new(),
            file: None,
            live: None,
            sent: Sent::Nothing,
        };
        if !request.has_body() {
            return Ok(upload);
        }
        if request.expects_continue() && !whole {
            upload.live = Some(body);
            return Ok(upload);
        }
        let mut piece = Vec::new();
        let mut collected = 0;
        while whole || collected < MAX_COLLECTED {
            piece.clear();
            let count = body.append(&mut piece, PIECE).map_err(CollectError::Client)?;
            if count == 0 {
                if let Some(file) = &mut upload.file {
                    file.rewind().map_err(CollectError::File)?;
                }
                return Ok(upload);
            }
            collected += count;
            if upload.file.is_none() && upload.memory.len() + count <= MAX_MEMORY {
                upload.memory.extend_from_slice(&piece);
            } else {
                if upload.file.is_none() {
                    upload.file = Some(tempfile::tempfile().map_err(CollectError::File)?);
                }
                if let Some(file) = &mut upload.file {
                    file.write_all(&piece).map_err(CollectError::File)?;
                }
            }
        }
        if let Some(file) = &mut upload.file {
            file.rewind().map_err(CollectError::File)?;
        }
        upload.live = Some(body);
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
        if self.live.is_some() || self.file.is_some() || self.memory.len() > MAX_INLINE_BODY {
            wire::Body::Stream
        } else if self.memory.is_empty() {
            wire::Body::None
        } else {
            wire::Body::Inline(&self.memory)
        }
    }

    /// Appends the next frames to `out`.
    pub fn step(&mut self, nonce: u64, out: &mut Vec<u8>) -> Step {
        match self.sent {
            Sent::Nothing => {
                self.sent = Sent::Memory;
                if self.memory.is_empty() {
                    return self.step(nonce, out);
                }
                put(nonce, &self.memory, out);
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
