//! A healthy store, and what stands between it and its caller: one fault.

use std::sync::Arc;

use async_trait::async_trait;
use ipa_eventstore::subscription::{Page, Tail};
use ipa_eventstore::testkit::Subject;
use ipa_eventstore::{
    Appended, EventStore, Expected, InMemoryEventStore, ListStreams, NewEvent, Position, ReadAll, ReadStream,
    RecordedEvent, Snapshot, StoreError, StreamId, StreamInfo, StreamType, Subscribe, Subscription,
};
use tokio::sync::watch;

pub type Healthy = InMemoryEventStore;
pub type Answer<T> = Result<T, StoreError>;

/// What is wrong with a store. Each hook does as the healthy store does, unless it is the fault.
#[async_trait]
pub trait Fault: Default + Send + Sync + 'static {
    /// The name under which a stream is kept.
    fn name(&self, stream: &StreamId) -> StreamId {
        stream.clone()
    }

    /// An event as it is shown to readers and subscribers; `None` hides it.
    fn shown(&self, event: RecordedEvent) -> Option<RecordedEvent> {
        Some(event)
    }

    /// What is said of a stream.
    fn info(&self, info: StreamInfo) -> StreamInfo {
        info
    }

    fn read_stream_as(&self, read: ReadStream) -> ReadStream {
        read
    }

    fn read_all_as(&self, read: ReadAll) -> ReadAll {
        read
    }

    fn subscribe_as(&self, from: Subscribe) -> Subscribe {
        from
    }

    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        store.append(stream, expected, events).await
    }

    async fn read_stream(
        &self,
        store: &Healthy,
        stream: &StreamId,
        read: ReadStream,
    ) -> Answer<Vec<RecordedEvent>> {
        store.read_stream(stream, read).await
    }

    async fn read_all(&self, store: &Healthy, read: ReadAll) -> Answer<Vec<RecordedEvent>> {
        store.read_all(read).await
    }

    async fn subscribe(&self, store: &Healthy, from: Subscribe) -> Answer<Subscription> {
        store.subscribe(from).await
    }

    async fn stream_info(&self, store: &Healthy, stream: &StreamId) -> Answer<StreamInfo> {
        store.stream_info(stream).await
    }

    async fn list_streams(&self, store: &Healthy, list: ListStreams) -> Answer<Vec<StreamInfo>> {
        store.list_streams(list).await
    }

    async fn delete_stream(&self, store: &Healthy, stream: &StreamId) -> Answer<()> {
        store.delete_stream(stream).await
    }

    async fn save_snapshot(&self, store: &Healthy, stream: &StreamId, snapshot: Snapshot) -> Answer<()> {
        store.save_snapshot(stream, snapshot).await
    }

    async fn load_snapshot(&self, store: &Healthy, stream: &StreamId) -> Answer<Option<Snapshot>> {
        store.load_snapshot(stream).await
    }

    fn generate(&self) -> StreamId {
        StreamId::generate()
    }

    /// Called when the store is opened again.
    fn reopened(&self) {}

    /// Whether closing is noticed by subscriptions and by calls.
    fn closes(&self) -> (bool, bool) {
        (true, true)
    }
}

/// A store with a fault. What is opened again is another handle to the same store and fault.
pub struct Sabotaged<F> {
    store: Healthy,
    fault: Arc<F>,
    closed: watch::Sender<bool>,
}

impl<F: Fault> Sabotaged<F> {
    fn new(store: Healthy, fault: Arc<F>) -> Self {
        Self { store, fault, closed: watch::Sender::new(false) }
    }

    fn open(&self) -> Answer<&Healthy> {
        match *self.closed.borrow() && self.fault.closes().1 {
            true => Err(StoreError::Closed),
            false => Ok(&self.store),
        }
    }

    fn show(&self, events: Vec<RecordedEvent>) -> Vec<RecordedEvent> {
        events.into_iter().filter_map(|event| self.fault.shown(event)).collect()
    }
}

/// A new store with a fault, able to do all that a store can.
pub fn subject<F: Fault>() -> Subject {
    let (store, fault) = (Healthy::new(), Arc::new(F::default()));
    let first = Arc::new(Sabotaged::new(store.clone(), fault.clone()));
    let subject = Subject::new(first.clone()).foreign_positions([Position::from_parts(1, 0, 0)]);
    subject.reopening(move || {
        first.closed.send_replace(true);
        fault.reopened();
        let again = Sabotaged::new(store.clone(), fault.clone());
        async move { again }
    })
}

#[async_trait]
impl<F: Fault> EventStore for Sabotaged<F> {
    async fn append(&self, stream: &StreamId, expected: Expected, events: Vec<NewEvent>) -> Answer<Appended> {
        self.fault.append(self.open()?, &self.fault.name(stream), expected, events).await
    }

    async fn read_stream(&self, stream: &StreamId, read: ReadStream) -> Answer<Vec<RecordedEvent>> {
        let read = self.fault.read_stream_as(read);
        let events = self.fault.read_stream(self.open()?, &self.fault.name(stream), read).await?;
        Ok(self.show(events))
    }

    async fn read_all(&self, read: ReadAll) -> Answer<Vec<RecordedEvent>> {
        let read = self.fault.read_all_as(read);
        let events = self.fault.read_all(self.open()?, read).await?;
        Ok(self.show(events))
    }

    async fn subscribe(&self, from: Subscribe) -> Answer<Subscription> {
        let inner = self.fault.subscribe(self.open()?, self.fault.subscribe_as(from)).await?;
        let (fault, closed) = (self.fault.clone(), self.closed.subscribe());
        Ok(from_tail(ShownTail { inner, fault, closed }))
    }

    async fn stream_info(&self, stream: &StreamId) -> Answer<StreamInfo> {
        let info = self.fault.stream_info(self.open()?, &self.fault.name(stream)).await?;
        Ok(self.fault.info(info))
    }

    async fn list_streams(&self, list: ListStreams) -> Answer<Vec<StreamInfo>> {
        let infos = self.fault.list_streams(self.open()?, list).await?;
        Ok(infos.into_iter().map(|info| self.fault.info(info)).collect())
    }

    async fn delete_stream(&self, stream: &StreamId) -> Answer<()> {
        self.fault.delete_stream(self.open()?, &self.fault.name(stream)).await
    }

    async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Answer<()> {
        self.fault.save_snapshot(self.open()?, &self.fault.name(stream), snapshot).await
    }

    async fn load_snapshot(&self, stream: &StreamId) -> Answer<Option<Snapshot>> {
        self.fault.load_snapshot(self.open()?, &self.fault.name(stream)).await
    }

    async fn start_stream(
        &self,
        stream_type: &StreamType,
        id: Option<StreamId>,
        first_events: Vec<NewEvent>,
    ) -> Answer<StreamId> {
        let id = id.unwrap_or_else(|| self.fault.generate());
        self.append(&id, Expected::NoStream(stream_type.clone()), first_events).await?;
        Ok(id)
    }
}

/// A subscription that is nothing but its tail, which waits by itself.
pub fn from_tail(tail: impl Tail) -> Subscription {
    let (sender, wake) = watch::channel(());
    Subscription::new(Kept { tail, _wake: sender }, wake)
}

/// Keeps the sender, without which the subscription would end.
struct Kept<T> {
    tail: T,
    _wake: watch::Sender<()>,
}

#[async_trait]
impl<T: Tail> Tail for Kept<T> {
    async fn next_page(&mut self) -> Answer<Page> {
        self.tail.next_page().await
    }
}

/// A page of one event; there may be more behind it.
pub fn one(event: RecordedEvent) -> Page {
    Page { events: vec![event], at_end: false }
}

/// What a subscription gives, as a tail gives it.
pub fn passed_on(got: Option<Answer<RecordedEvent>>) -> Answer<RecordedEvent> {
    got.unwrap_or(Err(StoreError::Closed))
}

/// Shows what a subscription gives as the fault shows it, until the store is closed.
struct ShownTail<F> {
    inner: Subscription,
    fault: Arc<F>,
    closed: watch::Receiver<bool>,
}

#[async_trait]
impl<F: Fault> Tail for ShownTail<F> {
    async fn next_page(&mut self) -> Answer<Page> {
        loop {
            let got = tokio::select! {
                biased;
                _ = self.closed.wait_for(|closed| *closed), if self.fault.closes().0 => None,
                got = self.inner.next() => got,
            };
            // No await from here on, so a dropped call loses nothing.
            if let Some(event) = self.fault.shown(passed_on(got)?) {
                return Ok(one(event));
            }
        }
    }
}

/// The same events, as if they were new.
pub fn fresh(events: &[NewEvent]) -> Vec<NewEvent> {
    let renew = |event: &NewEvent| event.clone().id(ipa_eventstore::EventId::generate());
    events.iter().map(renew).collect()
}

/// Whether any of the ids is stored, in whatever stream.
pub async fn any_stored(store: &Healthy, events: &[NewEvent]) -> bool {
    let stored = store.read_all(ReadAll::new()).await.unwrap();
    events.iter().any(|event| stored.iter().any(|stored| stored.id == event.id))
}

/// The last event of a stream.
pub async fn last_of(store: &Healthy, stream: &StreamId) -> Option<RecordedEvent> {
    let last = ReadStream::new().backward().max_count(1);
    store.read_stream(stream, last).await.ok()?.pop()
}

/// Lets the others go on: a store that works meanwhile is one that is dropped or overtaken here.
pub async fn pause() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}
