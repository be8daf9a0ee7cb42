//! The head of a frame on a reply pair: kind, length of what follows, nonce of the request.

use super::field::Fields;
use super::{Error, MAX_DATA};

/// Bytes of a frame's head.
pub const HEADER: usize = 16;

/// The kinds of frames of one direction.
pub trait Kind: Copy + Sized {
    /// The kind of that number.
    fn from_number(number: u8) -> Option<Self>;
    /// Its number.
    fn number(self) -> u8;
    /// The smallest and the largest length that its contents may have.
    fn lengths(self) -> (usize, usize);
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<K> {
    /// What it says.
    pub kind: K,
    /// Bytes of its contents.
    pub length: usize,
}

impl<K: Kind> Frame<K> {
    /// The head of a frame of the exchange `nonce`, for a `writev` in front of its contents. `length` is at most what
    /// the kind allows ([`Kind::lengths`]).
    pub fn encode(kind: K, length: usize, nonce: u64) -> [u8; HEADER] {
        // A length that is out of bounds cannot pass the other side's decoder; it is the sender's duty to cut.
        debug_assert!(length <= kind.lengths().1, "frame of kind {} too long", kind.number());
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let mut bytes = [0; HEADER];
        bytes[0] = kind.number();
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        bytes[8..].copy_from_slice(&nonce.to_le_bytes());
        bytes
    }

    /// Reads the head of a frame of the exchange `nonce` from the front of `bytes`.
    ///
    /// # Errors
    /// For an unknown kind, a length that the kind does not allow, or another exchange's nonce.
    pub fn decode(bytes: &[u8], nonce: u64) -> Result<Frame<K>, Error> {
        let mut fields = Fields::partial(bytes);
        let kind = K::from_number(fields.u8()?).ok_or(Error::Invalid("unknown kind of frame"))?;
        if fields.bytes(3)? != [0; 3] {
            return Err(Error::Invalid("unknown flags of a frame"));
        }
        let length = fields.u32()? as usize;
        let (least, most) = kind.lengths();
        if length < least || length > most {
            return Err(Error::Invalid("length of a frame is out of bounds"));
        }
        if fields.u64()? != nonce {
            return Err(Error::Invalid("frame of another request"));
        }
        Ok(Frame { kind, length })
    }
}

/// What stands next in a stream of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<'a, K> {
    /// A frame with its whole contents.
    Whole(K, &'a [u8]),
    /// Some of the contents of a frame that is handed out in pieces; never empty.
    Piece(K, &'a [u8]),
}

/// Cuts a stream into frames. Contents of kinds that allow [`MAX_DATA`] are handed out in pieces, all others whole.
#[derive(Clone, Debug)]
pub(super) struct Stream<K> {
    nonce: u64,
    /// The frame whose pieces are being handed out, and what is missing of it.
    within: Option<(K, usize)>,
}

impl<K: Kind> Stream<K> {
    pub(super) fn new(nonce: u64) -> Stream<K> {
        Stream { nonce, within: None }
    }

    /// Takes the next event from the front of `input`. With `Incomplete` the caller keeps what is left in `input` and
    /// adds to it; `needed` says how much must be there at least.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Next<'a, K>, Error> {
        loop {
            if let Some((kind, missing)) = self.within {
                let (piece, rest) = input.split_at(missing.min(input.len()));
                if piece.is_empty() {
                    return Err(Error::Incomplete);
                }
                *input = rest;
                self.within = Some((kind, missing - piece.len())).filter(|(_, missing)| *missing > 0);
                return Ok(Next::Piece(kind, piece));
            }
            let frame = Frame::<K>::decode(input, self.nonce)?;
            let contents = &input[HEADER..];
            if frame.kind.lengths().1 == MAX_DATA {
                *input = contents;
                self.within = (frame.length > 0).then_some((frame.kind, frame.length));
            } else {
                let (contents, rest) = contents.split_at_checked(frame.length).ok_or(Error::Incomplete)?;
                *input = rest;
                return Ok(Next::Whole(frame.kind, contents));
            }
        }
    }

    /// How many bytes must be at hand, those of `input` included, for the next event.
    pub(super) fn needed(&self, input: &[u8]) -> usize {
        if self.within.is_some() {
            return 1;
        }
        match Frame::<K>::decode(input, self.nonce) {
            Ok(frame) if frame.kind.lengths().1 != MAX_DATA => HEADER + frame.length,
            _ => HEADER,
        }
    }

    /// The frame whose pieces are being handed out, and how many bytes of it are missing.
    pub(super) fn within(&self) -> Option<(K, usize)> {
        self.within
    }

    /// Notes that so many of these bytes were taken from the front of what comes; more than are missing count as all.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.within = self
            .within
            .map(|(kind, missing)| (kind, missing.saturating_sub(bytes)))
            .filter(|(_, missing)| *missing > 0);
    }

    /// Whether the stream stands between two frames.
    pub(super) fn between(&self) -> bool {
        self.within.is_none()
    }
}
