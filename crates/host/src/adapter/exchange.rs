//! What the adapter asks of the side that talks to the client.

use std::fmt;

use wsgi_core::abi::{Level, Sent, Site};

use super::response::Head;
use crate::python::Room;

/// One request's way to its client. Its functions are called detached from Python, by one thread at a time.
pub trait Exchange: Send {
    /// Reads some of the request body, waiting for at least one byte; 0 is its end. No room reads nothing, but tells a
    /// client that waits for `100 Continue` to go on.
    ///
    /// # Errors
    /// The reason why there is no more, worded for the application's exception.
    fn read(&mut self, room: &mut Room<'_>) -> Result<usize, String>;

    /// Hands over status and headers; they go out with the first `write` or `file`.
    fn head(&mut self, head: &Head);

    /// Sends the pieces and flushes. With `end` the reply is complete.
    fn write(&mut self, pieces: &[&[u8]], end: bool) -> Sent;

    /// Takes a block that the reply goes on with, to send it a moment later from another thread; false if that cannot be,
    /// and it must be written. Unlike the others this never waits, and may be called attached.
    fn post(&mut self, _block: &[u8]) -> bool {
        false
    }

    /// Sends `len` bytes from `offset` of the regular file behind the descriptor; then the reply is complete.
    fn file(&mut self, descriptor: i32, offset: i64, len: u64) -> Sent;

    /// Writes records to the request's log, one for each line of the text; they stay together.
    fn log(&mut self, level: Level, site: Site<'_>, text: &[u8]);

    /// Whether mod_ssl has encrypted the connection. Only hooks ask for this and the next.
    fn is_tls(&mut self) -> bool {
        false
    }

    /// The variable of mod_ssl's of that name, if there is one.
    fn tls_variable(&mut self, _name: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// How a request ended, for the side that talks to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reply was sent whole.
    Complete,
    /// Nothing was sent; the server answers with this status.
    Refused(u16),
    /// The head is out but the reply cannot be completed: the connection must be cut.
    Truncated,
    /// The client is gone.
    ClientGone,
}

/// The log of the server, for what belongs to no request. May be used by any thread.
pub trait ServerLog: Send + Sync {
    /// Writes records that were made at this place of a program, one for each line of the text; they stay together.
    fn log_from(&self, level: Level, site: Site<'_>, text: &[u8]);

    /// The same for records of the host itself.
    fn log(&self, level: Level, text: &[u8]) {
        self.log_from(level, Site::NONE, text);
    }

    /// The least important level that it shows.
    fn level(&self) -> Level;
}

/// A record that waits to be logged.
pub type LogRecord = (Level, String);

/// Bytes of a path or name as readable text.
pub struct Lossy<'a>(pub &'a [u8]);

impl fmt::Display for Lossy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0))
    }
}
