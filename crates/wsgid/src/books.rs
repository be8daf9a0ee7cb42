//! What is remembered of a group's daemons beyond their lives: how many there were, why they ended, what they counted.

use std::collections::{BTreeMap, HashMap};

use wsgi_core::stats::proc::Usage;
use wsgi_core::stats::reading::Reading;
use wsgi_core::stats::report::Sums;
use wsgi_core::supervision::{Exit, ProcessId, Reason};

/// The books of one group.
#[derive(Debug, Default)]
pub struct Books {
    /// Daemons that were started.
    pub starts: u64,
    /// Daemons that have ended, by reason.
    pub ends: BTreeMap<String, u64>,
    /// What they counted.
    pub sums: Sums,
    /// Why those will end that are there.
    reasons: HashMap<ProcessId, &'static str>,
}

impl Books {
    /// A daemon says why it ends. The first reason is the one that the others follow from.
    pub fn said(&mut self, id: ProcessId, reason: Reason) {
        self.reasons.entry(id).or_insert(reason.name());
    }

    /// A daemon was asked to end; unless it has a reason of its own, it is replaced.
    pub fn asked(&mut self, id: ProcessId) {
        self.reasons.entry(id).or_insert("replaced");
    }

    /// A daemon was ended by force.
    pub fn forced(&mut self, id: ProcessId) {
        self.reasons.entry(id).or_insert("killed");
    }

    /// A daemon was ended since it sent what it may not.
    pub fn broke_protocol(&mut self, id: ProcessId) {
        self.reasons.entry(id).or_insert("protocol_broken");
    }

    /// A daemon has ended.
    pub fn ended(&mut self, id: ProcessId, exit: Exit, reading: Option<&Reading>, usage: Usage) {
        let reason = self.reasons.remove(&id).unwrap_or(match exit {
            Exit::Code(_) => "exited",
            Exit::Signal(_) => "crashed",
            Exit::NotStarted => "not_started",
        });
        *self.ends.entry(reason.to_owned()).or_default() += 1;
        self.sums.retire(reading.unwrap_or(&Reading::default()), usage.cpu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        let mut books = Books::default();
        let end = |books: &mut Books, id, exit| books.ended(ProcessId(id), exit, None, Usage::default());
        books.said(ProcessId(1), Reason::MaximumRequests);
        books.asked(ProcessId(1));
        books.said(ProcessId(1), Reason::ShutdownSignal);
        end(&mut books, 1, Exit::Code(0));
        books.asked(ProcessId(2));
        books.forced(ProcessId(2));
        end(&mut books, 2, Exit::Signal(9));
        end(&mut books, 3, Exit::Signal(11));
        end(&mut books, 4, Exit::Code(1));
        books.broke_protocol(ProcessId(5));
        end(&mut books, 5, Exit::Signal(9));
        let ends: Vec<_> = books.ends.iter().map(|(reason, count)| (&reason[..], *count)).collect();
        assert_eq!(
            ends,
            [
                ("crashed", 1),
                ("exited", 1),
                ("maximum_requests", 1),
                ("protocol_broken", 1),
                ("replaced", 1)
            ]
        );
    }
}
