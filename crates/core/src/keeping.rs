//! Whether the thread that takes a daemon's requests keeps their queue to itself while it runs one.
//!
//! A thread whose request may wait for something hands the queue to another one first. That costs two changes of threads
//! per request, and then the threads meet at Python's lock. Where no request ever waits, nobody could use the time in
//! between, and the thread can keep the queue. So keeping it is tried now and then while requests come one upon the
//! other, goes on as long as they are seen not to wait, and ends when two of them did within a short time, or when they
//! compute for long on the average. (A lookout takes the queue from a thread whose request is no short one:
//! [`is_too_long`].)

/// How long after the one before a request may come, in µs, to be one of many that come one upon the other.
const DENSE: u64 = 2_000;
/// So many dense requests in a row, before the queue is kept.
const STREAK: u32 = 16;
/// So many requests that did not wait, before a trial has succeeded.
const PROOFS: u32 = 16;
/// So much of a trial may say nothing: those that run when it begins are still there.
const UNCLEAR: u32 = 12;
/// What a request that waited costs of the [`CREDIT`]: who waits for one can be kept from using a ms, which handing over
/// costs in some 75 requests.
const COST: u32 = 96;
/// The most that requests that did not wait can bring, one each.
const CREDIT: u32 = 128;
/// Dense requests between trials: at first, and at most.
const PAUSE: (u32, u32) = (64, 64 * 1024);
/// By how much there are more after each that has failed.
const GROWTH: u32 = 16;

/// The most processor time, in µs, that requests may take on the average: handing over costs a tenth of that, and an
/// application may be computing without Python's lock, when others could run beside it.
const SHORT: u64 = 250;
/// So many requests make an average.
const MANY: u64 = 16;
/// The most, in µs, that one counts for: now and then there is one that collects garbage.
const MOST: u64 = 8 * SHORT;

/// For how long, in µs, the queue may be kept while other requests run and the process computes all the time: as long as
/// CPython lets a thread compute while others wait (`sys.getswitchinterval`).
const COMPUTING: u64 = 5_000;

/// Whether a request while which the queue is kept, and which has been looked at since it is no short one, has lasted too
/// long, of that `age`: the process has `used` that much of a processor in the last `span` of time, all in µs. While
/// `others` run and the process computes, it may be waiting for Python's lock behind them, as the next would, unless it is
/// known to wait for something else. By itself it may be computing without that lock.
pub fn is_too_long(others: bool, waits_else: bool, age: u64, span: u64, used: u64) -> bool {
    !others || waits_else || used < span / 2 || age >= COMPUTING
}

/// What a request showed that ran while its thread kept the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Its thread never slept, and used so much processor time, in µs.
    Quick(u64),
    /// Its thread slept.
    Waited,
    /// Others ran when it began: what its thread waited for may have been these.
    Unclear,
    /// The same, and it lasted so long that the lookout has handed over.
    Long,
}

/// What requests have shown so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    phase: Phase,
    /// Dense requests before the next trial but one.
    pause: u32,
    /// Dense requests in a row.
    streak: u32,
    /// The processor time, in µs, that [`MANY`] requests take.
    used: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not to be kept for so many dense requests.
    Not(u32),
    /// Being tried.
    Trial { proofs: u32, unclear: u32 },
    /// To be kept.
    Kept { credit: u32 },
}

impl Default for Keeping {
    fn default() -> Keeping {
        Keeping {
            phase: Phase::Not(PAUSE.0),
            pause: PAUSE.0,
            streak: 0,
            used: 0,
        }
    }
}

impl Keeping {
    /// A request was taken, so many µs after the one before it; whether the queue shall be kept while it runs.
    pub fn take(&mut self, after: u64) -> bool {
        if after > DENSE {
            self.streak = 0;
            return false;
        }
        self.streak = (self.streak + 1).min(STREAK);
        if let Phase::Not(left) = &mut self.phase {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.phase = Phase::Trial {
                    proofs: 0,
                    unclear: UNCLEAR,
                };
            }
        }
        self.streak == STREAK && !matches!(self.phase, Phase::Not(_))
    }

    /// A request has ended for which the queue was kept.
    pub fn learn(&mut self, shown: Shown) {
        if let Shown::Quick(used) = shown {
            self.used += used.min(MOST);
            self.used -= self.used / MANY;
        }
        let are_long = self.used / MANY > SHORT;
        if are_long {
            self.used = 0;
        }
        self.phase = match (self.phase, shown) {
            (Phase::Trial { .. } | Phase::Kept { .. }, _) if are_long => self.give_up(),
            (Phase::Trial { proofs, .. }, Shown::Quick(_)) if proofs + 1 == PROOFS => Phase::Kept { credit: COST },
            (Phase::Trial { proofs, unclear }, Shown::Quick(_)) => {
                let proofs = proofs + 1;
                Phase::Trial { proofs, unclear }
            }
            (Phase::Trial { proofs, unclear }, Shown::Unclear) if unclear > 1 => {
                let unclear = unclear - 1;
                Phase::Trial { proofs, unclear }
            }
            (Phase::Kept { credit: CREDIT }, Shown::Quick(_)) => {
                self.pause = PAUSE.0;
                self.phase
            }
            (Phase::Kept { credit }, Shown::Quick(_)) => Phase::Kept { credit: credit + 1 },
            (Phase::Kept { credit }, Shown::Waited | Shown::Long) if credit >= COST => {
                Phase::Kept { credit: credit - COST }
            }
            (Phase::Trial { .. }, _) | (Phase::Kept { .. }, Shown::Waited | Shown::Long) => self.give_up(),
            (Phase::Not(_), _) | (Phase::Kept { .. }, Shown::Unclear) => self.phase,
        };
    }

    fn give_up(&mut self) -> Phase {
        let pause = self.pause;
        self.pause = (pause * GROWTH).min(PAUSE.1);
        Phase::Not(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Shown = Shown::Quick(50);

    /// So many dense requests, which show `shown` whenever the queue is kept; for how many it was.
    fn run(keeping: &mut Keeping, requests: u32, shown: Shown) -> u32 {
        let mut kept = 0;
        for _ in 0..requests {
            if keeping.take(50) {
                kept += 1;
                keeping.learn(shown);
            }
        }
        kept
    }

    fn kept() -> Keeping {
        let mut keeping = Keeping::default();
        run(&mut keeping, 1000, QUICK);
        keeping
    }

    #[test]
    fn kept_where_nothing_waits() {
        let mut keeping = Keeping::default();
        assert_eq!(run(&mut keeping, PAUSE.0 - 1, QUICK), 0);
        assert_eq!(run(&mut keeping, 1000, QUICK), 1000);
    }

    #[test]
    fn seldom_tried_where_everything_waits() {
        let mut keeping = Keeping::default();
        assert_eq!(run(&mut keeping, 1_000_000, Shown::Waited), 18);
        let mut keeping = Keeping::default();
        assert_eq!(run(&mut keeping, 1_000_000, Shown::Unclear), 18 * UNCLEAR);
        let mut keeping = Keeping::default();
        assert_eq!(run(&mut keeping, 1_000_000, Shown::Long), 18);
    }

    #[test]
    fn a_trial_begins_while_others_run() {
        let mut keeping = Keeping::default();
        run(&mut keeping, PAUSE.0 + UNCLEAR - 3, Shown::Unclear);
        assert_eq!(run(&mut keeping, 1000, QUICK), 1000);
    }

    #[test]
    fn one_may_wait_now_and_then() {
        let mut keeping = kept();
        for _ in 0..100 {
            assert_eq!(run(&mut keeping, 1, Shown::Waited), 1);
            assert_eq!(run(&mut keeping, COST, QUICK), COST);
        }
    }

    #[test]
    fn two_in_a_short_time_may_not() {
        let mut keeping = kept();
        run(&mut keeping, 1, Shown::Waited);
        run(&mut keeping, COST / 2, QUICK);
        run(&mut keeping, 1, Shown::Waited);
        assert_eq!(run(&mut keeping, PAUSE.0 - 1, QUICK), 0);
        assert!(run(&mut keeping, 2, QUICK) > 0);
    }

    #[test]
    fn requests_that_all_last_long_are_found_out() {
        let mut keeping = kept();
        assert_eq!(run(&mut keeping, PAUSE.0, Shown::Long), 2);
    }

    #[test]
    fn not_for_those_that_compute_for_long() {
        let mut keeping = Keeping::default();
        assert!(run(&mut keeping, 1_000_000, Shown::Quick(SHORT + 50)) < 1_000);
        assert!(run(&mut keeping, 100_000, Shown::Quick(MOST * 10)) < 100);
        let mut keeping = kept();
        assert!(run(&mut keeping, 1_000, Shown::Quick(SHORT + 50)) < 200);
    }

    #[test]
    fn one_may_collect_garbage() {
        let mut keeping = kept();
        for _ in 0..100 {
            assert_eq!(run(&mut keeping, 1, Shown::Quick(100_000)), 1);
            assert_eq!(run(&mut keeping, 60, Shown::Quick(SHORT / 2)), 60);
        }
    }

    #[test]
    fn who_waits_behind_others_has_more_time() {
        assert!(is_too_long(true, false, 1_000, 1_000, 0) && is_too_long(true, false, 1_000, 800, 300));
        assert!(!is_too_long(true, false, 1_000, 1_000, 900) && !is_too_long(true, false, 4_000, 500, 500));
        assert!(is_too_long(true, false, COMPUTING, 1_000, 1_000));
        assert!(is_too_long(true, true, 1_000, 1_000, 900));
        assert!(is_too_long(false, false, 1_000, 1_000, 1_000));
    }

    #[test]
    fn not_for_single_requests() {
        let mut keeping = kept();
        assert!(!keeping.take(DENSE + 1));
        assert_eq!(run(&mut keeping, STREAK - 1, QUICK), 0);
        assert_eq!(run(&mut keeping, 10, QUICK), 10);
        let mut keeping = Keeping::default();
        assert!((0..10_000).all(|number| !keeping.take(if number % 8 == 0 { DENSE + 1 } else { 50 })));
    }

    #[test]
    fn trust_comes_back() {
        let mut keeping = Keeping::default();
        run(&mut keeping, 100_000, Shown::Waited);
        run(&mut keeping, 400_000, QUICK);
        assert_eq!(keeping, kept());
    }
}
