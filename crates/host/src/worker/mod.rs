//! A daemon: its threads, its clock, and what passes between it and `wsgid`.
//!
//! The main thread listens to `wsgid` and to signals and watches the clock; request threads take requests from the
//! group's queue and answer them (`wsgi_core::wire`).

mod activity;
mod control;
mod crew;
mod entry;
mod exchange;
mod family;
mod held;
mod log;
mod post;
mod pulse;
mod queue;
mod raw;
mod report;
mod service;
mod settings;
mod shared;
mod signals;
mod thread;
mod watch;

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::pipe::{PipeFlags, pipe_with};
use wsgi_core::abi::Level;
use wsgi_core::limits::Limits;
use wsgi_core::wire::control::daemon::exit::{MISUSED, NOT_LOADED, UNUSABLE};
use wsgi_core::wire::control::daemon::{FromDaemon, ToDaemon};
use wsgi_core::wire::control::{Preload, published};

use self::activity::Board;
use self::control::Control;
use self::crew::Crew;
use self::family::Family;
use self::log::StandardError;
use self::post::Post;
use self::queue::Queue;
use self::raw::Raw;
use self::report::Report;
use self::settings::Settings;
use self::signals::Preparation;
use self::thread::Daemon;
use self::watch::{Parts, Watch};
use crate::adapter::exchange::ServerLog;
use crate::adapter::{Imported, Scoreboard, Server};
use crate::environment::Value;
use crate::fence::report_panics_to;
use crate::gate::Gate;
use crate::host::Host;
use crate::python::Interpreter;
use crate::slow::Slow;
use crate::stats::Stats;

/// The life of a daemon in the main thread of its Python; returns the exit code.
fn run(python: Interpreter, control: OwnedFd) -> i32 {
    let log = Arc::new(StandardError::new(String::new(), Level::Notice));
    let control = Arc::new(Control::new(control));
    let (settings, descriptors) = match introduction(&control) {
        Ok(introduction) => introduction,
        Err(reason) => {
            let text = format!("WSGI0501: a daemon was started without its settings: {reason}");
            log.log(Level::Critical, text.as_bytes());
            return MISUSED;
        }
    };
    let log = Arc::new(StandardError::new(settings.group.clone(), settings.log_level));
    if let Some(title) = settings.options.title() {
        entry::show_as(&title);
    }
    let panics = Arc::clone(&log);
    report_panics_to(move |text| panics.log(Level::Critical, text.as_bytes()));

    let (hearing, bell) = match pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) {
        Ok(pipe) => pipe,
        Err(error) => return unusable(&log, &format!("it gets no pipe: {error}")),
    };
    let mut descriptors = descriptors.into_iter();
    let queue = descriptors.next();
    let threads = settings.options.threads;
    let stats = descriptors
        .next()
        .map_or_else(|| Stats::own(threads), |page| Stats::shared(&page, threads));
    let scoreboard = descriptors.next().map(scoreboard);
    let report = Arc::new(Report::new(Arc::clone(&control)));
    let server = Server {
        process_group: settings.group.clone(),
        multithread: settings.options.multithread(),
        multiprocess: settings.options.multiprocess(),
        run_once: settings.options.run_once(),
        scripts: Some(Arc::<Report>::clone(&report)),
        fold_case: settings.api.plan.fold_case,
        apache_version: settings.apache_version,
        log: Arc::<StandardError>::clone(&log),
        loading: Gate::default(),
        stats,
        recording: AtomicBool::new(false),
        scoreboard,
    };
    let hidden = settings.api.plan.hidden.iter();
    let hidden: Vec<Value> = hidden.map(|name| (name.clone(), None)).collect();
    let Some(host) = Host::begin(python, &hidden, server, settings.api).map(Arc::new) else {
        return UNUSABLE;
    };
    let preparation = match Preparation::make(&host, &bell) {
        Ok(preparation) => preparation,
        Err(reason) => return unusable(&log, &reason),
    };
    log.set_offset(preparation.offset);
    if settings.options.service() {
        return service::run(host, preparation, &control, log, &settings.preload);
    }
    let queue = match queue.map(Queue::new) {
        Some(Ok(queue)) => queue,
        Some(Err(error)) => return unusable(&log, &format!("it cannot use its queue: {error}")),
        None => return unusable(&log, "it got no queue"),
    };
    let failed = preload(&host, &settings.preload, &hearing, &log);
    // Exit handlers are not to be interrupted either.
    preparation.serve(&host);
    if let Some(code) = failed {
        host.stop_shared(watch::PATIENCE);
        return code;
    }
    let raw = Raw::prepare(&host);
    let limits = Limits::of(&settings.options, jitter());
    let threads = usize::try_from(settings.options.threads).unwrap_or(1);
    let family = Family::here();
    let daemon = Arc::new(Daemon {
        host,
        queue,
        crew: Crew::new(threads),
        board: Board::new(threads),
        log: Arc::clone(&log),
        post: Arc::new(Post::new(family, Arc::clone(&log))),
        family,
        report,
        requests: limits.requests,
        run_once: settings.options.run_once(),
        watches_activity: limits.inactivity.is_some(),
        raw,
        bell,
        present: AtomicUsize::new(0),
    });
    if !control.say(&FromDaemon::Ready) {
        return 0;
    }
    for me in 0..threads {
        let mut thread = std::thread::Builder::new().name(format!("wsgi-{me}"));
        if let Some(size) = settings.options.stack_size {
            thread = thread.stack_size(usize::try_from(size).unwrap_or(usize::MAX));
        }
        daemon.present.fetch_add(1, Ordering::SeqCst);
        let own = Arc::clone(&daemon);
        if let Err(error) = thread.spawn(move || own.work(me)) {
            return unusable(&log, &format!("it gets no thread: {error}"));
        }
    }
    if !settings.options.response_flush_delay.is_zero() {
        let post: Arc<Post> = Arc::clone(&daemon.post);
        let thread = std::thread::Builder::new().name(String::from("wsgi-post"));
        // Without it blocks are sent one by one.
        let _ = thread.spawn(move || post.work());
    }
    if threads > 1 {
        let own = Arc::clone(&daemon);
        let lookout = std::thread::Builder::new().name(String::from("wsgi-lookout"));
        // Without it no thread keeps the lead.
        let _ = lookout.spawn(move || own.crew.look_out());
    }
    let slow = settings.slow_requests.map(|limit| {
        let log: Arc<dyn ServerLog> = Arc::<StandardError>::clone(&log);
        Slow::watch(&daemon.host, log, limit)
    });
    let parts = Parts {
        slow,
        control,
        hearing,
        stats,
        limits,
        graceful: settings.options.graceful_timeout,
        shutdown: settings.options.shutdown_timeout,
        evicts: settings.options.eviction_timeout.is_some(),
    };
    Watch::new(daemon, parts).run()
}

/// Loads scripts; returns an exit code if the process is to end.
fn preload(host: &Host, scripts: &[Preload], hearing: &OwnedFd, log: &StandardError) -> Option<i32> {
    for preload in scripts {
        let script = Path::new(OsStr::from_bytes(&preload.script));
        // Nobody can ask for a script that is gone.
        if preload.required
            && script
                .metadata()
                .is_err_and(|error| error.kind() == ErrorKind::NotFound)
        {
            let text = format!("{} is gone and not loaded", script.display());
            log.log(Level::Info, text.as_bytes());
            continue;
        }
        let imported = host.import(&preload.application_group, &preload.script);
        if imported == Imported::Exited && signals::told_to_end(hearing) {
            return Some(0);
        }
        if preload.required && imported != Imported::Loaded {
            let text = format!(
                "WSGI0510: this daemon cannot load {}, which its group serves, and ends; daemons that have loaded it go on. \
                 Mend the script, or delete it if nobody needs it",
                script.display()
            );
            log.log(Level::Error, text.as_bytes());
            return Some(NOT_LOADED);
        }
    }
    None
}

/// The first message.
fn introduction(control: &Control) -> Result<(Settings, Vec<OwnedFd>), String> {
    match control.hear()? {
        Some((ToDaemon::Settings(sent), descriptors)) => Ok((Settings::read(sent)?, descriptors)),
        Some(_) => Err(String::from("wsgid sent something else")),
        None => Err(String::from("nobody is there to send them")),
    }
}

/// What httpd's processes publish of their threads.
fn scoreboard(file: OwnedFd) -> Scoreboard {
    let file = File::from(file);
    Box::new(move || published::read(&file, 0).unwrap_or_else(|| b"null".to_vec()))
}

fn unusable(log: &StandardError, reason: &str) -> i32 {
    let text = format!("WSGI0502: this daemon cannot work: {reason}");
    log.log(Level::Critical, text.as_bytes());
    UNUSABLE
}

/// A number from 0 up to 1.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let random = u32::try_from(RandomState::new().hash_one(0u8) >> 32).unwrap_or(0);
    f64::from(random) / (f64::from(u32::MAX) + 1.0)
}
