//! Records that repeat: which of them a log shows when the same one comes again and again.

use std::time::Duration;

/// So many of the same are shown within [`PERIOD`]; after that the hundredth, the thousandth and so on.
pub const SHOWN: u64 = 20;

/// When it has passed since the first, they count anew.
pub const PERIOD: Duration = Duration::from_secs(60);

/// So many different records are known at a time. A flood of more is no repetition.
const KNOWN: usize = 64;

/// What has been seen.
#[derive(Debug, Default)]
pub struct Repeats {
    known: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// A number made of the text.
    hash: u64,
    since: Duration,
    count: u64,
    /// Of those, not shown and not told of.
    left_out: u64,
}

/// What is to be done with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Show it.
    Show,
    /// Show it, and say that so many of the same were left out before.
    ShowAfter(u64),
    /// Leave it out.
    LeaveOut,
}

impl Repeats {
    /// Nothing yet.
    pub const fn new() -> Repeats {
        Repeats { known: Vec::new() }
    }

    /// A record comes; `now` on any clock that only goes forward. Numbers in the text are no difference.
    pub fn judge(&mut self, text: &[u8], now: Duration) -> Verdict {
        let hash = hash(text);
        let Some(at) = self.known.iter().position(|seen| seen.hash == hash) else {
            self.known
                .retain(|seen| seen.left_out > 0 || now.saturating_sub(seen.since) < PERIOD);
            if self.known.len() == KNOWN {
                // Of those that have something to tell none is given up; a record that nobody knows is always shown.
                match self.known.iter().position(|seen| seen.left_out == 0) {
                    Some(oldest) => drop(self.known.remove(oldest)),
                    None => return Verdict::Show,
                }
            }
            self.known.push(Seen {
                hash,
                since: now,
                count: 1,
                left_out: 0,
            });
            return Verdict::Show;
        };
        let seen = &mut self.known[at];
        if now.saturating_sub(seen.since) >= PERIOD {
            seen.since = now;
            seen.count = 0;
        }
        seen.count += 1;
        if seen.count <= SHOWN || is_round(seen.count) {
            match std::mem::take(&mut seen.left_out) {
                0 => Verdict::Show,
                left_out => Verdict::ShowAfter(left_out),
            }
        } else {
            seen.left_out += 1;
            Verdict::LeaveOut
        }
    }

    /// Forgets everything; returns how many records were left out and not told of.
    pub fn end(&mut self) -> u64 {
        let known = std::mem::take(&mut self.known);
        known.iter().fold(0, |sum, seen| sum.saturating_add(seen.left_out))
    }
}

/// 100, 1000, 10,000 …
fn is_round(count: u64) -> bool {
    count >= 100 && 10u64.pow(count.ilog10()) == count
}

/// FNV-1a over the text without its digits.
fn hash(text: &[u8]) -> u64 {
    text.iter()
        .filter(|byte| !byte.is_ascii_digit())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_flood() {
        let mut repeats = Repeats::new();
        let verdicts: Vec<Verdict> = (1..=1000)
            .map(|number: u32| repeats.judge(format!("WSGI0409: {number} bytes").as_bytes(), SECOND))
            .collect();
        assert!(verdicts[..20].iter().all(|verdict| *verdict == Verdict::Show));
        assert_eq!(verdicts[20], Verdict::LeaveOut);
        assert_eq!(verdicts[99], Verdict::ShowAfter(79));
        assert_eq!(verdicts[999], Verdict::ShowAfter(899));
        let left_out = verdicts.iter().filter(|verdict| **verdict == Verdict::LeaveOut).count();
        assert_eq!(left_out, 79 + 899);
        assert_eq!(repeats.judge(b"WSGI0409: 1 bytes", SECOND), Verdict::LeaveOut);
        assert_eq!(
            repeats.judge(b"WSGI0409: 1 bytes", SECOND + PERIOD),
            Verdict::ShowAfter(1)
        );
        assert_eq!(repeats.judge(b"WSGI0409: 1 bytes", SECOND + PERIOD), Verdict::Show);
        assert_eq!(repeats.end(), 0);
    }

    #[test]
    fn different_records_are_no_repetition() {
        let mut repeats = Repeats::new();
        for round in 0..5 {
            for number in 0..1000u32 {
                let text: String = format!("{number:010b}").replace('0', "a").replace('1', "b");
                assert_eq!(repeats.judge(text.as_bytes(), SECOND * round), Verdict::Show);
            }
        }
    }

    #[test]
    fn what_was_left_out_is_told_at_the_end() {
        let mut repeats = Repeats::new();
        for _ in 0..25 {
            repeats.judge(b"same", SECOND);
        }
        assert_eq!(repeats.end(), 5);
    }
}
