//! From a stream to its state: a snapshot if there is one that is understood, then the events, in pages.

use std::sync::Arc;

use super::aggregate::{Aggregate, Versioned};
use super::error::ReplayError;
use crate::rules::PAGE;
use crate::{EventStore, ReadStream, StreamId};

/// The state of a stream, and the version of the snapshot that it was begun with (0: none).
pub(super) async fn load<A: Aggregate>(
    store: &dyn EventStore,
    stream: &StreamId,
) -> Result<(Versioned<A>, u64), ReplayError> {
    let snapshot = from_snapshot(store, stream).await?;
    let begun = snapshot.as_ref().map_or(0, |state| state.version);
    let state = snapshot.unwrap_or_else(|| Versioned::initial(stream));
    Ok((read_on(store, stream, state).await?, begun))
}

/// The state after the events that the stream has beyond it.
pub(super) async fn read_on<A: Aggregate>(
    store: &dyn EventStore,
    stream: &StreamId,
    mut state: Versioned<A>,
) -> Result<Versioned<A>, ReplayError> {
    loop {
        let page = ReadStream::new().after(state.version).max_count(PAGE);
        let page = store.read_stream(stream, page).await?;
        for recorded in &page {
            let expected = state.version + 1;
            if recorded.version != expected {
                return Err(ReplayError::Gap { stream: stream.clone(), expected, found: recorded.version });
            }
            let event = A::decode(recorded).map_err(|source| ReplayError::Decode {
                stream: stream.clone(),
                version: recorded.version,
                event_type: recorded.event_type.as_ref().to_owned(),
                source: Arc::from(source),
            })?;
            state.apply(&event);
        }
        if page.len() < PAGE {
            return Ok(state);
        }
    }
}

/// A snapshot is only a shortcut: one that is not understood is ignored.
async fn from_snapshot<A: Aggregate>(
    store: &dyn EventStore,
    stream: &StreamId,
) -> Result<Option<Versioned<A>>, ReplayError> {
    let Some(known) = A::SNAPSHOT_SCHEMA else { return Ok(None) };
    let Some(snapshot) = store.load_snapshot(stream).await? else { return Ok(None) };
    if snapshot.schema != known {
        tracing::info!(
            %stream, version = snapshot.version, schema = snapshot.schema, known,
            "the snapshot's schema is not the one that is known; the state is made from all events"
        );
        return Ok(None);
    }
    match A::from_snapshot(stream, &snapshot.data) {
        Ok(state) => Ok(Some(Versioned::at(snapshot.version, state))),
        Err(error) => {
            tracing::warn!(
                %stream, version = snapshot.version, error = &*error,
                "the snapshot cannot be decoded; the state is made from all events"
            );
            Ok(None)
        }
    }
}
