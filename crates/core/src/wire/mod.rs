//! What httpd and the daemons say to each other: values ↔ bytes, no sockets.
//!
//! Numbers are little-endian; text is bytes in no particular encoding, led by its length. Decoders borrow from their
//! input, check every length against a bound before they use it, and end in [`Error`]; they allocate nothing.
//!
//! # The two sockets
//! - The **queue** of a process group: one `SOCK_SEQPACKET` socketpair for the life of the server. httpd children send
//!   to it, daemons receive from it; one datagram is one request ([`request::Request`]). It carries one descriptor
//!   (`SCM_RIGHTS`), the far end of a reply pair, and a second one where replies are large: the end of a pipe that the
//!   daemon may write to.
//!   httpd shuts its end down for reading, so that a daemon cannot fill it.
//! - A **reply pair**: a `SOCK_STREAM` socketpair, made by the httpd child, used for one exchange at a time. httpd
//!   keeps the near end, and closes its copy of the far end as soon as the datagram is out. So while a request runs
//!   only the daemon that popped it holds the far end, and httpd reads the end of the stream when that daemon dies.
//!
//! Both directions of the reply pair are frames: a [`frame::Frame`] of 16 bytes (kind, length, nonce of the request),
//! then that many bytes. [`reply`] has those of the daemon, [`body`] those of httpd. [`reply::Reader`] and
//! [`body::Reader`] cut a stream into frames, check nonces, bounds and order, and hand long contents out in pieces as
//! they come, so that nobody has to hold a frame of data in memory.
//!
//! # One exchange, state by state
//!
//! ```text
//! httpd worker                                              daemon thread
//! ------------                                              -------------
//! QUEUED    sends the datagram + far end ─────────────────▶ (nobody: it waits in the kernel)
//!           sends HEAD_MORE … if the head did not fit ────▶
//!                                                           POPPED   decides, in this order:
//!                              (end of stream) ◀─────────────  past deadline, or requester gone: drop, close
//!                              RETRY + far end ◀─────────────  draining: send it back unread
//!                              STARTED         ◀─────────────  deadline, or waited long: announce; EPIPE = withdrawn, drop
//! RUNNING   (first frame)                                   RUNNING  runs the application
//!                              WANT_BODY       ◀─────────────  first read of wsgi.input
//!           BODY … BODY_END or BODY_ERROR ────────────────▶
//!                              LOG             ◀─────────────  any time before the end
//!                              HEAD DATA FILE… ◀─────────────
//!                              PIPED           ◀─────────────  large pieces, where a pipe came with the request
//!           PIPE_READ ────────────────────────────────────▶
//!                              END + far end   ◀─────────────  before close() of the iterable
//! ENDED     pools or drops the pair                         idle again
//! ```
//!
//! ## QUEUED: the request is certainly not running
//! httpd waits for the first frame, until the deadline or until its client is gone. To withdraw the request it calls
//! `shutdown(SHUT_RDWR)` on the near end and then reads once:
//! - A frame is there, sent between the last look and the shutdown: the request has begun; what it sends is lost (504).
//! - There is none. A request **with a deadline** has then certainly not begun and never will: its daemon sends
//!   `STARTED` before it runs it, and gets `EPIPE` for that. httpd answers 503 with `Retry-After`. The price is one
//!   more wake-up of the httpd worker, so httpd sets a deadline only where it may want to withdraw:
//!   with `queue-timeout`.
//! - There is none, and the request has no deadline. It may be running silently, if it was popped within
//!   [`STARTED_AFTER_US`]; later than that daemons announce it, too, and find the requester gone (`POLLHUP`) and drop it.
//!   httpd gives it up (504, or its client is gone anyway) without promising anything. Only when the group's daemons
//!   cannot be started, and no old one is left ([`State::Failed`](crate::supervision::State)), nobody can be running it,
//!   and httpd answers 503 as above.
//!
//! The deadline is a moment of `CLOCK_MONOTONIC`, the same in all processes. A daemon that pops a request after it
//! drops it.
//!
//! A head that is larger than a datagram ([`MAX_DATAGRAM`]) goes on in `HEAD_MORE` frames on the reply pair. httpd
//! sends them without waiting for anything, but must go on reading meanwhile; the daemon reads them before it runs.
//!
//! ## RUNNING
//! - `STARTED` at most once, first. `LOG` at any place: records of this request for its log in httpd.
//! - `WANT_BODY` at most once, and only when the datagram said that the body is on request ([`request::Body::Stream`]).
//!   It makes httpd send `100 Continue` where a client waits for that. Then httpd sends `BODY` frames as they come from
//!   the client and ends them with one `BODY_END`, or one `BODY_ERROR` whose text becomes the application's exception.
//!   Both directions flow at once: each side must read while it has something to write.
//! - `HEAD` once, then any number of `DATA` and `FILE`. The bytes of a `FILE` are not in the stream: a descriptor of
//!   a regular file (checked by httpd: `fstat`) comes with it, and the frame says offset and length.
//! - One of four ends it, and is the last of the exchange: `END` (complete), `TRUNCATED` (after `HEAD`: cannot be
//!   completed), `REFUSED` (instead of `HEAD`: httpd answers with that status), `RETRY` (instead of everything: not
//!   run, enqueue it again, at most a few times).
//! - The end of the stream without one of these: the daemon is gone. Before `HEAD` that is 502; after it, the client's
//!   connection is cut, never ended cleanly. The same for whatever a reader calls [`Error::Invalid`].
//!
//! - `PIPED` instead of `DATA`, where a pipe came with the request, and after httpd has said all that it has to say of head
//!   and body: so many bytes of the reply's body are in the pipe, all of them already. httpd takes them out and says
//!   `PIPE_READ`. Until then the daemon neither changes nor frees them, since pages may be in the pipe that are not copied
//!   (vmsplice(2)), and sends nothing more into the pipe. httpd holds both ends, and the only reading one: it never waits
//!   for a byte of the pipe, and what is promised and not there is [`Error::Invalid`].
//!
//! httpd's client is gone: httpd closes the near end, the daemon gets `EPIPE` or the end of the stream.
//!
//! ## ENDED: what becomes of the pair
//! The frame that ends an exchange carries the far end back (`SCM_RIGHTS`), if the pair is clean: the daemon has read
//! all that httpd sends in this exchange, which it knows when it read `BODY_END`, or when it sent no `WANT_BODY` and
//! the head is complete. Otherwise it closes the far end. httpd pools the pair for the next request of *the same
//! group and user* if a descriptor came, its socket inode is the one that httpd sent out ([`request::Request::inode`]),
//! httpd itself has sent `BODY_END` if it was asked for a body, and nothing is left to read. In all other cases it
//! closes the pair. The nonce is new and random in each exchange: who kept a copy of the far end cannot speak in a
//! later one.
//!
//! # Descriptors
//! A descriptor arrives with the bytes of the `sendmsg` that carried it, at the latest with the frame that it belongs
//! to, possibly earlier: one `sendmsg` may hold `HEAD`, `DATA` and `END`. So a receiver keeps what has come until a
//! `FILE` or an ending frame claims it. A sender starts a new `sendmsg` for each `FILE`, so that never more than one
//! waits; a receiver that gets a second one before the first was claimed, or finds one unclaimed at the end, drops the
//! pair.

pub mod body;
pub mod control;
pub mod field;
pub mod frame;
pub mod reply;
pub mod request;

use std::fmt;

/// Version of all that httpd, `wsgid` and daemons say to each other: it changes with every change of a message or of a
/// meaning. They are installed together, but a supervisor outlives graceful restarts of httpd, and reads the files of
/// daemons anew each time.
pub const VERSION: u16 = 4;

/// Largest datagram of the queue, in bytes. The queue's send buffer must hold many of them; the usual request has
/// 1 to 2 KB, and what is rare and larger is better kept in the two processes than in kernel memory.
pub const MAX_DATAGRAM: usize = 64 * 1024;

/// Largest request body that travels in the datagram. Half of it, so that body and an ordinary head fit together.
pub const MAX_INLINE_BODY: usize = 32 * 1024;

/// Largest head of a request: five times what httpd accepts without being told otherwise (100 fields of 8190 bytes).
/// A daemon keeps it in memory.
pub const MAX_HEAD: usize = 4 * 1024 * 1024;

/// Largest head of a reply. httpd keeps it in memory, and a hostile application may send it with every reply.
pub const MAX_REPLY_HEAD: usize = 1024 * 1024;

/// Most header fields of a reply: httpd's tables are searched from end to end for many of its own headers.
pub const MAX_REPLY_FIELDS: usize = 1000;

/// Longest text of a log frame, in bytes: its lines become records that stay together.
pub const MAX_LOG: usize = 64 * 1024;

/// Longest text that says why a body cannot be read.
pub const MAX_REASON: usize = 1024;

/// Longest path of a script (`PATH_MAX` in `limits.h`).
pub const MAX_PATH: usize = 4096;

/// Longest frame of data. Such frames are handed out in pieces, so this costs no memory: it keeps lengths far from the
/// end of every integer type.
pub const MAX_DATA: usize = 1 << 30;

/// Most bytes of the reply's body that may be in the pipe: the most that Linux lets everybody have there
/// (`/proc/sys/fs/pipe-max-size`).
pub const MAX_PIPED: usize = 1 << 20;

/// From this age on, in µs, a daemon announces a request by `STARTED` whether it has a deadline or not: who has waited
/// that long does not mind one more wake-up.
pub const STARTED_AFTER_US: u64 = 10_000;

/// Why bytes were not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// More bytes are needed; what is there is right so far.
    Incomplete,
    /// Never right, whatever follows; with the reason, for the log. Drop the connection.
    Invalid(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Incomplete => "incomplete",
            Error::Invalid(reason) => reason,
        })
    }
}

/// A value that does not fit into its message, with its name; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge(pub &'static str);

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} too large", self.0)
    }
}
