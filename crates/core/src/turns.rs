//! Whether the threads of a process that want Python's lock (the GIL) for a request should take turns outside of it.
//!
//! Waiting for the GIL itself costs several changes of threads: CPython wakes the next thread while it still holds the
//! mutex that this one needs. But who waits elsewhere does not see that an application gives the GIL up for a while, to
//! wait for something. So turns are right as long as nobody could use that.

/// So many proofs that nobody could: then turns are taken.
const ENOUGH: u32 = 64;
/// What a proof of the contrary costs.
const COST: u32 = 8;
/// After so many turns half of the proofs are wanted anew: where turns are taken, nobody comes in between.
const TURNS: u32 = 1024;

/// What the ends of stays at the GIL have shown so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proofs(u32);

impl Proofs {
    /// As [`Proofs::to_number`] said.
    pub fn from_number(number: u32) -> Proofs {
        Proofs(number)
    }

    /// For keeping them.
    pub fn to_number(self) -> u32 {
        self.0
    }

    /// Whether turns should be taken.
    pub fn are_enough(self) -> bool {
        self.0 >= ENOUGH
    }

    /// With what the end of one more stay shows: whether it was `undisturbed` by another thread's, and whether there
    /// were `others` that might have had one.
    #[must_use]
    pub fn after(self, undisturbed: bool, others: bool) -> Proofs {
        Proofs(match (self.are_enough(), undisturbed) {
            (false, true) => self.0 + u32::from(others),
            (false, false) => self.0.saturating_sub(COST),
            (true, true) if self.0 < ENOUGH + TURNS => self.0 + 1,
            (true, _) => ENOUGH / 2,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(proofs: Proofs, times: u32, undisturbed: bool, others: bool) -> Proofs {
        (0..times).fold(proofs, |proofs, _| proofs.after(undisturbed, others))
    }

    #[test]
    fn only_stays_among_others_prove_something() {
        assert!(!after(Proofs::default(), 1000, true, false).are_enough());
        assert!(!after(Proofs::default(), ENOUGH - 1, true, true).are_enough());
        assert!(after(Proofs::default(), ENOUGH, true, true).are_enough());
    }

    #[test]
    fn an_application_that_waits_now_and_then_gets_no_turns() {
        let mut proofs = Proofs::default();
        for _ in 0..1000 {
            proofs = after(proofs, COST, true, true).after(false, true);
            assert!(!proofs.are_enough());
        }
    }

    #[test]
    fn turns_end_when_somebody_came_in_between() {
        let proofs = after(Proofs::default(), ENOUGH, true, true);
        assert!(!proofs.after(false, true).are_enough());
        assert!(proofs.after(true, false).are_enough());
    }

    #[test]
    fn turns_are_looked_into_again() {
        let proofs = after(Proofs::default(), ENOUGH + TURNS, true, true);
        assert!(proofs.are_enough());
        let proofs = proofs.after(true, true);
        assert!(!proofs.are_enough());
        assert!(after(proofs, ENOUGH / 2, true, true).are_enough());
    }
}
