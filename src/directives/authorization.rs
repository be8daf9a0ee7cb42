//! Directives of authentication, authorization and access scripts.

use super::hook;
use crate::config::ServerConfig;
use crate::httpd::command::{Directive, Place, Set, Topic};
use crate::module::Wsgi;

/// The rows.
pub const AUTHORIZATION: Topic<Wsgi> = Topic {
    title: "Access",
    directives: &[
        Directive {
            name: c"WSGIAccessScript",
            arguments: "file [application-group=name]",
            default: "",
            place: Place::AuthConfig,
            help: c"Script whose allow_access(environ, host) says which clients may come in",
            set: Set::Hook(|server: &ServerConfig, config, arguments| {
                config.access_script = Some(hook(server, "WSGIAccessScript", arguments)?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIAuthGroupScript",
            arguments: "file [application-group=name]",
            default: "",
            place: Place::AuthConfig,
            help: c"Script whose groups_for_user(environ, user) says who meets Require wsgi-group",
            set: Set::Hook(|server: &ServerConfig, config, arguments| {
                config.auth_group_script = Some(hook(server, "WSGIAuthGroupScript", arguments)?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIAuthUserScript",
            arguments: "file [application-group=name]",
            default: "",
            place: Place::AuthConfig,
            help: c"Script with check_password and get_realm_hash, for AuthBasicProvider and AuthDigestProvider wsgi",
            set: Set::Hook(|server: &ServerConfig, config, arguments| {
                config.auth_user_script = Some(hook(server, "WSGIAuthUserScript", arguments)?);
                Ok(())
            }),
        },
    ],
};
