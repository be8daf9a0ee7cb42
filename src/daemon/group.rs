//! Daemon process groups, as an httpd child sees them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wsgi_core::stats::report::Report;
use wsgi_core::supervision::State;
use wsgi_core::wire::control::published;
use wsgi_core::wire::control::status::{REPORT_AT, SLOT, decode};

use super::pair::Pool;
use super::pipe::Pipes;
use crate::httpd::page::Page;
use crate::httpd::server::Server;
use crate::supervisor::{Definition, Owner, Scoreboard, ScriptOwner};

/// Bytes of a word of the status page.
const WORD: usize = size_of::<u64>();
/// The groups of all servers.
pub struct Groups(Vec<Group>);

impl Groups {
    /// How they are, as the supervisor said last; `None` if it has said nothing.
    pub fn report(&self) -> Option<Report> {
        let page = &self.0.first()?.status;
        serde_json::from_slice(&published::read(page.file(), REPORT_AT)?).ok()
    }

    /// All of them.
    pub fn new(groups: Vec<Group>) -> Groups {
        Groups(groups)
    }

    /// The group of that name, if that server may use it.
    pub fn visible(&self, name: &[u8], server: Server<'_>) -> Option<&Group> {
        let group = self.0.iter().find(|group| group.name.as_bytes() == name)?;
        let admitted = group.owner.as_ref().is_none_or(|owner| owner.admits(server));
        admitted.then_some(group)
    }
}

/// A group whose daemons wait at the other end of its queue.
pub struct Group {
    /// Its name.
    pub name: String,
    /// Who defines it; `None`: the main server, for all.
    owner: Option<Owner>,
    /// httpd's end of the queue.
    queue: OwnedFd,
    /// Where the supervisor shows how the group is, and the group's place there.
    status: Arc<Page>,
    slot: usize,
    /// Who must own the scripts.
    script_owner: Option<ScriptOwner>,
    /// What its daemons may see of httpd's threads, if anything.
    pub scoreboard: Option<Arc<Scoreboard>>,
    /// How long a request tries to get into a full queue.
    pub entry_timeout: Duration,
    /// How long each write to the client may wait; `None`: as httpd has it.
    pub write_timeout: Option<Duration>,
    /// Longest line of a reply's head.
    pub longest_header: Option<u64>,
    /// Reply pairs between requests.
    pub pairs: Pool,
    /// How long a request may wait for a daemon.
    pub queue_timeout: Option<Duration>,
    /// How long nothing may happen between httpd and a daemon that runs a request.
    pub socket_timeout: Duration,
    /// How long the client may keep a daemon waiting for the body (`Timeout`).
    pub client_timeout: Duration,
    /// Bodies are collected whole before the request is queued.
    pub spool: bool,
}

impl Group {
    /// The group of a definition; `timeout` is httpd's own. The page, and its place there; what its daemons may see; how many
    /// pipes there may be.
    pub fn new(
        definition: &Definition,
        timeout: Duration,
        queue: OwnedFd,
        (status, index): (Arc<Page>, usize),
        scoreboard: Option<Arc<Scoreboard>>,
        pipes: Pipes,
    ) -> Group {
        let options = &definition.options;
        Group {
            name: String::from_utf8_lossy(&options.name).into_owned(),
            owner: definition.owner.clone(),
            queue,
            status,
            slot: index,
            script_owner: definition.script_owner,
            scoreboard,
            entry_timeout: options.connect_timeout,
            write_timeout: options.response_socket_timeout.or(options.socket_timeout),
            longest_header: options.header_buffer_size,
            pairs: Pool::new(options.send_buffer_size.max(options.receive_buffer_size), pipes),
            queue_timeout: options.queue_timeout,
            socket_timeout: options.socket_timeout.unwrap_or(timeout),
            client_timeout: timeout,
            spool: options.request_spool,
        }
    }

    /// The end of the queue that requests are put into.
    pub fn queue(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// Whether a script, and the folder that it is in, belong to whom they must, and nobody else can change them.
    pub fn permits(&self, script: &Path) -> bool {
        let Some(owner) = self.script_owner else { return true };
        let folder = script.parent().unwrap_or(Path::new("/"));
        [script, folder].into_iter().all(|path| {
            path.metadata().is_ok_and(|data| match owner {
                ScriptOwner::User(uid) => data.uid() == uid && data.mode() & 0o022 == 0,
                ScriptOwner::Group(gid) => data.gid() == gid && data.mode() & 0o002 == 0,
            })
        })
    }

    /// How the group is.
    pub fn state(&self) -> State {
        let mut slot = [0; SLOT];
        for (index, word) in slot.chunks_exact_mut(WORD).enumerate() {
            word.copy_from_slice(&self.status.word(self.slot * (SLOT / WORD) + index).to_ne_bytes());
        }
        decode(slot)
    }
}
