//! What httpd sends means the same whichever pieces it arrives in.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsgi_core::wire::Error;
use wsgi_core::wire::body::{Event, Reader};
use wsgi_core::wire::frame::HEADER;

/// All bytes of head and body, how it ended, and whether the pair may be used again.
type Seen = (Vec<u8>, Vec<u8>, Option<Result<(), Vec<u8>>>, bool, Error);

fn read<'i>(chunks: impl Iterator<Item = &'i [u8]>, nonce: u64, missing: usize) -> Seen {
    let mut reader = Reader::new(nonce, missing);
    reader.want_body();
    let (mut head, mut body, mut end) = (Vec::new(), Vec::new(), None);
    let mut kept = Vec::new();
    for chunk in chunks {
        kept.extend(chunk);
        let mut rest = &kept[..];
        loop {
            match reader.next(&mut rest) {
                Ok(Event::HeadMore(piece)) => head.extend(piece),
                Ok(Event::Body(piece)) => body.extend(piece),
                Ok(Event::BodyEnd) => end = Some(Ok(())),
                Ok(Event::BodyError(reason)) => end = Some(Err(reason.to_vec())),
                Ok(Event::PipeRead) => unreachable!("nothing was piped"),
                Err(Error::Incomplete) => break,
                Err(invalid) => return (head, body, end, reader.clean(), invalid),
            }
        }
        assert!(reader.needed(rest) > rest.len());
        assert!(head.len() <= missing);
        kept = rest.to_vec();
    }
    (head, body, end, reader.clean(), Error::Incomplete)
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (step, missing, bytes) = input;
    let nonce = bytes.get(8..HEADER).map_or(0, |nonce| {
        nonce
            .iter()
            .rev()
            .fold(0, |number, &byte| number << 8 | u64::from(byte))
    });
    let at_once = read(std::iter::once(bytes), nonce, missing.into());
    let in_steps = read(bytes.chunks(usize::from(step).max(1)), nonce, missing.into());
    // Where the stream is invalid, the pieces before it may be cut at another place.
    if at_once.4 == Error::Incomplete || in_steps.4 == Error::Incomplete {
        assert_eq!(at_once, in_steps);
    }
});
