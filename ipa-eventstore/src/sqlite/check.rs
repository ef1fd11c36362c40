//! Looking at a whole store, for damage that reading would meet only when it gets there.
//!
//! Apart from the reads, because those stop at the first thing that cannot be right, and this goes on
//! to the next. Everything is looked at in one read transaction, so a writer beside it is no damage.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use serde::Serialize;

use super::errors::running;
use super::stop::Stop;
use super::{SqliteEventStore, SqliteOptions, blocking, open, read};
use crate::{Json, Progress, StoreError, StreamId, StreamType};

/// How many findings are kept; of more there is only the [count](CheckReport::more).
const KEPT: usize = 1000;

/// How many rows are looked at between two words on the progress.
const STRIDE: u64 = 1000;

/// What a check of a store found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// The store's absolute path. What of it is not UTF-8 is replaced in serde.
    #[serde(serialize_with = "super::lossy")]
    pub path: PathBuf,
    /// How many streams were looked at.
    pub streams: u64,
    /// How many events were looked at.
    pub events: u64,
    /// How many snapshots were looked at.
    pub snapshots: u64,
    /// What is wrong, in the order in which it was found: at most 1000 findings.
    pub findings: Vec<CheckFinding>,
    /// How many findings there are beyond those that are kept.
    pub more: u64,
}

impl CheckReport {
    fn new(path: PathBuf) -> Self {
        Self { path, streams: 0, events: 0, snapshots: 0, findings: Vec::new(), more: 0 }
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    fn found(&mut self, area: CheckArea, message: impl Into<String>) {
        self.found_at(area, None, None, message);
    }

    fn found_at(
        &mut self,
        area: CheckArea,
        stream: Option<&StreamId>,
        version: Option<u64>,
        message: impl Into<String>,
    ) {
        if self.findings.len() < KEPT {
            let (stream, message) = (stream.cloned(), message.into());
            self.findings.push(CheckFinding { area, stream, version, message });
        } else {
            self.more += 1;
        }
    }
}

/// One thing that is wrong with a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckFinding {
    /// What it was found by.
    pub area: CheckArea,
    /// The stream concerned, where it is known.
    pub stream: Option<StreamId>,
    /// The version concerned, where it is known.
    pub version: Option<u64>,
    /// What is wrong.
    pub message: String,
}

/// What a finding was found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckArea {
    /// The write-ahead log: a frame that does not fit, with later commits behind it, which SQLite would leave out.
    Log,
    /// SQLite's own look at the file's pages, tables and indexes (`integrity_check`).
    Pages,
    /// Rows that refer to a row that is not there (`foreign_key_check`).
    References,
    /// Streams: names, versions.
    Streams,
    /// Events: dense versions, ids, JSON.
    Events,
    /// Snapshots: versions, JSON.
    Snapshots,
}

impl SqliteEventStore {
    /// Looks for damage in the store in this file, beside its writer or without one; changes nothing.
    ///
    /// It walks over the write-ahead log for damage that SQLite would pass over, runs SQLite's
    /// `integrity_check` and `foreign_key_check`, and sees whether every stream's
    /// versions go from 1 to the stream's own without a gap and in the order of their positions,
    /// every event and snapshot can be decoded, no snapshot is ahead of its stream, and no position
    /// can be given a second time. What is found is in the report, and is no error.
    ///
    /// It reads everything, in one transaction: what a writer writes meanwhile stays in the
    /// write-ahead log until it is done.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("events.db");
    /// use ipa_eventstore::SqliteEventStore;
    ///
    /// let store = SqliteEventStore::open(&path).await?;
    /// let report = SqliteEventStore::check(&path).await?;
    /// assert!(report.is_sound(), "{:?}", report.findings);
    /// # Ok::<(), ipa_eventstore::StoreError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the store cannot be looked at: [`NotOurs`](StoreError::NotOurs),
    /// [`NewerSchema`](StoreError::NewerSchema), [`CannotOpen`](StoreError::CannotOpen),
    /// [`Unavailable`](StoreError::Unavailable), [`Invalid`](StoreError::Invalid).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the check.
    pub async fn check(path: impl AsRef<Path>) -> Result<CheckReport, StoreError> {
        Self::check_with(path, |_| {}).await
    }

    /// [`check`](Self::check), which tells `progress` how far it is. It is called on the thread that
    /// checks, now and then: it should be quick.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    ///
    /// # Cancel safety
    ///
    /// As [`check`](Self::check).
    pub async fn check_with(
        path: impl AsRef<Path>,
        mut progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<CheckReport, StoreError> {
        let path = path.as_ref().to_owned();
        let stop = Stop::default();
        let _stops_when_dropped = stop.guard();
        blocking(move || {
            let mut report = CheckReport::new(std::path::absolute(&path).unwrap_or_else(|_| path.clone()));
            match look(&path, &mut report, &stop, &mut progress) {
                Ok(()) => {}
                // So much that it cannot even be opened.
                Err(StoreError::Damaged { source, .. }) => {
                    report.found(CheckArea::Pages, chain(&*source));
                }
                Err(error) => return Err(error),
            }
            Ok(report)
        })
        .await
    }
}

fn look(
    path: &Path,
    report: &mut CheckReport,
    stop: &Stop,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), StoreError> {
    report.path = open::find_for_reading(path)?;
    let path = report.path.clone();
    let connection = open::connect_reader(&path, &SqliteOptions::new())?;
    stop.interrupts(&connection);
    {
        let _transaction = connection.unchecked_transaction().map_err(|error| running(&path, error))?;
        let mut check = Check {
            connection: &connection,
            path: &path,
            report,
            stop,
            progress,
            streams: HashMap::new(),
            expected_events: 0,
            last_position: 0,
        };
        check.everything()?;
    }
    drop(connection);
    super::tidy::remove_empty_log(&path);
    Ok(())
}

struct Check<'a> {
    connection: &'a Connection,
    path: &'a Path,
    report: &'a mut CheckReport,
    stop: &'a Stop,
    progress: &'a mut dyn FnMut(Progress),
    streams: HashMap<i64, Stream>,
    expected_events: u64,
    last_position: i64,
}

struct Stream {
    id: StreamId,
    version: u64,
    seen: u64,
}

impl Check<'_> {
    /// Each part by itself: what keeps one of them from going on is a finding, and the next begins.
    fn everything(&mut self) -> Result<(), StoreError> {
        self.log()?;
        self.part(CheckArea::Pages, Self::pages)?;
        self.part(CheckArea::References, Self::references)?;
        let all_streams = self.part(CheckArea::Streams, Self::streams)?;
        let all_events = self.part(CheckArea::Events, Self::events)?;
        if all_streams && all_events {
            self.ends_of_streams();
        }
        self.part(CheckArea::Streams, Self::sequences)?;
        self.part(CheckArea::Snapshots, Self::snapshots)?;
        Ok(())
    }

    /// Says whether the part got to its end.
    fn part(
        &mut self,
        area: CheckArea,
        part: impl FnOnce(&mut Self) -> rusqlite::Result<()>,
    ) -> Result<bool, StoreError> {
        if self.stop.is_stopped() {
            return Err(StoreError::Closed);
        }
        match part(self).map_err(|error| running(self.path, error)) {
            Ok(()) => Ok(true),
            Err(StoreError::Damaged { source, .. }) => {
                self.report.found(area, format!("reading cannot go on: {}", chain(&*source)));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn log(&mut self) -> Result<(), StoreError> {
        (self.progress)(Progress::new("log", 0, 0));
        let log = open::walk_log(self.path)?;
        if let Some(damage) = open::log_damage(self.path, &log) {
            self.report.found(CheckArea::Log, damage);
        }
        Ok(())
    }

    fn pages(&mut self) -> rusqlite::Result<()> {
        (self.progress)(Progress::new("pages", 0, 0));
        let mut statement = self.connection.prepare(&format!("PRAGMA integrity_check({KEPT})"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let line: String = row.get(0)?;
            if line != "ok" {
                self.report.found(CheckArea::Pages, line);
            }
        }
        Ok(())
    }

    fn references(&mut self) -> rusqlite::Result<()> {
        (self.progress)(Progress::new("references", 0, 0));
        let mut statement = self.connection.prepare("PRAGMA foreign_key_check")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (table, row_id, parent): (String, Option<i64>, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let row_id = row_id.map_or_else(|| "?".to_owned(), |id| id.to_string());
            let message = format!("row {row_id} of {table} refers to a row of {parent} that is not there");
            self.report.found(CheckArea::References, message);
        }
        Ok(())
    }

    fn streams(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare("SELECT id, name, type, version FROM streams")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.report.streams += 1;
            let (key, version): (i64, i64) = (row.get(0)?, row.get(3)?);
            let (name, kind): (String, String) = (row.get(1)?, row.get(2)?);
            let id = match (StreamId::new(name), StreamType::new(kind)) {
                (Ok(id), Ok(_)) => id,
                (Err(error), _) | (_, Err(error)) => {
                    self.report.found(CheckArea::Streams, format!("stream of key {key}: {error}"));
                    continue;
                }
            };
            let version = u64::try_from(version).unwrap_or_else(|_| {
                let message = format!("the stream's version is {version}");
                self.report.found_at(CheckArea::Streams, Some(&id), None, message);
                0
            });
            self.expected_events = self.expected_events.saturating_add(version);
            self.streams.insert(key, Stream { id, version, seen: 0 });
        }
        Ok(())
    }

    fn events(&mut self) -> rusqlite::Result<()> {
        let mut statement = self
            .connection
            .prepare(&format!("SELECT {}, e.stream FROM events e ORDER BY e.position", read::COLUMNS))?;
        let mut rows = statement.query(params![])?;
        let mut types_seen = read::TypesSeen::default();
        while let Some(row) = rows.next()? {
            if self.report.events.is_multiple_of(STRIDE) {
                if self.stop.is_stopped() {
                    return Ok(());
                }
                (self.progress)(Progress::new("events", self.report.events, self.expected_events));
            }
            self.report.events += 1;
            let (version, position): (i64, i64) = (row.get(0)?, row.get(1)?);
            self.last_position = position;
            if position <= 0 {
                self.report.found(CheckArea::Events, format!("an event has position {position}"));
            }
            // Events without a stream are found by their reference.
            let Some(stream) = self.streams.get_mut(&row.get(11)?) else {
                continue;
            };
            let due = stream.seen + 1;
            if i64::try_from(due) != Ok(version) {
                let message = format!("version {version} is found where {due} is due");
                self.report.found_at(CheckArea::Events, Some(&stream.id), Some(due), message);
            }
            stream.seen = u64::try_from(version).unwrap_or(due);
            if let Err(error) = read::event(row, self.path, &stream.id, &mut types_seen) {
                let message = match &error {
                    StoreError::Damaged { source, .. } => chain(&**source),
                    error => chain(error),
                };
                self.report.found_at(CheckArea::Events, Some(&stream.id), Some(stream.seen), message);
            }
        }
        Ok(())
    }

    /// A gap within a stream is found where its next event is; one at the end, here.
    fn ends_of_streams(&mut self) {
        let mut wrong: Vec<_> =
            self.streams.values().filter(|stream| stream.seen != stream.version).collect();
        wrong.sort_by(|a, b| a.id.cmp(&b.id));
        for stream in wrong {
            let message =
                format!("the stream is at version {}, its last event is {}", stream.version, stream.seen);
            self.report.found_at(CheckArea::Streams, Some(&stream.id), Some(stream.seen + 1), message);
        }
    }

    /// Without the record of what was used, a position or a stream's key would be used again.
    fn sequences(&mut self) -> rusqlite::Result<()> {
        let used = |table: &str| -> rusqlite::Result<i64> {
            self.connection.query_row(
                "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?1",
                [table],
                |row| row.get(0),
            )
        };
        let last_key = self.streams.keys().copied().max().unwrap_or(0);
        let last = [("events", self.last_position), ("streams", last_key)];
        for (table, last) in last {
            let used = used(table)?;
            if used < last {
                let message =
                    format!("the last number used in {table} is {last}, but {used} is recorded as the last");
                self.report.found(CheckArea::Streams, message);
            }
        }
        Ok(())
    }

    fn snapshots(&mut self) -> rusqlite::Result<()> {
        let mut statement =
            self.connection.prepare("SELECT stream, version, schema, data FROM snapshots ORDER BY stream")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if self.report.snapshots.is_multiple_of(STRIDE) {
                (self.progress)(Progress::new("snapshots", self.report.snapshots, 0));
            }
            self.report.snapshots += 1;
            let (key, version): (i64, i64) = (row.get(0)?, row.get(1)?);
            let Some(stream) = self.streams.get(&key) else {
                continue;
            };
            let at = u64::try_from(version).ok();
            let mut found =
                |message: String| self.report.found_at(CheckArea::Snapshots, Some(&stream.id), at, message);
            if at.is_none_or(|at| at > stream.version) {
                found(format!("the snapshot is of version {version}, the stream is at {}", stream.version));
            }
            if let Err(error) = row.get::<_, u32>(2) {
                found(format!("the snapshot's schema number: {}", chain(&error)));
            }
            match row.get::<_, String>(3).map(|text| Json::check(&text)) {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => found(format!("the snapshot is not JSON: {error}")),
                Err(error) => found(format!("the snapshot cannot be read: {}", chain(&error))),
            }
        }
        Ok(())
    }
}

/// An error with all that is behind it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}
