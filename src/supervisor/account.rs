//! Whom httpd's children and the daemons run as, with all that counts for what they may do with files.

use std::ffi::CString;
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getgroups};
use rustix::fs::lgetxattr;
use wsgi_core::daemon_options::{Account, DaemonOptions};
use wsgi_core::python::Who;

use crate::httpd::process;

/// Whom httpd's children run as.
pub fn children() -> Who {
    match process::child_identity() {
        Some((uid, gid)) => who(uid, gid, |user| groups_of(user, gid)),
        None => own(),
    }
}

/// Whom daemons with these options run as: the user `uid`, the group `gid`, and more groups.
pub fn daemons(options: &DaemonOptions, uid: u32, gid: u32) -> Who {
    match process::child_identity() {
        Some(_) => who(uid, gid, |user| {
            supplementary(options).map_or_else(|| groups_of(user, gid), |groups| [&groups[..], &[gid]].concat())
        }),
        None => own(),
    }
}

/// The user that this process runs as.
fn own() -> Who {
    let gids = getgroups().unwrap_or_default().into_iter().chain([getegid()]);
    who(geteuid().as_raw(), getegid().as_raw(), |_| {
        gids.map(Gid::as_raw).collect()
    })
}

fn who(uid: u32, gid: u32, gids: impl FnOnce(Option<&User>) -> Vec<u32>) -> Who {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    Who {
        gids: gids(user.as_ref()),
        name: user.map_or_else(|| format!("#{uid}"), |user| user.name),
        uid,
        gid,
        has_acl,
    }
}

/// The group `gid` and all that the user is a member of.
fn groups_of(user: Option<&User>, gid: u32) -> Vec<u32> {
    let groups = user
        .and_then(|user| CString::new(user.name.as_bytes()).ok())
        .and_then(|name| getgrouplist(&name, Gid::from_raw(gid)).ok());
    groups.map_or_else(|| vec![gid], |groups| groups.into_iter().map(Gid::as_raw).collect())
}

/// `supplementary-groups`, which stand in for the user's own.
fn supplementary(options: &DaemonOptions) -> Option<Vec<u32>> {
    let gid = |account: &Account| match account {
        Account::Number(gid) => Some(*gid),
        Account::Name(name) => {
            let found = Group::from_name(&String::from_utf8_lossy(name));
            found.ok().flatten().map(|group| group.gid.as_raw())
        }
    };
    Some(options.supplementary_groups.as_ref()?.iter().filter_map(gid).collect())
}

/// Whether permission bits do not say all about a file.
fn has_acl(path: &Path) -> bool {
    let mut none: [u8; 0] = [];
    lgetxattr(path, c"system.posix_acl_access", &mut none).is_ok_and(|size| size > 0)
}
