//! Log-linear histograms of times (as HdrHistogram's): each octave in 16 equal parts, so that a value is known to 3 %.
//!
//! The unit is 1/1024 ms, so that octaves begin at powers of two of a millisecond.

/// Parts of an octave.
const PARTS: u64 = 16;

/// Buckets: up to 16 units one by one, then 28 octaves, up to 70 minutes. What is longer counts as that.
pub const BUCKETS: usize = 464;

/// Buckets of [`Histogram::from_1ms`].
pub const COARSE: usize = 65;

/// The bucket of a time in µs.
#[inline]
pub fn bucket(micros: u64) -> usize {
    let units = (micros.min(1 << 40) << 7) / 125;
    if units < PARTS {
        return units as usize;
    }
    let shift = 59 - units.leading_zeros();
    let at = u64::from(shift) * PARTS + (units >> shift);
    (at as usize).min(BUCKETS - 1)
}

/// The least time of a bucket, in µs.
pub fn least(bucket: usize) -> u64 {
    let bucket = bucket.min(BUCKETS) as u64;
    let units = if bucket < PARTS {
        bucket
    } else {
        (bucket % PARTS + PARTS) << (bucket / PARTS - 1)
    };
    (units * 125).div_ceil(128)
}

/// How many times fell into each bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// By bucket; [`BUCKETS`] of them.
    pub counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            counts: vec![0; BUCKETS],
        }
    }
}

impl Histogram {
    /// One that holds these; buckets that are missing are empty.
    pub fn of(counts: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for (to, from) in histogram.counts.iter_mut().zip(counts) {
            *to = *from;
        }
        histogram
    }

    /// Counts a time, in µs.
    pub fn record(&mut self, micros: u64) {
        self.counts[bucket(micros)] += 1;
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Histogram) {
        for (to, from) in self.counts.iter_mut().zip(&other.counts) {
            *to = to.saturating_add(*from);
        }
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let both = self.counts.iter().zip(&earlier.counts);
        Histogram {
            counts: both.map(|(now, then)| now.saturating_sub(*then)).collect(),
        }
    }

    /// How many times there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The time in µs that this part (from 0 to 1) of all times does not exceed; `None` if there are none.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let wanted = (self.count() as f64 * part.clamp(0.0, 1.0)).max(1.0);
        let mut seen = 0u64;
        for (at, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if *count > 0 && seen as f64 >= wanted {
                return Some(middle(at));
            }
        }
        None
    }

    /// The least and the greatest time in µs, to the width of a bucket; `None` if there are none.
    pub fn range(&self) -> Option<(u64, u64)> {
        let first = self.counts.iter().position(|count| *count > 0)?;
        let last = self.counts.iter().rposition(|count| *count > 0)?;
        Some((least(first), middle(last)))
    }

    /// How many times are at most `micros`, to the width of a bucket.
    pub fn up_to(&self, micros: u64) -> u64 {
        let end = bucket(micros);
        self.counts[..end]
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The buckets of `mod_wsgi.request_metrics()`: 16 octaves from 1 ms in 4 equal parts each, the first with all that
    /// is shorter; the last one for what is longer.
    pub fn from_1ms(&self) -> [u64; COARSE] {
        let first = bucket(1000);
        let mut coarse = [0; COARSE];
        for (at, count) in self.counts.iter().enumerate() {
            let to = (at.saturating_sub(first) / 4).min(COARSE - 1);
            coarse[to] = u64::saturating_add(coarse[to], *count);
        }
        coarse
    }
}

fn middle(bucket: usize) -> u64 {
    u64::midpoint(least(bucket), least(bucket + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_lie_side_by_side() {
        for at in 0..BUCKETS {
            assert_eq!(bucket(least(at)), at, "{at}");
            if at > 0 {
                assert_eq!(bucket(least(at) - 1), at - 1, "{at}");
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_value_is_known_to_a_few_percent() {
        for micros in [20, 999, 1000, 12_345, 999_999, 60_000_000, 3_600_000_000] {
            let mut histogram = Histogram::default();
            histogram.record(micros);
            let found = histogram.quantile(0.5).unwrap();
            assert!(
                found.abs_diff(micros) as f64 <= 0.04 * micros as f64,
                "{micros} {found}"
            );
        }
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        assert_eq!(histogram.range(), None);
        for millis in 1..=100 {
            histogram.record(millis * 1000);
        }
        assert_eq!(histogram.count(), 100);
        for (part, micros) in [(0.5, 50_000.0), (0.9, 90_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let found = histogram.quantile(part).unwrap() as f64;
            assert!((found / micros - 1.0).abs() < 0.05, "{part} {found}");
        }
        assert_eq!(histogram.quantile(0.0), histogram.quantile(0.01));
        let (least, greatest) = histogram.range().unwrap();
        assert_eq!(least, 1000);
        assert!((97_000..=103_000).contains(&greatest), "{greatest}");
        assert!((48..=52).contains(&histogram.up_to(50_000)));
        assert_eq!(histogram.up_to(u64::MAX), 100);
        assert_eq!(histogram.since(&histogram).count(), 0);
    }

    #[test]
    fn octaves_from_a_millisecond() {
        let coarse = |micros| {
            let mut histogram = Histogram::default();
            histogram.record(micros);
            histogram.from_1ms().iter().position(|count| *count == 1).unwrap()
        };
        for (micros, at) in [
            (0, 0),
            (999, 0),
            (1000, 0),
            (1249, 0),
            (1250, 1),
            (1999, 3),
            (2000, 4),
            (65_535_000, 63),
            (65_536_000, 64),
            (u64::MAX, 64),
        ] {
            assert_eq!(coarse(micros), at, "{micros}");
        }
    }
}
