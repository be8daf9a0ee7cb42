//! The Python settings of each process: httpd's own, and the daemons of a group.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use wsgi_core::abi::Level;
use wsgi_core::daemon_options::DaemonOptions;
use wsgi_core::directive::NameValue;
use wsgi_core::interpreter::{DEFAULT_LIMIT, Options, Plan};

use crate::config::Global;
use crate::httpd::log;
use crate::httpd::server::Server;
use crate::module::Wsgi;

/// The first Python (3.x) in which interpreters can have a GIL of their own.
const OWN_GIL: u8 = 13;

/// Variables that steer a Python while it starts, and what holds for its interpreters.
pub struct Settings {
    /// The variables.
    pub environment: Vec<NameValue>,
    /// What holds.
    pub plan: Plan,
}

impl Settings {
    /// Of httpd's own processes; `home`: `PYTHONHOME`.
    pub fn embedded(global: &Global, home: Option<&Path>) -> Settings {
        let settings = &global.python;
        Settings::of(global, b"", settings.general.clone(), settings.limit, home, &[])
    }

    /// Of the daemons of a group.
    pub fn daemon(global: &Global, group: &DaemonOptions, home: Option<&Path>) -> Settings {
        let folder = group.home.as_ref().map(|home| home.as_os_str().as_bytes());
        let general = Options {
            path: [folder.unwrap_or_default(), &group.python_path].join(&b':'),
            // An option of the group goes before what is said for all processes.
            switch_interval: group.switch_interval.or(global.python.general.switch_interval),
            ..global.python.general.clone()
        };
        let limit = group.interpreter_limit.or(global.python.limit);
        let mut settings = Settings::of(global, &group.name, general, limit, home, &group.env);
        if let Some(seconds) = group.switch_interval {
            settings.plan.set_switch_interval(seconds);
        }
        settings
    }

    fn of(
        global: &Global,
        process_group: &[u8],
        general: Options,
        limit: Option<u32>,
        home: Option<&Path>,
        own: &[NameValue],
    ) -> Settings {
        let settings = &global.python;
        let mut environment: Vec<NameValue> = Vec::new();
        let mut put = |name: &str, value: &[u8]| environment.push((name.into(), value.to_vec()));
        if let Some(home) = home {
            put("PYTHONHOME", home.as_os_str().as_bytes());
        }
        if settings.optimize > 0 {
            put("PYTHONOPTIMIZE", settings.optimize.to_string().as_bytes());
        }
        if settings.dont_write_bytecode == Some(true) {
            put("PYTHONDONTWRITEBYTECODE", b"1");
        }
        if !settings.warnings.is_empty() {
            put("PYTHONWARNINGS", &settings.warnings.join(&b','));
        }
        if let Some(seed) = &settings.hash_seed {
            put("PYTHONHASHSEED", seed);
        }
        let hidden = environment.iter().map(|(name, _)| name.clone());
        // What the administrator puts into a group's environment himself is for its applications too.
        let hidden = hidden
            .filter(|name| own.iter().all(|(known, _)| known != name))
            .collect();
        if let Some(eggs) = &settings.eggs {
            environment.push((b"PYTHON_EGG_CACHE".to_vec(), eggs.clone()));
        }
        let mut plan = Plan::new(process_group, general, &settings.sections);
        plan.limit = limit.unwrap_or(DEFAULT_LIMIT);
        plan.destroy = settings.destroy.unwrap_or(true);
        plan.fold_case = global.case_sensitivity == Some(false);
        plan.hidden = hidden;
        Settings { environment, plan }
    }

    /// Whether a Python of that version can do what is asked of it.
    ///
    /// # Errors
    /// What it cannot do, and what to do.
    pub fn check(&self, (major, minor, micro): (u8, u8, u8)) -> Result<(), String> {
        if self.plan.any(|options| options.own_gil) && minor < OWN_GIL {
            return Err(format!(
                "WSGIPerInterpreterGIL On needs Python 3.{OWN_GIL} or later, and this is {major}.{minor}.{micro}, which \
                 corrupts its memory with several GILs; use a newer Python, or set WSGIPerInterpreterGIL for other process \
                 groups only, by <WSGIInterpreterOptions process-group=…>"
            ));
        }
        Ok(())
    }
}

/// Tells of directives that do nothing, once for each.
pub fn tell(server: Server<'_>) {
    let mut told = Vec::new();
    for other in server.main().all() {
        for entry in &other.config::<Wsgi>().without_effect {
            if !told.contains(entry) {
                told.push(*entry);
                let (name, about) = (entry.0.to_string_lossy(), entry.1.to_string_lossy());
                // A sentence of its own in the list of directives.
                let about = about.trim_start_matches("Has ");
                log::server::<Wsgi>(
                    server,
                    Level::Notice,
                    format!("WSGI0163: {name} has {about}").as_bytes(),
                );
            }
        }
    }
    let python = &server.main().config::<Wsgi>().global.python;
    let mut all = std::iter::once(&python.general).chain(python.sections.iter().map(|section| &section.options));
    if all.any(|options| options.free_threading == Some(true)) {
        let text = b"WSGI0170: WSGIFreeThreading On has no effect: a Python without GIL cannot be used yet, and every \
                     other has one";
        log::server::<Wsgi>(server, Level::Warning, text);
    }
}
