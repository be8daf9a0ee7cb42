//! Embedded mode: applications run inside the httpd child that has the request.

use std::ffi::c_int;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use wsgi_core::abi::{self, Bytes, HookResult, ImportResult, Level, OutcomeKind};
use wsgi_core::configtest::may_need_python;
use wsgi_core::group::GroupName;
use wsgi_core::python::{self, Choice, Python};

use crate::config::Global;
use crate::environ::Environ;
use crate::host::{Exchange, Host, Inquiry, Start};
use crate::httpd::body::Body;
use crate::httpd::module::Answer;
use crate::httpd::pool::Pool;
use crate::httpd::request::Request;
use crate::httpd::server::Server;
use crate::httpd::{log, process};
use crate::interpreters::Settings;
use crate::module::Wsgi;
use crate::supervisor::account;
use crate::target::Target;

/// The Python of this child.
pub struct Embedded(Host);

/// Ends Python when the child's pool is cleared, which httpd does after its threads have ended.
struct StopAtExit<'p>(&'p Global);

impl Drop for StopAtExit<'_> {
    fn drop(&mut self) {
        if let Some(Embedded(host)) = self.0.embedded.get() {
            host.stop();
        }
    }
}

/// Looks for the Python that the configuration names and for our own files.
///
/// # Errors
/// What is wrong and what to do, in one line.
pub fn check(server: Server<'_>) -> Result<(), String> {
    let global = &server.main().config::<Wsgi>().global;
    if let Some(text) = doubt(server) {
        log::server::<Wsgi>(server, Level::Warning, text.as_bytes());
    } else if is_required(server) || global.restrict_embedded != Some(true) {
        find(global)?;
    }
    host_file().map(drop)
}

/// What keeps Python out of httpd's processes where that is no reason to stop: who has daemons may not want it there.
pub fn doubt(server: Server<'_>) -> Option<String> {
    let global = &server.main().config::<Wsgi>().global;
    let optional = global.restrict_embedded != Some(true)
        && !is_required(server)
        && !global.definitions.get().is_none_or(Vec::is_empty);
    let reason = optional.then(|| find(global).err()).flatten()?;
    Some(format!(
        "{reason}; until then applications run in daemons only (WSGIRestrictEmbedded On says so)"
    ))
}

/// Finds out whether httpd's own processes need Python. Called once the whole configuration was read.
pub fn configure(server: Server<'_>) {
    let server = server.main();
    let global = &server.config::<Wsgi>().global;
    let needless = global.restrict_embedded.is_none() && daemons_do_all(server) && !may_need_python(&server.tree());
    let _ = global.daemons_only.set(needless);
}

/// Starts Python in a new child, unless all applications run in daemons. Without it the child lives on, for what else it
/// serves. It is not started later: then the child has threads, and no thread may read the environment meanwhile.
pub fn start(pool: Pool<'_>, server: Server<'_>) {
    let server = server.main();
    let global = &server.config::<Wsgi>().global;
    // Taken before an application can change it: the C library's is not safe to read then.
    let variables = std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec()));
    let _ = global.environment.set(variables.collect());
    let required = is_required(server);
    if !required && (global.restrict_embedded == Some(true) || global.daemons_only.get() == Some(&true)) {
        return;
    }
    pool.own(StopAtExit(global));
    match begin(server) {
        Ok(embedded) => drop(global.embedded.set(embedded)),
        // Who has daemons was told where the configuration was checked.
        Err(reason) if required || global.definitions.get().is_none_or(Vec::is_empty) => {
            log::server::<Wsgi>(server, Level::Critical, reason.as_bytes());
        }
        Err(_) => {}
    }
}

/// The Python of this child.
fn host(request: Request<'_>) -> Option<&Host> {
    let global = &request.server().main().config::<Wsgi>().global;
    global.embedded.get().map(|Embedded(host)| host)
}

fn begin(server: Server<'_>) -> Result<Embedded, String> {
    let global = &server.config::<Wsgi>().global;
    let python = find(global)?;
    let settings = Start {
        library: &python.library,
        host: &host_file()?,
        bin: &python.bin,
        settings: Settings::embedded(global, python.home.as_deref()),
        scoreboard: global.metrics.server_metrics == Some(true),
    };
    let host = Host::start(&settings, server)?;
    preload(&host, server);
    Ok(Embedded(host))
}

/// Whether, as far as aliases and what holds for whole servers tell, every application runs in a daemon.
fn daemons_do_all(main: Server<'_>) -> bool {
    let literal = |group: Option<&GroupName>| matches!(group, Some(GroupName::Literal(name)) if !name.is_empty());
    let mut any = false;
    let all = main.all().all(|server| {
        let usual = server.defaults::<Wsgi>().process_group;
        let mut aliases = server.config::<Wsgi>().aliases.iter();
        any |= literal(usual) || aliases.len() > 0;
        aliases.all(|alias| literal(alias.options.process_group.as_ref().or(usual)))
    });
    any && all && !is_required(main)
}

/// Whether scripts of the configuration run in httpd's own processes wherever applications do.
fn is_required(server: Server<'_>) -> bool {
    server.main().all().any(|server| {
        let config = server.config::<Wsgi>();
        let mut preloads = config.preloads.iter();
        config.hooked.load(Ordering::Relaxed)
            || preloads.any(|preload| preload.is_import() && preload.process_group.is_empty())
    })
}

/// Loads what is to be there before the first request. What fails is tried again by the first request for it.
fn preload(host: &Host, main: Server<'_>) {
    let mut loaded = Vec::new();
    for server in main.all() {
        let preloads = server.config::<Wsgi>().preloads.iter();
        for preload in preloads.filter(|preload| preload.process_group.is_empty() && preload.is_meant()) {
            // A virtual host that says nothing has the main server's.
            if loaded.contains(&preload) {
                continue;
            }
            loaded.push(preload);
            if host.import(&preload.application_group, &preload.script) == ImportResult::Exited {
                let text = format!(
                    "WSGI0196: {} {} ended by SystemExit, which is ignored; the first request for it tries again",
                    preload.directive,
                    String::from_utf8_lossy(&preload.script)
                );
                log::server::<Wsgi>(server, Level::Error, text.as_bytes());
            }
        }
    }
}

/// Asks a script; `None` if this child has no Python.
pub fn ask(request: Request<'_>, hook: &abi::Hook, inquiry: &mut Inquiry<'_>) -> Option<HookResult> {
    host(request).map(|host| host.ask(hook, inquiry))
}

/// Runs a request and says how it ended.
pub fn run(request: Request<'_>, target: &Target<'_>, body: Body<'_>) -> Answer {
    let Some(host) = host(request) else {
        let text = b"WSGI0130: no Python runs in this httpd child: it could not start, which the log says where the child \
                     began, or all applications seemed to run in daemons; WSGIRestrictEmbedded Off starts it all the same";
        log::request::<Wsgi>(request, Level::Error, text);
        return Answer::Status(500);
    };
    let environ = Environ::of(request, target);
    let mut exchange = Exchange::new(request, body, target.files);
    let outcome = host.run(
        &abi::Request {
            variables: environ.variables.as_ptr(),
            variables_len: environ.variables.len(),
            script: Bytes::of(target.script),
            script_mtime: target.script_mtime,
            reloading: target.reloading,
            application_group: Bytes::of(&target.application_group),
            callable_object: Bytes::of(&target.callable_object),
            record: if target.pass_apache_request {
                request.to_address()
            } else {
                std::ptr::null_mut()
            },
            request_start: request.time(),
            https: environ.https,
            header_only: request.header_only(),
            log_level: log::request_level::<Wsgi>(request) as c_int,
        },
        &mut exchange,
    );
    match OutcomeKind::from_raw(outcome.kind) {
        _ if exchange.failed => Answer::FilterAnswered,
        OutcomeKind::Complete => Answer::Done,
        OutcomeKind::Refused => Answer::Status(u16::try_from(outcome.status).unwrap_or(500)),
        OutcomeKind::Truncated | OutcomeKind::ClientGone => {
            exchange.reply.cut();
            Answer::Done
        }
    }
}

fn find(global: &Global) -> Result<&Python, String> {
    let choice = Choice {
        python: global.python.interpreter.as_deref(),
        home: global.python.home.as_deref(),
    };
    let found = global
        .found
        .get_or_try_init(|| {
            let who = account::children();
            python::find(&choice, process::child_identity().map(|_| process::run_as(&who)))
        })
        .map_err(|error| error.to_string())?;
    Settings::embedded(global, None)
        .check(found.version)
        .map_err(|reason| format!("WSGI0171: httpd's own processes: {reason}"))?;
    Ok(found)
}

/// The host's file, in the folder `mod_wsgi` beside this module.
pub fn host_file() -> Result<PathBuf, String> {
    let module = process::module_file().ok_or("WSGI0135: the module cannot tell which file it was loaded from")?;
    let host = module.with_file_name("mod_wsgi").join("wsgi_host.abi3.so");
    if host.is_file() {
        Ok(host)
    } else {
        Err(format!(
            "WSGI0136: {} is missing; install the folder mod_wsgi beside mod_wsgi.so",
            host.display()
        ))
    }
}
