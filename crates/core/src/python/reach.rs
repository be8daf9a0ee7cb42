//! Whether another user gets to a file.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The longest chain of symbolic links that Linux follows (path_resolution(7)).
const LINKS: usize = 40;

/// The first folder on the way to `path` that the user `uid` with the group `gid` may not enter, as its permission bits
/// say; `None` when there is none (or when this process cannot tell). Symbolic links are followed. Whether the file
/// itself may be read or run is not asked.
///
/// Access control lists and supplementary groups are not looked at: they can only make a barrier passable.
pub fn barrier(path: &Path, uid: u32, gid: u32) -> Option<PathBuf> {
    if uid == 0 {
        return None;
    }
    walk(path, uid, gid, &mut 0)
}

fn walk(path: &Path, uid: u32, gid: u32, links: &mut usize) -> Option<PathBuf> {
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
            let barrier = walk(&to, uid, gid, links);
            if barrier.is_some() {
                return barrier;
            }
            here = here.canonicalize().ok()?;
        } else if file.is_dir() && !may_enter(file.mode(), file.uid() == uid, file.gid() == gid) {
            return Some(here);
        }
    }
    None
}

/// The search bit that counts for the user: the most particular class decides, not the most generous.
fn may_enter(mode: u32, owner: bool, group: bool) -> bool {
    let bit = match (owner, group) {
        (true, _) => 0o100,
        (false, true) => 0o010,
        (false, false) => 0o001,
    };
    mode & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn the_most_particular_class_decides() {
        assert!(may_enter(0o700, true, false));
        assert!(!may_enter(0o700, false, true));
        assert!(!may_enter(0o077, true, true));
        assert!(!may_enter(0o701, false, true));
        assert!(may_enter(0o701, false, false));
    }

    #[test]
    fn a_closed_folder_is_named_behind_links_too() {
        let base = std::env::temp_dir().join(format!("wsgi-reach-{}", std::process::id()));
        let closed = base.join("closed");
        fs::create_dir_all(closed.join("in")).unwrap();
        fs::write(closed.join("in/file"), "").unwrap();
        symlink("closed/in", base.join("link")).unwrap();
        for (folder, mode) in [(&base, 0o755), (&closed, 0o700)] {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        }
        let stranger = u32::MAX - 7;
        let owner = fs::metadata(&base).unwrap().uid();
        let closed_found = barrier(&base.join("link/file"), stranger, stranger);
        let direct = barrier(&closed.join("in/../in/file"), stranger, stranger);
        let own = barrier(&closed.join("in/file"), owner, stranger);
        fs::remove_dir_all(&base).unwrap();
        assert_eq!(closed_found.as_deref(), Some(closed.as_path()));
        assert_eq!(direct.as_deref(), Some(closed.as_path()));
        assert_eq!(own, None);
        assert_eq!(barrier(Path::new("/"), stranger, stranger), None);
    }
}
