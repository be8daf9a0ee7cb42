//! Asking a script about a request, in this httpd child.

use wsgi_core::abi::{Bytes, Hook, HookKind, HookResult, Level};
use wsgi_core::header;

use crate::embedded;
use crate::environ::header_variable;
use crate::host::{Inquiry, Variables};
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::module::Wsgi;
use crate::script::{HookScript, mtime};
use crate::target::RequestFacts;

/// What a script said: a result, and the texts that belong to it.
pub type Said = (HookResult, Vec<(usize, Vec<u8>)>);

/// Asks `script`, with these texts beside the environ that hooks get.
pub fn ask(request: Request<'_>, script: &HookScript, kind: HookKind, arguments: [&[u8]; 2]) -> Said {
    let mut variables = environ(request);
    variables.push(b"mod_wsgi.process_group", b"");
    let group = script.application_group.expand(&RequestFacts::of(request));
    variables.push(b"mod_wsgi.application_group", request.pool().bytes(&group));
    ask_with(request, script, kind, arguments, &variables)
}

/// The same with an environ of these entries. A failure is logged.
pub fn ask_with(
    request: Request<'_>,
    script: &HookScript,
    kind: HookKind,
    arguments: [&[u8]; 2],
    variables: &Variables<'_>,
) -> Said {
    let failed = |text: String| {
        log::request::<Wsgi>(request, Level::Error, text.as_bytes());
        (HookResult::Failed, Vec::new())
    };
    let script_mtime = match mtime(&script.path) {
        Ok(mtime) => mtime,
        Err(error) => {
            return failed(format!(
                "WSGI0191: {} {} cannot be used: {error}; the user that httpd's children run as must be able to read it",
                script.directive,
                String::from_utf8_lossy(&script.path)
            ));
        }
    };
    let application_group = script.application_group.expand(&RequestFacts::of(request));
    let hook = Hook {
        kind: kind as i32,
        variables: variables.as_ptr(),
        variables_len: variables.len(),
        arguments: arguments.map(Bytes::of),
        script: Bytes::of(&script.path),
        script_mtime,
        reloading: request.config::<Wsgi>().script_reloading.unwrap_or(true),
        application_group: Bytes::of(&application_group),
        record: if request.config::<Wsgi>().pass_apache_request == Some(true) {
            request.to_address()
        } else {
            std::ptr::null_mut()
        },
    };
    let mut inquiry = Inquiry::new(request);
    match embedded::ask(request, &hook, &mut inquiry) {
        Some(result) => (result, inquiry.texts),
        None => failed(format!(
            "WSGI0190: no Python runs in this httpd child, but {} {} needs it; the log says why where the child began \
             (under WSGIRestrictEmbedded On it is not started for the sake of .htaccess files)",
            script.directive,
            String::from_utf8_lossy(&script.path)
        )),
    }
}

/// What hooks know about a request: less than applications, for it is not settled yet what will run.
fn environ(request: Request<'_>) -> Variables<'_> {
    let (cgi, pool) = (request.cgi(), request.pool());
    let mut variables = Variables::new();
    for (name, value) in request.headers_in().iter() {
        if name.eq_ignore_ascii_case(b"Content-Type") {
            variables.push(b"CONTENT_TYPE", value);
        } else if name.eq_ignore_ascii_case(b"Content-Length") {
            variables.push(b"CONTENT_LENGTH", value);
        } else if !name.eq_ignore_ascii_case(b"Authorization")
            && !name.eq_ignore_ascii_case(b"Proxy-Authorization")
            && header::is_variable(name)
        {
            variables.push(header_variable(pool, name), value);
        }
    }
    let number = |number: u16| pool.bytes(number.to_string().as_bytes());
    variables.push(b"SERVER_SIGNATURE", cgi.server_signature());
    variables.push(b"SERVER_SOFTWARE", cgi.server_software());
    variables.push(b"SERVER_NAME", cgi.server_name());
    variables.push(b"SERVER_ADDR", cgi.local_address());
    variables.push(b"SERVER_PORT", number(cgi.server_port()));
    if let Some(host) = cgi.remote_host() {
        variables.push(b"REMOTE_HOST", host);
    }
    variables.push(b"REMOTE_ADDR", cgi.remote_address());
    variables.push(b"DOCUMENT_ROOT", cgi.document_root());
    if let Some(admin) = cgi.server_admin() {
        variables.push(b"SERVER_ADMIN", admin);
    }
    variables.push(b"REMOTE_PORT", number(cgi.remote_port()));
    variables.push(b"SERVER_PROTOCOL", request.protocol());
    variables.push(b"REQUEST_METHOD", request.method());
    variables.push(b"QUERY_STRING", request.query());
    variables.push(b"REQUEST_URI", cgi.request_uri());
    let (script, extra) = cgi.script_and_extra();
    variables.push(b"SCRIPT_NAME", script);
    variables.push(b"PATH_INFO", extra);
    variables
}
