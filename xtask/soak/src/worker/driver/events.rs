//! What is done with streams: commands, replays, the end of a stream and a new one of its name.

use std::collections::BTreeMap;

use ipa_eventstore::{
    Aggregate, EventStore, ExecuteError, NewEvent, ReadStream, ReplayError, StateHandle, StoreError,
    StreamId, StreamType,
};
use ipa_pod::StopPodError;

use super::super::ledger::{Command, Event, Ledger};
use super::super::world::{Issuer, Task, World};
use super::{Driver, EXPLAINED};
use crate::wire::Line;

pub const NOT_LOST: &str = "no acknowledged event is lost";
pub const DENSE: &str = "versions are dense";
pub const REPLAYED: &str = "state is what a replay gives";

/// A stream of more events than this is deleted and made anew.
const LONG: u64 = 300;

impl Driver {
    /// Executes the next command of the task's stream, or the last again, if its fate is unknown.
    pub(super) async fn command(&mut self, task: &Task) {
        let Ok(pod) = self.pods.get_pod(&task.id) else { return };
        let Ok(state) = pod.find::<StateHandle<Ledger>>("state") else { return };
        let long = {
            let stands = task.stream_stands.read().await;
            let Some(generation) = *stands else { return };
            let mut issuer = task.issuer.lock().await;
            if self.random.once_in(100) {
                let _ = self.answered("command", state.execute(Command::Panic)).await;
                self.world.tally.count("crashes by panic");
                return;
            }
            let seq = issuer.acked + 1;
            let command = Command::Add { task: task.index, seq, parts: 1 + u8::from(seq % 3 == 0) };
            let Some(executed) = self.answered("command", state.execute(command)).await else { return };
            match executed {
                Ok(executed) => {
                    *issuer = Issuer { acked: seq, version: executed.version.max(issuer.version) };
                    self.world.say(&Line::Acked { task: task.index, generation, seq });
                    self.world.tally.count("commands acknowledged");
                    self.world.tally.count_many("events acknowledged", executed.events as u64);
                }
                Err(
                    ExecuteError::Gone
                    | ExecuteError::Lost
                    | ExecuteError::Indeterminate(_)
                    | ExecuteError::Store(StoreError::Unavailable(_))
                    | ExecuteError::Replay(ReplayError::Store(StoreError::Unavailable(_))),
                ) => self.world.tally.count("commands unanswered or refused"),
                Err(ExecuteError::Rejected(missing)) => {
                    self.world.check(NOT_LOST, false, || format!("{}: {missing}", task.id));
                }
                Err(error) => self.unexplained(task, "execute", &error),
            }
            issuer.version > LONG
        };
        if long {
            self.renew(task).await;
        }
    }

    /// Compares a state that is published with what its events amount to.
    pub(super) async fn replay(&mut self, task: &Task) {
        let _stands = task.stream_stands.read().await;
        let Ok(pod) = self.pods.get_pod(&task.id) else { return };
        let Ok(handle) = pod.find::<StateHandle<Ledger>>("state") else { return };
        let acked = task.issuer.lock().await.acked;
        let Ok(published) = handle.state().await else { return };
        let read = ReadStream::new().before(published.version + 1);
        match self.world.store.read_stream(&task.stream, read).await {
            Ok(events) => {
                let replayed = replay(&events);
                self.world.check(REPLAYED, replayed == published.state, || {
                    format!(
                        "{}: at version {} it is {:?}, and {replayed:?} by a replay",
                        task.id, published.version, published.state
                    )
                });
                self.world.check(NOT_LOST, published.state.seq >= acked, || {
                    format!(
                        "{}: command {acked} was acknowledged, and its state has {}",
                        task.id, published.state.seq
                    )
                });
            }
            Err(error) => self.unexplained(task, "read_stream", &error),
        }
    }

    /// Deletes the task's stream, or makes it anew if there is none. Its pod is stopped before that, and cannot be started while there is none.
    pub(super) async fn renew(&mut self, task: &Task) {
        let mut stands = task.stream_stands.write().await;
        if stands.is_none() {
            *stands = create(&self.world, task).await;
            return;
        }
        // Not always in one round: a restart that nobody waits for hands the key on.
        while let Ok(pod) = self.pods.get_pod(&task.id) {
            match self.answered("stop", self.pods.stop_pod(&task.id)).await {
                Some(Ok(()) | Err(StopPodError::NotRunning(_))) => {}
                Some(Err(StopPodError::Stuck { .. })) => {
                    self.world.tally.count("stops answered with stuck");
                    if self.answered("reap", pod.wait()).await.is_none() {
                        return;
                    }
                }
                Some(Err(error)) => return self.unexplained(task, "stop", &error),
                None => return,
            }
        }
        let mut issuer = task.issuer.lock().await;
        let Some(generation) = *stands else { return };
        self.world.say(&Line::Deleting { task: task.index, generation });
        if let Err(error) = self.world.store.delete_stream(&task.stream).await {
            return self.unexplained(task, "delete_stream", &error);
        }
        self.world.tally.count("streams deleted");
        (*stands, *issuer) = (None, Issuer::default());
        drop(issuer);
        let refused = self.pods.start_pod(&task.id).await;
        self.world.check(EXPLAINED, refused.is_err(), || {
            format!("{}: its pod was started without a stream", task.id)
        });
        if !self.random.once_in(4) {
            *stands = create(&self.world, task).await;
        }
    }
}

/// Creates the task's stream; answers its generation.
pub async fn create(world: &World, task: &Task) -> Option<u64> {
    let generation = world.next_generation();
    let created = async {
        let first = NewEvent::json("created", &Event::Created { generation })?;
        world.store.start_stream(&StreamType::new("task")?, Some(task.stream.clone()), vec![first]).await
    };
    match created.await {
        Ok(_) => {
            world.say(&Line::Created { task: task.index, generation });
            world.tally.count("streams created");
            Some(generation)
        }
        Err(error) => {
            world.check(EXPLAINED, false, || format!("{}: its stream cannot be created: {error}", task.id));
            None
        }
    }
}

/// What events amount to.
fn replay(events: &[ipa_eventstore::RecordedEvent]) -> Ledger {
    let mut ledger = Ledger::default();
    for event in events {
        match Ledger::decode(event) {
            Ok(event) => ledger.apply(&event),
            Err(error) => ledger.broken = Some(error.to_string()),
        }
    }
    ledger
}

/// Reads every stream of the store, checks that each is whole, and tells the parent of it. The tasks' streams stand, and their commands are
/// numbered, from there on.
///
/// # Errors
///
/// When the store cannot be read.
pub async fn take_stock(world: &World) -> Result<(), StoreError> {
    let mut streams: BTreeMap<StreamId, _> = world
        .store
        .list_streams(Default::default())
        .await?
        .into_iter()
        .map(|info| (info.id.clone(), info))
        .collect();
    for task in &world.tasks {
        let Some(info) = streams.remove(&task.stream) else {
            *task.stream_stands.write().await = None;
            continue;
        };
        let events = world.store.read_stream(&task.stream, ReadStream::new()).await?;
        let dense = events.iter().zip(1..).all(|(event, version)| event.version == version)
            && events.len() as u64 == info.version;
        world.check(DENSE, dense, || {
            format!("{}: {} events, and version {}", task.id, events.len(), info.version)
        });
        let ledger = replay(&events);
        let whole = ledger.broken.is_none() && ledger.is_whole() && ledger.generation != 0;
        world
            .check("every batch is whole", whole, || format!("{}: its events amount to {ledger:?}", task.id));
        world.tally.count_many("events read back", events.len() as u64);
        world.say(&Line::Stream {
            task: task.index,
            generation: ledger.generation,
            version: info.version,
            seq: ledger.seq,
        });
        *task.stream_stands.write().await = Some(ledger.generation);
        *task.issuer.lock().await = Issuer { acked: ledger.seq, version: info.version };
    }
    let unknown: Vec<_> = streams.into_keys().collect();
    world.check("no stream from nowhere", unknown.is_empty(), || format!("{unknown:?}"));
    world.say(&Line::Read);
    Ok(())
}
