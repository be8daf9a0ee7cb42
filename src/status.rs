//! The handler `wsgi-status`: how the process groups are, for people, for programs and for Prometheus.
//!
//! Who may see it is for httpd's `Require` to say. It shows the URLs of requests in progress, without their queries.

mod children;
mod openmetrics;
mod page;

use std::ffi::CStr;

use wsgi_core::abi::{Level, Sent};
use wsgi_core::clock;
use wsgi_core::stats::report::Report;

use crate::httpd::log;
use crate::httpd::module::Answer;
use crate::httpd::reply::{Files, Piece, Reply};
use crate::httpd::request::Request;
use crate::httpd::server::Server;
use crate::module::Wsgi;

pub use children::Counters;

/// Name of the handler, for `SetHandler`.
const HANDLER: &CStr = c"wsgi-status";

/// What is shown.
#[derive(Clone, Copy)]
enum Format {
    Page,
    Json,
    OpenMetrics,
}

/// Makes ready what httpd's own processes count with. Without it they count for themselves.
pub fn configure(server: Server<'_>) {
    match Counters::open(server) {
        Ok(counters) => {
            // A configuration is put to use once.
            let _ = server.main().config::<Wsgi>().global.counters.set(counters);
        }
        Err(error) => {
            let text =
                format!("WSGI0169: wsgi-status will not show httpd's own processes: no memory for them: {error}");
            log::server::<Wsgi>(server, Level::Warning, text.as_bytes());
        }
    }
}

/// The handler hook.
pub fn handle(request: Request<'_>) -> Answer {
    if request.handler() != HANDLER.to_bytes() {
        return Answer::Declined;
    }
    if !matches!(request.method(), b"GET" | b"HEAD") {
        return Answer::Status(405);
    }
    let Some(format) = format(request.query()) else {
        let text = "WSGI0168: wsgi-status was asked for a format that it does not have; it has ?format=json and \
                    ?format=openmetrics";
        log::request::<Wsgi>(request, Level::Info, text.as_bytes());
        return Answer::Status(400);
    };
    let report = report(request);
    let (kind, text) = match format {
        Format::Page => ("text/html; charset=utf-8", page::render(&report)),
        Format::Json => match serde_json::to_string(&report) {
            Ok(text) => ("application/json", text),
            Err(_) => return Answer::Status(500),
        },
        Format::OpenMetrics => match openmetrics::render(&report) {
            Ok(text) => ("application/openmetrics-text; version=1.0.0; charset=utf-8", text),
            Err(_) => return Answer::Status(500),
        },
    };
    send(request, kind, &text)
}

fn format(query: &[u8]) -> Option<Format> {
    let wanted = query
        .split(|byte| *byte == b'&')
        .find_map(|part| part.strip_prefix(b"format="));
    match wanted {
        None | Some(b"html") => Some(Format::Page),
        Some(b"json") => Some(Format::Json),
        Some(b"openmetrics") => Some(Format::OpenMetrics),
        Some(_) => None,
    }
}

/// How everything is.
fn report(request: Request<'_>) -> Report {
    let global = &request.server().main().config::<Wsgi>().global;
    let report = global.groups.get().and_then(|groups| groups.report());
    let mut report = report.unwrap_or_default();
    report.time_us = clock::epoch();
    if let Some(counters) = global.counters.get() {
        report.add_own(counters.group(clock::monotonic()));
    }
    report
}

fn send(request: Request<'_>, kind: &str, text: &str) -> Answer {
    let files = Files {
        sendfile: false,
        mmap: false,
    };
    let mut reply = Reply::new(request, files);
    reply.forget_content();
    let headers = [
        ("Content-Type", kind),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        // Nothing is loaded from anywhere, whatever a URL that is shown may hold.
        (
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in headers {
        reply.add_header(name.as_bytes(), value.as_bytes());
    }
    match reply.send([Piece::Bytes(text.as_bytes())].into_iter(), true) {
        Sent::Failed => Answer::FilterAnswered,
        Sent::Ok | Sent::ClientGone => Answer::Done,
    }
}
