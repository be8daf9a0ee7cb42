//! The text part of a request's `environ` (`PEP 3333`, "environ Variables"; RFC 3875 for the CGI names).
//!
//! Later entries win over earlier ones of the same name: first what other modules and `SetEnv` put into the request's
//! environment, then what the server itself knows.

use std::borrow::Cow;

use wsgi_core::directive::MapHead;
use wsgi_core::{header, proxy};

use crate::host::Variables;
use crate::httpd::pool::Pool;
use crate::httpd::process;
use crate::httpd::request::Request;
use crate::module::Wsgi;
use crate::target::Target;

/// The entries, borrowed from the request.
pub struct Environ<'r> {
    /// In order.
    pub variables: Variables<'r>,
    /// The request came over TLS, as mod_ssl or the variable `HTTPS` says.
    pub https: bool,
    pool: Pool<'r>,
}

impl<'r> Environ<'r> {
    /// Collects the entries for a request that is to run as `target` says.
    pub fn of(request: Request<'r>, target: &'r Target<'r>) -> Environ<'r> {
        let mut environ = Environ {
            variables: Variables::new(),
            https: false,
            pool: request.pool(),
        };
        environ.put_modules(request);
        environ.put_headers(request, target);
        environ.put_connection(request);
        environ.put_request(request, target);
        environ.put_own(request, target);
        environ.put_name(request, target);
        if !environ.put_proxied(request) {
            environ.https |= request.cgi().is_tls();
        }
        environ
    }

    fn put(&mut self, name: &'r [u8], value: &'r [u8]) {
        self.variables.push(name, value);
    }

    fn put_number(&mut self, name: &'r [u8], value: u32) {
        let mut digits = [0; 10];
        let mut at = digits.len();
        let mut rest = value;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let text = self.pool.bytes(&digits[at..]);
        self.put(name, text);
    }

    /// What modules and directives set.
    fn put_modules(&mut self, request: Request<'r>) {
        for (name, value) in request.environment().iter() {
            if name.eq_ignore_ascii_case(b"HTTPS") {
                self.https |= value.eq_ignore_ascii_case(b"on") || value == b"1";
            } else {
                self.put(name, value);
            }
        }
    }

    fn put_headers(&mut self, request: Request<'r>, target: &Target<'r>) {
        for (name, value) in request.headers_in().iter() {
            match name.len() {
                12 if name.eq_ignore_ascii_case(b"Content-Type") => self.put(b"CONTENT_TYPE", value),
                14 if name.eq_ignore_ascii_case(b"Content-Length") => self.put(b"CONTENT_LENGTH", value),
                13 if name.eq_ignore_ascii_case(b"Authorization")
                    && !(target.pass_authorization || request.cgi().passes_auth()) => {}
                19 if name.eq_ignore_ascii_case(b"Proxy-Authorization") && !request.cgi().passes_auth() => {}
                _ if header::is_variable(name) => self.put(header_variable(self.pool, name), value),
                _ => {}
            }
        }
    }

    fn put_connection(&mut self, request: Request<'r>) {
        let cgi = request.cgi();
        self.put(b"SERVER_SOFTWARE", cgi.server_software());
        self.put(b"SERVER_NAME", cgi.server_name());
        self.put(b"SERVER_ADDR", cgi.local_address());
        self.put_number(b"SERVER_PORT", cgi.server_port().into());
        self.put(b"REMOTE_ADDR", cgi.remote_address());
        self.put_number(b"REMOTE_PORT", cgi.remote_port().into());
        self.put(b"DOCUMENT_ROOT", cgi.document_root());
        self.put(b"REQUEST_SCHEME", cgi.scheme());
        self.put(b"CONTEXT_PREFIX", cgi.context_prefix());
        self.put(b"CONTEXT_DOCUMENT_ROOT", cgi.context_document_root());
        if let Some(admin) = cgi.server_admin() {
            self.put(b"SERVER_ADMIN", admin);
        }
    }

    fn put_request(&mut self, request: Request<'r>, target: &'r Target<'r>) {
        let cgi = request.cgi();
        self.put(b"SERVER_PROTOCOL", request.protocol());
        self.put(b"QUERY_STRING", request.query());
        self.put(b"SCRIPT_FILENAME", request.filename());
        self.put(b"SCRIPT_NAME", target.script_name);
        self.put(b"PATH_INFO", target.path_info);
        if let Some(kind) = request.auth_type() {
            self.put(b"AUTH_TYPE", kind);
        }
        match (request.user(), request.previous()) {
            (Some(user), _) => self.put(b"REMOTE_USER", user),
            (None, Some(previous)) => {
                if let Some(user) = previous.user() {
                    self.put(b"REDIRECT_REMOTE_USER", user);
                }
            }
            (None, None) => {}
        }
        if let Some(url) = cgi.redirect_url() {
            self.put(b"REDIRECT_URL", url);
            if let Some(previous) = request.previous().filter(|previous| !previous.query().is_empty()) {
                self.put(b"REDIRECT_QUERY_STRING", previous.query());
            }
        }
    }

    /// The module's own keys.
    fn put_own(&mut self, request: Request<'r>, target: &'r Target<'r>) {
        let cgi = request.cgi();
        self.put(b"mod_wsgi.process_group", &target.process_group);
        self.put(b"mod_wsgi.application_group", &target.application_group);
        self.put(b"mod_wsgi.callable_object", &target.callable_object);
        self.put(b"mod_wsgi.request_handler", request.handler());
        self.put(b"mod_wsgi.handler_script", target.handler_script);
        self.put(b"mod_wsgi.script_name", target.script_name);
        self.put(b"mod_wsgi.path_info", target.path_info);
        self.put(b"mod_wsgi.listener_host", cgi.local_host());
        self.put_number(b"mod_wsgi.listener_port", cgi.local_port().into());
        self.put(b"mod_wsgi.request_id", cgi.request_id());
        if let Some(id) = cgi.connection_id() {
            self.put(b"mod_wsgi.connection_id", id);
        }
        self.put_number(b"mod_wsgi.server_pid", process::id());
    }

    /// What the request is called in statistics and logs, which look for it from the end.
    fn put_name(&mut self, request: Request<'r>, target: &Target<'r>) {
        self.put(b"REQUEST_METHOD", method(request, target.map_head));
        self.put(b"REQUEST_URI", request.cgi().request_uri());
    }

    /// What a trusted proxy says, over all that is known here. Whether it says by which scheme the client came.
    fn put_proxied(&mut self, request: Request<'r>) -> bool {
        let config = request.config::<Wsgi>();
        let Some(headers) = config.trusted_proxy_headers else {
            return false;
        };
        let proxies = config.trusted_proxies.map(Vec::as_slice);
        let changes = proxy::apply(headers, proxies, request.cgi().remote_address(), |key| {
            let found = self.variables.iter().rfind(|(name, _)| *name == key.as_bytes())?;
            Some(found.1)
        });
        for (key, value) in changes.entries {
            let value = match value {
                Cow::Borrowed(value) => value,
                Cow::Owned(value) => self.pool.bytes(&value),
            };
            self.put(key.as_bytes(), value);
        }
        self.variables
            .remove(|name| changes.removed.iter().any(|key| key.as_bytes() == name));
        self.https = changes.https.unwrap_or(self.https);
        changes.scheme_said
    }
}

fn method<'r>(request: Request<'r>, map_head: MapHead) -> &'r [u8] {
    let as_get = match map_head {
        MapHead::Off => false,
        MapHead::On => true,
        MapHead::Auto => request.content_is_filtered(),
    };
    if as_get && request.header_only() && request.method() == b"HEAD" {
        b"GET"
    } else {
        request.method()
    }
}

/// The variable of a header: `X-Foo` is `HTTP_X_FOO`.
pub fn header_variable<'r>(pool: Pool<'r>, name: &[u8]) -> &'r [u8] {
    let mut key = [0; 64];
    let len = 5 + name.len();
    if len <= key.len() {
        write_key(&mut key[..len], name);
        pool.bytes(&key[..len])
    } else {
        let mut key = vec![0; len];
        write_key(&mut key, name);
        pool.bytes(&key)
    }
}

/// `X-Foo` as `HTTP_X_FOO`; `key` has room for exactly that.
fn write_key(key: &mut [u8], name: &[u8]) {
    let (prefix, rest) = key.split_at_mut(5);
    prefix.copy_from_slice(b"HTTP_");
    for (to, from) in rest.iter_mut().zip(name) {
        *to = if *from == b'-' { b'_' } else { from.to_ascii_uppercase() };
    }
}
