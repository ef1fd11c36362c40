//! The durable store: one SQLite file in WAL mode, one writer, several readers.
//!
//! - [`open`] finds the file, checks that it is ours and whole, and prepares connections;
//!   [`schema`] has the tables; [`lock`] keeps a second writer out; [`log`] looks for damage in the
//!   write-ahead log, which SQLite would pass over.
//! - [`writer`] is the thread that owns the write connection; [`group`] is one of its transactions.
//! - [`reader`] lends read connections; [`read`] has the queries; [`tail`] feeds subscriptions;
//!   [`tidy`] clears away what reading left.
//! - [`check`], [`backup`] and [`stats`] look at the whole of it, for an operator; [`stop`] ends them.

mod backup;
mod check;
mod errors;
mod file;
mod group;
mod lock;
mod log;
mod open;
mod options;
mod read;
mod reader;
mod schema;
mod stop;
mod survey;
mod tail;
mod tidy;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use tracing::{Instrument, debug_span};

pub use backup::Backup;
pub use check::{CheckArea, CheckFinding, CheckReport};
pub use options::{Durability, SqliteOptions};
pub use survey::{EventTypeCount, SqliteSurvey, StreamCount, StreamTypeCount};

use crate::rules::{self, PAGE, place};
use crate::stats::Counts;
use crate::wakeups::{Topic, Wakeups};
use crate::{
    Appended, EventStore, Expected, ListStreams, NewEvent, ReadAll, ReadStream, RecordedEvent, Snapshot,
    Source, StoreError, StoreStats, StreamId, StreamInfo, Subscribe, Subscription,
};
use group::What;
use read::Range;
use reader::Readers;
use tail::SqliteTail;
use writer::Writer;

/// An [`EventStore`] in one SQLite file. Clones are handles to the same open store.
///
/// When an append is acknowledged it survives `kill -9`, and by default a power loss (see
/// [`Durability`]). Appends that wait at the same time are committed together, so many appenders
/// share the price of a sync to disk.
///
/// One process writes to a store at a time: a lock file beside it (`<path>.lock`) refuses a second.
/// Any number may read beside it, with [`open_read_only`](Self::open_read_only).
///
/// The store needs a tokio runtime: reads run on its blocking pool. Where several runtimes share a store, a read may run on the pool of
/// another one that reads, and wait for that: a pool must not be filled for long with work that waits for reads. Writes run on a thread of the
/// store's own, which tokio's paused clock does not wait for: under a paused clock use
/// [`InMemoryEventStore`](crate::InMemoryEventStore).
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("events.db");
/// use ipa_eventstore::{EventStore, NewEvent, SqliteEventStore, StreamId, StreamType};
///
/// let store = SqliteEventStore::open(&path).await?;
/// let task = StreamId::new("task-1")?;
/// let started = NewEvent::json("started", &())?;
/// store.start_stream(&StreamType::new("task")?, Some(task.clone()), vec![started]).await?;
/// store.close().await?;
///
/// let store = SqliteEventStore::open(&path).await?;
/// assert_eq!(store.stream_version(&task).await?, 1);
/// # Ok::<(), ipa_eventstore::StoreError>(()) }).unwrap();
/// ```
///
/// # Closing
///
/// [`close`](Self::close) finishes what was accepted, carries the write-ahead log over into the
/// file and waits for that. When the last handle is dropped (a [`Subscription`] is one) the same
/// happens in the background. A process that just ends loses nothing acknowledged; the next open
/// then checks the file first.
#[derive(Clone)]
pub struct SqliteEventStore {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    options: SqliteOptions,
    readers: Arc<Readers>,
    /// `None` if the store is open for reading only.
    writer: Option<Writer>,
    wakeups: Wakeups,
    counts: Arc<Counts>,
    /// Whether a task looks for another process's commits; only if open for reading only.
    following: AtomicBool,
}

impl SqliteEventStore {
    /// Opens the store in this file with the default [options](SqliteOptions), creating it where
    /// there is none (in a draft beside it, `<path>.ipa-draft`, which is then renamed). The directory must exist.
    ///
    /// # Errors
    ///
    /// Nothing is written before all is known to be well.
    /// [`LockedByAnother`](StoreError::LockedByAnother): another writer has it open.
    /// [`NotOurs`](StoreError::NotOurs): the file is another program's, or a pipe, a socket, a device.
    /// [`NewerSchema`](StoreError::NewerSchema): it was written by a newer version of this crate.
    /// [`Damaged`](StoreError::Damaged): the check after an unclean end found damage.
    /// [`CannotOpen`](StoreError::CannotOpen): directory missing, no permission, no WAL possible, a link that leads nowhere.
    /// [`Invalid`](StoreError::Invalid): not the path of a file (`:memory:`).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future lets the opening finish in the background and closes the store again.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref(), SqliteOptions::new()).await
    }

    /// Opens the store in this file for reading, beside its writer or without one. It takes no lock
    /// and never checkpoints; writes are answered with [`ReadOnly`](StoreError::ReadOnly).
    ///
    /// Subscriptions see what the writer commits after at most [`tail_interval`](SqliteOptions::tail_interval), which takes a runtime
    /// with a timer: the first one on which a subscription is read looks for all of them, until it ends.
    ///
    /// While it is open there are a `-wal` and a `-shm` file beside the store, also if its writer had
    /// closed it: SQLite makes them for every reader, so the directory must be writable where they are
    /// not there. [`close`](Self::close) has SQLite remove them again if nobody else has the store open
    /// and the log is empty. They stay, harmless, if the store is just dropped, if the process is killed,
    /// or if a subscription was still being fed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); a missing store is [`CannotOpen`](StoreError::CannotOpen).
    pub async fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_read_only_with(path.as_ref(), SqliteOptions::new()).await
    }

    async fn open_with(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let path = path.to_owned();
        blocking(move || {
            let opened = open::open_writer(&path, &options)?;
            let wakeups = Wakeups::default();
            let path = opened.path.clone();
            let readers = Arc::new(Readers::new(path.clone(), options.clone()));
            let counts = Arc::new(Counts::default());
            let parts = (readers.clone(), wakeups.clone(), counts.clone());
            let writer = Writer::start(opened, options.clone(), parts)?;
            Ok(Self::new(path, options, readers, Some(writer), wakeups, counts))
        })
        .await
    }

    async fn open_read_only_with(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let path = path.to_owned();
        blocking(move || {
            let path = open::find_for_reading(&path)?;
            let readers = Arc::new(Readers::new(path.clone(), options.clone()));
            // Now rather than at the first read, so that what is wrong with it is known now.
            readers.prepare()?;
            Ok(Self::new(path, options, readers, None, Wakeups::default(), Arc::default()))
        })
        .await
    }

    fn new(
        path: PathBuf,
        options: SqliteOptions,
        readers: Arc<Readers>,
        writer: Option<Writer>,
        wakeups: Wakeups,
        counts: Arc<Counts>,
    ) -> Self {
        let following = AtomicBool::new(false);
        let inner = Inner { path, options, readers, writer, wakeups, counts, following };
        Self { inner: Arc::new(inner) }
    }

    /// The absolute path of the store's file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// What the store has done since it was opened: counters, and histograms of groups, commit times and subscribers' lag.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("events.db");
    /// use ipa_eventstore::{EventStore, NewEvent, SqliteEventStore, StreamType};
    ///
    /// let store = SqliteEventStore::open(&path).await?;
    /// store.start_stream(&StreamType::new("task")?, None, vec![NewEvent::json("started", &())?]).await?;
    /// let stats = store.stats();
    /// assert_eq!((stats.appends, stats.events, stats.commits), (1, 1, 1));
    /// assert_eq!(stats.group_size.max, 1);
    /// store.close().await?;
    /// # Ok::<(), ipa_eventstore::StoreError>(()) }).unwrap();
    /// ```
    pub fn stats(&self) -> StoreStats {
        self.inner.counts.snapshot()
    }

    /// Closes the store for every handle: writes that were accepted are still committed and
    /// answered, subscriptions end, every further call is answered with [`StoreError::Closed`] (a write to a store that is open for
    /// reading with [`ReadOnly`](StoreError::ReadOnly) as before). Returns when the file is closed and may be opened again. Closing twice is
    /// no error. A backup that is under way goes on.
    ///
    /// # Errors
    ///
    /// [`LogLeft`](StoreError::LogLeft) if the log could not be carried over because somebody still reads;
    /// [`Unavailable`](StoreError::Unavailable) if the file could not be closed. What was acknowledged is stored all the same, in the file and
    /// its `-wal` together; the next open carries it over.
    ///
    /// # Cancel safety
    ///
    /// The store closes as soon as this is first polled; dropping the future only stops waiting.
    pub async fn close(&self) -> Result<(), StoreError> {
        if let Some(writer) = &self.inner.writer {
            writer.close();
        }
        self.inner.readers.close();
        self.inner.wakeups.close();
        match &self.inner.writer {
            Some(writer) => writer.ended().await,
            None => {
                let inner = self.inner.clone();
                blocking(move || {
                    inner.readers.wait(inner.options.busy_timeout);
                    tidy::remove_empty_log(&inner.path);
                    Ok(())
                })
                .await
            }
        }
    }

    async fn write(&self, stream: &StreamId, what: What) -> Result<Appended, StoreError> {
        match &self.inner.writer {
            Some(writer) => writer.write(stream, what).await,
            None => Err(StoreError::ReadOnly { path: self.inner.path.clone() }),
        }
    }

    /// Runs a read that needs the store's path too.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&rusqlite::Connection, &Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.inner.path.clone();
        let span = debug_span!("read", path = %path.display());
        self.inner.readers.run(move |connection| read(connection, &path)).instrument(span).await
    }
}

impl fmt::Debug for SqliteEventStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteEventStore")
            .field("path", &self.inner.path)
            .field("read_only", &self.inner.writer.is_none())
            .finish_non_exhaustive()
    }
}

/// A path as text, which a serializer may insist on.
fn lossy<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// Opening waits for the disk, perhaps long.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(StoreError::Unavailable(Arc::new(error))))
}

#[async_trait]
impl EventStore for SqliteEventStore {
    async fn append(
        &self,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        rules::check_events(&events)?;
        let span = debug_span!("append", %stream, ?expected, events = events.len());
        self.write(stream, What::Append { expected, events }).instrument(span).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        read: ReadStream,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let room = read.max_count.unwrap_or(usize::MAX);
        let types: Option<Arc<[String]>> = read.event_types.map(Arc::from);
        let mut range = Range::new(read.after, read.before, read.direction);
        let mut key = None;
        let mut events = Vec::new();
        // One short transaction a page, so that a long read neither holds the log back nor keeps
        // other reads waiting. At least one, to learn whether the stream exists.
        loop {
            let (stream, types, left) = (stream.clone(), types.clone(), room - events.len());
            let page = self.read(move |connection, path| {
                // The first page's stream, should it be deleted and created again in between.
                let key = match key {
                    Some(key) => key,
                    None => read::stream_key(connection, path, &stream)?,
                };
                let (types, only) = (types.as_deref(), Some(key));
                read::stream_page(connection, path, &stream, only, &mut range, types, left)
                    .map(|page| (page, range, key))
            });
            let (page, rest, found) = page.await?;
            (range, key) = (rest, Some(found));
            append_page(&mut events, page.events);
            if page.at_end || events.len() >= room {
                return Ok(events);
            }
        }
    }

    async fn read_all(&self, read: ReadAll) -> Result<Vec<RecordedEvent>, StoreError> {
        let (after, before) = (place(read.after)?, read.before.map(place).transpose()?);
        let mut range = Range::new(after, before, read.direction);
        let room = read.max_count.unwrap_or(usize::MAX);
        let types: Option<Arc<[String]>> = read.event_types.map(Arc::from);
        let of_streams: Option<Arc<[_]>> = read.stream_types.map(Arc::from);
        let mut events = Vec::new();
        loop {
            let (types, of_streams) = (types.clone(), of_streams.clone());
            let left = room - events.len();
            let page = self.read(move |connection, path| {
                let (types, of_streams) = (types.as_deref(), of_streams.as_deref());
                read::all_page(connection, path, &mut range, types, of_streams, left)
                    .map(|page| (page, range))
            });
            let (page, rest) = page.await?;
            range = rest;
            append_page(&mut events, page.events);
            if page.at_end || events.len() >= room {
                return Ok(events);
            }
        }
    }

    async fn subscribe(&self, from: Subscribe) -> Result<Subscription, StoreError> {
        let topic = match &from.source {
            Source::Stream { stream, .. } => Topic::Stream(stream.clone()),
            Source::All { .. } => Topic::All,
        };
        // Before the stream is looked up: what is committed from here on wakes us.
        let (wake, listening) = self.inner.wakeups.listen(topic);
        if self.inner.readers.is_closed() {
            return Err(StoreError::Closed);
        }
        let tail = SqliteTail::new(self.inner.clone(), from, listening).await?;
        Ok(Subscription::new(tail, wake))
    }

    async fn stream_info(&self, stream: &StreamId) -> Result<StreamInfo, StoreError> {
        let stream = stream.clone();
        self.read(move |connection, path| read::stream_info(connection, path, &stream)).await
    }

    async fn stream_exists(&self, stream: &StreamId) -> Result<bool, StoreError> {
        let stream = stream.clone();
        self.read(move |connection, path| read::stream_exists(connection, path, &stream)).await
    }

    async fn list_streams(&self, mut list: ListStreams) -> Result<Vec<StreamInfo>, StoreError> {
        let room = list.max_count.unwrap_or(usize::MAX);
        let mut streams: Vec<StreamInfo> = Vec::new();
        loop {
            if let Some(last) = streams.last() {
                list.after = Some(last.id.clone());
            }
            let left = room - streams.len();
            let page = list.clone();
            let page = self.read(move |connection, path| read::list_page(connection, path, &page, left));
            let page = page.await?;
            let at_end = page.len() < PAGE;
            append_page(&mut streams, page);
            if at_end || streams.len() >= room {
                return Ok(streams);
            }
        }
    }

    async fn delete_stream(&self, stream: &StreamId) -> Result<(), StoreError> {
        let span = debug_span!("delete_stream", %stream);
        self.write(stream, What::Delete).instrument(span).await.map(|_| ())
    }

    async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), StoreError> {
        let span = debug_span!("save_snapshot", %stream, version = snapshot.version);
        self.write(stream, What::SaveSnapshot(snapshot)).instrument(span).await.map(|_| ())
    }

    async fn load_snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, StoreError> {
        let stream = stream.clone();
        self.read(move |connection, path| read::snapshot(connection, path, &stream)).await
    }
}

/// Most reads are of one page, whose vector then is the answer.
fn append_page<T>(all: &mut Vec<T>, mut page: Vec<T>) {
    if all.is_empty() {
        *all = page;
    } else {
        all.append(&mut page);
    }
}
