//! Events, as they are handed in and as they are read.

use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{EventId, Json, Position, StoreError, StreamId, id::check_name};

/// An event to append. Clones are cheap and have the same id, so a clone is what a retry sends.
///
/// ```
/// use ipa_eventstore::NewEvent;
/// use serde_json::json;
///
/// let event = NewEvent::json("task_started", &json!({"by": "ann"}))?
///     .actor("ann")
///     .correlation("request-9")
///     .metadata(&json!({"host": "a1"}))?
///     .schema_version(2);
/// assert_eq!(&*event.event_type, "task_started");
/// assert_eq!(event.data.get(), r#"{"by":"ann"}"#);
/// assert_eq!(event.causation, None);
/// # Ok::<(), ipa_eventstore::StoreError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "an event is stored only when it is appended"]
pub struct NewEvent {
    /// Its identity: a UUIDv7 unless given.
    pub id: EventId,
    /// What happened, as a name.
    pub event_type: Arc<str>,
    /// What happened, as JSON.
    pub data: Json,
    /// Who did it.
    pub actor: Option<Arc<str>>,
    /// What caused it: the id of an event, a command, a request.
    pub causation: Option<Arc<str>>,
    /// What it belongs to: one id for all that follows from one beginning.
    pub correlation: Option<Arc<str>>,
    /// What else is to be known about it.
    pub metadata: Option<Json>,
    /// The version of the data's form: 1 unless given.
    pub schema_version: u32,
}

impl NewEvent {
    /// An event with this type and data, and a new id.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`] if the type is blank or contains a NUL, or the data has no JSON form.
    pub fn json<T: Serialize + ?Sized>(
        event_type: impl Into<Arc<str>>,
        data: &T,
    ) -> Result<Self, StoreError> {
        Self::new(event_type, Json::of(data)?)
    }

    /// An event whose data is JSON already.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`] if the type is blank or contains a NUL.
    pub fn new(event_type: impl Into<Arc<str>>, data: Json) -> Result<Self, StoreError> {
        let event_type = event_type.into();
        check_name("event type", &event_type)?;
        Ok(Self::with_id(EventId::generate(), event_type, data))
    }

    /// With an id that is there already, where making one only to replace it would cost more than all else, and with a type that has
    /// been checked.
    pub(crate) fn with_id(id: EventId, event_type: Arc<str>, data: Json) -> Self {
        Self {
            id,
            event_type,
            data,
            actor: None,
            causation: None,
            correlation: None,
            metadata: None,
            schema_version: 1,
        }
    }

    /// Gives the event an id of the caller's, such as one derived from the command it answers.
    pub fn id(mut self, id: EventId) -> Self {
        self.id = id;
        self
    }

    /// Says who did it.
    pub fn actor(mut self, actor: impl Into<Arc<str>>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Says what caused it.
    pub fn causation(mut self, causation: impl Into<Arc<str>>) -> Self {
        self.causation = Some(causation.into());
        self
    }

    /// Says what it belongs to.
    pub fn correlation(mut self, correlation: impl Into<Arc<str>>) -> Self {
        self.correlation = Some(correlation.into());
        self
    }

    /// Adds metadata.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`] if it has no JSON form.
    pub fn metadata<T: Serialize + ?Sized>(mut self, metadata: &T) -> Result<Self, StoreError> {
        self.metadata = Some(Json::of(metadata)?);
        Ok(self)
    }

    /// Says which version of its form the data has.
    pub fn schema_version(mut self, schema_version: u32) -> Self {
        self.schema_version = schema_version;
        self
    }
}

/// An event as the store keeps it: all that was handed in, and its place. Clones are cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// The stream it is in.
    pub stream: StreamId,
    /// Its number in the stream: 1, 2, 3 ...
    pub version: u64,
    /// Its place in the order of the whole store.
    pub position: Position,
    /// When it was stored, by the wall clock, in microseconds. One time for a whole append.
    pub recorded_at: SystemTime,
    /// Its identity.
    pub id: EventId,
    /// What happened, as a name.
    pub event_type: Arc<str>,
    /// What happened, as JSON; [`data()`](Self::data) parses it.
    pub data: Json,
    /// Who did it.
    pub actor: Option<Arc<str>>,
    /// What caused it.
    pub causation: Option<Arc<str>>,
    /// What it belongs to.
    pub correlation: Option<Arc<str>>,
    /// What else is to be known about it.
    pub metadata: Option<Json>,
    /// The version of the data's form.
    pub schema_version: u32,
}

impl RecordedEvent {
    /// An event in its place. For implementations of a store.
    pub fn new(
        stream: StreamId,
        version: u64,
        position: Position,
        recorded_at: SystemTime,
        event: NewEvent,
    ) -> Self {
        Self {
            stream,
            version,
            position,
            recorded_at,
            id: event.id,
            event_type: event.event_type,
            data: event.data,
            actor: event.actor,
            causation: event.causation,
            correlation: event.correlation,
            metadata: event.metadata,
            schema_version: event.schema_version,
        }
    }

    /// Parses the data into a type, which may borrow from it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Decode`], which names stream, version and event type, if the data is not of
    /// that type.
    pub fn data<'a, T: Deserialize<'a>>(&'a self) -> Result<T, StoreError> {
        self.data.decode().map_err(|error| StoreError::Decode {
            what: format!("{} event {} of stream {}", self.event_type, self.version, self.stream),
            source: Arc::new(error),
        })
    }
}
