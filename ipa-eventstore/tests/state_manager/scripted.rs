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
    /// How many reads of a stream are let through, and how many after these fail.
    failing_reads: (usize, usize),
    /// How many reads of a stream are let through before one waits.
    waiting_read: Option<(usize, Gate)>,
    /// Before every read of a stream, it is deleted and made again with the same events.
    recreating: bool,
    /// A version that reads leave out.
    hidden: Option<u64>,
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
    /// It is done, then waits before that is known.
    GateAfter(Gate),
    /// It waits, then is done, and not known.
    GateThenIndeterminate(Gate),
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
    /// Forgets what appends have not come to.
    pub fn no_more(&self) {
        self.script.lock().unwrap().appends.clear();
    }
    pub fn then_save(&self, gate: Gate) {
        self.script.lock().unwrap().saves.push_back(gate);
    }
    pub fn fail_reads(&self, count: usize) {
        self.fail_reads_after(0, count);
    }
    pub fn fail_reads_after(&self, good: usize, count: usize) {
        self.script.lock().unwrap().failing_reads = (good, count);
    }
    pub fn then_read(&self, after: usize, gate: Gate) {
        self.script.lock().unwrap().waiting_read = Some((after, gate));
    }
    pub fn recreate_at_every_read(&self, recreate: bool) {
        self.script.lock().unwrap().recreating = recreate;
    }
    pub fn hide(&self, version: Option<u64>) {
        self.script.lock().unwrap().hidden = version;
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
            Some(Turn::GateAfter(gate)) => {
                let appended = self.inner.append(stream, expected, events).await?;
                gate.pass().await;
                return Ok(appended);
            }
            Some(Turn::GateThenIndeterminate(gate)) => {
                gate.pass().await;
                self.inner.append(stream, expected, events).await?;
                return Err(StoreError::Indeterminate(cause()));
            }
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
        let (gate, recreating, hidden) = {
            let mut script = self.script.lock().unwrap();
            script.reads.push(read.after);
            match &mut script.failing_reads {
                (0, 0) => {}
                (0, left) => {
                    *left -= 1;
                    return Err(StoreError::Unavailable(cause()));
                }
                (good, _) => *good -= 1,
            }
            let gate = match &mut script.waiting_read {
                Some((0, _)) => script.waiting_read.take().map(|(_, gate)| gate),
                Some((before, _)) => {
                    *before -= 1;
                    None
                }
                None => None,
            };
            (gate, script.recreating, script.hidden)
        };
        if let Some(gate) = gate {
            gate.pass().await;
        }
        if recreating {
            let info = self.inner.stream_info(stream).await?;
            let events = self.inner.read_stream(stream, ReadStream::new()).await?;
            let again = events
                .into_iter()
                .map(|event| NewEvent::new(event.event_type, event.data))
                .collect::<Result<_, _>>();
            self.inner.delete_stream(stream).await?;
            self.inner.start_stream(&info.stream_type, Some(stream.clone()), again?).await?;
        }
        let mut events = self.inner.read_stream(stream, read).await?;
        events.retain(|event| Some(event.version) != hidden);
        Ok(events)
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
