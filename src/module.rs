//! `wsgi_module`: what httpd sees of this library, all wiring on one screen.

use std::ffi::CStr;
use std::io::Write;

use crate::alias::Alias;
use crate::config::{DirectoryConfig, ServerConfig};
use crate::httpd::auth::{Login, Permission, RealmHash};
use crate::httpd::log;
use crate::httpd::module::{Answer, Module, Record};
use crate::httpd::pool::Pool;
use crate::httpd::process;
use crate::httpd::request::Request;
use crate::httpd::server::Server;
use crate::{access, alias, configtest, directives, embedded, handler, interpreters, status, supervisor};

/// The module.
pub struct Wsgi;

/// The structure that `LoadModule wsgi_module` looks up. Its file name is mod_wsgi's, so that `<IfModule mod_wsgi.c>`
/// works.
// SAFETY: no other library of the process exports this name; two modules of that name cannot be loaded.
#[unsafe(no_mangle)]
pub static wsgi_module: Record<Wsgi> = Record::new(c"mod_wsgi.c", &directives::COMMANDS);

impl Module for Wsgi {
    type Server = ServerConfig;
    type Directory<'p> = DirectoryConfig<'p>;
    type Mapping = Alias;

    const USERS: &'static CStr = c"wsgi";
    const GROUPS: &'static CStr = c"wsgi-group";

    fn record() -> &'static Record<Wsgi> {
        &wsgi_module
    }

    fn server() -> ServerConfig {
        ServerConfig::default()
    }

    fn merge_servers(outer: &ServerConfig, inner: &ServerConfig) -> ServerConfig {
        inner.over(outer)
    }

    fn directory<'p>() -> DirectoryConfig<'p> {
        DirectoryConfig::default()
    }

    fn merge_directories<'p>(
        pool: Pool<'p>,
        outer: &Self::Directory<'p>,
        inner: &Self::Directory<'p>,
    ) -> Self::Directory<'p> {
        inner.over(outer, pool)
    }

    fn check_config(server: Server<'_>) -> Result<(), String> {
        interpreters::tell(server);
        let outcome = supervisor::check(server).and_then(|()| embedded::check(server));
        if process::is_configtest() {
            if process::is_defined(c"DUMP_WSGI") {
                configtest::dump(server, &outcome);
            } else if outcome.is_ok() {
                configtest::report(server);
            }
        }
        outcome
    }

    fn test_config(_: Server<'_>) {
        if process::is_defined(c"DUMP_WSGI_DIRECTIVES") {
            // Whoever does not read it does not want it.
            let _ = std::io::stdout().write_all(directives::page().as_bytes());
        }
    }

    fn post_config(pool: Pool<'_>, server: Server<'_>) -> Result<(), String> {
        status::configure(server);
        supervisor::configure(pool, server)?;
        embedded::configure(server);
        configtest::report(server);
        Ok(())
    }

    fn child_init(pool: Pool<'_>, server: Server<'_>) {
        log::tell_at_end::<Wsgi>(pool, server);
        supervisor::enter_child(server);
        embedded::start(pool, server);
    }

    fn monitor(pool: Pool<'_>, server: Server<'_>) {
        supervisor::monitor(pool, server);
    }

    fn translate_name(request: Request<'_>) -> Answer {
        alias::translate(request)
    }

    fn check_access(request: Request<'_>) -> Answer {
        access::check_access(request)
    }

    fn check_password(request: Request<'_>, user: &[u8], password: &[u8]) -> Login {
        access::check_password(request, user, password)
    }

    fn realm_hash(request: Request<'_>, user: &[u8], realm: &[u8]) -> RealmHash {
        access::realm_hash(request, user, realm)
    }

    fn check_groups(request: Request<'_>, names: &[u8]) -> Permission {
        access::check_groups(request, names)
    }

    fn handler(request: Request<'_>) -> Answer {
        match status::handle(request) {
            Answer::Declined => handler::handle(request),
            answer => answer,
        }
    }
}
