//! Clocks in µs.

use rustix::time::{ClockId, clock_gettime};

/// µs of `CLOCK_MONOTONIC`, the same in all processes. Never 0.
#[inline]
pub fn monotonic() -> u64 {
    micros(ClockId::Monotonic).max(1)
}

/// µs since the epoch.
#[inline]
pub fn epoch() -> u64 {
    micros(ClockId::Realtime)
}

/// µs of processor time that all threads of this process have used so far.
#[inline]
pub fn processor() -> u64 {
    micros(ClockId::ProcessCPUTime)
}

#[inline]
fn micros(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let micros = u64::try_from(now.tv_nsec).unwrap_or(0) / 1000;
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000 + micros
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go() {
        let before = monotonic();
        assert!(before > 0 && monotonic() >= before);
        let used = processor();
        while processor() == used {}
        // Later than this line was written.
        assert!(epoch() > 1_700_000_000_000_000);
    }
}
