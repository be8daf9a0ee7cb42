//! What a daemon counts, in a memfd that the supervisor can still read when the daemon is dead.

use crate::wire::Error;
use crate::wire::field::Fields;

/// Bytes of the page that are in use.
pub const SIZE: usize = 24;

/// A daemon's numbers. They are its own word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that it has completed.
    pub completed: u64,
    /// Requests that it runs.
    pub running: u64,
    /// When it last wrote this, in µs of `CLOCK_MONOTONIC`.
    pub heartbeat: u64,
}

impl Stats {
    /// The page's bytes.
    pub fn encode(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&self.completed.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.running.to_le_bytes());
        bytes[16..].copy_from_slice(&self.heartbeat.to_le_bytes());
        bytes
    }

    /// Reads the page's bytes.
    ///
    /// # Errors
    /// When they are too few.
    pub fn decode(bytes: &[u8]) -> Result<Stats, Error> {
        let mut fields = Fields::whole(bytes);
        Ok(Stats {
            completed: fields.u64()?,
            running: fields.u64()?,
            heartbeat: fields.u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roundtrip() {
        let stats = Stats {
            completed: 5,
            running: u64::MAX,
            heartbeat: 1,
        };
        assert_eq!(Stats::decode(&stats.encode()), Ok(stats));
        assert_eq!(Stats::decode(&[0; SIZE]), Ok(Stats::default()));
        assert!(Stats::decode(&[0; SIZE - 1]).is_err());
    }
}
