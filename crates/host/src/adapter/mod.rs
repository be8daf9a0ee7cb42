//! The WSGI adapter (PEP 3333): a request in, calls of `Exchange` out. It knows neither httpd nor sockets, and holds
//! no `unsafe` code.
#![forbid(unsafe_code)]

mod environ;
mod errors;
mod events;
pub mod exchange;
mod failure;
mod file_wrapper;
mod hook;
mod import;
mod input;
mod live;
mod record;
mod request;
mod response;
mod script;
mod stopwatch;
mod tls;

pub use errors::Stream;
pub use events::Events;
pub use failure::text_of as text_of_error;
pub use hook::{Answer, Hook, Question, ask};
pub use import::{Imported, import};
pub use live::Live;
pub use record::{Record, Scoreboard, ScriptWatch, Server, version};
pub use request::{Request, run};
pub use response::Head;
pub use script::{Reload, Source};
