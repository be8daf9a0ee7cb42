//! `wsgictl check`: what would be used, and what is wrong with it.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use crate::arguments::{Check, Parts};
use crate::configuration::Settings;
use crate::fault::Fault;
use crate::httpd::Httpd;
use crate::install::{Installation, Module, Wanted};
use crate::owner::Owner;
use crate::private::Private;

/// Says it line by line; the exit status is 1 when something is wrong.
pub fn check(options: &Check) -> Result<ExitCode, Fault> {
    let mut report = Report::default();
    examine(&options.parts, &mut report);
    let _ = io::stdout().write_all(report.text.as_bytes());
    Ok(if report.wrong {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn examine(parts: &Parts, report: &mut Report) {
    let owner = report.part("user", Owner::find(parts)).flatten();
    if let Some(owner) = &owner {
        report.line(
            "user",
            format_args!(
                "{} (uid {}), group {} (gid {})",
                owner.user, owner.uid, owner.group, owner.gid
            ),
        );
    }
    let httpd = report.part("httpd", Httpd::find(parts.httpd.as_deref()));
    if let Some(httpd) = &httpd {
        report.line("httpd", format_args!("{} ({})", httpd.program.display(), httpd.version));
        report.line("modules", httpd.modules.display());
        let names: Vec<&str> = httpd.mpms().into_iter().map(|mpm| mpm.name()).collect();
        if report.part("MPMs", httpd.mpm(None)).is_some() {
            report.line("MPMs", names.join(", "));
        }
    }
    if let Some(module) = report.part(
        "module",
        Module::find(parts.module.as_deref(), httpd.as_ref(), owner.as_ref()),
    ) {
        report.line("module", module.file.display());
        report.line("host", module.host.display());
    }
    let wanted = Wanted::new(parts.python.as_deref());
    if let Some(python) = report.part("Python", wanted.find(owner.as_ref())) {
        let (major, minor, micro) = python.version;
        report.line(
            "Python",
            format_args!("{} ({major}.{minor}.{micro})", python.executable.display()),
        );
        if let Some(venv) = python.venv {
            report.line("venv", venv.display());
        }
        report.line("library", python.library.display());
    }
    if !report.wrong && report.part("trial", trial(parts)).is_some() {
        report.line("trial", "httpd loads the module, and the module finds this Python");
    }
}

/// Lets httpd look at a configuration with all of it.
fn trial(parts: &Parts) -> Result<(), Fault> {
    let installation = Installation::find(parts)?;
    let mpm = installation.httpd.mpm(None)?;
    let private = Private::new(installation.owner.as_ref())?;
    let script = private.path().join("application.wsgi");
    let settings = Settings {
        folder: private.path(),
        address: SocketAddr::from(([127, 0, 0, 1], 8000)),
        modules: installation.modules(mpm, true)?,
        mpm,
        embedded: true,
        processes: 1,
        threads: 1,
        owner: installation
            .owner
            .as_ref()
            .map(|owner| (owner.user.as_str(), owner.group.as_str())),
        log_level: "warn",
        access_log: false,
        python: &installation.wanted,
        python_path: &[],
        prefix: "/",
        script: &script,
        callable: "application",
        files: &[],
    };
    installation
        .httpd
        .test(&private.write("httpd.conf", &settings.text()?)?)
}

#[derive(Default)]
struct Report {
    text: String,
    wrong: bool,
}

impl Report {
    fn line(&mut self, name: &str, value: impl Display) {
        self.text += &format!("{name:8}  {value}\n");
    }

    /// The part, or a line that says what is wrong with it.
    fn part<T>(&mut self, name: &str, found: Result<T, Fault>) -> Option<T> {
        match found {
            Ok(part) => Some(part),
            Err(fault) => {
                self.wrong = true;
                self.line(name, format_args!("WRONG: {fault}"));
                None
            }
        }
    }
}
