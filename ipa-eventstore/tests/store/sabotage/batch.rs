//! Faults in batches: halves that stay, orders, times.

use std::time::Duration;

use async_trait::async_trait;
use ipa_eventstore::{Appended, EventStore, Expected, NewEvent, RecordedEvent, StoreError, StreamId};

use super::store::{Answer, Fault, Healthy, any_stored, pause};

/// How many events at the front of a batch are good.
async fn good(store: &Healthy, events: &[NewEvent]) -> usize {
    for count in 1..=events.len() {
        let (before, last) = events[..count].split_at(count - 1);
        let twice = before.iter().any(|event| event.id == last[0].id);
        if twice || last[0].event_type.trim().is_empty() || any_stored(store, last).await {
            return count - 1;
        }
    }
    events.len()
}

/// A batch whose later events are stored already leaves the events before them.
#[derive(Default)]
pub struct HalfStaysOnOverlap;

#[async_trait]
impl Fault for HalfStaysOnOverlap {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let appended = store.append(stream, expected.clone(), events.clone()).await;
        if let Err(StoreError::PartialDuplicate { .. }) = appended {
            let half = events[..good(store, &events).await].to_vec();
            if !half.is_empty() {
                let _ = store.append(stream, expected, half).await;
            }
        }
        appended
    }
}

/// A batch with an invalid event, or one that comes twice, leaves the events before it.
#[derive(Default)]
pub struct HalfStaysOnInvalid;

#[async_trait]
impl Fault for HalfStaysOnInvalid {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let appended = store.append(stream, expected.clone(), events.clone()).await;
        if let Err(StoreError::Invalid { .. }) = appended {
            let half = events[..good(store, &events).await].to_vec();
            let _ = store.append(stream, expected, half).await;
        }
        appended
    }
}

/// A stream whose first events are refused is created all the same.
#[derive(Default)]
pub struct CreationStays;

#[async_trait]
impl Fault for CreationStays {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let appended = store.append(stream, expected.clone(), events).await;
        if appended.is_err() && matches!(expected, Expected::NoStream(_)) {
            let _ = store.append(stream, expected, vec![]).await;
        }
        appended
    }
}

/// A batch is stored the other way round.
#[derive(Default)]
pub struct BatchReversed;

#[async_trait]
impl Fault for BatchReversed {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        mut events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        events.reverse();
        store.append(stream, expected, events).await
    }
}

/// Of a large batch the first thousand are stored, and all are acknowledged.
#[derive(Default)]
pub struct BatchCutAtAThousand;

#[async_trait]
impl Fault for BatchCutAtAThousand {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        mut events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let cut = events.len().saturating_sub(1000);
        events.truncate(1000);
        let mut appended = store.append(stream, expected, events).await?;
        appended.version += cut as u64;
        Ok(appended)
    }
}

/// A batch is stored event by event.
#[derive(Default)]
pub struct BatchInPieces;

#[async_trait]
impl Fault for BatchInPieces {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        mut expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        // What is refused, or a retry, is whole.
        if good(store, &events).await < events.len() || events.len() < 2 {
            return store.append(stream, expected, events).await;
        }
        let mut appended = None;
        for event in events {
            let piece = store.append(stream, expected, vec![event]).await?;
            expected = Expected::Any;
            appended = Some(piece);
            pause().await;
        }
        appended.ok_or(StoreError::Closed)
    }
}

/// Each event of a batch has a time of its own.
#[derive(Default)]
pub struct TimesWithinABatch;

#[async_trait]
impl Fault for TimesWithinABatch {
    fn shown(&self, mut event: RecordedEvent) -> Option<RecordedEvent> {
        event.recorded_at += Duration::from_micros(event.version);
        Some(event)
    }
}

/// An id that comes twice in one append is stored once.
#[derive(Default)]
pub struct TwiceIsOnce;

#[async_trait]
impl Fault for TwiceIsOnce {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        mut events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let mut seen = std::collections::HashSet::new();
        events.retain(|event| seen.insert(event.id));
        store.append(stream, expected, events).await
    }
}

/// Whether the stream exists is looked at before whether the events can be right.
#[derive(Default)]
pub struct InvalidIsToldLast;

#[async_trait]
impl Fault for InvalidIsToldLast {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        match store.append(stream, expected.clone(), events).await {
            Err(error @ StoreError::Invalid { .. }) => {
                // What an append without the events would have been told.
                store.append(stream, expected, vec![]).await?;
                Err(error)
            }
            appended => appended,
        }
    }
}
