//! The frames that a daemon sends on a reply pair.

use super::field::{Fields, Pairs, put_pairs, put_short_text};
use super::frame::{self, Frame, HEADER, Next, Stream};
use super::{Error, MAX_DATA, MAX_LOG, MAX_PATH, MAX_PIPED, MAX_REPLY_FIELDS, MAX_REPLY_HEAD, TooLarge};
use crate::abi::{Level, Site};

/// The kinds of these frames.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request is about to run.
    Started = 0x01,
    /// Status and headers.
    Head = 0x02,
    /// Some of the reply's body.
    Data = 0x03,
    /// The reply's body goes on with a part of the file whose descriptor comes along.
    File = 0x04,
    /// The request's body is needed.
    WantBody = 0x05,
    /// Records for the request's log.
    Log = 0x06,
    /// Not run: enqueue it again.
    Retry = 0x07,
    /// Nothing was sent: httpd answers.
    Refused = 0x08,
    /// The reply cannot be completed.
    Truncated = 0x09,
    /// The reply is complete.
    End = 0x0a,
    /// The reply's body goes on with bytes that are in the pipe.
    Piped = 0x0b,
}

impl frame::Kind for Kind {
    fn from_number(number: u8) -> Option<Kind> {
        Some(match number {
            0x01 => Kind::Started,
            0x02 => Kind::Head,
            0x03 => Kind::Data,
            0x04 => Kind::File,
            0x05 => Kind::WantBody,
            0x06 => Kind::Log,
            0x07 => Kind::Retry,
            0x08 => Kind::Refused,
            0x09 => Kind::Truncated,
            0x0a => Kind::End,
            0x0b => Kind::Piped,
            _ => return None,
        })
    }

    fn number(self) -> u8 {
        self as u8
    }

    fn lengths(self) -> (usize, usize) {
        match self {
            Kind::Started | Kind::WantBody | Kind::Retry | Kind::Truncated | Kind::End => (0, 0),
            // Status, empty reason, no headers: three numbers of two bytes.
            Kind::Head => (6, MAX_REPLY_HEAD),
            Kind::Data => (1, MAX_DATA),
            Kind::File => (16, 16),
            // Level, line, empty file, no text.
            Kind::Log => (7, 7 + MAX_PATH + MAX_LOG),
            Kind::Refused => (2, 2),
            Kind::Piped => (4, 4),
        }
    }
}

/// A frame without contents: `STARTED`, `WANT_BODY`, `RETRY`, `TRUNCATED`, `END`.
pub fn bare(kind: Kind, nonce: u64) -> [u8; HEADER] {
    Frame::encode(kind, 0, nonce)
}

/// The head of a `DATA` frame; `length` bytes of the reply's body follow, 1 to [`MAX_DATA`].
pub fn data(nonce: u64, length: usize) -> [u8; HEADER] {
    Frame::encode(Kind::Data, length, nonce)
}

/// A `FILE` frame: `length` bytes from `offset` of the regular file whose descriptor goes out with it.
pub fn file(nonce: u64, offset: u64, length: u64) -> [u8; HEADER + 16] {
    let mut bytes = [0; HEADER + 16];
    bytes[..HEADER].copy_from_slice(&Frame::encode(Kind::File, 16, nonce));
    bytes[HEADER..HEADER + 8].copy_from_slice(&offset.to_le_bytes());
    bytes[HEADER + 8..].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// A `PIPED` frame: the next `length` bytes of the reply's body, 1 to [`MAX_PIPED`], are in the pipe.
pub fn piped(nonce: u64, length: usize) -> [u8; HEADER + 4] {
    let mut bytes = [0; HEADER + 4];
    bytes[..HEADER].copy_from_slice(&Frame::encode(Kind::Piped, 4, nonce));
    bytes[HEADER..].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    bytes
}

/// A `REFUSED` frame: httpd answers with `status`.
pub fn refused(nonce: u64, status: u16) -> [u8; HEADER + 2] {
    let mut bytes = [0; HEADER + 2];
    bytes[..HEADER].copy_from_slice(&Frame::encode(Kind::Refused, 2, nonce));
    bytes[HEADER..].copy_from_slice(&status.to_le_bytes());
    bytes
}

/// Appends a `LOG` frame, or several, parted at ends of lines, for a text of more than [`MAX_LOG`] bytes. The name of a
/// file is cut after [`MAX_PATH`] bytes.
pub fn log(nonce: u64, level: Level, site: Site<'_>, text: &[u8], out: &mut Vec<u8>) {
    let file = &site.file[..site.file.len().min(MAX_PATH)];
    let mut rest = Some(text);
    while let Some(text) = rest {
        let end = match text.get(..MAX_LOG) {
            Some(most) if text.len() > MAX_LOG => most.iter().rposition(|&b| b == b'\n').unwrap_or(MAX_LOG),
            _ => text.len(),
        };
        let (piece, more) = text.split_at(end);
        rest = (!more.is_empty()).then(|| more.strip_prefix(b"\n").unwrap_or(more));
        out.extend(Frame::encode(Kind::Log, 7 + file.len() + piece.len(), nonce));
        out.push(level as u8);
        out.extend(site.line.to_le_bytes());
        // MAX_PATH is less than what two bytes can say.
        let _ = put_short_text(out, file, MAX_PATH, "name of a source file is");
        out.extend(piece);
    }
}

/// Appends a `HEAD` frame.
///
/// # Errors
/// When it is larger than [`MAX_REPLY_HEAD`] or has more than [`MAX_REPLY_FIELDS`] headers; then `out` is as before.
pub fn head<'h>(
    nonce: u64,
    status: u16,
    reason: &[u8],
    headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    out: &mut Vec<u8>,
) -> Result<(), TooLarge> {
    const WHAT: &str = "head of the reply is";
    let start = out.len();
    out.extend([0; HEADER]);
    out.extend(status.to_le_bytes());
    let put = put_short_text(out, reason, usize::MAX, WHAT)
        .and_then(|()| put_pairs(out, headers, MAX_REPLY_FIELDS, WHAT))
        .and_then(|()| match out.len() - start - HEADER {
            length if length <= MAX_REPLY_HEAD => Ok(length),
            _ => Err(TooLarge(WHAT)),
        });
    match put {
        Ok(length) => {
            out[start..start + HEADER].copy_from_slice(&Frame::encode(Kind::Head, length, nonce));
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Status and headers of a reply. Their contents are the daemon's word: check them before use.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    /// The status, 200 to 999.
    pub status: u16,
    /// The reason; may be empty.
    pub reason: &'a [u8],
    /// The headers, in order.
    pub headers: Pairs<'a>,
}

impl<'a> Head<'a> {
    fn decode(contents: &'a [u8]) -> Result<Head<'a>, Error> {
        let mut fields = Fields::whole(contents);
        let status = fields.u16()?;
        if !(200..=999).contains(&status) {
            return Err(Error::Invalid("status out of bounds"));
        }
        let reason = fields.short_text(usize::MAX)?;
        let headers = Pairs::take(&mut fields, MAX_REPLY_FIELDS)?;
        fields.end()?;
        Ok(Head {
            status,
            reason,
            headers,
        })
    }
}

/// What a daemon said.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The request is about to run.
    Started,
    /// Status and headers.
    Head(Head<'a>),
    /// The next bytes of the reply's body; not empty.
    Data(&'a [u8]),
    /// The reply's body goes on with this part of the file whose descriptor came along.
    File {
        /// Where the part begins; with `length` no more than `i64::MAX`.
        offset: u64,
        /// Its length.
        length: u64,
    },
    /// The reply's body goes on with so many bytes that are in the pipe.
    Piped(usize),
    /// The request's body is needed.
    WantBody,
    /// Records for the request's log, one for each line of the text, with what may be their place in a program.
    Log(Level, Site<'a>, &'a [u8]),
    /// How it ended; the last event.
    End(Ending),
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The reply is complete.
    Complete,
    /// The head was sent, but the reply cannot be completed: cut the client's connection.
    Truncated,
    /// Nothing was sent: answer with this status.
    Refused(u16),
    /// Not run: enqueue it again.
    Retry,
}

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing but log records has come.
    Waiting,
    /// The request runs.
    Running,
    /// The head is there.
    Answering,
    /// The ending is there.
    Ended,
}

/// Reads a daemon's frames of one exchange, and refuses those that come out of order.
#[derive(Clone, Debug)]
pub struct Reader {
    stream: Stream<Kind>,
    progress: Progress,
    body: bool,
}

impl Reader {
    /// Reads the frames of the exchange `nonce`. `body`: the request has a body that can be asked for.
    pub fn new(nonce: u64, body: bool) -> Reader {
        Reader {
            stream: Stream::new(nonce),
            progress: Progress::Waiting,
            body,
        }
    }

    /// Takes the next event from the front of `input`.
    ///
    /// # Errors
    /// `Incomplete`: keep what is left in `input`, receive more behind it, up to [`Reader::needed`] bytes at least;
    /// that is never more than a frame's head and [`MAX_REPLY_HEAD`]. After the ending: nothing more may come.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Event<'a>, Error> {
        if self.progress == Progress::Ended {
            return Err(if input.is_empty() {
                Error::Incomplete
            } else {
                Error::Invalid("frame after the end")
            });
        }
        match self.stream.next(input)? {
            Next::Piece(Kind::Data, piece) => {
                self.answering()?;
                Ok(Event::Data(piece))
            }
            Next::Whole(kind, contents) => self.whole(kind, contents),
            Next::Piece(..) => Err(Error::Invalid("frame of a wrong shape")),
        }
    }

    /// How many bytes must be at hand for the next event, those in `input` included.
    pub fn needed(&self, input: &[u8]) -> usize {
        self.stream.needed(input)
    }

    /// So many of the bytes that come next are the body's, if `input` is empty now: no frame begins among them, so no
    /// descriptor comes with them.
    pub fn ahead(&self) -> usize {
        self.stream.within().map_or(0, |(_, missing)| missing)
    }

    /// Whether the daemon has begun to run the request.
    pub fn begun(&self) -> bool {
        self.progress != Progress::Waiting
    }

    fn whole<'a>(&mut self, kind: Kind, contents: &'a [u8]) -> Result<Event<'a>, Error> {
        let mut fields = Fields::whole(contents);
        match kind {
            Kind::Log => {
                let level = Level::from_raw(fields.u8()?.into());
                let line = fields.u32()?;
                let file = fields.short_text(MAX_PATH)?;
                Ok(Event::Log(level, Site { file, line }, fields.rest()))
            }
            Kind::Started if self.progress == Progress::Waiting => {
                self.progress = Progress::Running;
                Ok(Event::Started)
            }
            Kind::Started => Err(Error::Invalid("started twice")),
            Kind::WantBody if self.body => {
                self.body = false;
                self.progress = self.progress.max_running();
                Ok(Event::WantBody)
            }
            Kind::WantBody => Err(Error::Invalid("asks for a body that is not there")),
            Kind::Head if self.progress != Progress::Answering => {
                let head = Head::decode(contents)?;
                self.progress = Progress::Answering;
                Ok(Event::Head(head))
            }
            Kind::Head => Err(Error::Invalid("a second head")),
            Kind::File => {
                self.answering()?;
                let (offset, length) = (fields.u64()?, fields.u64()?);
                match offset.checked_add(length) {
                    Some(end) if i64::try_from(end).is_ok() => Ok(Event::File { offset, length }),
                    _ => Err(Error::Invalid("part of a file out of bounds")),
                }
            }
            Kind::Piped => {
                self.answering()?;
                match fields.u32()? as usize {
                    length @ 1..=MAX_PIPED => Ok(Event::Piped(length)),
                    _ => Err(Error::Invalid("length of what is in the pipe is out of bounds")),
                }
            }
            Kind::End => {
                self.answering()?;
                self.ended(Ending::Complete)
            }
            Kind::Truncated => {
                self.answering()?;
                self.ended(Ending::Truncated)
            }
            Kind::Refused if self.progress == Progress::Answering => Err(Error::Invalid("refused after the head")),
            Kind::Refused => match fields.u16()? {
                // httpd answers with an error page of its own.
                status @ 400..=599 => self.ended(Ending::Refused(status)),
                _ => Err(Error::Invalid("refused with a status that is no error")),
            },
            Kind::Retry if self.progress == Progress::Waiting => self.ended(Ending::Retry),
            Kind::Retry => Err(Error::Invalid("retry of a request that has begun")),
            Kind::Data => Err(Error::Invalid("frame of a wrong shape")),
        }
    }

    fn answering(&self) -> Result<(), Error> {
        match self.progress {
            Progress::Answering => Ok(()),
            _ => Err(Error::Invalid("reply without a head")),
        }
    }

    fn ended<'a>(&mut self, ending: Ending) -> Result<Event<'a>, Error> {
        self.progress = Progress::Ended;
        Ok(Event::End(ending))
    }
}

impl Progress {
    fn max_running(self) -> Progress {
        match self {
            Progress::Waiting => Progress::Running,
            further => further,
        }
    }
}

#[cfg(test)]
mod tests;
