//! The system, safely: the only folder of this program with unsafe code.

pub mod clock;
pub mod process;
pub mod signal;
pub mod socket;
