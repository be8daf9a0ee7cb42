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
pub struct Private(TempDir);

impl Private {
    /// Makes it. Nobody else gets in, but for the user that requests run as.
    pub fn new(owner: Option<&Owner>) -> Result<Private, Fault> {
        let parent = env::temp_dir();
        let mode = fs::Permissions::from_mode(if owner.is_some() { 0o755 } else { 0o700 });
        let mut folder = tempfile::Builder::new();
        folder.prefix("wsgictl-").permissions(mode);
        let folder = folder.tempdir_in(&parent).map_err(|error| {
            Fault::new(
                657,
                format!("cannot make a folder in {parent:?}: {error}; name another place by TMPDIR"),
            )
        })?;
        if let Some(owner) = owner {
            owner.reaches("the private folder (TMPDIR)", folder.path())?;
        }
        fs::create_dir(folder.path().join("htdocs")).map_err(|error| unwritable(folder.path(), &error))?;
        Ok(Private(folder))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file in it, and returns its path.
    pub fn write(&self, name: &str, text: &[u8]) -> Result<PathBuf, Fault> {
        let path = self.path().join(name);
        fs::write(&path, text).map_err(|error| unwritable(&path, &error))?;
        Ok(path)
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(658, format!("cannot write {path:?}: {error}"))
}
