//! Daemon mode, httpd's side: a request goes into its group's queue and a daemon's answer comes back.
//!
//! `wsgi_core::wire` tells the whole exchange, state by state.

mod group;
mod incoming;
mod pair;
mod pipe;
mod relay;
mod upload;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use wsgi_core::abi::Level;
use wsgi_core::supervision::{State, Time};
use wsgi_core::wire::control::status::retry_after;

use crate::httpd::body::Body;
use crate::httpd::log;
use crate::httpd::module::Answer;
use crate::httpd::request::Request;
use crate::module::Wsgi;
use crate::target::Target;

pub use group::{Group, Groups};
pub use pipe::Pipes;
use relay::{End, Relay, now};
use upload::{CollectError, Upload};

/// How often a request is queued again that a draining daemon handed back.
const RETRIES: u8 = 3;

/// Runs a request in a daemon of `group` and says how it ended.
pub fn run<'r>(request: Request<'r>, target: &'r Target<'r>, body: Body<'r>, group: &Group) -> Answer {
    let script = Path::new(OsStr::from_bytes(target.script));
    if !group.permits(script) {
        let text = format!(
            "WSGI0144: {} is not run: script-user= or script-group= of process group {} asks for another owner of the \
             script or of its folder, or one of them can be changed by others",
            script.display(),
            group.name
        );
        log::request::<Wsgi>(request, Level::Error, text.as_bytes());
        return Answer::Status(403);
    }
    if let State::Failed { retry, .. } = group.state() {
        return unavailable(request, group, "its daemons cannot be started, see above", retry);
    }
    let mut upload = match Upload::collect(request, body, group.spool) {
        Ok(upload) => upload,
        Err(CollectError::Client(error)) => return error.answer(),
        Err(CollectError::File(error)) => {
            let text = format!("WSGI0140: the request's body cannot be kept in a temporary file: {error}");
            log::request::<Wsgi>(request, Level::Error, text.as_bytes());
            return Answer::Status(500);
        }
    };
    if let Some(scoreboard) = &group.scoreboard {
        scoreboard.refresh();
    }
    let deadline = group.queue_timeout.map(|timeout| now() + timeout);
    for retries in 0..=RETRIES {
        match Relay::exchange(request, target, &mut upload, group, deadline, retries) {
            End::Answered => return Answer::Done,
            End::Redirected(path) => {
                request.redirect(&path);
                return Answer::Done;
            }
            End::FilterAnswered => return Answer::FilterAnswered,
            End::Status(status) => return Answer::Status(status),
            End::NotRun(reason) => return unavailable(request, group, &reason, None),
            End::Failed(status, reason) => {
                let text = format!("WSGI0141: process group {}: {reason}", group.name);
                log::request::<Wsgi>(request, Level::Error, text.as_bytes());
                return Answer::Status(status);
            }
            End::Retry => {}
        }
    }
    unavailable(request, group, "each of its daemons was about to end", None)
}

/// 503: certainly not run, so it can be sent again.
fn unavailable(request: Request<'_>, group: &Group, reason: &str, retry: Option<Time>) -> Answer {
    let text = format!(
        "WSGI0142: process group {} did not take the request: {reason}",
        group.name
    );
    log::request::<Wsgi>(request, Level::Error, text.as_bytes());
    let seconds = retry_after(retry, now());
    request.set_error_header(c"Retry-After", request.pool().string(seconds.to_string().as_bytes()));
    Answer::Status(503)
}
