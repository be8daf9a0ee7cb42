//! The user and group that requests run as.

use std::ffi::CString;
use std::os::unix::process::CommandExt;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};
use wsgi_core::python::{RunAs, Who};

use crate::arguments::Parts;
use crate::fault::Fault;

/// Who httpd's children run as when root starts it.
#[derive(Debug)]
pub struct Owner {
    pub user: String,
    pub uid: u32,
    pub group: String,
    pub gid: u32,
    who: Who,
}

/// Distributions' names for httpd's user, and a last resort.
const USUAL: [&str; 3] = ["www-data", "apache", "nobody"];

impl Owner {
    /// `None` for an ordinary user: httpd's children are its own then.
    pub fn find(parts: &Parts) -> Result<Option<Owner>, Fault> {
        if !geteuid().is_root() {
            return match (&parts.user, &parts.group) {
                (None, None) => Ok(None),
                _ => Err(Fault::new(
                    620,
                    "only root can run requests as another --user or --group",
                )),
            };
        }
        let user = match &parts.user {
            Some(name) => user(name)?.ok_or_else(|| Fault::new(621, format!("there is no user {name:?}")))?,
            None => {
                let usual = USUAL.iter().find_map(|name| user(name).ok().flatten());
                usual.ok_or_else(|| Fault::new(621, "there is no user www-data; name another one by --user"))?
            }
        };
        if user.uid.is_root() {
            return Err(Fault::new(
                622,
                "httpd does not run requests as root; name another user by --user",
            ));
        }
        let group = match &parts.group {
            Some(name) => group(name)?.ok_or_else(|| Fault::new(621, format!("there is no group {name:?}")))?,
            None => Group::from_gid(user.gid).ok().flatten().ok_or_else(|| {
                Fault::new(
                    621,
                    format!("group {} of {:?} has no name; use --group", user.gid, user.name),
                )
            })?,
        };
        // As httpd's children: with all groups that the user is a member of.
        let member = CString::new(user.name.as_bytes()).ok();
        let groups = member.and_then(|name| getgrouplist(&name, group.gid).ok());
        let who = Who {
            name: user.name.clone(),
            uid: user.uid.as_raw(),
            gid: group.gid.as_raw(),
            gids: groups
                .unwrap_or_else(|| vec![group.gid])
                .into_iter()
                .map(Gid::as_raw)
                .collect(),
            has_acl: |_| false,
        };
        Ok(Some(Owner {
            user: user.name,
            uid: who.uid,
            group: group.name,
            gid: who.gid,
            who,
        }))
    }

    /// Makes sure that the user gets to `path`; `what` names it.
    pub fn reaches(&self, what: &str, path: &Path) -> Result<(), Fault> {
        match self.who.barrier(path) {
            None => Ok(()),
            Some(at) => Err(Fault::new(
                623,
                format!(
                    "user {} cannot get to {what} {path:?}: it may not enter {at:?}; run 'chmod o+x' on that folder, \
                     move what is in it, or name another user by --user",
                    self.user
                ),
            )),
        }
    }

    /// As [`wsgi_core::python::find`] takes it. The Python is one that the administrator names here and now, and it keeps
    /// the terminal that it is named from.
    pub fn run_as(&self) -> RunAs<'_> {
        RunAs {
            who: &self.who,
            switch: |command, who| {
                command.uid(who.uid).gid(who.gid);
            },
        }
    }
}

fn user(name: &str) -> Result<Option<User>, Fault> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    found.map_err(|error| Fault::new(621, format!("cannot look up the user {name:?}: {error}")))
}

fn group(name: &str) -> Result<Option<Group>, Fault> {
    let found = match name.parse() {
        Ok(number) => Group::from_gid(Gid::from_raw(number)),
        Err(_) => Group::from_name(name),
    };
    found.map_err(|error| Fault::new(621, format!("cannot look up the group {name:?}: {error}")))
}
