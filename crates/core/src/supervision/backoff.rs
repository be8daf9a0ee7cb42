//! How long to wait before the next try.

use std::time::Duration;

/// The wait after the first failure.
pub const FIRST: Duration = Duration::from_millis(100);

/// The longest wait.
pub const LONGEST: Duration = Duration::from_secs(30);

/// The wait after `failures` failures in a row: doubled each time, and up to a tenth longer by `jitter` (0 to 1), so
/// that groups which fail for one reason do not come back as one.
pub fn delay(failures: u32, jitter: f64) -> Duration {
    // 2^9 × 0.1 s is beyond the longest.
    let doublings = failures.saturating_sub(1).min(9);
    let delay = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    delay.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest() {
        let seconds = [0.1, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0];
        for (failures, seconds) in (0..).zip(seconds) {
            assert_eq!(delay(failures, 0.0), Duration::from_secs_f64(seconds), "{failures}");
        }
        assert_eq!(delay(u32::MAX, 0.0), LONGEST);
        assert_eq!(delay(1, 0.5), Duration::from_millis(105));
        assert_eq!(delay(99, 1.0), Duration::from_secs(33));
        assert_eq!(delay(99, f64::INFINITY), Duration::from_secs(33));
    }
}
