//! `wsgictl serve`: an application in a private httpd, in the foreground.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::application::Application;
use crate::arguments::Serve;
use crate::configuration::Settings;
use crate::fault::Fault;
use crate::install::Installation;
use crate::listen::{address, url};
use crate::private::Private;
use crate::running::Running;
use crate::watch;

/// Serves until it is told to stop, or httpd ends.
pub fn serve(options: &Serve) -> Result<ExitCode, Fault> {
    let application = Application::parse(&options.application)?;
    let prefix = url_path("--url-prefix", &options.url_prefix)?;
    let files = options
        .files
        .iter()
        .map(|option| files(option))
        .collect::<Result<Vec<_>, _>>()?;
    let mut python_path = options
        .python_path
        .iter()
        .map(|path| folder(path))
        .collect::<Result<Vec<_>, _>>()?;
    let current = PathBuf::from(".");
    let work = folder(options.working_directory.as_ref().unwrap_or(&current))?;

    let installation = Installation::find(&options.parts)?;
    let mpm = installation.httpd.mpm(options.mpm)?;
    let (address, _held) = address(&options.host, options.port)?;
    // From here on a signal is an event: the private folder must not be left behind.
    let (send, events) = channel();
    signals(send.clone())?;
    let private = Private::new(installation.owner.as_ref())?;

    let (script, callable, watched) = match &application {
        Application::Script { path, callable } => {
            let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
            (path.clone(), callable.as_str(), folder)
        }
        Application::Module { name, callable } => {
            let script = private.write(
                "application.wsgi",
                Application::module_script(name, callable).as_bytes(),
            )?;
            python_path.insert(0, work.clone());
            (script, "application", work)
        }
    };
    if let Some(owner) = &installation.owner {
        owner.reaches("the application", &script)?;
        for folder in &python_path {
            owner.reaches("the folder", folder)?;
        }
        for (_, folder) in &files {
            owner.reaches("the folder", folder)?;
        }
    }

    let settings = Settings {
        folder: private.path(),
        address,
        modules: installation.modules(mpm, !files.is_empty())?,
        mpm,
        embedded: options.embedded,
        processes: options.processes,
        threads: options.threads,
        owner: installation
            .owner
            .as_ref()
            .map(|owner| (owner.user.as_str(), owner.group.as_str())),
        log_level: &options.log_level,
        access_log: !options.no_access_log,
        python: &installation.wanted,
        python_path: &python_path,
        prefix: &prefix,
        script: &script,
        callable,
        files: &files,
    };
    let file = private.write("httpd.conf", &settings.text()?)?;

    if options.reload {
        let mut folders = python_path.clone();
        folders.push(watched);
        let send = send.clone();
        watch::watch(folders, script, move |file| drop(send.send(Event::Changed(file))))?;
    }
    let running = Running::start(&installation.httpd.program, &file, move || {
        drop(send.send(Event::Ready))
    })?;
    let banner = format!(
        "wsgictl: serving {} at {} (httpd {} {}, Python {}.{}.{}); Ctrl-C stops it\n",
        options.application,
        url(address, &prefix),
        installation.httpd.version,
        mpm.name(),
        installation.python.version.0,
        installation.python.version.1,
        installation.python.version.2,
    );
    attend(running, &events, &banner)
}

/// What happens while httpd runs.
enum Event {
    Signal(i32),
    Ready,
    Changed(PathBuf),
}

/// Follows the events until httpd has ended.
fn attend(mut running: Running, events: &Receiver<Event>, banner: &str) -> Result<ExitCode, Fault> {
    let (mut ready, mut stopping, mut again) = (false, false, false);
    for event in events {
        match event {
            Event::Ready if !ready => {
                ready = true;
                let mut out = io::stdout();
                let _ = out.write_all(banner.as_bytes()).and_then(|()| out.flush());
                if again {
                    running.restart();
                }
            }
            Event::Ready => {}
            Event::Changed(_) | Event::Signal(SIGUSR1) if stopping => {}
            // The signal would end it.
            Event::Changed(_) | Event::Signal(SIGUSR1) if !ready => again = true,
            Event::Changed(file) => {
                let _ = writeln!(io::stderr(), "wsgictl: {} has changed; starting anew", file.display());
                running.restart();
            }
            Event::Signal(SIGCHLD) => {
                if let Some(status) = running.ended() {
                    return ended(status, ready, stopping);
                }
            }
            Event::Signal(SIGUSR1) => running.restart(),
            // Whoever asks twice does not want to wait.
            Event::Signal(_) if stopping => running.kill(),
            Event::Signal(_) => {
                stopping = true;
                running.stop();
            }
        }
    }
    Ok(ExitCode::FAILURE)
}

fn ended(status: ExitStatus, ready: bool, stopping: bool) -> Result<ExitCode, Fault> {
    match (stopping, ready) {
        (true, _) => Ok(ExitCode::SUCCESS),
        (false, true) => Err(Fault::new(
            662,
            format!("httpd ended by itself ({status}); its log above says why"),
        )),
        (false, false) => Err(Fault::new(
            661,
            format!("httpd did not start ({status}); its messages above say what is wrong"),
        )),
    }
}

fn signals(send: Sender<Event>) -> Result<(), Fault> {
    let failed = |error| Fault::new(663, format!("cannot receive signals: {error}"));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGCHLD]).map_err(failed)?;
    thread::spawn(move || {
        signals
            .forever()
            .try_for_each(|signal| send.send(Event::Signal(signal)))
    });
    Ok(())
}

/// An existing folder, without symbolic links and absolute.
fn folder(path: &Path) -> Result<PathBuf, Fault> {
    match path.canonicalize() {
        Ok(folder) if folder.is_dir() => Ok(folder),
        Ok(_) => Err(Fault::new(613, format!("{path:?} is not a folder"))),
        Err(error) => Err(Fault::new(613, format!("cannot use the folder {path:?}: {error}"))),
    }
}

/// `URL=DIR`
fn files(option: &str) -> Result<(String, PathBuf), Fault> {
    let (url, path) = option.split_once('=').ok_or_else(|| {
        Fault::new(
            614,
            format!("--static {option:?} is not URL=DIR, as in /static=/srv/shop/static"),
        )
    })?;
    let url = url_path("--static", url)?;
    if url == "/" {
        return Err(Fault::new(
            614,
            "--static / would hide the application; name a longer URL path",
        ));
    }
    Ok((url, folder(Path::new(path))?))
}

/// A URL path without a slash at its end, `/` excepted.
fn url_path(option: &str, path: &str) -> Result<String, Fault> {
    if !path.starts_with('/') || path.contains(['?', '#']) || path.contains("//") {
        return Err(Fault::new(
            615,
            format!("{option} {path:?} is not a URL path such as /shop"),
        ));
    }
    Ok(match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_paths() {
        for (given, taken) in [("/", "/"), ("/shop/", "/shop"), ("/a/b", "/a/b")] {
            assert_eq!(url_path("--x", given).unwrap(), taken);
        }
        for wrong in ["", "shop", "/a?b", "/a#b", "//", "/a//b"] {
            assert!(
                url_path("--x", wrong).unwrap_err().to_string().starts_with("WSGI0615"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn folders_of_files() {
        let here = std::env::temp_dir().canonicalize().unwrap();
        assert_eq!(
            files(&format!("/s/={}", here.display())).unwrap(),
            ("/s".to_owned(), here)
        );
        for (wrong, code) in [
            ("/s", "WSGI0614"),
            ("/=/tmp", "WSGI0614"),
            ("s=/tmp", "WSGI0615"),
            ("/s=/no/such", "WSGI0613"),
        ] {
            assert!(files(wrong).unwrap_err().to_string().starts_with(code), "{wrong}");
        }
    }

    #[test]
    fn a_stop_that_was_asked_for_is_no_fault() {
        let status = ExitStatus::default();
        assert!(ended(status, false, true).is_ok());
        assert!(
            ended(status, true, false)
                .unwrap_err()
                .to_string()
                .starts_with("WSGI0662")
        );
        assert!(
            ended(status, false, false)
                .unwrap_err()
                .to_string()
                .starts_with("WSGI0661")
        );
    }
}
