//! What the host's Python sources ask about here and now: the request of the thread, and the log.

use std::ffi::{CStr, c_int};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};

use wsgi_core::abi::{Level, Site};

use super::counters::Moment;
use crate::adapter::{Events, Live, Server};
use crate::python::{Class, Error, GilCell, Kind, Members, Object, Result};

/// The object to ask.
pub struct Here {
    server: Arc<Server>,
    /// Those of the interpreter; set when they are there.
    pub events: OnceLock<Weak<Events>>,
    /// Where the current window of metrics began.
    window: GilCell<Option<Moment>>,
}

impl Here {
    /// For an interpreter of this server.
    pub fn of(server: Arc<Server>) -> Here {
        Here {
            server,
            events: OnceLock::new(),
            window: GilCell::default(),
        }
    }
}

impl Class for Here {
    const NAME: &'static CStr = c"mod_wsgi.Here";
    const DOC: &'static CStr = c"What is known of the calling thread's request, and the log.";

    fn members(members: &mut Members<Here>) {
        members
            .method(
                c"request_data",
                c"request_data() -> dict of the thread's request",
                request_data,
            )
            .method(
                c"active_requests",
                c"active_requests() -> dict of those that run in this interpreter",
                active_requests,
            )
            .method(
                c"log_level",
                c"log_level() -> httpd's number of the least important level that is shown",
                log_level,
            )
            .method(
                c"log",
                c"log(level, file, line, text): logs each line at httpd's level of that number",
                log,
            )
            .method(
                c"record",
                c"record(): metrics are wanted, in every interpreter of the process",
                record,
            )
            .method(c"recording", c"recording() -> whether they are", recording)
            .method(
                c"counted",
                c"counted() -> what the process has counted since its begin",
                counted,
            )
            .method(
                c"scoreboard",
                c"scoreboard() -> JSON of what httpd's threads do, or None",
                scoreboard,
            )
            .method(
                c"window",
                c"window() -> what it has counted since the last call in this interpreter",
                window,
            );
    }
}

fn request_data<'py>(_: &Here, me: &Object<'py>, _: &[Object<'py>]) -> Result<'py, Object<'py>> {
    let seen = Live::current().map_or(Ok(None), |live| live.seen(me.py()))?;
    seen.map(|seen| seen.data)
        .ok_or_else(|| Error::new(me.py(), Kind::Runtime, "this thread runs no request"))
}

fn active_requests<'py>(this: &Here, me: &Object<'py>, _: &[Object<'py>]) -> Result<'py, Object<'py>> {
    match this.events.get().and_then(Weak::upgrade) {
        Some(events) => events.active(me.py()),
        None => me.py().dict(),
    }
}

fn log_level<'py>(this: &Here, me: &Object<'py>, _: &[Object<'py>]) -> Result<'py, Object<'py>> {
    let level = Live::current().map_or_else(|| this.server.log.level(), |live| live.log_level);
    me.py().int(level as i64)
}

fn log<'py>(this: &Here, me: &Object<'py>, arguments: &[Object<'py>]) -> Result<'py, Object<'py>> {
    let [level, file, line, text] = arguments else {
        return Err(Error::new(me.py(), Kind::Type, "log() takes level, file, line, text"));
    };
    let level = level.as_int().and_then(|level| c_int::try_from(level).ok());
    let level = Level::from_raw(level.unwrap_or(-1));
    let line = line.as_int().and_then(|line| u32::try_from(line).ok()).unwrap_or(0);
    let (file, text) = (file.to_text(), text.to_text());
    let site = Site {
        file: file.as_bytes(),
        line,
    };
    me.py().detach(|| {
        let logged = Live::current().is_some_and(|live| live.log_from(level, site, text.as_bytes()));
        if !logged {
            this.server.log.log_from(level, site, text.as_bytes());
        }
    });
    Ok(me.py().none())
}

fn record<'py>(this: &Here, me: &Object<'py>, _: &[Object<'py>]) -> Result<'py, Object<'py>> {
    this.server.recording.store(true, Ordering::Relaxed);
    Ok(me.py().none())
}

fn recording<'py>(this: &Here, me: &Object<'py>, _: &[Object<'py>]) -> Result<'py, Object<'py>> {
    Ok(me.py().boolean(this.server.recording.load(Ordering::Relaxed)))
}

fn counted<'py>(this: &Here, me: &Object<'py>, _: &[Object<'py>]) -> Result<'py, Object<'py>> {
    Moment::now(&this.server.stats).tell(me.py(), None, &[])
}

fn window<'py>(this: &Here, me: &Object<'py>, _: &[Object<'py>]) -> Result<'py, Object<'py>> {
    let py = me.py();
    let now = Moment::now(&this.server.stats);
    let longest = this.server.stats.take_longest();
    let before = this.window.with(py, |window| window.replace(now.clone()));
    now.tell(py, before.as_ref(), &longest)
}

fn scoreboard<'py>(this: &Here, me: &Object<'py>, _: &[Object<'py>]) -> Result<'py, Object<'py>> {
    match &this.server.scoreboard {
        Some(scoreboard) => {
            let text = me.py().detach(scoreboard);
            me.py().bytes(&text)
        }
        None => Ok(me.py().none()),
    }
}
