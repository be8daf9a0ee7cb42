//! Directives that map URLs to scripts and say how scripts are loaded.

use std::sync::Arc;

use super::{flag, group, hook};
use crate::alias::{Alias, Preload};
use crate::config::ServerConfig;
use crate::httpd::command::{Directive, Place, Set, Topic};
use crate::module::Wsgi;
use crate::script::HandlerScript;

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
            name: c"WSGIDispatchScript",
            arguments: "file [application-group=name]",
            default: "",
            place: Place::Directory,
            help: c"Script that chooses process group, application group and callable for each request",
            set: Set::Hook(|server: &ServerConfig, config, arguments| {
                config.dispatch_script = Some(hook(server, "WSGIDispatchScript", arguments)?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIHandlerScript",
            arguments: "handler file [process-group=name] [application-group=name] [pass-authorization=On|Off]",
            default: "",
            place: Place::Directory,
            help:
                c"Name for SetHandler and the like, and the script that handles such requests",
            set: Set::Directory(|config, arguments| {
                let script = arguments.pool.own(HandlerScript::parse(arguments)?);
                config.handler_scripts.push(arguments.pool, script);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIImportScript",
            arguments: "file process-group=name application-group=name",
            default: "",
            place: Place::Server,
            help: c"Script to load when processes start",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                config.preloads.push(Preload::import(arguments)?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIScriptAlias",
            arguments: "URL-path file-or-folder [process-group=name] [application-group=name] [callable-object=name] [pass-authorization=On|Off]",
            default: "",
            place: Place::Server,
            help: c"URL path and the script, or folder of scripts, that answers for it",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                add(config, Alias::path(arguments)?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIScriptAliasMatch",
            arguments: "regex file [process-group=name] [application-group=name] [callable-object=name] [pass-authorization=On|Off]",
            default: "",
            place: Place::Server,
            help: c"Regular expression for URL paths and the script that answers for them; $1 stands for what its first group matches",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                add(config, Alias::regex(arguments)?);
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

fn add(config: &mut ServerConfig, alias: Alias) {
    config.preloads.extend(alias.preload());
    config.aliases.push(Arc::new(alias));
}
