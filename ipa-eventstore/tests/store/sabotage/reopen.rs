//! Faults that show when a store is closed and opened again.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use ipa_eventstore::{
    Appended, EventStore, Expected, NewEvent, Position, ReadAll, RecordedEvent, Snapshot, Source, StreamId,
    Subscribe,
};

use super::store::{Answer, Fault, Healthy, fresh};

/// Whether the store was opened again.
#[derive(Default)]
struct Again(AtomicBool);

impl Again {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was appended last is lost.
#[derive(Default)]
pub struct LosesTheLast(Again);

#[async_trait]
impl Fault for LosesTheLast {
    fn reopened(&self) {
        self.0.set();
    }

    async fn read_all(&self, store: &Healthy, read: ReadAll) -> Answer<Vec<RecordedEvent>> {
        let mut events = store.read_all(read).await?;
        events.pop().filter(|_| !self.0.is_set()).into_iter().for_each(|last| events.push(last));
        Ok(events)
    }
}

/// Snapshots were kept in memory.
#[derive(Default)]
pub struct LosesSnapshots(Again);

#[async_trait]
impl Fault for LosesSnapshots {
    fn reopened(&self) {
        self.0.set();
    }

    async fn load_snapshot(&self, store: &Healthy, stream: &StreamId) -> Answer<Option<Snapshot>> {
        let loaded = store.load_snapshot(stream).await?;
        Ok(loaded.filter(|_| !self.0.is_set()))
    }
}

/// Ids were kept in memory.
#[derive(Default)]
pub struct ForgetsIds(Again);

#[async_trait]
impl Fault for ForgetsIds {
    fn reopened(&self) {
        self.0.set();
    }

    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let events = if self.0.is_set() { fresh(&events) } else { events };
        store.append(stream, expected, events).await
    }
}

/// Positions are counted anew, so one that was kept leads elsewhere.
#[derive(Default)]
pub struct MovesPositions(Again);

impl Fault for MovesPositions {
    fn reopened(&self) {
        self.0.set();
    }

    fn subscribe_as(&self, mut from: Subscribe) -> Subscribe {
        if let (true, Source::All { after, .. }) = (self.0.is_set(), &mut from.source) {
            *after = Position::from_parts(0, 0, after.parts().2.saturating_sub(1));
        }
        from
    }
}

/// Subscriptions of a closed store go on waiting.
#[derive(Default)]
pub struct SubscriptionsOutliveClosing;

impl Fault for SubscriptionsOutliveClosing {
    fn closes(&self) -> (bool, bool) {
        (false, true)
    }
}

/// A closed store still writes.
#[derive(Default)]
pub struct ClosedStillAnswers;

impl Fault for ClosedStillAnswers {
    fn closes(&self) -> (bool, bool) {
        (true, false)
    }
}
