//! What a subscription to an SQLite store reads from, and what wakes the subscriptions of a store
//! that another process writes to.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use async_trait::async_trait;
use rusqlite::Connection;
use tracing::debug;

use super::errors::running;
use super::read::{self, Range};
use super::{Inner, open};
use crate::rules::{PAGE, place};
use crate::subscription::{Page, Tail};
use crate::wakeups::Listening;
use crate::{Direction, Source, StoreError, StreamId, StreamType, Subscribe};

/// A place in a stream or in the store.
pub(super) struct SqliteTail {
    inner: Arc<Inner>,
    source: TailSource,
    types: Option<Arc<[String]>>,
    range: Range,
    /// Whether the last page was at the end: what comes then is new.
    up_to_date: bool,
    _listening: Listening,
}

enum TailSource {
    Stream { stream: StreamId, key: i64 },
    All { types: Option<Arc<[StreamType]>> },
}

impl SqliteTail {
    pub(super) async fn new(
        inner: Arc<Inner>,
        from: Subscribe,
        listening: Listening,
    ) -> Result<Self, StoreError> {
        let (source, after) = match from.source {
            Source::Stream { stream, after } => {
                let path = inner.path.clone();
                let name = stream.clone();
                let key =
                    inner.readers.run(move |connection| read::stream_key(connection, &path, &name)).await?;
                (TailSource::Stream { stream, key }, after)
            }
            Source::All { after, stream_types } => {
                let types = stream_types.map(Arc::from);
                (TailSource::All { types }, place(after)?)
            }
        };
        Ok(Self {
            inner,
            source,
            types: from.event_types.map(Arc::from),
            range: Range::new(after, None, Direction::Forward),
            up_to_date: false,
            _listening: listening,
        })
    }
}

#[async_trait]
impl Tail for SqliteTail {
    async fn next_page(&mut self) -> Result<Page, StoreError> {
        // Its first look wakes in any case, and so for what is committed behind this read.
        follow(&self.inner);
        let path = self.inner.path.clone();
        let types = self.types.clone();
        let mut range = self.range.clone();
        let readers = &self.inner.readers;
        let (page, range) = match &self.source {
            TailSource::Stream { stream, key } => {
                let (stream, key) = (stream.clone(), *key);
                let read = move |connection: &Connection| {
                    let types = types.as_deref();
                    let key = Some(key);
                    read::stream_page(connection, &path, &stream, key, &mut range, types, PAGE)
                        .map(|page| (page, range))
                };
                readers.run(read).await?
            }
            TailSource::All { types: of_streams } => {
                let of_streams = of_streams.clone();
                let read = move |connection: &Connection| {
                    let (types, of_streams) = (types.as_deref(), of_streams.as_deref());
                    read::all_page(connection, &path, &mut range, types, of_streams, PAGE)
                        .map(|page| (page, range))
                };
                readers.run(read).await?
            }
        };
        // After the last await: a call that is dropped leaves the place where it was.
        self.range = range;
        if let Some(oldest) = page.events.first().filter(|_| self.up_to_date) {
            // The wall clock may have been set back since.
            let lag = SystemTime::now().duration_since(oldest.recorded_at).unwrap_or_default();
            self.inner.counts.subscriber_lag.time(lag);
        }
        self.up_to_date = page.at_end;
        Ok(page)
    }
}

/// Has somebody look for another process's commits, if nobody does and the store is open for reading only.
fn follow(inner: &Arc<Inner>) {
    let follows = || inner.following.swap(true, Ordering::Relaxed);
    if inner.writer.is_none() && !inner.readers.is_closed() && !follows() {
        tokio::spawn(follow_other_process(Follows(Arc::downgrade(inner))));
    }
}

/// Whoever looks for another process's commits. It ends with the runtime that it is on: those who wait on another one are woken, and the
/// first of them follows instead.
struct Follows(Weak<Inner>);

impl Drop for Follows {
    fn drop(&mut self) {
        // A panic, as where there is no timer, would be the next one's as well.
        if std::thread::panicking() {
            return;
        }
        if let Some(inner) = self.0.upgrade() {
            inner.following.store(false, Ordering::Relaxed);
            inner.wakeups.wake_everyone();
        }
    }
}

/// Wakes the subscriptions of a store that is open for reading whenever its writer has committed.
///
/// No process can be woken by another's commit, so this looks every so often at SQLite's
/// `data_version`, which changes on a connection when another one has written.
async fn follow_other_process(follows: Follows) {
    let store = &follows.0;
    let mut connection: Option<Connection> = None;
    let mut seen: Option<i64> = None;
    loop {
        let Some(interval) = store.upgrade().map(|inner| inner.options.tail_interval) else {
            return;
        };
        tokio::time::sleep(interval).await;
        let Some(inner) = store.upgrade() else {
            return;
        };
        if inner.readers.is_closed() {
            return;
        }
        let (path, options) = (inner.path.clone(), inner.options.clone());
        let kept = connection.take();
        let look = move || {
            let connection = match kept {
                Some(connection) => connection,
                None => open::connect_reader(&path, &options)?,
            };
            let version: i64 = connection
                .pragma_query_value(None, "data_version", |row| row.get(0))
                .map_err(|error| running(&path, error))?;
            Ok::<_, StoreError>((connection, version))
        };
        let version = match tokio::task::spawn_blocking(look).await {
            Ok(Ok((back, version))) => {
                connection = Some(back);
                Some(version)
            }
            Ok(Err(error)) => {
                debug!(path = %inner.path.display(), %error, "cannot look for commits");
                None
            }
            // The runtime shuts down.
            Err(_) => return,
        };
        // The first look wakes too: something may have been committed before it. So does a look
        // that failed: the subscribers' own read says what is wrong.
        if version.is_none() || version != seen {
            inner.wakeups.wake_everyone();
        }
        seen = version;
    }
}
