//! The connection to httpd as the adapter and the worker share it.

use std::sync::{Arc, Mutex, MutexGuard};

use wsgi_core::abi::{Level, Sent, Site};

use super::exchange::Connection;
use super::held::Hold;
use super::post::Post;
use crate::adapter::Head;
use crate::adapter::exchange::Exchange;
use crate::python::Room;

/// One request's connection.
#[derive(Clone)]
pub struct Shared {
    connection: Arc<Mutex<Connection>>,
    post: Arc<Post>,
}

impl Shared {
    /// Shares it, also with the post.
    pub fn new(connection: Connection, post: Arc<Post>) -> Shared {
        Shared {
            connection: Arc::new(Mutex::new(connection)),
            post,
        }
    }

    /// The connection. Only the post shares its lock with the thread of the request, and never waits while it has it.
    pub fn lock(&self) -> MutexGuard<'_, Connection> {
        self.post.open(&self.connection)
    }
}

impl Exchange for Shared {
    fn read(&mut self, room: &mut Room<'_>) -> Result<usize, String> {
        self.lock().read(room)
    }

    fn head(&mut self, head: &Head) {
        self.lock().head(head);
    }

    fn write(&mut self, pieces: &[&[u8]], end: bool) -> Sent {
        self.lock().write(pieces, end)
    }

    fn post(&mut self, block: &[u8]) -> bool {
        if !self.post.is_there() {
            return false;
        }
        let Ok(mut connection) = self.connection.try_lock() else {
            return false;
        };
        let hold = connection.hold(block);
        drop(connection);
        if hold == Hold::First {
            self.post.collect(&self.connection);
        }
        hold != Hold::No
    }

    fn file(&mut self, descriptor: i32, offset: i64, len: u64) -> Sent {
        self.lock().file(descriptor, offset, len)
    }

    fn log(&mut self, level: Level, site: Site<'_>, text: &[u8]) {
        self.lock().log(level, site, text);
    }
}
