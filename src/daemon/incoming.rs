//! What a daemon answers, on its way to the client. A daemon belongs to a tenant: nothing of it is taken on trust.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, fstat};
use wsgi_core::abi::Sent;
use wsgi_core::header;
use wsgi_core::wire::Error;
use wsgi_core::wire::reply::{Ending, Event, Head, Reader};

use super::group::Group;
use super::relay::Stop;
use super::upload::Upload;
use crate::httpd::log;
use crate::httpd::reply::{Files, Piece, Reply};
use crate::httpd::request::{Request, WriteLimit};
use crate::module::Wsgi;
use crate::target::Target;

/// The answer to one request.
pub struct Incoming<'r, 'g> {
    request: Request<'r>,
    group: &'g Group,
    /// Where it goes.
    pub reply: Reply<'r>,
    /// Cuts what comes into frames.
    pub reader: Reader,
    /// Descriptors that came along and were not claimed yet.
    pub files: VecDeque<OwnedFd>,
    /// The daemon asks for the body.
    pub body_wanted: bool,
    /// So many bytes of the reply are in the pipe, and come before the rest of what was received.
    pub piped: Option<usize>,
    /// The daemon has sent status and headers.
    pub headed: bool,
    /// Some of it was passed on.
    pub begun: bool,
    /// Path of this server whose answer the client gets instead.
    pub redirect: Option<Vec<u8>>,
    /// Statuses of errors are for httpd to answer (`WSGIErrorOverride`), and the one that is.
    overrides: bool,
    /// As above.
    pub overridden: Option<u16>,
    /// Bytes of the body that its `Content-Length` leaves to come.
    missing: Option<u64>,
    /// A file that waits for what follows it.
    held: Option<Piece<'static>>,
    /// How long the client may keep a write waiting.
    write_limit: Option<WriteLimit<'r>>,
}

impl<'r, 'g> Incoming<'r, 'g> {
    /// The answer of which nothing has come; with `body` the daemon may ask for the request's.
    pub fn new(
        request: Request<'r>,
        target: &Target<'r>,
        group: &'g Group,
        nonce: u64,
        body: bool,
    ) -> Incoming<'r, 'g> {
        let files = Files {
            sendfile: target.files.sendfile,
            mmap: false, // A daemon could cut its file short, and so end this process.
        };
        Incoming {
            request,
            group,
            reply: Reply::new(request, files),
            reader: Reader::new(nonce, body),
            files: VecDeque::new(),
            body_wanted: false,
            piped: None,
            headed: false,
            begun: false,
            redirect: None,
            overrides: target.error_override,
            overridden: None,
            missing: None,
            held: None,
            write_limit: None,
        }
    }

    /// Takes all events that are whole, up to one that says that bytes are in the pipe; passes on what they say to the
    /// client.
    pub fn take(&mut self, input: &mut &[u8], upload: &Upload<'_>) -> Result<Option<Ending>, Stop> {
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
                Ok(Event::Piped(length)) => {
                    self.count(length as u64)?;
                    self.piped = Some(length);
                    break None;
                }
                Ok(Event::WantBody) => {
                    self.body_wanted = true;
                    if !self.headed {
                        upload.invite();
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
        if ending.is_none() && self.piped.is_none() {
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

    /// Passes bytes on that came through the pipe.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if self.redirect.is_some() || self.overridden.is_some() {
            return Ok(());
        }
        self.begun = true;
        match self.reply.send(std::iter::once(Piece::Bytes(bytes)), false) {
            Sent::Ok => Ok(()),
            Sent::ClientGone => Err(Stop::ClientGone),
            Sent::Failed => Err(Stop::FilterAnswered),
        }
    }

    /// Puts the head into the request, checked as if the application had given it here.
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
}
