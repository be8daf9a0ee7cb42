//! Clocks (`time.h`).

use std::mem::MaybeUninit;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};
use wsgi_core::supervision::Time;

/// The time that only goes forward.
pub fn now() -> Time {
    duration(clock_gettime(ClockId::Monotonic))
}

/// Local time as httpd writes it into its error log.
pub fn stamp() -> String {
    let now = clock_gettime(ClockId::Realtime);
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: reads one number and fills the structure, which is valid with all bytes zero; it may read TZ, which
    // nobody changes.
    let parts = unsafe {
        libc::localtime_r(&raw const now.tv_sec, parts.as_mut_ptr());
        parts.assume_init()
    };
    let name = |names: &[&'static str], at: i32| usize::try_from(at).ok().and_then(|at| names.get(at).copied());
    format!(
        "{} {} {:02} {:02}:{:02}:{:02}.{:06} {}",
        name(&DAYS, parts.tm_wday).unwrap_or("???"),
        name(&MONTHS, parts.tm_mon).unwrap_or("???"),
        parts.tm_mday,
        parts.tm_hour,
        parts.tm_min,
        parts.tm_sec,
        now.tv_nsec / 1000,
        parts.tm_year + 1900
    )
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

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
        let stamp = stamp();
        assert_eq!(stamp.split(' ').count(), 5, "{stamp}");
        assert!(!stamp.contains('?'), "{stamp}");
    }
}
