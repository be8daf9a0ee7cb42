//! Noticing that an application's Python files have changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::fault::Fault;

/// How often the files are looked at. A change counts when the next look finds the same: an editor or a checkout may be
/// at work.
const PERIOD: Duration = Duration::from_millis(300);

/// The most files and folders that are looked at.
const MOST: usize = 50_000;

/// Calls `changed` with a file that is new, different or gone, from another thread and until this process ends. Watches
/// the Python files in and below `folders`, and `script` whatever it is called.
pub fn watch(folders: Vec<PathBuf>, script: PathBuf, changed: impl Fn(PathBuf) + Send + 'static) -> Result<(), Fault> {
    let mut known = Snapshot::take(&folders, &script);
    if known.looked_at > MOST {
        return Err(Fault::new(
            670,
            format!(
                "--reload would watch more than {MOST} files below {folders:?}; name a smaller --working-directory"
            ),
        ));
    }
    thread::spawn(move || {
        let mut pending = None;
        loop {
            thread::sleep(PERIOD);
            let now = Snapshot::take(&folders, &script);
            match now.difference(&known) {
                Some(file) => pending = Some(file),
                None => pending.take().into_iter().for_each(&changed),
            }
            known = now;
        }
    });
    Ok(())
}

/// Files, with what tells one version of them from another.
#[derive(Debug, Default)]
struct Snapshot {
    files: BTreeMap<PathBuf, (Option<SystemTime>, u64)>,
    looked_at: usize,
}

impl Snapshot {
    fn take(folders: &[PathBuf], script: &Path) -> Snapshot {
        let mut found = Snapshot::default();
        found.add(script);
        for folder in folders {
            found.walk(folder);
        }
        found
    }

    /// A file that is not the same in both.
    fn difference(&self, other: &Snapshot) -> Option<PathBuf> {
        let new = self
            .files
            .iter()
            .find(|(path, version)| other.files.get(*path) != Some(*version));
        let gone = || other.files.iter().find(|(path, _)| !self.files.contains_key(*path));
        new.or_else(gone).map(|(path, _)| path.clone())
    }

    fn add(&mut self, path: &Path) {
        if let Ok(file) = fs::metadata(path) {
            self.files.insert(path.to_owned(), (file.modified().ok(), file.len()));
        }
    }

    fn walk(&mut self, folder: &Path) {
        // A virtual environment is not the application's own work.
        if folder.join("pyvenv.cfg").exists() {
            return;
        }
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            self.looked_at += 1;
            if self.looked_at > MOST {
                return;
            }
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.as_encoded_bytes();
            // Links to folders are not followed: they may lead in circles.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if !name.starts_with(b".") && name != b"__pycache__" && name != b"node_modules" {
                    self.walk(&path);
                }
            } else if name.ends_with(b".py") || name.ends_with(b".wsgi") {
                self.add(&path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path();
        let write = |name: &str, text: &str| {
            let path = base.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let script = write("script", "");
        let look = || Snapshot::take(&[base.to_owned()], &script);
        let first = look();
        assert_eq!(look().difference(&first), None);
        for ignored in ["a.txt", ".git/b.py", "__pycache__/c.py", "venv/pyvenv.cfg", "venv/d.py"] {
            write(ignored, "");
            assert_eq!(look().difference(&first), None, "{ignored}");
        }
        let new = write("package/e.py", "");
        assert_eq!(look().difference(&first), Some(new.clone()));
        let second = look();
        write("package/e.py", "longer");
        assert_eq!(look().difference(&second), Some(new.clone()));
        fs::remove_file(&new).unwrap();
        assert_eq!(look().difference(&second), Some(new));
        write("script", "longer");
        assert_eq!(look().difference(&first), Some(script.clone()));
    }
}
