//! What a daemon sends means the same whichever pieces it arrives in, and is never kept beyond its bound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsgi_core::wire::frame::HEADER;
use wsgi_core::wire::reply::{Event, Reader};
use wsgi_core::wire::{Error, MAX_REPLY_HEAD};

/// The events as text, bytes of data joined, and the error that ended them.
fn read<'i>(chunks: impl Iterator<Item = &'i [u8]>, nonce: u64) -> (String, Error) {
    let mut reader = Reader::new(nonce, true);
    let mut seen = String::new();
    let mut kept = Vec::new();
    let mut within_data = false;
    for chunk in chunks {
        kept.extend(chunk);
        let mut rest = &kept[..];
        loop {
            match reader.next(&mut rest) {
                Ok(Event::Data(piece)) => {
                    assert!(!piece.is_empty());
                    if !within_data {
                        seen.push_str("\ndata ");
                    }
                    within_data = true;
                    seen.extend(piece.iter().map(|&byte| char::from(byte)));
                }
                Ok(event) => {
                    within_data = false;
                    seen.push_str(&format!("\n{event:?}"));
                }
                Err(Error::Incomplete) => break,
                Err(invalid) => return (seen, invalid),
            }
        }
        let needed = reader.needed(rest);
        assert!(needed > rest.len() && needed <= HEADER + MAX_REPLY_HEAD);
        kept = rest.to_vec();
    }
    (seen, Error::Incomplete)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    // The nonce is taken from the first frame, or nothing would ever match.
    let nonce = bytes.get(8..HEADER).map_or(0, |nonce| {
        nonce
            .iter()
            .rev()
            .fold(0, |number, &byte| number << 8 | u64::from(byte))
    });
    let at_once = read(std::iter::once(bytes), nonce);
    let in_steps = read(bytes.chunks(usize::from(step).max(1)), nonce);
    assert_eq!(at_once, in_steps);
});
