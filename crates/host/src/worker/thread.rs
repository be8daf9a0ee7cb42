//! A request thread: it waits for its turn, takes a request, runs it, answers.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use wsgi_core::abi::Level;
use wsgi_core::wire::request::{self, Head};

use super::activity::Board;
use super::crew::Crew;
use super::exchange::{Body, Connection};
use super::family::Family;
use super::log::StandardError;
use super::post::Post;
use super::queue::{Popped, Queue, Taken, abandoned};
use super::raw::Raw;
use super::report::Report;
use super::shared::Shared;
use crate::adapter::Request;
use crate::adapter::exchange::{Outcome, ServerLog};
use crate::fence::fence;
use crate::host::Host;
use crate::python::thread_ident;
use crate::stats::micros;

/// A request that was no longer in the queue, in µs, and did not wait for a thread, is not asked whether its client is still
/// there: that is a system call.
const FRESH: u64 = 1_000;

/// What the threads of a daemon share.
pub struct Daemon {
    pub host: Arc<Host>,
    pub queue: Queue,
    pub crew: Crew,
    pub board: Board,
    pub log: Arc<StandardError>,
    pub post: Arc<Post>,
    pub family: Family,
    pub report: Arc<Report>,
    /// After so many requests the main thread wants to know.
    pub requests: Option<u64>,
    /// The process ends with its one request.
    pub run_once: bool,
    /// The clock wants to know about the application's activity.
    pub watches_activity: bool,
    /// Takes stacks without Python's lock.
    pub raw: Option<Raw>,
    /// Wakes the main thread.
    pub bell: OwnedFd,
    /// Threads that have not gone home.
    pub present: AtomicUsize,
}

impl Daemon {
    /// Wakes the main thread.
    pub fn ring(&self) {
        // A full pipe wakes it, too.
        let _ = rustix::io::write(&self.bell, &[0]);
    }

    /// Takes no more requests: who leads is called off, and what he took is handed back.
    pub fn stop_taking(&self) {
        self.board.draining.store(true, Ordering::SeqCst);
        self.crew.dismiss();
        self.queue.call_off();
    }

    /// The life of thread `me`.
    pub fn work(&self, me: usize) {
        let mut buffer = Queue::buffer();
        let (mut errand, mut crowded) = (None, false);
        while self.crew.lead(me, errand) {
            let taken = self.take(&mut buffer, crowded);
            errand = Some(self.crew.go());
            if let Some(taken) = taken {
                // The fence of the request itself lies deeper; what panics here costs this one exchange.
                let waited = fence(|| {
                    let datagram = &buffer[..taken.len];
                    self.serve(me, taken, datagram)
                });
                crowded = waited.unwrap_or(false);
            }
        }
        self.present.fetch_sub(1, Ordering::SeqCst);
        self.ring();
    }

    /// Waits for a request, as the leader; `None` when there is nothing to wait for any more.
    fn take(&self, buffer: &mut Vec<u8>, crowded: bool) -> Option<Taken> {
        let mut crowded = crowded && !self.board.draining.load(Ordering::SeqCst);
        loop {
            match self.queue.pop(buffer, std::mem::take(&mut crowded)) {
                Ok(Popped::Request(taken)) => return Some(taken),
                Ok(Popped::Nothing) => {}
                Ok(Popped::Off(taken)) => {
                    self.crew.dismiss();
                    return taken;
                }
                Err(error) => {
                    let text = match error {
                        Errno::PIPE => {
                            String::from("WSGI0522: nobody can send requests any more, httpd is gone; this daemon ends")
                        }
                        error => format!("WSGI0523: cannot take requests from the queue ({error}); this daemon ends"),
                    };
                    self.log.log(Level::Error, text.as_bytes());
                    self.stop_taking();
                    return None;
                }
            }
        }
    }

    /// Serves a request; whether it had waited for a thread that takes it.
    fn serve(&self, me: usize, taken: Taken, datagram: &[u8]) -> bool {
        let request = match request::Request::decode(datagram) {
            Ok(request) => request,
            Err(error) => {
                self.refuse(&error.to_string());
                return false;
            }
        };
        let queued = request.enqueued < taken.awaited;
        match taken.far {
            Some(far) => self.exchange(me, &request, (datagram.len(), queued), far, taken.pipe),
            None => self.refuse("no reply socket came with it"),
        }
        queued
    }

    /// Runs a request of that `length`, which `queued` for a thread, and answers through the far end of its reply pair.
    fn exchange(
        &self,
        me: usize,
        request: &request::Request<'_>,
        (length, queued): (usize, bool),
        far: OwnedFd,
        pipe: Option<OwnedFd>,
    ) {
        let now = micros();
        let waited = now.saturating_sub(request.enqueued);
        // Who came to a thread that was free has hardly had the time to leave.
        if request.expired(now) || (queued || waited > FRESH) && abandoned(&far) {
            return;
        }
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch = i64::try_from(epoch.as_micros()).unwrap_or(0);
        let missing = request.head_missing();
        let log = Arc::clone(&self.log);
        let mut connection = Connection::new(far, request.nonce, missing, log, self.family);
        if self.board.draining.load(Ordering::SeqCst) {
            return connection.retry();
        }
        if request.announced(now) && connection.started().is_err() {
            return;
        }
        let whole;
        let head = if missing == 0 {
            request.head()
        } else {
            let mut head = request.head().to_vec();
            // Nobody is left to be told.
            let Ok(()) = connection.read_head(&mut head, missing) else {
                return;
            };
            whole = head;
            &whole
        };
        let (head, variables) = match Head::decode(head) {
            Ok(head) => head,
            Err(error) => return self.refuse(&error.to_string()),
        };
        let activity = (self.watches_activity && !head.ignore_activity).then(|| Arc::clone(&self.board.activity));
        if let Some(activity) = &activity {
            activity.note();
        }
        connection.begin(
            match request.body {
                request::Body::None => Body::None,
                request::Body::Inline(bytes) => Body::Inline(bytes.to_vec(), 0),
                request::Body::Stream => Body::Stream { wanted: false },
            },
            activity,
            Arc::clone(&self.report),
            pipe,
        );
        let request = Request {
            variables: variables.collect(),
            script: head.script,
            script_mtime: head.script_mtime,
            reloading: head.reloading,
            callable_object: head.callable_object,
            request_rec: 0,
            request_start: head.request_start,
            queue_start: epoch - i64::try_from(waited).unwrap_or(0),
            daemon_start: epoch,
            queue_bytes: length as u64,
            https: head.https,
            header_only: head.header_only,
            log_level: Level::from_raw(head.log_level.into()),
            retries: head.retries,
        };
        self.report.asked();
        let shared = Shared::new(connection, Arc::clone(&self.post));
        let seat = &self.board.seats[me];
        seat.begin(thread_ident(), head.application_group);
        // What panics outside of the request's own fence must not leave the seat taken, or the client without an answer.
        let exchange = Box::new(shared.clone());
        let outcome = fence(|| self.host.run(head.application_group, &request, exchange));
        let outcome = outcome.unwrap_or(Outcome::Refused(500));
        self.family.check(&*self.log);
        if seat.end() {
            self.host.calm(head.application_group);
        }
        shared.lock().finish(outcome);
        self.count();
    }

    /// Counts a request that has ended.
    fn count(&self) {
        let completed = self.board.completed.fetch_add(1, Ordering::SeqCst) + 1;
        if self.requests.is_some_and(|most| completed >= most) {
            if self.run_once {
                self.stop_taking();
            }
            self.ring();
        }
    }

    /// Drops what is no request of ours.
    fn refuse(&self, reason: &str) {
        let text = format!("WSGI0524: dropped a request that cannot be understood: {reason}");
        self.log.log(Level::Error, text.as_bytes());
    }
}
