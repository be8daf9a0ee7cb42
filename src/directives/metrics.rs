//! Directives of what is counted and reported.

use wsgi_core::directive::seconds;

use super::flag;
use crate::config::ServerConfig;
use crate::httpd::command::{Directive, Place, Set, Topic};
use crate::module::Wsgi;

/// The rows.
pub const METRICS: Topic<Wsgi> = Topic {
    title: "Metrics",
    directives: &[
        Directive {
            name: c"WSGIServerMetrics",
            arguments: "On|Off",
            default: "Off",
            place: Place::Main,
            help:
                c"On lets applications in httpd's own processes call mod_wsgi.server_metrics(); for daemons there is server-metrics=",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                flag(&mut config.global.metrics.server_metrics, arguments)
            }),
        },
        Directive {
            name: c"WSGISlowRequests",
            arguments: "seconds",
            default: "0",
            place: Place::Main,
            help: c"Requests that take longer than so many seconds are reported; 0: none",
            set: Set::Server(|config: &mut ServerConfig, arguments| {
                config.global.metrics.slow_requests = seconds(&arguments.words().only("number of seconds")?)?;
                Ok(())
            }),
        },
    ],
};
