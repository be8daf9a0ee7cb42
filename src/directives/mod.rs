//! The table of directives, by topic. A setter only reads its arguments and stores them.

mod authorization;
mod groups;
mod legacy;
mod mapping;
mod metrics;
mod page;
mod python;
mod request;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use wsgi_core::directive::Refusal;
use wsgi_core::group::GroupName;

use crate::config::ServerConfig;
use crate::httpd::command::{Arguments, Command, Topic, rows, table};
use crate::module::Wsgi;
use crate::script::HookScript;

pub use page::page;

/// All directives, by topic.
const TOPICS: &[Topic<Wsgi>] = &[
    mapping::MAPPING,
    groups::GROUPS,
    python::PYTHON,
    request::REQUEST,
    authorization::AUTHORIZATION,
    metrics::METRICS,
    legacy::LEGACY,
];

/// The table as httpd reads it.
pub static COMMANDS: [Command<Wsgi>; rows(TOPICS)] = table(TOPICS);

fn flag(setting: &mut Option<bool>, arguments: &Arguments<'_>) -> Result<(), Refusal> {
    *setting = Some(arguments.flag()?);
    Ok(())
}

fn group<'p>(arguments: &Arguments<'p>, what: &str) -> Result<&'p GroupName, Refusal> {
    let name = arguments.words().only(what)?;
    Ok(arguments.pool.own(GroupName::parse(&name)))
}

/// A script that is asked in httpd's own processes, which therefore need Python.
fn hook<'p>(
    server: &ServerConfig,
    directive: &'static str,
    arguments: &Arguments<'p>,
) -> Result<&'p HookScript, Refusal> {
    let script = HookScript::parse(directive, arguments)?;
    server.hooked.store(true, Ordering::Relaxed);
    Ok(script)
}

fn absolute(arguments: &Arguments<'_>, what: &str) -> Result<PathBuf, Refusal> {
    let path = PathBuf::from(OsString::from_vec(arguments.words().only(what)?));
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("'{}' is not an absolute path", path.display()))
    }
}
