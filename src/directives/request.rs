//! Directives that change how a request and its response are passed on.

use wsgi_core::directive::MapHead;

use super::flag;
use crate::httpd::command::{Directive, Place, Set, Topic};
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
        name: c"WSGIPassAuthorization",
        arguments: "On|Off",
        default: "Off",
        place: Place::FileInfo,
        help: c"On passes the Authorization header to applications",
        set: Set::Directory(|config, arguments| flag(&mut config.pass_authorization, arguments)),
    },
],
};
