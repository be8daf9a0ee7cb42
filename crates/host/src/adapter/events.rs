//! What an interpreter's callbacks are told about requests (`api/events.py`). Without a callback nothing of it is made.

use std::sync::Arc;
use std::time::Duration;

use super::live::{Live, Seen};
use super::request::Request;
use crate::python::{GilCell, Kept, Object, Python, Result, thread_number, waits};

/// Who wants to be told, and what tells him.
pub struct Events {
    /// `mod_wsgi.event_callbacks`
    callbacks: Kept,
    /// `mod_wsgi.active_requests`, once somebody has asked for it.
    active: GilCell<Option<Kept>>,
    /// The requests that run in this interpreter.
    running: GilCell<Vec<Arc<Live>>>,
    /// `(facts, environ, application, data) -> application, CPU times`
    started: Kept,
    /// `(id, status, headers, exc_info, data)`
    responding: Kept,
    /// `(facts, numbers, CPU times, data)`
    finished: Kept,
    /// `(id, exc_info, data)`
    failed: Kept,
    /// `(reason)`
    stopping: Kept,
    /// `(name, number)`
    signal: Kept,
}

/// What is known of a request from its begin on.
pub struct Begun<'py> {
    /// When the application was called, in seconds since the epoch.
    pub application_start: f64,
    /// CPU times of the thread, if somebody wanted to be told.
    pub cpu: Object<'py>,
}

/// What is known of a request at its end.
pub struct Ended {
    /// When the application was done, in seconds since the epoch.
    pub application_finish: f64,
    /// How long that took, in µs.
    pub application_time: u64,
    /// The status that the client got.
    pub status: u16,
}

impl Events {
    /// Of the modules `mod_wsgi` and `api/events.py`.
    pub fn of<'py>(py: Python<'py>, mod_wsgi: &Object<'py>, events: &Object<'py>) -> Result<'py, Events> {
        let of = |module: &Object<'py>, name: &str| module.attribute(&py.text(name)?).map(Object::keep);
        Ok(Events {
            callbacks: of(mod_wsgi, "event_callbacks")?,
            active: GilCell::default(),
            running: GilCell::default(),
            started: of(events, "request_started")?,
            responding: of(events, "response_started")?,
            finished: of(events, "request_finished")?,
            failed: of(events, "request_exception")?,
            stopping: of(events, "process_stopping")?,
            signal: of(events, "process_signal")?,
        })
    }

    /// Whether anybody wants to be told.
    pub fn wanted(&self, py: Python<'_>) -> bool {
        self.callbacks.get(py).length() > 0
    }

    /// Lists the request among those that run, until what is returned drops.
    pub fn enter<'a, 'py>(&'a self, py: Python<'py>, live: &'a Arc<Live>) -> Result<'py, Active<'a, 'py>> {
        live.show(py, true);
        self.running.with(py, |running| running.push(Arc::clone(live)));
        let active = Active { py, events: self, live };
        if let Some(requests) = self.listed(py) {
            list(py, &requests, live)?;
        }
        Ok(active)
    }

    /// `mod_wsgi.active_requests`, which is kept from the first time on.
    pub fn active<'py>(&self, py: Python<'py>) -> Result<'py, Object<'py>> {
        if let Some(requests) = self.listed(py) {
            return Ok(requests);
        }
        let requests = py.dict()?;
        let kept = requests.clone().keep();
        let old = self.active.with(py, |active| active.replace(kept));
        drop(old);
        for live in self.running.with(py, |running| running.clone()) {
            list(py, &requests, &live)?;
        }
        Ok(requests)
    }

    /// The request that the thread of that number (CPython's) runs here.
    pub fn running_in(&self, py: Python<'_>, thread: u64) -> Option<Arc<Live>> {
        self.running.with(py, |running| {
            let found = running.iter().rfind(|live| live.thread == thread);
            found.cloned()
        })
    }

    fn listed<'py>(&self, py: Python<'py>) -> Option<Object<'py>> {
        self.active
            .with(py, |active| active.as_ref().map(|active| active.get(py).clone()))
    }

    /// The request is about to run; returns what is to be called.
    pub fn started<'py>(
        &self,
        request: &Request<'_>,
        live: &Live,
        application_start: f64,
        environ: &Object<'py>,
        application: &Object<'py>,
    ) -> Result<'py, (Object<'py>, Object<'py>)> {
        let py = environ.py();
        let Seen { id, data } = seen(py, live)?;
        let facts = facts(py, request, id, application_start)?;
        let answer = self.started.get(py).call(&[&facts, environ, application, &data])?;
        let part = |index| answer.item(index).unwrap_or_else(|| py.none());
        Ok((part(0), part(1)))
    }

    /// The application has called `start_response`.
    pub fn responding<'py>(
        &self,
        live: &Live,
        status: &Object<'py>,
        headers: &Object<'py>,
        exc_info: Option<&Object<'py>>,
    ) -> Result<'py, ()> {
        let py = status.py();
        let Seen { id, data } = seen(py, live)?;
        let (id, none) = (id.unwrap_or_else(|| py.none()), py.none());
        let arguments = [&id, status, headers, exc_info.unwrap_or(&none), &data];
        self.responding.get(py).call(&arguments).map(drop)
    }

    /// The request is over.
    pub fn finished<'py>(
        &self,
        request: &Request<'_>,
        live: &Live,
        begun: &Begun<'py>,
        ended: &Ended,
    ) -> Result<'py, ()> {
        let py = begun.cpu.py();
        let Seen { id, data } = seen(py, live)?;
        let facts = facts(py, request, id, begun.application_start)?;
        let tally = py.detach(|| live.tally());
        let (waited, waits) = waits();
        let count = |number: u64| py.int(i64::try_from(number).unwrap_or(i64::MAX));
        let time = |micros: u64| py.float(Duration::from_micros(micros).as_secs_f64());
        let numbers = py.tuple(vec![
            py.float(ended.application_finish)?,
            time(ended.application_time)?,
            count(tally.received.count)?,
            count(tally.received.bytes)?,
            time(tally.received.time)?,
            count(tally.sent.count)?,
            count(tally.sent.bytes)?,
            time(tally.sent.time)?,
            py.float(waited.as_secs_f64())?,
            count(waits)?,
            py.int(ended.status.into())?,
        ])?;
        let arguments = [&facts, &numbers, &begun.cpu, &data];
        self.finished.get(py).call(&arguments).map(drop)
    }

    /// An exception is about to be logged: class, instance and traceback.
    pub fn failed<'py>(&self, py: Python<'py>, parts: &[Object<'py>; 3]) -> Result<'py, ()> {
        let seen = Live::current().map_or(Ok(None), |live| live.seen(py))?;
        let (id, data) = seen.map_or((None, None), |seen| (seen.id, Some(seen.data)));
        let (id, data) = (id.unwrap_or_else(|| py.none()), data.unwrap_or_else(|| py.none()));
        let info = py.tuple(parts.to_vec())?;
        self.failed.get(py).call(&[&id, &info, &data]).map(drop)
    }

    /// The process is about to end, for this reason.
    pub fn stopping<'py>(&self, py: Python<'py>, reason: &str) -> Result<'py, ()> {
        self.stopping.get(py).call(&[&py.text(reason)?]).map(drop)
    }

    /// A signal that is the application's has come.
    pub fn signal<'py>(&self, py: Python<'py>, name: &str, number: i32) -> Result<'py, ()> {
        let arguments = [&py.text(name)?, &py.int(number.into())?];
        self.signal.get(py).call(&arguments).map(drop)
    }
}

/// A request among those that run.
pub struct Active<'a, 'py> {
    py: Python<'py>,
    events: &'a Events,
    live: &'a Arc<Live>,
}

impl Drop for Active<'_, '_> {
    fn drop(&mut self) {
        let py = self.py;
        let live = self.events.running.with(py, |running| {
            let at = running.iter().position(|live| Arc::ptr_eq(live, self.live))?;
            Some(running.swap_remove(at))
        });
        drop(live);
        if let Some(requests) = self.events.listed(py)
            && let Ok(Some(Seen { id: Some(id), .. })) = self.live.seen(py)
        {
            // The application may have taken it out.
            drop(requests.remove_item(&id));
        }
        self.live.show(py, false);
    }
}

/// Puts a request that runs into `mod_wsgi.active_requests`.
fn list<'py>(py: Python<'py>, requests: &Object<'py>, live: &Live) -> Result<'py, ()> {
    match live.seen(py)? {
        Some(Seen { id: Some(id), data }) => requests.set_item(&id, &data),
        _ => Ok(()),
    }
}

fn seen<'py>(py: Python<'py>, live: &Live) -> Result<'py, Seen<'py>> {
    Ok(live.seen(py)?.unwrap_or_else(|| Seen {
        id: None,
        data: py.none(),
    }))
}

/// In the order of `_FACTS` in `api/events.py`.
fn facts<'py>(
    py: Python<'py>,
    request: &Request<'_>,
    id: Option<Object<'py>>,
    application_start: f64,
) -> Result<'py, Object<'py>> {
    let in_daemon = request.daemon_start > 0;
    let pid = request.variable(b"mod_wsgi.server_pid").unwrap_or_default();
    let pid = std::str::from_utf8(pid).ok().and_then(|pid| pid.parse().ok());
    py.tuple(vec![
        id.unwrap_or_else(|| py.none()),
        py.int(thread_number())?,
        py.int(i64::from(in_daemon) + i64::from(request.retries))?,
        py.int(request.retries.into())?,
        py.float(seconds(request.request_start))?,
        py.float(seconds(request.queue_start))?,
        py.float(seconds(request.daemon_start))?,
        py.float(application_start)?,
        py.latin1(request.callable_object)?,
        py.int(pid.unwrap_or(0))?,
    ])
}

/// µs since the epoch as `time.time()` has them.
#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 need 51 bits")]
pub fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
