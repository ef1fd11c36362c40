//! Followers: one of the store, one of the pods, to see that what is published is all that happens, in order.

use std::collections::HashMap;
use std::sync::Arc;

use ipa_eventstore::{EventStore, Position, ReadAll, RecordedEvent, StoreError, StreamId, Subscribe};
use ipa_pod::{PodEvent, PodEvents, PodEventsError, PodRef, TaskId};
use parking_lot::Mutex;

use super::ledger::Event;
use super::world::{Tally, World};

pub const PUBLISHED: &str = "every event is published once, in order";
pub const ORDERED: &str = "lifecycle events are in order";

/// How far the follower of the store has come.
#[derive(Default)]
pub struct Followed(Mutex<Option<Position>>);

impl Followed {
    /// Whether it has seen all that was committed up to a position.
    pub fn has_seen(&self, position: Position) -> bool {
        self.0.lock().is_some_and(|seen| seen >= position)
    }
}

/// The position of the last event of the store.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn last(world: &World) -> Result<Option<Position>, StoreError> {
    let last = world.store.read_all(ReadAll::new().backward().max_count(1)).await?;
    Ok(last.first().map(|event| event.position))
}

/// Follows the store from its present end.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn store(world: Arc<World>) -> Result<(Arc<Followed>, tokio::task::JoinHandle<()>), StoreError> {
    let from = last(&world).await?.unwrap_or(Position::START);
    let followed = Arc::new(Followed(Mutex::new(Some(from))));
    let mut events = world.store.subscribe(Subscribe::all(from)).await?;
    let seen = followed.clone();
    let task = tokio::spawn(async move {
        let mut streams = HashMap::new();
        let mut before = from;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let holds = follows(&mut streams, before, &event);
                    world.check(PUBLISHED, holds, || {
                        format!(
                            "after position {before:?} comes event {} of {} at {:?}",
                            event.version, event.stream, event.position
                        )
                    });
                    before = event.position;
                    *seen.0.lock() = Some(before);
                }
                Err(StoreError::Closed) => return,
                Err(error) => return world.check(PUBLISHED, false, || error.to_string()),
            }
        }
    });
    Ok((followed, task))
}

/// Whether an event follows those that came before it. Of a stream that was deleted meanwhile the last events may not have come.
fn follows(streams: &mut HashMap<StreamId, (u64, u64)>, before: Position, event: &RecordedEvent) -> bool {
    let generation = match event.data() {
        Ok(Event::Created { generation } | Event::Added { generation, .. }) => generation,
        Err(_) => return false,
    };
    let expected = match streams.insert(event.stream.clone(), (generation, event.version)) {
        Some((known, version)) if known == generation => version + 1,
        Some((known, _)) if known > generation => return false,
        Some(_) => 1,
        // The first since this life began.
        None => event.version,
    };
    event.position > before && event.version == expected
}

/// Follows the pods until their supervisor has ended.
pub async fn pods(tally: Arc<Tally>, mut events: PodEvents) {
    // The pods of a task that have not ended, and how far each has come.
    let mut pods: HashMap<TaskId, Vec<(PodRef, u8)>> = HashMap::new();
    let mut missed = false;
    loop {
        match events.recv().await {
            Ok(event) => {
                let rank = rank(&event);
                let known = pods.entry(event.pod().task().clone()).or_default();
                let before = known.iter().position(|(pod, _)| pod == event.pod());
                let holds = match (before, rank) {
                    // One whose beginning was missed.
                    (None, rank) => missed || rank == Some(0),
                    // A child may be restarted at any time between the first and the last.
                    (Some(_), None) => true,
                    (Some(at), Some(rank)) => rank > known[at].1,
                };
                tally.check(ORDERED, holds, || format!("{event:?} comes where {known:?} is known"));
                match (before, rank) {
                    (Some(at), Some(ENDED)) => drop(known.swap_remove(at)),
                    (Some(at), Some(rank)) => known[at].1 = rank,
                    (None, Some(ENDED)) | (Some(_), None) => {}
                    (None, rank) => known.push((event.pod().clone(), rank.unwrap_or(0))),
                }
                if known.is_empty() {
                    pods.remove(event.pod().task());
                }
            }
            Err(PodEventsError::Lagged(_)) => {
                tally.count("lifecycle events missed");
                (missed, pods) = (true, HashMap::new());
            }
            Err(_) => return,
        }
    }
}

const ENDED: u8 = 4;

/// The place of an event in a pod's life.
fn rank(event: &PodEvent) -> Option<u8> {
    match event {
        PodEvent::Starting(_) => Some(0),
        PodEvent::Active(_) => Some(1),
        PodEvent::Stopping { .. } => Some(2),
        PodEvent::Stuck { .. } => Some(3),
        PodEvent::Ended { .. } => Some(ENDED),
        _ => None,
    }
}
