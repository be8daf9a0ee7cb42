//! Clocks (`time.h`).

use std::mem::MaybeUninit;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};
use wsgi_core::supervision::Time;

/// The time that only goes forward.
pub fn now() -> Time {
    duration(clock_gettime(ClockId::Monotonic))
}

/// The time since the epoch, and how many seconds local time is ahead of UTC now.
pub fn local() -> (Duration, i64) {
    let now = clock_gettime(ClockId::Realtime);
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: reads one number and fills the structure, which is valid with all bytes zero; it may read TZ, which
    // nobody changes.
    let parts = unsafe {
        libc::localtime_r(&raw const now.tv_sec, parts.as_mut_ptr());
        parts.assume_init()
    };
    (duration(now), parts.tm_gmtoff)
}

fn duration(time: Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_move() {
        let before = now();
        assert!(before > Duration::ZERO && now() >= before);
        let (epoch, offset) = local();
        // Later than this line was written, and in one of the world's time zones.
        assert!(epoch > Duration::from_secs(1_700_000_000) && offset.abs() <= 15 * 3600);
    }
}
