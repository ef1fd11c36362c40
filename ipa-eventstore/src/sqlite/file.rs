//! The store's file: where it is, what stands there, and how a new one is made.
//!
//! Apart from `open`, which looks into it: here nothing is known of what is in a store but that a new one is empty.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use super::Durability;
use super::errors::{Finding, opening};
use super::lock::beside;
use super::open::{DURABILITY, check_wal};
use super::schema;
use crate::StoreError;

/// The absolute path of the store's file; symbolic links are followed, so that two names of one file have one lock, and one that leads
/// nowhere is refused: a store in its place would be another one than that which it leads to. What is no file is not ours.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    // Without a slash or a dot at its end, which would have the looks below go past what they are to look at.
    let path = &path.components().collect::<PathBuf>();
    let name = match path.file_name() {
        Some(name) if name != ":memory:" => name,
        _ => {
            return Err(StoreError::invalid(format!(
                "{path:?} is not the path of a file; for a store in memory use InMemoryEventStore"
            )));
        }
    };
    match path.canonicalize() {
        Ok(whole) => {
            return match whole.metadata() {
                Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => {
                    Err(StoreError::NotOurs { path: whole, found: "no regular file".to_owned() })
                }
                _ => Ok(whole),
            };
        }
        Err(source) if path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) => {
            let remedy = match source.kind() {
                std::io::ErrorKind::NotFound => {
                    "it is a symbolic link to a file that is not there: see that its volume is mounted, remove the link, or create \
                     the store by the path that it leads to"
                }
                _ => "it is a symbolic link: check where it leads to, and the permissions on the way",
            };
            let (path, source) = (path.to_owned(), Arc::new(source));
            return Err(StoreError::CannotOpen { path, doing: "follow", remedy, source });
        }
        Err(_) => {}
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match parent.canonicalize() {
        Ok(parent) => Ok(parent.join(name)),
        Err(source) => Err(StoreError::CannotOpen {
            path: parent.to_owned(),
            doing: "open a store in",
            remedy: "create the directory first, or give another path",
            source: Arc::new(source),
        }),
    }
}

/// A file of two names has two locks and two logs: what is written by one name is lost to whoever writes by the other. SQLite's "How To
/// Corrupt An SQLite Database File" has it in section 2.5.
pub(super) fn refuse_hard_links(path: &Path) -> Result<(), StoreError> {
    let links = path.metadata().map_or(1, |metadata| metadata.nlink());
    if links < 2 {
        return Ok(());
    }
    Err(StoreError::CannotOpen {
        path: path.to_owned(),
        doing: "write to",
        remedy: "hard links are one file, which may have one writer and one log: remove all names but \
                 the one that has a log (`-wal`) beside it, or any of them where none has",
        source: Arc::new(Finding(format!("the file has {links} names"))),
    })
}

/// The size of a file; `None` where there is none.
pub(super) fn size(path: &Path) -> Result<Option<u64>, StoreError> {
    match path.metadata() {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::CannotOpen {
            path: path.to_owned(),
            doing: "look at",
            remedy: "check its permissions and those of its directory",
            source: Arc::new(error),
        }),
    }
}

/// Makes an empty store beside the path and renames it there: a store exists whole or not at all,
/// whenever the process or the power ends.
pub(super) fn create(path: &Path, durability: Durability) -> Result<(), StoreError> {
    let failed = |source: std::io::Error| StoreError::CannotOpen {
        path: path.to_owned(),
        doing: "create",
        remedy: "check that its directory may be written and its disk has room",
        source: Arc::new(source),
    };
    // A name that nobody else gives to a file, as what is left of an earlier one is removed.
    let draft = beside(path, ".ipa-draft");
    for ending in ["", "-journal", "-wal", "-shm"] {
        match std::fs::remove_file(beside(&draft, ending)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
    }
    let prepare = || {
        let mut connection = Connection::open(&draft)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "fullfsync", true)?;
        schema::migrate(&mut connection, 0)?;
        schema::record(&connection, DURABILITY, durability.name())?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(mode)
    };
    let mode = prepare().map_err(|error| opening(&draft, error))?;
    check_wal(path, &mode)?;
    if let Ok(empty) = path.metadata() {
        keep_access(&empty, &draft).map_err(failed)?;
    }
    std::fs::rename(&draft, path).map_err(failed)?;
    sync_directory(path).map_err(failed)
}

/// An empty file that was prepared is replaced: whose it is, and who may read it, stays. Where it cannot be handed over, it is its maker's alone.
fn keep_access(empty: &std::fs::Metadata, draft: &Path) -> std::io::Result<()> {
    let made = draft.metadata()?;
    let owners = |file: &std::fs::Metadata| (file.uid(), file.gid());
    let handed_over =
        owners(empty) == owners(&made) || chown(draft, Some(empty.uid()), Some(empty.gid())).is_ok();
    let mut permissions = empty.permissions();
    if !handed_over {
        permissions.set_mode(permissions.mode() & 0o700);
    }
    if permissions != made.permissions() {
        std::fs::set_permissions(draft, permissions)?;
    }
    Ok(())
}

/// A rename survives a power loss once its directory is synced.
#[cfg(unix)]
pub(super) fn sync_directory(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path.parent().unwrap_or(path))?.sync_all()
}

#[cfg(not(unix))]
pub(super) fn sync_directory(_path: &Path) -> std::io::Result<()> {
    Ok(())
}
