//! `start_response` and `write` (PEP 3333, "The start_response() Callable").

use std::ffi::CStr;
use std::ops::Range;
use std::sync::Arc;

use wsgi_core::abi::{Level, Sent};
use wsgi_core::{header, status};

use super::events::Events;
use super::exchange::LogRecord;
use super::file_wrapper::Rest;
use super::live::Live;
use super::record::Names;
use crate::python::{Class, Error, GilCell, Kind, Members, Object, Python, Result};

/// Status and headers, checked and as bytes.
pub struct Head {
    /// 200 to 999.
    pub status: u16,
    /// Every byte of reason, names and values.
    text: Vec<u8>,
    reason: Range<usize>,
    headers: Vec<(Range<usize>, Range<usize>)>,
    length: Length,
    /// Headers that were left out since they are the server's business.
    dropped: Vec<Vec<u8>>,
}

#[derive(Clone, Copy)]
enum Length {
    Unknown,
    Known(u64),
    Bad,
}

impl Head {
    /// What follows the number in the status line.
    pub fn reason(&self) -> &[u8] {
        &self.text[self.reason.clone()]
    }

    /// Names and values, in order.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.headers
            .iter()
            .map(|(name, value)| (&self.text[name.clone()], &self.text[value.clone()]))
    }

    /// `Content-Length`, if the application gave it.
    pub fn content_length(&self) -> Option<u64> {
        match self.length {
            Length::Known(length) => Some(length),
            _ => None,
        }
    }

    /// Adds a `Content-Length`.
    pub fn set_content_length(&mut self, length: u64) {
        let name = self.append(b"Content-Length");
        let value = self.append(length.to_string().as_bytes());
        self.headers.push((name, value));
        self.length = Length::Known(length);
    }

    /// Whether a reply of this status has a body (RFC 9110, sections 15.3.5 and 15.4.5).
    pub fn has_body(&self) -> bool {
        !matches!(self.status, 204 | 304)
    }

    /// What the administrator should know about this head.
    pub fn warnings(&self, live: &Live) -> Vec<LogRecord> {
        if self.dropped.is_empty() {
            return Vec::new();
        }
        let prefix = live.prefix();
        let warning = |name: &Vec<u8>| {
            let name = String::from_utf8_lossy(name);
            (
                Level::Warning,
                format!(
                    "WSGI0407: {prefix}response header {name} left out: an application must not send hop-by-hop \
                     headers (PEP 3333, \"Other HTTP Features\")"
                ),
            )
        };
        self.dropped.iter().map(warning).collect()
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.text.len();
        self.text.extend_from_slice(bytes);
        start..self.text.len()
    }
}

/// What `start_response` is a method of: the reply so far.
pub struct Response {
    live: Arc<Live>,
    names: Arc<Names>,
    events: Arc<Events>,
    progress: GilCell<Progress>,
}

/// How far the reply is.
#[derive(Default)]
struct Progress {
    head: Option<Head>,
    /// The head cannot be replaced any more.
    fixed: bool,
    /// The head has gone out.
    begun: bool,
    /// With a `Content-Length`: bytes that the client still expects.
    missing: Option<u64>,
    /// The status of the head that has gone out allows no body.
    bodiless: bool,
    gone: bool,
    ended: bool,
    /// Of the head that has gone out.
    status: u16,
}

/// Why a reply cannot go on.
pub enum Stop<'py> {
    /// By an exception.
    Error(Error<'py>),
    /// The client is gone, or the server answers by itself.
    Sent(Sent),
}

impl<'py> From<Error<'py>> for Stop<'py> {
    fn from(error: Error<'py>) -> Stop<'py> {
        Stop::Error(error)
    }
}

impl Response {
    /// The reply of this request.
    pub fn new(live: Arc<Live>, names: Arc<Names>, events: Arc<Events>) -> Response {
        Response {
            live,
            names,
            events,
            progress: GilCell::default(),
        }
    }

    /// Whether the head has gone out.
    pub fn has_begun(&self, py: Python<'_>) -> bool {
        self.progress.with(py, |progress| progress.begun)
    }

    /// Takes the head to send it. From now on it cannot be replaced.
    pub fn begin<'py>(&self, py: Python<'py>) -> Result<'py, Head> {
        let head = self.progress.with(py, |progress| {
            let head = progress.head.take();
            if let Some(head) = &head {
                progress.fixed = true;
                progress.begun = true;
                progress.missing = head.content_length();
                progress.bodiless = !head.has_body();
                progress.status = head.status;
            }
            head
        });
        let Some(head) = head else {
            let message = "the application returned without calling start_response (PEP 3333, \"Specification \
                           Details\": it must be called before the first body string)";
            return Err(Error::new(py, Kind::Runtime, message));
        };
        if matches!(head.length, Length::Bad) {
            // Nothing of it has been sent.
            self.progress.with(py, |progress| progress.begun = false);
            let message = "response header Content-Length must be one non-negative number (RFC 9110, section 8.6)";
            return Err(Error::new(py, Kind::Value, message));
        }
        Ok(head)
    }

    /// Sends one block, with the head before the first, cut to what `Content-Length` allows. With `may_end` the reply is
    /// completed as soon as the client has all that it expects.
    pub fn send<'py>(&self, py: Python<'py>, block: &[u8], may_end: bool) -> std::result::Result<(), Stop<'py>> {
        if self.progress.with(py, |progress| progress.goes_on_after(block)) && self.live.post(block) {
            self.progress.with(py, |progress| progress.cut(&[block]));
            return Ok(());
        }
        self.transmit(py, &[block], |missing| may_end && missing == Some(0))
    }

    /// Sends these last blocks and completes the reply, unless the application owes the client something. `bodiless`
    /// says that the client expects no body. Returns the number of bytes that are owed.
    pub fn finish<'py>(
        &self,
        py: Python<'py>,
        blocks: &[&[u8]],
        bodiless: bool,
    ) -> std::result::Result<u64, Stop<'py>> {
        let mut owed = 0;
        let has_body = self.progress.with(py, |progress| progress.has_body());
        if !self.has_ended(py) {
            self.transmit(py, blocks, |missing| {
                owed = if bodiless || !has_body { 0 } else { missing.unwrap_or(0) };
                owed == 0
            })?;
        }
        Ok(owed)
    }

    /// Sends the rest of a file as the whole body. Returns the number of bytes that are owed to the client.
    pub fn finish_with_file<'py>(
        &self,
        py: Python<'py>,
        rest: Rest,
        bodiless: bool,
    ) -> std::result::Result<u64, Stop<'py>> {
        let mut head = self.begin(py)?;
        if head.content_length().is_none() && head.has_body() {
            head.set_content_length(rest.len);
        }
        let wanted = head.content_length().unwrap_or(rest.len);
        let len = wanted.min(rest.len);
        let owed = if bodiless || !head.has_body() { 0 } else { wanted - len };
        self.progress.with(py, |progress| progress.ended = true);
        let live = &self.live;
        let sent = py.detach(|| {
            live.log(&head.warnings(live));
            if len == 0 {
                live.send(Some(&head), &[], owed == 0)
            } else {
                live.send_file(&head, rest.descriptor, rest.offset, len)
            }
        });
        match sent {
            Some(Sent::Ok) => Ok(owed),
            Some(sent) => Err(Stop::Sent(sent)),
            None => Err(Stop::Error(expired(py))),
        }
    }

    /// The status that has gone out; 500 if none has.
    pub fn status(&self, py: Python<'_>) -> u16 {
        self.progress
            .with(py, |progress| if progress.begun { progress.status } else { 500 })
    }

    /// Whether the reply is complete.
    pub fn has_ended(&self, py: Python<'_>) -> bool {
        self.progress.with(py, |progress| progress.ended)
    }

    /// Sends the blocks, with the head before the first. `is_end` is told how many bytes are owed afterwards.
    fn transmit<'py>(
        &self,
        py: Python<'py>,
        blocks: &[&[u8]],
        is_end: impl FnOnce(Option<u64>) -> bool,
    ) -> std::result::Result<(), Stop<'py>> {
        let (begun, gone) = self.progress.with(py, |progress| (progress.begun, progress.gone));
        if gone {
            return Err(Stop::Sent(Sent::ClientGone));
        }
        let head = if begun { None } else { Some(self.begin(py)?) };
        let (pieces, end) = self.progress.with(py, |progress| {
            let pieces = progress.cut(blocks);
            let end = !progress.ended && is_end(progress.missing);
            progress.ended |= end;
            (pieces, end)
        });
        if head.is_none() && pieces.is_empty() && !end {
            return Ok(());
        }
        let live = &self.live;
        let sent = py.detach(|| {
            if let Some(head) = &head {
                live.log(&head.warnings(live));
            }
            live.send(head.as_ref(), &pieces, end)
        });
        match sent {
            Some(Sent::Ok) => Ok(()),
            Some(sent) => {
                self.progress.with(py, |progress| progress.gone = true);
                Err(Stop::Sent(sent))
            }
            None => Err(Stop::Error(expired(py))),
        }
    }
}

/// Cuts the blocks to the first `missing` bytes and leaves out empty ones; `missing` becomes what is owed afterwards.
pub fn cut<'b>(blocks: &[&'b [u8]], missing: &mut Option<u64>) -> Vec<&'b [u8]> {
    let mut pieces = Vec::with_capacity(blocks.len());
    for block in blocks {
        let mut len = block.len();
        if let Some(missing) = missing {
            len = usize::try_from(*missing).map_or(len, |missing| missing.min(len));
            *missing -= len as u64;
        }
        if len > 0 {
            pieces.push(&block[..len]);
        }
    }
    pieces
}

impl Progress {
    fn cut<'b>(&mut self, blocks: &[&'b [u8]]) -> Vec<&'b [u8]> {
        cut(blocks, &mut self.missing)
    }

    /// Whether the block is to be sent whole, and is neither the reply's first nor, by its `Content-Length`, its last.
    fn goes_on_after(&self, block: &[u8]) -> bool {
        let more = |missing| usize::try_from(missing).map_or(true, |missing: usize| missing > block.len());
        self.begun && !self.gone && !self.ended && self.missing.is_none_or(more)
    }

    fn has_body(&self) -> bool {
        self.head.as_ref().is_none_or(Head::has_body) && !self.bodiless
    }
}

fn expired(py: Python<'_>) -> Error<'_> {
    Error::new(
        py,
        Kind::Runtime,
        "start_response or write was used after its request had ended",
    )
}

impl Class for Response {
    const NAME: &'static CStr = c"mod_wsgi.Response";
    const DOC: &'static CStr = c"The reply to a request; start_response is its method.";

    fn members(members: &mut Members<Response>) {
        members
            .method(
                c"start_response",
                c"start_response(status, headers, exc_info=None) -> write",
                start_response,
            )
            .method(c"write", c"write(data): sends data at once", write);
    }
}

fn start_response<'py>(this: &Response, me: &Object<'py>, arguments: &[Object<'py>]) -> Result<'py, Object<'py>> {
    let py = me.py();
    let (status, headers, exc_info) = match arguments {
        [status, headers] => (status, headers, None),
        [status, headers, exc_info] => (status, headers, Some(exc_info).filter(|info| !info.is_none())),
        _ => {
            let message = "start_response() takes two or three positional arguments: status, headers, exc_info";
            return Err(Error::new(py, Kind::Type, message));
        }
    };
    if !headers.is_list() {
        let message = format!(
            "the headers given to start_response must be a list, not {} (PEP 3333)",
            headers.type_name()
        );
        return Err(Error::new(py, Kind::Type, &message));
    }
    let fixed = this.progress.with(py, |progress| progress.fixed);
    if let Some(exc_info) = exc_info {
        if !exc_info.is_tuple() || exc_info.length() != 3 {
            let message = "exc_info given to start_response must be None or the tuple of sys.exc_info() (PEP 3333)";
            return Err(Error::new(py, Kind::Runtime, message));
        }
        if fixed {
            return Err(given(py, exc_info));
        }
    } else if fixed {
        let message = "start_response called again after the headers were sent, without exc_info (PEP 3333)";
        return Err(Error::new(py, Kind::Runtime, message));
    }
    if this.events.wanted(py) {
        this.events.responding(&this.live, status, headers, exc_info)?;
    }
    let head = head(py, status, headers)?;
    if this.live.try_with(|_| ()).is_none() && py.detach(|| this.live.with(|_| ())).is_none() {
        return Err(expired(py));
    }
    let write = me.attribute(this.names.write.get(py))?;
    // The old head, if any, holds no Python objects: nothing runs when it drops.
    this.progress.with(py, |progress| progress.head = Some(head));
    Ok(write)
}

/// The exception that the application handed over, for raising it again.
fn given<'py>(py: Python<'py>, exc_info: &Object<'py>) -> Error<'py> {
    let item = |index| exc_info.item(index).unwrap_or_else(|| py.none());
    Error::from_exc_info(item(1), item(2)).unwrap_or_else(|| {
        let message = "exc_info given to start_response holds no exception (PEP 3333)";
        Error::new(py, Kind::Runtime, message)
    })
}

fn write<'py>(this: &Response, me: &Object<'py>, arguments: &[Object<'py>]) -> Result<'py, Object<'py>> {
    let py = me.py();
    let [data] = arguments else {
        return Err(Error::new(py, Kind::Type, "write() takes exactly one argument"));
    };
    let Some(bytes) = data.as_bytes() else {
        return Err(not_bytes(data));
    };
    if bytes.is_empty() {
        this.progress
            .with(py, |progress| progress.fixed |= progress.head.is_some());
        return Ok(py.none());
    }
    match this.send(py, bytes, false) {
        Ok(()) => Ok(py.none()),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Sent(_)) => Err(Error::new(py, Kind::Os, "the client closed the connection")),
    }
}

/// The exception for a part of the body that is no `bytes`.
pub fn not_bytes<'py>(item: &Object<'py>) -> Error<'py> {
    let message = format!(
        "the response body must consist of bytes, not {} (PEP 3333, \"A Note On String Types\")",
        item.type_name()
    );
    Error::new(item.py(), Kind::Type, &message)
}

/// Checks what `start_response` was given and copies it.
fn head<'py>(py: Python<'py>, status: &Object<'py>, headers: &Object<'py>) -> Result<'py, Head> {
    let value_error = |rule: &dyn std::fmt::Display, of: &[u8]| {
        let message = format!("{rule} (PEP 3333): {:?}", String::from_utf8_lossy(of));
        Error::new(py, Kind::Value, &message)
    };
    if !status.is_text() {
        let message = format!(
            "status given to start_response must be a str, not {} (PEP 3333)",
            status.type_name()
        );
        return Err(Error::new(py, Kind::Type, &message));
    }
    let count = headers.length();
    let mut head = Head {
        status: 0,
        text: Vec::with_capacity(64 + 48 * count.min(64)),
        reason: 0..0,
        headers: Vec::with_capacity(count.min(64) + 1),
        length: Length::Unknown,
        dropped: Vec::new(),
    };
    status.latin1_into(&mut head.text)?;
    let line = status::parse(&head.text).map_err(|rule| value_error(&rule, &head.text))?;
    head.status = line.code;
    head.reason = head.text.len() - line.reason.len()..head.text.len();

    let mut index = 0;
    while let Some(header) = headers.item(index) {
        index += 1;
        if !header.is_tuple() {
            let message = format!(
                "each response header must be a tuple, not {} (PEP 3333)",
                header.type_name()
            );
            return Err(Error::new(py, Kind::Type, &message));
        }
        let (2, Some(name), Some(value)) = (header.length(), header.item(0), header.item(1)) else {
            let message = "each response header must be a tuple of two: name and value (PEP 3333)";
            return Err(Error::new(py, Kind::Value, message));
        };
        for text in [&name, &value] {
            if !text.is_text() {
                let message = format!(
                    "name and value of a response header must be str, not {} (PEP 3333)",
                    text.type_name()
                );
                return Err(Error::new(py, Kind::Type, &message));
            }
        }
        let start = head.text.len();
        name.latin1_into(&mut head.text)?;
        let middle = head.text.len();
        value.latin1_into(&mut head.text)?;
        let (name, value) = head.text[start..].split_at(middle - start);
        header::check_name(name).map_err(|rule| value_error(&rule, name))?;
        header::check_value(value).map_err(|rule| value_error(&rule, value))?;
        if header::is_hop_by_hop(name) {
            head.dropped.push(name.to_vec());
            head.text.truncate(start);
            continue;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            head.length = match (head.length, header::content_length(value)) {
                (Length::Unknown, Ok(length)) => Length::Known(length),
                _ => Length::Bad,
            };
        }
        let end = head.text.len();
        head.headers.push((start..middle, middle..end));
    }
    Ok(head)
}
