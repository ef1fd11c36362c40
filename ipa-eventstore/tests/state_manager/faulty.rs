//! A store that is slow at random, and fails in every way that a store may: from a seed.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ipa_eventstore::{
    Appended, EventStore, Expected, ListStreams, NewEvent, ReadAll, ReadStream, RecordedEvent, Snapshot,
    StoreError, StreamId, StreamInfo, Subscribe, Subscription,
};
use std::sync::Mutex;
use tokio::task::JoinSet;

/// Random numbers from a seed: splitmix64.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What it does, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Of a thousand appends, how many fail, in each of the ways.
    pub appends: u64,
    /// Of a thousand reads, how many fail.
    pub reads: u64,
    /// Whether an append of unknown fate may land later.
    pub late: bool,
    /// Whether it takes time (on a paused clock), or only lets others go first.
    pub clock: bool,
}

#[derive(Clone)]
pub struct Faulty<S> {
    pub inner: S,
    shared: Arc<Shared>,
}

struct Shared {
    dice: Mutex<Dice>,
    faults: Mutex<Faults>,
    /// Appends that land later.
    late: Mutex<JoinSet<()>>,
    /// How many appends failed, for the test to see that they do.
    failed: Mutex<u64>,
}

impl<S: EventStore + Clone> Faulty<S> {
    pub fn new(inner: S, seed: u64, faults: Faults) -> Self {
        let shared = Shared {
            dice: Mutex::new(Dice::new(seed)),
            faults: Mutex::new(faults),
            late: Mutex::default(),
            failed: Mutex::default(),
        };
        Self { inner, shared: Arc::new(shared) }
    }

    fn roll(&self, n: u64) -> u64 {
        self.shared.dice.lock().unwrap().below(n)
    }

    fn faults(&self) -> Faults {
        *self.shared.faults.lock().unwrap()
    }

    /// Lets others go first, or takes its time.
    pub async fn pause(&self) {
        if self.faults().clock && self.roll(3) == 0 {
            tokio::time::sleep(Duration::from_millis(self.roll(40))).await;
            return;
        }
        for _ in 0..self.roll(4) {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for what is still to land. From then on nothing fails. How many appends have.
    pub async fn settle(&self) -> u64 {
        let mut late = {
            let mut faults = self.shared.faults.lock().unwrap();
            (faults.appends, faults.reads) = (0, 0);
            std::mem::take(&mut *self.shared.late.lock().unwrap())
        };
        while let Some(landed) = late.join_next().await {
            landed.unwrap();
        }
        *self.shared.failed.lock().unwrap()
    }
}

fn cause() -> ipa_eventstore::Cause {
    Arc::new(std::io::Error::other("by chance"))
}

#[async_trait]
impl<S: EventStore + Clone> EventStore for Faulty<S> {
    async fn append(
        &self,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        self.pause().await;
        let faults = self.faults();
        let fault = (faults.appends > self.roll(1000)).then(|| self.roll(if faults.late { 4 } else { 3 }));
        if fault.is_some() {
            *self.shared.failed.lock().unwrap() += 1;
        }
        match fault {
            None => {}
            Some(0) => return Err(StoreError::Unavailable(cause())),
            Some(1) => return Err(StoreError::Indeterminate(cause())),
            Some(2) => {
                self.inner.append(stream, expected, events).await?;
                return Err(StoreError::Indeterminate(cause()));
            }
            Some(_) => {
                let (store, stream) = (self.clone(), stream.clone());
                let wait = self.roll(40);
                self.shared.late.lock().unwrap().spawn(async move {
                    for _ in 0..wait {
                        store.pause().await;
                    }
                    let _ = store.inner.append(&stream, expected, events).await;
                });
                return Err(StoreError::Indeterminate(cause()));
            }
        }
        let appended = self.inner.append(stream, expected, events).await;
        self.pause().await;
        appended
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        read: ReadStream,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.pause().await;
        if self.faults().reads > self.roll(1000) {
            return Err(StoreError::Unavailable(cause()));
        }
        let events = self.inner.read_stream(stream, read).await;
        self.pause().await;
        events
    }

    async fn read_all(&self, read: ReadAll) -> Result<Vec<RecordedEvent>, StoreError> {
        self.inner.read_all(read).await
    }

    async fn subscribe(&self, from: Subscribe) -> Result<Subscription, StoreError> {
        self.inner.subscribe(from).await
    }

    async fn stream_info(&self, stream: &StreamId) -> Result<StreamInfo, StoreError> {
        self.inner.stream_info(stream).await
    }

    async fn list_streams(&self, list: ListStreams) -> Result<Vec<StreamInfo>, StoreError> {
        self.inner.list_streams(list).await
    }

    async fn delete_stream(&self, stream: &StreamId) -> Result<(), StoreError> {
        self.inner.delete_stream(stream).await
    }

    async fn save_snapshot(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), StoreError> {
        self.pause().await;
        self.pause().await;
        self.inner.save_snapshot(stream, snapshot).await
    }

    async fn load_snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, StoreError> {
        let snapshot = self.inner.load_snapshot(stream).await;
        self.pause().await;
        snapshot
    }
}
