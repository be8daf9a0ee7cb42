//! Lines of httpd's error log, for processes that write to it without httpd (`ErrorLogFormat`'s default).

use std::io::Write;
use std::time::Duration;

use crate::abi::Level;

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The process.
    pub pid: i32,
    /// Its thread.
    pub tid: i32,
    /// The process group that it belongs to; empty: none.
    pub group: &'a str,
}

/// The lines for a record, with their ends: one for each line of `text`. `since_epoch` is the time, `offset` the seconds
/// that local time is ahead of UTC. What could be taken for an order to a terminal is escaped as httpd does it.
pub fn format(since_epoch: Duration, offset: i64, level: Level, place: &Place<'_>, text: &[u8]) -> Vec<u8> {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(0) + offset;
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let mut head = Vec::with_capacity(100);
    // Writing to a Vec does not fail.
    let _ = write!(
        head,
        "[{} {} {day:02} {:02}:{:02}:{:02}.{:06} {year}] [wsgi:{}] [pid {}:tid {}] ",
        DAYS[usize::try_from(days.rem_euclid(7)).unwrap_or(0)],
        MONTHS[month],
        second / 3600,
        second / 60 % 60,
        second % 60,
        since_epoch.subsec_micros(),
        name(level),
        place.pid,
        place.tid,
    );
    if !place.group.is_empty() {
        let _ = write!(head, "[group {}] ", place.group);
    }
    let mut lines = Vec::with_capacity(head.len() + text.len() + 1);
    lines.extend(&head);
    for &byte in text {
        match byte {
            b'\t' => lines.extend(b"\\t"),
            b'\n' => {
                lines.push(b'\n');
                lines.extend(&head);
            }
            b'\r' => lines.extend(b"\\r"),
            b'\\' => lines.extend(b"\\\\"),
            0..0x20 | 0x7f => {
                let _ = write!(lines, "\\x{byte:02x}");
            }
            _ => lines.push(byte),
        }
    }
    lines.push(b'\n');
    lines
}

/// Year, month from 0 and day from 1 of a number of days since 1 January 1970, in the Gregorian calendar.
fn date(days: i64) -> (i64, usize, i64) {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    // 400 years have 146,097 days.
    let mut year = 1970 + days.div_euclid(146_097) * 400;
    let mut left = days.rem_euclid(146_097);
    while left >= 365 + i64::from(leap(year)) {
        left -= 365 + i64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    (year, month, left + 1)
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Critical => "crit",
        Level::Error => "error",
        Level::Warning => "warn",
        Level::Notice => "notice",
        Level::Info => "info",
        Level::Debug => "debug",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(micros: u64, offset: i64, text: &[u8]) -> String {
        let place = Place {
            pid: 7,
            tid: 8,
            group: "shop",
        };
        String::from_utf8(format(
            Duration::from_micros(micros),
            offset,
            Level::Warning,
            &place,
            text,
        ))
        .unwrap()
    }

    #[test]
    fn times() {
        for (seconds, offset, expected) in [
            (0, 0, "[Thu Jan 01 00:00:00.000005 1970]"),
            (951_782_399, 0, "[Mon Feb 28 23:59:59.000005 2000]"),
            (951_782_400, 0, "[Tue Feb 29 00:00:00.000005 2000]"),
            (1_709_251_199, 1, "[Fri Mar 01 00:00:00.000005 2024]"),
            (1_795_353_630, -7200, "[Sun Nov 22 11:20:30.000005 2026]"),
            (4_107_542_399, 1, "[Mon Mar 01 00:00:00.000005 2100]"),
        ] {
            let line = line(seconds * 1_000_000 + 5, offset, b"");
            assert!(line.starts_with(expected), "{line}");
        }
    }

    #[test]
    fn nobodys_group() {
        let place = Place {
            pid: 7,
            tid: 7,
            group: "",
        };
        let line = format(Duration::ZERO, 0, Level::Notice, &place, b"WSGI0700: a");
        assert_eq!(
            line,
            b"[Thu Jan 01 00:00:00.000000 1970] [wsgi:notice] [pid 7:tid 7] WSGI0700: a\n"
        );
    }

    #[test]
    fn each_line_is_a_record() {
        let head = "[Thu Jan 01 00:00:00.000000 1970] [wsgi:warn] [pid 7:tid 8] [group shop]";
        assert_eq!(
            line(0, 0, b"a\nb\\\x1b[0m\t\xc3\xa9"),
            format!("{head} a\n{head} b\\\\\\x1b[0m\\t\u{e9}\n")
        );
    }
}
