//! The loop's temporary folder, removed when the loop ends, or by the next loop if this one is killed.
//!
//! The trick: the folder holds a file that its owner keeps locked. Locks end with their process however that ends, so a
//! folder whose file can be locked has lost its owner.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process,
};

use crate::run::{Error, Result};

const PREFIX: &str = "kill-loop-";
const LOCK: &str = "owner.lock";

/// A temporary folder under `target/`.
#[derive(Debug)]
#[must_use = "the folder is removed when this is dropped"]
pub struct Scratch {
    path: PathBuf,
    kept: bool,
    _lock: File,
}

impl Scratch {
    /// Clears away what dead owners left in `base` and makes a new folder there.
    pub fn new(base: &Path) -> Result<Self> {
        Self::try_new(base)
            .map_err(|error| Error::failed(format!("a temporary folder in {}: {error}", base.display())))
    }

    fn try_new(base: &Path) -> io::Result<Self> {
        fs::create_dir_all(base)?;
        // Held until our own lock is taken, or another loop would take the new folder for a dead owner's.
        let guard = File::create(base.join(format!("{PREFIX}guard")))?;
        guard.lock()?;
        for entry in fs::read_dir(base)? {
            let path = entry?.path();
            let ours =
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
            if ours
                && let Ok(lock) = File::open(path.join(LOCK))
                && lock.try_lock().is_ok()
            {
                fs::remove_dir_all(&path)?;
            }
        }
        let mut number = 0;
        let path = loop {
            let path = base.join(format!("{PREFIX}{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        };
        let lock = File::create(path.join(LOCK))?;
        lock.lock()?;
        Ok(Self { path, kept: false, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the folder to the user, for good: without the lock file no loop takes it for its own kind's.
    pub fn keep(&mut self) -> &Path {
        self.kept = true;
        let _ = fs::remove_file(self.path.join(LOCK));
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is cleared away by the next loop.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn a_folder_goes_with_its_owner_and_only_then() {
        let base = TempDir::new("scratch");
        let dead = base.path().join("kill-loop-1-0");
        fs::create_dir(&dead).unwrap();
        File::create(dead.join(LOCK)).unwrap();

        let first = Scratch::new(base.path()).unwrap();
        File::create(first.path().join("store.db")).unwrap();
        assert!(!dead.exists(), "a dead owner's folder is cleared away");
        let second = Scratch::new(base.path()).unwrap();
        assert!(first.path().join("store.db").exists(), "a living owner's stays");
        let path = second.path().to_path_buf();
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_kept_folder_stays() {
        let base = TempDir::new("kept");
        let kept = Scratch::new(base.path()).unwrap().keep().to_path_buf();
        let _next = Scratch::new(base.path()).unwrap();
        assert!(kept.exists());
    }
}
