//! The table of directives. A setter only reads its arguments and stores them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use wsgi_core::daemon_options::DaemonOptions;
use wsgi_core::directive::{MapHead, Refusal};
use wsgi_core::group::GroupName;

use crate::alias::{Alias, Preload};
use crate::config::ServerConfig;
use crate::httpd::command::{Arguments, Command, Directive, Place, Set, table};
use crate::module::Wsgi;

/// The table as httpd reads it.
pub static COMMANDS: [Command<Wsgi>; DIRECTIVES.len() + 1] = table(&DIRECTIVES);

static DIRECTIVES: [Directive<Wsgi>; 22] = [
    Directive {
        name: c"WSGIAcceptMutex",
        place: Place::Server,
        help: c"Has no effect: daemons share a queue, without a lock",
        set: Set::Global(|config: &mut ServerConfig, arguments| {
            arguments.words().only("name of a mechanism")?;
            config.global.without_effect.push("WSGIAcceptMutex");
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIApplicationGroup",
        place: Place::Directory,
        help: c"Interpreter that applications run in: a name, %{GLOBAL} for the main one, %{RESOURCE}, %{SERVER}, %{HOST} or %{ENV:variable}",
        set: Set::Directory(|config, arguments| {
            config.application_group = Some(group(arguments, "name of the application group")?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGICallableObject",
        place: Place::FileInfo,
        help: c"Name of the callable in the script, 'application' if not set",
        set: Set::Directory(|config, arguments| {
            config.callable_object = Some(group(arguments, "name of the callable")?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIChunkedRequest",
        place: Place::FileInfo,
        help: c"On lets requests with a chunked body through to the application",
        set: Set::Directory(|config, arguments| flag(&mut config.chunked_request, arguments)),
    },
    Directive {
        name: c"WSGIDaemonProcess",
        place: Place::Server,
        help: c"Name of a daemon process group, then options name=value",
        set: Set::Server(|config: &mut ServerConfig, arguments| {
            config.daemons.push(Arc::new(DaemonOptions::parse(arguments.words())?));
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIEnableSendfile",
        place: Place::FileInfo,
        help: c"On lets files that applications return through wsgi.file_wrapper be sent by sendfile",
        set: Set::Directory(|config, arguments| flag(&mut config.enable_sendfile, arguments)),
    },
    Directive {
        name: c"WSGIGracefulReload",
        place: Place::Server,
        help: c"Off leaves daemons of unchanged groups as they are at a graceful restart; On replaces them one by one",
        set: Set::Global(|config: &mut ServerConfig, arguments| flag(&mut config.global.graceful_reload, arguments)),
    },
    Directive {
        name: c"WSGIIgnoreActivity",
        place: Place::FileInfo,
        help: c"On leaves requests here out of the daemons' inactivity-timeout",
        set: Set::Directory(|config, arguments| flag(&mut config.ignore_activity, arguments)),
    },
    Directive {
        name: c"WSGIImportScript",
        place: Place::Server,
        help: c"Script to load when processes start, with process-group= and application-group=",
        set: Set::Server(|config: &mut ServerConfig, arguments| {
            config.imports.push(Preload::import(arguments)?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIMapHEADToGET",
        place: Place::FileInfo,
        help: c"Whether applications see HEAD requests as GET: On, Off, or Auto (when an output filter works on the content)",
        set: Set::Directory(|config, arguments| {
            config.map_head = Some(MapHead::parse(&arguments.words().only("On, Off or Auto")?)?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIPassAuthorization",
        place: Place::FileInfo,
        help: c"On passes the Authorization header to applications",
        set: Set::Directory(|config, arguments| flag(&mut config.pass_authorization, arguments)),
    },
    Directive {
        name: c"WSGIProcessGroup",
        place: Place::Directory,
        help: c"Daemon process group that applications run in, or %{GLOBAL} for httpd's own processes",
        set: Set::Directory(|config, arguments| {
            config.process_group = Some(group(arguments, "name of the process group")?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIPython",
        place: Place::Server,
        help: c"Path of the Python interpreter whose version and library to use, the system's python3 if not set",
        set: Set::Global(|config: &mut ServerConfig, arguments| {
            config.global.python = Some(absolute(arguments, "path of a Python interpreter")?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIPythonHome",
        place: Place::Server,
        help: c"Folder of the virtual environment or Python installation to use",
        set: Set::Global(|config: &mut ServerConfig, arguments| {
            config.global.python_home = Some(absolute(arguments, "folder of a virtual environment or of a Python")?);
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIPythonPath",
        place: Place::Server,
        help: c"Folders, separated by colons, to search for Python modules first",
        set: Set::Global(|config: &mut ServerConfig, arguments| {
            config.global.python_path = arguments.words().only("list of folders")?;
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIRestrictEmbedded",
        place: Place::Server,
        help: c"On keeps Python out of httpd's own processes: applications run in daemons only",
        set: Set::Global(|config: &mut ServerConfig, arguments| flag(&mut config.global.restrict_embedded, arguments)),
    },
    Directive {
        name: c"WSGIRestrictProcess",
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
    Directive {
        name: c"WSGIScriptAlias",
        place: Place::Server,
        help: c"URL path and the script, or folder of scripts, that answers for it, then options name=value",
        set: Set::Server(|config: &mut ServerConfig, arguments| {
            config.aliases.push(Arc::new(Alias::path(arguments)?));
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIScriptAliasMatch",
        place: Place::Server,
        help: c"Regular expression for URL paths and the script that answers for them, then options name=value",
        set: Set::Server(|config: &mut ServerConfig, arguments| {
            config.aliases.push(Arc::new(Alias::regex(arguments)?));
            Ok(())
        }),
    },
    Directive {
        name: c"WSGIScriptReloading",
        place: Place::FileInfo,
        help: c"Off keeps a script as it was first loaded; On loads it again when its file has changed",
        set: Set::Directory(|config, arguments| flag(&mut config.script_reloading, arguments)),
    },
    Directive {
        name: c"WSGISocketPrefix",
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
        place: Place::Server,
        help: c"Has no effect: there are no socket files",
        set: Set::Global(|config: &mut ServerConfig, arguments| {
            arguments.flag()?;
            config.global.without_effect.push("WSGISocketRotation");
            Ok(())
        }),
    },
];

fn flag(setting: &mut Option<bool>, arguments: &Arguments<'_>) -> Result<(), Refusal> {
    *setting = Some(arguments.flag()?);
    Ok(())
}

fn group<'p>(arguments: &Arguments<'p>, what: &str) -> Result<&'p GroupName, Refusal> {
    let name = arguments.words().only(what)?;
    Ok(arguments.pool.own(GroupName::parse(&name)))
}

fn absolute(arguments: &Arguments<'_>, what: &str) -> Result<PathBuf, Refusal> {
    let path = PathBuf::from(OsString::from_vec(arguments.words().only(what)?));
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("'{}' is not an absolute path", path.display()))
    }
}
