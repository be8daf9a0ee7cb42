//! What an administrator asks of the supervisor over its control socket, and what it answers: one line of JSON each way.
//!
//! The socket is beside httpd's `PidFile`, with [`SUFFIX`] added to its name. Only root, and the user that the
//! supervisor itself runs as, may use it.

use serde::{Deserialize, Serialize};

use crate::stats::report::Report;

/// What the name of the socket adds to that of httpd's `PidFile`.
pub const SUFFIX: &str = ".wsgid";

/// Longest command, in bytes.
pub const MAX_COMMAND: usize = 4096;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Command {
    /// How everything is.
    Status,
    /// Replace the daemons of that group: new ones first, and the old ones finish what they have.
    Reload {
        /// Its name.
        group: String,
    },
    /// End the daemons of that group, and start new ones.
    Restart {
        /// Its name.
        group: String,
    },
    /// The Python stacks of its daemons.
    Stacks {
        /// Its name.
        group: String,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// How everything is.
    Report(Report),
    /// It has begun; the daemons that come now are of that generation or later, and have numbers that were not there
    /// before.
    Begun {
        /// Generation of the group.
        generation: u64,
        /// Numbers of the processes that are to end.
        old: Vec<u32>,
    },
    /// The stacks.
    Stacks(Vec<Stacks>),
    /// Nothing was done, for this reason.
    Refused(String),
}

/// The stacks of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stacks {
    /// Its number.
    pub pid: u32,
    /// They, or why there are none.
    pub text: String,
}
