//! The status page: how each group is, for the httpd children of one configuration. Behind the groups' slots stands a
//! report in JSON ([`crate::stats::report`], [`super::published`]), which the supervisor writes anew about every second.

use std::time::Duration;

use super::MAX_GROUPS;
use crate::supervision::{State, Time};

/// Bytes of the page for one group.
pub const SLOT: usize = 16;

/// Where the report begins: behind the slots of all groups that there may be. httpd has slots for groups that it has not
/// told the supervisor of.
pub const REPORT_AT: u64 = MAX_GROUPS as u64 * SLOT as u64;

/// The slot of a group: byte 0 its state, bytes 8 to 15 the next try of one that failed, in µs of `CLOCK_MONOTONIC`.
pub fn encode(state: State) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[0] = match state {
        State::Idle => 1,
        State::Starting => 2,
        State::Ready => 3,
        State::Draining => 4,
        State::Failed { retry, alone } => {
            slot[1] = u8::from(alone);
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
    let [number, alone, _, _, _, _, _, _, retry @ ..] = slot;
    match number {
        2 => State::Starting,
        3 => State::Ready,
        4 => State::Draining,
        5 => State::Failed {
            retry: Some(u64::from_le_bytes(retry))
                .filter(|&retry| retry != 0)
                .map(Duration::from_micros),
            alone: alone != 0,
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
        let failed = |retry: Option<Duration>| State::Failed {
            retry,
            alone: retry.is_none(),
        };
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
    fn retry_after_is_bounded() {
        let seconds = Duration::from_secs;
        assert_eq!(retry_after(None, seconds(5)), 1);
        assert_eq!(retry_after(Some(seconds(3)), seconds(5)), 1);
        assert_eq!(retry_after(Some(seconds(12)), seconds(5)), 8);
        assert_eq!(retry_after(Some(Duration::MAX), seconds(5)), 35);
    }
}
