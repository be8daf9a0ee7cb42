//! Messages with descriptors over `SOCK_SEQPACKET` sockets (`sys/socket.h`, unix(7)).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sockopt,
};
use wsgi_core::wire::control::MAX_MESSAGE;

/// Most descriptors of a message that is sent here.
const SENT: usize = 3;

/// Most that a message can have (`SCM_MAX_FD` in the kernel's `net/scm.h`): none is left for the kernel to close, which
/// would be done in this process's time.
const RECEIVED: usize = 253;

/// Whether a socket takes descriptors (`SO_PASSRIGHTS` in `asm-generic/socket.h`, from Linux 6.16 on).
const PASSRIGHTS: libc::c_int = 83;

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

/// Has a socket take no descriptors: who sends one gets an error. Older kernels do not know that; see [`discard`].
pub fn refuse_descriptors(socket: &OwnedFd) {
    let (off, size): (libc::c_int, libc::socklen_t) = (0, 4);
    // SAFETY: reads one int, of that size. What it returns says whether the kernel knows it, which changes nothing here.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            PASSRIGHTS,
            (&raw const off).cast(),
            size,
        )
    };
}

/// Closes a stranger's descriptor without waiting: a socket of his may be set to wait for its peer when it is closed
/// (`SO_LINGER` in socket(7)), whoever closes it.
pub fn discard(descriptor: OwnedFd) {
    // What is no socket does not do that.
    let _ = sockopt::set_socket_linger(&descriptor, None);
}

/// Receives one message, without waiting.
pub fn receive(socket: impl AsFd) -> Received {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RECEIVED))];
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
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SENT))];
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
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    /// A socket that takes 50 s to close.
    fn lingering() -> (OwnedFd, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (peer, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        while socket.write(&[0; 65536]).is_ok() {}
        sockopt::set_socket_linger(&socket, Some(Duration::from_secs(50))).unwrap();
        (socket.into(), peer)
    }

    #[test]
    fn what_strangers_send_is_closed_at_once() {
        let (one, other) = pair().unwrap();
        let (descriptor, _peer) = lingering();
        send(&one, b"x", &[descriptor.as_fd()]).unwrap();
        drop(descriptor);
        let Received::Message(_, descriptors) = receive(&other) else {
            panic!("a message");
        };
        let begun = std::time::Instant::now();
        descriptors.into_iter().for_each(discard);
        assert!(begun.elapsed() < Duration::from_secs(40));
    }

    #[test]
    fn descriptors_can_be_refused() {
        let (one, other) = pair().unwrap();
        refuse_descriptors(&other);
        match send(&one, b"x", &[one.as_fd()]) {
            Err(error) => assert_eq!(error, Errno::PERM),
            // An older kernel.
            Ok(()) => assert!(matches!(receive(&other), Received::Message(_, sent) if sent.len() == 1)),
        }
        send(&other, b"x", &[one.as_fd()]).unwrap();
        assert!(matches!(receive(&one), Received::Message(_, sent) if sent.len() == 1));
    }

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
