//! What processes count while they serve requests: the page that each of them writes without locks, and its reading.
//!
//! A process has one [`page::Page`]: shared memory of a fixed size that belongs to its writer alone. Others read it by
//! copy ([`reading::Reading`]) and believe nothing in it: whoever writes it may run a tenant's code.
//!
//! A page is a header, a histogram for each [`Phase`], and a slot for each thread. A thread writes its own slot only,
//! with plain loads and stores; histograms belong to the process and are added to atomically.

pub mod histogram;
pub mod page;
pub mod proc;
pub mod reading;
pub mod report;
pub mod shelf;

/// What the time of a request goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From httpd's receipt of the request until it was queued, or until Python was asked for in embedded mode.
    Server = 0,
    /// In the queue of its process group.
    Queue = 1,
    /// From the queue's end until the application was called.
    Daemon = 2,
    /// In the application, `close()` included.
    Application = 3,
    /// From httpd's receipt until the end.
    Request = 4,
    /// Waiting for Python's lock.
    GilWait = 5,
    /// Waiting for the request's body.
    InputRead = 6,
    /// Sending the reply.
    OutputWrite = 7,
}

/// Number of phases.
pub const PHASES: usize = 8;

impl Phase {
    /// All of them, by number.
    pub const ALL: [Phase; PHASES] = [
        Phase::Server,
        Phase::Queue,
        Phase::Daemon,
        Phase::Application,
        Phase::Request,
        Phase::GilWait,
        Phase::InputRead,
        Phase::OutputWrite,
    ];

    /// The name that `mod_wsgi.request_metrics()` gives it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Server => "server_time",
            Phase::Queue => "queue_time",
            Phase::Daemon => "daemon_time",
            Phase::Application => "application_time",
            Phase::Request => "request_time",
            Phase::GilWait => "gil_wait_time",
            Phase::InputRead => "input_read_time",
            Phase::OutputWrite => "output_write_time",
        }
    }
}
