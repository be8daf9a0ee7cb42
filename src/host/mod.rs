//! The way to the Python host, the only place that passes raw pointers over `wsgi_core::abi`.

mod exchange;
mod inquiry;
mod library;
mod variables;

pub use exchange::Exchange;
pub use inquiry::Inquiry;
pub use library::{Host, Start};
pub use variables::Variables;
