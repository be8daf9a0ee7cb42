//! Between the supervisor and a daemon.

use std::time::Duration;

use super::{Preload, bounded, fields, put_list, take_list};
use crate::abi::Level;
use crate::directive::NameValue;
use crate::supervision::Reason;
use crate::wire::field::{put_short_text, put_text};
use crate::wire::{Error, MAX_PATH, TooLarge, VERSION};

/// What a daemon's Python is given after `-c`; the path of the host follows as its one argument.
///
/// The current directory, which `-c` puts at the front of `sys.path`, goes first: nothing of the site's may be taken
/// for the standard library's. `_imp` and `_frozen_importlib` are built in; the public way through `importlib.util`
/// imports half a dozen modules and ends in the same call. The host is an extension module of one function.
pub const LINE: &str = "import sys;sys.path[:1]==['']and sys.path.pop(0);import _imp,_frozen_importlib as f;\
    s=f.ModuleSpec('wsgi_host',None,origin=sys.argv[1]);m=_imp.create_dynamic(s);_imp.exec_dynamic(m);\
    m.wsgi_daemon_main()";

/// Exit codes of daemons that could not do their work, for the supervisor's log. The reason is logged by the daemon.
pub mod exit {
    /// What is to be loaded before it is READY could not be loaded.
    pub const NOT_LOADED: i32 = 3;
    /// It was not started by a supervisor, or by one of another version (`EX_USAGE` in `sysexits.h`).
    pub const MISUSED: i32 = 64;
    /// Its Python or its threads could not be set up (`EX_SOFTWARE`).
    pub const UNUSABLE: i32 = 70;
    /// The new process could not become a daemon: its user, its directory, its program (`EX_OSERR`).
    pub const NOT_LAUNCHED: i32 = 71;
}

/// What the supervisor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToDaemon {
    /// What to be; the first message.
    Settings(Settings),
    /// Finish what you have, take nothing new, and end. Who is not done within that time is told to end at once
    /// (SIGTERM); `None`: no limit.
    Drain(Option<Duration>),
    /// Say what your threads are doing.
    Stacks,
    /// Less important records are not logged from now on. A descriptor that comes along takes the place of the log.
    Log(Level),
}

/// Everything that a daemon is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Generation of the group that it belongs to, for the log.
    pub generation: u64,
    /// Its number among the group's processes since the supervisor started, for the log.
    pub process: u64,
    /// Name of its group.
    pub group: Vec<u8>,
    /// The group's options as they were written ([`crate::daemon_options::DaemonOptions::from_written`]).
    pub options: Vec<NameValue>,
    /// What the server says of itself.
    pub facts: Vec<NameValue>,
    /// What holds for its interpreters ([`crate::interpreter::Plan::to_list`]).
    pub interpreters: Vec<NameValue>,
    /// Scripts to load before it is READY.
    pub preload: Vec<Preload>,
}

const SETTINGS: u8 = 1;
const DRAIN: u8 = 2;
const ASK_STACKS: u8 = 3;
const LOG: u8 = 4;

impl ToDaemon {
    /// The message.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn encode(&self) -> Result<Vec<u8>, TooLarge> {
        let mut out = Vec::new();
        match self {
            ToDaemon::Settings(settings) => {
                out.push(SETTINGS);
                out.extend(VERSION.to_le_bytes());
                out.extend(settings.generation.to_le_bytes());
                out.extend(settings.process.to_le_bytes());
                put_short_text(&mut out, &settings.group, usize::MAX, "name of the process group is")?;
                put_list(&mut out, &settings.options)?;
                put_list(&mut out, &settings.facts)?;
                put_list(&mut out, &settings.interpreters)?;
                Preload::put_all(&mut out, &settings.preload)?;
            }
            ToDaemon::Drain(limit) => {
                out.push(DRAIN);
                let millis = limit.map_or(u64::MAX, |limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
                out.extend(millis.to_le_bytes());
            }
            ToDaemon::Stacks => out.push(ASK_STACKS),
            ToDaemon::Log(level) => out.extend([LOG, *level as u8]),
        }
        bounded(out)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(message: &[u8]) -> Result<ToDaemon, Error> {
        let mut fields = fields(message)?;
        let decoded = match fields.u8()? {
            SETTINGS if fields.u16()? != VERSION => {
                return Err(Error::Invalid(
                    "the Python host is of another version than wsgid: restart httpd, graceful will do",
                ));
            }
            SETTINGS => ToDaemon::Settings(Settings {
                generation: fields.u64()?,
                process: fields.u64()?,
                group: fields.short_text(usize::MAX)?.to_vec(),
                options: take_list(&mut fields)?,
                facts: take_list(&mut fields)?,
                interpreters: take_list(&mut fields)?,
                preload: Preload::take_all(&mut fields)?,
            }),
            DRAIN => match fields.u64()? {
                u64::MAX => ToDaemon::Drain(None),
                millis => ToDaemon::Drain(Some(Duration::from_millis(millis))),
            },
            ASK_STACKS => ToDaemon::Stacks,
            LOG => ToDaemon::Log(Level::from_raw(fields.u8()?.into())),
            _ => return Err(Error::Invalid("unknown message from wsgid")),
        };
        fields.end()?;
        Ok(decoded)
    }
}

/// What a daemon says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromDaemon {
    /// It takes requests from now on.
    Ready,
    /// It should be replaced, and serves until then. Said once for each reason, for `ScriptReload` once for each
    /// change.
    Replace(Reason),
    /// It takes no more requests, and ends when it has finished those that it has.
    Exiting(Reason),
    /// It has completed a request. Said once, before the end of the first reply goes out: whoever has seen a whole reply can
    /// rely on it.
    Served,
    /// A request uses a script that has been loaded, for the first time in this process.
    Loaded {
        /// Its path.
        script: Vec<u8>,
        /// Where it was loaded.
        application_group: Vec<u8>,
    },
    /// What its threads are doing, as it was asked.
    Stacks(Vec<u8>),
}

const READY: u8 = 1;
const REPLACE: u8 = 2;
const EXITING: u8 = 3;
const SERVED: u8 = 4;
const LOADED: u8 = 5;
const STACKS: u8 = 6;

/// Longest text of stacks.
pub const MAX_STACKS: usize = 60_000;

/// Longest name of an application group that a daemon reports a script of.
const MAX_APPLICATION_GROUP: usize = 1024;

impl FromDaemon {
    /// The message.
    ///
    /// # Errors
    /// When the path or the name is longer than what is reported.
    pub fn encode(&self) -> Result<Vec<u8>, TooLarge> {
        Ok(match self {
            FromDaemon::Ready => vec![READY],
            FromDaemon::Replace(reason) => vec![REPLACE, reason.number()],
            FromDaemon::Exiting(reason) => vec![EXITING, reason.number()],
            FromDaemon::Served => vec![SERVED],
            FromDaemon::Stacks(text) => {
                let mut out = vec![STACKS];
                put_text(&mut out, text, MAX_STACKS, "text of stacks is")?;
                out
            }
            FromDaemon::Loaded {
                script,
                application_group,
            } => {
                let mut out = vec![LOADED];
                put_short_text(&mut out, script, MAX_PATH, "path of the script is")?;
                let what = "name of the application group is";
                put_short_text(&mut out, application_group, MAX_APPLICATION_GROUP, what)?;
                out
            }
        })
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(message: &[u8]) -> Result<FromDaemon, Error> {
        let mut fields = fields(message)?;
        let reason = |number| Reason::from_number(number).ok_or(Error::Invalid("unknown reason"));
        let decoded = match fields.u8()? {
            READY => FromDaemon::Ready,
            REPLACE => FromDaemon::Replace(reason(fields.u8()?)?),
            EXITING => FromDaemon::Exiting(reason(fields.u8()?)?),
            SERVED => FromDaemon::Served,
            STACKS => FromDaemon::Stacks(fields.text(MAX_STACKS)?.to_vec()),
            LOADED => FromDaemon::Loaded {
                script: fields.short_text(MAX_PATH)?.to_vec(),
                application_group: fields.short_text(MAX_APPLICATION_GROUP)?.to_vec(),
            },
            _ => return Err(Error::Invalid("unknown message from a daemon")),
        };
        fields.end()?;
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_a_daemon() {
        let pair = (b"threads".to_vec(), b"2".to_vec());
        let settings = Settings {
            generation: 3,
            process: 12,
            group: b"shop".to_vec(),
            options: vec![pair.clone()],
            facts: vec![pair.clone(), pair.clone()],
            interpreters: vec![pair],
            preload: vec![Preload {
                script: b"/srv/app.wsgi".to_vec(),
                application_group: b"app".to_vec(),
                required: false,
            }],
        };
        for message in [
            ToDaemon::Settings(settings),
            ToDaemon::Drain(None),
            ToDaemon::Drain(Some(Duration::from_millis(1500))),
            ToDaemon::Drain(Some(Duration::ZERO)),
            ToDaemon::Stacks,
            ToDaemon::Log(Level::Debug),
        ] {
            let bytes = message.encode().unwrap();
            assert_eq!(ToDaemon::decode(&bytes), Ok(message));
            for end in 0..bytes.len() {
                assert!(matches!(ToDaemon::decode(&bytes[..end]), Err(Error::Invalid(_))));
            }
            assert!(ToDaemon::decode(&[&bytes[..], b"x"].concat()).is_err());
        }
        assert!(ToDaemon::decode(&[9]).is_err());
        let other = ToDaemon::decode(&[SETTINGS, 99, 0]);
        assert!(other.is_err_and(|error| error.to_string().contains("another version")));
    }

    #[test]
    fn from_a_daemon() {
        let loaded = |script: usize, application_group: usize| FromDaemon::Loaded {
            script: vec![b's'; script],
            application_group: vec![b'g'; application_group],
        };
        for message in [
            FromDaemon::Ready,
            FromDaemon::Replace(Reason::ScriptReload),
            FromDaemon::Exiting(Reason::InactivityTimeout),
            FromDaemon::Served,
            FromDaemon::Stacks(b"File".to_vec()),
            loaded(10, 0),
            loaded(MAX_PATH, MAX_APPLICATION_GROUP),
        ] {
            let bytes = message.encode().unwrap();
            assert_eq!(FromDaemon::decode(&bytes), Ok(message));
            for end in 0..bytes.len() {
                assert!(matches!(FromDaemon::decode(&bytes[..end]), Err(Error::Invalid(_))));
            }
        }
        for long in [loaded(MAX_PATH + 1, 0), loaded(1, MAX_APPLICATION_GROUP + 1)] {
            assert!(long.encode().is_err());
        }
        for bad in [&[][..], &[1, 1], &[2], &[2, 0], &[3, 99], &[4, 1], &[5, 1, 0], &[6]] {
            assert!(matches!(FromDaemon::decode(bad), Err(Error::Invalid(_))), "{bad:?}");
        }
    }
}
