//! What a daemon sends through a reply pair, and the blocks that it holds back for a moment before.
//!
//! An application that yields small blocks one upon the other costs more in system calls and wake-ups than in Python. So
//! when they come in a rush they are held back, and the post sends what has come together (`super::post`): PEP 3333 lets
//! a server pass blocks on from another thread while the application goes on ("Buffering and Streaming").

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send as send_bytes, sendmsg};
use wsgi_core::wire::frame::HEADER;
use wsgi_core::wire::reply;

use crate::stats::micros;

/// How soon, in µs, a block follows upon the one before in a rush.
const SOON: u64 = 100;
/// So many blocks in a row make one.
const STREAK: u32 = 4;
/// Longest block that is held back: copying it costs less than sending it by itself.
const LONGEST: usize = 4 * 1024;
/// Most bytes that are held back at a time: as many as httpd receives at a time.
const MOST: usize = 16 * 1024;

/// Up to so many buffers need no list of their own.
const FEW_SLICES: usize = 8;
/// Buffers per `sendmsg`; the kernel takes 1024.
const MOST_SLICES: usize = 1000;

/// Blocks that are held back, as one frame.
#[derive(Default)]
pub struct Held {
    /// The frame, whose head is written when it goes out; empty if there is none.
    frame: Vec<u8>,
    /// Part of it has gone out, or could not: httpd has more than it takes at the moment.
    begun: bool,
    /// Small blocks in a row, each of which came soon.
    streak: u32,
    /// When the last one came.
    last: u64,
}

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is not held back.
    No,
    /// It is, as the first.
    First,
    /// It is, as others were before.
    More,
}

impl Held {
    /// Whether nothing is held back.
    pub fn is_empty(&self) -> bool {
        self.frame.is_empty()
    }

    /// So many bytes of the body come now.
    pub fn note(&mut self, bytes: usize) {
        let now = micros();
        let soon = now.saturating_sub(std::mem::replace(&mut self.last, now)) <= SOON;
        self.streak = if soon && bytes <= LONGEST {
            (self.streak + 1).min(STREAK)
        } else {
            0
        };
    }

    /// Holds a block back, if it is part of a rush.
    pub fn take(&mut self, block: &[u8]) -> Hold {
        if self.streak < STREAK || self.begun || self.frame.len() + block.len() > MOST {
            return Hold::No;
        }
        self.note(block.len());
        if self.streak < STREAK {
            return Hold::No;
        }
        let hold = if self.frame.is_empty() {
            self.frame.resize(HEADER, 0);
            Hold::First
        } else {
            Hold::More
        };
        self.frame.extend_from_slice(block);
        hold
    }

    /// Sends what is held back as far as that goes without waiting; whether nothing is left.
    ///
    /// # Errors
    /// When httpd is gone.
    pub fn send(&mut self, nonce: u64, socket: BorrowedFd<'_>) -> Result<bool, Errno> {
        self.close(nonce);
        while !self.frame.is_empty() {
            match send_bytes(socket, &self.frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => drop(self.frame.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.begun = false;
        Ok(true)
    }

    /// Sends all of the parts behind what is held back, the descriptors, two at the most, with the first bytes. Waits
    /// for httpd, which reads whatever it does otherwise.
    ///
    /// # Errors
    /// When httpd is gone.
    pub fn send_before(
        &mut self,
        nonce: u64,
        socket: BorrowedFd<'_>,
        parts: &[&[u8]],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), Errno> {
        if self.frame.is_empty() {
            return send(socket, parts, descriptors);
        }
        self.close(nonce);
        let all: Vec<&[u8]> = std::iter::once(&self.frame[..]).chain(parts.iter().copied()).collect();
        let result = send(socket, &all, descriptors);
        self.frame.clear();
        self.begun = false;
        result
    }

    /// Writes the frame's head, unless some of it has gone out.
    fn close(&mut self, nonce: u64) {
        if !self.frame.is_empty() && !self.begun {
            let length = self.frame.len() - HEADER;
            self.frame[..HEADER].copy_from_slice(&reply::data(nonce, length));
            self.begun = true;
        }
    }
}

/// Sends all of the parts, the descriptors, two at the most, with the first of them. Waits for httpd, which reads
/// whatever it does otherwise.
fn send(socket: BorrowedFd<'_>, parts: &[&[u8]], mut descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut few = [IoSlice::new(&[]); FEW_SLICES];
    let mut many;
    let mut slices = if parts.len() <= few.len() {
        for (slice, part) in few.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        &mut few[..parts.len()]
    } else {
        many = parts.iter().map(|part| IoSlice::new(part)).collect::<Vec<_>>();
        &mut many[..]
    };
    while slices.iter().any(|slice| !slice.is_empty()) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let most = slices.len().min(MOST_SLICES);
        match sendmsg(socket, &slices[..most], &mut control, SendFlags::NOSIGNAL) {
            Ok(count) => {
                descriptors = &[];
                IoSlice::advance_slices(&mut slices, count);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
