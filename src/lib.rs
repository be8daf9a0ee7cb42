//! `mod_wsgi.so`, the httpd module
