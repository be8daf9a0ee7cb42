//! httpd as a child process: its log goes to the terminal, its state is told by events.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::fault::Fault;

/// httpd says this, in every MPM, when it is ready for requests.
const READY: &[u8] = b"resuming normal operations";

/// The longest piece of a line that is kept together.
const LONGEST: u64 = 64 * 1024;

/// A running httpd.
pub struct Running {
    child: Child,
    /// Closed when no process writes to the log any longer.
    log: Receiver<()>,
}

impl Running {
    /// Starts `program` with the configuration `file`; `ready` is called each time that it is ready for requests.
    pub fn start(program: &Path, file: &Path, ready: impl Fn() + Send + 'static) -> Result<Running, Fault> {
        let mut command = Command::new(program);
        command
            .arg("-f")
            .arg(file)
            .arg("-DFOREGROUND")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        // A group of its own: the terminal's signals come to wsgictl alone (a resized window would stop httpd).
        command.process_group(0);
        let failed = |error| Fault::new(660, format!("{program:?} cannot be run: {error}"));
        let mut child = command.spawn().map_err(failed)?;
        let (open, log) = channel();
        if let Some(stderr) = child.stderr.take() {
            thread::spawn(move || copy(BufReader::new(stderr), &open, ready));
        }
        Ok(Running { child, log })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        // Its last words are on their way; a process that it left behind must not hold us up.
        let _ = self.log.recv_timeout(Duration::from_secs(1));
        Some(status)
    }

    /// Stops it at once; requests that are running are ended.
    pub fn stop(&self) {
        let _ = kill(self.pid(), Signal::SIGTERM);
    }

    /// Starts its children anew; requests that are running are finished.
    pub fn restart(&self) {
        let _ = kill(self.pid(), Signal::SIGUSR1);
    }

    /// Ends it and its children without any more ado.
    pub fn kill(&self) {
        let _ = killpg(self.pid(), Signal::SIGKILL);
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

/// Copies the log to standard error line by line, up to its end. Holding `_open` says that it has not come.
fn copy(mut log: impl BufRead, _open: &Sender<()>, ready: impl Fn()) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match io::Read::take(&mut log, LONGEST).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                // Reading goes on without a terminal: httpd must not wait for a full pipe.
                let _ = io::stderr().write_all(&line);
                if line.windows(READY.len()).any(|part| part == READY) {
                    ready();
                }
            }
        }
    }
}
