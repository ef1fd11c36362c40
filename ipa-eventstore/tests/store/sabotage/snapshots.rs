//! Faults in snapshots.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use ipa_eventstore::testkit::fixtures::event;
use ipa_eventstore::{EventStore, Expected, RecordedEvent, Snapshot, StoreError, StreamId};
use parking_lot::Mutex;

use super::data::written_anew;
use super::store::{Answer, Fault, Healthy};

/// Snapshots that are kept beside the healthy store's, and come before them.
type Beside = Mutex<HashMap<StreamId, Snapshot>>;

/// What a healthy store answers to a save, made into something else.
macro_rules! saving {
    ($($(#[$doc:meta])* $fault:ident, |$beside:ident, $stream:ident, $snapshot:ident, $saved:ident| $change:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Default)]
            pub struct $fault(Beside);

            #[async_trait]
            impl Fault for $fault {
                async fn save_snapshot(
                    &self,
                    store: &Healthy,
                    $stream: &StreamId,
                    $snapshot: Snapshot,
                ) -> Answer<()> {
                    let $saved = store.save_snapshot($stream, $snapshot.clone()).await;
                    let mut $beside = self.0.lock();
                    if $saved.is_ok() {
                        $beside.remove($stream);
                    }
                    $change
                }

                async fn load_snapshot(&self, store: &Healthy, stream: &StreamId) -> Answer<Option<Snapshot>> {
                    let stored = store.load_snapshot(stream).await?;
                    Ok(self.0.lock().get(stream).cloned().or(stored))
                }
            }
        )*
    };
}

saving! {
    /// A snapshot may go back.
    SnapshotGoesBack, |beside, stream, snapshot, saved| match saved {
        Err(StoreError::SnapshotStale { .. }) => {
            beside.insert(stream.clone(), snapshot);
            Ok(())
        }
        saved => saved,
    };
    /// A snapshot may be ahead of its stream.
    SnapshotMayBeAhead, |beside, stream, snapshot, saved| match saved {
        Err(StoreError::SnapshotAhead { .. }) => {
            beside.insert(stream.clone(), snapshot);
            Ok(())
        }
        saved => saved,
    };
    /// A snapshot that is refused is stored all the same.
    RefusedSnapshotStays, |beside, stream, snapshot, saved| {
        if let Err(StoreError::SnapshotStale { .. } | StoreError::SnapshotAhead { .. }) = saved {
            beside.insert(stream.clone(), snapshot);
        }
        saved
    };
}

/// A snapshot of the stored one's version is refused.
#[derive(Default)]
pub struct SameVersionIsStale;

#[async_trait]
impl Fault for SameVersionIsStale {
    async fn save_snapshot(&self, store: &Healthy, stream: &StreamId, snapshot: Snapshot) -> Answer<()> {
        let version = snapshot.version;
        match store.load_snapshot(stream).await? {
            Some(stored) if stored.version == version => {
                Err(StoreError::SnapshotStale { stream: stream.clone(), version, stored: version })
            }
            _ => store.save_snapshot(stream, snapshot).await,
        }
    }
}

/// The store has one snapshot, not each stream.
#[derive(Default)]
pub struct OneSnapshotForAll(Mutex<Option<Snapshot>>);

#[async_trait]
impl Fault for OneSnapshotForAll {
    async fn save_snapshot(&self, store: &Healthy, stream: &StreamId, snapshot: Snapshot) -> Answer<()> {
        store.save_snapshot(stream, snapshot.clone()).await?;
        *self.0.lock() = Some(snapshot);
        Ok(())
    }

    async fn load_snapshot(&self, store: &Healthy, stream: &StreamId) -> Answer<Option<Snapshot>> {
        store.load_snapshot(stream).await?;
        Ok(self.0.lock().clone())
    }
}

/// Snapshots that are loaded otherwise.
macro_rules! loading {
    ($($(#[$doc:meta])* $fault:ident, |$snapshot:ident| $change:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Default)]
            pub struct $fault;

            #[async_trait]
            impl Fault for $fault {
                async fn load_snapshot(&self, store: &Healthy, stream: &StreamId) -> Answer<Option<Snapshot>> {
                    let loaded = store.load_snapshot(stream).await?;
                    Ok(loaded.map(|mut $snapshot| {
                        $change;
                        $snapshot
                    }))
                }
            }
        )*
    };
}

loading! {
    /// The schema is not kept.
    SnapshotSchemaLost, |snapshot| snapshot.schema = 7;
    /// The data is parsed and written again.
    SnapshotWrittenAnew, |snapshot| snapshot.data = written_anew(&snapshot.data);
}

/// Replacing a snapshot takes the stream's events with it.
#[derive(Default)]
pub struct ReplacingDeletesEvents(Mutex<HashSet<StreamId>>);

#[async_trait]
impl Fault for ReplacingDeletesEvents {
    fn shown(&self, event: RecordedEvent) -> Option<RecordedEvent> {
        (!self.0.lock().contains(&event.stream)).then_some(event)
    }

    async fn save_snapshot(&self, store: &Healthy, stream: &StreamId, snapshot: Snapshot) -> Answer<()> {
        let replaces = store.load_snapshot(stream).await?.is_some();
        store.save_snapshot(stream, snapshot).await?;
        if replaces {
            self.0.lock().insert(stream.clone());
        }
        Ok(())
    }
}

/// A missing stream has no snapshot, and that is all that is said of it.
#[derive(Default)]
pub struct MissingHasNoSnapshot;

#[async_trait]
impl Fault for MissingHasNoSnapshot {
    async fn load_snapshot(&self, store: &Healthy, stream: &StreamId) -> Answer<Option<Snapshot>> {
        match store.load_snapshot(stream).await {
            Err(StoreError::StreamNotFound { .. }) => Ok(None),
            loaded => loaded,
        }
    }
}

/// A snapshot is an event of its stream.
#[derive(Default)]
pub struct SnapshotIsAnEvent;

#[async_trait]
impl Fault for SnapshotIsAnEvent {
    async fn save_snapshot(&self, store: &Healthy, stream: &StreamId, snapshot: Snapshot) -> Answer<()> {
        store.save_snapshot(stream, snapshot).await?;
        store.append(stream, Expected::Any, vec![event("snapshot")]).await.map(|_| ())
    }
}
