//! The control socket: administrators ask, the supervisor answers, and no client can make it wait.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, sockopt};
use wsgi_core::supervision::Time;
use wsgi_core::wire::control::command::{Answer, Command, MAX_COMMAND};

use crate::sys::clock;

/// Clients at a time; who comes later waits.
const CLIENTS: usize = 8;

/// How long a client may take, for all it has to say and to hear.
const PATIENCE: Duration = Duration::from_secs(30);

/// Names a client; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId(u64);

/// The socket and who is there.
#[derive(Debug, Default)]
pub struct Control {
    listener: Option<OwnedFd>,
    clients: Vec<Client>,
    next: u64,
}

#[derive(Debug)]
struct Client {
    id: ClientId,
    socket: OwnedFd,
    until: Time,
    /// What it has said so far, until that was understood.
    said: Option<Vec<u8>>,
    /// What it is to hear, and how much of that it has.
    answer: Option<(Vec<u8>, usize)>,
}

impl Control {
    /// Listens here from now on.
    pub fn listen(&mut self, listener: Option<OwnedFd>) {
        self.listener = listener;
    }

    /// The sockets to wait for, each with whether it is to be written to.
    pub fn sockets(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let listener = self.listener.iter().filter(|_| self.clients.len() < CLIENTS);
        let listener = listener.map(|listener| (listener.as_fd(), false));
        // Who waits for an answer is not waited for: if it is gone, that shows when it is answered.
        let talking = self
            .clients
            .iter()
            .filter(|client| client.said.is_some() || client.answer.is_some());
        listener.chain(talking.map(|client| (client.socket.as_fd(), client.answer.is_some())))
    }

    /// When somebody's patience ends.
    pub fn timer(&self) -> Option<Time> {
        self.clients.iter().map(|client| client.until).min()
    }

    /// Lets everybody who can go on do so; returns what was asked.
    pub fn attend(&mut self) -> Vec<(ClientId, Command)> {
        while self.clients.len() < CLIENTS && self.accept() {}
        let now = clock::now();
        let mut asked = Vec::new();
        self.clients.retain_mut(|client| {
            if client.until <= now {
                return false;
            }
            let here = client.hear();
            if let Some(line) = client.line() {
                match serde_json::from_slice(&line) {
                    Ok(command) => asked.push((client.id, command)),
                    Err(error) => client.tell(&Answer::Refused(format!("no command of this version: {error}"))),
                }
            }
            here && client.send()
        });
        asked
    }

    /// Answers a client. One that is gone needs no answer.
    pub fn answer(&mut self, to: ClientId, answer: &Answer) {
        if let Some(at) = self.clients.iter().position(|client| client.id == to) {
            let client = &mut self.clients[at];
            client.tell(answer);
            if !client.send() {
                self.clients.swap_remove(at);
            }
        }
    }

    /// Takes the next client in; false if there is none.
    fn accept(&mut self) -> bool {
        let Some(listener) = &self.listener else { return false };
        let socket = match rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => socket,
            Err(error) => return error == Errno::INTR || error == Errno::CONNABORTED,
        };
        // The mode of the socket's file says the same; it can be changed by mistake.
        let own = rustix::process::geteuid();
        if sockopt::socket_peercred(&socket).is_ok_and(|peer| peer.uid.is_root() || peer.uid == own) {
            self.next += 1;
            self.clients.push(Client {
                id: ClientId(self.next),
                socket,
                until: clock::now() + PATIENCE,
                said: Some(Vec::new()),
                answer: None,
            });
        }
        true
    }
}

impl Client {
    /// Hears what it says; false when it is gone.
    fn hear(&mut self) -> bool {
        let Some(said) = &mut self.said else { return true };
        let mut piece = [0; 1024];
        loop {
            match rustix::net::recv(&self.socket, &mut piece[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) | Err(Errno::CONNRESET) => return false,
                Ok((count, _)) if said.len() + count <= MAX_COMMAND => said.extend_from_slice(&piece[..count]),
                Ok(_) => return false,
                Err(Errno::INTR) => {}
                Err(_) => return true,
            }
            if said.contains(&b'\n') {
                return true;
            }
        }
    }

    /// Its command, once it is all there.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.said.as_ref()?.iter().position(|byte| *byte == b'\n')?;
        let mut line = self.said.take()?;
        line.truncate(end);
        Some(line)
    }

    fn tell(&mut self, answer: &Answer) {
        let mut text = serde_json::to_vec(answer).unwrap_or_default();
        text.push(b'\n');
        self.answer = Some((text, 0));
    }

    /// Sends what goes; false when all was said.
    fn send(&mut self) -> bool {
        let Some((text, sent)) = &mut self.answer else {
            return true;
        };
        while *sent < text.len() {
            match rustix::net::send(&self.socket, &text[*sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => *sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    use wsgi_core::stats::report::Report;

    use super::*;

    fn control() -> (tempfile::TempDir, Control, impl Fn() -> UnixStream) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut control = Control::default();
        control.listen(Some(listener.into()));
        (folder, control, move || UnixStream::connect(&path).unwrap())
    }

    #[test]
    fn a_command_and_its_answer() {
        let (_folder, mut control, connect) = control();
        let mut client = connect();
        client.write_all(b"{\"command\":").unwrap();
        assert_eq!(control.attend(), []);
        client.write_all(b"\"reload\",\"group\":\"shop\"}\n").unwrap();
        let [(id, command)] = &control.attend()[..] else {
            panic!("a command")
        };
        assert_eq!(*command, Command::Reload { group: "shop".into() });
        assert_eq!(control.sockets().count(), 1, "whatever it does, it must wait");
        control.answer(*id, &Answer::Report(Report::default()));
        let mut line = String::new();
        BufReader::new(client).read_line(&mut line).unwrap();
        assert_eq!(
            serde_json::from_str::<Answer>(&line).unwrap(),
            Answer::Report(Report::default())
        );
        assert_eq!(control.sockets().count(), 1);
    }

    #[test]
    fn rubbish_is_refused() {
        let (_folder, mut control, connect) = control();
        let mut client = connect();
        client.write_all(b"{\"command\":\"format\"}\n").unwrap();
        assert_eq!(control.attend(), []);
        let mut line = String::new();
        BufReader::new(client).read_line(&mut line).unwrap();
        assert!(line.contains("refused"), "{line}");
        let mut long = connect();
        long.write_all(&[b'x'; MAX_COMMAND + 1]).unwrap();
        control.attend();
        assert_eq!(control.clients.len(), 0);
    }

    #[test]
    fn stuck_clients_stop_nobody() {
        let (_folder, mut control, connect) = control();
        let mut stuck: Vec<UnixStream> = (0..CLIENTS).map(|_| connect()).collect();
        assert_eq!(control.attend(), []);
        stuck[0].write_all(b"{\"command\":\"status\"}\n").unwrap();
        let asked = control.attend();
        let large = Answer::Refused("x".repeat(10_000_000));
        control.answer(asked[0].0, &large);
        // It reads nothing; the others say nothing.
        assert_eq!(control.attend(), []);
        assert_eq!(control.clients.len(), CLIENTS);
        assert!(control.timer().is_some_and(|until| until > clock::now()));
        for client in &mut control.clients {
            client.until = clock::now();
        }
        assert_eq!(control.attend(), []);
        assert_eq!(control.clients.len(), 0);
    }
}
