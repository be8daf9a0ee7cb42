//! The thread that sends what requests hold back (`super::held`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::sleep;
use std::time::Duration;

use wsgi_core::doze::Doze;

use super::exchange::Connection;
use super::family::Family;
use super::log::StandardError;

/// How long blocks are held back; the system makes it some 50 µs more.
const ROUND: Duration = Duration::from_micros(30);
/// How often a connection is tried again whose httpd takes no more at the moment, or whose request uses it.
const AGAIN: Duration = Duration::from_millis(1);

type Connections = Vec<Arc<Mutex<Connection>>>;

/// The post.
pub struct Post {
    /// Who holds something back.
    waiting: Mutex<Connections>,
    /// Somebody does.
    wanted: AtomicBool,
    there: AtomicBool,
    doze: Doze,
    family: Family,
    log: Arc<StandardError>,
}

impl Post {
    /// Of this daemon.
    pub fn new(family: Family, log: Arc<StandardError>) -> Post {
        Post {
            waiting: Mutex::default(),
            wanted: AtomicBool::new(false),
            there: AtomicBool::new(false),
            doze: Doze::new(),
            family,
            log,
        }
    }

    /// Opens a connection for the thread of its request.
    pub fn open<'c>(&self, connection: &'c Mutex<Connection>) -> MutexGuard<'c, Connection> {
        match connection.try_lock() {
            Ok(open) => open,
            Err(TryLockError::Poisoned(open)) => open.into_inner(),
            Err(TryLockError::WouldBlock) => {
                // The post has it, and gives it back at once; but not in a process that was forked meanwhile.
                self.family.check(&*self.log);
                connection.lock().unwrap_or_else(PoisonError::into_inner)
            }
        }
    }

    /// Whether its thread runs.
    pub fn is_there(&self) -> bool {
        self.there.load(Ordering::Relaxed)
    }

    /// Has the post come by the connection, which has begun to hold something back.
    pub fn collect(&self, connection: &Arc<Mutex<Connection>>) {
        self.waiting().push(Arc::clone(connection));
        self.wanted.store(true, Ordering::SeqCst);
        self.doze.wake();
    }

    /// The life of its thread, which lasts as long as the process.
    pub fn work(&self) {
        self.there.store(true, Ordering::Relaxed);
        let mut slow = Connections::new();
        loop {
            if slow.is_empty() {
                self.doze.until(|| self.wanted.load(Ordering::SeqCst));
            }
            sleep(if self.wanted.load(Ordering::SeqCst) {
                ROUND
            } else {
                AGAIN
            });
            self.wanted.store(false, Ordering::SeqCst);
            let mut round = std::mem::take(&mut *self.waiting());
            round.append(&mut slow);
            for connection in round {
                // Who uses it may wait for httpd, so nobody waits for him; he sends what is held back before that.
                let done = match connection.try_lock() {
                    Ok(mut open) => open.send_held(),
                    Err(TryLockError::Poisoned(open)) => open.into_inner().send_held(),
                    Err(TryLockError::WouldBlock) => false,
                };
                if !done {
                    slow.push(connection);
                }
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Connections> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
