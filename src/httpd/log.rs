//! The error log (`http_log.h`), under the module's own log level (`LogLevel wsgi:debug`).

use std::borrow::Cow;
use std::ffi::{CString, c_int};
use std::marker::PhantomData;
use std::ptr;
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wsgi_core::abi::{Level, Site};
use wsgi_core::repeats::{Repeats, Verdict};

use super::ffi;
use super::module::Module;
use super::pool::Pool;
use super::request::Request;
use super::server::Server;

/// Bytes of the longest line; httpd cuts longer ones (`MAX_STRING_LEN`), of which it needs some itself.
const LONGEST: usize = 8000;

/// Logs records with their request: into that host's log, with the client and the request's id. Each line of the text is
/// a record; no other record of this process comes between them.
pub fn request<M: Module>(request: Request<'_>, level: Level, text: &[u8]) {
    request_from::<M>(request, level, Site::NONE, text);
}

/// The same for records that were made at this place of a program.
pub fn request_from<M: Module>(request: Request<'_>, level: Level, site: Site<'_>, text: &[u8]) {
    if level > request_level::<M>(request) {
        return;
    }
    let text = match unrepeated(site, text) {
        Some(text) => text,
        None => return,
    };
    write_lines(site, &text, |file, number, line| {
        // SAFETY: a live request; file is NULL or a C string; the text is an argument, never the format, and `%.*s`
        // reads no more than its length.
        unsafe {
            ffi::ap_log_rerror_(
                file,
                number,
                M::record().index(),
                level as c_int,
                0,
                request.as_ptr(),
                c"%.*s".as_ptr(),
                c_int::try_from(line.len()).unwrap_or(c_int::MAX),
                line.as_ptr(),
            );
        }
    });
}

/// Logs records into a server's log.
pub fn server<M: Module>(server: Server<'_>, level: Level, text: &[u8]) {
    server_from::<M>(server, level, Site::NONE, text);
}

/// The same for records that were made at this place of a program.
pub fn server_from<M: Module>(server: Server<'_>, level: Level, site: Site<'_>, text: &[u8]) {
    // Notices are for httpd to leave out: it writes them whatever LogLevel says, unless its log is syslog's.
    if level > self::level::<M>(server).max(Level::Notice) {
        return;
    }
    write_lines(site, text, |file, number, line| {
        // SAFETY: as above, with a live server.
        unsafe {
            ffi::ap_log_error_(
                file,
                number,
                M::record().index(),
                level as c_int,
                0,
                server.as_ptr(),
                c"%.*s".as_ptr(),
                c_int::try_from(line.len()).unwrap_or(c_int::MAX),
                line.as_ptr(),
            );
        }
    });
}

/// The least important level that a request's log shows.
pub fn request_level<M: Module>(request: Request<'_>) -> Level {
    // SAFETY: a live request; httpd's own accessor.
    Level::from_raw(unsafe { ffi::ap_get_request_module_loglevel(request.as_ptr(), M::record().index()) })
}

/// The least important level that a server's log shows.
pub fn level<M: Module>(server: Server<'_>) -> Level {
    // SAFETY: a live server; httpd's own accessor.
    Level::from_raw(unsafe { ffi::ap_get_server_module_loglevel(server.as_ptr(), M::record().index()) })
}

/// Has the number of records that were left out without notice written when `pool`, the child's, ends.
pub fn tell_at_end<M: Module>(pool: Pool<'_>, server: Server<'_>) {
    struct AtEnd<'s, M: Module>(Server<'s>, PhantomData<M>);
    impl<M: Module> Drop for AtEnd<'_, M> {
        fn drop(&mut self) {
            let left_out = REPEATS.lock().unwrap_or_else(PoisonError::into_inner).end();
            if left_out > 0 {
                let text = format!("WSGI0121: {left_out} repeated records were left out of the logs of this process");
                self::server::<M>(self.0, Level::Notice, text.as_bytes());
            }
        }
    }
    pool.own(AtEnd::<M>(server, PhantomData));
}

/// Records of requests that this process has written.
static REPEATS: Mutex<Repeats> = Mutex::new(Repeats::new());

/// What is shown of a record of this project's own, which begins with a code, when it comes in a flood: `None` is
/// nothing. What applications print is never left out; their handlers say where it comes from.
fn unrepeated<'t>(site: Site<'_>, text: &'t [u8]) -> Option<Cow<'t, [u8]>> {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    if !site.file.is_empty() || !text.starts_with(b"WSGI0") {
        return Some(text.into());
    }
    let verdict = match REPEATS.try_lock() {
        Ok(mut repeats) => repeats.judge(text, BEGIN.elapsed()),
        Err(_) => Verdict::Show,
    };
    match verdict {
        Verdict::Show => Some(text.into()),
        Verdict::ShowAfter(left_out) => {
            let note = format!("WSGI0121: {left_out} records like the next one were left out of this log\n");
            Some([note.as_bytes(), text].concat().into())
        }
        Verdict::LeaveOut => None,
    }
}

/// Passes each line to `write`, with the file's name and the line number for httpd.
fn write_lines(site: Site<'_>, text: &[u8], write: impl Fn(*const std::ffi::c_char, c_int, &[u8])) {
    let file = CString::new(site.file).ok().filter(|_| !site.file.is_empty());
    let name = file.as_ref().map_or(ptr::null(), |file| file.as_ptr());
    let number = c_int::try_from(site.line).unwrap_or(0);
    let _turn = Turn::wait();
    for line in printable(text).split(|&b| b == b'\n') {
        let mut pieces = line.chunks(LONGEST);
        write(name, number, pieces.next().unwrap_or_default());
        for piece in pieces {
            write(name, number, piece);
        }
    }
}

/// Whose turn it is to write: the lines of one text stay together.
struct Turn;

static TAKEN: Mutex<bool> = Mutex::new(false);
static LEFT: Condvar = Condvar::new();
/// For so long one waits for others. Whoever takes longer has a log that hangs, or does not exist any more: an application
/// may have forked just when another thread was writing.
const PATIENCE: Duration = Duration::from_secs(5);

impl Turn {
    /// Waits for it; after [`PATIENCE`] it is taken.
    fn wait() -> Turn {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = LEFT.wait_timeout_while(taken, PATIENCE, |taken| *taken);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = true;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = false;
        LEFT.notify_one();
    }
}

/// C formatting ends a text at a NUL; shown as a question mark, the rest is not lost.
fn printable(text: &[u8]) -> Cow<'_, [u8]> {
    if text.contains(&0) {
        text.iter()
            .map(|&b| if b == 0 { b'?' } else { b })
            .collect::<Vec<u8>>()
            .into()
    } else {
        text.into()
    }
}
