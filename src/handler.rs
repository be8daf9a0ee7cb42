//! The handler: from a request to its script, and to a status.

use std::io::ErrorKind;

use wsgi_core::abi::Level;

use crate::dispatch::dispatch;
use crate::httpd::body::Body;
use crate::httpd::log;
use crate::httpd::module::Answer;
use crate::httpd::request::{FileKind, Request};
use crate::module::Wsgi;
use crate::script::{HandlerScript, mtime};
use crate::target::{HANDLER, Target};
use crate::{daemon, embedded};

/// The same as a media type, for `AddType`.
const MEDIA_TYPE: &[u8] = b"application/x-httpd-wsgi";

/// The handler hook.
pub fn handle(request: Request<'_>) -> Answer {
    let handler = request.handler();
    let target = if handler == HANDLER.to_bytes() || handler == MEDIA_TYPE {
        check(request).map(|()| Target::of(request))
    } else if let Some(script) = request.config::<Wsgi>().handler_scripts.find(handler) {
        handler_target(request, script)
    } else {
        return Answer::Declined;
    };
    match target.and_then(|target| serve(request, target)) {
        Ok(answer) | Err(answer) => answer,
    }
}

fn serve<'r>(request: Request<'r>, target: Target<'r>) -> Result<Answer, Answer> {
    check_path_info(request)?;
    let chunked = request.config::<Wsgi>().chunked_request.unwrap_or(false);
    let body = Body::open(request, chunked).map_err(|answer| match answer {
        Answer::Status(411) => refuse(
            request,
            411,
            "WSGI0114: request with a chunked body refused; WSGIChunkedRequest On lets such requests through",
        ),
        answer => answer,
    })?;
    let target = dispatch(request, target)?;
    Ok(run(request, &target, body))
}

/// What runs for a handler of `WSGIHandlerScript`. What the URL leads to is the script's own affair.
fn handler_target<'r>(request: Request<'r>, script: &'r HandlerScript) -> Result<Target<'r>, Answer> {
    let mtime = match mtime(&script.path) {
        Ok(mtime) => mtime,
        // A daemon may see it where httpd does not.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => -1,
        Err(error) => {
            let text = format!(
                "WSGI0195: WSGIHandlerScript {} cannot be used: {error}",
                String::from_utf8_lossy(&script.path)
            );
            return Err(refuse(request, 500, &text));
        }
    };
    Ok(Target::of_handler(request, script, mtime))
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
        .and_then(|groups| groups.visible(&target.process_group, request.server()))
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
    Ok(())
}

fn check_path_info(request: Request<'_>) -> Result<(), Answer> {
    let file = || String::from_utf8_lossy(request.filename());
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
