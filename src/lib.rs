//! `mod_wsgi.so`, the httpd module.
//!
//! From the top: [`module`] wires the hooks, [`directives`] and [`config`] read the configuration, [`alias`] maps URLs,
//! [`access`] says who may come in,
//! [`handler`] checks a request, finds its [`target`], which [`dispatch`] may change, and gives it to [`embedded`], which speaks to the Python [`host`], or
//! to [`daemon`], which sends it to a process that [`supervisor`] sees to. All of httpd's C API is under [`httpd`], all
//! that crosses to the host under [`host`].

mod access;
mod alias;
mod config;
mod configtest;
mod daemon;
mod directives;
mod dispatch;
mod embedded;
mod environ;
mod handler;
mod hook;
mod host;
mod httpd;
mod interpreters;
mod module;
mod script;
mod status;
mod supervisor;
mod target;
