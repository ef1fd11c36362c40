//! Faults in what an append expects, checks and numbers.

use std::collections::HashMap;

use async_trait::async_trait;
use ipa_eventstore::{Appended, EventStore, Expected, NewEvent, RecordedEvent, StoreError, StreamId};
use parking_lot::Mutex;

use super::store::{Answer, Fault, Healthy, last_of, pause};
use crate::conformance::{event, kind};

/// Of two that append at the same version at once, both are told that they won; one's event is dropped.
#[derive(Default)]
pub struct SecondAppenderAcknowledged(Mutex<HashMap<(StreamId, u64), usize>>);

#[async_trait]
impl Fault for SecondAppenderAcknowledged {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let Expected::Exact(version) = expected else {
            return store.append(stream, expected, events).await;
        };
        let place = (stream.clone(), version);
        let before = {
            let mut at_once = self.0.lock();
            let at_once = at_once.entry(place.clone()).or_default();
            *at_once += 1;
            *at_once - 1
        };
        pause().await;
        let count = events.len() as u64;
        let appended = store.append(stream, expected, events).await;
        *self.0.lock().entry(place).or_default() -= 1;
        match appended {
            Err(StoreError::Conflict { .. }) if before > 0 => {
                let position = last_of(store, stream).await.map(|last| last.position);
                Ok(Appended::new(version + count, position, false))
            }
            appended => appended,
        }
    }
}

/// An append in which `Expected` is looked at in its own way.
macro_rules! expecting {
    ($(#[$doc:meta])* $fault:ident, |$current:ident, $expected:ident, $events:ident| $change:expr) => {
        $(#[$doc])*
        #[derive(Default)]
        pub struct $fault;

        #[async_trait]
        impl Fault for $fault {
            async fn append(
                &self,
                store: &Healthy,
                stream: &StreamId,
                $expected: Expected,
                $events: Vec<NewEvent>,
            ) -> Answer<Appended> {
                let $current: Option<u64> = store.stream_version(stream).await.ok();
                let expected: Expected = $change;
                store.append(stream, expected, $events).await
            }
        }
    };
}

expecting! {
    /// `Exact(0)` means nothing, as in a protocol where zero is "not given".
    ExactZeroUnchecked, |current, expected, events| match expected {
        Expected::Exact(0) if current.is_some() => Expected::Any,
        expected => expected,
    }
}

expecting! {
    /// A stream that is further on than expected is no conflict.
    OlderIsGoodEnough, |current, expected, events| match expected {
        Expected::Exact(version) if current > Some(version) && version > 0 => Expected::Any,
        expected => expected,
    }
}

expecting! {
    /// The expected version is that of the event to be written, not of the one before.
    ExpectsTheNextVersion, |_current, expected, events| match expected {
        Expected::Exact(version) if version > 0 && !events.is_empty() => Expected::Exact(version - 1),
        expected => expected,
    }
}

expecting! {
    /// The position of the last event is not looked at.
    PositionUnchecked, |_current, expected, events| match expected {
        Expected::ExactAt { version, .. } => Expected::Exact(version),
        expected => expected,
    }
}

expecting! {
    /// A missing stream is made by the way.
    MissingIsCreated, |current, expected, events| match expected {
        Expected::Any | Expected::Exact(0) if current.is_none() => Expected::NoStream(kind("task")),
        expected => expected,
    }
}

expecting! {
    /// Creating a stream that stands appends to it.
    StandingIsNoConflict, |current, expected, events| match expected {
        Expected::NoStream(_) if current.is_some() => Expected::Any,
        expected => expected,
    }
}

expecting! {
    /// An append without events is not looked at.
    EmptyIsUnchecked, |current, expected, events| match expected {
        Expected::Exact(_) if current.is_some() && events.is_empty() => Expected::Any,
        expected => expected,
    }
}

/// An append without events to a missing stream is fine, and does nothing.
#[derive(Default)]
pub struct EmptyNeedsNoStream;

#[async_trait]
impl Fault for EmptyNeedsNoStream {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        match store.append(stream, expected, events.clone()).await {
            Err(StoreError::StreamNotFound { .. }) if events.is_empty() => Ok(Appended::new(0, None, false)),
            appended => appended,
        }
    }
}

/// Each event of a batch is checked against the version that the first one expects.
#[derive(Default)]
pub struct EachEventIsChecked;

#[async_trait]
impl Fault for EachEventIsChecked {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        match (&expected, store.stream_version(stream).await) {
            (Expected::Exact(version), Ok(current)) if *version == current && events.len() > 1 => {
                Err(StoreError::Conflict { stream: stream.clone(), expected: current, actual: current + 1 })
            }
            _ => store.append(stream, expected, events).await,
        }
    }
}

/// A conflict tells of the version that was expected.
#[derive(Default)]
pub struct ConflictTellsNothing;

#[async_trait]
impl Fault for ConflictTellsNothing {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        store.append(stream, expected, events).await.map_err(|error| match error {
            StoreError::Conflict { stream, expected, .. } => {
                StoreError::Conflict { stream, expected, actual: expected }
            }
            error => error,
        })
    }
}

const GAP: &str = "\u{1}gap";

fn without_gaps(event: RecordedEvent) -> Option<RecordedEvent> {
    (&*event.event_type != GAP).then_some(event)
}

/// Versions come from a sequence, which a refused append moves on too.
#[derive(Default)]
pub struct RefusalBurnsAVersion;

#[async_trait]
impl Fault for RefusalBurnsAVersion {
    fn shown(&self, event: RecordedEvent) -> Option<RecordedEvent> {
        without_gaps(event)
    }

    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let appended = store.append(stream, expected, events).await;
        if let Err(StoreError::Conflict { .. }) = appended {
            store.append(stream, Expected::Any, vec![event(GAP)]).await?;
        }
        appended
    }
}

/// Each batch leaves a version out before it.
#[derive(Default)]
pub struct VersionsWithGaps;

#[async_trait]
impl Fault for VersionsWithGaps {
    fn shown(&self, event: RecordedEvent) -> Option<RecordedEvent> {
        without_gaps(event)
    }

    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        mut events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        if events.len() > 1 {
            events.insert(0, event(GAP));
        }
        store.append(stream, expected, events).await
    }
}

/// A stream's events are numbered through the whole store.
#[derive(Default)]
pub struct OneNumberForAllStreams;

#[async_trait]
impl Fault for OneNumberForAllStreams {
    fn shown(&self, mut event: RecordedEvent) -> Option<RecordedEvent> {
        event.version = event.position.parts().2;
        Some(event)
    }
}

/// An append that expects nothing fails if another one came in between.
#[derive(Default)]
pub struct AnyConflictsUnderLoad;

#[async_trait]
impl Fault for AnyConflictsUnderLoad {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let seen = store.stream_version(stream).await;
        pause().await;
        match (&expected, seen) {
            (Expected::Any, Ok(seen)) => store.append(stream, Expected::Exact(seen), events).await,
            _ => store.append(stream, expected, events).await,
        }
    }
}

/// Of two that create a stream at once, both are told that they did.
#[derive(Default)]
pub struct SecondCreatorAcknowledged;

#[async_trait]
impl Fault for SecondCreatorAcknowledged {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let creates = matches!(expected, Expected::NoStream(_)) && !store.stream_exists(stream).await?;
        pause().await;
        match store.append(stream, expected, events).await {
            Err(StoreError::AlreadyExists { version, .. }) if creates => {
                Ok(Appended::new(version, None, false))
            }
            appended => appended,
        }
    }
}
