//! What the system knows of a process (`/proc/PID/stat`, proc(5)).

/// Ticks of the system's clock per second, as `/proc` counts them on every Linux.
const TICKS: u64 = 100;

/// Processor time and memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time in µs: the program's, and the system's for it.
    pub cpu: (u64, u64),
    /// Memory in use, in pages.
    pub pages: u64,
    /// When it began, in ticks since the system did: no later process of the same number has the same.
    pub begun: u64,
    /// It sleeps, until something happens.
    pub sleeps: bool,
}

impl Usage {
    /// That of a process; `None` when there is no such process.
    pub fn of(pid: impl std::fmt::Display) -> Option<Usage> {
        Usage::parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The same, if that is still the process that began then ([`Usage::begun`]).
    pub fn of_same(pid: impl std::fmt::Display, begun: u64) -> Option<Usage> {
        Usage::of(pid).filter(|usage| usage.begun == begun)
    }

    /// Reads the line of a process.
    pub fn parse(stat: &[u8]) -> Option<Usage> {
        // The name, in parentheses, may hold anything: the process itself chooses it.
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Numbered from 3 in proc(5).
        let number = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let micros = |ticks: u64| ticks.saturating_mul(1_000_000 / TICKS);
        Some(Usage {
            cpu: (micros(number(14)?), micros(number(15)?)),
            pages: number(24)?,
            begun: number(22)?,
            sleeps: fields.first() == Some(&"S"),
        })
    }
}

/// The number of the system call in which a thread of the calling process waits; `None`: in none, or the system does
/// not say (`/proc/PID/task/TID/syscall`, proc(5)).
pub fn waits_in(thread: u64) -> Option<i64> {
    let line = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).ok()?;
    // "running", or "-1" where a thread waits outside of system calls.
    let number = line.split_ascii_whitespace().next()?.parse().ok()?;
    (number >= 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_threads() {
        fn number() -> u64 {
            let own = std::fs::read_link("/proc/thread-self").unwrap();
            own.file_name().unwrap().to_str().unwrap().parse().unwrap()
        }
        assert_eq!(waits_in(0), None);
        let (tell, told) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let sleeper = std::thread::spawn(move || {
            tell.send(number()).unwrap();
            released.recv().ok();
        });
        let thread = told.recv().unwrap();
        let begun = std::time::Instant::now();
        while waits_in(thread).is_none() {
            assert!(
                begun.elapsed().as_secs() < 10,
                "/proc does not say in which system call a thread waits"
            );
            std::thread::yield_now();
        }
        drop(release);
        sleeper.join().unwrap();
    }

    #[test]
    fn of_this_process() {
        assert!(Usage::of(std::process::id()).unwrap().pages > 0);
        assert_eq!(Usage::of(-1), None);
        let begun = Usage::of("self").unwrap().begun;
        assert!(Usage::of_same(std::process::id(), begun).is_some());
        assert_eq!(Usage::of_same(std::process::id(), begun + 1), None);
    }

    #[test]
    fn lines() {
        let line = "12 (a) b) S 1 12 12 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 16 0 777 9000 1234 18446744073709551615";
        let usage = Usage {
            cpu: (1_500_000, 250_000),
            pages: 1234,
            begun: 777,
            sleeps: true,
        };
        assert_eq!(Usage::parse(line.as_bytes()), Some(usage));
        let no_text = [b"12 (\xff", &line.as_bytes()[6..]].concat();
        assert_eq!(Usage::parse(&no_text), Some(usage));
        for bad in ["", "12 (a", "12 (a) S 1", &line.replace(" 150 ", " x ")] {
            assert_eq!(Usage::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
