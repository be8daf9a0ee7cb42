//! The pages of httpd's own processes, side by side in one file: each process takes one, and puts it back at its end.
//! What was counted on a page goes to the last one when somebody else takes it, so that sums never shrink.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::page::size;
use super::proc::Usage;
use super::reading::Reading;
use super::report::{Group, Process, Sums};

/// Pages begin at multiples of this: of the system's pages of memory, whatever their size is.
const ALIGNMENT: usize = 64 * 1024;

/// How many pages, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shelf {
    /// Pages, the last one with them.
    pub pages: u32,
    /// Slots of each.
    pub slots: u32,
}

impl Shelf {
    /// Enough for so many processes of so many threads: twice as many processes, for those that an old configuration
    /// has left, and slots for threads beside those of the MPM (mod_http2 has its own).
    pub fn of(processes: u32, threads: u32) -> Shelf {
        Shelf {
            pages: processes.saturating_mul(2).min(4096) + 1,
            slots: threads.saturating_mul(3).min(4096) + 8,
        }
    }

    /// Bytes from one page to the next.
    pub fn stride(self) -> usize {
        size(self.slots as usize).next_multiple_of(ALIGNMENT)
    }

    /// Bytes of the file.
    pub fn bytes(self) -> u64 {
        self.offset(self.pages)
    }

    /// Where a page begins.
    pub fn offset(self, page: u32) -> u64 {
        self.stride() as u64 * u64::from(page)
    }

    /// The number of the page for sums.
    pub fn last(self) -> u32 {
        self.pages.saturating_sub(1)
    }

    /// The group that httpd's own processes are, as the file says; `now` in µs of `CLOCK_MONOTONIC`, and the size of the
    /// system's pages of memory.
    pub fn group(self, file: &File, now: u64, page_size: u64) -> Group {
        let mut group = Group {
            state: "ready".to_owned(),
            ..Group::default()
        };
        let mut sums = Sums::default();
        for page in 0..self.pages {
            let Some(reading) = self.read(file, page) else { continue };
            // A process that was killed has left its page as it was, and its number may be another's.
            let usage = Usage::of_same(reading.pid, reading.begun).filter(|_| page != self.last());
            let Some(usage) = usage else {
                sums.retire(&reading, (0, 0));
                continue;
            };
            sums.add(&reading, usage.cpu);
            let mut process = Process {
                pid: u32::try_from(reading.pid).unwrap_or(0),
                state: "serving".to_owned(),
                started_us: reading.started,
                cpu_user_us: usage.cpu.0,
                cpu_system_us: usage.cpu.1,
                memory: usage.pages.saturating_mul(page_size),
                ..Process::default()
            };
            process.show(&reading, now);
            group.processes.push(process);
        }
        sums.show(&mut group, now);
        group
    }

    fn read(self, file: &File, page: u32) -> Option<Reading> {
        // Most pages were never used.
        let mut magic = [0; 8];
        file.read_exact_at(&mut magic, self.offset(page)).ok()?;
        if magic == [0; 8] {
            return None;
        }
        let mut bytes = vec![0; self.stride()];
        file.read_exact_at(&mut bytes, self.offset(page)).ok()?;
        Reading::of_bytes(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::super::page::{Ended, Page};
    use super::*;

    /// A page on which a process of that number, which began then, has counted one request.
    fn counted(file: &File, shelf: Shelf, number: u32, pid: u32, begun: u64) {
        let words: Vec<AtomicU64> = (0..size(shelf.slots as usize) / 8).map(|_| AtomicU64::new(0)).collect();
        let page = Page::of(&words).unwrap();
        page.begin(pid, 5, begun);
        let slot = page.take_slot(1, 1).unwrap();
        slot.begin(1, (0, 0), (b"GET", b"/"), b"");
        slot.end(
            &page,
            1,
            &Ended {
                status: 200,
                ..Ended::default()
            },
        );
        let bytes: Vec<u8> = page.copy().iter().flat_map(|word| word.to_ne_bytes()).collect();
        file.write_all_at(&bytes, shelf.offset(number)).unwrap();
    }

    #[test]
    fn the_living_and_the_dead() {
        let shelf = Shelf::of(2, 1);
        let file = tempfile::tempfile().unwrap();
        file.set_len(shelf.bytes()).unwrap();
        let (own, begun) = (std::process::id(), Usage::of("self").unwrap().begun);
        counted(&file, shelf, 0, own, begun);
        // Its number is this process's now.
        counted(&file, shelf, 1, own, begun + 1);
        counted(&file, shelf, shelf.last(), own, begun);
        let group = shelf.group(&file, 1, 4096);
        assert_eq!((group.requests.completed, group.requests.status), (3, [0, 3, 0, 0, 0]));
        let [process] = &group.processes[..] else {
            panic!("one process")
        };
        assert_eq!(
            (process.pid, process.started_us, process.requests.completed),
            (own, 5, 1)
        );
        assert!(process.memory > 0);
        file.set_len(100).unwrap();
        assert_eq!(shelf.group(&file, 1, 4096).processes, []);
    }

    #[test]
    fn room_for_all() {
        let shelf = Shelf::of(16, 25);
        assert_eq!((shelf.pages, shelf.slots, shelf.last()), (33, 83, 32));
        assert!(shelf.stride() >= size(83) && shelf.stride().is_multiple_of(ALIGNMENT));
        assert_eq!(shelf.bytes(), 33 * shelf.offset(1));
        assert!(Shelf::of(u32::MAX, u32::MAX).bytes() < 1 << 40);
    }
}
