//! The frames that httpd sends on a reply pair: the rest of a large head, the request's body, and what it has read.

use super::frame::{self, Frame, HEADER, Next, Stream};
use super::{Error, MAX_DATA, MAX_REASON};

/// The kinds of these frames.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// More of the request's head.
    HeadMore = 0x41,
    /// Some of the body.
    Body = 0x42,
    /// The body is complete.
    BodyEnd = 0x43,
    /// There is no more of the body: contents is the reason.
    BodyError = 0x44,
    /// What was in the pipe is read.
    PipeRead = 0x45,
}

impl frame::Kind for Kind {
    fn from_number(number: u8) -> Option<Kind> {
        Some(match number {
            0x41 => Kind::HeadMore,
            0x42 => Kind::Body,
            0x43 => Kind::BodyEnd,
            0x44 => Kind::BodyError,
            0x45 => Kind::PipeRead,
            _ => return None,
        })
    }

    fn number(self) -> u8 {
        self as u8
    }

    fn lengths(self) -> (usize, usize) {
        match self {
            Kind::HeadMore | Kind::Body => (1, MAX_DATA),
            Kind::BodyEnd | Kind::PipeRead => (0, 0),
            Kind::BodyError => (0, MAX_REASON),
        }
    }
}

/// The head of a `HEAD_MORE` frame; `length` bytes of the request's head follow, 1 to [`MAX_DATA`].
pub fn head_more(nonce: u64, length: usize) -> [u8; HEADER] {
    Frame::encode(Kind::HeadMore, length, nonce)
}

/// The head of a `BODY` frame; `length` bytes of the body follow, 1 to [`MAX_DATA`].
pub fn body(nonce: u64, length: usize) -> [u8; HEADER] {
    Frame::encode(Kind::Body, length, nonce)
}

/// A `BODY_END` frame.
pub fn body_end(nonce: u64) -> [u8; HEADER] {
    Frame::encode(Kind::BodyEnd, 0, nonce)
}

/// A `PIPE_READ` frame.
pub fn pipe_read(nonce: u64) -> [u8; HEADER] {
    Frame::encode(Kind::PipeRead, 0, nonce)
}

/// Appends a `BODY_ERROR` frame. The text becomes the message of the application's exception; it is cut after
/// [`MAX_REASON`] bytes.
pub fn body_error(nonce: u64, reason: &[u8], out: &mut Vec<u8>) {
    let reason = &reason[..reason.len().min(MAX_REASON)];
    out.extend(Frame::encode(Kind::BodyError, reason.len(), nonce));
    out.extend(reason);
}

/// What httpd said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The next bytes of the head; not empty.
    HeadMore(&'a [u8]),
    /// The next bytes of the body; not empty.
    Body(&'a [u8]),
    /// The body is complete.
    BodyEnd,
    /// No more of the body will come, for this reason.
    BodyError(&'a [u8]),
    /// What was in the pipe is read.
    PipeRead,
}

/// Reads httpd's frames of one exchange.
#[derive(Clone, Debug)]
pub struct Reader {
    stream: Stream<Kind>,
    /// Bytes of the head that are still to come.
    head_missing: usize,
    wanted: bool,
    ended: bool,
    piped: bool,
}

impl Reader {
    /// Reads the frames of the exchange `nonce`, in which `head_missing` bytes of the head did not fit into the
    /// datagram ([`super::request::Request::head_missing`]).
    pub fn new(nonce: u64, head_missing: usize) -> Reader {
        Reader {
            stream: Stream::new(nonce),
            head_missing,
            wanted: false,
            ended: false,
            piped: false,
        }
    }

    /// Remembers that `WANT_BODY` was sent: from now on frames of the body may come.
    pub fn want_body(&mut self) {
        self.wanted = true;
    }

    /// Remembers that `PIPED` was sent: httpd will say that it has read what is in the pipe.
    pub fn piped(&mut self) {
        self.piped = true;
    }

    /// Takes the next event from the front of `input`.
    ///
    /// # Errors
    /// `Incomplete`: keep what is left in `input`, receive more behind it, up to [`Reader::needed`] bytes at least.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Event<'a>, Error> {
        if self.ended && !self.piped {
            return Err(if input.is_empty() {
                Error::Incomplete
            } else {
                Error::Invalid("frame after the end of the body")
            });
        }
        let in_body = |event| match event {
            _ if self.head_missing > 0 => Err(Error::Invalid("frame of the body before the head is complete")),
            _ if !self.wanted => Err(Error::Invalid("frame of a body that nobody asked for")),
            _ if self.ended => Err(Error::Invalid("frame after the end of the body")),
            event => Ok(event),
        };
        match self.stream.next(input)? {
            Next::Piece(Kind::HeadMore, piece) => {
                self.head_missing = self
                    .head_missing
                    .checked_sub(piece.len())
                    .ok_or(Error::Invalid("head longer than announced"))?;
                Ok(Event::HeadMore(piece))
            }
            Next::Piece(Kind::Body, piece) => in_body(Event::Body(piece)),
            Next::Whole(Kind::BodyEnd, _) => {
                let event = in_body(Event::BodyEnd)?;
                self.ended = true;
                Ok(event)
            }
            Next::Whole(Kind::BodyError, reason) => {
                let event = in_body(Event::BodyError(reason))?;
                self.ended = true;
                Ok(event)
            }
            Next::Whole(Kind::PipeRead, _) if self.piped => {
                self.piped = false;
                Ok(Event::PipeRead)
            }
            Next::Whole(Kind::PipeRead, _) => Err(Error::Invalid("has read what was not in the pipe")),
            Next::Piece(..) | Next::Whole(..) => Err(Error::Invalid("frame of a wrong shape")),
        }
    }

    /// So many of the bytes that come next are the body's, if `input` is empty now: they may be received to where they
    /// are wanted, past this reader, and are then to be announced by [`Reader::skip`].
    pub fn ahead(&self) -> usize {
        match self.stream.within() {
            Some((Kind::Body, missing)) if self.wanted && self.head_missing == 0 => missing,
            _ => 0,
        }
    }

    /// So many of the bytes that were [`Reader::ahead`] have been received.
    pub fn skip(&mut self, bytes: usize) {
        self.stream.skip(bytes);
    }

    /// How many bytes must be at hand for the next event, those in `input` included.
    pub fn needed(&self, input: &[u8]) -> usize {
        self.stream.needed(input)
    }

    /// Whether httpd has nothing more to say in this exchange, so that the far end can be given back.
    pub fn clean(&self) -> bool {
        self.stream.between() && self.head_missing == 0 && (self.ended || !self.wanted) && !self.piped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: u64 = 0x0102_0304_0506_0708;

    fn events(reader: &mut Reader, mut input: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        loop {
            match reader.next(&mut input) {
                Ok(event) => events.push(format!("{event:?}")),
                Err(Error::Incomplete) => return events,
                Err(error) => {
                    events.push(error.to_string());
                    return events;
                }
            }
        }
    }

    fn frames(parts: &[(Kind, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (kind, contents) in parts {
            out.extend(Frame::encode(*kind, contents.len(), NONCE));
            out.extend(*contents);
        }
        out
    }

    #[test]
    fn head_and_body() {
        let mut reader = Reader::new(NONCE, 3);
        assert!(!reader.clean());
        let head = frames(&[(Kind::HeadMore, b"ab"), (Kind::HeadMore, b"c")]);
        assert_eq!(events(&mut reader, &head), ["HeadMore([97, 98])", "HeadMore([99])"]);
        assert!(reader.clean());
        reader.want_body();
        assert!(!reader.clean());
        let body = frames(&[(Kind::Body, b"xy"), (Kind::BodyEnd, b"")]);
        assert_eq!(events(&mut reader, &body), ["Body([120, 121])", "BodyEnd"]);
        assert!(reader.clean());
    }

    #[test]
    fn pipe() {
        for wanted in [false, true] {
            let mut reader = Reader::new(NONCE, 0);
            if wanted {
                reader.want_body();
                assert_eq!(events(&mut reader, &body_end(NONCE)), ["BodyEnd"]);
            }
            let mut early = reader.clone();
            assert!(events(&mut early, &pipe_read(NONCE))[0].contains(if wanted { "after the end" } else { "not in" }));
            reader.piped();
            assert!(!reader.clean());
            let mut late = reader.clone();
            let refused = if wanted { "after the end" } else { "nobody asked for" };
            assert!(events(&mut late, &body_end(NONCE))[0].contains(refused));
            assert_eq!(events(&mut reader, &pipe_read(NONCE)), ["PipeRead"]);
            assert!(reader.clean());
        }
    }

    #[test]
    fn bytes_received_past_the_reader() {
        let mut reader = Reader::new(NONCE, 0);
        reader.want_body();
        assert_eq!(reader.ahead(), 0);
        let input = frames(&[(Kind::Body, b"12345"), (Kind::BodyEnd, b"")]);
        assert_eq!(events(&mut reader, &input[..HEADER + 1]), ["Body([49])"]);
        assert_eq!(reader.ahead(), 4);
        reader.skip(3);
        assert_eq!(reader.ahead(), 1);
        assert!(!reader.clean());
        assert_eq!(events(&mut reader, &input[HEADER + 4..]), ["Body([53])", "BodyEnd"]);
        assert_eq!(reader.ahead(), 0);
        assert!(reader.clean());
    }

    #[test]
    fn constructors() {
        let mut out = Vec::new();
        out.extend(head_more(NONCE, 1));
        out.push(b'h');
        out.extend(body(NONCE, 1));
        out.push(b'b');
        body_error(NONCE, b"gone", &mut out);
        let expected = frames(&[(Kind::HeadMore, b"h"), (Kind::Body, b"b"), (Kind::BodyError, b"gone")]);
        assert_eq!(out, expected);
        assert_eq!(&body_end(NONCE)[..], frames(&[(Kind::BodyEnd, b"")]));
        let mut long = Vec::new();
        body_error(NONCE, &[b'x'; MAX_REASON + 1], &mut long);
        assert_eq!(long.len(), HEADER + MAX_REASON);
    }

    #[test]
    fn any_cut_gives_the_same_bytes() {
        let input = frames(&[
            (Kind::HeadMore, b"abc"),
            (Kind::Body, b"12345"),
            (Kind::Body, b"6"),
            (Kind::BodyError, b"why"),
        ]);
        for cut in 0..=input.len() {
            let mut reader = Reader::new(NONCE, 3);
            reader.want_body();
            let (mut head, mut body, mut reason) = (Vec::<u8>::new(), Vec::<u8>::new(), None);
            let mut kept: Vec<u8> = Vec::new();
            for part in [&input[..cut], &input[cut..]] {
                kept.extend(part);
                let mut rest = &kept[..];
                let error = loop {
                    match reader.next(&mut rest) {
                        Ok(Event::HeadMore(piece)) => head.extend(piece),
                        Ok(Event::Body(piece)) => body.extend(piece),
                        Ok(Event::BodyError(text)) => reason = Some(text.to_vec()),
                        Ok(Event::BodyEnd | Event::PipeRead) => panic!("there is none"),
                        Err(error) => break error,
                    }
                };
                assert_eq!(error, Error::Incomplete, "cut at {cut}");
                assert!(reader.needed(rest) > rest.len(), "cut at {cut}");
                kept = rest.to_vec();
            }
            assert_eq!(head, b"abc");
            assert_eq!(body, b"123456");
            assert_eq!(reason.as_deref(), Some(&b"why"[..]));
        }
    }

    #[test]
    fn refused() {
        type Parts<'a> = &'a [(Kind, &'a [u8])];
        let cases: &[(usize, bool, Parts<'_>, &str)] = &[
            (0, true, &[(Kind::HeadMore, b"x")], "head longer than announced"),
            (1, true, &[(Kind::HeadMore, b"xy")], "head longer than announced"),
            (1, true, &[(Kind::Body, b"x")], "before the head is complete"),
            (0, false, &[(Kind::Body, b"x")], "nobody asked for"),
            (0, false, &[(Kind::BodyEnd, b"")], "nobody asked for"),
            (0, true, &[(Kind::BodyEnd, b""), (Kind::Body, b"x")], "after the end"),
            (
                0,
                true,
                &[(Kind::BodyError, b""), (Kind::BodyEnd, b"")],
                "after the end",
            ),
        ];
        for (missing, wanted, parts, expected) in cases {
            let mut reader = Reader::new(NONCE, *missing);
            if *wanted {
                reader.want_body();
            }
            let seen = events(&mut reader, &frames(parts));
            assert!(seen.last().is_some_and(|last| last.contains(expected)), "{seen:?}");
        }
        let mut reader = Reader::new(NONCE, 0);
        reader.want_body();
        let daemon_kind = [1u8; HEADER];
        assert_eq!(events(&mut reader, &daemon_kind), ["unknown kind of frame"]);
        assert_eq!(events(&mut reader, &body(NONCE + 1, 1)), ["frame of another request"]);
        assert_eq!(
            events(&mut reader, &Frame::encode(Kind::Body, 0, NONCE)),
            ["length of a frame is out of bounds"]
        );
    }
}
