//! Between the httpd parent and the supervisor.

use super::{MAX_GROUPS, Preload, bounded, fields, put_list, take_list};
use crate::abi::Level;
use crate::directive::NameValue;
use crate::wire::field::{put_short_text, put_text};
use crate::wire::{Error, MAX_PATH, TooLarge, VERSION};

/// What the parent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToSupervisor {
    /// A configuration begins.
    Begin(Begin),
    /// One of its groups.
    Group(Group),
    /// It is complete.
    End,
    /// Replace the daemons of the group of that name.
    Reload(Vec<u8>),
    /// End all daemons, then yourself.
    Stop,
}

/// What holds for all groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Number of the configuration.
    pub generation: u64,
    /// Number of `Group` messages that follow.
    pub groups: u16,
    /// Less important records are not logged, but for those of groups.
    pub log_level: Level,
    /// A socket comes along at which administrators are heard ([`super::command`]).
    pub listens: bool,
    /// httpd's `User`: whom daemons run as when their group does not say.
    pub uid: u32,
    /// httpd's `Group`.
    pub gid: u32,
    /// Absolute path of the Python host.
    pub host: Vec<u8>,
    /// What daemons should know of the server (`apache.version` …); passed on as it is.
    pub facts: Vec<NameValue>,
}

/// One process group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// Its daemons are started before the first request.
    pub eager: bool,
    /// Its daemons are replaced even if nothing about it has changed (a graceful restart with `WSGIGracefulReload On`).
    pub renew: bool,
    /// A descriptor comes along that shows what httpd's threads do, for its daemons ([`super::published`]).
    pub scoreboard: bool,
    /// Less important records of it and of its daemons are not logged (`LogLevel` of the server that defines it).
    pub log_level: Level,
    /// Absolute path of its Python.
    pub python: Vec<u8>,
    /// The options as they were written ([`crate::daemon_options::DaemonOptions::from_written`]).
    pub options: Vec<NameValue>,
    /// Variables of the environment that the server's own directives ask for (`PYTHONHOME`, `PYTHONOPTIMIZE` …).
    pub environment: Vec<NameValue>,
    /// What holds for the interpreters of its daemons ([`crate::interpreter::Plan::to_list`]); passed on as it is.
    pub interpreters: Vec<NameValue>,
    /// Scripts to load before it is READY; passed on as they are.
    pub preload: Vec<Preload>,
}

const BEGIN: u8 = 1;
const GROUP: u8 = 2;
const END: u8 = 3;
const RELOAD: u8 = 4;
const STOP: u8 = 5;

impl ToSupervisor {
    /// The message.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn encode(&self) -> Result<Vec<u8>, TooLarge> {
        let mut out = Vec::new();
        match self {
            ToSupervisor::Begin(begin) => {
                out.push(BEGIN);
                // First of all, so that any version can read it.
                out.extend(VERSION.to_le_bytes());
                out.extend(begin.generation.to_le_bytes());
                out.extend(begin.groups.to_le_bytes());
                out.push(begin.log_level as u8);
                out.push(begin.listens.into());
                out.extend(begin.uid.to_le_bytes());
                out.extend(begin.gid.to_le_bytes());
                put_short_text(&mut out, &begin.host, MAX_PATH, "path of the Python host is")?;
                put_list(&mut out, &begin.facts)?;
            }
            ToSupervisor::Group(group) => {
                out.push(GROUP);
                put_short_text(&mut out, &group.name, usize::MAX, "name of the process group is")?;
                out.extend([group.eager, group.renew, group.scoreboard].map(u8::from));
                out.push(group.log_level as u8);
                put_short_text(&mut out, &group.python, MAX_PATH, "path of the Python is")?;
                put_list(&mut out, &group.options)?;
                put_list(&mut out, &group.environment)?;
                put_list(&mut out, &group.interpreters)?;
                Preload::put_all(&mut out, &group.preload)?;
            }
            ToSupervisor::End => out.push(END),
            ToSupervisor::Reload(name) => {
                out.push(RELOAD);
                put_short_text(&mut out, name, usize::MAX, "name of the process group is")?;
            }
            ToSupervisor::Stop => out.push(STOP),
        }
        bounded(out)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is none, or another version's.
    pub fn decode(message: &[u8]) -> Result<ToSupervisor, Error> {
        let mut fields = fields(message)?;
        let decoded = match fields.u8()? {
            BEGIN => {
                if fields.u16()? != VERSION {
                    return Err(Error::Invalid("the configuration is of another version of mod_wsgi.so"));
                }
                let begin = Begin {
                    generation: fields.u64()?,
                    groups: fields.u16()?,
                    log_level: Level::from_raw(fields.u8()?.into()),
                    listens: fields.bool()?,
                    uid: fields.u32()?,
                    gid: fields.u32()?,
                    host: fields.short_text(MAX_PATH)?.to_vec(),
                    facts: take_list(&mut fields)?,
                };
                if begin.groups > MAX_GROUPS {
                    return Err(Error::Invalid("more groups than there may be"));
                }
                ToSupervisor::Begin(begin)
            }
            GROUP => ToSupervisor::Group(Group {
                name: fields.short_text(usize::MAX)?.to_vec(),
                eager: fields.bool()?,
                renew: fields.bool()?,
                scoreboard: fields.bool()?,
                log_level: Level::from_raw(fields.u8()?.into()),
                python: fields.short_text(MAX_PATH)?.to_vec(),
                options: take_list(&mut fields)?,
                environment: take_list(&mut fields)?,
                interpreters: take_list(&mut fields)?,
                preload: Preload::take_all(&mut fields)?,
            }),
            END => ToSupervisor::End,
            RELOAD => ToSupervisor::Reload(fields.short_text(usize::MAX)?.to_vec()),
            STOP => ToSupervisor::Stop,
            _ => return Err(Error::Invalid("unknown message from httpd")),
        };
        fields.end()?;
        Ok(decoded)
    }
}

/// What the supervisor answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromSupervisor {
    /// The configuration of that generation is in effect.
    Applied(u64),
    /// It is not, for this reason; the one before goes on. Number 0: it could not be read.
    Refused(u64, Vec<u8>),
}

const APPLIED: u8 = 1;
const REFUSED: u8 = 2;

impl FromSupervisor {
    /// The message.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn encode(&self) -> Result<Vec<u8>, TooLarge> {
        let mut out = Vec::new();
        match self {
            FromSupervisor::Applied(generation) => {
                out.push(APPLIED);
                out.extend(generation.to_le_bytes());
            }
            FromSupervisor::Refused(generation, reason) => {
                out.push(REFUSED);
                out.extend(generation.to_le_bytes());
                put_text(&mut out, reason, usize::MAX, "reason is")?;
            }
        }
        bounded(out)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(message: &[u8]) -> Result<FromSupervisor, Error> {
        let mut fields = fields(message)?;
        let decoded = match fields.u8()? {
            APPLIED => FromSupervisor::Applied(fields.u64()?),
            REFUSED => FromSupervisor::Refused(fields.u64()?, fields.text(usize::MAX)?.to_vec()),
            _ => return Err(Error::Invalid("unknown message from wsgid")),
        };
        fields.end()?;
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, &str)]) -> Vec<NameValue> {
        let bytes = |text: &str| text.as_bytes().to_vec();
        pairs.iter().map(|(name, value)| (bytes(name), bytes(value))).collect()
    }

    fn messages() -> Vec<ToSupervisor> {
        vec![
            ToSupervisor::Begin(Begin {
                generation: 7,
                groups: 2,
                log_level: Level::Info,
                listens: true,
                uid: 33,
                gid: 34,
                host: b"/usr/lib/apache2/modules/mod_wsgi/wsgi_host.abi3.so".to_vec(),
                facts: list(&[("apache.mpm_name", "event")]),
            }),
            ToSupervisor::Group(Group {
                name: b"shop".to_vec(),
                eager: true,
                renew: false,
                scoreboard: true,
                log_level: Level::Debug,
                python: b"/usr/bin/python3".to_vec(),
                options: list(&[("threads", "2"), ("user", "shop")]),
                environment: list(&[("PYTHONOPTIMIZE", "1")]),
                interpreters: list(&[("limit", "1")]),
                preload: vec![Preload {
                    script: b"/srv/app.wsgi".to_vec(),
                    application_group: Vec::new(),
                    required: true,
                }],
            }),
            ToSupervisor::End,
            ToSupervisor::Reload(b"shop".to_vec()),
            ToSupervisor::Stop,
        ]
    }

    #[test]
    fn roundtrip_and_truncation() {
        for message in messages() {
            let bytes = message.encode().unwrap();
            assert_eq!(ToSupervisor::decode(&bytes), Ok(message));
            for end in 0..bytes.len() {
                assert!(matches!(ToSupervisor::decode(&bytes[..end]), Err(Error::Invalid(_))));
            }
            assert!(ToSupervisor::decode(&[&bytes[..], b"x"].concat()).is_err());
        }
        for message in [FromSupervisor::Applied(9), FromSupervisor::Refused(9, b"why".to_vec())] {
            let bytes = message.encode().unwrap();
            assert_eq!(FromSupervisor::decode(&bytes), Ok(message));
            for end in 0..bytes.len() {
                assert!(matches!(FromSupervisor::decode(&bytes[..end]), Err(Error::Invalid(_))));
            }
        }
    }

    #[test]
    fn refused() {
        let mut begin = messages()[0].encode().unwrap();
        begin[1] = 99;
        assert!(ToSupervisor::decode(&begin).is_err_and(|error| error.to_string().contains("another version")));
        assert!(ToSupervisor::decode(&[9]).is_err());
        assert!(FromSupervisor::decode(&[9]).is_err());
        assert!(ToSupervisor::Reload(vec![0; 70_000]).encode().is_err());
        assert!(FromSupervisor::Refused(1, vec![0; 70_000]).encode().is_err());
    }
}
