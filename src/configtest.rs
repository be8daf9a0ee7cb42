//! What is said about the configuration as a whole: likely mistakes in the log, and the effective picture that
//! `wsgictl check` asks for by `-D DUMP_WSGI`.

use std::io::Write;
use std::path::Path;

use wsgi_core::abi::Level;
use wsgi_core::configtest::{Configuration, Group, Host, Picture, PythonPicture, review};

use crate::httpd::server::Server;
use crate::httpd::{log, process};
use crate::module::Wsgi;
use crate::supervisor::{Definition, account};
use crate::{embedded, supervisor};

/// Logs what is likely a mistake.
pub fn report(server: Server<'_>) {
    for finding in review(&configuration(server)) {
        // A server that starts before its applications are there is no reason for an alarm.
        let level = match finding.may_pass && !process::is_configtest() {
            true => Level::Info,
            false => Level::Warning,
        };
        log::server::<Wsgi>(server, level, finding.to_string().as_bytes());
    }
}

/// Writes the effective picture to standard output; `outcome` is what the checks that stop httpd have come to.
pub fn dump(server: Server<'_>, outcome: &Result<(), String>) {
    let configuration = configuration(server);
    let global = &server.main().config::<Wsgi>().global;
    let python = global
        .found
        .get()
        .map(|python| shown(&python.executable, python.version));
    let mut picture = Picture::of(&configuration, python);
    picture.errors.extend(outcome.clone().err());
    // Without its groups the rest looks worse than it is.
    if outcome.is_ok() {
        picture.warnings = review(&configuration).iter().map(ToString::to_string).collect();
        picture.warnings.extend(embedded::doubt(server));
    }
    if let Ok(mut text) = serde_json::to_vec(&picture) {
        text.push(b'\n');
        // Whoever does not read it does not want it.
        let _ = std::io::stdout().write_all(&text);
    }
}

fn configuration(server: Server<'_>) -> Configuration {
    let main = server.main();
    // Where they are wrong that was said already.
    let definitions = supervisor::definitions(main).unwrap_or_default();
    Configuration {
        nodes: main.tree(),
        main: main.hostname().to_vec(),
        hosts: main
            .all()
            .filter(|server| server.is_virtual())
            .map(|server| Host {
                name: server.hostname().to_vec(),
                place: server.place(),
            })
            .collect(),
        groups: definitions.iter().map(group).collect(),
        who: account::children(),
    }
}

fn group(definition: &Definition) -> Group {
    let options = &definition.options;
    Group {
        name: options.name.clone(),
        server: definition.owner.as_ref().map(|owner| owner.hostname.clone()),
        who: definition.who().clone(),
        python_path: options.python_path.clone(),
        chroot: options.chroot.is_some(),
        processes: options.processes(),
        threads: options.threads,
        python: definition
            .python()
            .map(|python| shown(&python.executable, python.version)),
    }
}

fn shown(executable: &Path, (major, minor, micro): (u8, u8, u8)) -> PythonPicture {
    PythonPicture {
        path: executable.display().to_string(),
        version: format!("{major}.{minor}.{micro}"),
    }
}
