//! One writer process: a lock file beside the store, taken before the store is opened.
//!
//! Not a lock on the store's own file: POSIX drops a process's locks on a file as soon as the
//! process closes any descriptor of it, and SQLite holds such locks.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::StoreError;

/// The lock, held until dropped or until the process ends, however it ends.
///
/// The file stays when the lock goes: removing it could remove the one that a next writer has just
/// locked.
#[must_use = "the lock is given back when this is dropped"]
#[derive(Debug)]
pub(super) struct WriterLock {
    file: File,
    was_there: bool,
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        // Not by closing the file alone: a process that is being forked elsewhere in this program has a copy of the descriptor until
        // it executes its own, and would hold the lock as long. An error leaves it to the close.
        let _ = self.file.unlock();
    }
}

impl WriterLock {
    /// Takes the lock of the store in this file.
    pub(super) fn take(store: &Path) -> Result<Self, StoreError> {
        let path = lock_path(store);
        let failed = |source: std::io::Error| StoreError::CannotOpen {
            path: path.clone(),
            doing: "lock",
            remedy: "check that its directory exists and may be written; to read a store from a \
                     directory that may not, use SqliteEventStore::open_read_only",
            source: Arc::new(source),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // For the message only; the lock decides, not what the file says.
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "an unknown process".to_owned(),
                    // Not sure to be this one: another container has its own numbers.
                    holder if holder == own_name() => format!(
                        "{holder}, as this one: if it is, another handle has the store open, or one that was dropped is not \
                         done yet, which `close` would have waited for"
                    ),
                    holder => holder.to_owned(),
                };
                return Err(StoreError::LockedByAnother { path, holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let was_there = file.metadata().map_err(failed)?.len() > 0;
        let text = format!("{}\n", own_name());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(failed)?;
        Ok(Self { file, was_there })
    }

    /// Whether a writer had taken it before.
    pub(super) fn was_there(&self) -> bool {
        self.was_there
    }
}

/// What the lock file says of its holder.
fn own_name() -> String {
    format!("process {}", std::process::id())
}

/// The lock file of the store in this file.
pub(super) fn lock_path(store: &Path) -> PathBuf {
    beside(store, ".lock")
}

/// The file beside the store with this ending.
pub(super) fn beside(store: &Path, ending: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that is being forked at the moment has a copy of every descriptor, until it executes a program.
    #[test]
    fn the_lock_is_given_back_though_a_copy_of_its_descriptor_lives_on() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("events.db");
        let lock = WriterLock::take(&store).unwrap();
        let copy = lock.file.try_clone().unwrap();
        let refused = WriterLock::take(&store).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("{}, as this one: if it is, another handle", own_name())),
            "{refused}"
        );
        drop(lock);
        let _again = WriterLock::take(&store).unwrap();
        drop(copy);
        assert!(matches!(WriterLock::take(&store), Err(StoreError::LockedByAnother { .. })));
    }
}
