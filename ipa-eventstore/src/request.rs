//! What a caller asks of a store, and what comes back: plain values, built with builders.

use std::time::SystemTime;

use crate::{Position, StreamId, StreamType};

/// What an append expects of its stream. Decided in the transaction that stores the events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expected {
    /// The stream exists, at whatever version. It means the same as [`Exists`](Self::Exists): a
    /// missing stream is never created by the way.
    Any,
    /// The stream does not exist: create it, with this type, and store the events, in one transaction.
    NoStream(StreamType),
    /// The stream exists, at whatever version.
    Exists,
    /// The stream exists and is at exactly this version; 0 is a stream without events.
    Exact(u64),
    /// The stream exists, is at exactly this version, and the event of that version is the one at this position. Positions are never
    /// used twice, so this tells the stream that was read from one that got its name later and happens to be as long. With version
    /// 0 there is no event, and it means the same as `Exact(0)`.
    ExactAt {
        /// The version.
        version: u64,
        /// The position of the event of that version.
        position: Position,
    },
}

/// The answer to an append that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The version of the append's last event; the stream's version, if the append was empty.
    pub version: u64,
    /// The position of the append's last event; `None` if the append was empty.
    pub position: Option<Position>,
    /// Whether the events were stored already, by an earlier append with the same ids.
    pub duplicate: bool,
}

impl Appended {
    /// The answer to an append. For implementations of a store.
    pub fn new(version: u64, position: Option<Position>, duplicate: bool) -> Self {
        Self { version, position, duplicate }
    }
}

/// Which way a read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Oldest first.
    #[default]
    Forward,
    /// Newest first.
    Backward,
}

/// Which events of one stream to read: all of them, oldest first, unless told otherwise.
///
/// The bounds are exclusive and mean the same in both directions: `after` 0 is no bound, `after` at
/// or beyond the stream's end leaves nothing. Events are filtered first, then counted.
///
/// ```
/// use ipa_eventstore::ReadStream;
///
/// let next_page = ReadStream::new().after(100).max_count(50);
/// let last_failure = ReadStream::new().backward().event_types(["failed"]).max_count(1);
/// # let _ = (next_page, last_failure);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[must_use = "it reads nothing until a store is given it"]
pub struct ReadStream {
    /// Only versions above this one.
    pub after: u64,
    /// Only versions below this one.
    pub before: Option<u64>,
    /// Which way.
    pub direction: Direction,
    /// At most so many events; `None` is all of them, in one answer.
    pub max_count: Option<usize>,
    /// Only events of these types; `None` is every type, an empty list none.
    pub event_types: Option<Vec<String>>,
}

impl ReadStream {
    /// Every event, oldest first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only versions above this one.
    pub fn after(mut self, version: u64) -> Self {
        self.after = version;
        self
    }

    /// Only versions below this one: the oldest version of a page that was read backward gives the
    /// next page.
    pub fn before(mut self, version: u64) -> Self {
        self.before = Some(version);
        self
    }

    /// Newest first.
    pub fn backward(mut self) -> Self {
        self.direction = Direction::Backward;
        self
    }

    /// At most so many events.
    pub fn max_count(mut self, count: usize) -> Self {
        self.max_count = Some(count);
        self
    }

    /// Only events of these types.
    pub fn event_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.event_types = Some(types.into_iter().map(Into::into).collect());
        self
    }
}

/// Which events of the whole store to read: all of them, oldest first, unless told otherwise.
///
/// The bounds are exclusive and mean the same in both directions. Events are filtered first, then
/// counted.
///
/// ```
/// use ipa_eventstore::{Position, ReadAll, StreamType};
///
/// let page = ReadAll::new()
///     .after(Position::START)
///     .stream_types([StreamType::new("agent")?])
///     .event_types(["started", "failed"])
///     .max_count(500);
/// # let _ = page;
/// # Ok::<(), ipa_eventstore::StoreError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[must_use = "it reads nothing until a store is given it"]
pub struct ReadAll {
    /// Only events after this position.
    pub after: Position,
    /// Only events before this position.
    pub before: Option<Position>,
    /// Which way.
    pub direction: Direction,
    /// At most so many events; `None` is all of them, in one answer.
    pub max_count: Option<usize>,
    /// Only events of these types; `None` is every type, an empty list none.
    pub event_types: Option<Vec<String>>,
    /// Only events of streams of these types; `None` is every type, an empty list none.
    pub stream_types: Option<Vec<StreamType>>,
}

impl ReadAll {
    /// Every event, oldest first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only events after this position.
    pub fn after(mut self, position: Position) -> Self {
        self.after = position;
        self
    }

    /// Only events before this position.
    pub fn before(mut self, position: Position) -> Self {
        self.before = Some(position);
        self
    }

    /// Newest first.
    pub fn backward(mut self) -> Self {
        self.direction = Direction::Backward;
        self
    }

    /// At most so many events.
    pub fn max_count(mut self, count: usize) -> Self {
        self.max_count = Some(count);
        self
    }

    /// Only events of these types.
    pub fn event_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.event_types = Some(types.into_iter().map(Into::into).collect());
        self
    }

    /// Only events of streams of these types.
    pub fn stream_types(mut self, types: impl IntoIterator<Item = StreamType>) -> Self {
        self.stream_types = Some(types.into_iter().collect());
        self
    }
}

/// Which streams to list: all of them, in the order of their names, unless told otherwise.
///
/// ```
/// use ipa_eventstore::{ListStreams, StreamId, StreamType};
///
/// let page = ListStreams::new()
///     .stream_type(StreamType::new("agent")?)
///     .after(StreamId::new("agent-41")?)
///     .max_count(100);
/// # let _ = page;
/// # Ok::<(), ipa_eventstore::StoreError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[must_use = "it reads nothing until a store is given it"]
pub struct ListStreams {
    /// Only streams of this type.
    pub stream_type: Option<StreamType>,
    /// Only streams whose name comes after this one: the last of a page gives the next page.
    pub after: Option<StreamId>,
    /// At most so many; `None` is all of them, in one answer.
    pub max_count: Option<usize>,
}

impl ListStreams {
    /// Every stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only streams of this type.
    pub fn stream_type(mut self, stream_type: StreamType) -> Self {
        self.stream_type = Some(stream_type);
        self
    }

    /// Only streams whose name comes after this one; it need not exist (any more).
    pub fn after(mut self, stream: StreamId) -> Self {
        self.after = Some(stream);
        self
    }

    /// At most so many.
    pub fn max_count(mut self, count: usize) -> Self {
        self.max_count = Some(count);
        self
    }
}

/// What a store knows of a stream besides its events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its name.
    pub id: StreamId,
    /// Its type, as given when it was created.
    pub stream_type: StreamType,
    /// The version of its last event; 0 if it has none.
    pub version: u64,
    /// When it was created, by the wall clock, in microseconds.
    pub created_at: SystemTime,
    /// When its last event was stored; [`created_at`](Self::created_at) if it has none.
    pub updated_at: SystemTime,
}

impl StreamInfo {
    /// A stream that was created then and has no event. For implementations of a store.
    pub fn created(id: StreamId, stream_type: StreamType, created_at: SystemTime) -> Self {
        Self { id, stream_type, version: 0, created_at, updated_at: created_at }
    }

    /// The same stream with its last event of that version, stored then.
    pub fn updated(mut self, version: u64, updated_at: SystemTime) -> Self {
        self.version = version;
        self.updated_at = updated_at;
        self
    }
}
