//! The group's queue, from which a daemon takes its requests.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use wsgi_core::wire::MAX_DATAGRAM;

use crate::stats::micros;

/// The receiving end, shared with the group's other daemons.
///
/// The leader waits in `epoll`, which registers with the queue exclusively: a datagram wakes one daemon, and passes by
/// those that have nobody waiting. (Waiting in `recvmsg` would do the same, but cannot be called off without losing
/// the datagram that may have been taken just then.)
pub struct Queue {
    socket: OwnedFd,
    epoll: OwnedFd,
    /// Readable when waiting is called off.
    off: OwnedFd,
    /// What of a datagram does not fit into the buffer of the thread that takes it. One for all, since one takes at a
    /// time: so much for each thread would be most of what a small application needs.
    overflow: Mutex<Vec<u8>>,
}

/// A request as it was taken.
pub struct Taken {
    /// Bytes of the datagram, at the front of the buffer.
    pub len: usize,
    /// The far end of its reply pair.
    pub far: Option<OwnedFd>,
    /// The pipe that large replies may go into.
    pub pipe: Option<OwnedFd>,
    /// When its thread began to wait for one, in µs of `CLOCK_MONOTONIC`.
    pub awaited: u64,
}

/// What a thread that waits for a request gets.
pub enum Popped {
    /// A request.
    Request(Taken),
    /// Nothing, since another daemon was faster.
    Nothing,
    /// Waiting was called off; a request that this daemon may have been chosen for comes along.
    Off(Option<Taken>),
}

/// How long wsgid may take to end a daemon whose queue has ended: where a group is taken out of the configuration, both see
/// the last of httpd's processes go that could use it.
const CLOSING: Duration = Duration::from_secs(2);

/// Bytes of a usual datagram, and some more.
const USUAL: usize = 4 * 1024;
const REQUEST: u64 = 0;
const OFF: u64 = 1;

impl Queue {
    /// Takes over the socket.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn new(socket: OwnedFd) -> Result<Queue, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let off = eventfd(0, EventfdFlags::CLOEXEC)?;
        let wait_for = EventFlags::IN | EventFlags::EXCLUSIVE;
        epoll::add(&epoll, &socket, EventData::new_u64(REQUEST), wait_for)?;
        epoll::add(&epoll, &off, EventData::new_u64(OFF), EventFlags::IN)?;
        Ok(Queue {
            socket,
            epoll,
            off,
            overflow: Mutex::default(),
        })
    }

    /// A buffer that holds a usual datagram; it grows with a larger one.
    pub fn buffer() -> Vec<u8> {
        vec![0; USUAL]
    }

    /// Waits for a request; one is likely to be there if the queue is `crowded`. One thread at a time.
    ///
    /// # Errors
    /// When the queue cannot be used any more.
    pub fn pop(&self, buffer: &mut Vec<u8>, crowded: bool) -> Result<Popped, Errno> {
        let awaited = micros();
        // An error is for the way below, which knows what it means.
        if crowded && let Ok(Some(taken)) = self.take(buffer, awaited) {
            return Ok(Popped::Request(taken));
        }
        let mut space = [MaybeUninit::uninit(); 2];
        let events = match epoll::wait(&self.epoll, &mut space[..], None) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(Popped::Nothing),
            Err(error) => return Err(error),
        };
        let has = |number| events.iter().any(|event| event.data.u64() == number);
        let off = has(OFF);
        if off {
            // From now on the others are woken; what this daemon was woken for, it must take.
            let _ = epoll::delete(&self.epoll, &self.socket);
        }
        let taken = match has(REQUEST).then(|| self.take(buffer, awaited)) {
            None => None,
            Some(Err(Errno::PIPE)) if off || self.called_off_within(CLOSING) => return Ok(Popped::Off(None)),
            Some(taken) => taken?,
        };
        Ok(match taken {
            taken if off => Popped::Off(taken),
            Some(taken) => Popped::Request(taken),
            None => Popped::Nothing,
        })
    }

    /// Calls waiting off, now and for ever.
    pub fn call_off(&self) {
        // A full counter has called it off, too.
        let _ = rustix::io::write(&self.off, &1u64.to_ne_bytes());
    }

    fn called_off_within(&self, limit: Duration) -> bool {
        let limit = Timespec::try_from(limit).ok();
        matches!(
            poll(&mut [PollFd::new(&self.off, PollFlags::IN)], limit.as_ref()),
            Ok(1..)
        )
    }

    fn take(&self, buffer: &mut Vec<u8>, awaited: u64) -> Result<Option<Taken>, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let mut overflow = self.overflow.lock().unwrap_or_else(PoisonError::into_inner);
        overflow.resize(MAX_DATAGRAM + 1, 0);
        let own = buffer.len();
        let mut slices = [IoSliceMut::new(buffer), IoSliceMut::new(&mut overflow)];
        let message = match recvmsg(&self.socket, &mut slices, &mut control, flags) {
            Ok(message) => message,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(more) = message.bytes.checked_sub(own) {
            buffer.extend_from_slice(&overflow[..more]);
        }
        drop(overflow);
        let (mut far, mut pipe) = (None, None);
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut received) = part {
                (far, pipe) = (received.next(), received.next());
            }
        }
        // All sending ends are gone: httpd has ended, or has no such group any more.
        if message.bytes == 0 && far.is_none() {
            return Err(Errno::PIPE);
        }
        Ok(Some(Taken {
            len: message.bytes,
            far,
            pipe,
            awaited,
        }))
    }
}

/// Whether nobody waits for an answer any more.
pub fn abandoned(far: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(far, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(1..)) && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}
