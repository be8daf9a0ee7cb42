//! The settings of servers and directories, and how inner ones go over outer ones.

use std::collections::HashMap;
use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use once_cell::sync::OnceCell;
use wsgi_core::daemon_options::DaemonOptions;
use wsgi_core::directive::MapHead;
use wsgi_core::group::GroupName;
use wsgi_core::interpreter::{Options, Section};
use wsgi_core::proxy::{Header, Network};
use wsgi_core::python::Python;

use crate::alias::{Alias, Preload};
use crate::daemon::Groups;
use crate::embedded::Embedded;
use crate::httpd::pool::Pool;
use crate::script::{HandlerScripts, HookScript};
use crate::status::Counters;
use crate::supervisor::{Definition, Hold};

/// Settings of a server or virtual host.
#[derive(Default)]
pub struct ServerConfig {
    /// Script aliases in order; the first that matches counts.
    pub aliases: Vec<Arc<Alias>>,
    /// Scripts to load when processes start, as defined here: those of `WSGIImportScript`, and those of aliases that name
    /// both groups, in order.
    pub preloads: Vec<Preload>,
    /// A script that httpd's own processes need Python for was named here.
    pub hooked: AtomicBool,
    /// Daemon process groups that were defined here.
    pub daemons: Vec<Arc<DaemonOptions>>,
    /// Directives that were given although they have no effect here, with what there is to say about it.
    pub without_effect: Vec<(&'static CStr, &'static CStr)>,
    /// Settings of the whole process. Only the main server's are read.
    pub global: Global,
}

/// Settings that hold for the whole process.
#[derive(Default)]
pub struct Global {
    /// Settings of the interpreter.
    pub python: PythonSettings,
    /// What is counted and reported.
    pub metrics: Metrics,
    /// The Python that these mean, once it was asked for.
    pub found: OnceCell<Python>,
    /// The environment of this child process as it was before applications could change it.
    pub environment: OnceCell<HashMap<Vec<u8>, Vec<u8>>>,
    /// Whether httpd's own processes need no Python, once it was looked at.
    pub daemons_only: OnceCell<bool>,
    /// The interpreter of this child process, once it runs.
    pub embedded: OnceCell<Embedded>,
    /// `WSGIRestrictEmbedded`; Off if unset, but where all applications run in daemons
    pub restrict_embedded: Option<bool>,
    /// `WSGICaseSensitivity`; On if unset
    pub case_sensitivity: Option<bool>,
    /// `WSGIGracefulReload`; On if unset
    pub graceful_reload: Option<bool>,
    /// What httpd's own processes count, once there is room for it.
    pub counters: OnceCell<Counters>,
    /// The daemon process groups as all servers define them, once they were looked at.
    pub definitions: OnceCell<Vec<Definition>>,
    /// What keeps them in the supervisor's care.
    pub hold: OnceCell<Arc<Hold>>,
    /// The daemon process groups of all servers, once their queues exist.
    pub groups: OnceCell<Groups>,
}

/// Settings of the Python interpreter.
#[derive(Default)]
pub struct PythonSettings {
    /// `WSGIPython`
    pub interpreter: Option<PathBuf>,
    /// `WSGIPythonHome`
    pub home: Option<PathBuf>,
    /// `WSGIPythonOptimize`; not above 0: none
    pub optimize: i64,
    /// `WSGIPythonWarnings`, in order
    pub warnings: Vec<Vec<u8>>,
    /// `WSGIPythonHashSeed`, as Python reads it; Python's own choice if unset
    pub hash_seed: Option<Vec<u8>>,
    /// `WSGIDontWriteBytecode`; Off if unset
    pub dont_write_bytecode: Option<bool>,
    /// `WSGIPythonEggs`
    pub eggs: Option<Vec<u8>>,
    /// `WSGIDestroyInterpreter`; On if unset
    pub destroy: Option<bool>,
    /// `WSGIInterpreterLimit`; [`wsgi_core::interpreter::DEFAULT_LIMIT`] if unset
    pub limit: Option<u32>,
    /// What is said for all interpreters.
    pub general: Options,
    /// `<WSGIInterpreterOptions>`, in order
    pub sections: Vec<Section>,
    /// The last of them is being read.
    pub inside: bool,
}

/// What is counted and reported.
#[derive(Default)]
pub struct Metrics {
    /// `WSGIServerMetrics`; Off if unset
    pub server_metrics: Option<bool>,
    /// `WSGISlowRequests`; none if unset or 0
    pub slow_requests: Option<Duration>,
}

impl ServerConfig {
    /// A virtual host's settings over the main server's.
    pub fn over(&self, outer: &ServerConfig) -> ServerConfig {
        ServerConfig {
            aliases: self.aliases.iter().chain(&outer.aliases).cloned().collect(),
            // Each stays where it was defined; all of them are found by walking the servers.
            preloads: self.preloads.clone(),
            hooked: AtomicBool::new(self.hooked.load(Ordering::Relaxed)),
            daemons: self.daemons.clone(),
            without_effect: self.without_effect.clone(),
            global: Global::default(),
        }
    }
}

/// A setting over the same setting of an outer place.
pub trait Over<'p> {
    /// What holds in the inner place. Links to both go into the pool.
    fn over(self, outer: Self, pool: Pool<'p>) -> Self;
}

impl<'p, T> Over<'p> for Option<T> {
    fn over(self, outer: Option<T>, _: Pool<'p>) -> Option<T> {
        self.or(outer)
    }
}

/// Defines settings that go over one another one by one.
macro_rules! layered {
    ($(#[$about:meta])* pub struct $name:ident<$life:lifetime> { $($(#[$doc:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        pub struct $name<$life> {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl<$life> $name<$life> {
            /// An inner place's settings over an outer one's.
            pub fn over(&self, outer: &$name<$life>, pool: Pool<$life>) -> $name<$life> {
                $name {
                    $($field: Over::over(self.$field, outer.$field, pool),)*
                }
            }
        }
    };
}

layered! {
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
            /// `WSGIErrorOverride`; Off if unset
        pub error_override: Option<bool>,
        /// `WSGIPassApacheRequest`; Off if unset
        pub pass_apache_request: Option<bool>,
        /// `WSGIIgnoreActivity`; Off if unset
        pub ignore_activity: Option<bool>,
        /// `WSGIRestrictProcess`; no limit if unset
        pub restrict_process: Option<&'p Vec<GroupName>>,
        /// `WSGITrustedProxyHeaders`; none if unset
        pub trusted_proxy_headers: Option<&'p Vec<&'static Header>>,
        /// `WSGITrustedProxies`; all if unset
        pub trusted_proxies: Option<&'p Vec<Network>>,
        /// `WSGIHandlerScript`
        pub handler_scripts: HandlerScripts<'p>,
        /// `WSGIDispatchScript`
        pub dispatch_script: Option<&'p HookScript>,
        /// `WSGIAccessScript`
        pub access_script: Option<&'p HookScript>,
        /// `WSGIAuthUserScript`
        pub auth_user_script: Option<&'p HookScript>,
        /// `WSGIAuthGroupScript`
        pub auth_group_script: Option<&'p HookScript>,
    }
}
