//! Each control message that was decoded is encoded to the same bytes again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsgi_core::wire::control::daemon::{FromDaemon, ToDaemon};
use wsgi_core::wire::control::parent::{FromSupervisor, ToSupervisor};
use wsgi_core::wire::control::status;

fuzz_target!(|message: &[u8]| {
    if let Ok(decoded) = FromDaemon::decode(message) {
        assert_eq!(decoded.encode().as_deref(), Ok(message));
    }
    if let Ok(decoded) = ToDaemon::decode(message) {
        assert_eq!(decoded.encode().as_deref(), Ok(message));
    }
    if let Ok(decoded) = FromSupervisor::decode(message) {
        assert_eq!(decoded.encode().as_deref(), Ok(message));
    }
    if let Ok(decoded) = ToSupervisor::decode(message) {
        // A log level that nobody knows is read as the nearest that is known.
        let again = decoded.encode().expect("it came from a message");
        assert_eq!(ToSupervisor::decode(&again), Ok(decoded));
        assert_eq!(again.len(), message.len());
    }
    if let Ok(slot) = message.try_into() {
        status::decode(slot);
    }
});
