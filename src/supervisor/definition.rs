//! Daemon process groups as the configuration defines them, over all servers.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::Arc;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User};
use wsgi_core::abi::Level;
use wsgi_core::daemon_options::{Account, DaemonOptions, no_effect};
use wsgi_core::python::{self, Choice, Interpreter, Who};
use wsgi_core::wire::control::{Preload, parent};

use super::account;
use crate::config::Global;
use crate::httpd::server::{Server, ServerId};
use crate::httpd::{log, process};
use crate::interpreters::Settings;
use crate::module::Wsgi;

/// Who must own the scripts of a group.
#[derive(Clone, Copy, Debug)]
pub enum ScriptOwner {
    /// `script-user`
    User(u32),
    /// `script-group`
    Group(u32),
}

/// The virtual host that defines a group.
#[derive(Clone, Debug)]
pub struct Owner {
    server: ServerId,
    /// `ServerName`; the main server's where it has none.
    pub hostname: Vec<u8>,
}

impl Owner {
    /// `None`: it is the main server.
    fn of(server: Server<'_>) -> Option<Owner> {
        server.is_virtual().then(|| Owner {
            server: server.id(),
            hostname: server.hostname().to_vec(),
        })
    }

    /// Whether that server may use the group: it defines it, or has the same `ServerName`. A virtual host that says none
    /// has the main server's, from httpd: so the two hosts of a site that is the only one, for http and https, share.
    pub fn admits(&self, server: Server<'_>) -> bool {
        self.server == server.id() || self.hostname == server.hostname()
    }
}

/// A group.
pub struct Definition {
    /// Its options.
    pub options: Arc<DaemonOptions>,
    /// Who defines it; `None`: the main server, for all.
    pub owner: Option<Owner>,
    /// Who must own its scripts.
    pub script_owner: Option<ScriptOwner>,
    /// Its Python, if that can be run. What a tenant can break by himself is no reason to stop the server.
    python: Option<Interpreter>,
    /// Whom its daemons run as.
    who: Who,
    /// What its daemons load before they are READY.
    preload: Vec<Preload>,
}

/// Looks at all definitions together.
///
/// # Errors
/// The first thing that is wrong: a name used twice, an unknown user, a Python that cannot be run.
pub fn check(server: Server<'_>) -> Result<(), String> {
    for definition in of(server)? {
        let options = &definition.options;
        for (name, value) in &options.written {
            // mod_wsgi-express writes sizes that nobody has asked for as 0.
            let asked = value != b"0" || !name.ends_with(b"-size");
            if let Some(reason) = no_effect(name).filter(|_| asked) {
                let (group, name) = (String::from_utf8_lossy(&options.name), String::from_utf8_lossy(name));
                let text = format!("WSGI0164: WSGIDaemonProcess {group}: option {name}= has no effect: {reason}");
                log::server::<Wsgi>(server, Level::Notice, text.as_bytes());
            }
        }
    }
    Ok(())
}

/// All definitions.
///
/// # Errors
/// As [`check`].
pub fn of<'s>(server: Server<'s>) -> Result<&'s [Definition], String> {
    let main = server.main();
    let global = &main.config::<Wsgi>().global;
    let found = global.definitions.get_or_try_init(|| {
        let mut names = HashSet::new();
        let mut definitions = Vec::new();
        for server in configured(main) {
            for options in &server.config::<Wsgi>().daemons {
                let name = String::from_utf8_lossy(&options.name);
                if !names.insert(options.name.clone()) {
                    return Err(format!(
                        "WSGI0160: WSGIDaemonProcess {name} is defined twice; give each group a name of its own"
                    ));
                }
                let about = |reason| format!("WSGI0161: WSGIDaemonProcess {name}: {reason}");
                let (uid, gid) = identity(options).map_err(about)?;
                let who = account::daemons(options, uid, gid);
                let python = match check_home(options, &who)
                    .and_then(|()| interpreter(global, options, &who))
                    .and_then(|python| {
                        Settings::daemon(global, options, None).check(python.version)?;
                        Ok(python)
                    })
                    .map_err(about)
                {
                    Ok(python) => Some(python),
                    Err(reason) if process::is_configtest() => return Err(reason),
                    Err(reason) => {
                        let text = format!("{reason}; requests for the group are answered 503");
                        log::server::<Wsgi>(server, Level::Critical, text.as_bytes());
                        None
                    }
                };
                definitions.push(Definition {
                    script_owner: script_owner(options).map_err(about)?,
                    python,
                    options: Arc::clone(options),
                    preload: Vec::new(),
                    owner: Owner::of(server),
                    who,
                });
            }
        }
        preload(main, &mut definitions)?;
        // The supervisor numbers the groups that it is told of: those come first.
        definitions.sort_by_key(|definition| definition.python.is_none());
        Ok(definitions)
    });
    found.map(Vec::as_slice)
}

impl Definition {
    /// What the supervisor is told, and whether the scoreboard comes along; nothing if the group cannot run.
    pub fn message(&self, server: Server<'_>, scoreboard: bool) -> Option<parent::Group> {
        let python = self.python.as_ref()?;
        let global = &server.config::<Wsgi>().global;
        let Settings { environment, plan } = Settings::daemon(global, &self.options, python.home.as_deref());
        Some(parent::Group {
            name: self.options.name.clone(),
            eager: true,
            scoreboard,
            log_level: log::level::<Wsgi>(self.server(server)),
            renew: self.options.graceful_reload.or(global.graceful_reload).unwrap_or(true),
            python: python.executable.as_os_str().as_bytes().to_vec(),
            options: self.options.written.clone(),
            environment,
            interpreters: plan.to_list(),
            preload: self.preload.clone(),
        })
    }

    /// Whom its daemons run as.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// Its Python, if that can be run.
    pub fn python(&self) -> Option<&Interpreter> {
        self.python.as_ref()
    }

    /// The server that defines it.
    fn server<'s>(&self, main: Server<'s>) -> Server<'s> {
        let owner = self.owner.as_ref().map(|owner| owner.server);
        main.all().find(|server| Some(server.id()) == owner).unwrap_or(main)
    }

    /// The log of the virtual host that defines the group, if it has one of its own.
    pub fn error_log<'s>(&self, main: Server<'s>) -> Option<BorrowedFd<'s>> {
        self.owner.as_ref()?;
        let log = self.server(main).error_log()?;
        let shared = main
            .error_log()
            .is_some_and(|other| other.as_raw_fd() == log.as_raw_fd());
        (!shared).then_some(log)
    }

    /// Names the queue: the group, and whom its daemons run as, for replies stay within one user.
    pub fn queue_key(&self) -> Vec<u8> {
        let mut key = format!("{} ", self.who.uid).into_bytes();
        key.extend_from_slice(&self.options.name);
        key
    }
}

/// The servers that have a configuration of their own: httpd gives the main server's to virtual hosts that say nothing.
fn configured<'s>(main: Server<'s>) -> impl Iterator<Item = Server<'s>> {
    let same = move |server: &Server<'s>| ptr::eq(server.config::<Wsgi>(), main.config::<Wsgi>());
    main.all().filter(move |server| !server.is_virtual() || !same(server))
}

/// Gives each group the scripts that are to be loaded before it takes requests: those of `WSGIImportScript`, and those of
/// aliases that name both groups.
fn preload(main: Server<'_>, definitions: &mut [Definition]) -> Result<(), String> {
    for server in configured(main) {
        let preloads = &server.config::<Wsgi>().preloads;
        for preload in preloads
            .iter()
            .filter(|preload| !preload.process_group.is_empty() && preload.is_meant())
        {
            let group = definitions.iter_mut().find(|definition| {
                definition.options.name == preload.process_group
                    && definition.owner.as_ref().is_none_or(|owner| owner.admits(server))
            });
            let Some(group) = group else {
                return Err(format!(
                    "WSGI0162: {} {}: there is no daemon process group {} for this server; define it by \
                     WSGIDaemonProcess, in the main configuration or in a virtual host of the same ServerName",
                    preload.directive,
                    String::from_utf8_lossy(&preload.script),
                    String::from_utf8_lossy(&preload.process_group)
                ));
            };
            let preload = Preload {
                script: preload.script.clone(),
                application_group: preload.application_group.clone(),
                // Without the script that an alias leads to a daemon is of no use.
                required: !preload.is_import(),
            };
            let same = |known: &&mut Preload| {
                known.script == preload.script && known.application_group == preload.application_group
            };
            match group.preload.iter_mut().find(same) {
                Some(known) => known.required |= preload.required,
                None => group.preload.push(preload),
            }
        }
    }
    Ok(())
}

fn script_owner(options: &DaemonOptions) -> Result<Option<ScriptOwner>, String> {
    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let unknown = |option: &str, error: Option<Errno>| match error {
        None => format!("{option}= names nobody that this system knows; correct the name"),
        Some(error) => format!("{option}= cannot be looked up: {error}"),
    };
    Ok(match (&options.script_user, &options.script_group) {
        (Some(Account::Number(uid)), _) => Some(ScriptOwner::User(*uid)),
        (Some(Account::Name(user)), _) => match User::from_name(&name(user)) {
            Ok(Some(user)) => Some(ScriptOwner::User(user.uid.as_raw())),
            other => return Err(unknown("script-user", other.err())),
        },
        (None, Some(Account::Number(gid))) => Some(ScriptOwner::Group(*gid)),
        (None, Some(Account::Name(group))) => match Group::from_name(&name(group)) {
            Ok(Some(group)) => Some(ScriptOwner::Group(group.gid.as_raw())),
            other => return Err(unknown("script-group", other.err())),
        },
        (None, None) => None,
    })
}

/// Whom the daemons run as. Only root can choose.
fn identity(options: &DaemonOptions) -> Result<(u32, u32), String> {
    let Some(default) = process::child_identity() else {
        return Ok((Uid::effective().as_raw(), Gid::effective().as_raw()));
    };
    let shown = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let (mut uid, mut gid) = default;
    if let Some(account) = &options.user {
        let (found, name) = match account {
            Account::Number(uid) => (User::from_uid(Uid::from_raw(*uid)), format!("#{uid}")),
            Account::Name(name) => (User::from_name(&shown(name)), shown(name)),
        };
        let user = found.map_err(|error| format!("user={name} cannot be looked up: {error}"))?;
        let user = user.ok_or_else(|| format!("there is no user {name}; create the account, or correct user="))?;
        if user.uid.is_root() {
            return Err(format!("user={name} is root; daemons must not run as root"));
        }
        (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
    }
    match &options.group {
        None => {}
        Some(Account::Number(number)) => gid = *number,
        Some(Account::Name(name)) => {
            let name = shown(name);
            let found =
                Group::from_name(&name).map_err(|error| format!("group={name} cannot be looked up: {error}"))?;
            let group = found.ok_or_else(|| format!("there is no group {name}; create it, or correct group="))?;
            gid = group.gid.as_raw();
        }
    }
    Ok((uid, gid))
}

/// The working directory is there, and the daemons' user can get to it.
fn check_home(options: &DaemonOptions, who: &Who) -> Result<(), String> {
    // Below another root it is for the supervisor to see.
    let Some(home) = options.home.as_deref().filter(|_| options.chroot.is_none()) else {
        return Ok(());
    };
    let shown = home.display();
    if !home.is_dir() {
        return Err(format!("home={shown} is not a directory; create it, or correct home="));
    }
    match who.barrier(home) {
        Some(at) => Err(format!(
            "the user that daemons run as (uid {}) cannot get to home={shown}: it may not enter {}; run 'chmod o+x' on \
             that folder, or name another user",
            who.uid,
            at.display()
        )),
        None => Ok(()),
    }
}

fn interpreter(global: &Global, options: &DaemonOptions, who: &Who) -> Result<Interpreter, String> {
    // What the group says about its Python goes before all that the server says.
    let own = options.python.is_some() || options.python_home.is_some();
    let choice = Choice {
        python: if own {
            options.python.as_deref()
        } else {
            global.python.interpreter.as_deref()
        },
        home: if own {
            options.python_home.as_deref()
        } else {
            global.python.home.as_deref()
        },
    };
    let run_as = process::child_identity().map(|_| process::run_as(who));
    python::find_interpreter(&choice, run_as).map_err(|error| error.to_string())
}
