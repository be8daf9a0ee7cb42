//! Servers and virtual hosts (`server_rec` of `httpd.h`).

use std::ffi::c_void;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::time::Duration;

use super::module::Module;
use super::{ffi, text};

/// Names one server of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerId(usize);

/// A server or virtual host; it lives as long as its configuration.
#[derive(Clone, Copy)]
pub struct Server<'s> {
    raw: NonNull<ffi::server_rec>,
    borrowed: PhantomData<&'s ()>,
}

impl<'s> Server<'s> {
    /// # Safety
    /// `raw` is a live server for `'s`.
    pub(super) unsafe fn from_ptr(raw: *mut ffi::server_rec) -> Server<'s> {
        Server {
            raw: NonNull::new(raw).expect("httpd passes a server"),
            borrowed: PhantomData,
        }
    }

    pub(super) fn as_ptr(self) -> *mut ffi::server_rec {
        self.raw.as_ptr()
    }

    /// What the module's directives outside of every section for a place say, for requests to this server.
    pub fn defaults<M: Module>(self) -> &'s M::Directory<'s> {
        // SAFETY: made by the module's create or merge function, in a pool that lives as long as the configuration.
        unsafe {
            let config = (*self.as_ptr()).lookup_defaults;
            &*ffi::ap_get_module_config(config, M::record().as_ptr()).cast()
        }
    }

    /// The server as a callback's context.
    pub fn into_context(self) -> *mut c_void {
        self.as_ptr().cast()
    }

    /// The server that [`Server::into_context`] was called on.
    ///
    /// # Safety
    /// `context` came from there, and its configuration is still alive.
    pub unsafe fn from_context(context: *mut c_void) -> Server<'s> {
        // SAFETY: the caller's promise.
        unsafe { Server::from_ptr(context.cast()) }
    }

    /// The server outside of every `<VirtualHost>`.
    pub fn main(self) -> Server<'s> {
        // SAFETY: set for as long as there is a configuration, and `self` shows that there is one.
        unsafe { Server::from_ptr(ffi::ap_server_conf) }
    }

    /// The main server, which this is, and all virtual hosts in the order of the configuration.
    pub fn all(self) -> impl Iterator<Item = Server<'s>> {
        let next = |server: &Server<'s>| {
            // SAFETY: the list of the configuration's servers, which live equally long.
            let next = unsafe { (*server.as_ptr()).next };
            // SAFETY: as above.
            (!next.is_null()).then(|| unsafe { Server::from_ptr(next) })
        };
        let mut hosts: Vec<Server<'s>> = std::iter::successors(next(&self), next).collect();
        // httpd puts each in front of those that it has read before.
        hosts.reverse();
        std::iter::once(self).chain(hosts)
    }

    /// A `<VirtualHost>`, not the main server.
    pub fn is_virtual(self) -> bool {
        // SAFETY: a live server.
        unsafe { (*self.as_ptr()).is_virtual != 0 }
    }

    /// What tells it from the other servers of its configuration.
    pub fn id(self) -> ServerId {
        ServerId(self.as_ptr().addr())
    }

    /// The file or pipe that `ErrorLog` leads to, once the logs are open; `None` where the log is no such thing (syslog).
    pub fn error_log(self) -> Option<BorrowedFd<'s>> {
        // SAFETY: a live server; its log stays open as long as the configuration.
        unsafe {
            let log = (*self.as_ptr()).error_log;
            let mut fd: ffi::apr_os_file_t = -1;
            let known = !log.is_null() && ffi::apr_os_file_get(&raw mut fd, log) == 0 && fd >= 0;
            known.then(|| BorrowedFd::borrow_raw(fd))
        }
    }

    /// `ServerName`, or what httpd made up.
    pub fn hostname(self) -> &'s [u8] {
        // SAFETY: a live server; its name is the configuration's.
        unsafe { text::bytes((*self.as_ptr()).server_hostname) }
    }

    /// `Timeout`.
    pub fn timeout(self) -> Duration {
        // SAFETY: a live server. µs, positive.
        let micros = unsafe { (*self.as_ptr()).timeout };
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// The module's configuration of this server.
    pub fn config<M: Module>(self) -> &'s M::Server {
        // SAFETY: the entry was made by this module's create or merge function; it is changed only while the
        // configuration is read, when no hook holds such a reference.
        unsafe { &*ffi::ap_get_module_config((*self.as_ptr()).module_config, M::record().as_ptr()).cast() }
    }
}
