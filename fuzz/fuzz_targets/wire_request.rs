//! A datagram that was decoded is encoded to the same bytes again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsgi_core::wire::Error;
use wsgi_core::wire::request::{Head, New, Request, encode};

fuzz_target!(|datagram: &[u8]| {
    let request = match Request::decode(datagram) {
        Ok(request) => request,
        Err(Error::Incomplete) => panic!("a datagram is whole"),
        Err(Error::Invalid(_)) => return,
    };
    if request.head_missing() > 0 {
        return;
    }
    let Ok((head, variables)) = Head::decode(request.head()) else {
        return;
    };
    let new = New {
        nonce: request.nonce,
        enqueued: request.enqueued,
        deadline: request.deadline,
        inode: request.inode,
        application: request.application,
        body: request.body,
    };
    let mut out = Vec::new();
    let encoded = encode(&new, &head, variables, &mut out).expect("it came from a datagram");
    assert_eq!(encoded.datagram, out.len());
    assert_eq!(out, datagram);
});
