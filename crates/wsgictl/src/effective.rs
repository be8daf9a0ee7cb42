//! `wsgictl check --config FILE`: what a configuration runs where, and what is wrong with it, as httpd itself and the
//! module that it loads see it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use wsgi_core::configtest::{Picture, PythonPicture, Row};

use crate::arguments::Check;
use crate::fault::Fault;
use crate::httpd::Httpd;

/// Says it; the exit status is 1 when httpd would not start.
pub fn check(options: &Check, configuration: &Path) -> Result<ExitCode, Fault> {
    let picture = Httpd::find(options.parts.httpd.as_deref()).and_then(|httpd| ask(&httpd, options, configuration));
    let picture = match picture {
        Ok(picture) => picture,
        Err(fault) if options.json => Picture {
            errors: vec![fault.to_string()],
            ..Picture::default()
        },
        Err(fault) => return Err(fault),
    };
    let text = if options.json {
        serde_json::to_string_pretty(&picture).map_err(|error| Fault::new(639, error))? + "\n"
    } else {
        shown(&picture)
    };
    // Without a reader there is nobody to tell.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(if picture.errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Lets httpd read the configuration; the module writes what it makes of it.
fn ask(httpd: &Httpd, options: &Check, configuration: &Path) -> Result<Picture, Fault> {
    let file = std::path::absolute(configuration).unwrap_or(configuration.to_owned());
    if !file.is_file() {
        return Err(Fault::new(637, format!("there is no file {file:?}; correct --config")));
    }
    let output = run(httpd, options, &file).map_err(|error| {
        Fault::new(
            638,
            format!("{:?} does not run: {error}; correct --httpd", httpd.program),
        )
    })?;
    let said = String::from_utf8_lossy(&output.stdout);
    let found = said
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str::<Picture>(line).ok());
    let words = words(&output.stderr);
    match found {
        Some(mut picture) => {
            if !output.status.success() && picture.errors.is_empty() {
                picture
                    .errors
                    .push(format!("httpd refuses {}: {words}", file.display()));
            }
            Ok(picture)
        }
        None if output.status.success() => Err(Fault::new(
            639,
            format!(
                "{file:?} does not load this project's mod_wsgi.so; write LoadModule wsgi_module with its path into it, or \
                 name another file by --config"
            ),
        )),
        None => Err(Fault::new(638, format!("httpd refuses {file:?}: {words}"))),
    }
}

/// As apachectl runs it: with the variables of the file `envvars` beside the configuration, where there is one.
fn run(httpd: &Httpd, options: &Check, file: &Path) -> io::Result<Output> {
    let variables = file.with_file_name("envvars");
    let mut command = if variables.is_file() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", r#"variables=$1; shift; . "$variables" && exec "$@""#, "sh"]);
        command.arg(variables).arg(&httpd.program);
        command
    } else {
        Command::new(&httpd.program)
    };
    for define in options.define.iter().map(String::as_str).chain(["DUMP_WSGI"]) {
        command.args(["-D", define]);
    }
    if let Some(root) = &options.server_root {
        command.arg("-d").arg(root);
    }
    command.arg("-t").arg("-f").arg(file).stdin(Stdio::null()).output()
}

/// What httpd said, in one line.
fn words(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    said.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn shown(picture: &Picture) -> String {
    let mut text = String::new();
    // A String takes whatever is written to it.
    let _ = show(picture, &mut text);
    text
}

fn show(picture: &Picture, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "httpd     user {}, {}",
        picture.user,
        python(picture.python.as_ref())
    )?;
    for group in &picture.groups {
        write!(
            text,
            "group     {}: {}, each with {} threads",
            group.name,
            processes(group.processes),
            group.threads
        )?;
        write!(text, ", user {}, {}", group.user, python(group.python.as_ref()))?;
        match &group.server {
            Some(server) => writeln!(text, ", for {server} only")?,
            None => writeln!(text)?,
        }
    }
    for host in &picture.hosts {
        if host.rows.is_empty() && host.htaccess.is_empty() && host.addresses.is_none() {
            continue;
        }
        let addresses = host.addresses.as_deref().unwrap_or("main server");
        write!(text, "\n{addresses}  {}", host.name)?;
        match &host.place {
            Some(place) => writeln!(text, "  ({place})")?,
            None => writeln!(text)?,
        }
        for row in &host.rows {
            show_row(row, text)?;
        }
        if host.rows.is_empty() {
            writeln!(text, "  no application")?;
        }
        for files in &host.htaccess {
            writeln!(text, "  .htaccess in {}  ({})", files.section, files.place)?;
            let may = match (files.file_info, files.auth_config) {
                (true, false) => "choose handlers and callables, and how requests are passed on",
                (false, true) => "name scripts that say who may come in",
                _ => "choose handlers and callables, and name scripts that say who may come in",
            };
            writeln!(
                text,
                "      read when a request comes, and not shown here: these files may {may}"
            )?;
        }
    }
    if !picture.errors.is_empty() || !picture.warnings.is_empty() {
        writeln!(text)?;
    }
    for warning in &picture.warnings {
        writeln!(text, "WARNING: {warning}")?;
    }
    for error in &picture.errors {
        writeln!(text, "WRONG: {error}")?;
    }
    Ok(())
}

fn show_row(row: &Row, text: &mut String) -> std::fmt::Result {
    match &row.script {
        Some(script) => writeln!(text, "  {}  →  {script}  ({})", row.url, row.place)?,
        None => writeln!(text, "  {}  ({})", row.url, row.place)?,
    }
    let group = match &row.process_group {
        Some(group) => format!("process group {group}"),
        None => "httpd's own processes".to_owned(),
    };
    write!(
        text,
        "      {group}, interpreter {}, callable {}",
        row.application_group, row.callable
    )?;
    match &row.user {
        Some(user) => writeln!(text, ", user {user}, {}", python(row.python.as_ref())),
        None => writeln!(text, ", user and Python not known before a request"),
    }
}

fn processes(number: u32) -> String {
    match number {
        1 => "1 process".to_owned(),
        number => format!("{number} processes"),
    }
}

fn python(python: Option<&PythonPicture>) -> String {
    python.map_or_else(
        || "no Python".to_owned(),
        |python| format!("Python {} ({})", python.path, python.version),
    )
}
