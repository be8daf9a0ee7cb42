//! The settings of servers and directories, and how inner ones go over outer ones.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use once_cell::sync::OnceCell;
use wsgi_core::daemon_options::DaemonOptions;
use wsgi_core::directive::MapHead;
use wsgi_core::group::GroupName;
use wsgi_core::python::Python;

use crate::alias::{Alias, Preload};
use crate::daemon::Groups;
use crate::embedded::Embedded;
use crate::supervisor::{Definition, Hold};

/// Settings of a server or virtual host.
#[derive(Default)]
pub struct ServerConfig {
    /// Script aliases in order; the first that matches counts.
    pub aliases: Vec<Arc<Alias>>,
    /// Scripts to load when processes start, as defined here.
    pub imports: Vec<Preload>,
    /// Daemon process groups that were defined here.
    pub daemons: Vec<Arc<DaemonOptions>>,
    /// Settings of the whole process. Only the main server's are read.
    pub global: Global,
}

/// Settings that hold for the whole process.
#[derive(Default)]
pub struct Global {
    /// `WSGIPython`
    pub python: Option<PathBuf>,
    /// `WSGIPythonHome`
    pub python_home: Option<PathBuf>,
    /// `WSGIPythonPath`, as written
    pub python_path: Vec<u8>,
    /// The Python that these mean, once it was asked for.
    pub found: OnceCell<Python>,
    /// The environment of this child process as it was before applications could change it.
    pub environment: OnceCell<HashMap<Vec<u8>, Vec<u8>>>,
    /// The interpreter of this child process, once it runs.
    pub embedded: OnceCell<Embedded>,
    /// `WSGIRestrictEmbedded`; Off if unset
    pub restrict_embedded: Option<bool>,
    /// Directives that were given although they have no effect here.
    pub without_effect: Vec<&'static str>,
    /// `WSGIGracefulReload`; On if unset
    pub graceful_reload: Option<bool>,
    /// The daemon process groups as all servers define them, once they were looked at.
    pub definitions: OnceCell<Vec<Definition>>,
    /// What keeps them in the supervisor's care.
    pub hold: OnceCell<Arc<Hold>>,
    /// The daemon process groups of all servers, once their queues exist.
    pub groups: OnceCell<Groups>,
}

impl ServerConfig {
    /// A virtual host's settings over the main server's.
    pub fn over(&self, outer: &ServerConfig) -> ServerConfig {
        ServerConfig {
            aliases: self.aliases.iter().chain(&outer.aliases).cloned().collect(),
            // Each stays where it was defined; all of them are found by walking the servers.
            imports: self.imports.clone(),
            daemons: self.daemons.clone(),
            global: Global::default(),
        }
    }
}

/// Settings that may stand anywhere: server, virtual host, directory, most of them in `.htaccess`.
#[derive(Clone, Copy, Default)]
pub struct DirectoryConfig<'p> {
    /// `WSGIProcessGroup`; embedded if unset
    pub process_group: Option<&'p GroupName>,
    /// `WSGIApplicationGroup`; `%{RESOURCE}` if unset
    pub application_group: Option<&'p GroupName>,
    /// `WSGICallableObject`; `application` if unset
    pub callable_object: Option<&'p GroupName>,
    /// `WSGIPassAuthorization`; Off if unset
    pub pass_authorization: Option<bool>,
    /// `WSGIScriptReloading`; On if unset
    pub script_reloading: Option<bool>,
    /// `WSGIChunkedRequest`; Off if unset
    pub chunked_request: Option<bool>,
    /// `WSGIMapHEADToGET`; Auto if unset
    pub map_head: Option<MapHead>,
    /// `WSGIEnableSendfile`; Off if unset
    pub enable_sendfile: Option<bool>,
    /// `WSGIIgnoreActivity`; Off if unset
    pub ignore_activity: Option<bool>,
    /// `WSGIRestrictProcess`; no limit if unset
    pub restrict_process: Option<&'p Vec<GroupName>>,
}

impl<'p> DirectoryConfig<'p> {
    /// An inner place's settings over an outer one's.
    pub fn over(&self, outer: &DirectoryConfig<'p>) -> DirectoryConfig<'p> {
        DirectoryConfig {
            process_group: self.process_group.or(outer.process_group),
            application_group: self.application_group.or(outer.application_group),
            callable_object: self.callable_object.or(outer.callable_object),
            pass_authorization: self.pass_authorization.or(outer.pass_authorization),
            script_reloading: self.script_reloading.or(outer.script_reloading),
            chunked_request: self.chunked_request.or(outer.chunked_request),
            map_head: self.map_head.or(outer.map_head),
            enable_sendfile: self.enable_sendfile.or(outer.enable_sendfile),
            ignore_activity: self.ignore_activity.or(outer.ignore_activity),
            restrict_process: self.restrict_process.or(outer.restrict_process),
        }
    }
}
