//! `mod_wsgi.so`, the httpd module.
mod httpd;
