//! Directives that are accepted, since configurations hold them, and have no effect.

use crate::config::ServerConfig;
use crate::httpd::command::{Directive, Place, Set, Topic};
use crate::module::Wsgi;

/// The rows.
pub const LEGACY: Topic<Wsgi> = Topic {
    title: "Without effect",
    directives: &[
        Directive {
            name: c"WSGIAcceptMutex",
            arguments: "mechanism",
            default: "",
            place: Place::Server,
            help: c"Has no effect: daemons share a queue, without a lock",
            set: Set::Global(|config: &mut ServerConfig, arguments| {
                arguments.words().only("name of a mechanism")?;
                config.global.without_effect.push("WSGIAcceptMutex");
                Ok(())
            }),
        },
        Directive {
            name: c"WSGISocketPrefix",
            arguments: "path",
            default: "",
            place: Place::Server,
            help: c"Has no effect: there are no socket files",
            set: Set::Global(|config: &mut ServerConfig, arguments| {
                arguments.words().only("path")?;
                config.global.without_effect.push("WSGISocketPrefix");
                Ok(())
            }),
        },
        Directive {
            name: c"WSGISocketRotation",
            arguments: "On|Off",
            default: "On",
            place: Place::Server,
            help: c"Has no effect: there are no socket files",
            set: Set::Global(|config: &mut ServerConfig, arguments| {
                arguments.flag()?;
                config.global.without_effect.push("WSGISocketRotation");
                Ok(())
            }),
        },
    ],
};
