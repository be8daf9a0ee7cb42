//! Scripts that say who may come in: `WSGIAccessScript`, `WSGIAuthUserScript`, `WSGIAuthGroupScript`. Whatever goes wrong
//! keeps the client out.

use wsgi_core::abi::{HookKind, HookResult, Level};
use wsgi_core::directive::Words;

use crate::hook::ask;
use crate::httpd::auth::{Login, Permission, RealmHash};
use crate::httpd::log;
use crate::httpd::module::Answer;
use crate::httpd::request::Request;
use crate::module::Wsgi;

/// The hook of the access checker.
pub fn check_access(request: Request<'_>) -> Answer {
    let Some(script) = request.config::<Wsgi>().access_script else {
        return Answer::Declined;
    };
    match ask(request, script, HookKind::Access, [request.cgi().remote_name(), b""]).0 {
        HookResult::Yes => Answer::Done,
        HookResult::Nothing => Answer::Declined,
        HookResult::No => {
            let path = String::from_utf8_lossy(&script.path);
            let text = format!(
                "WSGI0192: WSGIAccessScript {path} refuses the client access to {}",
                place(request)
            );
            log::request::<Wsgi>(request, Level::Error, text.as_bytes());
            Answer::Status(403)
        }
        HookResult::Failed | HookResult::Texts => Answer::Status(403),
    }
}

/// The provider of users, for Basic authentication.
pub fn check_password(request: Request<'_>, user: &[u8], password: &[u8]) -> Login {
    let Some(script) = request.config::<Wsgi>().auth_user_script else {
        unset(request, "WSGIAuthUserScript", "users");
        return Login::Failed;
    };
    let (result, texts) = ask(request, script, HookKind::CheckPassword, [user, password]);
    match (result, &texts[..]) {
        (HookResult::Yes, _) => Login::Granted,
        (HookResult::No, _) => Login::Denied,
        (HookResult::Nothing, _) => Login::UnknownUser,
        (HookResult::Texts, [(_, name)]) if !name.is_empty() => {
            request.set_user(name);
            Login::Granted
        }
        (HookResult::Texts | HookResult::Failed, _) => Login::Failed,
    }
}

/// The provider of users, for Digest authentication.
pub fn realm_hash(request: Request<'_>, user: &[u8], realm: &[u8]) -> RealmHash {
    let Some(script) = request.config::<Wsgi>().auth_user_script else {
        unset(request, "WSGIAuthUserScript", "users");
        return RealmHash::Failed;
    };
    let (result, mut texts) = ask(request, script, HookKind::RealmHash, [user, realm]);
    match (result, texts.pop()) {
        (HookResult::Texts, Some((_, hash))) => RealmHash::Found(hash),
        (HookResult::Nothing, _) => RealmHash::UnknownUser,
        _ => RealmHash::Failed,
    }
}

/// The provider of groups.
pub fn check_groups(request: Request<'_>, names: &[u8]) -> Permission {
    let Some(user) = request.user() else {
        return Permission::NoUser;
    };
    let Some(script) = request.config::<Wsgi>().auth_group_script else {
        unset(request, "WSGIAuthGroupScript", "groups");
        return Permission::Failed;
    };
    let (result, groups) = ask(request, script, HookKind::Groups, [user, b""]);
    // A user without groups: an empty list.
    if result != HookResult::Texts {
        return Permission::Failed;
    }
    let mut words = Words::new(names);
    let mut wanted = std::iter::from_fn(|| words.word());
    if wanted.any(|name| groups.iter().any(|(_, group)| group.eq_ignore_ascii_case(&name))) {
        return Permission::Granted;
    }
    let text = format!(
        "WSGI0193: user {} is in no group of \"Require wsgi-group {}\", and may not use {}",
        String::from_utf8_lossy(user),
        String::from_utf8_lossy(names),
        place(request)
    );
    // Another line of Require may let the user in: not for httpd's own level of refusals.
    log::request::<Wsgi>(request, Level::Info, text.as_bytes());
    Permission::Denied
}

fn unset(request: Request<'_>, directive: &str, what: &str) {
    let text = format!(
        "WSGI0194: mod_wsgi is asked about {what} for {}, but {directive} is not set there",
        place(request)
    );
    log::request::<Wsgi>(request, Level::Error, text.as_bytes());
}

fn place(request: Request<'_>) -> String {
    String::from_utf8_lossy(request.uri()).into_owned()
}
