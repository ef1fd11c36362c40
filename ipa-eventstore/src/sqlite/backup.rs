//! A copy of a store that is in use.
//!
//! SQLite's online backup, page by page, within one read transaction: so the copy is of one moment,
//! and does not begin anew at each commit as a backup without the transaction would. The copy is made
//! in a draft beside its target and gets the target's name when it is whole, checked and on disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::backup::{Backup as PageCopy, StepResult};
use rusqlite::{Connection, ErrorCode};
use serde::Serialize;

use super::errors::{Finding, opening, running};
use super::lock::beside;
use super::stop::Stop;
use super::{SqliteEventStore, SqliteOptions, blocking, file, open};
use crate::{Progress, StoreError};

/// How many pages are copied between two looks at whether to go on: 4 MiB.
const STEP: i32 = 1024;

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Backup {
    /// The copy's absolute path. What of it is not UTF-8 is replaced in serde.
    #[serde(serialize_with = "super::lossy")]
    pub target: PathBuf,
    /// How many pages were copied.
    pub pages: u64,
    /// The size of the copy, in bytes.
    pub bytes: u64,
}

impl SqliteEventStore {
    /// Copies the store, as it is at one moment between two commits, into a new file: a store like
    /// any other, to be opened with [`open`](Self::open).
    ///
    /// Writes go on meanwhile, also from another process if this store was opened read-only. The
    /// write-ahead log keeps what they write until the copy is done, so it grows.
    ///
    /// The copy is made in a draft (`<target>.part`), synced, checked page by page, and only then
    /// gets its name, so a file of that name is a whole backup. An existing target is never
    /// replaced.
    ///
    /// A backup that takes the store's place gives positions again that the store gave after the backup was made: whoever has kept
    /// one (a projection, a subscriber) must not go on from there, but from one that the backup has an event at.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let (path, target) = (directory.path().join("events.db"), directory.path().join("monday.db"));
    /// use ipa_eventstore::{EventStore, SqliteEventStore, StreamId, StreamType};
    ///
    /// let store = SqliteEventStore::open(&path).await?;
    /// let task = StreamId::new("task-1")?;
    /// store.start_stream(&StreamType::new("task")?, Some(task.clone()), vec![]).await?;
    /// store.backup_to(&target).await?;
    /// assert!(store.backup_to(&target).await.is_err()); // it exists
    ///
    /// let copy = SqliteEventStore::open_read_only(&target).await?;
    /// assert!(copy.stream_exists(&task).await?);
    /// # copy.close().await?;
    /// # Ok::<(), ipa_eventstore::StoreError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// No draft is left behind. [`CannotOpen`](StoreError::CannotOpen) names the target or the draft: it
    /// exists, or cannot be written. [`Unavailable`](StoreError::Unavailable): the store cannot be
    /// read or the disk is full. [`Damaged`](StoreError::Damaged): the copy did not pass the check,
    /// most likely because the store would not. [`Closed`](StoreError::Closed).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the copying, and the draft is removed in the background. If the
    /// process is killed the draft stays; it is named in the error of the next backup to that target.
    pub async fn backup_to(&self, target: impl AsRef<Path>) -> Result<Backup, StoreError> {
        self.backup_with(target, |_| {}).await
    }

    /// [`backup_to`](Self::backup_to), which tells `progress` how many pages are copied. It is called on
    /// the thread that copies, now and then: it should be quick.
    ///
    /// # Errors
    ///
    /// As [`backup_to`](Self::backup_to).
    ///
    /// # Cancel safety
    ///
    /// As [`backup_to`](Self::backup_to).
    pub async fn backup_with(
        &self,
        target: impl AsRef<Path>,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<Backup, StoreError> {
        if self.inner.readers.is_closed() {
            return Err(StoreError::Closed);
        }
        let (inner, target) = (self.inner.clone(), target.as_ref().to_owned());
        let stop = Stop::default();
        let _stops_when_dropped = stop.guard();
        blocking(move || {
            let draft = Draft::create(&target)?;
            let pages = draft.fill(&inner.path, &inner.options, &stop, &mut progress)?;
            draft.publish(pages)
        })
        .await
    }
}

/// The unfinished copy; removed when dropped.
struct Draft {
    target: PathBuf,
    path: PathBuf,
}

impl Draft {
    fn create(target: &Path) -> Result<Self, StoreError> {
        let target = std::path::absolute(target).map_err(|error| cannot(target, WRITABLE, error))?;
        if target.file_name().is_none() {
            return Err(StoreError::invalid(format!("{} is not the path of a file", target.display())));
        }
        refuse_existing(&target)?;
        let path = beside(&target, ".part");
        // The one that makes it has it, should two backups to one target begin at once.
        File::create_new(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => cannot(&path, DRAFT_EXISTS, error),
            _ => cannot(&path, WRITABLE, error),
        })?;
        Ok(Self { target, path })
    }

    /// Copies the pages and checks the copy; says how many there are.
    fn fill(
        &self,
        store: &Path,
        options: &SqliteOptions,
        stop: &Stop,
        progress: &mut impl FnMut(Progress),
    ) -> Result<u64, StoreError> {
        let source = open::connect_reader(store, options)?;
        let failed = |error| running(store, error);
        let at_draft = |error| opening(&self.path, error);
        let mut copy = Connection::open(&self.path).map_err(at_draft)?;
        let prepare = || {
            // A draft that a crash leaves is never looked at again, so it needs no journal.
            copy.pragma_update(None, "journal_mode", "off")?;
            copy.pragma_update(None, "synchronous", "FULL")?;
            copy.pragma_update(None, "fullfsync", true)
        };
        prepare().map_err(at_draft)?;

        // Begun by the first read, and held to the end of the copying.
        let transaction = source.unchecked_transaction().map_err(failed)?;
        transaction.query_row("SELECT count(*) FROM streams", [], |_| Ok(())).map_err(failed)?;
        let pages = {
            let pages = PageCopy::new(&source, &mut copy).map_err(at_draft)?;
            loop {
                if stop.is_stopped() {
                    return Err(stopped());
                }
                let step = pages.step(STEP).map_err(|error| match error.sqlite_error_code() {
                    Some(ErrorCode::DiskFull) => running(&self.path, error),
                    _ => failed(error),
                })?;
                let (total, left) = (pages.progress().pagecount, pages.progress().remaining);
                let total = u64::from(total.unsigned_abs());
                progress(Progress::new("pages", total - u64::from(left.unsigned_abs()), total));
                match step {
                    StepResult::Done => break total,
                    StepResult::More => {}
                    // Nobody else has the draft, and a reader of a log waits for nobody.
                    _ => return Err(StoreError::Unavailable(Arc::new(Finding("a file is busy".to_owned())))),
                }
            }
        };
        drop(transaction);

        let mode: String =
            copy.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(at_draft)?;
        open::check_wal(&self.path, &mode)?;
        progress(Progress::new("checking", 0, 0));
        stop.interrupts(&copy);
        if stop.is_stopped() {
            return Err(stopped());
        }
        // A copy of damage: it is the store that is to be looked at.
        open::quick_check(&copy, store)?;
        copy.close().map_err(|(_, error)| at_draft(error))?;
        Ok(pages)
    }

    /// Gives the draft the target's name.
    fn publish(self, pages: u64) -> Result<Backup, StoreError> {
        let failed = |error| cannot(&self.target, WRITABLE, error);
        let draft = File::open(&self.path).map_err(failed)?;
        draft.sync_all().map_err(failed)?;
        let bytes = draft.metadata().map_err(failed)?.len();
        refuse_existing(&self.target)?;
        // A link never replaces a file, as a rename would; not every file system has them.
        if let Err(error) = std::fs::hard_link(&self.path, &self.target) {
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                return Err(cannot(&self.target, TARGET_EXISTS, error));
            }
            std::fs::rename(&self.path, &self.target).map_err(failed)?;
        }
        let target = self.target.clone();
        // Removes the draft's own name, before the directory is synced.
        drop(self);
        file::sync_directory(&target).map_err(|error| cannot(&target, WRITABLE, error))?;
        Ok(Backup { target, pages, bytes })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        for ending in ["-wal", "-shm", "-journal", ""] {
            // Most of them are not there; and nobody is left to be told.
            let _ = std::fs::remove_file(beside(&self.path, ending));
        }
    }
}

const TARGET_EXISTS: &str = "it exists, and a backup replaces nothing: give another path, or move it away";
const DRAFT_EXISTS: &str =
    "another backup to this target is being made, or one was killed: if none is, remove this file";
const WRITABLE: &str = "check that its directory exists and may be written, and that its disk has room";

/// Not only the file itself: an old log beside it would be taken for the copy's own.
fn refuse_existing(target: &Path) -> Result<(), StoreError> {
    for ending in ["", "-wal", "-journal"] {
        let path = beside(target, ending);
        match path.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot(&path, WRITABLE, error)),
            Ok(_) => {
                let error = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
                return Err(cannot(&path, TARGET_EXISTS, error));
            }
        }
    }
    Ok(())
}

fn cannot(path: &Path, remedy: &'static str, source: std::io::Error) -> StoreError {
    StoreError::CannotOpen {
        path: path.to_owned(),
        doing: "make a backup in",
        remedy,
        source: Arc::new(source),
    }
}

/// Nobody waits for this answer.
fn stopped() -> StoreError {
    StoreError::Unavailable(Arc::new(Finding("the backup was stopped".to_owned())))
}
