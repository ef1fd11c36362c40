//! The port: what every event store promises, whatever it is built on.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Appended, Expected, ListStreams, NewEvent, ReadAll, ReadStream, RecordedEvent, Snapshot, StoreError,
    StreamId, StreamInfo, StreamType, Subscribe, Subscription,
};

/// Durable streams of events. Object safe: layers above hold an `Arc<dyn EventStore>`.
///
/// # What is promised
///
/// - **Acknowledged is durable**: when [`append`](Self::append) answers `Ok`, its events are stored,
///   as durably as the implementation says.
/// - **An append is whole or absent.** The versions of a stream are dense (1, 2, 3 ...), positions
///   rise strictly over the whole store and are never used twice, not even after a delete.
/// - **A retry is safe.** An append whose event ids are all stored in its stream, side by side and
///   in its order, is answered with the first result, marked as a [duplicate](Appended::duplicate).
///   The ids are looked at before existence and expected version, and nothing but the ids: an id stands for one event.
/// - **Order of publication is order of commit**; see [`Subscription`].
///
/// # Cancel safety
///
/// A call whose future is dropped may still take place. A write takes place whole or not at all;
/// what it stores is published like any other. To learn what became of it, retry it with the same
/// event ids. Reads change nothing. Dropping a future never leaves a transaction or a lock behind.
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Appends events to a stream, in their order, in one transaction.
    ///
    /// The expectation is checked once, against the version before the first event. An append
    /// without events checks it too (and creates the stream, with `NoStream`), stores nothing else,
    /// notifies nobody and leaves `updated_at` alone.
    ///
    /// # Errors
    ///
    /// [`StreamNotFound`](StoreError::StreamNotFound), [`AlreadyExists`](StoreError::AlreadyExists)
    /// (`NoStream`), [`Conflict`](StoreError::Conflict) (`Exact`),
    /// [`PartialDuplicate`](StoreError::PartialDuplicate), [`Invalid`](StoreError::Invalid) (an id
    /// twice in one append, an event type that is blank),
    /// [`Unavailable`](StoreError::Unavailable), [`Indeterminate`](StoreError::Indeterminate), and
    /// whatever else the implementation's medium gives.
    async fn append(
        &self,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError>;

    /// Reads events of one stream.
    ///
    /// Without a `max_count` the whole stream comes in one `Vec`: page through long ones.
    ///
    /// # Errors
    ///
    /// [`StreamNotFound`](StoreError::StreamNotFound) also if the stream is deleted during the read;
    /// a stream without events is not missing. [`Damaged`](StoreError::Damaged) if an event cannot
    /// be decoded: nothing is skipped.
    async fn read_stream(
        &self,
        stream: &StreamId,
        read: ReadStream,
    ) -> Result<Vec<RecordedEvent>, StoreError>;

    /// Reads events of the whole store, in the order of their positions.
    ///
    /// Without a `max_count` everything comes in one `Vec`: page through long stores.
    ///
    /// # Errors
    ///
    /// [`Invalid`](StoreError::Invalid) for a position that a store of another kind gave;
    /// [`Damaged`](StoreError::Damaged) if an event cannot be decoded.
    async fn read_all(&self, read: ReadAll) -> Result<Vec<RecordedEvent>, StoreError>;

    /// Follows one stream or the whole store, from any place: first what is stored, then what comes.
    ///
    /// # Errors
    ///
    /// [`StreamNotFound`](StoreError::StreamNotFound) for a stream that does not exist;
    /// [`Invalid`](StoreError::Invalid) for a position that a store of another kind gave.
    async fn subscribe(&self, from: Subscribe) -> Result<Subscription, StoreError>;

    /// Type, version and times of a stream.
    ///
    /// # Errors
    ///
    /// [`StreamNotFound`](StoreError::StreamNotFound).
    async fn stream_info(&self, stream: &StreamId) -> Result<StreamInfo, StoreError>;

    /// Lists streams in the order of their names (compared as bytes).
    ///
    /// # Errors
    ///
    /// None of its own; a type that no stream has lists nothing.
    async fn list_streams(&self, list: ListStreams) -> Result<Vec<StreamInfo>, StoreError>;

    /// Deletes a stream with its events and its snapshot. Its name is free again; positions and
    /// event ids of what was deleted are not remembered as duplicates, and positions not reused.
    ///
    /// Subscriptions to the stream end with [`StreamNotFound`](StoreError::StreamNotFound), even if
    /// a new stream gets its name.
    ///
    /// # Errors
    ///
    /// [`StreamNotFound`](StoreError::StreamNotFound).
    async fn delete_stream(&self, stream: &StreamId) -> Result<(), StoreError>;

    /// Stores a stream's snapshot in place of the one it has.
    ///
    /// # Errors
    ///
    /// [`StreamNotFound`](StoreError::StreamNotFound);
    /// [`SnapshotAhead`](StoreError::SnapshotAhead) if the stream has not reached its version;
    /// [`SnapshotStale`](StoreError::SnapshotStale) if the stored one is of a later version (one of
    /// the same version is replaced).
    async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), StoreError>;

    /// Loads a stream's snapshot; `None` if it has none.
    ///
    /// # Errors
    ///
    /// [`StreamNotFound`](StoreError::StreamNotFound).
    async fn load_snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, StoreError>;

    /// Creates a stream, with its first events, in one transaction; without an id it gets a new one.
    ///
    /// # Errors
    ///
    /// Those of [`append`](Self::append); [`AlreadyExists`](StoreError::AlreadyExists) if the stream
    /// stands, which then stays as it is.
    async fn start_stream(
        &self,
        stream_type: &StreamType,
        id: Option<StreamId>,
        first_events: Vec<NewEvent>,
    ) -> Result<StreamId, StoreError> {
        let id = id.unwrap_or_else(StreamId::generate);
        self.append(&id, Expected::NoStream(stream_type.clone()), first_events).await?;
        Ok(id)
    }

    /// [`append`](Self::append), answered with nothing but the version of the last event.
    ///
    /// # Errors
    ///
    /// Those of [`append`](Self::append).
    async fn append_batch(
        &self,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<u64, StoreError> {
        Ok(self.append(stream, expected, events).await?.version)
    }

    /// The version of a stream's last event; 0 if it has none.
    ///
    /// # Errors
    ///
    /// [`StreamNotFound`](StoreError::StreamNotFound).
    async fn stream_version(&self, stream: &StreamId) -> Result<u64, StoreError> {
        Ok(self.stream_info(stream).await?.version)
    }

    /// Whether a stream exists.
    ///
    /// # Errors
    ///
    /// What the medium gives; a missing stream is `Ok(false)`.
    async fn stream_exists(&self, stream: &StreamId) -> Result<bool, StoreError> {
        match self.stream_info(stream).await {
            Ok(_) => Ok(true),
            Err(StoreError::StreamNotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl<S: EventStore + ?Sized> EventStore for Arc<S> {
    async fn append(
        &self,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        (**self).append(stream, expected, events).await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        read: ReadStream,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        (**self).read_stream(stream, read).await
    }

    async fn read_all(&self, read: ReadAll) -> Result<Vec<RecordedEvent>, StoreError> {
        (**self).read_all(read).await
    }

    async fn subscribe(&self, from: Subscribe) -> Result<Subscription, StoreError> {
        (**self).subscribe(from).await
    }

    async fn stream_info(&self, stream: &StreamId) -> Result<StreamInfo, StoreError> {
        (**self).stream_info(stream).await
    }

    async fn list_streams(&self, list: ListStreams) -> Result<Vec<StreamInfo>, StoreError> {
        (**self).list_streams(list).await
    }

    async fn delete_stream(&self, stream: &StreamId) -> Result<(), StoreError> {
        (**self).delete_stream(stream).await
    }

    async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), StoreError> {
        (**self).save_snapshot(stream, snapshot).await
    }

    async fn load_snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, StoreError> {
        (**self).load_snapshot(stream).await
    }

    // Those that have a default, too: a store may have an answer of its own.
    async fn start_stream(
        &self,
        stream_type: &StreamType,
        id: Option<StreamId>,
        first_events: Vec<NewEvent>,
    ) -> Result<StreamId, StoreError> {
        (**self).start_stream(stream_type, id, first_events).await
    }

    async fn append_batch(
        &self,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<u64, StoreError> {
        (**self).append_batch(stream, expected, events).await
    }

    async fn stream_version(&self, stream: &StreamId) -> Result<u64, StoreError> {
        (**self).stream_version(stream).await
    }

    async fn stream_exists(&self, stream: &StreamId) -> Result<bool, StoreError> {
        (**self).stream_exists(stream).await
    }
}
