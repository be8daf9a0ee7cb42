//! Reading the request body through the input filters (`ap_get_brigade`).

use std::ffi::c_char;
use std::mem::MaybeUninit;

use super::brigade::Brigade;
use super::module::Answer;
use super::request::Request;
use super::{ffi, text};

/// How much is asked of the filters at a time. Larger than httpd's usual 8 KB: each call walks the whole chain.
const PIECE: usize = 64 * 1024;

/// The body of one request.
pub struct Body<'r> {
    request: Request<'r>,
    pending: Brigade<'r>,
    state: State,
}

enum State {
    Open,
    Ended,
    Failed(ffi::apr_status_t),
}

/// Why the body cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyError(ffi::apr_status_t);

impl<'r> Body<'r> {
    /// Checks the framing headers of the request, as httpd does for its own handlers.
    ///
    /// # Errors
    /// 501 for an unknown `Transfer-Encoding`, 411 for a chunked body that is not wanted, 400 for a bad
    /// `Content-Length`, 413 for one above `LimitRequestBody`.
    pub fn open(request: Request<'r>, chunked: bool) -> Result<Body<'r>, Answer> {
        let policy = if chunked {
            ffi::REQUEST_CHUNKED_DECHUNK
        } else {
            ffi::REQUEST_CHUNKED_ERROR
        };
        // SAFETY: a live request of this thread.
        match unsafe { ffi::ap_setup_client_block(request.as_ptr(), policy) } {
            ffi::OK => Ok(Body {
                request,
                pending: Brigade::new(request),
                state: State::Open,
            }),
            status => Err(Answer::Status(u16::try_from(status).unwrap_or(500))),
        }
    }

    /// Fills the front of `buffer`, waiting until there is at least one byte; returns how many, 0 at the end. An empty buffer reads
    /// nothing, but lets a client that waits for `100 Continue` go on.
    ///
    /// # Errors
    /// When the client went away, took too long or broke the framing; every later call then fails as well.
    pub fn read(&mut self, buffer: &mut [MaybeUninit<u8>]) -> Result<usize, BodyError> {
        let wait = !buffer.is_empty();
        loop {
            match self.read_some(buffer, wait) {
                Ok(None) if wait => {}
                other => return other.map(Option::unwrap_or_default),
            }
        }
    }

    /// As [`Body::read`], behind what `buffer` holds, at most so many bytes.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub fn append(&mut self, buffer: &mut Vec<u8>, most: usize) -> Result<usize, BodyError> {
        buffer.reserve(most);
        let count = self.read(&mut buffer.spare_capacity_mut()[..most])?;
        // SAFETY: `read` has written so many bytes there.
        unsafe { buffer.set_len(buffer.len() + count) };
        Ok(count)
    }

    /// Appends what has come, at most so many bytes; `None` when nothing has, 0 at the end.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub fn try_append(&mut self, buffer: &mut Vec<u8>, most: usize) -> Result<Option<usize>, BodyError> {
        buffer.reserve(most);
        let count = self.read_some(&mut buffer.spare_capacity_mut()[..most], false)?;
        // SAFETY: as above.
        unsafe { buffer.set_len(buffer.len() + count.unwrap_or(0)) };
        Ok(count)
    }

    /// Moves what comes next to the end of `kept`, waiting for it; returns how many bytes, 0 at the end.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub fn keep(&mut self, kept: &mut Brigade<'r>) -> Result<usize, BodyError> {
        let mut moved = 0;
        while moved == 0 {
            match self.state {
                State::Failed(status) => return Err(BodyError(status)),
                State::Ended => return Ok(0),
                State::Open => {}
            }
            if self.pending.is_empty() && !self.fetch(PIECE, true)? {
                continue;
            }
            while !self.ends() {
                match self.pending.move_first(kept) {
                    Ok(count) => moved += count,
                    Err(status) => {
                        self.fail(status);
                        break;
                    }
                }
            }
        }
        Ok(moved)
    }

    fn read_some(&mut self, buffer: &mut [MaybeUninit<u8>], wait: bool) -> Result<Option<usize>, BodyError> {
        match self.state {
            State::Failed(status) => return Err(BodyError(status)),
            State::Ended => return Ok(Some(0)),
            State::Open => {}
        }
        if self.pending.is_empty() && !self.fetch(buffer.len().clamp(1, PIECE), wait)? {
            return Ok(None);
        }
        if buffer.is_empty() {
            return Ok(None);
        }
        match (self.drain(buffer), &self.state) {
            (0, State::Open) => Ok(None),
            (0, State::Failed(status)) => Err(BodyError(*status)),
            (count, _) => Ok(Some(count)),
        }
    }

    /// Asks the filters for at most so many bytes; false when nothing has come and it was not to be waited for.
    fn fetch(&mut self, most: usize, wait: bool) -> Result<bool, BodyError> {
        let block = if wait {
            ffi::apr_read_type_e_APR_BLOCK_READ
        } else {
            self.invite();
            ffi::apr_read_type_e_APR_NONBLOCK_READ
        };
        // SAFETY: a live request of this thread and a brigade of its own.
        let status = unsafe {
            ffi::ap_get_brigade(
                self.request.fields().input_filters,
                self.pending.as_ptr(),
                ffi::ap_input_mode_t_AP_MODE_READBYTES,
                block,
                most as ffi::apr_off_t,
            )
        };
        match status {
            0 => Ok(true),
            libc::EAGAIN if !wait => Ok(false),
            _ => {
                self.fail(status);
                Err(BodyError(status))
            }
        }
    }

    /// Lets a client that waits for `100 Continue` go on. The filters do so themselves only in a call that waits.
    pub fn invite(&self) {
        let request = self.request.fields();
        if request.expecting_100 != 0 && request.sent_bodyct == 0 {
            let raw = self.request.as_ptr();
            // SAFETY: a live request of this thread; its own status is put back, as httpd's filter does it.
            unsafe {
                let (status, line) = ((*raw).status, (*raw).status_line);
                (*raw).status = ffi::HTTP_CONTINUE;
                (*raw).status_line = std::ptr::null();
                ffi::ap_send_interim_response(raw, 0);
                (*raw).status = status;
                (*raw).status_line = line;
            }
        }
    }

    /// Copies what is pending into `buffer`, as far as it goes.
    fn drain(&mut self, buffer: &mut [MaybeUninit<u8>]) -> usize {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.ends() {
                break;
            }
            match self.pending.take(&mut buffer[filled..]) {
                Ok(copied) => filled += copied,
                Err(status) => {
                    self.fail(status);
                    break;
                }
            }
        }
        filled
    }

    /// Whether nothing is pending, or the end of the body, or a filter's word that it cannot be had; notes which.
    fn ends(&mut self) -> bool {
        let Some(bucket) = self.pending.first() else {
            return true;
        };
        if bucket.is_eos() {
            self.state = State::Ended;
            self.pending.clear();
            return true;
        }
        if let Some(status) = bucket.error_status() {
            self.fail(status);
            return true;
        }
        false
    }

    fn fail(&mut self, status: ffi::apr_status_t) {
        self.state = State::Failed(status);
        self.pending.clear();
    }
}

impl BodyError {
    /// The status to answer with when nothing else was answered: 408, 413, 400 …
    pub fn answer(self) -> Answer {
        // SAFETY: a pure function of httpd's.
        match unsafe { ffi::ap_map_http_request_error(self.0, ffi::HTTP_BAD_REQUEST) } {
            ffi::AP_FILTER_ERROR => Answer::FilterAnswered,
            status => Answer::Status(u16::try_from(status).unwrap_or(400)),
        }
    }

    /// Says what went wrong, in words.
    pub fn text(self) -> String {
        match self.0 {
            ffi::APR_TIMEUP => "the client sent nothing for too long (Timeout)".into(),
            ffi::APR_EOF | ffi::APR_INCOMPLETE | ffi::APR_ECONNABORTED | libc::ECONNRESET => {
                "the client closed the connection before the body was complete".into()
            }
            ffi::AP_FILTER_ERROR => "the server refused the body: too large (LimitRequestBody) or malformed".into(),
            status => {
                let mut buffer = [0 as c_char; 200];
                // SAFETY: writes a NUL-terminated text of at most that length.
                let text = unsafe {
                    ffi::apr_strerror(status, buffer.as_mut_ptr(), buffer.len());
                    text::bytes(buffer.as_ptr())
                };
                format!("the body cannot be read: {}", String::from_utf8_lossy(text))
            }
        }
    }
}
