//! One daemon process, as the decisions see it.

use super::{BUSY, Time};

/// Names a daemon of a group. It is not a pid: it is never used again, and exists before the process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u64);

/// A daemon.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub id: ProcessId,
    pub generation: u64,
    pub phase: Phase,
    /// When it is to be replaced because of its age.
    pub restart_at: Option<Time>,
    /// It is to be replaced, for another reason than its generation.
    pub leaving: bool,
    /// When it must go, replaced or not.
    pub evict_at: Option<Time>,
    /// It has completed a request.
    pub served: bool,
    /// Its start waits for something else than the processor.
    pub quiet: bool,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Started at that time; must be READY by then.
    Starting { since: Time, until: Option<Time> },
    /// Serves requests, since then.
    Ready { since: Time },
    /// Was asked to end, or said that it does; is told at that time.
    Draining { until: Option<Time> },
    /// Was told to end; is killed at that time.
    Terminating { until: Option<Time> },
    /// Was killed.
    Killed,
}

impl Process {
    pub fn starting(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. })
    }

    /// It is being started, and not for long.
    pub fn young(&self, now: Time) -> bool {
        matches!(self.phase, Phase::Starting { since, .. } if now < since + BUSY)
    }

    pub fn ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    /// It is on its way out.
    pub fn ending(&self) -> bool {
        !self.starting() && !self.ready()
    }

    /// When something is to happen to it.
    pub fn timer(&self) -> Option<Time> {
        match self.phase {
            Phase::Starting { until, .. } | Phase::Draining { until } | Phase::Terminating { until } => until,
            Phase::Ready { .. } if self.leaving => self.evict_at,
            Phase::Ready { .. } => self.restart_at,
            Phase::Killed => None,
        }
    }
}
