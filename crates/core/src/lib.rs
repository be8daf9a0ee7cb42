//! Ground of mod_wsgi_rs: what is true without httpd and without Python.
//!
//! Everything here is plain data and pure functions, tested in place. It names neither httpd nor Python, so that the
//! module, the Python host and the command-line tools can all stand on it.
#![forbid(unsafe_code)]

pub mod abi;
pub mod alias;
pub mod clock;
pub mod configtest;
pub mod daemon_options;
pub mod directive;
pub mod doze;
pub mod group;
pub mod header;
pub mod interpreter;
pub mod keeping;
pub mod limits;
pub mod log_line;
pub mod proxy;
pub mod python;
pub mod repeats;
pub mod stats;
pub mod status;
pub mod supervision;
pub mod turns;
pub mod wire;

/// The mod_wsgi release whose behaviour and Python API this project offers; applications read it as `mod_wsgi.version`.
pub const API_VERSION: (i64, i64, i64) = (6, 1, 1);
