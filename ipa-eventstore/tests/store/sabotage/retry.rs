//! Faults in how an append that is repeated is recognised and answered.

use std::collections::HashMap;

use async_trait::async_trait;
use ipa_eventstore::subscription::{Page, Tail};
use ipa_eventstore::{
    Appended, EventId, EventStore, Expected, NewEvent, ReadAll, ReadStream, RecordedEvent, StoreError,
    StreamId, Subscribe, Subscription,
};
use parking_lot::Mutex;
use tokio::sync::broadcast;

use ipa_eventstore::testkit::fixtures::create;

use super::store::{Answer, Fault, Healthy, fresh, from_tail, last_of, one, passed_on};

/// A fault in what a healthy store's answer is turned into.
macro_rules! answering {
    ($($(#[$doc:meta])* $fault:ident, |$store:ident, $stream:ident, $events:ident, $appended:ident| $change:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Default)]
            pub struct $fault;

            #[async_trait]
            impl Fault for $fault {
                async fn append(
                    &self,
                    $store: &Healthy,
                    $stream: &StreamId,
                    expected: Expected,
                    $events: Vec<NewEvent>,
                ) -> Answer<Appended> {
                    let $appended = $store.append($stream, expected, $events.clone()).await;
                    $change
                }
            }
        )*
    };
}

fn is_duplicate(appended: &Answer<Appended>) -> bool {
    appended.as_ref().is_ok_and(|appended| appended.duplicate)
}

answering! {
    /// What is stored already is answered rightly, and stored again.
    RetryDoubles, |store, stream, events, appended| {
        if is_duplicate(&appended) {
            store.append(stream, Expected::Any, fresh(&events)).await?;
        }
        appended
    };
    /// A duplicate is not marked.
    DuplicateIsUnmarked, |_store, _stream, _events, appended| {
        appended.map(|appended| Appended::new(appended.version, appended.position, false))
    };
    /// A duplicate is answered with the newest position of the store.
    DuplicateAtANewPosition, |store, _stream, _events, appended| {
        let newest = store.read_all(ReadAll::new().backward().max_count(1)).await?;
        appended.map(|mut appended| {
            if appended.duplicate {
                appended.position = newest.first().map(|event| event.position);
            }
            appended
        })
    };
    /// A duplicate is answered with where the stream is by now.
    DuplicateAtTheStreamsVersion, |store, stream, _events, appended| match (appended, last_of(store, stream).await) {
        (Ok(appended), Some(last)) if appended.duplicate => {
            Ok(Appended::new(last.version, Some(last.position), true))
        }
        (appended, _) => appended,
    };
    /// Of a batch that is stored in part, the rest is stored.
    OverlapStoresTheRest, |store, stream, events, appended| {
        let Err(StoreError::PartialDuplicate { stored_in, .. }) = &appended else { return appended };
        let stored = store.read_stream(stored_in, ReadStream::new()).await?;
        let new = |event: &&NewEvent| stored.iter().all(|stored| stored.id != event.id);
        let rest: Vec<_> = events.iter().filter(new).cloned().collect();
        if *stored_in != *stream || rest.is_empty() {
            return appended;
        }
        store.append(stream, Expected::Any, rest).await
    };
    /// Ids are looked for in the append's own stream only.
    IdsOfOneStreamOnly, |store, stream, events, appended| match &appended {
        Err(StoreError::PartialDuplicate { stored_in, .. }) if stored_in != stream => {
            let expected = match store.stream_exists(stream).await? {
                true => Expected::Any,
                false => create(),
            };
            store.append(stream, expected, fresh(&events)).await
        }
        _ => appended,
    };
    /// Ids that are all stored are a duplicate, in whatever order, with whatever between them.
    OrderDoesNotCount, |store, stream, events, appended| {
        let Err(StoreError::PartialDuplicate { .. }) = &appended else { return appended };
        let stored = store.read_stream(stream, ReadStream::new()).await?;
        let found = |event: &NewEvent| stored.iter().find(|stored| stored.id == event.id);
        match events.iter().map(found).collect::<Option<Vec<_>>>().and_then(|found| found.last().copied()) {
            Some(last) => Ok(Appended::new(last.version, Some(last.position), true)),
            None => appended,
        }
    };
}

/// The expected version is looked at before the ids.
#[derive(Default)]
pub struct ExpectationBeforeIds;

#[async_trait]
impl Fault for ExpectationBeforeIds {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        match (&expected, store.stream_version(stream).await) {
            (Expected::Exact(expected), Ok(actual)) if *expected != actual => {
                Err(StoreError::Conflict { stream: stream.clone(), expected: *expected, actual })
            }
            _ => store.append(stream, expected, events).await,
        }
    }
}

/// Whether the stream stands is looked at before the ids.
#[derive(Default)]
pub struct ExistenceBeforeIds;

#[async_trait]
impl Fault for ExistenceBeforeIds {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        match (&expected, store.stream_version(stream).await) {
            (Expected::NoStream(_), Ok(version)) => {
                Err(StoreError::AlreadyExists { stream: stream.clone(), version })
            }
            _ => store.append(stream, expected, events).await,
        }
    }
}

/// Ids are remembered beyond their stream's end.
#[derive(Default)]
pub struct IdsOutliveTheirStream(Mutex<HashMap<Vec<EventId>, Appended>>);

#[async_trait]
impl Fault for IdsOutliveTheirStream {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        let known = self.0.lock().get(&ids).copied();
        if let (Some(known), false) = (known, ids.is_empty()) {
            return Ok(Appended::new(known.version, known.position, true));
        }
        let appended = store.append(stream, expected, events).await?;
        self.0.lock().insert(ids, appended);
        Ok(appended)
    }
}

/// Only a batch as it was sent is recognised, not a part of it.
#[derive(Default)]
pub struct OnlyWholeBatchesAreKnown(Mutex<Vec<Vec<EventId>>>);

#[async_trait]
impl Fault for OnlyWholeBatchesAreKnown {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        let appended = store.append(stream, expected, events).await?;
        let mut known = self.0.lock();
        if appended.duplicate && !known.contains(&ids) {
            let (stream, stored_in) = (stream.clone(), stream.clone());
            let version = appended.version;
            return Err(StoreError::PartialDuplicate { stream, id: ids[0], stored_in, version });
        }
        known.push(ids);
        Ok(appended)
    }
}

/// A retry's contents take the place of what is stored.
#[derive(Default)]
pub struct RetryRewrites(Mutex<HashMap<EventId, NewEvent>>);

#[async_trait]
impl Fault for RetryRewrites {
    fn shown(&self, event: RecordedEvent) -> Option<RecordedEvent> {
        let newest = self.0.lock().get(&event.id).cloned();
        let Some(newest) = newest else { return Some(event) };
        let RecordedEvent { stream, version, position, recorded_at, .. } = event;
        Some(RecordedEvent::new(stream, version, position, recorded_at, newest))
    }

    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let appended = store.append(stream, expected, events.clone()).await?;
        self.0.lock().extend(events.into_iter().map(|event| (event.id, event)));
        Ok(appended)
    }
}

/// A subscription, and what is published beside it.
struct BesideTail {
    inner: Subscription,
    beside: broadcast::Receiver<RecordedEvent>,
}

#[async_trait]
impl Tail for BesideTail {
    async fn next_page(&mut self) -> Answer<Page> {
        tokio::select! {
            biased;
            got = self.inner.next() => passed_on(got).map(one),
            Ok(event) = self.beside.recv() => Ok(one(event)),
        }
    }
}

/// What is published although it is not to be.
struct Beside(broadcast::Sender<RecordedEvent>);

impl Default for Beside {
    fn default() -> Self {
        Self(broadcast::Sender::new(1000))
    }
}

impl Beside {
    async fn subscribe(&self, store: &Healthy, from: Subscribe) -> Answer<Subscription> {
        Ok(from_tail(BesideTail { inner: store.subscribe(from).await?, beside: self.0.subscribe() }))
    }
}

/// A retry is published as the first append was.
#[derive(Default)]
pub struct RetryIsPublished(Beside);

#[async_trait]
impl Fault for RetryIsPublished {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let appended = store.append(stream, expected, events).await?;
        if let (true, Some(last)) = (appended.duplicate, last_of(store, stream).await) {
            let _ = self.0.0.send(last);
        }
        Ok(appended)
    }

    async fn subscribe(&self, store: &Healthy, from: Subscribe) -> Answer<Subscription> {
        self.0.subscribe(store, from).await
    }
}

/// The events of an append that is refused for its version are published.
#[derive(Default)]
pub struct ConflictIsPublished(Beside);

#[async_trait]
impl Fault for ConflictIsPublished {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        mut events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let appended = store.append(stream, expected, events.clone()).await;
        let last = last_of(store, stream).await;
        if let (Err(StoreError::Conflict { .. }), Some(last), Some(event)) = (&appended, last, events.pop()) {
            let RecordedEvent { stream, version, position, recorded_at, .. } = last;
            let _ = self.0.0.send(RecordedEvent::new(stream, version + 1, position, recorded_at, event));
        }
        appended
    }

    async fn subscribe(&self, store: &Healthy, from: Subscribe) -> Answer<Subscription> {
        self.0.subscribe(store, from).await
    }
}
