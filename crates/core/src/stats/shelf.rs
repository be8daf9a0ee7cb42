//! The pages of httpd's own processes, side by side in one file: each process takes one, and puts it back at its end.
//! What was counted on a page goes to the last one when somebody else takes it, so that sums never shrink.

use super::page::size;

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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_all() {
        let shelf = Shelf::of(16, 25);
        assert_eq!((shelf.pages, shelf.slots, shelf.last()), (33, 83, 32));
        assert!(shelf.stride() >= size(83) && shelf.stride().is_multiple_of(ALIGNMENT));
        assert_eq!(shelf.bytes(), 33 * shelf.offset(1));
        assert!(Shelf::of(u32::MAX, u32::MAX).bytes() < 1 << 40);
    }
}
