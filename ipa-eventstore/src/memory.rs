//! A store that keeps its streams in memory.
//!
//! For tests of the layers above, and the model that the durable store is compared with. It has no
//! thread and awaits nothing but wake-ups, so it works under tokio's paused clock.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use crate::rules::{self, PAGE, Stored, lets_through, place};
use crate::subscription::{Page, Source, Tail};
use crate::time::now;
use crate::wakeups::{Listening, Topic, Wakeups};
use crate::{
    Appended, Direction, EventId, EventStore, Expected, ListStreams, NewEvent, Position, ReadAll, ReadStream,
    RecordedEvent, Snapshot, StoreError, StreamId, StreamInfo, StreamType, Subscribe, Subscription,
};

/// An [`EventStore`] in memory: everything but durability. Clones are handles to the same store.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use ipa_eventstore::{EventStore, Expected, InMemoryEventStore, NewEvent, ReadStream, StreamType};
///
/// let store = InMemoryEventStore::new();
/// let task = store.start_stream(&StreamType::new("task")?, None, vec![]).await?;
/// let events = vec![NewEvent::json("started", &())?, NewEvent::json("finished", &())?];
/// assert_eq!(store.append(&task, Expected::Exact(0), events).await?.version, 2);
/// assert_eq!(store.read_stream(&task, ReadStream::new().after(1)).await?.len(), 1);
/// # Ok::<(), ipa_eventstore::StoreError>(()) }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct InMemoryEventStore(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    wakeups: Wakeups,
}

#[derive(Default)]
struct State {
    closed: bool,
    streams: BTreeMap<StreamId, Stream>,
    /// By position. The truth; streams and ids point into it.
    log: BTreeMap<u64, RecordedEvent>,
    ids: HashMap<EventId, u64>,
    last_position: u64,
    last_incarnation: u64,
}

struct Stream {
    /// Tells this stream from one of the same name that was deleted.
    incarnation: u64,
    info: StreamInfo,
    /// The position of version n at index n - 1.
    positions: Vec<u64>,
    snapshot: Option<Snapshot>,
}

impl InMemoryEventStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Closes the store for every handle: subscriptions end, every further call is answered with
    /// [`StoreError::Closed`].
    pub fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.wakeups.close();
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.0.state.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        Ok(state)
    }
}

impl fmt::Debug for InMemoryEventStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("InMemoryEventStore")
            .field("streams", &state.streams.len())
            .field("events", &state.log.len())
            .field("closed", &state.closed)
            .finish()
    }
}

impl State {
    fn stream(&self, id: &StreamId) -> Result<&Stream, StoreError> {
        self.streams.get(id).ok_or_else(|| StoreError::not_found(id))
    }

    fn append(
        &mut self,
        id: &StreamId,
        expected: &Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        rules::check_events(&events)?;
        let stored = |id: EventId| {
            let event = self.ids.get(&id).and_then(|place| self.log.get(place));
            Ok::<_, StoreError>(event.map(|event| Stored {
                stream: event.stream.clone(),
                version: event.version,
                position: event.position,
            }))
        };
        if let Some(duplicate) = rules::find_duplicate(id, &events, stored)? {
            return Ok(duplicate);
        }
        let current = self.streams.get(id);
        let last = || {
            Ok::<_, StoreError>(
                current
                    .and_then(|stream| stream.positions.last())
                    .map(|last| Position::from_parts(0, 0, *last)),
            )
        };
        rules::check_expected(id, expected, current.map(|stream| stream.info.version), last)?;

        let now = now();
        if let Expected::NoStream(stream_type) = expected {
            self.last_incarnation += 1;
            let stream = Stream {
                incarnation: self.last_incarnation,
                info: StreamInfo::created(id.clone(), stream_type.clone(), now),
                positions: Vec::new(),
                snapshot: None,
            };
            self.streams.insert(id.clone(), stream);
        }
        let stream = self.streams.get_mut(id).ok_or_else(|| StoreError::not_found(id))?;
        let mut appended = Appended::new(stream.info.version, None, false);
        for event in events {
            self.last_position += 1;
            appended.version += 1;
            let position = Position::from_parts(0, 0, self.last_position);
            appended.position = Some(position);
            self.ids.insert(event.id, self.last_position);
            stream.positions.push(self.last_position);
            let event = RecordedEvent::new(id.clone(), appended.version, position, now, event);
            self.log.insert(self.last_position, event);
        }
        if appended.position.is_some() {
            stream.info.version = appended.version;
            stream.info.updated_at = now;
        }
        Ok(appended)
    }

    /// The events of a stream with versions above `after` and below `before`.
    fn versions<'a>(
        &'a self,
        stream: &'a Stream,
        after: u64,
        before: Option<u64>,
    ) -> impl DoubleEndedIterator<Item = &'a RecordedEvent> {
        let len = stream.positions.len();
        let start = usize::try_from(after).unwrap_or(usize::MAX).min(len);
        let end = before
            .and_then(|before| usize::try_from(before.saturating_sub(1)).ok())
            .unwrap_or(len)
            .clamp(start, len);
        let positions = stream.positions[start..end].iter();
        positions.filter_map(|position| self.log.get(position))
    }

    /// The events after one place and before another.
    fn places(&self, after: u64, before: Option<u64>) -> impl DoubleEndedIterator<Item = &RecordedEvent> {
        // An empty range, where the bounds cross: BTreeMap panics on those.
        let before = before.map(|before| before.max(after.saturating_add(1)));
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.log.range((Bound::Excluded(after), end));
        range.map(|(_, event)| event)
    }

    fn is_of_type(&self, event: &RecordedEvent, types: Option<&[StreamType]>) -> bool {
        types.is_none()
            || self
                .streams
                .get(&event.stream)
                .is_some_and(|stream| lets_through(types, stream.info.stream_type.as_str()))
    }
}

/// Filters first, then counts; the events are copied (by reference count) under the lock.
fn collect<'a>(
    events: impl DoubleEndedIterator<Item = &'a RecordedEvent>,
    direction: Direction,
    max_count: Option<usize>,
    wanted: impl Fn(&RecordedEvent) -> bool,
) -> Vec<RecordedEvent> {
    let max = max_count.unwrap_or(usize::MAX);
    match direction {
        Direction::Forward => events.filter(|e| wanted(e)).take(max).cloned().collect(),
        Direction::Backward => events.rev().filter(|e| wanted(e)).take(max).cloned().collect(),
    }
}

#[async_trait]
impl EventStore for InMemoryEventStore {
    async fn append(
        &self,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        let appended = self.open()?.append(stream, &expected, events)?;
        if appended.position.is_some() && !appended.duplicate {
            self.0.wakeups.wake([stream]);
        }
        Ok(appended)
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        read: ReadStream,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let state = self.open()?;
        let events = state.versions(state.stream(stream)?, read.after, read.before);
        Ok(collect(events, read.direction, read.max_count, |event| {
            lets_through(read.event_types.as_deref(), &event.event_type)
        }))
    }

    async fn read_all(&self, read: ReadAll) -> Result<Vec<RecordedEvent>, StoreError> {
        let after = place(read.after)?;
        let before = read.before.map(place).transpose()?;
        let state = self.open()?;
        let events = state.places(after, before);
        Ok(collect(events, read.direction, read.max_count, |event| {
            lets_through(read.event_types.as_deref(), &event.event_type)
                && state.is_of_type(event, read.stream_types.as_deref())
        }))
    }

    async fn subscribe(&self, from: Subscribe) -> Result<Subscription, StoreError> {
        let topic = match &from.source {
            Source::Stream { stream, .. } => Topic::Stream(stream.clone()),
            Source::All { .. } => Topic::All,
        };
        let (wake, listening) = self.0.wakeups.listen(topic);
        let incarnation = match &from.source {
            Source::Stream { stream, .. } => self.open()?.stream(stream)?.incarnation,
            Source::All { after, .. } => {
                place(*after)?;
                drop(self.open()?);
                0
            }
        };
        let tail = MemoryTail { store: self.clone(), from, incarnation, _listening: listening };
        Ok(Subscription::new(tail, wake))
    }

    async fn stream_info(&self, stream: &StreamId) -> Result<StreamInfo, StoreError> {
        Ok(self.open()?.stream(stream)?.info.clone())
    }

    async fn list_streams(&self, list: ListStreams) -> Result<Vec<StreamInfo>, StoreError> {
        let state = self.open()?;
        let after = match &list.after {
            Some(after) => Bound::Excluded(after.clone()),
            None => Bound::Unbounded,
        };
        let infos = state
            .streams
            .range((after, Bound::Unbounded))
            .map(|(_, stream)| &stream.info)
            .filter(|info| list.stream_type.as_ref().is_none_or(|wanted| *wanted == info.stream_type))
            .take(list.max_count.unwrap_or(usize::MAX));
        Ok(infos.cloned().collect())
    }

    async fn delete_stream(&self, stream: &StreamId) -> Result<(), StoreError> {
        {
            let state = &mut *self.open()?;
            let deleted = state.streams.remove(stream).ok_or_else(|| StoreError::not_found(stream))?;
            for position in deleted.positions {
                if let Some(event) = state.log.remove(&position) {
                    state.ids.remove(&event.id);
                }
            }
        }
        self.0.wakeups.wake([stream]);
        Ok(())
    }

    async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), StoreError> {
        let mut state = self.open()?;
        let found = state.streams.get_mut(stream).ok_or_else(|| StoreError::not_found(stream))?;
        let stored = found.snapshot.as_ref().map(|stored| stored.version);
        rules::check_snapshot(stream, snapshot.version, found.info.version, stored)?;
        found.snapshot = Some(snapshot);
        Ok(())
    }

    async fn load_snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, StoreError> {
        Ok(self.open()?.stream(stream)?.snapshot.clone())
    }
}

/// A place in the store; `from` moves on with it.
struct MemoryTail {
    store: InMemoryEventStore,
    from: Subscribe,
    /// Of the followed stream, so that a new one of its name is not taken for it.
    incarnation: u64,
    _listening: Listening,
}

#[async_trait]
impl Tail for MemoryTail {
    async fn next_page(&mut self) -> Result<Page, StoreError> {
        let state = self.store.open()?;
        let types = self.from.event_types.as_deref();
        let mut events = Vec::new();
        let mut seen = 0;
        match &mut self.from.source {
            Source::Stream { stream, after } => {
                let found = state.stream(stream)?;
                if found.incarnation != self.incarnation {
                    return Err(StoreError::not_found(stream));
                }
                for event in state.versions(found, *after, None).take(PAGE) {
                    seen += 1;
                    *after = event.version;
                    if lets_through(types, &event.event_type) {
                        events.push(event.clone());
                    }
                }
            }
            Source::All { after, stream_types } => {
                for event in state.places(place(*after)?, None).take(PAGE) {
                    seen += 1;
                    *after = event.position;
                    if lets_through(types, &event.event_type)
                        && state.is_of_type(event, stream_types.as_deref())
                    {
                        events.push(event.clone());
                    }
                }
            }
        }
        Ok(Page { events, at_end: seen < PAGE })
    }
}
