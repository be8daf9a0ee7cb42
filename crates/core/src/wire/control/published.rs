//! A text that is published in a file in memory: one process at a time writes it anew, others read it meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread::sleep;
use std::time::Duration;

/// Longest text that is read. The report on a server with thousands of threads has a few MB.
pub const MAX_TEXT: u64 = 64 << 20;

/// Bytes before a text that say how it is: a number that is odd while it is written, and its length.
const HEAD: usize = 16;

/// How often a text is looked for that is just being written. That takes a moment.
const TRIES: usize = 50;

/// Puts a text there, in place of the one before.
///
/// # Errors
/// The system's. Nobody reads anything then until the next one is whole.
pub fn write(file: &File, at: u64, text: &[u8]) -> io::Result<()> {
    let mut head = [0; HEAD];
    // A file that is new has none.
    let _ = file.read_at(&mut head, at)?;
    let begun = numbers(head).0 | 1;
    let length = text.len() as u64;
    file.write_all_at(&encode(begun, length), at)?;
    file.write_all_at(text, at + HEAD as u64)?;
    file.write_all_at(&encode(begun.wrapping_add(1), length), at)
}

/// The text there; `None` if there is none, or none that is whole.
pub fn read(file: &File, at: u64) -> Option<Vec<u8>> {
    let head = || {
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, at).ok()?;
        whole(head)
    };
    for _ in 0..TRIES {
        if let Some((number, length)) = head() {
            let mut text = vec![0; usize::try_from(length).ok()?];
            if file.read_exact_at(&mut text, at + HEAD as u64).is_ok() && head() == Some((number, length)) {
                return Some(text);
            }
        }
        sleep(Duration::from_millis(1));
    }
    None
}

fn encode(number: u64, length: u64) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&number.to_le_bytes());
    head[8..].copy_from_slice(&length.to_le_bytes());
    head
}

fn numbers(head: [u8; HEAD]) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, length @ ..] = head;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(length))
}

/// Number and length of a text that is whole.
fn whole(head: [u8; HEAD]) -> Option<(u64, u64)> {
    Some(numbers(head)).filter(|(number, length)| *number != 0 && number % 2 == 0 && *length <= MAX_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_follow_each_other() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(read(&file, 32), None);
        for text in ["a long one at first", "short", ""] {
            write(&file, 32, text.as_bytes()).unwrap();
            assert_eq!(read(&file, 32).as_deref(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn half_a_text_is_none() {
        let file = tempfile::tempfile().unwrap();
        write(&file, 0, b"whole").unwrap();
        // Its writer ended before it was done.
        file.write_all_at(&encode(3, 5), 0).unwrap();
        assert_eq!(read(&file, 0), None);
        write(&file, 0, b"again").unwrap();
        assert_eq!(read(&file, 0).as_deref(), Some(&b"again"[..]));
        for head in [encode(0, 1), encode(2, MAX_TEXT + 1), encode(2, 100)] {
            file.write_all_at(&head, 0).unwrap();
            assert_eq!(read(&file, 0), None);
        }
    }
}
