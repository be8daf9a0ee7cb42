//! The handler: from a request to its script, and to a status.

use std::ffi::CStr;

use wsgi_core::abi::Level;
use wsgi_core::directive::MapHead;
use wsgi_core::group::{Facts, GroupName};

use crate::embedded;
use crate::environ::collapsed;
use crate::httpd::body::Body;
use crate::httpd::log;
use crate::httpd::module::Answer;
use crate::httpd::reply::Files;
use crate::httpd::request::{FileKind, Request};
use crate::module::Wsgi;

/// Name of the handler, for `SetHandler` and `AddHandler`.
pub const HANDLER: &CStr = c"wsgi-script";
/// The same as a media type, for `AddType`.
const MEDIA_TYPE: &[u8] = b"application/x-httpd-wsgi";

/// What is to run, and how: the settings that hold for one request.
pub struct Target<'r> {
    /// Interpreter; empty: the main one.
    pub application_group: Vec<u8>,
    /// Attribute of the script's module.
    pub callable_object: Vec<u8>,
    /// The URL's part that leads to the script, and the rest, runs of slashes collapsed.
    pub script_name: &'r [u8],
    /// See `script_name`.
    pub path_info: &'r [u8],
    /// The Authorization header goes to the application.
    pub pass_authorization: bool,
    /// A changed script is loaded again.
    pub reloading: bool,
    /// How HEAD is shown.
    pub map_head: MapHead,
    /// How files are read.
    pub files: Files,
}

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
        Ok(body) => embedded::run(request, &Target::of(request), body),
        Err(Answer::Status(411)) => refuse(
            request,
            411,
            "WSGI0114: request with a chunked body refused; WSGIChunkedRequest On lets such requests through",
        ),
        Err(answer) => answer,
    }
}

/// Whether the script may be run for this request.
fn check(request: Request<'_>) -> Result<(), Answer> {
    let file = String::from_utf8_lossy(request.filename());
    if request.mapping::<Wsgi>().is_none() && !request.may_execute() {
        let text = format!("WSGI0110: {file} is not run, since Options ExecCGI is off for its directory");
        return Err(refuse(request, 403, &text));
    }
    match request.file_kind() {
        FileKind::Regular | FileKind::Other => {}
        FileKind::Missing => return Err(refuse(request, 404, &format!("WSGI0111: script {file} does not exist"))),
        FileKind::Directory => {
            let text = format!("WSGI0112: {file} is a directory, not a script");
            return Err(refuse(request, 403, &text));
        }
    }
    if request.rejects_path_info() && !request.path_info().is_empty() {
        let extra = String::from_utf8_lossy(request.path_info());
        let text =
            format!("WSGI0113: {file} is asked for with the extra path {extra}, which AcceptPathInfo Off refuses");
        return Err(refuse(request, 404, &text));
    }
    Ok(())
}

fn refuse(request: Request<'_>, status: u16, reason: &str) -> Answer {
    log::request::<Wsgi>(request, Level::Error, reason.as_bytes());
    Answer::Status(status)
}

impl<'r> Target<'r> {
    fn of(request: Request<'r>) -> Target<'r> {
        let config = request.config::<Wsgi>();
        let options = request.mapping::<Wsgi>().map(|alias| &alias.options);
        let (script, extra) = request.cgi().script_and_extra();
        let script_name = collapsed(request.pool(), script);
        let facts = RequestFacts { request, script_name };
        let application_group = options
            .and_then(|options| options.application_group.as_ref())
            .or(config.application_group)
            .unwrap_or(&GroupName::Resource)
            .expand(&facts);
        Target {
            application_group,
            callable_object: match options.and_then(|options| options.callable_object.clone()) {
                Some(name) => name,
                None => callable(config.callable_object, &facts),
            },
            script_name,
            path_info: collapsed(request.pool(), extra),
            pass_authorization: options
                .and_then(|options| options.pass_authorization)
                .or(config.pass_authorization)
                .unwrap_or(false),
            reloading: config.script_reloading.unwrap_or(true),
            map_head: config.map_head.unwrap_or(MapHead::Auto),
            files: Files {
                sendfile: config.enable_sendfile.unwrap_or(false),
                mmap: true,
            },
        }
    }
}

/// The callable's name. Of the `%{…}` forms only `%{ENV:…}` has a meaning here.
fn callable(name: Option<&GroupName>, facts: &RequestFacts<'_>) -> Vec<u8> {
    let name = match name {
        Some(name @ (GroupName::Literal(_) | GroupName::Env(_))) => name.expand(facts),
        _ => Vec::new(),
    };
    if name.is_empty() || name.starts_with(b"%") {
        b"application".to_vec()
    } else {
        name
    }
}

struct RequestFacts<'r> {
    request: Request<'r>,
    script_name: &'r [u8],
}

impl Facts for RequestFacts<'_> {
    fn server_name(&self) -> Vec<u8> {
        self.request.cgi().server_hostname().to_vec()
    }

    fn host(&self) -> Vec<u8> {
        match self.request.cgi().host() {
            Some(host) if !host.is_empty() => host.to_vec(),
            _ => self.server_name(),
        }
    }

    fn port(&self) -> u16 {
        self.request.cgi().local_port()
    }

    fn script_name(&self) -> Vec<u8> {
        self.script_name.to_vec()
    }

    fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let key = self.request.pool().string(name);
        self.request
            .notes()
            .get(key)
            .or_else(|| self.request.environment().get(key))
            .map(<[u8]>::to_vec)
            .or_else(|| std::env::var_os(std::ffi::OsStr::from_bytes(name)).map(OsStringExt::into_vec))
    }
}
