//! `wsgi.input`: the request body (PEP 3333, "Input and Error Streams").

use std::ffi::CStr;
use std::sync::Arc;

use super::exchange::Exchange;
use super::live::{Live, Open};
use super::stopwatch::Flow;
use crate::python::{Class, Error, Filling, Kind, Members, Object, Python, Result, Room};

/// Bytes asked for at a time.
const PIECE: usize = 64 * 1024;
/// What `read` returns is received to where it stays if it has at least so many bytes, and no more than so many: memory
/// for it is taken at the client's word.
const DIRECT: usize = 8 * 1024;
/// As above.
const MOST_DIRECT: usize = 64 * 1024 * 1024;

/// The stream object.
pub struct Input {
    live: Arc<Live>,
}

impl Input {
    /// The body of this request.
    pub fn new(live: Arc<Live>) -> Input {
        Input { live }
    }
}

impl Class for Input {
    const NAME: &'static CStr = c"mod_wsgi.Input";
    const DOC: &'static CStr = c"The body of a request.";

    fn members(members: &mut Members<Input>) {
        members
            .method(c"read", c"read(size=-1) -> bytes", read)
            .method(c"readline", c"readline(size=-1) -> bytes", readline)
            .method(c"readlines", c"readlines(hint=-1) -> list of bytes", readlines)
            .method(c"close", c"Does nothing: the server owns the stream.", close)
            .iterator(next);
    }
}

fn read<'py>(this: &Input, me: &Object<'py>, arguments: &[Object<'py>]) -> Result<'py, Object<'py>> {
    let py = me.py();
    let size = size(py, "read", arguments)?;
    if let Some(Some(len)) = this.live.try_with(|open| open.body.direct(size)) {
        let mut filling = Filling::new(py, len)?;
        let result = py.detach(|| {
            this.live.with(|open| {
                let Open { exchange, body, .. } = open;
                body.read_into(exchange.as_mut(), size, &mut filling)
            })
        });
        let bytes = filling.finish(py)?;
        return match result {
            Some(Ok(None)) => Ok(bytes),
            other => answer(py, other.map(|result| result.map(Option::unwrap_or_default))),
        };
    }
    this.take(
        py,
        |body, exchange| body.read(exchange, size),
        |body| body.read_held(size),
    )
}

fn readline<'py>(this: &Input, me: &Object<'py>, arguments: &[Object<'py>]) -> Result<'py, Object<'py>> {
    let size = size(me.py(), "readline", arguments)?;
    this.line(me.py(), size)
}

fn readlines<'py>(this: &Input, me: &Object<'py>, arguments: &[Object<'py>]) -> Result<'py, Object<'py>> {
    let hint = size(me.py(), "readlines", arguments)?.unwrap_or(0);
    let mut lines = Vec::new();
    let mut total = 0;
    loop {
        let line = this.line(me.py(), None)?;
        match line.as_bytes().map_or(0, <[u8]>::len) {
            0 => break,
            len => total += len,
        }
        lines.push(line);
        if hint > 0 && total >= hint {
            break;
        }
    }
    me.py().list(&lines)
}

fn close<'py>(_: &Input, me: &Object<'py>, _: &[Object<'py>]) -> Result<'py, Object<'py>> {
    Ok(me.py().none())
}

fn next<'py>(this: &Input, py: Python<'py>) -> Result<'py, Option<Object<'py>>> {
    let line = this.line(py, None)?;
    Ok(Some(line).filter(|line| line.as_bytes().is_some_and(|bytes| !bytes.is_empty())))
}

/// The optional size: `None` for no limit.
fn size<'py>(py: Python<'py>, method: &str, arguments: &[Object<'py>]) -> Result<'py, Option<usize>> {
    match arguments {
        [] => Ok(None),
        [size] if size.is_none() => Ok(None),
        [size] => Ok(usize::try_from(size.to_index()?).ok()),
        _ => {
            let message = format!("{method}() takes at most one argument");
            Err(Error::new(py, Kind::Type, &message))
        }
    }
}

impl Input {
    fn line<'py>(&self, py: Python<'py>, size: Option<usize>) -> Result<'py, Object<'py>> {
        self.take(
            py,
            |body, exchange| body.read_line(exchange, size),
            |body| body.read_line_held(size),
        )
    }

    /// Takes from what is held already if that will do, else detaches and reads.
    fn take<'py>(
        &self,
        py: Python<'py>,
        reads: impl FnOnce(&mut Body, &mut dyn Exchange) -> std::result::Result<Vec<u8>, String> + Send,
        held: impl FnOnce(&mut Body) -> Option<Vec<u8>>,
    ) -> Result<'py, Object<'py>> {
        if let Some(Some(bytes)) = self.live.try_with(|open| held(&mut open.body)) {
            return py.bytes(&bytes);
        }
        let result = py.detach(|| {
            self.live.with(|open| {
                let Open { exchange, body, .. } = open;
                reads(body, exchange.as_mut())
            })
        });
        answer(py, result)
    }
}

/// What was read, or why nothing was; `None`: the request has ended.
fn answer(py: Python<'_>, result: Option<Taken>) -> Result<'_, Object<'_>> {
    match result {
        Some(Ok(bytes)) => py.bytes(&bytes),
        Some(Err(reason)) => Err(Error::new(py, Kind::Os, &reason)),
        None => Err(Error::new(
            py,
            Kind::Runtime,
            "wsgi.input was used after its request had ended",
        )),
    }
}

/// How far the body has been read.
#[derive(Default)]
pub struct Body {
    /// Bytes that came in but were not asked for yet, from `start` on.
    held: Vec<u8>,
    start: usize,
    /// How many more the client has announced; filters may make more or less of them.
    announced: usize,
    begun: bool,
    ended: bool,
    failed: Option<String>,
    /// What came in.
    pub received: Flow,
}

impl Body {
    /// A body of which nothing was read, with the length that the client gave it.
    pub fn new(announced: usize) -> Body {
        Body {
            announced,
            ..Body::default()
        }
    }

    /// The length of what `read(size)` will probably return, if it is worth to be received to where it stays.
    fn direct(&self, size: Option<usize>) -> Option<usize> {
        let held = self.waiting().len();
        let len = size.unwrap_or(usize::MAX).min(held.saturating_add(self.announced));
        let worth = !self.ended && self.failed.is_none() && len >= held + DIRECT && len <= MOST_DIRECT;
        worth.then_some(len)
    }

    /// As [`Body::read`], to memory that is there already. `None` when that holds all of it now.
    fn read_into(
        &mut self,
        exchange: &mut dyn Exchange,
        size: Option<usize>,
        filling: &mut Filling,
    ) -> std::result::Result<Option<Vec<u8>>, String> {
        self.check()?;
        self.start += filling.with(|room| room.put(&self.held[self.start..]));
        self.begun = true;
        let (begun, before) = (self.received.begin(), filling.left());
        let mut failed = None;
        while !self.ended && failed.is_none() && filling.left() > 0 {
            match filling.with(|room| exchange.read(room)) {
                Ok(count) => {
                    self.ended = count == 0;
                    self.announced = self.announced.saturating_sub(count);
                }
                Err(reason) => failed = Some(reason),
            }
        }
        self.received.end(begun, (before - filling.left()) as u64);
        if let Some(reason) = failed {
            return Err(self.fail(reason));
        }
        let filled = filling.bytes().len();
        let missing = size.unwrap_or(usize::MAX) - filled;
        let mut more = if missing == 0 {
            Vec::new()
        } else {
            self.read(exchange, Some(missing))?
        };
        if more.is_empty() {
            return Ok(None);
        }
        more.splice(..0, filling.bytes().iter().copied());
        Ok(Some(more))
    }

    fn waiting(&self) -> &[u8] {
        &self.held[self.start..]
    }

    /// What `read(size)` returns, if that is held already.
    fn read_held(&mut self, size: Option<usize>) -> Option<Vec<u8>> {
        if self.failed.is_some() {
            return None;
        }
        match size {
            Some(0) => self.begun.then(Vec::new),
            Some(size) if size <= self.waiting().len() => Some(self.take(size)),
            _ => self.ended.then(|| self.take(size.unwrap_or(usize::MAX))),
        }
    }

    /// What `readline(size)` returns, if that is held already.
    fn read_line_held(&mut self, size: Option<usize>) -> Option<Vec<u8>> {
        if self.failed.is_some() || size == Some(0) {
            return self.read_held(size);
        }
        let limit = size.unwrap_or(usize::MAX);
        let waiting = self.waiting();
        let len = match memchr::memchr(b'\n', &waiting[..limit.min(waiting.len())]) {
            Some(at) => at + 1,
            None if limit <= waiting.len() => limit,
            None if self.ended => waiting.len(),
            None => return None,
        };
        Some(self.take(len))
    }

    /// Reads up to the end, or until there are `size` bytes.
    fn read(&mut self, exchange: &mut dyn Exchange, size: Option<usize>) -> Taken {
        self.check()?;
        if size == Some(0) {
            if !self.begun {
                self.begun = true;
                let read = Room::behind(&mut self.held, 0, |room| exchange.read(room));
                read.map_err(|reason| self.fail(reason))?;
            }
            return Ok(Vec::new());
        }
        let size = size.unwrap_or(usize::MAX);
        while !self.ended && self.waiting().len() < size {
            self.fill(exchange)?;
        }
        Ok(self.take(size))
    }

    /// Reads up to and with the next line end, or until there are `size` bytes, or the end.
    fn read_line(&mut self, exchange: &mut dyn Exchange, size: Option<usize>) -> Taken {
        self.check()?;
        if size == Some(0) {
            return self.read(exchange, size);
        }
        let limit = size.unwrap_or(usize::MAX);
        let mut searched = 0;
        loop {
            let waiting = self.waiting();
            let window = &waiting[..limit.min(waiting.len())];
            if let Some(at) = memchr::memchr(b'\n', &window[searched..]) {
                return Ok(self.take(searched + at + 1));
            }
            if self.ended || window.len() == limit {
                let len = window.len();
                return Ok(self.take(len));
            }
            searched = window.len();
            self.fill(exchange)?;
        }
    }

    /// Reads one more piece.
    fn fill(&mut self, exchange: &mut dyn Exchange) -> std::result::Result<(), String> {
        if self.start == self.held.len() {
            self.held.clear();
            self.start = 0;
        } else if self.start >= PIECE {
            self.held.drain(..self.start);
            self.start = 0;
        }
        self.begun = true;
        // What is left of the last piece's room will do, unless it is little.
        let room = self.held.capacity() - self.held.len();
        let most = if room < PIECE / 8 { PIECE } else { room };
        let begun = self.received.begin();
        let result = Room::behind(&mut self.held, most, |room| exchange.read(room));
        self.received
            .end(begun, result.as_ref().map_or(0, |count| *count as u64));
        match result {
            Ok(0) => self.ended = true,
            Ok(count) => self.announced = self.announced.saturating_sub(count),
            Err(reason) => return Err(self.fail(reason)),
        }
        Ok(())
    }

    fn take(&mut self, size: usize) -> Vec<u8> {
        if self.start == 0 && size >= self.held.len() {
            return std::mem::take(&mut self.held);
        }
        let end = self.start.saturating_add(size).min(self.held.len());
        let taken = self.held[self.start..end].to_vec();
        self.start = end;
        taken
    }

    fn check(&self) -> std::result::Result<(), String> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, reason: String) -> String {
        let reason = format!("{reason}; what was read before is valid but not all of the request body");
        self.failed = Some(reason.clone());
        reason
    }
}

type Taken = std::result::Result<Vec<u8>, String>;
