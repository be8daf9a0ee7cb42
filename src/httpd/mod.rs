//! The only place that names httpd's C API.
mod ffi;
