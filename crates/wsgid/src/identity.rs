//! Whom daemons run as.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};
use wsgi_core::daemon_options::{Account, DaemonOptions};

/// A user, its groups, and what the user database says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// To switch to; `None` when only this program's own user is possible.
    pub switch: Option<Switch>,
    /// Login name; empty if the user has none.
    pub name: String,
    /// Home directory; `/` if the user has none.
    pub home: PathBuf,
    /// Whether it is another user than httpd's.
    pub other: bool,
}

/// The numbers that a process gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    pub uid: Uid,
    pub gid: Gid,
    /// All further groups.
    pub groups: Vec<Gid>,
}

impl Identity {
    /// Finds whom the options name; `uid` and `gid` are httpd's `User` and `Group`.
    ///
    /// # Errors
    /// Who is unknown, or root.
    pub fn find(options: &DaemonOptions, uid: u32, gid: u32) -> Result<Identity, String> {
        if !geteuid().is_root() {
            let own = user_of(geteuid())?;
            return Ok(Identity {
                switch: None,
                name: own.as_ref().map(|user| user.name.clone()).unwrap_or_default(),
                home: own.map_or_else(|| "/".into(), |user| user.dir),
                other: false,
            });
        }
        let (number, user) = match &options.user {
            None => (Uid::from_raw(uid), user_of(Uid::from_raw(uid))?),
            Some(Account::Number(number)) => {
                let user = user_of(Uid::from_raw(*number))?;
                let user = user.ok_or_else(|| format!("there is no user with the number {number}"))?;
                (user.uid, Some(user))
            }
            Some(Account::Name(name)) => {
                let name = text(name)?;
                let user =
                    User::from_name(name).map_err(|error| format!("cannot look up the user '{name}': {error}"))?;
                let user = user.ok_or_else(|| format!("there is no user '{name}'"))?;
                (user.uid, Some(user))
            }
        };
        if number.is_root() {
            return Err("daemons do not run as root; name another user by the option user=".to_owned());
        }
        let gid = match &options.group {
            None => Gid::from_raw(gid),
            Some(group) => group_of(group)?,
        };
        let groups = match (&options.supplementary_groups, &user) {
            (Some(groups), _) => groups.iter().map(group_of).collect::<Result<_, _>>()?,
            (None, Some(user)) => {
                let name = CString::new(user.name.as_bytes()).map_err(|error| error.to_string())?;
                getgrouplist(&name, gid)
                    .map_err(|error| format!("cannot look up the groups of '{}': {error}", user.name))?
            }
            (None, None) => vec![gid],
        };
        Ok(Identity {
            switch: Some(Switch {
                uid: number,
                gid,
                groups,
            }),
            other: number.as_raw() != uid,
            name: user.as_ref().map(|user| user.name.clone()).unwrap_or_default(),
            home: user.map_or_else(|| "/".into(), |user| user.dir),
        })
    }
}

fn user_of(uid: Uid) -> Result<Option<User>, String> {
    User::from_uid(uid).map_err(|error| format!("cannot look up the user with the number {uid}: {error}"))
}

fn group_of(group: &Account) -> Result<Gid, String> {
    match group {
        Account::Number(number) => Ok(Gid::from_raw(*number)),
        Account::Name(name) => {
            let name = text(name)?;
            let group =
                Group::from_name(name).map_err(|error| format!("cannot look up the group '{name}': {error}"))?;
            group
                .map(|group| group.gid)
                .ok_or_else(|| format!("there is no group '{name}'"))
        }
    }
}

fn text(name: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(name).map_err(|_| format!("'{}' is no name of a user or group", String::from_utf8_lossy(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(written: &[(&str, &str)]) -> Result<Identity, String> {
        let bytes = |text: &&str| text.as_bytes().to_vec();
        let written = written
            .iter()
            .map(|(name, value)| (bytes(name), bytes(value)))
            .collect();
        let options = DaemonOptions::from_written(b"shop".to_vec(), written)?;
        Identity::find(&options, 65_534, 65_534)
    }

    #[test]
    fn httpd_s_user_unless_told_otherwise() {
        let identity = find(&[]).unwrap();
        assert!(!identity.other);
        if geteuid().is_root() {
            let switch = identity.switch.unwrap();
            assert_eq!((switch.uid.as_raw(), switch.gid.as_raw()), (65_534, 65_534));
            assert!(!switch.groups.contains(&Gid::from_raw(0)), "no group of root's");
        } else {
            assert_eq!(identity.switch, None);
        }
    }

    #[test]
    fn names() {
        // Without root's rights the options are not looked at.
        if !geteuid().is_root() {
            return;
        }
        let identity = find(&[
            ("user", "daemon"),
            ("group", "#77"),
            ("supplementary-groups", "sys,#88"),
        ])
        .unwrap();
        let switch = identity.switch.unwrap();
        assert!(identity.other && identity.name == "daemon" && !switch.uid.is_root());
        assert_eq!(switch.gid.as_raw(), 77);
        assert_eq!((switch.groups.len(), switch.groups[1].as_raw()), (2, 88));
        for (written, expected) in [
            (("user", "root"), "do not run as root"),
            (
                ("user", "nobody-of-that-name"),
                "there is no user 'nobody-of-that-name'",
            ),
            (("user", "#4000000"), "there is no user with the number 4000000"),
            (("group", "no-such-group"), "there is no group 'no-such-group'"),
        ] {
            let refusal = find(&[written]).unwrap_err();
            assert!(refusal.contains(expected), "{refusal}");
        }
    }
}
