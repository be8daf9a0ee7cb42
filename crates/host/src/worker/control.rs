//! The socket to `wsgid`.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};
use wsgi_core::wire::control::MAX_MESSAGE;
use wsgi_core::wire::control::daemon::{FromDaemon, ToDaemon};

/// The daemon's end.
pub struct Control(OwnedFd);

/// What `wsgid` said, with the descriptors that came along. `None`: it is gone.
pub type Heard = Option<(ToDaemon, Vec<OwnedFd>)>;

impl Control {
    /// Takes over the socket.
    pub fn new(socket: OwnedFd) -> Control {
        Control(socket)
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// When it is none.
    pub fn hear(&self) -> Result<Heard, String> {
        let mut buffer = vec![0; MAX_MESSAGE + 1];
        let mut descriptors = Vec::new();
        let bytes = loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(&mut buffer)];
            match recvmsg(&self.0, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                // wsgid's sockets do not wait by themselves.
                Err(Errno::AGAIN) => {
                    let _ = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], None);
                }
                Err(_) => return Ok(None),
                Ok(message) => {
                    for part in ancillary.drain() {
                        if let RecvAncillaryMessage::ScmRights(received) = part {
                            descriptors.extend(received);
                        }
                    }
                    break message.bytes;
                }
            }
        };
        if bytes == 0 {
            return Ok(None);
        }
        let message = ToDaemon::decode(&buffer[..bytes]).map_err(|error| error.to_string())?;
        Ok(Some((message, descriptors)))
    }

    /// Says something, without waiting; false when `wsgid` is gone, or the message is none that it takes.
    pub fn say(&self, message: &FromDaemon) -> bool {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let Ok(message) = message.encode() else { return false };
        loop {
            match send(&self.0, &message, flags) {
                Err(Errno::INTR) => {}
                // It is there, and far behind: it has been told more than enough already.
                Err(Errno::AGAIN) => return true,
                result => return result.is_ok(),
            }
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
