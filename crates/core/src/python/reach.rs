//! Whether another user gets to a file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The longest chain of symbolic links that Linux follows (path_resolution(7)).
const LINKS: usize = 40;

/// A user with everything that counts for what it may do with files.
#[derive(Clone, Debug)]
pub struct Who {
    /// Its name; its number where it has none.
    pub name: String,
    /// The user.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// All its groups.
    pub gids: Vec<u32>,
    /// Whether a file has an access control list: then nothing is said about it.
    pub has_acl: fn(&Path) -> bool,
}

impl Who {
    /// The first folder on the way to `path` that the user may not enter, as its permission bits say; `None` when there is
    /// none, or when that cannot be known. Symbolic links are followed. Whether the file itself may be read or run is not
    /// asked.
    pub fn barrier(&self, path: &Path) -> Option<PathBuf> {
        if self.uid == 0 {
            return None;
        }
        walk(path, self.uid, &self.gids, &mut 0).filter(|folder| !(self.has_acl)(folder))
    }

    /// Whether it surely may not read a file that it gets to.
    pub fn cannot_read(&self, path: &Path) -> bool {
        self.uid != 0
            && fs::metadata(path).is_ok_and(|file| {
                !grants(
                    0o4,
                    file.mode(),
                    file.uid() == self.uid,
                    self.gids.contains(&file.gid()),
                )
            })
            && !(self.has_acl)(path)
    }
}

fn walk(path: &Path, uid: u32, gids: &[u32], links: &mut usize) -> Option<PathBuf> {
    let mut here = PathBuf::new();
    for part in path.components() {
        match part {
            // The folder above has been entered already; `pop` would be wrong behind a symbolic link.
            Component::ParentDir => here = here.join("..").canonicalize().ok()?,
            part => here.push(part),
        }
        let file = fs::symlink_metadata(&here).ok()?;
        if file.is_symlink() && *links < LINKS {
            *links += 1;
            let to = here.parent()?.join(fs::read_link(&here).ok()?);
            let barrier = walk(&to, uid, gids, links);
            if barrier.is_some() {
                return barrier;
            }
            here = here.canonicalize().ok()?;
        } else if file.is_dir() && !grants(0o1, file.mode(), file.uid() == uid, gids.contains(&file.gid())) {
            return Some(here);
        }
    }
    None
}

/// Whether the permission (1: search, 4: read) is given by the class that counts for the user: the most particular one
/// decides, not the most generous.
fn grants(permission: u32, mode: u32, owner: bool, group: bool) -> bool {
    let shift = match (owner, group) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    mode >> shift & permission != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn the_most_particular_class_decides() {
        assert!(grants(1, 0o700, true, false));
        assert!(!grants(1, 0o700, false, true));
        assert!(!grants(1, 0o077, true, true));
        assert!(!grants(1, 0o701, false, true));
        assert!(grants(1, 0o701, false, false));
        assert!(grants(4, 0o640, false, true));
        assert!(!grants(4, 0o640, false, false));
    }

    #[test]
    fn a_closed_folder_is_named_behind_links_too() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path();
        let closed = base.join("closed");
        fs::create_dir_all(closed.join("in")).unwrap();
        fs::write(closed.join("in/file"), "").unwrap();
        symlink("closed/in", base.join("link")).unwrap();
        for (folder, mode) in [(base, 0o755), (&*closed, 0o700)] {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        }
        let (file, stranger) = (closed.join("in/file"), u32::MAX - 7);
        let stat = fs::metadata(&closed).unwrap();
        let who = |uid: u32, gids: &[u32], has_acl| Who {
            name: String::new(),
            uid,
            gid: stranger,
            gids: gids.to_vec(),
            has_acl,
        };
        let other = who(stranger, &[stranger], |_| false);
        let linked = other.barrier(&base.join("link/file"));
        let direct = other.barrier(&closed.join("in/../in/file"));
        let own = who(stat.uid(), &[], |_| false).barrier(&file);
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o710)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let member = who(stranger, &[stranger, stat.gid()], |_| false);
        let listed = who(stranger, &[], |_| true);
        let seen = [&other, &member, &listed].map(|who| (who.barrier(&file), who.cannot_read(&file)));
        assert_eq!((linked.as_ref(), direct.as_ref()), (Some(&closed), Some(&closed)));
        assert_eq!(own, None);
        assert_eq!(seen, [(Some(closed), true), (None, false), (None, false)]);
        assert_eq!(other.barrier(Path::new("/")), None);
    }
}
