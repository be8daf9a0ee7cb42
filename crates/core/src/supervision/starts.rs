//! Which groups may start daemons: starts take each other's processor, so there are only so many at a time.
//!
//! No group can keep the others waiting: while others wait each has one start at a time, the one that has waited
//! longest comes first, and a group whose starts fail or hang comes after all others. What only such a group, or one that
//! has a start under way, could still take is left free, for whoever comes next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::Time;

/// After so long without a start a group in trouble is like any other: those without trouble could keep it waiting for
/// ever. Longer than the longest pause between two tries, or it would be so each time.
const FORGIVEN: Duration = Duration::from_secs(90);

/// What a group asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Daemons that it would start now.
    pub wants: usize,
    /// Those that it is starting, and that take processor time for that.
    pub busy: usize,
    /// Its last start has failed, or one does not come to an end.
    pub troubled: bool,
    /// When it started a daemon last.
    pub last: Option<Time>,
}

/// How many daemons each group may start, with so many `slots` for all.
pub fn share(claims: &[Claim], slots: usize, now: Time) -> Vec<usize> {
    let mut given = vec![0; claims.len()];
    let mut free = slots.saturating_sub(claims.iter().map(|claim| claim.busy).sum());
    let last_of_all = |claim: &Claim| claim.troubled && claim.last.is_some_and(|last| now < last + FORGIVEN);
    let place = |at: usize, given: usize| {
        let claim: &Claim = &claims[at];
        Reverse((last_of_all(claim), claim.busy + given, claim.last, at))
    };
    let mut waiting: BinaryHeap<_> = (0..claims.len())
        .filter(|at| claims[*at].wants > 0)
        .map(|at| place(at, 0))
        .collect();
    while let Some(Reverse((troubled, starting, _, at))) = waiting.pop() {
        let first = starting == 0 && !troubled;
        if free <= usize::from(!first) {
            break;
        }
        if troubled && starting > 0 {
            continue;
        }
        free -= 1;
        given[at] += 1;
        if given[at] < claims[at].wants {
            waiting.push(place(at, given[at]));
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1000);

    fn wants(wants: usize) -> Claim {
        Claim {
            wants,
            ..Claim::default()
        }
    }

    fn troubled(wants: usize, seconds_ago: u64) -> Claim {
        Claim {
            wants,
            troubled: true,
            last: Some(NOW - Duration::from_secs(seconds_ago)),
            ..Claim::default()
        }
    }

    fn busy(claim: Claim, busy: usize) -> Claim {
        Claim { busy, ..claim }
    }

    fn last(claim: Claim, seconds_ago: u64) -> Claim {
        Claim {
            last: Some(NOW - Duration::from_secs(seconds_ago)),
            ..claim
        }
    }

    #[test]
    fn shares() {
        let cases: [(&str, &[Claim], usize, &[usize]); 17] = [
            ("nobody", &[], 3, &[]),
            ("nothing", &[wants(0)], 3, &[0]),
            ("one start", &[wants(1)], 3, &[1]),
            ("all but one for one group", &[wants(9)], 3, &[2]),
            ("even with one processor", &[wants(9)], 2, &[1]),
            ("one for each", &[wants(9), wants(9), wants(1)], 3, &[1, 1, 1]),
            ("then a second", &[wants(9), wants(1)], 4, &[2, 1]),
            ("who has one waits", &[busy(wants(9), 1), wants(2)], 3, &[0, 1]),
            ("the slot left free", &[busy(wants(9), 2), wants(1)], 3, &[0, 1]),
            (
                "none is left",
                &[busy(wants(9), 2), busy(wants(0), 1), wants(1)],
                3,
                &[0, 0, 0],
            ),
            ("more than there are", &[busy(wants(9), 7), wants(1)], 3, &[0, 0]),
            (
                "longest wait",
                &[last(wants(1), 1), last(wants(1), 9), wants(1)],
                2,
                &[0, 1, 1],
            ),
            ("trouble is last", &[troubled(9, 9), wants(1), wants(1)], 3, &[0, 1, 1]),
            ("and one at a time", &[troubled(9, 9)], 5, &[1]),
            ("until it is forgiven", &[troubled(9, 9), troubled(9, 99)], 5, &[0, 4]),
            ("none more", &[busy(troubled(9, 9), 1)], 5, &[0]),
            (
                "and leaves one free",
                &[troubled(1, 9), troubled(1, 8), troubled(1, 7)],
                3,
                &[1, 1, 0],
            ),
        ];
        for (what, claims, slots, shares) in cases {
            assert_eq!(share(claims, slots, NOW), shares, "{what}");
        }
    }

    #[test]
    fn nobody_waits_for_ever() {
        // Ten that hang, each start for 5 s, and one that has just lost its daemon.
        let (mut claims, mut until) = (vec![wants(100); 10], Vec::new());
        let mut now = NOW;
        for round in 0..50 {
            until.retain(|(end, at): &(Time, usize)| {
                let over = *end <= now;
                if over {
                    let claim: &mut Claim = &mut claims[*at];
                    claim.busy -= 1;
                    claim.troubled = true;
                }
                !over
            });
            if round == 20 {
                claims.push(wants(1));
            }
            let shares = share(&claims, 3, now);
            assert!(
                round < 20 || shares[10] == 1 || claims[10].wants == 0,
                "{round}: {shares:?}"
            );
            for (at, share) in shares.into_iter().enumerate() {
                let claim = &mut claims[at];
                claim.wants -= share;
                claim.busy += share;
                claim.last = if share > 0 { Some(now) } else { claim.last };
                until.extend((0..share).map(|_| (now + Duration::from_secs(5), at)));
                assert!(claim.busy <= 1 || !claim.troubled, "{claim:?}");
            }
            now += Duration::from_secs(1);
        }
    }
}
