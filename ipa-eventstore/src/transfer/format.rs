//! The records, and how each is written as one line and read from one.

use std::borrow::Cow;
use std::time::SystemTime;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{EventId, Json, NewEvent, Position, RecordedEvent, Snapshot, StreamId, StreamType};

/// The name of the format, in its first line.
pub const FORMAT: &str = "ipa-events";

/// The version of the format that is written, and the newest that is read.
pub const FORMAT_VERSION: u32 = 1;

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) format: Cow<'static, str>,
    pub(super) version: u32,
}

/// A line after the first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Line {
    /// A stream.
    Stream(StreamLine),
    /// An event.
    Event(EventLine),
    /// A stream's snapshot.
    Snapshot(SnapshotLine),
    /// The end.
    End(EndLine),
}

/// A stream's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StreamLine {
    /// Its name.
    pub name: StreamId,
    /// Its type.
    #[serde(rename = "type")]
    pub stream_type: StreamType,
    /// When it was created, in the store that was exported.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time")]
    pub created_at: Option<SystemTime>,
}

impl StreamLine {
    pub(super) fn new(name: StreamId, stream_type: StreamType, created_at: SystemTime) -> Self {
        Self { name, stream_type, created_at: Some(created_at) }
    }
}

/// An event's line. Written by itself, without the `"event"` around it, it is what
/// `ipa-events cat --json` prints.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EventLine {
    /// The stream it is in.
    pub stream: StreamId,
    /// Its number in the stream, from 1.
    pub version: u64,
    /// Everything that was handed in when it was appended.
    pub event: NewEvent,
    /// When it was stored, in the store that was exported.
    pub recorded_at: Option<SystemTime>,
    /// Its place in the store that was exported.
    pub position: Option<Position>,
}

impl From<RecordedEvent> for EventLine {
    fn from(recorded: RecordedEvent) -> Self {
        let event = NewEvent {
            id: recorded.id,
            event_type: recorded.event_type,
            data: recorded.data,
            actor: recorded.actor,
            causation: recorded.causation,
            correlation: recorded.correlation,
            metadata: recorded.metadata,
            schema_version: recorded.schema_version,
        };
        Self {
            stream: recorded.stream,
            version: recorded.version,
            event,
            recorded_at: Some(recorded.recorded_at),
            position: Some(recorded.position),
        }
    }
}

/// A snapshot's line.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SnapshotLine {
    /// The stream it is of.
    pub stream: StreamId,
    /// The snapshot.
    pub snapshot: Snapshot,
}

impl SnapshotLine {
    pub(super) fn new(stream: StreamId, snapshot: Snapshot) -> Self {
        Self { stream, snapshot }
    }
}

/// The last line: how many lines of each kind came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EndLine {
    /// Streams.
    pub streams: u64,
    /// Events.
    pub events: u64,
    /// Snapshots.
    pub snapshots: u64,
}

/// An [`EventLine`] as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventRecord<'a> {
    stream: Cow<'a, StreamId>,
    version: u64,
    id: EventId,
    #[serde(rename = "type")]
    event_type: Cow<'a, str>,
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time")]
    recorded_at: Option<SystemTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causation: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    metadata: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata_text: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    data: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_text: Option<Cow<'a, str>>,
}

/// A [`SnapshotLine`] as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SnapshotRecord<'a> {
    stream: Cow<'a, StreamId>,
    version: u64,
    schema: u32,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    data: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_text: Option<Cow<'a, str>>,
}

/// A field that is there is a value, also if it is `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// Only white space between a text's tokens can hold a line break: within a string it is escaped.
fn as_written(json: &Json) -> (Option<Json>, Option<Cow<'_, str>>) {
    if json.get().contains(['\n', '\r']) {
        (None, Some(json.get().into()))
    } else {
        (Some(json.clone()), None)
    }
}

fn as_read<E: serde::de::Error>(
    field: &str,
    json: Option<Json>,
    text: Option<Cow<'_, str>>,
) -> Result<Option<Json>, E> {
    match (json, text) {
        (Some(_), Some(_)) => Err(E::custom(format!("both {field} and {field}_text"))),
        (json, None) => Ok(json),
        (None, Some(text)) => {
            Json::parse(text).map(Some).map_err(|error| E::custom(format!("{field}_text: {error}")))
        }
    }
}

fn required<E: serde::de::Error>(json: Option<Json>) -> Result<Json, E> {
    json.ok_or_else(|| E::missing_field("data"))
}

impl Serialize for EventLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = &self.event;
        let (data, data_text) = as_written(&event.data);
        let (metadata, metadata_text) = event.metadata.as_ref().map_or((None, None), as_written);
        let text = |text: &'_ Option<std::sync::Arc<str>>| text.as_deref().map(|text| text.to_owned().into());
        let record = EventRecord {
            stream: Cow::Borrowed(&self.stream),
            version: self.version,
            id: event.id,
            event_type: (&*event.event_type).into(),
            schema_version: event.schema_version,
            recorded_at: self.recorded_at,
            position: self.position,
            actor: text(&event.actor),
            causation: text(&event.causation),
            correlation: text(&event.correlation),
            metadata,
            metadata_text,
            data,
            data_text,
        };
        record.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EventLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = EventRecord::deserialize(deserializer)?;
        if record.version == 0 {
            return Err(D::Error::custom("version 0: events are numbered from 1"));
        }
        let data = required(as_read("data", record.data, record.data_text)?)?;
        let mut event = NewEvent::new(&*record.event_type, data).map_err(D::Error::custom)?.id(record.id);
        event.schema_version = record.schema_version;
        event.actor = record.actor.as_deref().map(Into::into);
        event.causation = record.causation.as_deref().map(Into::into);
        event.correlation = record.correlation.as_deref().map(Into::into);
        event.metadata = as_read("metadata", record.metadata, record.metadata_text)?;
        Ok(Self {
            stream: record.stream.into_owned(),
            version: record.version,
            event,
            recorded_at: record.recorded_at,
            position: record.position,
        })
    }
}

impl Serialize for SnapshotLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (data, data_text) = as_written(&self.snapshot.data);
        let (version, schema) = (self.snapshot.version, self.snapshot.schema);
        let stream = Cow::Borrowed(&self.stream);
        SnapshotRecord { stream, version, schema, data, data_text }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SnapshotLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = SnapshotRecord::deserialize(deserializer)?;
        let data = required(as_read("data", record.data, record.data_text)?)?;
        let snapshot = Snapshot::new(record.version, record.schema, data);
        Ok(Self { stream: record.stream.into_owned(), snapshot })
    }
}

/// Times as RFC 3339, in UTC and microseconds.
mod time {
    use super::*;
    use jiff::Timestamp;

    pub(super) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(&format_args!("{:.6}", timestamp(*time))),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let Some(text) = Option::<Cow<'_, str>>::deserialize(deserializer)? else {
            return Ok(None);
        };
        match text.parse::<Timestamp>() {
            Ok(time) => Ok(Some(time.into())),
            Err(error) => Err(D::Error::custom(format!("{text:?} is not a time: {error}"))),
        }
    }

    /// A time that no calendar has is the last that one has, or the first.
    fn timestamp(time: SystemTime) -> Timestamp {
        Timestamp::try_from(time).unwrap_or(if time < SystemTime::UNIX_EPOCH {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }
}

#[cfg(test)]
mod tests;
