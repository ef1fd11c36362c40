//! One transaction for a group of writes.
//!
//! A write that is refused undoes itself and nothing else. One that is a single statement does so by itself: a statement that fails
//! leaves nothing behind (SQLite's "ABORT", in "The ON CONFLICT Clause"). One of several has a savepoint. A
//! stream's writes come one after the other: its row is read once, and its version written once.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, params};

use super::errors::{AtPath, Finding, damaged, running};
use crate::rules::{self, Stored};
use crate::time::{now, to_micros};
use crate::{Appended, EventId, Expected, NewEvent, Position, Snapshot, StoreError, StreamId};

/// Something to be written to one stream.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) stream: StreamId,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Append { expected: Expected, events: Vec<NewEvent> },
    Delete,
    SaveSnapshot(Snapshot),
}

/// What became of a write, true only once its group is committed.
pub(super) struct Outcome {
    /// For a delete and a snapshot, only that it is `Ok` means anything.
    pub(super) answer: Result<Appended, StoreError>,
    /// Whether those who follow the stream have something to see.
    pub(super) publish: bool,
}

/// Why a whole group failed, for each of its writes to be told.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was committed, and the connection is as good as before.
    Busy(Arc<rusqlite::Error>),
    /// Nothing was committed.
    BeforeCommit(Arc<rusqlite::Error>),
    /// The commit's fate is unknown.
    AtCommit(Arc<rusqlite::Error>),
}

impl Failure {
    /// The answer to a write of the group.
    pub(super) fn answer(&self, path: &Path) -> StoreError {
        match self {
            Self::Busy(error) | Self::BeforeCommit(error) => running(path, error.clone()),
            Self::AtCommit(error) => StoreError::Indeterminate(Arc::new(AtPath::new(path, error.clone()))),
        }
    }
}

/// Writes a group and commits it. The writes of a stream stand next to each other.
pub(super) fn commit(
    connection: &Connection,
    path: &Path,
    writes: &[&Write],
) -> Result<Vec<Outcome>, Failure> {
    // IMMEDIATE: a transaction that reads first and then writes fails at once, without waiting, if
    // another process wrote in between.
    execute(connection, "BEGIN IMMEDIATE").map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Failure::Busy(error.into()),
        _ => Failure::BeforeCommit(error.into()),
    })?;
    let outcomes = Group::new(connection, path)
        .and_then(|mut group| group.write_all(writes))
        .map_err(|error| Failure::BeforeCommit(error.into()))?;
    execute(connection, "COMMIT").map_err(|error| Failure::AtCommit(error.into()))?;
    Ok(outcomes)
}

fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(|_| ())
}

/// Why one write ends early.
enum Stop {
    /// It alone is refused.
    Refused(StoreError),
    /// The transaction is no good any more.
    Failed(rusqlite::Error),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            // The row's fault, not the store's.
            Some(ErrorCode::TooBig) => Self::Refused(StoreError::invalid(
                "an event or a snapshot is larger than a row can be, one gigabyte",
            )),
            _ => Self::Failed(error),
        }
    }
}

struct Group<'a> {
    connection: &'a Connection,
    path: &'a Path,
    insert: CachedStatement<'a>,
    now: i64,
    /// The stream that is being written; `None` if it does not exist.
    row: Option<StreamRow>,
    /// Whether the write under way has a savepoint. Within one, SQLite keeps a copy of each page that is changed.
    savepoint: bool,
}

#[derive(Clone, Copy)]
struct StreamRow {
    key: i64,
    version: u64,
    /// Whether the version is still to be written.
    changed: bool,
}

impl<'a> Group<'a> {
    fn new(connection: &'a Connection, path: &'a Path) -> rusqlite::Result<Self> {
        let insert = connection.prepare_cached(
            "INSERT INTO events (stream, version, event_id, type, schema_version, recorded_at,
                                 actor, causation, correlation, metadata, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        Ok(Self { connection, path, insert, now: to_micros(now()), row: None, savepoint: false })
    }

    fn write_all(&mut self, writes: &[&Write]) -> rusqlite::Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(writes.len());
        let mut current: Option<&StreamId> = None;
        for write in writes {
            if current != Some(&write.stream) {
                self.write_version()?;
                self.row = self.read_row(&write.stream)?;
                current = Some(&write.stream);
            }
            outcomes.push(self.write_one(write)?);
        }
        self.write_version()?;
        Ok(outcomes)
    }

    fn write_one(&mut self, write: &Write) -> rusqlite::Result<Outcome> {
        self.savepoint = match &write.what {
            // The stream may be created first.
            What::Append { events, .. } => events.len() + usize::from(self.row.is_none()) > 1,
            What::Delete | What::SaveSnapshot(_) => false,
        };
        if self.savepoint {
            execute(self.connection, "SAVEPOINT request")?;
        }
        let outcome = match self.apply(write) {
            Ok(outcome) => outcome,
            Err(Stop::Refused(error)) => {
                // `row` needs no rolling back: it is set only when a write has gone through.
                self.undo()?;
                Outcome { answer: Err(error), publish: false }
            }
            Err(Stop::Failed(error)) => return Err(error),
        };
        if self.savepoint {
            execute(self.connection, "RELEASE request")?;
        }
        Ok(outcome)
    }

    /// Undoes what the write under way has written.
    fn undo(&self) -> rusqlite::Result<()> {
        if self.savepoint { execute(self.connection, "ROLLBACK TO request") } else { Ok(()) }
    }

    fn apply(&mut self, write: &Write) -> Result<Outcome, Stop> {
        let stream = &write.stream;
        match &write.what {
            What::Append { expected, events } => {
                let appended = self.append(stream, expected, events)?;
                Ok(Outcome {
                    publish: appended.position.is_some() && !appended.duplicate,
                    answer: Ok(appended),
                })
            }
            What::Delete => {
                let row = self.existing(stream)?;
                // Events and snapshot go with it: foreign keys are on, on every connection.
                self.connection.prepare_cached("DELETE FROM streams WHERE id = ?1")?.execute([row.key])?;
                self.row = None;
                Ok(Outcome { answer: Ok(Appended::new(row.version, None, false)), publish: true })
            }
            What::SaveSnapshot(snapshot) => {
                let row = self.existing(stream)?;
                self.save_snapshot(stream, row, snapshot)?;
                Ok(Outcome { answer: Ok(Appended::new(row.version, None, false)), publish: false })
            }
        }
    }

    fn append(
        &mut self,
        stream: &StreamId,
        expected: &Expected,
        events: &[NewEvent],
    ) -> Result<Appended, Stop> {
        let version = self.row.map(|row| row.version);
        if let Some(version) = version.filter(|version| *version > HIGHEST - events.len() as u64) {
            let text = Finding("no stream has ever so many versions".to_owned());
            return Err(damaged(self.path, Some(stream), Some(version), text).into());
        }
        // The ids come before existence and expectation. As long as neither objects, the ids need no
        // look of their own: inserting finds out, in the index that it has to go to anyway.
        let last = || Ok(self.row.map(|row| self.last_position(row)).transpose()?.flatten());
        match rules::check_expected::<Stop>(stream, expected, version, last) {
            Ok(()) => {}
            Err(Stop::Refused(refused)) => {
                return match self.find_duplicate(stream, events)? {
                    Some(duplicate) => Ok(duplicate),
                    None => Err(refused.into()),
                };
            }
            Err(failed) => return Err(failed),
        }
        let mut row = match (self.row, expected) {
            (Some(row), _) => row,
            (None, Expected::NoStream(kind)) => self.create(stream, kind.as_str())?,
            (None, _) => return Err(StoreError::not_found(stream).into()),
        };
        let mut appended = Appended::new(row.version, None, false);
        for event in events {
            appended.version += 1;
            match self.insert(row.key, appended.version, event) {
                Ok(position) => appended.position = Some(position),
                Err(error) if is_not_unique(&error) => {
                    self.undo()?;
                    return match self.find_duplicate(stream, events)? {
                        // What was created for it is rolled back, so it can only be the stream
                        // that was there before.
                        Some(duplicate) => Ok(duplicate),
                        None => Err(damaged(
                            self.path,
                            Some(stream),
                            Some(appended.version),
                            Finding(format!("cannot insert the version that is due: {error}")),
                        )
                        .into()),
                    };
                }
                Err(error) => return Err(error.into()),
            }
        }
        row.changed |= !events.is_empty();
        row.version = appended.version;
        self.row = Some(row);
        Ok(appended)
    }

    fn create(&self, stream: &StreamId, kind: &str) -> rusqlite::Result<StreamRow> {
        self.connection
            .prepare_cached(
                "INSERT INTO streams (name, type, version, created_at, updated_at)
                 VALUES (?1, ?2, 0, ?3, ?3)",
            )?
            .execute(params![stream.as_str(), kind, self.now])?;
        Ok(StreamRow { key: self.connection.last_insert_rowid(), version: 0, changed: false })
    }

    fn insert(&mut self, key: i64, version: u64, event: &NewEvent) -> rusqlite::Result<Position> {
        let position = self.insert.insert(params![
            key,
            sql(version),
            event.id.as_uuid().as_bytes().as_slice(),
            &*event.event_type,
            event.schema_version,
            self.now,
            event.actor.as_deref(),
            event.causation.as_deref(),
            event.correlation.as_deref(),
            event.metadata.as_ref().map(|metadata| metadata.get()),
            event.data.get(),
        ])?;
        Ok(Position::from_parts(0, 0, position.unsigned_abs()))
    }

    fn find_duplicate(&self, stream: &StreamId, events: &[NewEvent]) -> Result<Option<Appended>, Stop> {
        let mut statement = self.connection.prepare_cached(
            "SELECT s.name, e.version, e.position
             FROM events e JOIN streams s ON s.id = e.stream WHERE e.event_id = ?1",
        )?;
        rules::find_duplicate(stream, events, |id: EventId| {
            let id = id.as_uuid().as_bytes().as_slice();
            let found = statement.query_row([id], |row| {
                let name: String = row.get(0)?;
                let (version, position): (i64, i64) = (row.get(1)?, row.get(2)?);
                Ok((name, version, position))
            });
            let Some((name, version, position)) = found.optional()? else {
                return Ok(None);
            };
            let stored = StreamId::new(name).map_err(|error| damaged(self.path, None, None, error))?;
            Ok(Some(Stored {
                stream: stored,
                version: version.unsigned_abs(),
                position: Position::from_parts(0, 0, position.unsigned_abs()),
            }))
        })
    }

    fn save_snapshot(&self, stream: &StreamId, row: StreamRow, snapshot: &Snapshot) -> Result<(), Stop> {
        let stored: Option<i64> = self
            .connection
            .prepare_cached("SELECT version FROM snapshots WHERE stream = ?1")?
            .query_row([row.key], |row| row.get(0))
            .optional()?;
        let stored = stored.map(i64::unsigned_abs);
        rules::check_snapshot(stream, snapshot.version, row.version, stored)?;
        // Not REPLACE, which deletes the row first and whatever hangs on it.
        self.connection
            .prepare_cached(
                "INSERT INTO snapshots (stream, version, schema, data) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (stream) DO UPDATE SET
                     version = excluded.version, schema = excluded.schema, data = excluded.data",
            )?
            .execute(params![row.key, sql(snapshot.version), snapshot.schema, snapshot.data.get()])?;
        Ok(())
    }

    fn existing(&self, stream: &StreamId) -> Result<StreamRow, Stop> {
        self.row.ok_or_else(|| StoreError::not_found(stream).into())
    }

    /// The position of a stream's last event. Its version may not be in its row yet, its events are in the table.
    fn last_position(&self, row: StreamRow) -> rusqlite::Result<Option<Position>> {
        self.connection
            .prepare_cached("SELECT position FROM events WHERE stream = ?1 AND version = ?2")?
            .query_row([row.key, sql(row.version)], |row| row.get::<_, i64>(0))
            .optional()
            .map(|position| position.map(|position| Position::from_parts(0, 0, position.unsigned_abs())))
    }

    fn read_row(&self, stream: &StreamId) -> rusqlite::Result<Option<StreamRow>> {
        self.connection
            .prepare_cached("SELECT id, version FROM streams WHERE name = ?1")?
            .query_row([stream.as_str()], |row| {
                // One that makes no sense fails the appends to it, and not the group.
                let version = u64::try_from(row.get::<_, i64>(1)?).unwrap_or(u64::MAX);
                Ok(StreamRow { key: row.get(0)?, version, changed: false })
            })
            .optional()
    }

    /// Writes the version of the stream that was being written, if it is another one now.
    fn write_version(&mut self) -> rusqlite::Result<()> {
        if let Some(row) = self.row.take_if(|row| row.changed) {
            self.connection
                .prepare_cached("UPDATE streams SET version = ?2, updated_at = ?3 WHERE id = ?1")?
                .execute(params![row.key, sql(row.version), self.now])?;
        }
        Ok(())
    }
}

fn is_not_unique(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
}

/// SQLite's integers end in the middle of ours; no stream gets there.
const HIGHEST: u64 = i64::MAX as u64;

fn sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
