//! The supervisor of a running httpd, at its control socket.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::net::sockopt::socket_peercred;
use wsgi_core::stats::report::Report;
use wsgi_core::wire::control::command::{Answer, Command, SUFFIX};
use wsgi_core::wire::control::published::MAX_TEXT;

use crate::arguments::Server;
use crate::fault::Fault;
use crate::httpd::Httpd;

/// How long the supervisor may take; stacks of busy processes come last.
const PATIENCE: Duration = Duration::from_secs(30);

/// Folders in which the PidFiles of running httpds are usually found, and folders of such.
const FOLDERS: [&str; 6] = [
    "/run",
    "/run/*",
    "/var/run/*",
    "/usr/local/apache2/logs",
    "/opt/*/logs",
    "/tmp/wsgictl-*",
];

/// The supervisor.
#[derive(Debug)]
pub struct Control {
    socket: PathBuf,
}

impl Control {
    /// Finds the one that is meant, or the only one of this machine.
    pub fn find(server: &Server) -> Result<Control, Fault> {
        if let Some(socket) = &server.socket {
            return Ok(Control { socket: socket.clone() });
        }
        if let Some(config) = &server.config {
            let httpd = Httpd::find(server.httpd.as_deref())?;
            let pid_file = httpd.pid_file(config).map_err(|said| {
                let text = format!(
                    "{:?} does not say which PidFile {config:?} names: {said}",
                    httpd.program
                );
                Fault::new(645, text)
            })?;
            let mut socket = pid_file.into_os_string();
            socket.push(SUFFIX);
            return Ok(Control { socket: socket.into() });
        }
        // Where one folder is a link to another, both lead to the same socket.
        let sockets: BTreeSet<PathBuf> = FOLDERS
            .iter()
            .flat_map(|pattern| folders(pattern))
            .filter(|folder| !folder.starts_with("/tmp") || is_own(folder))
            .flat_map(|folder| sockets(&folder))
            .filter_map(|socket| socket.canonicalize().ok())
            .collect();
        let mut found: Vec<Control> = sockets
            .into_iter()
            .map(|socket| Control { socket })
            .filter(|control| control.connect().is_ok())
            .collect();
        let names: Vec<String> = found.iter().map(|control| format!("{:?}", control.socket)).collect();
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (None, _) => Err(Fault::new(
                645,
                "no running httpd with daemon process groups was found that this user may command; run it as root, or \
                 name the server by --config or --socket",
            )),
            (Some(_), false) => Err(Fault::new(
                642,
                format!("several httpds run here; name one by --socket: {}", names.join(", ")),
            )),
        }
    }

    /// Asks for something.
    pub fn ask(&self, command: &Command) -> Result<Answer, Fault> {
        let mut stream = self.connect()?;
        let failed = |error: &dyn std::fmt::Display| {
            Fault::new(
                643,
                format!("the supervisor at {:?} does not answer: {error}", self.socket),
            )
        };
        let mut line = serde_json::to_vec(command).map_err(|error| failed(&error))?;
        line.push(b'\n');
        stream.write_all(&line).map_err(|error| failed(&error))?;
        let mut text = Vec::new();
        stream
            .take(MAX_TEXT)
            .read_to_end(&mut text)
            .map_err(|error| failed(&error))?;
        match serde_json::from_slice(&text).map_err(|error| failed(&error))? {
            Answer::Refused(reason) => Err(Fault::new(644, reason)),
            answer => Ok(answer),
        }
    }

    /// How everything is.
    pub fn report(&self) -> Result<Report, Fault> {
        match self.ask(&Command::Status)? {
            Answer::Report(report) => Ok(report),
            _ => Err(unexpected()),
        }
    }

    fn connect(&self) -> Result<UnixStream, Fault> {
        let failed = |error: std::io::Error| {
            Fault::new(
                645,
                format!(
                    "nobody can be reached at {:?} ({error}): either this httpd does not run, or it has no daemon \
                     process groups, or only root may command it",
                    self.socket
                ),
            )
        };
        let stream = connect(&self.socket).map_err(failed)?;
        // Whoever may write to the folder could have put a socket there.
        let peer = socket_peercred(&stream).map_err(|error| failed(error.into()))?;
        if !peer.uid.is_root() && peer.uid != rustix::process::geteuid() {
            return Err(Fault::new(
                646,
                format!(
                    "the process at {:?} is not httpd's: it belongs to uid {}",
                    self.socket,
                    peer.uid.as_raw()
                ),
            ));
        }
        let limits = stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
        limits.map_err(failed)?;
        Ok(stream)
    }
}

/// What the supervisor cannot have said.
pub fn unexpected() -> Fault {
    Fault::new(
        647,
        "the supervisor gave another answer than was asked for; install wsgictl and mod_wsgi.so from one build",
    )
}

/// Connects, however long the path is: addresses are short, and a path by way of its folder's descriptor always is.
fn connect(socket: &Path) -> std::io::Result<UnixStream> {
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return UnixStream::connect(socket);
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let folder = open(
        folder,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

/// The folders that a pattern names; `*` stands in its last part only.
fn folders(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    named
        .map(|entry| entry.path().join(after.trim_start_matches('/')))
        .collect()
}

/// Whether it is a folder that only this user could have made: anybody can put things into /tmp.
fn is_own(folder: &Path) -> bool {
    let own = |data: fs::Metadata| data.is_dir() && data.uid() == rustix::process::geteuid().as_raw();
    folder.symlink_metadata().is_ok_and(own)
}

fn sockets(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(SUFFIX));
    named.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("one/logs")).unwrap();
        for name in ["one/logs/httpd.pid.wsgid", "one/logs/httpd.pid"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = folders(&format!("{}/o*/logs", folder.path().display()));
        assert_eq!(found, [folder.path().join("one/logs")]);
        assert_eq!(sockets(&found[0]), [folder.path().join("one/logs/httpd.pid.wsgid")]);
        assert!(is_own(folder.path()) && !is_own(Path::new("/nowhere")));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(!is_own(&link));
        assert_eq!(sockets(Path::new("/nowhere")), Vec::<PathBuf>::new());
    }
}
