//! An in-memory store that does to appends and snapshots what a test tells it to, and counts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ipa_eventstore::{
    Appended, EventId, EventStore, Expected, InMemoryEventStore, ListStreams, NewEvent, ReadAll, ReadStream,
    RecordedEvent, Snapshot, StoreError, StreamId, StreamInfo, Subscribe, Subscription,
};
use tokio::sync::oneshot;

#[derive(Clone, Default)]
pub struct Scripted {
    pub inner: InMemoryEventStore,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    appends: VecDeque<Turn>,
    saves: VecDeque<Gate>,
    failing_reads: usize,
    /// Of each append that arrived, its events' ids.
    appended: Vec<Vec<EventId>>,
    /// What each read of a stream began after.
    reads: Vec<u64>,
    /// Of each snapshot that arrived, its version and the stream's.
    saved: Vec<(u64, u64)>,
    probe: Option<Box<dyn Fn() + Send>>,
}

/// What becomes of an append.
pub enum Turn {
    /// Not done.
    Unavailable,
    /// Done, and not known.
    IndeterminateDone,
    /// Not done, and not known.
    IndeterminateLost,
    /// Somebody else appends these first.
    After(Vec<NewEvent>),
    /// It waits, then is done.
    Gate(Gate),
}

/// Tells that it is reached, and waits to be let through.
pub struct Gate(oneshot::Sender<()>, oneshot::Receiver<()>);

/// A gate, what tells that it is reached, and what opens it.
pub fn gate() -> (Gate, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let (reached, at_gate) = oneshot::channel();
    let (open, opened) = oneshot::channel();
    (Gate(reached, opened), at_gate, open)
}

impl Gate {
    async fn pass(self) {
        let _ = self.0.send(());
        let _ = self.1.await;
    }
}

fn cause() -> ipa_eventstore::Cause {
    Arc::new(std::io::Error::other("as scripted"))
}

impl Scripted {
    pub fn then(&self, turn: Turn) -> &Self {
        self.script.lock().unwrap().appends.push_back(turn);
        self
    }
    pub fn then_save(&self, gate: Gate) {
        self.script.lock().unwrap().saves.push_back(gate);
    }
    pub fn fail_reads(&self, count: usize) {
        self.script.lock().unwrap().failing_reads = count;
    }
    /// Called after each append that is done, before it is answered.
    pub fn probe(&self, probe: impl Fn() + Send + 'static) {
        self.script.lock().unwrap().probe = Some(Box::new(probe));
    }
    pub fn appended(&self) -> Vec<Vec<EventId>> {
        self.script.lock().unwrap().appended.clone()
    }
    pub fn take_reads(&self) -> Vec<u64> {
        std::mem::take(&mut self.script.lock().unwrap().reads)
    }
    pub fn saved(&self) -> Vec<(u64, u64)> {
        self.script.lock().unwrap().saved.clone()
    }
}

#[async_trait]
impl EventStore for Scripted {
    async fn append(
        &self,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Result<Appended, StoreError> {
        let turn = {
            let mut script = self.script.lock().unwrap();
            script.appended.push(events.iter().map(|event| event.id).collect());
            script.appends.pop_front()
        };
        match turn {
            None => {}
            Some(Turn::Unavailable) => return Err(StoreError::Unavailable(cause())),
            Some(Turn::IndeterminateLost) => return Err(StoreError::Indeterminate(cause())),
            Some(Turn::IndeterminateDone) => {
                self.inner.append(stream, expected, events).await?;
                return Err(StoreError::Indeterminate(cause()));
            }
            Some(Turn::After(others)) => {
                self.inner.append(stream, Expected::Any, others).await?;
            }
            Some(Turn::Gate(gate)) => gate.pass().await,
        }
        let appended = self.inner.append(stream, expected, events).await?;
        if let Some(probe) = &self.script.lock().unwrap().probe {
            probe();
        }
        Ok(appended)
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        read: ReadStream,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        {
            let mut script = self.script.lock().unwrap();
            script.reads.push(read.after);
            if script.failing_reads > 0 {
                script.failing_reads -= 1;
                return Err(StoreError::Unavailable(cause()));
            }
        }
        self.inner.read_stream(stream, read).await
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
        let current = self.inner.stream_version(stream).await?;
        let gate = {
            let mut script = self.script.lock().unwrap();
            script.saved.push((snapshot.version, current));
            script.saves.pop_front()
        };
        if let Some(gate) = gate {
            gate.pass().await;
        }
        self.inner.save_snapshot(stream, snapshot).await
    }

    async fn load_snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, StoreError> {
        self.inner.load_snapshot(stream).await
    }
}
