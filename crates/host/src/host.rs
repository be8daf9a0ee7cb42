//! A running Python in this process: its interpreters, by application group, from start to end.

use std::ffi::c_ulong;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use wsgi_core::abi::{Level, Site};

use crate::adapter::exchange::{Exchange, LogRecord, Outcome};
use crate::adapter::{Answer, Events, Hook, Imported, Record, Request, Server, ask, import, run, text_of_error};
use crate::api::{self, Settings};
use crate::environment::Value;
use crate::fence::fence;
use crate::gate::Gate;
use crate::python::{
    Interpreter, Nudging, Python, Visit, abandon, active_visits, close_doors, end_nudging, nudge, own_states,
    raise_in_thread, spawn, thread_ident, trim,
};
use crate::stats::Stats;

/// Python, started.
pub struct Host {
    server: Arc<Server>,
    settings: Settings,
    main: Arc<Group>,
    groups: Mutex<Vec<Arc<Group>>>,
    creating: Gate,
    telling: Arc<Gate>,
    /// Python's number of the thread that started it.
    main_thread: i64,
}

/// What the applications of the process are told.
#[derive(Clone, Copy, Debug)]
pub enum News {
    /// The process is about to end, for this reason; in embedded mode it has none.
    Stopping(&'static str),
    /// A signal of this name and number came; what it means is up to them.
    Signal(&'static str, i32),
}

/// An application group: an interpreter and what the adapter keeps for it.
struct Group {
    name: Box<[u8]>,
    interpreter: Interpreter,
    record: Record,
}

impl Host {
    /// Makes the started Python ready for requests. `environment` holds variables that `os.environ` has wrong values
    /// of. `None` when its main interpreter cannot be prepared; the reason is logged.
    pub fn begin(main: Interpreter, environment: &[Value], server: Server, settings: Settings) -> Option<Host> {
        let server = Arc::new(server);
        let record = main.attach(|py| {
            api::install(py, Arc::clone(&server), &settings, b"", 0)
                .and_then(|(record, main_thread)| {
                    api::correct_environment(py, &record, environment)?;
                    Ok((record, main_thread))
                })
                .map_err(|error| text_of_error(error, py))
        });
        match record {
            Ok((record, main_thread)) => {
                server.stats.set_interpreters(1);
                trim();
                let main = Arc::new(Group {
                    name: Box::default(),
                    interpreter: main,
                    record,
                });
                Some(Host {
                    groups: Mutex::new(vec![Arc::clone(&main)]),
                    main,
                    server,
                    settings,
                    creating: Gate::default(),
                    telling: Arc::default(),
                    main_thread,
                })
            }
            Err(reason) => {
                let text = format!("WSGI0301: Python started but cannot be used: {reason}");
                server.log.log(Level::Critical, text.as_bytes());
                None
            }
        }
    }

    /// What it counts.
    pub fn stats(&self) -> Stats {
        self.server.stats
    }

    /// Runs a request in the interpreter of its application group, which is made at its first use.
    pub fn run(&self, application_group: &[u8], request: &Request<'_>, mut exchange: Box<dyn Exchange>) -> Outcome {
        let Some(_visit) = Visit::begin() else {
            return Outcome::Refused(503);
        };
        match self.group(application_group) {
            Ok(group) => {
                self.main.interpreter.introduce_thread();
                run(&group.interpreter, &group.record, request, exchange)
            }
            Err((status, (level, text))) => {
                exchange.log(level, Site::NONE, text.as_bytes());
                Outcome::Refused(status)
            }
        }
    }

    /// Asks a script about a request, in the interpreter of that application group.
    pub fn ask(&self, application_group: &[u8], hook: &Hook<'_>, mut exchange: Box<dyn Exchange>) -> Answer {
        let Some(_visit) = Visit::begin() else {
            exchange.log(
                Level::Info,
                Site::NONE,
                b"WSGI0433: the process is about to end, so that no script can be asked",
            );
            return Answer::Failed;
        };
        match self.group(application_group) {
            Ok(group) => {
                self.main.interpreter.introduce_thread();
                ask(&group.interpreter, &group.record, hook, exchange)
            }
            Err((_, (level, text))) => {
                exchange.log(level, Site::NONE, text.as_bytes());
                Answer::Failed
            }
        }
    }

    /// Loads a script in the interpreter of its application group, with nobody asking for it.
    pub fn import(&self, application_group: &[u8], path: &[u8]) -> Imported {
        let (imported, records) = match self.group(application_group) {
            Ok(group) => import(&group.interpreter, &group.record, path),
            Err((_, record)) => (Imported::Failed, vec![record]),
        };
        for (level, text) in records {
            self.server.log.log(level, text.as_bytes());
        }
        trim();
        imported
    }

    /// Raises `mod_wsgi.RequestTimeout` in the thread of that number (CPython's), which runs a request of the application
    /// group, if `still` says so when nothing of Python can run meanwhile.
    pub fn interrupt(&self, application_group: &[u8], thread: c_ulong, still: impl FnOnce() -> bool) {
        if let Ok(group) = self.group(application_group) {
            self.main.interpreter.introduce_thread();
            group.interpreter.attach(|py| {
                if still() {
                    raise_in_thread(py, thread, Some(group.record.request_timeout.get(py)));
                }
            });
        }
    }

    /// Takes back what [`Host::interrupt`] may have left for the calling thread.
    pub fn calm(&self, application_group: &[u8]) {
        self.attach(application_group, |py| raise_in_thread(py, thread_ident(), None));
    }

    /// Runs `work` in the interpreter of an application group; `None` if there is none, and none can be made.
    pub fn attach<R>(&self, application_group: &[u8], work: impl for<'py> FnOnce(Python<'py>) -> R) -> Option<R> {
        let group = self.group(application_group).ok()?;
        self.main.interpreter.introduce_thread();
        Some(group.interpreter.attach(work))
    }

    /// Calls the callbacks of each interpreter in a thread of the host's, since they may take their time; one after the
    /// other, also of several pieces of news. What is returned ends, empty, when all have been called.
    pub fn tell(&self, news: News) -> mpsc::Receiver<()> {
        let (done, told) = mpsc::channel();
        let (groups, gate) = (self.groups().clone(), Arc::clone(&self.telling));
        let nudging = Nudging::begin();
        let _ = spawn(move || {
            let _nudging = nudging;
            let _passage = gate.enter();
            for group in &groups {
                // The first of them is the main one, which a thread has to be introduced to first.
                group.interpreter.attach(|py| match news {
                    News::Stopping(reason) => group.record.tell_stopping(py, reason),
                    News::Signal(name, number) => group.record.tell_signal(py, name, number),
                });
            }
            drop(groups);
            drop(done);
        });
        told
    }

    /// Tells them of the end and waits for them: for as long as they like, unless requests still run.
    pub fn tell_end(&self, patience: Duration) {
        // A thread that is inside itself would wait for itself.
        if Visit::is_under_way() {
            return;
        }
        let told = self.tell(News::Stopping(""));
        if active_visits() == 0 {
            // It ends by the end of the thread, or of an attempt to make one.
            let _ = told.recv();
        } else {
            let _ = told.recv_timeout(patience);
        }
    }

    /// Runs `work` in each interpreter there is, with the name of its application group and its events.
    pub fn each(&self, mut work: impl for<'py> FnMut(&[u8], &Events, Python<'py>)) {
        let groups = self.groups().clone();
        self.main.interpreter.introduce_thread();
        for group in groups {
            let Some(_visit) = Visit::begin() else { return };
            group
                .interpreter
                .attach(|py| work(&group.name, &group.record.events, py));
        }
    }

    /// Has `work` done for each interpreter, in a new thread that CPython knows as that interpreter's and that does not have
    /// Python's lock. After each, `done` gets the application group's name.
    pub fn each_unlocked(&self, work: impl Fn() + Copy + Send + 'static, mut done: impl FnMut(&[u8])) {
        let groups = self.groups().clone();
        for group in groups {
            let own = Arc::clone(&group);
            let (ready, come) = mpsc::channel();
            let thread = spawn(move || {
                // The thread's first state is the one that `PyGILState_GetThisThreadState` finds.
                own.interpreter.introduce_thread();
                work();
                drop(own);
                // When the thread ends it waits for the lock, to delete its state.
                let _ = ready.send(());
            });
            if thread.is_some() && come.recv().is_ok() {
                done(&group.name);
            }
        }
    }

    /// [`Host::stop`], if nobody else uses it any more; otherwise only the exit handlers run.
    pub fn stop_shared(self: Arc<Self>, patience: Duration) {
        match Arc::try_unwrap(self) {
            Ok(host) => Box::new(host).stop(patience),
            Err(host) => {
                close_doors();
                if host.settings.plan.destroy {
                    host.abandon(patience);
                } else {
                    abandon();
                    std::mem::forget(host);
                }
            }
        }
    }

    /// Ends Python; waits at most `patience` for threads that are inside. In a thread that is inside itself (a signal
    /// handler) it does nothing: neither waiting nor finalising can end well there.
    pub fn stop(self: Box<Self>, patience: Duration) {
        if Visit::is_under_way() || !close_doors() {
            std::mem::forget(self);
            return;
        }
        if !self.settings.plan.destroy {
            abandon();
            return std::mem::forget(self);
        }
        let _nudging = Nudging::begin();
        let deadline = Instant::now() + patience;
        if !comes_true(deadline, || active_visits() == 0) {
            self.abandon(patience);
            return std::mem::forget(self);
        }
        self.end(deadline);
    }

    /// Ends Python with nobody inside: each interpreter, then the main one. Where threads are left, ending an interpreter
    /// would crash: then only the exit handlers run, and nothing is finalised.
    fn end(self, deadline: Instant) {
        let groups = self.groups().clone();
        let mut left = 0;
        for group in &groups {
            group.interpreter.adopt();
            left += group.interpreter.attach(|py| group.record.end(py));
        }
        let clean = left == 0 && {
            end_nudging();
            self.groups().clear();
            // Those who nudge hold on to their interpreter until they end.
            let alone =
                |group: &Arc<Group>| Arc::strong_count(group) == 1 + usize::from(Arc::ptr_eq(group, &self.main));
            comes_true(deadline, || own_states() == 0 && groups.iter().all(alone))
        };
        if !clean {
            let text = "WSGI0303: threads of the application still run at the end of the process; exit handlers run, \
                        Python is not finalised";
            self.server.log.log(Level::Info, text.as_bytes());
            run_exit_handlers(&groups);
            std::mem::forget((self, groups));
            return;
        }
        let main = self.main;
        for group in groups.into_iter().filter(|group| !Arc::ptr_eq(group, &main)) {
            end_group(group, |sub| {
                // SAFETY: nobody is inside and the doors are closed; no thread has a state of its own left, and Python
                // has said that it left no threads of its own.
                unsafe { sub.end(&main.interpreter) }
            });
        }
        // SAFETY: as above, and all sub-interpreters have ended.
        end_group(main, |main| unsafe { main.finalize() });
    }

    /// Ends with threads stuck inside: the exit handlers run if that is possible in time, in a thread that may get
    /// stuck as well.
    fn abandon(&self, patience: Duration) {
        let (requests, states) = (active_visits(), own_states());
        let text = format!(
            "WSGI0302: the process ends with {requests} requests running and {states} thread states left; exit handlers \
             run, but Python is not finalised"
        );
        // Without requests it is only that threads take long for their last steps.
        let level = if requests > 0 { Level::Warning } else { Level::Info };
        self.server.log.log(level, text.as_bytes());
        abandon();
        let (done, wait) = mpsc::channel();
        let groups = self.groups().clone();
        let _ = spawn(move || {
            run_exit_handlers(&groups);
            // The process ends; nothing of it is freed, since Python still runs.
            std::mem::forget(groups);
            // Whoever waited may be gone.
            let _ = done.send(());
        });
        let _ = wait.recv_timeout(patience.max(Duration::from_millis(100)));
    }

    /// The group of that name, made if there is none; or the status of a request for it, and why.
    fn group(&self, name: &[u8]) -> Result<Arc<Group>, (u16, LogRecord)> {
        let find = || self.groups().iter().find(|group| *group.name == *name).map(Arc::clone);
        if let Some(group) = find() {
            return Ok(group);
        }
        let made = fence(|| {
            let _gate = self.creating.enter();
            find().map_or_else(|| self.create(name), Ok)
        });
        made.unwrap_or_else(|| Err((500, (Level::Error, cannot_make(name, "internal error, see above")))))
    }

    /// Makes the group.
    fn create(&self, name: &[u8]) -> Result<Arc<Group>, (u16, LogRecord)> {
        let failed = |reason: &str| (500, (Level::Error, cannot_make(name, reason)));
        let limit = usize::try_from(self.settings.plan.limit).unwrap_or(usize::MAX);
        if limit != 0 && self.groups().len() >= limit {
            let name = String::from_utf8_lossy(name);
            let text = format!(
                "WSGI0420: there is no interpreter for application group \"{name}\": this process has {limit}, as many as \
                 WSGIInterpreterLimit or the group's interpreter-limit= permits; raise it, or let applications share \
                 interpreters by WSGIApplicationGroup"
            );
            return Err((503, (Level::Error, text)));
        }
        if self.groups().len() == 1 {
            keep_going_round(&self.main);
        }
        let text = String::from_utf8_lossy(name);
        let (interpreter, record) = self
            .main
            .interpreter
            .create(self.settings.own_gil(&text), |py| {
                api::install(py, Arc::clone(&self.server), &self.settings, name, self.main_thread)
                    .map_err(|error| text_of_error(error, py))
            })
            .map_err(|reason| failed(&reason))?;
        let (record, _) = record.map_err(|reason| failed(&reason))?;
        let group = Arc::new(Group {
            name: name.into(),
            interpreter,
            record,
        });
        self.groups().push(Arc::clone(&group));
        self.server.stats.set_interpreters(self.groups().len());
        keep_going_round(&group);
        Ok(group)
    }

    fn groups(&self) -> MutexGuard<'_, Vec<Arc<Group>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cannot_make(name: &[u8], reason: &str) -> String {
    let name = String::from_utf8_lossy(name);
    format!(
        "WSGI0410: cannot make the Python interpreter of application group \"{name}\": {reason}; set WSGIApplicationGroup \
         %{{GLOBAL}} to use the main one"
    )
}

/// Waits until it is so; false when the deadline passes before.
fn comes_true(deadline: Instant, condition: impl Fn() -> bool) -> bool {
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Lets a thread ask for the GIL in this interpreter, for the sake of those who wait in others.
fn keep_going_round(group: &Arc<Group>) {
    let group = Arc::clone(group);
    nudge(move || group.interpreter.attach(|_py| ()));
}

/// Runs what `atexit` holds in each interpreter, the main one last, and leaves them as they are.
fn run_exit_handlers(groups: &[Arc<Group>]) {
    for group in groups.iter().rev() {
        group.interpreter.attach(|py| group.record.run_exit_handlers(py));
    }
}

/// Ends one interpreter with `end`, which nobody else uses any more.
fn end_group(group: Arc<Group>, end: impl FnOnce(Interpreter)) {
    if let Some(Group {
        interpreter, record, ..
    }) = Arc::into_inner(group)
    {
        interpreter.attach(|_py| drop(record));
        end(interpreter);
    }
}
