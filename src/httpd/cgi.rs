//! The facts about a request that CGI names (`util_script.h`, `http_core.h`), each as httpd itself tells it to CGI
//! programs.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use super::request::Request;
use super::{ffi, text};

/// Facts of one request and its connection.
#[derive(Clone, Copy)]
pub struct Cgi<'r> {
    request: Request<'r>,
}

impl<'r> Request<'r> {
    /// The request as CGI sees it.
    pub fn cgi(self) -> Cgi<'r> {
        Cgi { request: self }
    }
}

impl<'r> Cgi<'r> {
    fn raw(self) -> *mut ffi::request_rec {
        self.request.as_ptr()
    }

    fn connection(self) -> &'r ffi::conn_rec {
        // SAFETY: outlives its requests; only fields that are set before a request begins are read through this.
        unsafe { &*self.request.fields().connection }
    }

    fn core(self) -> &'r ffi::core_dir_config {
        // SAFETY: httpd's core has such a configuration for every request.
        unsafe { &*ffi::ap_get_core_module_config(self.request.fields().per_dir_config).cast() }
    }

    /// The server's name for URLs, by the rules of `UseCanonicalName`, escaped for HTML.
    pub fn server_name(self) -> &'r [u8] {
        // SAFETY: a live request; the results are its pool's or the configuration's.
        unsafe {
            let name = ffi::ap_get_server_name_for_url(self.raw());
            text::bytes(ffi::ap_escape_html2(self.request.fields().pool, name, 0))
        }
    }

    /// The host that the client asked for, without its port.
    pub fn host(self) -> Option<&'r [u8]> {
        // SAFETY: the request's own string.
        unsafe { text::optional(self.request.fields().hostname) }
    }

    /// The server's port for URLs, by the rules of `UseCanonicalName` and `UseCanonicalPhysicalPort`.
    pub fn server_port(self) -> u16 {
        // SAFETY: a live request.
        unsafe { ffi::ap_get_server_port(self.raw()) }
    }

    /// `ServerAdmin`.
    pub fn server_admin(self) -> Option<&'r [u8]> {
        // SAFETY: as for the name.
        unsafe { text::optional((*self.request.fields().server).server_admin) }
    }

    /// The server's name and version, as `ServerTokens` shows them.
    pub fn server_software(self) -> &'r [u8] {
        // SAFETY: a string of the configuration.
        unsafe { text::bytes(ffi::ap_get_server_banner()) }
    }

    /// The address that the client connected to.
    pub fn local_address(self) -> &'r [u8] {
        // SAFETY: the connection's own string.
        unsafe { text::bytes(self.connection().local_ip) }
    }

    /// The name of that address, if it was looked up, or as `Listen` has it.
    pub fn local_host(self) -> &'r [u8] {
        // SAFETY: the connection's own strings and address.
        unsafe {
            let listened = || Some(text::bytes(self.connection().local_addr.as_ref()?.hostname));
            text::optional(self.connection().local_host)
                .or_else(listened)
                .unwrap_or_default()
        }
    }

    /// The port that the client connected to.
    pub fn local_port(self) -> u16 {
        // SAFETY: the connection's own address.
        unsafe { self.connection().local_addr.as_ref() }.map_or(0, |address| address.port)
    }

    /// The address of the user agent, behind proxies if mod_remoteip says so.
    pub fn remote_address(self) -> &'r [u8] {
        // SAFETY: the request's own string.
        unsafe { text::bytes(self.request.fields().useragent_ip) }
    }

    /// The port of the connection's other end.
    pub fn remote_port(self) -> u16 {
        // SAFETY: the connection's own address.
        unsafe { self.connection().client_addr.as_ref() }.map_or(0, |address| address.port)
    }

    /// `http` or `https`, as `ServerName` and mod_ssl say.
    pub fn scheme(self) -> &'r [u8] {
        // SAFETY: a live request; the answer is constant or the configuration's.
        unsafe { text::bytes(ffi::ap_run_http_scheme(self.raw())) }
    }

    /// The connection is encrypted, by mod_ssl or another module that does so.
    pub fn is_tls(self) -> bool {
        // SAFETY: a live connection.
        unsafe { ffi::ap_ssl_conn_is_ssl(self.request.fields().connection) != 0 }
    }

    /// The variable of mod_ssl's of that name, for this request, if there is one.
    pub fn tls_variable(self, name: &[u8]) -> Option<&'r [u8]> {
        let fields = self.request.fields();
        // SAFETY: a live request, its connection, server and pool; the value is in the pool or constant.
        unsafe {
            let name = self.request.pool().string(name).as_ptr();
            let value = ffi::ap_ssl_var_lookup(fields.pool, fields.server, fields.connection, self.raw(), name);
            text::optional(value)
        }
    }

    /// The line that `ServerSignature` puts below pages that httpd makes; empty if it is Off.
    pub fn server_signature(self) -> &'r [u8] {
        // SAFETY: a live request; the result is its pool's or constant.
        unsafe { text::bytes(ffi::ap_psignature(c"".as_ptr(), self.raw())) }
    }

    /// The client's host name, which is looked up now if `HostnameLookups` says so.
    pub fn remote_host(self) -> Option<&'r [u8]> {
        // SAFETY: a live request; the result is the connection's or the request's.
        unsafe {
            let host = ffi::ap_get_useragent_host(self.raw(), ffi::REMOTE_HOST, ptr::null_mut());
            text::optional(host)
        }
    }

    /// The same, or the address of a client that has no known name.
    pub fn remote_name(self) -> &'r [u8] {
        self.remote_host().unwrap_or_else(|| self.remote_address())
    }

    /// `DocumentRoot`.
    pub fn document_root(self) -> &'r [u8] {
        // SAFETY: a live request; likewise below.
        unsafe { text::bytes(ffi::ap_document_root(self.raw())) }
    }

    /// The URL prefix that the request's context covers.
    pub fn context_prefix(self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { text::bytes(ffi::ap_context_prefix(self.raw())) }
    }

    /// The folder that the context's prefix stands for.
    pub fn context_document_root(self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { text::bytes(ffi::ap_context_document_root(self.raw())) }
    }

    /// The URL as on the request line; with `CGIVar REQUEST_URI current-uri`, as after internal redirects.
    pub fn request_uri(self) -> &'r [u8] {
        if self.has_rule(c"REQUEST_URI", b"current-uri") {
            return self.request.uri();
        }
        // SAFETY: the request's own string.
        let line: &'r [u8] = unsafe { text::bytes(self.request.fields().the_request) };
        line.split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .nth(1)
            .unwrap_or_default()
    }

    /// The part of the URL that leads to the script, and what follows it.
    pub fn script_and_extra(self) -> (&'r [u8], &'r [u8]) {
        let (uri, extra) = (self.request.uri(), self.request.path_info());
        // SAFETY: the request's own strings; the answer is an offset into the first.
        let end = unsafe { ffi::ap_find_path_info(self.request.fields().uri, self.request.fields().path_info) };
        match usize::try_from(end) {
            // An included document's script is the whole URL (mod_include sets this protocol).
            _ if extra.is_empty() || self.request.protocol() == b"INCLUDED" => (uri, extra),
            Ok(end) => (&uri[..end.min(uri.len())], extra),
            Err(_) => (uri, extra),
        }
    }

    /// The URL that an internal redirect came from; whole under `QualifyRedirectURL On`.
    pub fn redirect_url(self) -> Option<&'r [u8]> {
        let previous = self.request.previous()?;
        if c_int::from_ne_bytes(self.core().qualify_redirect_url().to_ne_bytes()) != ffi::AP_CORE_CONFIG_ON {
            return Some(previous.uri());
        }
        // SAFETY: live requests; the result is in the request's pool.
        unsafe {
            let uri = previous.fields().uri;
            Some(text::bytes(ffi::ap_construct_url(
                self.request.fields().pool,
                uri,
                self.raw(),
            )))
        }
    }

    /// `CGIPassAuth On`.
    pub fn passes_auth(self) -> bool {
        self.core().cgi_pass_auth() == ffi::AP_CGI_PASS_AUTH_ON.unsigned_abs()
    }

    /// The id that `%L` logs for the request, made now if it was not yet.
    pub fn request_id(self) -> &'r [u8] {
        if self.request.fields().log_id.is_null() {
            let mut id: *const c_char = ptr::null();
            // SAFETY: live request and connection; a hook sets the id to a string of the request's.
            unsafe {
                ffi::ap_run_generate_log_id(self.request.fields().connection, self.raw(), &raw mut id);
                (*self.raw()).log_id = id;
            }
        }
        // SAFETY: NULL or the request's own string.
        unsafe { text::bytes(self.request.fields().log_id) }
    }

    /// The id that `%{c}L` logs for the connection, if it has one.
    pub fn connection_id(self) -> Option<&'r [u8]> {
        // SAFETY: NULL or the connection's own string.
        unsafe { text::optional(self.connection().log_id) }
    }

    fn has_rule(self, variable: &CStr, rule: &[u8]) -> bool {
        let rules = self.core().cgi_var_rules;
        if rules.is_null() {
            return false;
        }
        // SAFETY: a hash of the configuration's from names to constant strings.
        unsafe {
            let found = ffi::apr_hash_get(rules, variable.as_ptr().cast(), ffi::APR_HASH_KEY_STRING as isize);
            text::optional(found.cast()) == Some(rule)
        }
    }
}
