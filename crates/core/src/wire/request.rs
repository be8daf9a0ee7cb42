//! The datagram of the queue: one request.
//!
//! | bytes | field |
//! |---|---|
//! | 4 | magic |
//! | 2 | version |
//! | 1 | body mode |
//! | 1 | 0 |
//! | 8 | nonce |
//! | 8 | enqueue time, µs of `CLOCK_MONOTONIC` |
//! | 8 | deadline, the same clock; 0: none |
//! | 8 | socket inode of the far end |
//! | 4 | application id |
//! | 4 | length of the head |
//! | … | the head, as much of it as fits |
//! | … | the body, when it is inline (then the head is whole) |

use super::field::{Fields, Pairs, put_pairs, put_short_text};
use super::{Error, MAX_DATAGRAM, MAX_HEAD, MAX_INLINE_BODY, MAX_PATH, STARTED_AFTER_US, TooLarge, VERSION};

/// First bytes of each datagram.
pub const MAGIC: [u8; 4] = *b"WSGQ";

/// Bytes of a datagram before the head.
pub const PRELUDE: usize = 48;

/// Where the request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// There is none.
    None,
    /// In the datagram, whole.
    Inline(&'a [u8]),
    /// httpd sends it when it is asked by `WANT_BODY`.
    Stream,
}

/// What is known of a request before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// A random number that names the exchange.
    pub nonce: u64,
    /// When it was enqueued, in µs of `CLOCK_MONOTONIC`.
    pub enqueued: u64,
    /// When it must have begun, on the same clock. It is announced by `STARTED`.
    pub deadline: Option<u64>,
    /// Inode of the far end of the reply pair (`st_ino` by `fstat`): what comes back at the end must be the same.
    pub inode: u64,
    /// Which of the applications that the configuration names; 0: none of them, the head's script counts.
    pub application: u32,
    /// Where the body is.
    pub body: Body<'a>,
    /// The head, or its beginning.
    head: &'a [u8],
    head_length: usize,
}

impl<'a> Request<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// Never `Incomplete`: a datagram is whole. One whose head goes on in frames is right.
    pub fn decode(datagram: &'a [u8]) -> Result<Request<'a>, Error> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(Error::Invalid("datagram longer than it may be"));
        }
        let mut fields = Fields::whole(datagram);
        if fields.bytes(4)? != MAGIC {
            return Err(Error::Invalid("not a request"));
        }
        if fields.u16()? != VERSION {
            return Err(Error::Invalid("request of another version of mod_wsgi.so"));
        }
        let mode = fields.u8()?;
        if fields.u8()? != 0 {
            return Err(Error::Invalid("unknown flags of a request"));
        }
        let nonce = fields.u64()?;
        let enqueued = fields.u64()?;
        let deadline = Some(fields.u64()?).filter(|&deadline| deadline != 0);
        let inode = fields.u64()?;
        let application = fields.u32()?;
        let head_length = fields.u32()? as usize;
        if head_length > MAX_HEAD {
            return Err(Error::Invalid("head longer than it may be"));
        }
        let head = fields.bytes(head_length.min(fields.rest().len()))?;
        let inline = fields.rest();
        let body = match mode {
            0 => Body::None,
            1 if head.len() < head_length => return Err(Error::Invalid("body before the end of the head")),
            1 if inline.len() > MAX_INLINE_BODY => return Err(Error::Invalid("inline body longer than it may be")),
            1 => Body::Inline(inline),
            2 => Body::Stream,
            _ => return Err(Error::Invalid("unknown body mode")),
        };
        if !inline.is_empty() && mode != 1 {
            return Err(Error::Invalid("message goes on after its last field"));
        }
        Ok(Request {
            nonce,
            enqueued,
            deadline,
            inode,
            application,
            body,
            head,
            head_length,
        })
    }

    /// As much of the head as the datagram holds. If nothing is missing, [`Head::decode`] reads it; otherwise add what
    /// comes in `HEAD_MORE` frames first.
    pub fn head(&self) -> &'a [u8] {
        self.head
    }

    /// Whether nobody waits for it any more; `now` in µs of `CLOCK_MONOTONIC`. Drop it then.
    pub fn expired(&self, now: u64) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Whether `STARTED` goes out before it runs.
    pub fn announced(&self, now: u64) -> bool {
        self.deadline.is_some() || now.saturating_sub(self.enqueued) >= STARTED_AFTER_US
    }

    /// Bytes of the head that come in `HEAD_MORE` frames.
    pub fn head_missing(&self) -> usize {
        self.head_length - self.head.len()
    }
}

/// What httpd tells about a new request; the rest is in its head.
#[derive(Clone, Copy, Debug)]
pub struct New<'a> {
    /// As in [`Request`], and so are the next four.
    pub nonce: u64,
    /// µs of `CLOCK_MONOTONIC`
    pub enqueued: u64,
    /// µs of `CLOCK_MONOTONIC`
    pub deadline: Option<u64>,
    /// Inode of the far end
    pub inode: u64,
    /// Number of the application, or 0
    pub application: u32,
    /// Where the body is. An inline body that does not fit is sent on request: see [`Encoded::body_inline`].
    pub body: Body<'a>,
}

/// What became of a request in the buffer it was encoded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// So many bytes from the front of the buffer are the datagram. The rest, if any, goes out in `HEAD_MORE` frames.
    pub datagram: usize,
    /// The body is in the datagram. If not, although it was meant to be, keep it for `WANT_BODY`.
    pub body_inline: bool,
}

/// Writes a request to `out`, whose former contents are dropped.
///
/// # Errors
/// When the head is larger than [`MAX_HEAD`], or has a part that is larger than it may be.
pub fn encode<'v>(
    new: &New<'_>,
    head: &Head<'_>,
    variables: impl IntoIterator<Item = (&'v [u8], &'v [u8])>,
    out: &mut Vec<u8>,
) -> Result<Encoded, TooLarge> {
    out.clear();
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend([0; 2]);
    out.extend(new.nonce.to_le_bytes());
    out.extend(new.enqueued.to_le_bytes());
    out.extend(new.deadline.unwrap_or(0).to_le_bytes());
    out.extend(new.inode.to_le_bytes());
    out.extend(new.application.to_le_bytes());
    out.extend([0; 4]);
    head.put(variables, out)?;
    let head_length = out.len() - PRELUDE;
    let announced = u32::try_from(head_length)
        .ok()
        .filter(|_| head_length <= MAX_HEAD)
        .ok_or(TooLarge("head of the request is"))?;
    out[PRELUDE - 4..PRELUDE].copy_from_slice(&announced.to_le_bytes());
    let (mode, body_inline) = match new.body {
        Body::None => (0, false),
        Body::Inline(body) if body.len() <= MAX_INLINE_BODY && out.len() + body.len() <= MAX_DATAGRAM => {
            out.extend(body);
            (1, true)
        }
        Body::Inline(_) | Body::Stream => (2, false),
    };
    out[6] = mode;
    Ok(Encoded {
        datagram: out.len().min(MAX_DATAGRAM),
        body_inline,
    })
}

/// What to run; the fields of [`crate::abi::Request`] with the same names, but for `variables`, which are a list of
/// their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head<'a> {
    /// The script to load.
    pub script: &'a [u8],
    /// Its modification time, µs since the epoch; negative: unknown.
    pub script_mtime: i64,
    /// When httpd got the request, µs since the epoch.
    pub request_start: i64,
    /// The interpreter to run in; empty: the main one.
    pub application_group: &'a [u8],
    /// Attribute of the script's module to call.
    pub callable_object: &'a [u8],
    /// A changed script is loaded anew.
    pub reloading: bool,
    /// `wsgi.url_scheme` is `https`.
    pub https: bool,
    /// The client asked by HEAD.
    pub header_only: bool,
    /// The request does not count as activity for `inactivity-timeout` (`WSGIIgnoreActivity`).
    pub ignore_activity: bool,
    /// The least important level that the request's log shows; a number of [`crate::abi::Level`].
    pub log_level: u8,
    /// How often draining daemons have handed it back.
    pub retries: u8,
}

impl<'a> Head<'a> {
    /// Reads a whole head: what it says, and the variables of the environ in order.
    ///
    /// # Errors
    /// Never `Incomplete`.
    pub fn decode(bytes: &'a [u8]) -> Result<(Head<'a>, Pairs<'a>), Error> {
        let mut fields = Fields::whole(bytes);
        let head = Head {
            script_mtime: fields.i64()?,
            request_start: fields.i64()?,
            reloading: fields.bool()?,
            https: fields.bool()?,
            header_only: fields.bool()?,
            ignore_activity: fields.bool()?,
            log_level: fields.u8()?,
            retries: fields.u8()?,
            script: fields.short_text(MAX_PATH)?,
            application_group: fields.short_text(usize::MAX)?,
            callable_object: fields.short_text(usize::MAX)?,
        };
        let variables = Pairs::take(&mut fields, usize::MAX)?;
        fields.end()?;
        Ok((head, variables))
    }

    fn put<'v>(
        &self,
        variables: impl IntoIterator<Item = (&'v [u8], &'v [u8])>,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLarge> {
        out.extend(self.script_mtime.to_le_bytes());
        out.extend(self.request_start.to_le_bytes());
        let flags = [self.reloading, self.https, self.header_only, self.ignore_activity];
        out.extend(flags.map(u8::from));
        out.extend([self.log_level, self.retries]);
        put_short_text(out, self.script, MAX_PATH, "path of the script is")?;
        put_short_text(
            out,
            self.application_group,
            usize::MAX,
            "name of the application group is",
        )?;
        put_short_text(out, self.callable_object, usize::MAX, "name of the callable object is")?;
        put_pairs(out, variables, usize::MAX, "head of the request is")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIABLES: [(&[u8], &[u8]); 3] = [(b"REQUEST_METHOD", b"GET"), (b"PATH_INFO", b""), (b"\xff", b"\0")];

    fn new(body: Body<'_>) -> New<'_> {
        New {
            nonce: u64::MAX - 1,
            enqueued: 5_000_000,
            deadline: Some(6_000_000),
            inode: 4711,
            application: 3,
            body,
        }
    }

    fn head() -> Head<'static> {
        Head {
            script: b"/srv/app.wsgi",
            script_mtime: -1,
            request_start: 1_700_000_000_000_000,
            application_group: b"",
            callable_object: b"application",
            reloading: true,
            https: false,
            header_only: true,
            ignore_activity: false,
            log_level: 4,
            retries: 1,
        }
    }

    #[test]
    fn roundtrip() {
        let mut out = vec![1, 2, 3];
        for body in [Body::None, Body::Stream, Body::Inline(b""), Body::Inline(b"a=1")] {
            let new = new(body);
            let encoded = encode(&new, &head(), VARIABLES, &mut out).unwrap();
            assert_eq!(encoded.datagram, out.len());
            assert_eq!(encoded.body_inline, matches!(body, Body::Inline(_)));
            let request = Request::decode(&out).unwrap();
            assert_eq!(request.nonce, new.nonce);
            assert_eq!(request.enqueued, new.enqueued);
            assert_eq!(request.deadline, new.deadline);
            assert_eq!(request.inode, new.inode);
            assert_eq!(request.application, new.application);
            assert_eq!(request.body, body);
            assert_eq!(request.head_missing(), 0);
            let (decoded, variables) = Head::decode(request.head()).unwrap();
            assert_eq!(decoded, head());
            assert_eq!(variables.collect::<Vec<_>>(), VARIABLES);
        }
        let without = New {
            deadline: None,
            ..new(Body::None)
        };
        encode(&without, &head(), [], &mut out).unwrap();
        assert_eq!(Request::decode(&out).unwrap().deadline, None);
    }

    #[test]
    fn times() {
        let mut out = Vec::new();
        encode(&new(Body::None), &head(), [], &mut out).unwrap();
        let request = Request::decode(&out).unwrap();
        assert!(request.announced(5_000_000));
        assert!(!request.expired(5_999_999) && request.expired(6_000_000));
        let free = Request {
            deadline: None,
            ..request
        };
        assert!(!free.announced(4_000_000) && !free.announced(5_009_999) && free.announced(5_010_000));
        assert!(!free.expired(u64::MAX));
    }

    #[test]
    fn large_heads_go_on_in_frames() {
        let value = vec![b'c'; 100_000];
        let large: [(&[u8], &[u8]); 2] = [(b"HTTP_COOKIE", &value), (b"LAST", b"1")];
        let mut out = Vec::new();
        let encoded = encode(&new(Body::Inline(b"body")), &head(), large, &mut out).unwrap();
        assert_eq!(encoded.datagram, MAX_DATAGRAM);
        assert!(!encoded.body_inline);
        let (datagram, rest) = out.split_at(encoded.datagram);
        let request = Request::decode(datagram).unwrap();
        assert_eq!(request.body, Body::Stream);
        assert_eq!(request.head_missing(), rest.len());
        let whole = [request.head(), rest].concat();
        let (_, variables) = Head::decode(&whole).unwrap();
        assert_eq!(variables.collect::<Vec<_>>(), large);
    }

    #[test]
    fn bodies_that_do_not_fit_are_sent_on_request() {
        let mut out = Vec::new();
        let body = vec![0; MAX_INLINE_BODY];
        assert!(
            encode(&new(Body::Inline(&body)), &head(), VARIABLES, &mut out)
                .unwrap()
                .body_inline
        );
        let body = vec![0; MAX_INLINE_BODY + 1];
        let encoded = encode(&new(Body::Inline(&body)), &head(), VARIABLES, &mut out).unwrap();
        assert!(!encoded.body_inline);
        assert_eq!(Request::decode(&out).unwrap().body, Body::Stream);
        // A head that leaves no room for it.
        let value = vec![b'c'; 40_000];
        let encoded = encode(
            &new(Body::Inline(&body[1..])),
            &head(),
            [(&b"A"[..], &value[..])],
            &mut out,
        );
        assert!(!encoded.unwrap().body_inline);
        assert_eq!(Request::decode(&out).unwrap().head_missing(), 0);
    }

    #[test]
    fn too_large() {
        let mut out = Vec::new();
        let value = vec![b'c'; MAX_HEAD];
        assert!(encode(&new(Body::None), &head(), [(&b"A"[..], &value[..])], &mut out).is_err());
        let script = Head {
            script: &[b'/'; MAX_PATH + 1],
            ..head()
        };
        assert_eq!(
            encode(&new(Body::None), &script, [], &mut out),
            Err(TooLarge("path of the script is"))
        );
    }

    #[test]
    fn every_truncation_is_noticed() {
        let mut out = Vec::new();
        encode(&new(Body::None), &head(), VARIABLES, &mut out).unwrap();
        for end in 0..out.len() {
            match Request::decode(&out[..end]) {
                Err(Error::Invalid(_)) => assert!(end < PRELUDE, "{end}"),
                Ok(request) => assert_eq!(request.head_missing(), out.len() - end),
                Err(Error::Incomplete) => panic!("a datagram is whole: {end}"),
            }
        }
        let whole = Request::decode(&out).unwrap().head();
        for end in 0..whole.len() {
            assert!(matches!(Head::decode(&whole[..end]), Err(Error::Invalid(_))), "{end}");
        }
    }

    #[test]
    fn refused() {
        let mut good = Vec::new();
        encode(&new(Body::Stream), &head(), VARIABLES, &mut good).unwrap();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let more = [&good[..], b"x"].concat();
        let mut inline_early = good[..good.len() - 1].to_vec();
        inline_early[6] = 1;
        let mut inline_long = good.clone();
        inline_long[6] = 1;
        inline_long.extend(vec![0; MAX_INLINE_BODY + 1]);
        let cases: &[(Vec<u8>, &str)] = &[
            (with(0, b'x'), "not a request"),
            (with(4, 99), "request of another version of mod_wsgi.so"),
            (with(6, 3), "unknown body mode"),
            (with(7, 1), "unknown flags of a request"),
            (with(PRELUDE - 1, 1), "head longer than it may be"),
            (more, "message goes on after its last field"),
            (inline_early, "body before the end of the head"),
            (inline_long, "inline body longer than it may be"),
            (vec![0; MAX_DATAGRAM + 1], "datagram longer than it may be"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Request::decode(bytes), Err(Error::Invalid(expected)));
        }
    }
}
