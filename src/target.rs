//! What a request runs: the settings that hold for it, put together and expanded.

use std::ffi::CStr;

use wsgi_core::alias::{AliasOptions, collapse_slashes};
use wsgi_core::directive::MapHead;
use wsgi_core::group::{Facts, GroupName};

use crate::config::DirectoryConfig;
use crate::httpd::pool::Pool;
use crate::httpd::reply::Files;
use crate::httpd::request::Request;
use crate::module::Wsgi;
use crate::script::HandlerScript;

/// Name of the handler, for `SetHandler` and `AddHandler`.
pub const HANDLER: &CStr = c"wsgi-script";

/// What is to run, and how: the settings that hold for one request.
pub struct Target<'r> {
    /// The script to load.
    pub script: &'r [u8],
    /// Its modification time in µs since the epoch; negative: unknown.
    pub script_mtime: i64,
    /// The same script if `WSGIHandlerScript` named it; else empty.
    pub handler_script: &'r [u8],
    /// Daemon process group; empty: embedded mode.
    pub process_group: Vec<u8>,
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
    /// The process group is one of those that requests here may run in.
    pub permitted: bool,
    /// httpd answers for an application that says an error.
    pub error_override: bool,
    /// httpd's own record of the request goes into environ.
    pub pass_apache_request: bool,
    /// The request does not count as activity.
    pub ignore_activity: bool,
    /// How files are read.
    pub files: Files,
}

impl<'r> Target<'r> {
    /// The settings of the alias, the place and the server that the request leads to, in this order.
    pub fn of(request: Request<'r>) -> Target<'r> {
        let options = request.mapping::<Wsgi>().map(|alias| &alias.options);
        Target::new(request, options)
    }

    /// The same for a handler script, which was last changed at `mtime` (µs since the epoch; negative: unknown).
    pub fn of_handler(request: Request<'r>, handler: &'r HandlerScript, mtime: i64) -> Target<'r> {
        Target {
            script: &handler.path,
            script_mtime: mtime,
            handler_script: &handler.path,
            callable_object: b"handle_request".to_vec(),
            ..Target::new(request, Some(&handler.options))
        }
    }

    fn new(request: Request<'r>, options: Option<&AliasOptions>) -> Target<'r> {
        let config = request.config::<Wsgi>();
        let facts = RequestFacts::of(request);
        let process_group = options
            .and_then(|options| options.process_group.as_ref())
            .or(config.process_group)
            .unwrap_or(&GroupName::Global)
            .expand(&facts);
        let application_group = options
            .and_then(|options| options.application_group.as_ref())
            .or(config.application_group)
            .unwrap_or(&GroupName::Resource)
            .expand(&facts);
        Target {
            script: request.filename(),
            script_mtime: request.file_mtime(),
            handler_script: b"",
            permitted: permitted(config, &process_group, &facts),
            error_override: config.error_override.unwrap_or(false),
            pass_apache_request: config.pass_apache_request.unwrap_or(false),
            ignore_activity: config.ignore_activity.unwrap_or(false),
            process_group,
            application_group,
            callable_object: match options.and_then(|options| options.callable_object.clone()) {
                Some(name) => name,
                None => callable(config.callable_object, &facts),
            },
            script_name: facts.script_name,
            path_info: collapsed(request.pool(), request.cgi().script_and_extra().1),
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

impl Target<'_> {
    /// Sets the process group to what this name stands for.
    pub fn set_process_group(&mut self, request: Request<'_>, name: &[u8]) {
        let facts = RequestFacts::of(request);
        self.process_group = GroupName::parse(name).expand(&facts);
        self.permitted = permitted(request.config::<Wsgi>(), &self.process_group, &facts);
    }

    /// Sets the application group to what this name stands for.
    pub fn set_application_group(&mut self, request: Request<'_>, name: &[u8]) {
        self.application_group = GroupName::parse(name).expand(&RequestFacts::of(request));
    }

    /// Sets the callable to what this name stands for.
    pub fn set_callable_object(&mut self, request: Request<'_>, name: &[u8]) {
        self.callable_object = callable(Some(&GroupName::parse(name)), &RequestFacts::of(request));
    }
}

/// Whether `WSGIRestrictProcess` lets requests run in that group.
fn permitted(config: &DirectoryConfig<'_>, process_group: &[u8], facts: &RequestFacts<'_>) -> bool {
    let names = config.restrict_process;
    names.is_none_or(|names| names.iter().any(|name| name.expand(facts) == process_group))
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

/// What names of groups are expanded from.
pub struct RequestFacts<'r> {
    request: Request<'r>,
    script_name: &'r [u8],
}

impl<'r> RequestFacts<'r> {
    /// The facts of that request, as they are now.
    pub fn of(request: Request<'r>) -> RequestFacts<'r> {
        RequestFacts {
            request,
            script_name: collapsed(request.pool(), request.cgi().script_and_extra().0),
        }
    }
}

impl Facts for RequestFacts<'_> {
    fn server_name(&self) -> Vec<u8> {
        self.request.server().hostname().to_vec()
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
        let global = &self.request.server().main().config::<Wsgi>().global;
        match global.case_sensitivity {
            Some(false) => self.script_name.to_ascii_lowercase(),
            _ => self.script_name.to_vec(),
        }
    }

    fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        let global = &self.request.server().main().config::<Wsgi>().global;
        let key = self.request.pool().string(name);
        self.request
            .notes()
            .get(key)
            .or_else(|| self.request.environment().get(key))
            .map(<[u8]>::to_vec)
            .or_else(|| global.environment.get()?.get(name).cloned())
    }
}

/// A path without runs of slashes; copied only if it has some.
fn collapsed<'r>(pool: Pool<'r>, path: &'r [u8]) -> &'r [u8] {
    if path.windows(2).any(|pair| pair == b"//") {
        pool.bytes(&collapse_slashes(path))
    } else {
        path
    }
}
