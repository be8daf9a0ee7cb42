//! Directives that change how a request and its response are passed on.

use wsgi_core::directive::{MapHead, Refusal};
use wsgi_core::proxy::{Header, Network};

use super::flag;
use crate::httpd::command::{Arguments, Directive, Place, Set, Topic};
use crate::module::Wsgi;

/// The rows.
pub const REQUEST: Topic<Wsgi> = Topic {
    title: "Requests and responses",
    directives: &[
    Directive {
        name: c"WSGIChunkedRequest",
        arguments: "On|Off",
        default: "Off",
        place: Place::FileInfo,
        help: c"On lets requests with a chunked body through to the application",
        set: Set::Directory(|config, arguments| flag(&mut config.chunked_request, arguments)),
    },
    Directive {
        name: c"WSGIEnableSendfile",
        arguments: "On|Off",
        default: "Off",
        place: Place::FileInfo,
        help: c"On lets files that applications return through wsgi.file_wrapper be sent by sendfile",
        set: Set::Directory(|config, arguments| flag(&mut config.enable_sendfile, arguments)),
    },
        Directive {
            name: c"WSGIErrorOverride",
            arguments: "On|Off",
            default: "Off",
            place: Place::FileInfo,
            help: c"On answers by httpd's ErrorDocument what a daemon's application answers with a status from 400 to 599",
            set: Set::Directory(|config, arguments| flag(&mut config.error_override, arguments)),
        },
    Directive {
        name: c"WSGIIgnoreActivity",
        arguments: "On|Off",
        default: "Off",
        place: Place::FileInfo,
        help: c"On leaves requests here out of the daemons' inactivity-timeout",
        set: Set::Directory(|config, arguments| flag(&mut config.ignore_activity, arguments)),
    },
    Directive {
        name: c"WSGIMapHEADToGET",
        arguments: "On|Off|Auto",
        default: "Auto",
        place: Place::FileInfo,
        help: c"Whether applications see HEAD requests as GET: On, Off, or Auto (when an output filter works on the content)",
        set: Set::Directory(|config, arguments| {
            config.map_head = Some(MapHead::parse(&arguments.words().only("On, Off or Auto")?)?);
            Ok(())
        }),
    },
        Directive {
            name: c"WSGIPassApacheRequest",
            arguments: "On|Off",
            default: "Off",
            place: Place::Directory,
            help: c"On puts httpd's request_rec into environ as apache.request_rec, in httpd's own processes",
            set: Set::Directory(|config, arguments| flag(&mut config.pass_apache_request, arguments)),
        },
    Directive {
        name: c"WSGIPassAuthorization",
        arguments: "On|Off",
        default: "Off",
        place: Place::FileInfo,
        help: c"On passes the Authorization header to applications",
        set: Set::Directory(|config, arguments| flag(&mut config.pass_authorization, arguments)),
    },
    Directive {
        name: c"WSGITrustedProxies",
        arguments: "address|network …",
        default: "all are trusted",
        place: Place::FileInfo,
        help: c"IP addresses and networks of the proxies that are believed what the headers of WSGITrustedProxyHeaders say",
        set: Set::Directory(|config, arguments| {
            let mut networks = config.trusted_proxies.cloned().unwrap_or_default();
            for word in words(arguments, "address or network")? {
                networks.push(Network::parse(&word)?);
            }
            config.trusted_proxies = Some(arguments.pool.own(networks));
            Ok(())
        }),
    },
    Directive {
        name: c"WSGITrustedProxyHeaders",
        arguments: "header …",
        default: "none",
        place: Place::FileInfo,
        help: c"Request headers that are believed about the client and the address that it asked for, such as X-Forwarded-For",
        set: Set::Directory(|config, arguments| {
            let mut headers = config.trusted_proxy_headers.cloned().unwrap_or_default();
            for word in words(arguments, "name of a header")? {
                headers.extend(Header::parse(&word)?);
            }
            config.trusted_proxy_headers = Some(arguments.pool.own(headers));
            Ok(())
        }),
    },
],
};

/// All words, at least one.
fn words(arguments: &Arguments<'_>, what: &str) -> Result<Vec<Vec<u8>>, Refusal> {
    let mut words = arguments.words();
    let first = words.required(what)?;
    Ok(std::iter::once(first)
        .chain(std::iter::from_fn(|| words.word()))
        .collect())
}
