//! A request that is being served, as the objects that the application holds see it: shared by all of them, locked only
//! by detached threads, emptied when the request ends.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use wsgi_core::abi::{Level, Sent, Site};

use super::errors::Lines;
use super::exchange::{Exchange, LogRecord};
use super::input::Body;
use super::response::Head;
use super::stopwatch::{Flow, Tally};
use crate::python::{GilCell, Kept, Object, Python, Result, thread_ident};

thread_local! {
    /// The request that this thread serves; `sys.stdout` and `sys.stderr` write to its log.
    static CURRENT: RefCell<Option<Arc<Live>>> = const { RefCell::new(None) };
}

/// A request that may still be running.
pub struct Live {
    /// What records of the application begin with, and behind that the request's id.
    text: Vec<u8>,
    prefix_end: usize,
    /// The thread that serves it, by CPython's number.
    pub thread: u64,
    /// The request that the thread serves again afterwards: while its reply is sent, httpd may make further ones.
    outer: Option<Arc<Live>>,
    /// The least important level that its log shows.
    pub log_level: Level,
    shown: GilCell<Shown>,
    open: Mutex<Option<Open>>,
}

/// What Python has of it.
#[derive(Default)]
struct Shown {
    /// It is among the active requests of its interpreter.
    active: bool,
    /// Made when somebody asks for it.
    data: Option<Kept>,
}

/// A request as Python sees it.
pub struct Seen<'py> {
    /// `mod_wsgi.request_id`, if it has one.
    pub id: Option<Object<'py>>,
    /// What `mod_wsgi.request_data()` returns.
    pub data: Object<'py>,
}

/// What belongs to a request while it runs.
pub struct Open {
    pub exchange: Box<dyn Exchange>,
    pub body: Body,
    lines: [Lines; 3],
    headed: bool,
    /// Of the reply, once its head was handed over.
    status: u16,
    sent: Flow,
}

impl Live {
    /// Begins a request of the application in `script`.
    pub fn begin(exchange: Box<dyn Exchange>, script: &[u8], id: &[u8], log_level: Level, body: Body) -> Arc<Live> {
        let live = Arc::new(Live {
            text: [b"[script ", script, b"] ", id].concat(),
            prefix_end: b"[script ] ".len() + script.len(),
            thread: thread_ident(),
            outer: CURRENT.take(),
            log_level,
            shown: GilCell::default(),
            open: Mutex::new(Some(Open {
                exchange,
                body,
                lines: Default::default(),
                headed: false,
                status: 0,
                sent: Flow::default(),
            })),
        });
        CURRENT.set(Some(Arc::clone(&live)));
        live
    }

    /// Ends the request in the thread that began it: unfinished lines are logged, then every object of the request is
    /// expired. Returns what has passed through it.
    pub fn end(&self) -> Tally {
        drop(CURRENT.replace(self.outer.clone()));
        let Some(mut open) = self.lock().take() else {
            return Tally::default();
        };
        self.record_rest(&mut open);
        open.tally()
    }

    /// What has passed through it so far. Detached only.
    pub fn tally(&self) -> Tally {
        self.with(|open| open.tally()).unwrap_or_default()
    }

    /// Python may see it from now on, or no longer.
    pub fn show(&self, py: Python<'_>, active: bool) {
        let old = self
            .shown
            .with(py, |shown| std::mem::replace(shown, Shown { active, data: None }));
        drop(old);
    }

    /// What Python sees of it, while it is active.
    pub fn seen<'py>(&self, py: Python<'py>) -> Result<'py, Option<Seen<'py>>> {
        let (active, data) = self.shown.with(py, |shown| {
            (shown.active, shown.data.as_ref().map(|data| data.get(py).clone()))
        });
        if !active {
            return Ok(None);
        }
        let data = match data {
            Some(data) => data,
            None => {
                let kept = py.dict()?.keep();
                // Another thread may have made one just now.
                self.shown
                    .with(py, |shown| shown.data.get_or_insert(kept).get(py).clone())
            }
        };
        let id = &self.text[self.prefix_end..];
        let id = (!id.is_empty()).then(|| py.latin1(id)).transpose()?;
        Ok(Some(Seen { id, data }))
    }

    /// The request that the calling thread serves.
    pub fn current() -> Option<Arc<Live>> {
        CURRENT.with_borrow(Option::clone)
    }

    /// Uses what belongs to the request; `None` once it has ended. Waits for other threads, so: detached only.
    pub fn with<R>(&self, work: impl FnOnce(&mut Open) -> R) -> Option<R> {
        self.lock().as_mut().map(work)
    }

    /// The same without waiting; `None` if somebody else uses it.
    pub fn try_with<R>(&self, work: impl FnOnce(&mut Open) -> R) -> Option<R> {
        match self.open.try_lock() {
            Ok(mut open) => open.as_mut().map(work),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().as_mut().map(work),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether the head has been handed over. Detached only.
    pub fn has_begun(&self) -> bool {
        self.with(|open| open.headed).unwrap_or(false)
    }

    /// Sends the head, unless that is done, and the pieces. Detached only. `None` once the request has ended.
    pub fn send(&self, head: Option<&Head>, pieces: &[&[u8]], end: bool) -> Option<Sent> {
        self.with(|open| {
            if !open.send_head(head) {
                return Sent::Failed;
            }
            if end {
                self.record_rest(open);
            }
            let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
            let begun = open.sent.begin();
            let sent = open.exchange.write(pieces, end);
            open.sent.end(begun, bytes);
            sent
        })
    }

    /// Has a block sent soon that the reply goes on with, if that needs no waiting; false if it did. May be called
    /// attached.
    pub fn post(&self, block: &[u8]) -> bool {
        let post = |open: &mut Open| {
            let posted = open.exchange.post(block);
            if posted {
                open.sent.bytes += block.len() as u64;
                open.sent.count += 1;
            }
            posted
        };
        self.try_with(post).unwrap_or(false)
    }

    /// Sends the head and a part of a file, which completes the reply. Detached only.
    pub fn send_file(&self, head: &Head, descriptor: i32, offset: i64, len: u64) -> Option<Sent> {
        self.with(|open| {
            open.send_head(Some(head));
            self.record_rest(open);
            let begun = open.sent.begin();
            let sent = open.exchange.file(descriptor, offset, len);
            open.sent.end(begun, len);
            sent
        })
    }

    /// Logs these records as they are. Detached only.
    pub fn log(&self, records: &[LogRecord]) {
        if !records.is_empty() {
            self.with(|open| {
                for (level, text) in records {
                    open.exchange.log(*level, Site::NONE, text.as_bytes());
                }
            });
        }
    }

    /// Logs records that were made at this place of a program. Detached only. False once the request has ended.
    pub fn log_from(&self, level: Level, site: Site<'_>, text: &[u8]) -> bool {
        self.with(|open| open.exchange.log(level, site, text)).is_some()
    }

    /// Logs records without waiting for threads that use the request. False when one does, or when it has ended.
    pub fn try_log(&self, level: Level, text: &[u8]) -> bool {
        self.try_with(|open| open.exchange.log(level, Site::NONE, text))
            .is_some()
    }

    /// Logs what the application wrote to one of its text streams, line by line. Detached only. False once the
    /// request has ended.
    pub fn print(&self, stream: usize, text: &[u8]) -> bool {
        self.with(|open| {
            let lines = open.lines[stream].push(text);
            self.record(open, &lines);
        })
        .is_some()
    }

    /// Adds text without a line end to what waits for one, if that needs no waiting; false if it did.
    pub fn hold(&self, stream: usize, text: &[u8]) -> bool {
        self.try_with(|open| open.lines[stream].hold(text)).unwrap_or(false)
    }

    fn prefix_bytes(&self) -> &[u8] {
        &self.text[..self.prefix_end]
    }

    /// What records about this request begin with.
    pub fn prefix(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.prefix_bytes())
    }

    /// Logs lines that have no end yet: once the reply is complete the exchange may have no log any more.
    fn record_rest(&self, open: &mut Open) {
        for stream in 0..open.lines.len() {
            let rest = open.lines[stream].take_rest();
            self.record(open, &rest);
        }
    }

    fn record(&self, open: &mut Open, lines: &[Vec<u8>]) {
        if !lines.is_empty() {
            let text = lines.iter().map(|line| [self.prefix_bytes(), line].concat());
            let text = text.collect::<Vec<_>>().join(&b'\n');
            open.exchange.log(Level::Error, Site::NONE, &text);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Passes the head on if it has not been; false when there is none to pass on.
    fn send_head(&mut self, head: Option<&Head>) -> bool {
        if let Some(head) = head
            && !self.headed
        {
            self.headed = true;
            self.status = head.status;
            self.exchange.head(head);
        }
        self.headed
    }

    fn tally(&self) -> Tally {
        Tally {
            status: self.status,
            received: self.body.received,
            sent: self.sent,
        }
    }
}
