//! The queries. Each runs in one short transaction and looks at a page of events at most.
//!
//! Filters are applied here and not in SQL: so a page is bounded by what is looked at and not by
//! what is found, a column that nobody asked for is not read, and a missing version shows.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::types::{FromSqlError, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::errors::{Finding, damaged, running};
use crate::id::check_name;
use crate::rules::{PAGE, lets_through};
use crate::subscription::Page;
use crate::time::from_micros;
use crate::{
    Direction, EventId, Json, ListStreams, NewEvent, Position, RecordedEvent, Snapshot, StoreError, StreamId,
    StreamInfo, StreamType,
};

/// What is still to be looked at: versions or positions, both ends inclusive. A page takes its part
/// off the end where it reads.
#[derive(Debug, Clone)]
pub(super) struct Range {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) direction: Direction,
}

impl Range {
    /// From exclusive bounds.
    pub(super) fn new(after: u64, before: Option<u64>, direction: Direction) -> Self {
        Self {
            low: after.saturating_add(1),
            high: before.map_or(u64::MAX, |before| before.saturating_sub(1)),
            direction,
        }
    }

    fn is_empty(&self) -> bool {
        self.low > self.high
    }

    fn len(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        usize::try_from(self.high - self.low).unwrap_or(usize::MAX).saturating_add(1)
    }

    fn take(&mut self, seen: u64) {
        match self.direction {
            Direction::Forward => self.low = seen.saturating_add(1),
            Direction::Backward => self.high = seen.saturating_sub(1),
        }
    }

    fn clear(&mut self) {
        (self.low, self.high) = (1, 0);
    }
}

/// SQLite's integers end in the middle of ours; nothing is stored beyond.
fn sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) const COLUMNS: &str = "e.version, e.position, e.event_id, e.type, e.schema_version, e.recorded_at, \
                       e.actor, e.causation, e.correlation, e.metadata, e.data";

/// The stream's key and version, which must be read in the transaction that uses them.
fn stream_row(connection: &Connection, stream: &StreamId) -> rusqlite::Result<Option<(i64, u64)>> {
    connection
        .prepare_cached("SELECT id, version FROM streams WHERE name = ?1")?
        .query_row([stream.as_str()], |row| Ok((row.get(0)?, number(row, 1)?)))
        .optional()
}

/// Whether there is a stream of this name.
pub(super) fn stream_exists(
    connection: &Connection,
    path: &Path,
    stream: &StreamId,
) -> Result<bool, StoreError> {
    stream_row(connection, stream).map(|row| row.is_some()).map_err(|error| running(path, error))
}

/// The key of a stream: never used again, so it tells a stream from a later one of its name.
pub(super) fn stream_key(connection: &Connection, path: &Path, stream: &StreamId) -> Result<i64, StoreError> {
    match stream_row(connection, stream).map_err(|error| running(path, error))? {
        Some((key, _)) => Ok(key),
        None => Err(StoreError::not_found(stream)),
    }
}

/// A page of one stream, at most `room` events; takes what it looked at off the range.
///
/// With a `key`, only of the stream that has it.
pub(super) fn stream_page(
    connection: &Connection,
    path: &Path,
    stream: &StreamId,
    key: Option<i64>,
    range: &mut Range,
    types: Option<&[String]>,
    room: usize,
) -> Result<Page, StoreError> {
    let failed = |error| running(path, error);
    let broken = |version, error: FromSqlError| damaged(path, Some(stream), version, error);
    // One transaction, for one state of version and events. It reads, so dropping it is enough.
    let _transaction = connection.unchecked_transaction().map_err(failed)?;
    let found = stream_row(connection, stream).map_err(failed)?;
    let Some((key, version)) = found.filter(|(id, _)| key.is_none_or(|key| key == *id)) else {
        return Err(StoreError::not_found(stream));
    };
    // What the stream can have of the range; the range itself stays open for what is to come.
    let mut left = range.clone();
    left.high = left.high.min(version);
    let order = match range.direction {
        Direction::Forward => "ASC",
        Direction::Backward => "DESC",
    };
    let mut statement = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events e WHERE e.stream = ?1 AND e.version BETWEEN ?2 AND ?3
             ORDER BY e.version {order} LIMIT {PAGE}"
        ))
        .map_err(failed)?;
    let mut rows = statement.query(params![key, sql(left.low), sql(left.high)]).map_err(failed)?;
    // Without a filter it is known how many there will be, and a page that grows is copied as often as it doubles.
    let mut events = Vec::with_capacity(if types.is_none() { left.len().min(PAGE).min(room) } else { 0 });
    let mut types_seen = TypesSeen::default();
    let mut looked_at = 0;
    while !left.is_empty() && looked_at < PAGE && events.len() < room {
        let due = match range.direction {
            Direction::Forward => left.low,
            Direction::Backward => left.high,
        };
        let Some(row) = rows.next().map_err(failed)? else {
            let text = format!("the stream is at version {version}, but {due} is missing");
            return Err(damaged(path, Some(stream), Some(due), Finding(text)));
        };
        let found = unsigned(integer(row, 0).map_err(|error| broken(Some(due), error))?);
        if found != due {
            let text = format!("found version {found} where {due} is due");
            return Err(damaged(path, Some(stream), Some(due), Finding(text)));
        }
        let event_type = text(row, 3).map_err(|error| broken(Some(due), error))?;
        if lets_through(types, event_type) {
            events.push(decoded(row, path, stream, Ok(due), Ok(event_type), &mut types_seen)?);
        }
        left.take(due);
        range.take(due);
        looked_at += 1;
    }
    Ok(Page { events, at_end: left.is_empty() })
}

/// A page of the whole store, at most `room` events; takes what it looked at off the range.
pub(super) fn all_page(
    connection: &Connection,
    path: &Path,
    range: &mut Range,
    types: Option<&[String]>,
    stream_types: Option<&[StreamType]>,
    room: usize,
) -> Result<Page, StoreError> {
    let failed = |error| running(path, error);
    let order = match range.direction {
        Direction::Forward => "ASC",
        Direction::Backward => "DESC",
    };
    // LEFT: an event without its stream is damage, and must not just be left out.
    let mut statement = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, e.stream, s.name, s.type
             FROM events e LEFT JOIN streams s ON s.id = e.stream
             WHERE e.position BETWEEN ?1 AND ?2 ORDER BY e.position {order} LIMIT {PAGE}"
        ))
        .map_err(failed)?;
    let mut rows = statement.query(params![sql(range.low), sql(range.high)]).map_err(failed)?;
    // A page has far fewer streams than events.
    let mut streams: HashMap<i64, (StreamId, bool)> = HashMap::new();
    let mut events = Vec::new();
    let mut types_seen = TypesSeen::default();
    let mut looked_at = 0;
    while !range.is_empty() && looked_at < PAGE && events.len() < room {
        let Some(row) = rows.next().map_err(failed)? else {
            range_at_end(range);
            return Ok(Page { events, at_end: true });
        };
        let broken = |error: FromSqlError| damaged(path, None, None, error);
        let position = unsigned(integer(row, 1).map_err(broken)?);
        let key = integer(row, 11).map_err(broken)?;
        let (stream, wanted) = match streams.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let name = StreamId::new(text(row, 12).map_err(broken)?)
                    .map_err(|error| damaged(path, None, None, error))?;
                let wanted = lets_through(stream_types, text(row, 13).map_err(broken)?);
                entry.insert((name, wanted))
            }
        };
        let event_type = text(row, 3).map_err(|error| damaged(path, Some(stream), None, error))?;
        if *wanted && lets_through(types, event_type) {
            events.push(decoded(row, path, stream, version(row), Ok(event_type), &mut types_seen)?);
        }
        range.take(position);
        looked_at += 1;
    }
    Ok(Page { events, at_end: range.is_empty() })
}

/// Backward there is nothing before the first event; forward there may be more later.
fn range_at_end(range: &mut Range) {
    if range.direction == Direction::Backward {
        range.clear();
    }
}

/// The version of the event in a row of [`COLUMNS`].
fn version(row: &Row<'_>) -> Result<u64, FromSqlError> {
    let version = integer(row, 0)?;
    u64::try_from(version).map_err(|_| FromSqlError::OutOfRange(version))
}

/// An event from a row of [`COLUMNS`]; what cannot be decoded is damage, named and never skipped.
pub(super) fn event(
    row: &Row<'_>,
    path: &Path,
    stream: &StreamId,
    types_seen: &mut TypesSeen,
) -> Result<RecordedEvent, StoreError> {
    decoded(row, path, stream, version(row), text(row, 3), types_seen)
}

/// The same where version and type have been looked at: to read a column is three calls of SQLite, and a page has a thousand rows.
fn decoded(
    row: &Row<'_>,
    path: &Path,
    stream: &StreamId,
    version: Result<u64, FromSqlError>,
    event_type: Result<&str, FromSqlError>,
    types_seen: &mut TypesSeen,
) -> Result<RecordedEvent, StoreError> {
    let decode = || -> Result<RecordedEvent, Broken> {
        let id = Uuid::from_slice(row.get_ref(2)?.as_blob()?)?;
        let mut new =
            NewEvent::with_id(EventId::from(id), types_seen.shared(event_type?)?, json(text(row, 10)?)?);
        new.schema_version = u32::try_from(integer(row, 4)?)?;
        new.actor = optional(row, 6)?.map(Arc::from);
        new.causation = optional(row, 7)?.map(Arc::from);
        new.correlation = optional(row, 8)?.map(Arc::from);
        new.metadata = optional(row, 9)?.map(json).transpose()?;
        let position = Position::from_parts(0, 0, unsigned(integer(row, 1)?));
        let recorded_at = from_micros(integer(row, 5)?);
        let version = version.as_ref().copied().map_err(|_| FromSqlError::InvalidType)?;
        Ok(RecordedEvent::new(stream.clone(), version, position, recorded_at, new))
    };
    decode().map_err(|error| damaged(path, Some(stream), version.as_ref().copied().ok(), error))
}

/// The event type that was read last: a page has few, and mostly the same one after the other, so that their events share it.
#[derive(Default)]
pub(super) struct TypesSeen(Option<Arc<str>>);

impl TypesSeen {
    fn shared(&mut self, event_type: &str) -> Result<Arc<str>, StoreError> {
        match &self.0 {
            Some(last) if **last == *event_type => Ok(last.clone()),
            _ => {
                check_name("event type", event_type)?;
                Ok(self.0.insert(event_type.into()).clone())
            }
        }
    }
}

/// Why a row cannot be decoded.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("a column is not of its type")]
    Column(#[from] FromSqlError),
    #[error("SQLite")]
    Row(#[from] rusqlite::Error),
    #[error("the event id is not a UUID")]
    Id(#[from] uuid::Error),
    #[error("data or metadata is not JSON")]
    Json(#[from] serde_json::Error),
    #[error("a number is out of range")]
    Number(#[from] std::num::TryFromIntError),
    #[error("a name is not valid")]
    Name(#[from] StoreError),
}

fn json(text: &str) -> serde_json::Result<Json> {
    Json::check(text)
}

/// A column that the query has; SQLite gives NULL for any other.
fn column<'a>(row: &'a Row<'_>, index: usize) -> ValueRef<'a> {
    row.get_ref(index).unwrap_or(ValueRef::Null)
}

fn integer(row: &Row<'_>, index: usize) -> Result<i64, FromSqlError> {
    column(row, index).as_i64()
}

/// A number that is none below zero: one there is damage, as is one that is not a number.
fn number(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(index)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(index, value))
}

fn text<'a>(row: &'a Row<'_>, index: usize) -> Result<&'a str, FromSqlError> {
    column(row, index).as_str()
}

fn optional<'a>(row: &'a Row<'_>, index: usize) -> Result<Option<&'a str>, FromSqlError> {
    column(row, index).as_str_or_null()
}

/// What the store knows of a stream.
pub(super) fn stream_info(
    connection: &Connection,
    path: &Path,
    stream: &StreamId,
) -> Result<StreamInfo, StoreError> {
    let found = connection
        .prepare_cached("SELECT name, type, version, created_at, updated_at FROM streams WHERE name = ?1")
        .and_then(|mut statement| statement.query_row([stream.as_str()], info).optional())
        .map_err(|error| running(path, error))?;
    match found {
        Some(info) => info.map_err(|error| damaged(path, Some(stream), None, error)),
        None => Err(StoreError::not_found(stream)),
    }
}

fn info(row: &Row<'_>) -> rusqlite::Result<Result<StreamInfo, StoreError>> {
    let (name, kind): (String, String) = (row.get(0)?, row.get(1)?);
    let version = number(row, 2)?;
    let (created_at, updated_at) = (from_micros(row.get(3)?), from_micros(row.get(4)?));
    let named = || {
        let info = StreamInfo::created(StreamId::new(name)?, StreamType::new(kind)?, created_at);
        Ok(info.updated(version, updated_at))
    };
    Ok(named())
}

/// A page of streams in the order of their names, at most `room`.
pub(super) fn list_page(
    connection: &Connection,
    path: &Path,
    list: &ListStreams,
    room: usize,
) -> Result<Vec<StreamInfo>, StoreError> {
    let of_type = match list.stream_type {
        Some(_) => "type = ?2",
        None => "?2 IS NULL",
    };
    // A name is never empty, so the empty text is before the first.
    let after = list.after.as_ref().map_or("", StreamId::as_str);
    let limit = i64::try_from(room.min(PAGE)).unwrap_or(i64::MAX);
    let rows = connection
        .prepare_cached(&format!(
            "SELECT name, type, version, created_at, updated_at FROM streams
             WHERE name > ?1 AND {of_type} ORDER BY name LIMIT ?3"
        ))
        .and_then(|mut statement| {
            let kind = list.stream_type.as_ref().map(StreamType::as_str);
            let rows = statement.query_map(params![after, kind, limit], info)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })
        .map_err(|error| running(path, error))?;
    rows.into_iter().map(|info| info.map_err(|error| damaged(path, None, None, error))).collect()
}

/// A stream's snapshot.
pub(super) fn snapshot(
    connection: &Connection,
    path: &Path,
    stream: &StreamId,
) -> Result<Option<Snapshot>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT p.version, p.schema, p.data
             FROM streams s LEFT JOIN snapshots p ON p.stream = s.id WHERE s.name = ?1",
        )
        .and_then(|mut statement| {
            let row = |row: &Row<'_>| {
                if row.get_ref(0)? == ValueRef::Null {
                    return Ok(None);
                }
                Ok(Some((number(row, 0)?, row.get(1)?, row.get(2)?)))
            };
            statement.query_row([stream.as_str()], row).optional()
        })
        .map_err(|error| running(path, error))?;
    let Some(found) = found else {
        return Err(StoreError::not_found(stream));
    };
    let decode = |(version, schema, data): (u64, u32, String)| match Json::check(&data) {
        Ok(data) => Ok(Snapshot::new(version, schema, data)),
        // The stream is not: its state can be made without, and saved again.
        Err(error) => {
            let finding =
                format!("the stream's snapshot is not readable ({error}); a newer one takes its place");
            Err(damaged(path, Some(stream), Some(version), Finding(finding)))
        }
    };
    found.map(decode).transpose()
}
