//! The private folder of one server.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::fault::Fault;
use crate::owner::Owner;

/// Holds the configuration, the pid file and an empty document root; goes away with the value.
#[derive(Debug)]
pub struct Private {
    folder: TempDir,
    /// Requests run as another user, who must be able to read what is in it.
    shared: bool,
}

impl Private {
    /// Makes it.
    pub fn new(owner: Option<&Owner>) -> Result<Private, Fault> {
        let parent = env::temp_dir();
        let folder = tempfile::Builder::new()
            .prefix("wsgictl-")
            .tempdir_in(&parent)
            .map_err(|error| {
                Fault::new(
                    657,
                    format!("cannot make a folder in {parent:?}: {error}; name another place by TMPDIR"),
                )
            })?;
        let shared = owner.is_some();
        let private = Private { folder, shared };
        private.open(private.path(), 0o755)?;
        let root = private.path().join("htdocs");
        fs::create_dir(&root).map_err(|error| unwritable(&root, &error))?;
        private.open(&root, 0o755)?;
        if let Some(owner) = owner {
            owner.reaches("the private folder (TMPDIR)", private.path())?;
        }
        Ok(private)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file in it, and returns its path.
    pub fn write(&self, name: &str, text: &[u8]) -> Result<PathBuf, Fault> {
        let path = self.path().join(name);
        fs::write(&path, text).map_err(|error| unwritable(&path, &error))?;
        self.open(&path, 0o644)?;
        Ok(path)
    }

    /// Lets the other user in, whatever the umask is.
    fn open(&self, path: &Path, mode: u32) -> Result<(), Fault> {
        if !self.shared {
            return Ok(());
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| unwritable(path, &error))
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(658, format!("cannot write {path:?}: {error}"))
}
