//! The status page: how each group is, for the httpd children of one configuration. Behind the groups' slots stands a
//! report in JSON ([`crate::stats::report`]), which the supervisor writes anew about every second.

use std::time::Duration;

use super::MAX_GROUPS;
use crate::supervision::{State, Time};

/// Bytes of the page for one group.
pub const SLOT: usize = 16;

/// Longest report that is read. A server with thousands of threads has one of a few MB.
pub const MAX_REPORT: u64 = 64 << 20;

/// Bytes before a report that say how it is: a number that is odd while it is written, and its length.
pub const REPORT_HEAD: usize = 16;

/// Where the report begins: behind the slots of all groups that there may be. httpd has slots for groups that it has not
/// told the supervisor of.
pub const REPORT_AT: u64 = MAX_GROUPS as u64 * SLOT as u64;

/// The head of a report.
pub fn report_head(number: u64, length: u64) -> [u8; REPORT_HEAD] {
    let mut head = [0; REPORT_HEAD];
    head[..8].copy_from_slice(&number.to_le_bytes());
    head[8..].copy_from_slice(&length.to_le_bytes());
    head
}

/// Number and length of a report that is whole; `None` when it is being written, or when there is none.
pub fn whole_report(head: [u8; REPORT_HEAD]) -> Option<(u64, u64)> {
    let [a, b, c, d, e, f, g, h, length @ ..] = head;
    let (number, length) = (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(length));
    (number != 0 && number % 2 == 0 && length <= MAX_REPORT).then_some((number, length))
}

/// The slot of a group: byte 0 its state, bytes 8 to 15 the next try of one that failed, in µs of `CLOCK_MONOTONIC`.
pub fn encode(state: State) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[0] = match state {
        State::Idle => 1,
        State::Starting => 2,
        State::Ready => 3,
        State::Draining => 4,
        State::Failed { retry } => {
            let retry = retry.map_or(0, |retry| u64::try_from(retry.as_micros()).unwrap_or(u64::MAX));
            slot[8..].copy_from_slice(&retry.to_le_bytes());
            5
        }
    };
    slot
}

/// Reads a slot. It may be written at the same time: half a time is as good as any, it only advises the client. A
/// slot that nobody has written yet counts as idle.
pub fn decode(slot: [u8; SLOT]) -> State {
    let [number, _, _, _, _, _, _, _, retry @ ..] = slot;
    match number {
        2 => State::Starting,
        3 => State::Ready,
        4 => State::Draining,
        5 => State::Failed {
            retry: Some(u64::from_le_bytes(retry))
                .filter(|&retry| retry != 0)
                .map(Duration::from_micros),
        },
        _ => State::Idle,
    }
}

/// What `Retry-After` says, in seconds, when the next try is at `retry`.
pub fn retry_after(retry: Option<Time>, now: Time) -> u64 {
    let wait = retry.map_or(Duration::ZERO, |retry| retry.saturating_sub(now));
    // One second for the start itself; never more than the longest back-off, whatever the page says.
    (wait.as_secs() + 1).min(35)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots() {
        let failed = |retry| State::Failed { retry };
        for state in [
            State::Idle,
            State::Starting,
            State::Ready,
            State::Draining,
            failed(None),
            failed(Some(Duration::from_micros(5))),
        ] {
            assert_eq!(decode(encode(state)), state);
        }
        assert_eq!(decode([0; SLOT]), State::Idle);
        assert_eq!(decode([255; SLOT]), State::Idle);
    }

    #[test]
    fn reports() {
        assert_eq!(whole_report(report_head(2, 100)), Some((2, 100)));
        for (number, length) in [(0, 1), (3, 1), (2, MAX_REPORT + 1)] {
            assert_eq!(whole_report(report_head(number, length)), None);
        }
    }

    #[test]
    fn retry_after_is_bounded() {
        let seconds = Duration::from_secs;
        assert_eq!(retry_after(None, seconds(5)), 1);
        assert_eq!(retry_after(Some(seconds(3)), seconds(5)), 1);
        assert_eq!(retry_after(Some(seconds(12)), seconds(5)), 8);
        assert_eq!(retry_after(Some(Duration::MAX), seconds(5)), 35);
    }
}
