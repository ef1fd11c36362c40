//! What can be chosen when a store is opened.

use std::path::Path;
use std::time::Duration;

use crate::{SqliteEventStore, StoreError};

/// What an acknowledged append survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// The end of the process, the operating system and the power: each commit is synced to disk
    /// before it is acknowledged. The default.
    #[default]
    Full,
    /// The end of the process alone (`kill -9`): commits are handed to the operating system and
    /// synced at checkpoints. When the machine loses power, the last acknowledged appends may be
    /// lost; what is left is a prefix of them, whole appends in their order.
    ProcessCrash,
}

impl Durability {
    /// As recorded in the store.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ProcessCrash => "process-crash",
        }
    }
}

/// How to open a [`SqliteEventStore`]: a builder whose defaults suit most.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
/// # let directory = tempfile::tempdir().unwrap();
/// use ipa_eventstore::{Durability, SqliteOptions};
///
/// let store = SqliteOptions::new()
///     .durability(Durability::ProcessCrash)
///     .readers(2)
///     .open(directory.path().join("events.db"))
///     .await?;
/// store.close().await?;
/// # Ok::<(), ipa_eventstore::StoreError>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing until `open` is called on them"]
pub struct SqliteOptions {
    pub(super) durability: Durability,
    pub(super) readers: usize,
    pub(super) queue: usize,
    pub(super) group_requests: usize,
    pub(super) group_events: usize,
    pub(super) checkpoint_pages: u32,
    pub(super) idle_checkpoint: Duration,
    pub(super) busy_timeout: Duration,
    pub(super) tail_interval: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            readers: 4,
            queue: 1024,
            group_requests: 512,
            group_events: 10_000,
            checkpoint_pages: 20_000,
            idle_checkpoint: Duration::from_secs(1),
            busy_timeout: Duration::from_secs(5),
            tail_interval: Duration::from_millis(100),
        }
    }
}

/// SQLite counts the milliseconds of its wait in 31 bits.
const LONGEST_WAIT: Duration = Duration::from_millis(i32::MAX as u64);

impl SqliteOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What an acknowledged append survives; [`Durability::Full`] unless set. The choice is for as
    /// long as the store is open, and recorded in it.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How many reads run at once, each on a connection of its own; 4 unless set, at least 1.
    pub fn readers(mut self, connections: usize) -> Self {
        self.readers = connections.max(1);
        self
    }

    /// How many writes may wait for the writer before a further one waits to be queued; 1024 unless
    /// set, at least 1, and at most as many as tokio can count
    /// ([`MAX_PERMITS`](tokio::sync::Semaphore::MAX_PERMITS)).
    pub fn queue(mut self, writes: usize) -> Self {
        self.queue = writes.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
        self
    }

    /// How many waiting writes are committed together at most; 512 unless set, at least 1.
    pub fn group_requests(mut self, requests: usize) -> Self {
        self.group_requests = requests.max(1);
        self
    }

    /// From how many events on a commit takes in no further waiting write; 10,000 unless set. One
    /// append is never split, however many events it has.
    pub fn group_events(mut self, events: usize) -> Self {
        self.group_events = events;
        self
    }

    /// From how many pages (of 4 KiB) on the write-ahead log is carried over into the store's file
    /// while writes go on; 20,000 unless set.
    pub fn checkpoint_pages(mut self, pages: u32) -> Self {
        self.checkpoint_pages = pages.max(1);
        self
    }

    /// How long without a write until the log is carried over; one second unless set.
    pub fn idle_checkpoint(mut self, idle: Duration) -> Self {
        self.idle_checkpoint = idle;
        self
    }

    /// How long to wait for another process that has the file locked, before
    /// [`Unavailable`](StoreError::Unavailable); five seconds unless set, at most the 24 days that
    /// SQLite can wait.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout.min(LONGEST_WAIT);
        self
    }

    /// How often the subscriptions of a store opened read-only look for what the writer's process
    /// has committed; 100 ms unless set. A writable store's subscriptions are woken and never look.
    pub fn tail_interval(mut self, interval: Duration) -> Self {
        self.tail_interval = interval;
        self
    }

    /// Opens the store in this file, creating it where there is none.
    ///
    /// # Errors
    ///
    /// As [`SqliteEventStore::open`].
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteEventStore, StoreError> {
        SqliteEventStore::open_with(path.as_ref(), self).await
    }

    /// Opens the store in this file for reading, beside whoever writes to it.
    ///
    /// # Errors
    ///
    /// As [`SqliteEventStore::open_read_only`].
    pub async fn open_read_only(self, path: impl AsRef<Path>) -> Result<SqliteEventStore, StoreError> {
        SqliteEventStore::open_read_only_with(path.as_ref(), self).await
    }
}
