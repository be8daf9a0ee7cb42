//! Directives of the Python interpreter.

use super::absolute;
use crate::config::ServerConfig;
use crate::httpd::command::{Directive, Place, Set, Topic};
use crate::module::Wsgi;

/// The rows.
pub const PYTHON: Topic<Wsgi> = Topic {
    title: "The Python interpreter",
    directives: &[
        Directive {
            name: c"WSGIPython",
            arguments: "path",
            default: "",
            place: Place::Server,
            help: c"Path of the Python interpreter whose version and library to use, the system's python3 if not set",
            set: Set::Global(|config: &mut ServerConfig, arguments| {
                config.global.python.interpreter = Some(absolute(arguments, "path of a Python interpreter")?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPythonHome",
            arguments: "folder",
            default: "",
            place: Place::Server,
            help: c"Folder of the virtual environment or Python installation to use",
            set: Set::Global(|config: &mut ServerConfig, arguments| {
                config.global.python.home =
                    Some(absolute(arguments, "folder of a virtual environment or of a Python")?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIPythonPath",
            arguments: "folder[:folder …]",
            default: "",
            place: Place::Server,
            help: c"Folders, separated by colons, to search for Python modules first",
            set: Set::Global(|config: &mut ServerConfig, arguments| {
                config.global.python.path = arguments.words().only("list of folders")?;
                Ok(())
            }),
        },
    ],
};
