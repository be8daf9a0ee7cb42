//! Directives of process groups and application groups.

use std::sync::Arc;

use wsgi_core::daemon_options::DaemonOptions;
use wsgi_core::group::GroupName;

use super::{flag, group};
use crate::config::ServerConfig;
use crate::httpd::command::{Directive, Place, Set, Topic};
use crate::module::Wsgi;

/// The rows.
pub const GROUPS: Topic<Wsgi> = Topic {
    title: "Process groups and application groups",
    directives: &[
    Directive {
        name: c"WSGIApplicationGroup",
        arguments: "name",
        default: "%{RESOURCE}",
        place: Place::Directory,
        help: c"Interpreter that applications run in: a name, %{GLOBAL} for the main one, %{RESOURCE}, %{SERVER}, %{HOST} or %{ENV:variable}",
        set: Set::Directory(|config, arguments| {
            config.application_group = Some(group(arguments, "name of the application group")?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIDaemonProcess",
        arguments: "name [option=value …]",
        default: "",
        place: Place::Server,
        help: c"Name of a daemon process group, then options name=value",
        set: Set::Server(|config: &mut ServerConfig, arguments| {
            config.daemons.push(Arc::new(DaemonOptions::parse(arguments.words())?));
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIGracefulReload",
        arguments: "On|Off",
        default: "On",
        place: Place::Main,
        help: c"Off leaves daemons of unchanged groups as they are at a graceful restart; On replaces them one by one",
        set: Set::Server(|config: &mut ServerConfig, arguments| flag(&mut config.global.graceful_reload, arguments)),
    },
    Directive {
        name: c"WSGIProcessGroup",
        arguments: "name",
        default: "%{GLOBAL}",
        place: Place::Directory,
        help: c"Daemon process group that applications run in, or %{GLOBAL} for httpd's own processes",
        set: Set::Directory(|config, arguments| {
            config.process_group = Some(group(arguments, "name of the process group")?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIRestrictEmbedded",
        arguments: "On|Off",
        default: "Off",
        place: Place::Main,
        help: c"On keeps Python out of httpd's own processes: applications run in daemons only; without the directive, Python starts there unless all that the configuration runs is in daemons",
        set: Set::Server(|config: &mut ServerConfig, arguments| flag(&mut config.global.restrict_embedded, arguments)),
    },
    Directive {
        name: c"WSGIRestrictProcess",
        arguments: "name …",
        default: "",
        place: Place::Directory,
        help: c"Daemon process groups that requests here may run in, %{GLOBAL} for httpd's own processes",
        set: Set::Directory(|config, arguments| {
            let mut words = arguments.words();
            let first = words.required("name of a process group")?;
            let names = std::iter::once(first).chain(std::iter::from_fn(|| words.word()));
            config.restrict_process = Some(arguments.pool.own(names.map(|name| GroupName::parse(&name)).collect()));
            Ok(())
        }),
    },
],
};
