//! The control socket to the supervisor.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};
use wsgi_core::wire::control::MAX_MESSAGE;
use wsgi_core::wire::control::parent::{Begin, FromSupervisor, Group, ToSupervisor};

/// How long the supervisor may take to accept a configuration. It only reads it; starting daemons comes after.
const ACCEPT: Duration = Duration::from_secs(10);

/// Why a configuration is not in effect.
pub enum Refusal {
    /// The supervisor does not understand it, or its answer is not understood: it is of another version.
    Foreign,
    /// With the reason.
    Reason(String),
}

impl From<String> for Refusal {
    fn from(reason: String) -> Refusal {
        Refusal::Reason(reason)
    }
}

impl Refusal {
    /// What is told of it.
    pub fn text(self) -> String {
        match self {
            Refusal::Foreign => {
                "WSGI0760: mod_wsgi.so and wsgid are of different versions: install both from one build, \
                                 and restart httpd (gracefully, if it runs)"
                    .to_owned()
            }
            Refusal::Reason(reason) => reason,
        }
    }
}

/// httpd's end.
pub struct Control<'c>(BorrowedFd<'c>);

impl<'c> Control<'c> {
    /// The end that this descriptor is.
    pub fn new(fd: BorrowedFd<'c>) -> Control<'c> {
        Control(fd)
    }

    /// Hands a whole configuration over, and waits until it is accepted. With its begin and its end go these descriptors.
    ///
    /// # Errors
    /// Why it was refused, or that the supervisor does not answer.
    pub fn configure(
        &self,
        begin: Begin,
        carried: &[BorrowedFd<'_>],
        groups: Vec<(Group, OwnedFd, [Option<BorrowedFd<'_>>; 2])>,
        last: &[BorrowedFd<'_>],
    ) -> Result<(), Refusal> {
        let generation = begin.generation;
        self.send(&ToSupervisor::Begin(begin), carried)?;
        for (group, queue, others) in groups {
            let carried: Vec<_> = [Some(queue.as_fd())].into_iter().chain(others).flatten().collect();
            self.send(&ToSupervisor::Group(group), &carried)?;
        }
        self.send(&ToSupervisor::End, last)?;
        let deadline = Instant::now() + ACCEPT;
        let mut message = vec![0; MAX_MESSAGE];
        loop {
            let count = self.receive(&mut message, deadline)?;
            match FromSupervisor::decode(&message[..count]) {
                Ok(FromSupervisor::Applied(number)) if number == generation => return Ok(()),
                Ok(FromSupervisor::Refused(0, _)) | Err(_) => return Err(Refusal::Foreign),
                Ok(FromSupervisor::Refused(number, reason)) if number == generation => {
                    return Err(format!("WSGI0150: {}", String::from_utf8_lossy(&reason)).into());
                }
                // The answer to an earlier configuration, whose sender did not wait for it.
                Ok(_) => {}
            }
        }
    }

    /// Tells the supervisor to end. One that cannot be told has ended.
    pub fn stop(&self) {
        let _ = self.send(&ToSupervisor::Stop, &[]);
    }

    /// Waits until the supervisor has ended, at most for that long.
    pub fn wait(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut message = vec![0; MAX_MESSAGE];
        // Its answers are of no interest any more, only its end.
        while self.receive(&mut message, deadline).is_ok() {}
    }

    fn send(&self, message: &ToSupervisor, descriptors: &[BorrowedFd<'_>]) -> Result<(), String> {
        let bytes = message
            .encode()
            .map_err(|error| format!("WSGI0152: the configuration of daemons: {error}"))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let deadline = Instant::now() + ACCEPT;
        loop {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match sendmsg(self.0, &[IoSlice::new(&bytes)], &mut control, flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.ready(PollFlags::OUT, deadline)?,
                Err(error) => return Err(format!("WSGI0153: wsgid cannot be reached: {error}")),
            }
        }
    }

    fn receive(&self, message: &mut [u8], deadline: Instant) -> Result<usize, String> {
        loop {
            self.ready(PollFlags::IN, deadline)?;
            match recv(self.0, &mut message[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err("WSGI0153: wsgid has ended".into()),
                Ok((count, _)) => return Ok(count),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(format!("WSGI0153: wsgid cannot be reached: {error}")),
            }
        }
    }

    fn ready(&self, events: PollFlags, deadline: Instant) -> Result<(), String> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(|error| error.to_string())?;
            match poll(&mut [PollFd::new(&self.0, events)], Some(&timeout)) {
                Ok(0) => return Err("WSGI0154: wsgid does not answer".into()),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(format!("WSGI0153: wsgid cannot be reached: {error}")),
            }
        }
    }
}
