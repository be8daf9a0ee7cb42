//! Directives of authentication, authorization and access scripts.

use crate::httpd::command::{Directive, Place, Set, Topic};
use crate::module::Wsgi;

/// The rows.
pub const AUTHORIZATION: Topic<Wsgi> = Topic {
    title: "Access",
    directives: &[Directive {
        name: c"WSGIGroupAuthoritative",
        arguments: "On|Off",
        default: "On",
        place: Place::AuthConfig,
        help: c"Has no effect: Require and its containers say what decides",
        set: Set::Directory(|_, arguments| arguments.flag().map(drop)),
    }],
};
