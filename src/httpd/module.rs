//! The module structure and its hooks (`http_config.h`).
//!
//! [`Module`] is what a module is to httpd; the trampolines below turn httpd's pointers into safe values, call it
//! behind the panic fence, and turn its answer back.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

use wsgi_core::abi::Level;

use super::auth::{self, Login, Permission, RealmHash};
use super::command::Command;
use super::fence::{fence, keep_messages};
use super::pool::Pool;
use super::request::Request;
use super::server::Server;
use super::{ffi, log, process};

/// What a hook answers to httpd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `DECLINED`: not ours.
    Declined,
    /// `OK`: done.
    Done,
    /// An HTTP status that httpd answers with, by its ErrorDocument.
    Status(u16),
    /// An output filter has answered already (`AP_FILTER_ERROR`).
    FilterAnswered,
}

impl Answer {
    pub(super) fn raw(self) -> c_int {
        match self {
            Answer::Declined => ffi::DECLINED,
            Answer::Done => ffi::OK,
            Answer::Status(status) => c_int::from(status),
            Answer::FilterAnswered => ffi::AP_FILTER_ERROR,
        }
    }
}

/// A module: its configuration and its part in each phase.
pub trait Module: Sized + 'static {
    /// Configuration of a server or virtual host.
    type Server: Send + Sync;
    /// Configuration of a directory, and of all that can be set anywhere. Plain data in a pool, for it is merged anew
    /// for requests.
    type Directory<'p>: Copy;
    /// What a URL is mapped to, kept with the request between its hooks.
    type Mapping: Sync;

    /// Name of the provider of users, for `AuthBasicProvider` and `AuthDigestProvider`.
    const USERS: &'static CStr;
    /// Name of the provider of groups, for `Require`.
    const GROUPS: &'static CStr;

    /// The one [`Record`] of this module.
    fn record() -> &'static Record<Self>;

    /// Nothing configured.
    fn server() -> Self::Server;
    /// The virtual host's over the main server's.
    fn merge_servers(outer: &Self::Server, inner: &Self::Server) -> Self::Server;
    /// Nothing configured.
    fn directory<'p>() -> Self::Directory<'p>;
    /// The inner over the outer, in that pool.
    fn merge_directories<'p>(
        pool: Pool<'p>,
        outer: &Self::Directory<'p>,
        inner: &Self::Directory<'p>,
    ) -> Self::Directory<'p>;

    /// Looks at the whole configuration, at configtest and before it is put to use; an error, which is logged, stops
    /// httpd. Runs in the parent.
    fn check_config(server: Server<'_>) -> Result<(), String>;
    /// Tells what `httpd -t` was asked to tell.
    fn test_config(server: Server<'_>);
    /// Makes ready what all children share, at start and at each restart. What `pool` owns is dropped when this
    /// configuration is given up. Runs in the parent; an error, which is logged, stops httpd.
    fn post_config(pool: Pool<'_>, server: Server<'_>) -> Result<(), String>;
    /// Looks after what the parent keeps, every few seconds. `pool` is that of the configuration.
    fn monitor(pool: Pool<'_>, server: Server<'_>);
    /// Starts what a child process needs; what the pool owns is dropped when the child ends.
    fn child_init(pool: Pool<'_>, server: Server<'_>);
    /// Maps a URL to a file.
    fn translate_name(request: Request<'_>) -> Answer;
    /// Says whether the client may come in, whoever it is. `OK` says yes as far as this module is asked.
    fn check_access(request: Request<'_>) -> Answer;
    /// Says whether a user has this password.
    fn check_password(request: Request<'_>, user: &[u8], password: &[u8]) -> Login;
    /// Finds the hash by which a user's digests are checked.
    fn realm_hash(request: Request<'_>, user: &[u8], realm: &[u8]) -> RealmHash;
    /// Says whether the user is in one of the groups that `Require` names.
    fn check_groups(request: Request<'_>, names: &[u8]) -> Permission;
    /// Answers a request.
    fn handler(request: Request<'_>) -> Answer;
}

/// The exported `module` structure, which httpd reads and writes.
#[repr(transparent)]
pub struct Record<M> {
    raw: UnsafeCell<ffi::module>,
    module: PhantomData<fn() -> M>,
}

// SAFETY: httpd writes to it only while it is single-threaded (loading the module, reading the configuration).
unsafe impl<M> Sync for Record<M> {}

impl<M: Module> Record<M> {
    /// The structure for a module of that file name (`mod_x.c`, as in `<IfModule>`) and table of directives.
    pub const fn new(name: &'static CStr, commands: &'static [Command<M>]) -> Record<M> {
        Record {
            raw: UnsafeCell::new(ffi::module {
                version: ffi::MODULE_MAGIC_NUMBER_MAJOR,
                minor_version: ffi::MODULE_MAGIC_NUMBER_MINOR,
                module_index: -1,
                name: name.as_ptr(),
                dynamic_load_handle: ptr::null_mut(),
                next: ptr::null_mut(),
                magic: ffi::MODULE_MAGIC_COOKIE as _,
                rewrite_args: None,
                create_dir_config: Some(create_directory::<M>),
                merge_dir_config: Some(merge_directories::<M>),
                create_server_config: Some(create_server::<M>),
                merge_server_config: Some(merge_servers::<M>),
                cmds: commands.as_ptr().cast(),
                register_hooks: Some(register_hooks::<M>),
                flags: 0,
            }),
            module: PhantomData,
        }
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::module {
        self.raw.get()
    }

    /// The number under which httpd keeps this module's configuration and log level.
    pub(super) fn index(&self) -> c_int {
        // SAFETY: written only before there are threads.
        unsafe { (*self.as_ptr()).module_index }
    }
}

/// # Safety
/// httpd calls it while it reads the configuration: `pool` is live and the process single-threaded.
unsafe extern "C" fn create_server<M: Module>(pool: *mut ffi::apr_pool_t, _: *mut ffi::server_rec) -> *mut c_void {
    fence(ptr::null_mut(), startup_report, || {
        // SAFETY: the caller's promise.
        ptr::from_mut(unsafe { Pool::from_ptr(pool) }.own(M::server())).cast()
    })
}

/// # Safety
/// As [`create_server`]; both configurations came from it or from here.
unsafe extern "C" fn merge_servers<M: Module>(
    pool: *mut ffi::apr_pool_t,
    outer: *mut c_void,
    inner: *mut c_void,
) -> *mut c_void {
    fence(inner, startup_report, || {
        // SAFETY: the caller's promise.
        let (pool, outer, inner) = unsafe { (Pool::from_ptr(pool), &*outer.cast(), &*inner.cast()) };
        ptr::from_mut(pool.own(M::merge_servers(outer, inner))).cast()
    })
}

/// # Safety
/// `pool` is live and the calling thread's.
unsafe extern "C" fn create_directory<M: Module>(pool: *mut ffi::apr_pool_t, _: *mut c_char) -> *mut c_void {
    fence(ptr::null_mut(), startup_report, || {
        // SAFETY: the caller's promise.
        ptr::from_mut(unsafe { Pool::from_ptr(pool) }.place(M::directory())).cast()
    })
}

/// # Safety
/// As [`create_directory`]; both configurations came from it or from here, and live as long as `pool`.
unsafe extern "C" fn merge_directories<M: Module>(
    pool: *mut ffi::apr_pool_t,
    outer: *mut c_void,
    inner: *mut c_void,
) -> *mut c_void {
    fence(inner, startup_report, || {
        // SAFETY: the caller's promise.
        let (pool, outer, inner) = unsafe { (Pool::from_ptr(pool), &*outer.cast(), &*inner.cast()) };
        ptr::from_mut(pool.place(M::merge_directories(pool, outer, inner))).cast()
    })
}

/// # Safety
/// httpd calls it once per configuration, single-threaded.
unsafe extern "C" fn register_hooks<M: Module>(pool: *mut ffi::apr_pool_t) {
    // SAFETY: the functions have the types of their hooks and stay loaded (-z nodelete); no order is asked for except
    // where it is said, and that aliases are looked up early, as mod_alias does, so that DocumentRoot mapping comes after.
    unsafe {
        ffi::ap_hook_check_config(Some(check_config::<M>), ptr::null(), ptr::null(), ffi::APR_HOOK_MIDDLE);
        ffi::ap_hook_test_config(Some(test_config::<M>), ptr::null(), ptr::null(), ffi::APR_HOOK_MIDDLE);
        ffi::ap_hook_post_config(Some(post_config::<M>), ptr::null(), ptr::null(), ffi::APR_HOOK_MIDDLE);
        ffi::ap_hook_monitor(Some(monitor::<M>), ptr::null(), ptr::null(), ffi::APR_HOOK_MIDDLE);
        // Before other modules start threads in the child, as mod_http2 does.
        ffi::ap_hook_child_init(Some(child_init::<M>), ptr::null(), ptr::null(), ffi::APR_HOOK_FIRST);
        ffi::ap_hook_translate_name(
            Some(translate_name::<M>),
            AFTER_ALIAS.0.as_ptr(),
            ptr::null(),
            ffi::APR_HOOK_MIDDLE,
        );
        auth::register::<M>(pool);
        ffi::ap_hook_handler(Some(handler::<M>), ptr::null(), ptr::null(), ffi::APR_HOOK_MIDDLE);
    }
}

struct Names([*const c_char; 2]);
// SAFETY: pointers to constant strings.
unsafe impl Sync for Names {}
/// mod_alias goes first: an `Alias` for static files inside an application's URLs keeps working.
static AFTER_ALIAS: Names = Names([c"mod_alias.c".as_ptr(), ptr::null()]);

/// # Safety
/// httpd passes live pools and the main server, single-threaded.
unsafe extern "C" fn check_config<M: Module>(
    _: *mut ffi::apr_pool_t,
    _: *mut ffi::apr_pool_t,
    _: *mut ffi::apr_pool_t,
    server: *mut ffi::server_rec,
) -> c_int {
    // SAFETY: the caller's promise.
    configured::<M>(unsafe { Server::from_ptr(server) }, M::check_config)
}

/// # Safety
/// As [`check_config`].
unsafe extern "C" fn test_config<M: Module>(_: *mut ffi::apr_pool_t, server: *mut ffi::server_rec) {
    // SAFETY: the caller's promise.
    let server = unsafe { Server::from_ptr(server) };
    fence((), startup_report, || M::test_config(server));
}

/// # Safety
/// As [`check_config`].
unsafe extern "C" fn post_config<M: Module>(
    pool: *mut ffi::apr_pool_t,
    _: *mut ffi::apr_pool_t,
    _: *mut ffi::apr_pool_t,
    server: *mut ffi::server_rec,
) -> c_int {
    // SAFETY: the caller's promise.
    let (pool, server) = unsafe { (Pool::from_ptr(pool), Server::from_ptr(server)) };
    configured::<M>(server, |server| M::post_config(pool, server))
}

/// # Safety
/// As [`check_config`].
unsafe extern "C" fn monitor<M: Module>(pool: *mut ffi::apr_pool_t, server: *mut ffi::server_rec) -> c_int {
    // SAFETY: the caller's promise.
    let (pool, server) = unsafe { (Pool::from_ptr(pool), Server::from_ptr(server)) };
    let report = |text: &str| log::server::<M>(server, Level::Critical, format!("WSGI0105: {text}").as_bytes());
    fence((), report, || M::monitor(pool, server));
    ffi::OK
}

fn configured<M: Module>(server: Server<'_>, hook: impl FnOnce(Server<'_>) -> Result<(), String>) -> c_int {
    if process::is_first_pass() {
        return ffi::OK; // At start httpd reads everything twice and uses the second reading.
    }
    let report = |text: &str| log::server::<M>(server, Level::Critical, text.as_bytes());
    let failed = || Err("WSGI0100: the module failed while it looked at the configuration".to_owned());
    match fence(None, report, || Some(hook(server))).unwrap_or_else(failed) {
        Ok(()) => ffi::OK,
        Err(reason) => {
            log::server::<M>(server, Level::Critical, reason.as_bytes());
            ffi::HTTP_INTERNAL_SERVER_ERROR
        }
    }
}

/// # Safety
/// httpd passes the child's pool and the main server, before the child has other threads.
unsafe extern "C" fn child_init<M: Module>(pool: *mut ffi::apr_pool_t, server: *mut ffi::server_rec) {
    // SAFETY: the caller's promise.
    let (pool, server) = unsafe { (Pool::from_ptr(pool), Server::from_ptr(server)) };
    keep_messages();
    let report = |text: &str| log::server::<M>(server, Level::Critical, format!("WSGI0101: {text}").as_bytes());
    fence((), report, || M::child_init(pool, server));
}

/// # Safety
/// httpd passes a live request of this thread.
unsafe extern "C" fn translate_name<M: Module>(request: *mut ffi::request_rec) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { answer::<M>(request, M::translate_name) }
}

/// # Safety
/// As [`translate_name`].
unsafe extern "C" fn handler<M: Module>(request: *mut ffi::request_rec) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { answer::<M>(request, M::handler) }
}

/// # Safety
/// `request` is a live request of this thread.
unsafe fn answer<M: Module>(request: *mut ffi::request_rec, hook: fn(Request<'_>) -> Answer) -> c_int {
    // SAFETY: the caller's promise; the borrow ends with the hook call.
    let request = unsafe { Request::from_ptr(request) };
    let report = |text: &str| log::request::<M>(request, Level::Error, format!("WSGI0102: {text}").as_bytes());
    fence(Answer::Status(500), report, || hook(request)).raw()
}

/// Before there is a log: standard error, which httpd shows or logs.
fn startup_report(text: &str) {
    process::tell(&format!("WSGI0103: {text}\n"));
}
