//! Messages with descriptors over `SOCK_SEQPACKET` sockets (`sys/socket.h`, unix(7)).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use wsgi_core::wire::control::MAX_MESSAGE;

/// Most descriptors of one message.
const DESCRIPTORS: usize = 3;

/// What was received.
#[derive(Debug)]
pub enum Received {
    /// A message and its descriptors, which close on exec.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// None at the moment.
    Nothing,
    /// There will be none any more: the other side is gone.
    End,
}

/// A pair of sockets for messages, closing on exec.
///
/// # Errors
/// The system's.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

/// Receives one message, without waiting.
pub fn receive(socket: impl AsFd) -> Received {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags) {
            Err(Errno::INTR) => {}
            other => break other,
        }
    };
    match received {
        Ok(message) if message.bytes == 0 => Received::End,
        Ok(message) => {
            let mut descriptors = Vec::new();
            for part in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(rights) = part {
                    descriptors.extend(rights);
                }
            }
            // A message that was cut is none of ours: the decoder refuses what is left of it.
            bytes.truncate(if message.flags.contains(ReturnFlags::TRUNC) {
                0
            } else {
                message.bytes
            });
            Received::Message(bytes, descriptors)
        }
        Err(Errno::AGAIN) => Received::Nothing,
        Err(_) => Received::End,
    }
}

/// Sends one message, without waiting.
///
/// # Errors
/// The system's; the other side is gone, or reads too slowly.
pub fn send(socket: impl AsFd, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    loop {
        match rustix::net::sendmsg(&socket, &[IoSlice::new(message)], &mut ancillary, flags) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_descriptors() {
        let (one, other) = pair().unwrap();
        assert!(matches!(receive(&other), Received::Nothing));
        let (passed, kept) = pair().unwrap();
        send(&one, b"first", &[passed.as_fd()]).unwrap();
        send(&one, b"second", &[]).unwrap();
        drop(passed);
        let Received::Message(bytes, descriptors) = receive(&other) else {
            panic!("a message");
        };
        assert_eq!((&bytes[..], descriptors.len()), (&b"first"[..], 1));
        send(&descriptors[0], b"through", &[]).unwrap();
        assert!(matches!(receive(&kept), Received::Message(bytes, _) if bytes == b"through"));
        assert!(matches!(receive(&other), Received::Message(bytes, none) if bytes == b"second" && none.is_empty()));
        drop(one);
        assert!(matches!(receive(&other), Received::End));
        assert_eq!(send(&other, b"x", &[]), Err(Errno::PIPE));
    }
}
