//! `WSGIScriptAlias` and `WSGIScriptAliasMatch`: URLs to scripts.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use wsgi_core::alias::{AliasOptions, covers, filename};
use wsgi_core::directive::Refusal;
use wsgi_core::group::GroupName;

use crate::httpd::command::Arguments;
use crate::httpd::module::Answer;
use crate::httpd::regex::{Groups, Regex};
use crate::httpd::request::Request;
use crate::module::Wsgi;
use crate::target::HANDLER;

/// One alias.
pub struct Alias {
    pattern: Pattern,
    target: Vec<u8>,
    /// Its options, which go before the settings of the place the request leads to.
    pub options: AliasOptions,
}

/// A script that is loaded when the processes of a group start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preload {
    /// The directive that says so.
    pub directive: &'static str,
    /// Path of the script.
    pub script: Vec<u8>,
    /// Whose processes; empty: httpd's own.
    pub process_group: Vec<u8>,
    /// The interpreter; empty: the main one.
    pub application_group: Vec<u8>,
}

impl Preload {
    /// Reads the arguments of `WSGIImportScript`.
    pub fn import(arguments: &Arguments<'_>) -> Result<Preload, Refusal> {
        let mut words = arguments.words();
        let script = words.required("script")?;
        let options = AliasOptions::parse(&mut words, &["process-group", "application-group"])?;
        let name = |group: Option<GroupName>, option: &str| match group.map(GroupName::unexpanded) {
            Some(GroupName::Literal(name)) => Ok(name),
            Some(_) => Ok(Vec::new()),
            None => Err(format!("option {option}= is missing")),
        };
        Ok(Preload {
            directive: IMPORT,
            script,
            process_group: name(options.process_group, "process-group")?,
            application_group: name(options.application_group, "application-group")?,
        })
    }
}

/// The directive of [`Preload::import`].
const IMPORT: &str = "WSGIImportScript";

impl Preload {
    /// Whether it was asked for by a directive of its own, not by an alias.
    pub fn is_import(&self) -> bool {
        self.directive == IMPORT
    }

    /// Whether there is something to load. An alias may lead to a folder of scripts; which of them are used is for
    /// requests to say.
    pub fn is_meant(&self) -> bool {
        self.is_import() || Path::new(OsStr::from_bytes(&self.script)).is_file()
    }
}

enum Pattern {
    Path(Vec<u8>),
    Regex(Regex),
}

impl Alias {
    /// Reads the arguments of `WSGIScriptAlias`.
    pub fn path(arguments: &Arguments<'_>) -> Result<Alias, Refusal> {
        let mut words = arguments.words();
        let path = words.required("URL path")?;
        let target = words.required("script or folder for it")?;
        let options = AliasOptions::parse(&mut words, AliasOptions::ALL)?;
        Ok(Alias {
            pattern: Pattern::Path(path),
            target,
            options,
        })
    }

    /// Reads the arguments of `WSGIScriptAliasMatch`.
    pub fn regex(arguments: &Arguments<'_>) -> Result<Alias, Refusal> {
        let mut words = arguments.words();
        let pattern = words.required("regular expression")?;
        let target = words.required("script for it")?;
        let options = AliasOptions::parse(&mut words, AliasOptions::ALL)?;
        let shown = String::from_utf8_lossy(&pattern).into_owned();
        let regex = CString::new(pattern)
            .ok()
            .and_then(|pattern| Regex::compile(arguments.pool, &pattern))
            .ok_or_else(|| format!("'{shown}' is not a regular expression"))?;
        Ok(Alias {
            pattern: Pattern::Regex(regex),
            target,
            options,
        })
    }

    /// The script to load when processes start: its path, process group and application group, if the alias says all of
    /// them without leaving anything to the request.
    pub fn preload(&self) -> Option<Preload> {
        let literal = |name: &Option<GroupName>| match name {
            Some(GroupName::Literal(name)) if !name.windows(2).any(|pair| pair == b"%{") => Some(name.clone()),
            Some(GroupName::Global) => Some(Vec::new()),
            _ => None,
        };
        if self.target.contains(&b'$') {
            return None;
        }
        Some(Preload {
            directive: "WSGIScriptAlias",
            script: self.target.clone(),
            process_group: literal(&self.options.process_group)?,
            application_group: literal(&self.options.application_group)?,
        })
    }

    fn map(&self, uri: &[u8]) -> Option<Vec<u8>> {
        match &self.pattern {
            Pattern::Path(path) => covers(path, uri).map(|covered| filename(path, &self.target, uri, covered)),
            Pattern::Regex(regex) => {
                let groups = regex.find(uri)?;
                let end = groups[0].as_ref()?.end;
                if end == 0 {
                    return None;
                }
                let mut path = substitute(&self.target, uri, &groups);
                path.extend_from_slice(if &uri[..end] == b"/" { uri } else { &uri[end..] });
                Some(path)
            }
        }
    }
}

/// The translate_name hook: the first alias that matches, those of the virtual host before those of the main server.
pub fn translate(request: Request<'_>) -> Answer {
    let uri = request.uri();
    if uri.first() != Some(&b'/') {
        return Answer::Declined;
    }
    for alias in &request.server().config::<Wsgi>().aliases {
        if let Some(path) = alias.map(uri) {
            request.set_filename(&path);
            request.set_handler(HANDLER);
            request.set_mapping::<Wsgi>(alias);
            return Answer::Done;
        }
    }
    Answer::Declined
}

/// `$0` to `$9` in a target stand for the match and its groups; `\$` and a `$` before anything else for themselves.
fn substitute(target: &[u8], uri: &[u8], groups: &Groups) -> Vec<u8> {
    let mut result = Vec::with_capacity(target.len() + uri.len());
    let mut rest = target;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after.first()) {
            (b'$', Some(digit @ b'0'..=b'9')) => {
                if let Some(range) = &groups[usize::from(digit - b'0')] {
                    result.extend_from_slice(&uri[range.clone()]);
                }
                rest = &after[1..];
            }
            (b'\\', Some(&next @ (b'$' | b'\\'))) => {
                result.push(next);
                rest = &after[1..];
            }
            _ => result.push(byte),
        }
    }
    result
}
