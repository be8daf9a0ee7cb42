//! The handler: from a request to its script, and to a status.

use wsgi_core::abi::Level;

use crate::httpd::body::Body;
use crate::httpd::log;
use crate::httpd::module::Answer;
use crate::httpd::request::{FileKind, Request};
use crate::module::Wsgi;
use crate::target::{HANDLER, Target};
use crate::{daemon, embedded};

/// The same as a media type, for `AddType`.
const MEDIA_TYPE: &[u8] = b"application/x-httpd-wsgi";

/// The handler hook.
pub fn handle(request: Request<'_>) -> Answer {
    if request.handler() != HANDLER.to_bytes() && request.handler() != MEDIA_TYPE {
        return Answer::Declined;
    }
    if let Err(answer) = check(request) {
        return answer;
    }
    let chunked = request.config::<Wsgi>().chunked_request.unwrap_or(false);
    match Body::open(request, chunked) {
        Ok(body) => run(request, &Target::of(request), body),
        Err(Answer::Status(411)) => refuse(
            request,
            411,
            "WSGI0114: request with a chunked body refused; WSGIChunkedRequest On lets such requests through",
        ),
        Err(answer) => answer,
    }
}

fn run(request: Request<'_>, target: &Target<'_>, body: Body<'_>) -> Answer {
    let name = || match &target.process_group[..] {
        [] => "%{GLOBAL} (httpd's own processes)".into(),
        name => String::from_utf8_lossy(name),
    };
    let global = &request.server().main().config::<Wsgi>().global;
    if !target.permitted {
        let text = format!(
            "WSGI0116: process group {} is none of those that WSGIRestrictProcess permits here",
            name()
        );
        return refuse(request, 500, &text);
    }
    if target.process_group.is_empty() {
        if global.restrict_embedded == Some(true) {
            let text = "WSGI0117: the request names no daemon process group, and WSGIRestrictEmbedded is On; set \
                        WSGIProcessGroup for it";
            return refuse(request, 500, text);
        }
        return embedded::run(request, target, body);
    }
    match global
        .groups
        .get()
        .and_then(|groups| groups.visible(&target.process_group, request.server().hostname()))
    {
        Some(group) => daemon::run(request, target, body, group),
        None => {
            let text = format!(
                "WSGI0115: there is no daemon process group {} for this server; define it by WSGIDaemonProcess, in the \
                 main configuration or in a virtual host of the same ServerName",
                name()
            );
            refuse(request, 500, &text)
        }
    }
}

/// Whether the script may be run for this request.
fn check(request: Request<'_>) -> Result<(), Answer> {
    let file = || String::from_utf8_lossy(request.filename());
    if request.mapping::<Wsgi>().is_none() && !request.may_execute() {
        let text = format!(
            "WSGI0110: {} is not run, since Options ExecCGI is off for its directory",
            file()
        );
        return Err(refuse(request, 403, &text));
    }
    match request.file_kind() {
        FileKind::Regular | FileKind::Other => {}
        FileKind::Missing => {
            return Err(refuse(
                request,
                404,
                &format!("WSGI0111: script {} does not exist", file()),
            ));
        }
        FileKind::Directory => {
            let text = format!("WSGI0112: {} is a directory, not a script", file());
            return Err(refuse(request, 403, &text));
        }
    }
    if request.rejects_path_info() && !request.path_info().is_empty() {
        let extra = String::from_utf8_lossy(request.path_info());
        let text = format!(
            "WSGI0113: {} is asked for with the extra path {extra}, which AcceptPathInfo Off refuses",
            file()
        );
        return Err(refuse(request, 404, &text));
    }
    Ok(())
}

fn refuse(request: Request<'_>, status: u16, reason: &str) -> Answer {
    log::request::<Wsgi>(request, Level::Error, reason.as_bytes());
    Answer::Status(status)
}
