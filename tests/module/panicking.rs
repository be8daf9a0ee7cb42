//! A module on `src/httpd`, as `mod_wsgi.so` is, for tests of that layer: it panics in the phase that `TestPanic` names.
//! With `--cfg leak="…"` it also holds code that the layer must not let pass: see `leak.rs`.

#[path = "../../src/httpd/mod.rs"]
pub mod httpd;
mod leak;

use std::ffi::CStr;

use httpd::auth::{Login, Permission, RealmHash};
use httpd::command::{Arguments, Command, Directive, Place, Set, Topic, rows, table};
use httpd::module::{Answer, Module, Record};
use httpd::pool::Pool;
use httpd::request::Request;
use httpd::server::Server;
use wsgi_core::directive::Refusal;

/// The module.
pub struct Panicking;

/// The structure that `LoadModule panicking_module` looks up.
// SAFETY: no other library of the process exports this name.
#[unsafe(no_mangle)]
pub static panicking_module: Record<Panicking> = Record::new(c"mod_panicking.c", &COMMANDS);

const TOPICS: &[Topic<Panicking>] = &[Topic {
    title: "Tests",
    directives: &[Directive {
        name: c"TestPanic",
        arguments: "phase",
        default: "",
        place: Place::Server,
        help: c"The phase to panic in",
        set: Set::Server(phase),
    }],
}];

static COMMANDS: [Command<Panicking>; rows(TOPICS)] = table(TOPICS);

fn phase(phase: &mut Phase, arguments: &Arguments<'_>) -> Result<(), Refusal> {
    phase.0 = String::from_utf8_lossy(&arguments.words().only("phase")?).into_owned();
    phase.reach("directive");
    Ok(())
}

/// What `TestPanic` names.
#[derive(Clone, Default)]
pub struct Phase(String);

impl Phase {
    fn reach(&self, phase: &str) {
        assert!(self.0 != phase, "as told in {phase}");
    }
}

/// Panics when it is dropped: with the pool that owns it.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("as told in a cleanup");
    }
}

fn reach(server: Server<'_>, phase: &str) {
    server.config::<Panicking>().reach(phase);
}

/// Requests panic for themselves, by URL.
fn asked(request: Request<'_>, phase: &str) -> bool {
    request.uri().strip_prefix(b"/") == Some(phase.as_bytes())
}

impl Module for Panicking {
    type Server = Phase;
    type Directory<'p> = Option<&'p ()>;
    type Mapping = ();

    const USERS: &'static CStr = c"panicking";
    const GROUPS: &'static CStr = c"panicking-group";

    fn record() -> &'static Record<Panicking> {
        &panicking_module
    }

    fn server() -> Phase {
        Phase::default()
    }

    fn merge_servers(outer: &Phase, inner: &Phase) -> Phase {
        outer.reach("merge");
        inner.clone()
    }

    fn directory<'p>() -> Option<&'p ()> {
        None
    }

    fn merge_directories<'p>(_: Pool<'p>, _: &Option<&'p ()>, inner: &Option<&'p ()>) -> Option<&'p ()> {
        *inner
    }

    fn check_config(server: Server<'_>) -> Result<(), String> {
        reach(server, "check_config");
        Ok(())
    }

    fn test_config(server: Server<'_>) {
        reach(server, "test_config");
    }

    fn post_config(_: Pool<'_>, server: Server<'_>) -> Result<(), String> {
        reach(server, "post_config");
        Ok(())
    }

    fn monitor(_: Pool<'_>, server: Server<'_>) {
        reach(server, "monitor");
    }

    fn child_init(_: Pool<'_>, server: Server<'_>) {
        reach(server, "child_init");
    }

    fn translate_name(request: Request<'_>) -> Answer {
        assert!(!asked(request, "translate_name"), "as told in translate_name");
        Answer::Declined
    }

    fn check_access(request: Request<'_>) -> Answer {
        assert!(!asked(request, "check_access"), "as told in check_access");
        Answer::Declined
    }

    fn check_password(request: Request<'_>, _: &[u8], _: &[u8]) -> Login {
        assert!(!asked(request, "check_password"), "as told in check_password");
        Login::Granted
    }

    fn realm_hash(request: Request<'_>, _: &[u8], _: &[u8]) -> RealmHash {
        assert!(!asked(request, "realm_hash"), "as told in realm_hash");
        RealmHash::UnknownUser
    }

    fn check_groups(request: Request<'_>, _: &[u8]) -> Permission {
        if request.user().is_none() {
            return Permission::NoUser;
        }
        assert!(!asked(request, "check_groups"), "as told in check_groups");
        Permission::Granted
    }

    fn handler(request: Request<'_>) -> Answer {
        assert!(!asked(request, "handler"), "as told in handler");
        if asked(request, "cleanup") {
            request.pool().own(Bomb);
        }
        Answer::Declined
    }
}
