//! What there is in a store, counted.

use std::path::Path;

use rusqlite::{Connection, Row};
use serde::Serialize;

use super::errors::{damaged, running};
use super::lock::beside;
use super::{SqliteEventStore, open, schema};
use crate::{Position, StoreError, StreamId};

/// How many of the largest streams are named.
const LARGEST: i64 = 10;

/// What there is in a [`SqliteEventStore`], at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SqliteSurvey {
    /// How many streams there are.
    pub streams: u64,
    /// How many events there are.
    pub events: u64,
    /// How many streams have a snapshot.
    pub snapshots: u64,
    /// The position of the last event; [`Position::START`] if there is none.
    pub last_position: Position,
    /// The number of the file's schema.
    pub schema: i64,
    /// The durability mode under which the store was opened for writing last: `full` or
    /// `process-crash`.
    pub durability: Option<String>,
    /// The size of a page, in bytes.
    pub page_size: u64,
    /// How many pages the store has; those that only the log has yet are counted.
    pub pages: u64,
    /// How many of the pages are unused.
    pub free_pages: u64,
    /// The size of the file, in bytes.
    pub file_bytes: u64,
    /// The size of the write-ahead log, in bytes; 0 if there is none.
    pub log_bytes: u64,
    /// The streams with the most events, at most ten, the largest first.
    pub largest: Vec<StreamCount>,
    /// What types of streams there are, in the order of their names.
    pub stream_types: Vec<StreamTypeCount>,
    /// What types of events there are, in the order of their names.
    pub event_types: Vec<EventTypeCount>,
}

/// A stream and how many events it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StreamCount {
    /// The stream.
    pub stream: StreamId,
    /// How many events it has.
    pub events: u64,
}

/// A type of streams and how much there is of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StreamTypeCount {
    /// The type.
    #[serde(rename = "type")]
    pub stream_type: String,
    /// How many streams are of it.
    pub streams: u64,
    /// How many events those have together.
    pub events: u64,
}

/// A type of events and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EventTypeCount {
    /// The type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// How many events are of it.
    pub events: u64,
}

impl SqliteEventStore {
    /// Counts what there is in the store, in one read transaction. It looks at every event, so on a
    /// large store it takes a while.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("events.db");
    /// use ipa_eventstore::{EventStore, NewEvent, SqliteEventStore, StreamType};
    ///
    /// let store = SqliteEventStore::open(&path).await?;
    /// let first = vec![NewEvent::json("started", &())?];
    /// store.start_stream(&StreamType::new("task")?, None, first).await?;
    /// let survey = store.survey().await?;
    /// assert_eq!((survey.streams, survey.events), (1, 1));
    /// # Ok::<(), ipa_eventstore::StoreError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable`](StoreError::Unavailable), [`Damaged`](StoreError::Damaged),
    /// [`Closed`](StoreError::Closed).
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed; a dropped call lets its read finish in the background.
    pub async fn survey(&self) -> Result<SqliteSurvey, StoreError> {
        self.read(count).await
    }
}

fn count(connection: &Connection, path: &Path) -> Result<SqliteSurvey, StoreError> {
    let failed = |error| running(path, error);
    let _transaction = connection.unchecked_transaction().map_err(failed)?;
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get(0).map(i64::unsigned_abs));
    let size = |file: &Path| file.metadata().map_or(0, |metadata| metadata.len());
    let query = || {
        Ok(SqliteSurvey {
            streams: number("SELECT count(*) FROM streams")?,
            events: number("SELECT count(*) FROM events")?,
            snapshots: number("SELECT count(*) FROM snapshots")?,
            last_position: Position::from_parts(
                0,
                0,
                number("SELECT coalesce(max(position), 0) FROM events")?,
            ),
            schema: connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
            durability: schema::recorded(connection, open::DURABILITY)?,
            page_size: number("PRAGMA page_size")?,
            pages: number("PRAGMA page_count")?,
            free_pages: number("PRAGMA freelist_count")?,
            file_bytes: size(path),
            log_bytes: size(&beside(path, "-wal")),
            largest: Vec::new(),
            stream_types: rows(
                connection,
                "SELECT type, count(*), sum(version) FROM streams GROUP BY type ORDER BY type",
                |row| {
                    Ok(StreamTypeCount {
                        stream_type: row.get(0)?,
                        streams: row.get(1).map(i64::unsigned_abs)?,
                        events: row.get(2).map(i64::unsigned_abs)?,
                    })
                },
            )?,
            event_types: rows(
                connection,
                "SELECT type, count(*) FROM events GROUP BY type ORDER BY type",
                |row| {
                    Ok(EventTypeCount { event_type: row.get(0)?, events: row.get(1).map(i64::unsigned_abs)? })
                },
            )?,
        })
    };
    let mut stats = query().map_err(failed)?;
    let largest = rows(
        connection,
        &format!(
            "SELECT name, version FROM streams WHERE version > 0 ORDER BY version DESC, name LIMIT {LARGEST}"
        ),
        |row| Ok((row.get::<_, String>(0)?, row.get(1).map(i64::unsigned_abs)?)),
    );
    for (name, events) in largest.map_err(failed)? {
        let stream = StreamId::new(name).map_err(|error| damaged(path, None, None, error))?;
        stats.largest.push(StreamCount { stream, events });
    }
    Ok(stats)
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], row)?.collect()
}
