//! Faults that show when a call is dropped in its middle.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use ipa_eventstore::subscription::{Page, Tail};
use ipa_eventstore::{
    Appended, EventId, EventStore, Expected, NewEvent, ReadStream, RecordedEvent, Snapshot, StreamId,
    Subscribe, Subscription,
};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::store::{Answer, Fault, Healthy, any_stored, from_tail, one, passed_on, pause};

/// A lock that is given back by hand: whoever is dropped while holding it keeps it.
struct ByHand(Semaphore);

impl Default for ByHand {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

impl ByHand {
    async fn lock(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }

    fn unlock(&self) {
        self.0.add_permits(1);
    }
}

/// An append that is dropped leaves its lock behind.
#[derive(Default)]
pub struct AppendLeavesALock(ByHand);

#[async_trait]
impl Fault for AppendLeavesALock {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        self.0.lock().await;
        pause().await;
        let appended = store.append(stream, expected, events).await;
        self.0.unlock();
        appended
    }
}

/// A read that is dropped leaves the lock behind that appends wait for.
#[derive(Default)]
pub struct ReadLeavesALock(ByHand);

#[async_trait]
impl Fault for ReadLeavesALock {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        self.0.lock().await;
        let appended = store.append(stream, expected, events).await;
        self.0.unlock();
        appended
    }

    async fn read_stream(
        &self,
        store: &Healthy,
        stream: &StreamId,
        read: ReadStream,
    ) -> Answer<Vec<RecordedEvent>> {
        self.0.lock().await;
        pause().await;
        let read = store.read_stream(stream, read).await;
        self.0.unlock();
        read
    }
}

/// Publication is the caller's last act: dropped before it, the append is stored and nobody hears of it.
#[derive(Default)]
pub struct PublishedByTheCaller(Arc<watch::Sender<HashSet<EventId>>>);

/// Gives an event when it is published, and what comes after it later.
struct UnpublishedTail {
    inner: Subscription,
    held: Option<RecordedEvent>,
    unpublished: watch::Receiver<HashSet<EventId>>,
}

#[async_trait]
impl Tail for UnpublishedTail {
    async fn next_page(&mut self) -> Answer<Page> {
        let event = match self.held.clone() {
            Some(event) => event,
            None => passed_on(self.inner.next().await)?,
        };
        self.held = Some(event.clone());
        let _ = self.unpublished.wait_for(|unpublished| !unpublished.contains(&event.id)).await;
        self.held = None;
        Ok(one(event))
    }
}

#[async_trait]
impl Fault for PublishedByTheCaller {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        if any_stored(store, &events).await {
            return store.append(stream, expected, events).await;
        }
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        self.0.send_modify(|unpublished| unpublished.extend(&ids));
        let appended = store.append(stream, expected, events).await;
        pause().await;
        self.0.send_modify(|unpublished| unpublished.retain(|id| !ids.contains(id)));
        appended
    }

    async fn subscribe(&self, store: &Healthy, from: Subscribe) -> Answer<Subscription> {
        let inner = store.subscribe(from).await?;
        Ok(from_tail(UnpublishedTail { inner, held: None, unpublished: self.0.subscribe() }))
    }
}

/// A deletion takes the events first, then the stream.
#[derive(Default)]
pub struct DeletionInPieces(Mutex<HashSet<StreamId>>);

#[async_trait]
impl Fault for DeletionInPieces {
    fn shown(&self, event: RecordedEvent) -> Option<RecordedEvent> {
        (!self.0.lock().contains(&event.stream)).then_some(event)
    }

    async fn delete_stream(&self, store: &Healthy, stream: &StreamId) -> Answer<()> {
        self.0.lock().insert(stream.clone());
        pause().await;
        self.0.lock().remove(stream);
        store.delete_stream(stream).await
    }
}

/// A snapshot is taken away before the next one is put in its place.
#[derive(Default)]
pub struct SnapshotInPieces(Mutex<HashSet<StreamId>>);

#[async_trait]
impl Fault for SnapshotInPieces {
    async fn save_snapshot(&self, store: &Healthy, stream: &StreamId, snapshot: Snapshot) -> Answer<()> {
        self.0.lock().insert(stream.clone());
        pause().await;
        self.0.lock().remove(stream);
        store.save_snapshot(stream, snapshot).await
    }

    async fn load_snapshot(&self, store: &Healthy, stream: &StreamId) -> Answer<Option<Snapshot>> {
        let loaded = store.load_snapshot(stream).await?;
        Ok(loaded.filter(|_| !self.0.lock().contains(stream)))
    }
}
