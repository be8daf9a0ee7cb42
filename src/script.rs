//! Scripts that directives name beside those of URLs: `WSGIAccessScript` and the like, and `WSGIHandlerScript`.

use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use wsgi_core::alias::AliasOptions;
use wsgi_core::directive::Refusal;
use wsgi_core::group::GroupName;

use crate::config::Over;
use crate::httpd::command::Arguments;
use crate::httpd::pool::Pool;

/// A script that is asked about requests, in httpd's own processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookScript {
    /// The directive that names it.
    pub directive: &'static str,
    /// Path of the script.
    pub path: Vec<u8>,
    /// The interpreter to ask it in.
    pub application_group: GroupName,
}

impl HookScript {
    /// Reads the arguments of the directive.
    pub fn parse<'p>(directive: &'static str, arguments: &Arguments<'p>) -> Result<&'p HookScript, Refusal> {
        let mut words = arguments.words();
        let path = words.required("path of the script")?;
        let options = AliasOptions::parse(&mut words, &["application-group"])?;
        let application_group = match options.application_group {
            None => GroupName::Global,
            // No script has been found yet that it could be named after, and variables are not all set.
            Some(name @ (GroupName::Resource | GroupName::Env(_))) => name.unexpanded(),
            Some(name) => name,
        };
        Ok(arguments.pool.own(HookScript {
            directive,
            path,
            application_group,
        }))
    }
}

/// A script that handles the requests of a handler of its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerScript {
    /// The handler, for `SetHandler` and the like.
    pub name: Vec<u8>,
    /// Path of the script.
    pub path: Vec<u8>,
    /// Its options, which go before the settings of the place the request leads to.
    pub options: AliasOptions,
}

impl HandlerScript {
    /// Reads the arguments of `WSGIHandlerScript`.
    pub fn parse(arguments: &Arguments<'_>) -> Result<HandlerScript, Refusal> {
        let mut words = arguments.words();
        let name = words.required("name of the handler")?;
        let path = words.required("path of the script for it")?;
        let options = AliasOptions::parse(
            &mut words,
            &["process-group", "application-group", "pass-authorization"],
        )?;
        Ok(HandlerScript { name, path, options })
    }
}

/// The handler scripts of a place, those of inner places first.
#[derive(Clone, Copy, Default)]
pub struct HandlerScripts<'p>(Option<&'p Link<'p>>);

#[derive(Clone, Copy)]
struct Link<'p> {
    script: &'p HandlerScript,
    rest: HandlerScripts<'p>,
}

impl<'p> HandlerScripts<'p> {
    /// The script that handles what has this handler.
    pub fn find(self, handler: &[u8]) -> Option<&'p HandlerScript> {
        self.iter().find(|script| script.name == handler)
    }

    /// Adds a script, which goes before those that are there.
    pub fn push(&mut self, pool: Pool<'p>, script: &'p HandlerScript) {
        *self = HandlerScripts(Some(pool.place(Link { script, rest: *self })));
    }

    fn iter(self) -> impl Iterator<Item = &'p HandlerScript> {
        std::iter::successors(self.0, |link| link.rest.0).map(|link| link.script)
    }
}

impl<'p> Over<'p> for HandlerScripts<'p> {
    fn over(self, outer: HandlerScripts<'p>, pool: Pool<'p>) -> HandlerScripts<'p> {
        if outer.0.is_none() {
            return self;
        }
        let inner: Vec<&HandlerScript> = self.iter().collect();
        let mut all = outer;
        for script in inner.into_iter().rev() {
            all.push(pool, script);
        }
        all
    }
}

/// When a script was last changed, in µs since the epoch.
///
/// # Errors
/// When there is no such file, or it cannot be looked at.
pub fn mtime(path: &[u8]) -> io::Result<i64> {
    let micros = |data: Metadata| data.mtime() * 1_000_000 + data.mtime_nsec() / 1000;
    Path::new(std::ffi::OsStr::from_bytes(path)).metadata().map(micros)
}
