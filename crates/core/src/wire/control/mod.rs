//! What the httpd parent, the supervisor and the daemons say to each other about processes: values ↔ bytes.
//!
//! Each message is one datagram of a `SOCK_SEQPACKET` socketpair, at most [`MAX_MESSAGE`] bytes; descriptors come by
//! `SCM_RIGHTS` with the message that names them. A supervisor and a daemon find their end at [`CONTROL_FD`].
//!
//! # httpd parent → supervisor ([`parent::ToSupervisor`])
//! | message | descriptors | meaning |
//! |---|---|---|
//! | `Begin` | the status page; the control socket of administrators, if it says so; the server's error log, if it is a file or pipe | a configuration begins; its generation is larger than any before |
//! | `Group` | the receiving end of its queue; what httpd's threads do, if it says so; its error log, if it has one of its own | one group of it; as many as `Begin` announced |
//! | `End` | the lifeline's reading end; what httpd's own processes count ([`crate::stats::shelf`]), if anything | it is complete: it takes effect now |
//! | `Reload` | – | replace the daemons of a group |
//! | `Stop` | – | the server ends: end all daemons, then yourself |
//!
//! The supervisor answers [`parent::FromSupervisor`]: `Applied` or `Refused` for each `End`, and nothing else. A
//! configuration of another version ([`super::VERSION`], which each `Begin` begins with) it cannot read, and refuses as
//! number 0: then the parent gives up its end of the socket, and begins anew with new queues and a supervisor of its own
//! version. The old one goes on as if its parent had died: when its
//! parent dies it sees the end of the stream, goes on serving the httpd children that are left, and ends when the
//! last lifeline has ended.
//!
//! A **group** is the same across configurations if it has the same name. If what `Group` says about it is the same
//! too, and it does not ask for [`parent::Group::renew`], its daemons go on untouched; otherwise they are replaced. A
//! group that a new configuration does not name goes on until the lifelines of all configurations that did have ended,
//! since old httpd children may still send requests to it; then it drains. A group whose *user* changes needs a new
//! name or a new queue from the parent: reply pairs stay within one user.
//!
//! The **lifeline** is a pipe whose writing end only the httpd children of one configuration hold; its end means that
//! they are gone. The **status page** is a memfd made by the parent, of [`status::SLOT`] bytes for each group of the
//! configuration, in order. The supervisor writes it (by `pwrite`) until the lifeline of that configuration ends; httpd
//! children read it, and cannot write it.
//!
//! # Supervisor ↔ daemon ([`daemon`])
//! The daemon gets one `Settings`, with the receiving end of the queue, a memfd for the page of its numbers
//! ([`crate::stats`]), and, with `server-metrics=On`, one that it can only read, in which httpd's processes publish what
//! their threads do ([`published`]). It starts Python's part, imports what is to be preloaded, and says
//! `Ready`; only then it takes requests. Later it may be told `Drain`. It says `Replace` when it should be replaced and can wait, `Exiting` when it
//! stops taking requests by itself, `Served` when it has completed its first request, and `Loaded` for each script that
//! requests use: its successors load them before they are READY. `Log` comes with each configuration that does not replace
//! it, and brings the error log as a descriptor: the file of before may have been moved away. Its end of the stream means that the supervisor is
//! gone: drain, and end.
//!
//! The daemon is started as `PYTHON -c LINE HOST`, where `LINE` ([`daemon::LINE`]) loads the Python host from
//! its absolute path and calls its one function, `wsgi_daemon_main()`, which takes nothing and does not return: it
//! ends the process. Descriptors 0, 1 and 2 are `/dev/null` and twice the error log. SIGTERM and SIGINT mean: end within
//! `shutdown-timeout`; SIGUSR1: drain. SIGUSR1 also comes when the supervisor dies (`PR_SET_PDEATHSIG`).

pub mod command;
pub mod daemon;
pub mod parent;
mod preload;
pub mod published;
pub mod status;

use super::field::{Fields, Pairs, put_pairs};
use super::{Error, TooLarge};
use crate::directive::NameValue;
pub use preload::Preload;

/// Largest message: what a socket takes at once whatever its settings are.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Where a supervisor and a daemon find their end of the control socket.
pub const CONTROL_FD: i32 = 3;

/// Most groups of one configuration.
pub const MAX_GROUPS: u16 = 10_000;

fn put_list(out: &mut Vec<u8>, list: &[NameValue]) -> Result<(), TooLarge> {
    let pairs = list.iter().map(|(name, value)| (&name[..], &value[..]));
    put_pairs(out, pairs, usize::MAX, "message is")
}

fn take_list(fields: &mut Fields<'_>) -> Result<Vec<NameValue>, Error> {
    let pairs = Pairs::take(fields, usize::MAX)?;
    Ok(pairs.map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
}

/// The fields of a message of a bounded length.
fn fields(message: &[u8]) -> Result<Fields<'_>, Error> {
    if message.len() > MAX_MESSAGE {
        return Err(Error::Invalid("message longer than it may be"));
    }
    Ok(Fields::whole(message))
}

/// Ends a message.
fn bounded(out: Vec<u8>) -> Result<Vec<u8>, TooLarge> {
    if out.len() > MAX_MESSAGE {
        return Err(TooLarge("message is"));
    }
    Ok(out)
}
