//! Reply pairs: the socketpairs over which daemons answer, and the descriptors that travel with the bytes.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recv, recvmsg, sendmsg, socketpair, sockopt,
};

use super::pipe::{Pipe, Pipes};
use super::relay::MOMENT;

/// A pair that no exchange uses.
pub struct Idle {
    near: Near,
    far: OwnedFd,
}

/// httpd's end of a pair, while an exchange uses it.
pub struct Near {
    socket: OwnedFd,
    /// Of the far end: what a daemon hands back must have the same.
    pub inode: u64,
    /// What is received comes through it. It stays with the pair: so there are as many as requests at a time, not as
    /// many as threads, and none is filled with zeros for each request.
    pub buffer: Vec<u8>,
    /// What comes of the reply's body without being copied by the daemon.
    pipe: Option<Pipe>,
}

/// Pairs of one group that wait for a request. They never leave the group, and so never a user.
pub struct Pool {
    idle: Mutex<Vec<Idle>>,
    /// Size of their buffers.
    buffer: usize,
    /// So many replies more may be large: one has been lately.
    large: AtomicU32,
    pipes: Pipes,
}

/// Bytes that may wait in each direction unless the administrator says otherwise: as many as the system grants, which is
/// twice its default on Linux. The side that sends much is woken half as often then.
const BUFFER: usize = 256 * 1024;
/// A reply whose body has pieces of that size is worth a pipe.
pub const LARGE: usize = 128 * 1024;
/// After so many replies that are not large, requests go out without a pipe.
const LARGE_FOR: u32 = 64;
/// Most pairs that one httpd child keeps for a group. Each is two descriptors, and there may be many groups.
const MOST_IDLE: usize = 32;

impl Pool {
    /// No pairs yet. `buffer`: how many bytes may wait in each direction; `None`: [`BUFFER`].
    pub fn new(buffer: Option<u64>, pipes: Pipes) -> Pool {
        Pool {
            idle: Mutex::default(),
            large: AtomicU32::new(0),
            pipes,
            buffer: buffer.map_or(BUFFER, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
        }
    }

    /// A pair: one that was used before, and in which nothing is left, or a new one.
    pub fn take(&self) -> Result<(Near, OwnedFd), Errno> {
        // The lock is held for no longer than it takes to get one.
        let next = || self.idle().pop();
        while let Some(Idle { mut near, far }) = next() {
            // Looked at now and not before: a daemon may have kept a copy of its end.
            if matches!(rustix::io::ioctl_fionread(&near.socket), Ok(0)) {
                self.equip(&mut near);
                return Ok((near, far));
            }
        }
        let (mut near, far) = new(self.buffer)?;
        self.equip(&mut near);
        Ok((near, far))
    }

    /// Gives the pair an empty pipe, if the reply is likely to be large.
    fn equip(&self, near: &mut Near) {
        if !self.expects_large() {
            near.pipe = None;
        } else if let Some(pipe) = &near.pipe {
            if !pipe.is_empty() {
                near.pipe = None;
            }
        } else {
            near.pipe = self.pipes.make();
        }
    }

    fn expects_large(&self) -> bool {
        self.large.load(Ordering::Relaxed) > 0
    }

    /// Notes whether a reply had large pieces.
    pub fn note(&self, large: bool) {
        if large {
            self.large.store(LARGE_FOR, Ordering::Relaxed);
        } else if self.expects_large() {
            let count = |left: u32| Some(left.saturating_sub(1));
            let before = self.large.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
            if before == Ok(1) {
                for Idle { near, .. } in self.idle().iter_mut() {
                    near.pipe = None;
                }
            }
        }
    }

    /// Keeps a pair for the next request, if `far` is the other end of `near`.
    pub fn put(&self, mut near: Near, far: OwnedFd) {
        if !self.expects_large() {
            near.pipe = None;
        }
        let same = inode(far.as_fd()).is_ok_and(|inode| inode == near.inode);
        let mut idle = self.idle();
        if same && idle.len() < MOST_IDLE {
            idle.push(Idle { near, far });
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new(buffer: usize) -> Result<(Near, OwnedFd), Errno> {
    let (socket, far) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    for end in [&socket, &far] {
        sockopt::set_socket_send_buffer_size(end, buffer)?;
    }
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(MOMENT))?;
    let inode = inode(far.as_fd())?;
    let near = Near {
        socket,
        inode,
        buffer: Vec::new(),
        pipe: None,
    };
    Ok((near, far))
}

fn inode(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    rustix::fs::fstat(fd).map(|stat| stat.st_ino)
}

/// Puts one datagram into a queue, with the far end of a pair and, if there is one, the daemon's end of its pipe.
///
/// # Errors
/// `AGAIN` when the queue is full.
pub fn enqueue(queue: BorrowedFd<'_>, datagram: &[u8], near: &Near, far: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let writing = near.pipe.as_ref().map_or(far, Pipe::writing);
    let descriptors = [far, writing];
    let count = 1 + usize::from(near.pipe.is_some());
    control.push(SendAncillaryMessage::ScmRights(&descriptors[..count]));
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(queue, &[IoSlice::new(datagram)], &mut control, flags).map(drop)
}

impl Near {
    /// Sends as much as goes without waiting.
    ///
    /// # Errors
    /// `AGAIN` when nothing goes.
    pub fn send(&self, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        sendmsg(&self.socket, slices, &mut SendAncillaryBuffer::default(), flags)
    }

    /// Receives what is there, with `wait` what comes within a [`MOMENT`]; how many bytes, 0 at the end of the stream.
    /// Descriptors that come along are kept in `files`, three at the most: one is more than a daemon may send.
    ///
    /// # Errors
    /// `AGAIN` when nothing is there, or came in time.
    pub fn receive(&self, buffer: &mut [u8], files: &mut VecDeque<OwnedFd>, wait: bool) -> Result<usize, Errno> {
        // Two may come (a file and, with the end, the far end); room for three tells when a daemon breaks that rule.
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut flags = RecvFlags::CMSG_CLOEXEC;
        flags.set(RecvFlags::DONTWAIT, !wait);
        let message = recvmsg(&self.socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                files.extend(received);
            }
        }
        Ok(message.bytes)
    }

    /// The same for bytes that no descriptor comes with; one that comes nevertheless is closed by the kernel. The space
    /// need not hold anything yet.
    ///
    /// # Errors
    /// As above.
    pub fn receive_bytes<'b>(&self, space: &'b mut [MaybeUninit<u8>], wait: bool) -> Result<&'b [u8], Errno> {
        let mut flags = RecvFlags::empty();
        flags.set(RecvFlags::DONTWAIT, !wait);
        recv(&self.socket, space, flags).map(|((bytes, _), _)| &*bytes)
    }

    /// Takes bytes out of the pipe, as many as fit, without waiting.
    ///
    /// # Errors
    /// When there is no pipe, or nothing in it.
    pub fn receive_piped<'b>(&self, space: &'b mut [MaybeUninit<u8>]) -> Result<&'b [u8], Errno> {
        self.pipe.as_ref().ok_or(Errno::NODATA)?.read(space)
    }

    /// Ends the exchange from this side: what a daemon sends from now on fails.
    pub fn shut(&self) {
        // An end that is already closed is as good.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}

impl AsFd for Near {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
