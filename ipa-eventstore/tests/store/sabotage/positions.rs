//! Faults in positions: events are shown at other places than the healthy store has them.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use async_trait::async_trait;
use ipa_eventstore::{
    Appended, EventStore, Expected, NewEvent, Position, ReadAll, ReadStream, RecordedEvent, Source,
    StoreError, StreamId, Subscribe, Subscription,
};
use parking_lot::Mutex;

use super::store::{Answer, Fault, Healthy};

/// Where events are shown: by their real places, the numbers that a rule has given them.
#[derive(Default)]
pub struct Places {
    shown: BTreeMap<Position, u64>,
    /// The number given last.
    last: u64,
}

impl Places {
    fn shown(&self, real: Position) -> Position {
        self.shown.get(&real).map_or(real, |low| Position::from_parts(0, 0, *low))
    }

    /// The last real place that is shown at or before this one.
    fn real(&self, shown: Position) -> Result<Position, StoreError> {
        let (0, 0, low) = shown.parts() else {
            return Ok(shown);
        };
        let before = self.shown.iter().filter(|(_, at)| **at <= low);
        Ok(before.map(|(real, _)| *real).max().unwrap_or(Position::START))
    }
}

/// How the next event gets its number.
pub trait Rule: Default + Send + Sync + 'static {
    /// The number after `last`, of the `n`-th event of an append, when these are in the store.
    fn next(last: u64, n: u64, live: &[u64]) -> u64;

    /// The last number, after an append was refused.
    fn refused(last: u64) -> u64 {
        last
    }
}

#[derive(Default)]
pub struct Placed<R> {
    places: Mutex<Places>,
    rule: PhantomData<R>,
}

#[async_trait]
impl<R: Rule> Fault for Placed<R> {
    fn shown(&self, mut event: RecordedEvent) -> Option<RecordedEvent> {
        event.position = self.places.lock().shown(event.position);
        Some(event)
    }

    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let before = store.read_all(ReadAll::new()).await?;
        let appended = store.append(stream, expected, events).await;
        let after = store.read_all(ReadAll::new()).await?;
        let places = &mut *self.places.lock();
        let live: Vec<u64> =
            before.iter().filter_map(|event| places.shown.get(&event.position)).copied().collect();
        let new = after.iter().filter(|event| before.iter().all(|old| old.position != event.position));
        for (n, event) in (0..).zip(new) {
            places.last = R::next(places.last, n, &live);
            places.shown.insert(event.position, places.last);
        }
        let mut appended = appended.inspect_err(|_| places.last = R::refused(places.last))?;
        appended.position = appended.position.map(|real| places.shown(real));
        Ok(appended)
    }

    async fn read_all(&self, store: &Healthy, mut read: ReadAll) -> Answer<Vec<RecordedEvent>> {
        read.after = self.places.lock().real(read.after)?;
        store.read_all(read).await
    }

    async fn subscribe(&self, store: &Healthy, mut from: Subscribe) -> Answer<Subscription> {
        if let Source::All { after, .. } = &mut from.source {
            *after = self.places.lock().real(*after)?;
        }
        store.subscribe(from).await
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $fault:ident = $rule:ident, |$last:ident, $n:ident, $live:ident| $next:expr;)*) => {
        $(
            $(#[$doc])*
            pub type $fault = Placed<$rule>;

            #[derive(Default)]
            pub struct $rule;

            impl Rule for $rule {
                fn next($last: u64, $n: u64, $live: &[u64]) -> u64 {
                    $next
                }
            }
        )*
    };
}

rules! {
    /// The events of an append have one position.
    OnePositionForABatch = OfTheBatch, |last, n, _live| if n == 0 { last + 1 } else { last };
    /// The next position is that after the newest event that is left, as without AUTOINCREMENT.
    UsedAgainAfterDeletion = AfterTheNewest, |last, n, live| match n {
        0 => live.iter().max().map_or(1, |newest| newest + 1),
        _ => last + 1,
    };
    /// Positions fall.
    PositionsFall = Falling, |last, _n, _live| if last == 0 { 1 << 20 } else { last - 1 };
}

/// A refused append gives a position back that somebody else has.
pub type RefusalFreesAPosition = Placed<Refusing>;

#[derive(Default)]
pub struct Refusing;

impl Rule for Refusing {
    fn next(last: u64, _n: u64, _live: &[u64]) -> u64 {
        last + 1
    }

    fn refused(last: u64) -> u64 {
        last.saturating_sub(1)
    }
}

/// The first event of all is where a reader begins that has seen none.
#[derive(Default)]
pub struct FirstIsAtTheStart;

impl Fault for FirstIsAtTheStart {
    fn shown(&self, mut event: RecordedEvent) -> Option<RecordedEvent> {
        event.position = Position::from_parts(0, 0, event.position.parts().2 - 1);
        Some(event)
    }
}

/// An append is answered with the position of its first event.
#[derive(Default)]
pub struct AnsweredWithTheFirst;

#[async_trait]
impl Fault for AnsweredWithTheFirst {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let count = events.len() as u64;
        let mut appended = store.append(stream, expected, events).await?;
        if count > 1 {
            let first = ReadStream::new().after(appended.version - count).max_count(1);
            appended.position = store.read_stream(stream, first).await?.first().map(|event| event.position);
        }
        Ok(appended)
    }
}

/// The position of an event that was deleted is taken for the start.
#[derive(Default)]
pub struct DeletedPlaceIsTheStart;

#[async_trait]
impl Fault for DeletedPlaceIsTheStart {
    async fn read_all(&self, store: &Healthy, mut read: ReadAll) -> Answer<Vec<RecordedEvent>> {
        let stored = store.read_all(ReadAll::new()).await?;
        if stored.iter().all(|event| event.position != read.after) && read.after.parts().0 == 0 {
            read.after = Position::START;
        }
        store.read_all(read).await
    }
}

/// The whole store can only be followed from the position of an event that is there.
#[derive(Default)]
pub struct DeletedPlaceIsRefused;

#[async_trait]
impl Fault for DeletedPlaceIsRefused {
    async fn subscribe(&self, store: &Healthy, from: Subscribe) -> Answer<Subscription> {
        if let Source::All { after, .. } = &from.source {
            let stored = store.read_all(ReadAll::new()).await?;
            if *after != Position::START && stored.iter().all(|event| event.position != *after) {
                return Err(StoreError::Invalid { reason: format!("no event is at {after}") });
            }
        }
        store.subscribe(from).await
    }
}
