//! The only place that names httpd's C API: a safe face on the parts of it that the module uses.
//!
//! Values borrowed from a `request_rec`, a pool or a `server_rec` carry the lifetime of the hook call that passed them,
//! and none of these types is `Send`: nothing of httpd's leaves the call or the thread it was handed to.

pub mod auth;
pub mod body;
pub mod brigade;
pub mod cgi;
pub mod child;
pub mod command;
pub mod fence;
mod ffi;
pub mod kept;
pub mod log;
pub mod module;
pub mod page;
pub mod pool;
pub mod process;
pub mod regex;
pub mod reply;
pub mod request;
pub mod scoreboard;
pub mod server;
pub mod table;
mod text;
pub mod tree;
