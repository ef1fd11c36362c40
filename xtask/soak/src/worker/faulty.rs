//! A store that fails: the real one, behind a wrapper that is sometimes slow, unavailable, or does not say what became of a write.
//!
//! It keeps to the port's promises: `Unavailable` has done nothing, `Indeterminate` has done all or nothing. What a disk may do is
//! another tool's matter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use ipa_eventstore::{
    Appended, EventStore, Expected, ListStreams, NewEvent, ReadAll, ReadStream, RecordedEvent, Snapshot,
    SqliteEventStore, StoreError, StreamId, StreamInfo, Subscribe, Subscription,
};

use super::world::Tally;
use crate::random::Random;
use std::sync::Arc;

/// A fault comes once in so many calls.
const RARITY: u64 = 200;

/// See the module.
pub struct Faulty {
    store: SqliteEventStore,
    tally: Arc<Tally>,
    seed: u64,
    calls: AtomicU64,
}

enum Fault {
    Unavailable,
    /// Done all the same, or not done.
    Indeterminate {
        done: bool,
    },
}

impl Faulty {
    pub fn new(store: SqliteEventStore, tally: Arc<Tally>, seed: u64) -> Self {
        Self { store, tally, seed, calls: AtomicU64::new(0) }
    }

    /// Is slow now and then, and answers with the fault that this call has, if any.
    async fn fault(&self, write: bool) -> Option<Fault> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut random = Random::of(self.seed, call);
        if random.once_in(RARITY) {
            self.tally.count("store slow");
            tokio::time::sleep(random.between(Duration::from_millis(1), Duration::from_millis(100))).await;
        }
        if !random.once_in(RARITY) {
            return None;
        }
        match random.below(if write { 3 } else { 1 }) {
            0 => {
                self.tally.count("store unavailable");
                Some(Fault::Unavailable)
            }
            way => {
                self.tally.count("store indeterminate");
                Some(Fault::Indeterminate { done: way == 1 })
            }
        }
    }

    async fn read_fault(&self) -> Result<(), StoreError> {
        match self.fault(false).await {
            None => Ok(()),
            Some(_) => Err(unavailable()),
        }
    }
}

fn cause() -> ipa_eventstore::Cause {
    Arc::from(Box::<dyn std::error::Error + Send + Sync>::from("a fault of the soak"))
}

fn unavailable() -> StoreError {
    StoreError::Unavailable(cause())
}

#[async_trait]
impl EventStore for Faulty {
    async fn append(
        &self,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        match self.fault(true).await {
            None => self.store.append(stream, expected, events).await,
            Some(Fault::Unavailable) => Err(unavailable()),
            Some(Fault::Indeterminate { done: false }) => Err(StoreError::Indeterminate(cause())),
            Some(Fault::Indeterminate { done: true }) => {
                self.store.append(stream, expected, events).await?;
                Err(StoreError::Indeterminate(cause()))
            }
        }
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        read: ReadStream,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.read_fault().await?;
        self.store.read_stream(stream, read).await
    }

    async fn read_all(&self, read: ReadAll) -> Result<Vec<RecordedEvent>, StoreError> {
        self.read_fault().await?;
        self.store.read_all(read).await
    }

    async fn subscribe(&self, from: Subscribe) -> Result<Subscription, StoreError> {
        self.read_fault().await?;
        self.store.subscribe(from).await
    }

    async fn stream_info(&self, stream: &StreamId) -> Result<StreamInfo, StoreError> {
        self.read_fault().await?;
        self.store.stream_info(stream).await
    }

    async fn list_streams(&self, list: ListStreams) -> Result<Vec<StreamInfo>, StoreError> {
        self.read_fault().await?;
        self.store.list_streams(list).await
    }

    async fn delete_stream(&self, stream: &StreamId) -> Result<(), StoreError> {
        self.store.delete_stream(stream).await
    }

    async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), StoreError> {
        self.read_fault().await?;
        self.store.save_snapshot(stream, snapshot).await
    }

    async fn load_snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, StoreError> {
        self.read_fault().await?;
        self.store.load_snapshot(stream).await
    }
}
