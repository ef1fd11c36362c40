//! From a stream to its state: a snapshot if there is one that is understood, then the events, in pages.
//!
//! The one trick: a stream is known again by the position of an event in it, because positions are never used twice. So
//! each read begins with the last event that is in the state already, and only if that stands where it stood do the
//! events after it belong to this state. Versions cannot tell: a stream that was deleted and created again has the
//! same ones.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ipa_supervisor::ExitReason;
use serde::{Deserialize, Serialize};

use super::aggregate::{Aggregate, Versioned};
use super::error::ReplayError;
use super::upcasters::Upcasters;
use crate::rules::PAGE;
use crate::{EventStore, Json, Position, ReadStream, RecordedEvent, Snapshot, StreamId};

/// How often a stream may turn out to be another one while it is read.
const RESTARTS: usize = 8;

/// A stream, and what is needed to make a state of it.
pub(super) struct Replay<'a> {
    pub(super) store: &'a dyn EventStore,
    pub(super) stream: &'a StreamId,
    pub(super) upcasters: &'a Upcasters,
}

impl Replay<'_> {
    /// The state of the stream, and the version of the snapshot that it was begun with (0: none).
    pub(super) async fn load<A: Aggregate>(&self) -> Result<(Versioned<A>, u64), ReplayError> {
        if let Some(snapshot) = self.snapshot().await? {
            let begun = snapshot.version;
            match self.read_on(snapshot).await? {
                Some(state) => return Ok((state, begun)),
                None => tracing::warn!(
                    stream = %self.stream, version = begun,
                    "the snapshot is of a deleted stream of this name; the state is made from all events"
                ),
            }
        }
        for _ in 0..RESTARTS {
            if let Some(state) = self.read_on(Versioned::initial(self.stream)).await? {
                return Ok((state, 0));
            }
        }
        Err(ReplayError::Recreated { stream: self.stream.clone() })
    }

    /// The state after the events that the stream has beyond it; `None` if it is not a state of this stream.
    pub(super) async fn read_on<A: Aggregate>(
        &self,
        mut state: Versioned<A>,
    ) -> Result<Option<Versioned<A>>, ReplayError> {
        loop {
            let page = ReadStream::new().after(state.version.saturating_sub(1)).max_count(PAGE);
            let page = self.store.read_stream(self.stream, page).await?;
            let at_end = page.len() < PAGE;
            let mut page = page.into_iter();
            if state.version > 0 && !page.next().is_some_and(|event| state.ends_with(&event)) {
                return Ok(None);
            }
            for recorded in page {
                self.take_in(&mut state, recorded)?;
            }
            if at_end {
                return Ok(Some(state));
            }
        }
    }

    fn take_in<A: Aggregate>(
        &self,
        state: &mut Versioned<A>,
        recorded: RecordedEvent,
    ) -> Result<(), ReplayError> {
        let expected = state.version + 1;
        if recorded.version != expected {
            let stream = self.stream.clone();
            return Err(ReplayError::Gap { stream, expected, found: recorded.version });
        }
        let (event_type, schema_version) = (recorded.event_type.clone(), recorded.schema_version);
        let recorded = self.upcasters.upcast(recorded)?;
        let event = A::decode(&recorded).map_err(|source| ReplayError::Decode {
            stream: self.stream.clone(),
            version: recorded.version,
            event_type: event_type.as_ref().to_owned(),
            schema_version,
            source: Arc::from(source),
        })?;
        state.apply(&event, recorded.position);
        Ok(())
    }

    /// A snapshot is only a shortcut: one that is not understood is ignored.
    async fn snapshot<A: Aggregate>(&self) -> Result<Option<Versioned<A>>, ReplayError> {
        let stream = self.stream;
        let Some(known) = A::SNAPSHOT_SCHEMA else { return Ok(None) };
        let Some(snapshot) = self.store.load_snapshot(stream).await? else { return Ok(None) };
        if snapshot.schema != known {
            tracing::info!(
                %stream, version = snapshot.version, schema = snapshot.schema, known,
                "the snapshot's schema is not the one that is known; the state is made from all events"
            );
            return Ok(None);
        }
        // A panic there is no reason to do without the events.
        let made = catch_unwind(AssertUnwindSafe(|| from_snapshot(stream, &snapshot)));
        match made.unwrap_or_else(|payload| Err(ExitReason::panicked(payload).to_string().into())) {
            Ok(state) => Ok(Some(state)),
            Err(error) => {
                tracing::warn!(
                    %stream, version = snapshot.version, error = &*error,
                    "the snapshot cannot be decoded; the state is made from all events"
                );
                Ok(None)
            }
        }
    }
}

/// What a snapshot's data is: the state, and the position of the last event in it. A save that comes late may reach a
/// stream that was created again meanwhile, and the store cannot know; whoever loads it does.
#[derive(Serialize, Deserialize)]
struct Data {
    position: Position,
    state: Json,
}

fn from_snapshot<A: Aggregate>(
    stream: &StreamId,
    snapshot: &Snapshot,
) -> Result<Versioned<A>, ipa_supervisor::BoxError> {
    if snapshot.version == 0 {
        return Err("it is of no event, so there is none to know its stream by".into());
    }
    let Data { position, state } = snapshot.data.decode()?;
    Ok(Versioned::at(snapshot.version, position, A::from_snapshot(stream, &state)?))
}

/// The snapshot of a state that contains events.
pub(super) fn to_snapshot<A: Aggregate>(
    state: &Versioned<A>,
    schema: u32,
) -> Result<Snapshot, ipa_supervisor::BoxError> {
    let position = state.position.ok_or("it contains no event")?;
    let data = Data { position, state: state.state.to_snapshot()? };
    Ok(Snapshot::json(state.version, schema, &data)?)
}
