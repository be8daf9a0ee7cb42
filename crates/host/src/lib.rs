//! `wsgi_host.abi3.so`: everything of mod_wsgi_rs that touches Python. One file serves each CPython from 3.10 on; the
//! process that loads it has loaded that Python before.
//!
//! `embedded` → `slow` → `frames` → `host` → `api` → `adapter` → `stats` → `python`: each calls downwards only.

mod adapter;
mod api;
mod embedded;
mod environment;
mod fence;
mod frames;
mod gate;
mod host;
mod python;
mod slow;
mod stats;
mod worker;
