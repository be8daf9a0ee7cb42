//! Who may come in: the access checker (`http_request.h`), and the providers of users and groups (`mod_auth.h`) that
//! `AuthBasicProvider`, `AuthDigestProvider` and `Require` name.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use wsgi_core::abi::Level;
use wsgi_core::directive::Words;

use super::fence::fence;
use super::module::{Answer, Module};
use super::request::Request;
use super::{ffi, log, text};

/// What a provider says about user and password (`authn_status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// They belong together.
    Granted,
    /// They do not.
    Denied,
    /// There is no such user; the next provider is asked.
    UnknownUser,
    /// It cannot be said: 500.
    Failed,
}

/// What a provider says about a user of Digest authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RealmHash {
    /// The MD5 of `user:realm:password`, in hexadecimal digits.
    Found(Vec<u8>),
    /// There is no such user; the next provider is asked.
    UnknownUser,
    /// It cannot be said: 500.
    Failed,
}

/// What a provider says about a line of `Require` (`authz_status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// The user meets it.
    Granted,
    /// He does not.
    Denied,
    /// Nobody knows yet who it is: httpd authenticates first.
    NoUser,
    /// It cannot be said.
    Failed,
}

/// Registers the module's hook and providers.
///
/// # Safety
/// httpd registers hooks; `pool` is that of the configuration.
pub(super) unsafe fn register<M: Module>(pool: *mut ffi::apr_pool_t) {
    // Both depend on the place's configuration alone: requests that httpd makes for itself in the same place, such as
    // those for DirectoryIndex, need not ask again.
    let kind = ffi::AP_AUTH_INTERNAL_PER_CONF;
    // SAFETY: the caller's promise; names and providers are constant, and stay loaded (-z nodelete).
    unsafe {
        ffi::ap_hook_check_access(
            Some(check_access::<M>),
            ptr::null(),
            ptr::null(),
            ffi::APR_HOOK_MIDDLE,
            kind,
        );
        ffi::ap_register_auth_provider(
            pool,
            ffi::AUTHN_PROVIDER_GROUP.as_ptr().cast(),
            M::USERS.as_ptr(),
            ffi::AUTHN_PROVIDER_VERSION.as_ptr().cast(),
            ptr::from_ref(
                const {
                    &ffi::authn_provider {
                        check_password: Some(check_password::<M>),
                        get_realm_hash: Some(get_realm_hash::<M>),
                    }
                },
            )
            .cast(),
            kind,
        );
        ffi::ap_register_auth_provider(
            pool,
            ffi::AUTHZ_PROVIDER_GROUP.as_ptr().cast(),
            M::GROUPS.as_ptr(),
            ffi::AUTHZ_PROVIDER_VERSION.as_ptr().cast(),
            ptr::from_ref(
                const {
                    &ffi::authz_provider {
                        check_authorization: Some(check_authorization::<M>),
                        parse_require_line: Some(parse_require_line),
                    }
                },
            )
            .cast(),
            kind,
        );
    }
}

/// # Safety
/// httpd passes a live request of this thread.
unsafe extern "C" fn check_access<M: Module>(request: *mut ffi::request_rec) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { guarded::<M, _>(request, Answer::Status(500), M::check_access) }.raw()
}

/// # Safety
/// httpd passes a live request of this thread and strings that live as long.
unsafe extern "C" fn check_password<M: Module>(
    request: *mut ffi::request_rec,
    user: *const c_char,
    password: *const c_char,
) -> ffi::authn_status {
    // SAFETY: the caller's promise.
    let login = unsafe {
        guarded::<M, _>(request, Login::Failed, |request| {
            M::check_password(request, text::bytes(user), text::bytes(password))
        })
    };
    match login {
        Login::Granted => ffi::authn_status_AUTH_GRANTED,
        Login::Denied => ffi::authn_status_AUTH_DENIED,
        Login::UnknownUser => ffi::authn_status_AUTH_USER_NOT_FOUND,
        Login::Failed => ffi::authn_status_AUTH_GENERAL_ERROR,
    }
}

/// # Safety
/// As [`check_password`]; `hash` is a place for a string of the request's pool.
unsafe extern "C" fn get_realm_hash<M: Module>(
    request: *mut ffi::request_rec,
    user: *const c_char,
    realm: *const c_char,
    hash: *mut *mut c_char,
) -> ffi::authn_status {
    // SAFETY: the caller's promise.
    unsafe {
        guarded::<M, _>(
            request,
            ffi::authn_status_AUTH_GENERAL_ERROR,
            |request| match M::realm_hash(request, text::bytes(user), text::bytes(realm)) {
                RealmHash::Found(found) => {
                    hash.write(request.pool().string(&found).as_ptr().cast_mut());
                    ffi::authn_status_AUTH_USER_FOUND
                }
                RealmHash::UnknownUser => ffi::authn_status_AUTH_USER_NOT_FOUND,
                RealmHash::Failed => ffi::authn_status_AUTH_GENERAL_ERROR,
            },
        )
    }
}

/// # Safety
/// As [`check_password`].
unsafe extern "C" fn check_authorization<M: Module>(
    request: *mut ffi::request_rec,
    names: *const c_char,
    plain: *const c_void,
) -> ffi::authz_status {
    // SAFETY: the caller's promise.
    let permission = unsafe {
        guarded::<M, _>(request, Permission::Failed, |request| {
            M::check_groups(request, text::bytes(names))
        })
    };
    match permission {
        Permission::Granted => ffi::authz_status_AUTHZ_GRANTED,
        Permission::Denied => ffi::authz_status_AUTHZ_DENIED,
        Permission::NoUser => ffi::authz_status_AUTHZ_DENIED_NO_USER,
        // Denied, negated, would let the user in.
        Permission::Failed if plain.is_null() => ffi::authz_status_AUTHZ_GENERAL_ERROR,
        Permission::Failed => ffi::authz_status_AUTHZ_DENIED,
    }
}

/// What [`parse_require_line`] leaves for a line that is surely not negated.
static PLAIN: u8 = 0;

/// # Safety
/// httpd passes the directive that it reads, and a place for what [`check_authorization`] gets.
unsafe extern "C" fn parse_require_line(
    command: *mut ffi::cmd_parms,
    _: *const c_char,
    parsed: *mut *const c_void,
) -> *const c_char {
    fence(
        c"internal error in mod_wsgi".as_ptr(),
        |_| (),
        || {
            // SAFETY: the caller's promise; a directive and its parents are live and hold strings.
            let mut directive = unsafe { (*command).directive.as_ref() };
            let mut plain = directive.is_some_and(|directive| {
                // SAFETY: as above.
                let first = Words::new(unsafe { text::bytes(directive.args) }).word();
                // A line of <AuthzProviderAlias> may be used either way.
                is(directive, b"Require") && !first.is_some_and(|word| word.eq_ignore_ascii_case(b"not"))
            });
            while let Some(outer) = directive {
                plain &= !is(outer, b"<RequireNone");
                // SAFETY: as above.
                directive = unsafe { outer.parent.as_ref() };
            }
            // SAFETY: the caller's promise.
            unsafe { parsed.write(if plain { (&raw const PLAIN).cast() } else { ptr::null() }) };
            ptr::null()
        },
    )
}

fn is(directive: &ffi::ap_directive_t, name: &[u8]) -> bool {
    // SAFETY: a live directive, whose name is a string.
    unsafe { text::bytes(directive.directive) }.eq_ignore_ascii_case(name)
}

/// Runs `body` behind the panic fence.
///
/// # Safety
/// `request` is a live request of this thread.
unsafe fn guarded<M: Module, T>(request: *mut ffi::request_rec, fallback: T, body: impl FnOnce(Request<'_>) -> T) -> T {
    // SAFETY: the caller's promise; the borrow ends with the call.
    let request = unsafe { Request::from_ptr(request) };
    let report = |text: &str| log::request::<M>(request, Level::Error, format!("WSGI0199: {text}").as_bytes());
    fence(fallback, report, || body(request))
}
