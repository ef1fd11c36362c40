//! The aggregate of these tests, and short ways to start it.

use std::sync::Arc;

use ipa_eventstore::{
    Aggregate, EventId, EventStore, Json, NewEvent, ReadStream, RecordedEvent, StateHandle, StateManager,
    StreamId, StreamType, Versioned,
};
use ipa_supervisor::{BoxError, Supervisor};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Adds up numbers. Its snapshots have the schema `S`; 0 is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter<const S: u32 = 0> {
    pub sum: u64,
    pub events: u64,
}

/// Called with what is happening.
pub type Probe = Arc<dyn Fn(&'static str) + Send + Sync>;

pub enum Command {
    Add(u64),
    /// Each its own event.
    AddAll(Vec<u64>),
    /// An event with an id of its own.
    AddOnce(u64, EventId),
    /// Adds 1, and calls.
    AddProbed(Probe),
    Refuse,
    PanicInDecide,
    /// An event that cannot be applied, after one that can.
    Poison,
    /// An event that cannot be encoded, after one that can.
    Unencodable,
}

pub enum Event {
    Added { n: u64, id: Option<EventId>, probe: Option<Probe> },
    Poison,
    Unencodable,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not with a sum of {0}")]
pub struct Refused(pub u64);

pub fn added(n: u64) -> NewEvent {
    NewEvent::json("added", &n).unwrap()
}

impl<const S: u32> Aggregate for Counter<S> {
    type Command = Command;
    type Event = Event;
    type Rejection = Refused;
    const SNAPSHOT_SCHEMA: Option<u32> = if S == 0 { None } else { Some(S) };

    fn initial(_stream: &StreamId) -> Self {
        Self { sum: 0, events: 0 }
    }

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Refused> {
        let plain = |&n: &u64| Event::Added { n, id: None, probe: None };
        Ok(match command {
            Command::Add(n) => vec![plain(n)],
            Command::AddAll(all) => all.iter().map(plain).collect(),
            Command::AddOnce(n, id) => vec![Event::Added { n: *n, id: Some(*id), probe: None }],
            Command::AddProbed(probe) => {
                probe("decide");
                vec![Event::Added { n: 1, id: None, probe: Some(probe.clone()) }]
            }
            Command::Refuse => return Err(Refused(self.sum)),
            Command::PanicInDecide => panic!("as asked"),
            Command::Poison => vec![plain(&1), Event::Poison],
            Command::Unencodable => vec![plain(&1), Event::Unencodable],
        })
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Added { n, probe, .. } => {
                if let Some(probe) = probe {
                    probe("apply");
                }
                self.events += 1;
                self.sum += n;
            }
            Event::Poison | Event::Unencodable => {
                self.sum = u64::MAX; // half done
                panic!("poison");
            }
        }
    }

    fn encode(event: &Event) -> Result<NewEvent, BoxError> {
        match event {
            Event::Added { n, id, .. } => {
                let event = added(*n);
                Ok(match id {
                    Some(id) => event.id(*id),
                    None => event,
                })
            }
            Event::Poison => Ok(NewEvent::json("poison", &())?),
            Event::Unencodable => Err("no form".into()),
        }
    }

    fn decode(recorded: &RecordedEvent) -> Result<Event, BoxError> {
        match &*recorded.event_type {
            "added" => Ok(Event::Added { n: recorded.data()?, id: Some(recorded.id), probe: None }),
            "poison" => Ok(Event::Poison),
            other => Err(format!("{other} is not known").into()),
        }
    }

    fn to_snapshot(&self) -> Result<Json, BoxError> {
        Ok(Json::of(self)?)
    }

    fn from_snapshot(_stream: &StreamId, state: &Json) -> Result<Self, BoxError> {
        let state: Self = state.decode()?;
        assert!(state.sum != u64::MAX, "half done");
        Ok(state)
    }
}

pub fn stream() -> StreamId {
    StreamId::new("counter-1").unwrap()
}

/// Creates the stream with these numbers.
pub async fn create(store: &dyn EventStore, numbers: &[u64]) {
    let events = numbers.iter().map(|n| added(*n)).collect();
    store.start_stream(&StreamType::new("counter").unwrap(), Some(stream()), events).await.unwrap();
}

/// The numbers that are stored; the versions are dense.
pub async fn stored(store: &dyn EventStore) -> Vec<u64> {
    let events = store.read_stream(&stream(), ReadStream::new()).await.unwrap();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.version, index as u64 + 1);
    }
    events.iter().map(|event| event.data::<u64>().unwrap()).collect()
}

/// A state manager under a supervisor of its own.
pub async fn start(store: impl EventStore) -> (Supervisor, StateHandle<Counter>) {
    start_as(store, |manager| manager).await
}

pub async fn start_as<const S: u32>(
    store: impl EventStore,
    set: impl FnOnce(StateManager<Counter<S>>) -> StateManager<Counter<S>>,
) -> (Supervisor, StateHandle<Counter<S>>) {
    let (spec, handle) = set(StateManager::new(Arc::new(store), stream())).child("state");
    (Supervisor::builder().child(spec).start().await.unwrap(), handle)
}

/// Version and sum.
pub fn at<const S: u32>(state: &Versioned<Counter<S>>) -> (u64, u64) {
    assert_eq!(state.version, state.state.events, "each event applied once");
    (state.version, state.state.sum)
}

/// Version and sum that are published now.
pub async fn now<const S: u32>(handle: &StateHandle<Counter<S>>) -> (u64, u64) {
    at(&*handle.state().await.unwrap())
}

/// Waits for the next publication.
pub async fn next<const S: u32>(watch: &mut watch::Receiver<Arc<Versioned<Counter<S>>>>) -> (u64, u64) {
    watch.changed().await.unwrap();
    at(&watch.borrow_and_update().clone())
}
