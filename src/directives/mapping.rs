//! Directives that map URLs to scripts and say how scripts are loaded.

use std::sync::Arc;

use super::{flag, group};
use crate::alias::{Alias, Preload};
use crate::config::ServerConfig;
use crate::httpd::command::{Directive, Place, Set, Topic};
use crate::module::Wsgi;

/// The rows.
pub const MAPPING: Topic<Wsgi> = Topic {
    title: "Scripts",
    directives: &[
        Directive {
            name: c"WSGICallableObject",
            arguments: "name",
            default: "application",
            place: Place::FileInfo,
            help: c"Name of the callable in the script, 'application' if not set",
            set: Set::Directory(|config, arguments| {
                config.callable_object = Some(group(arguments, "name of the callable")?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIImportScript",
            arguments: "file process-group=name application-group=name",
            default: "",
            place: Place::Server,
            help: c"Script to load when processes start, with process-group= and application-group=",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                config.imports.push(Preload::import(arguments)?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIScriptAlias",
            arguments: "URL-path file-or-folder [option=value …]",
            default: "",
            place: Place::Server,
            help: c"URL path and the script, or folder of scripts, that answers for it, then options name=value",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                config.aliases.push(Arc::new(Alias::path(arguments)?));
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIScriptAliasMatch",
            arguments: "regex file-or-folder [option=value …]",
            default: "",
            place: Place::Server,
            help: c"Regular expression for URL paths and the script that answers for them, then options name=value",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                config.aliases.push(Arc::new(Alias::regex(arguments)?));
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIScriptReloading",
            arguments: "On|Off",
            default: "On",
            place: Place::FileInfo,
            help: c"Off keeps a script as it was first loaded; On loads it again when its file has changed",
            set: Set::Directory(|config, arguments| flag(&mut config.script_reloading, arguments)),
        },
    ],
};
