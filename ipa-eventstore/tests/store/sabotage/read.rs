//! Faults in reads: bounds, filters, counts, pages.

use async_trait::async_trait;
use ipa_eventstore::{
    Direction, EventStore, Position, ReadAll, ReadStream, RecordedEvent, StoreError, StreamId,
};

use super::store::{Answer, Fault, Healthy};

/// Reads of one stream that ask for something else.
macro_rules! asking {
    ($($(#[$doc:meta])* $fault:ident, |$read:ident| $change:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Default)]
            pub struct $fault;

            impl Fault for $fault {
                fn read_stream_as(&self, mut $read: ReadStream) -> ReadStream {
                    $change;
                    $read
                }
            }
        )*
    };
}

asking! {
    /// `after` is inclusive.
    AfterIsInclusive, |read| read.after = read.after.saturating_sub(1);
    /// `before` is inclusive.
    BeforeIsInclusive, |read| read.before = read.before.map(|before| before.saturating_add(1));
    /// Backward, the bounds change places.
    BackwardBoundsSwapped, |read| if let (Direction::Backward, Some(before)) = (read.direction, read.before) {
        (read.after, read.before) = (before.saturating_sub(1), Some(read.after.saturating_add(1)));
    };
    /// Backward, `after` is where the read begins.
    BackwardBeginsAtAfter, |read| if read.direction == Direction::Backward && read.after > 0 {
        (read.after, read.before) = (0, Some(read.after));
    };
    /// An empty list of types is none.
    EmptyTypesAreNone, |read| read.event_types = read.event_types.filter(|types| !types.is_empty());
    /// A count of 0 is none.
    ZeroIsAll, |read| read.max_count = read.max_count.filter(|count| *count > 0);
    /// No read gives more than a thousand events.
    CutAtAThousand, |read| read.max_count = Some(read.max_count.unwrap_or(1000).min(1000));
    /// A page that follows another leaves one event out.
    PagesLeaveOneOut, |read| if read.max_count.is_some() && read.after > 0 { read.after += 1 };
}

/// Reads of one stream whose answer is changed.
macro_rules! answering {
    ($($(#[$doc:meta])* $fault:ident, |$asked:ident, $events:ident| $ask:expr, $change:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Default)]
            pub struct $fault;

            #[async_trait]
            impl Fault for $fault {
                async fn read_stream(
                    &self,
                    store: &Healthy,
                    stream: &StreamId,
                    $asked: ReadStream,
                ) -> Answer<Vec<RecordedEvent>> {
                    let ask: fn(ReadStream) -> ReadStream = $ask;
                    let mut $events = store.read_stream(stream, ask($asked.clone())).await?;
                    $change;
                    Ok($events)
                }
            }
        )*
    };
}

fn is_in(types: &Option<Vec<String>>, event: &RecordedEvent) -> bool {
    types.as_ref().is_none_or(|types| types.iter().any(|wanted| **wanted == *event.event_type))
}

answering! {
    /// Events are counted first, then filtered.
    FilterAfterLimit, |asked, events|
        |mut read| { read.event_types = None; read },
        events.retain(|event| is_in(&asked.event_types, event));
    /// Backward is forward, turned round.
    BackwardIsTurnedRound, |asked, events|
        |mut read| { read.direction = Direction::Forward; read },
        if asked.direction == Direction::Backward { events.reverse() };
    /// Types are compared without regard to case and white space.
    TypesIgnoreCase, |asked, events|
        |mut read| { read.event_types = None; read },
        events.retain(|event| asked.event_types.as_ref().is_none_or(|types| {
            types.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(&event.event_type))
        }));
    /// Where a page ends and the next one begins an event is lost.
    LostBetweenPages, |_asked, events| |read| read, if events.len() > 1000 { events.remove(1000); };
    /// The events come as they lie.
    UnsortedReads, |_asked, events| |read| read, events.sort_by_key(|event| event.version % 3);
}

/// A stream without events is taken for missing.
#[derive(Default)]
pub struct EmptyIsMissing;

#[async_trait]
impl Fault for EmptyIsMissing {
    async fn read_stream(
        &self,
        store: &Healthy,
        stream: &StreamId,
        read: ReadStream,
    ) -> Answer<Vec<RecordedEvent>> {
        let events = store.read_stream(stream, read).await?;
        match store.stream_version(stream).await? {
            0 => Err(StoreError::StreamNotFound { stream: stream.clone() }),
            _ => Ok(events),
        }
    }
}

/// A stream that is missing is taken for empty.
#[derive(Default)]
pub struct MissingIsEmpty;

#[async_trait]
impl Fault for MissingIsEmpty {
    async fn read_stream(
        &self,
        store: &Healthy,
        stream: &StreamId,
        read: ReadStream,
    ) -> Answer<Vec<RecordedEvent>> {
        match store.read_stream(stream, read).await {
            Err(StoreError::StreamNotFound { .. }) => Ok(vec![]),
            read => read,
        }
    }
}

/// Reads of the whole store.
macro_rules! asking_all {
    ($($(#[$doc:meta])* $fault:ident, |$read:ident| $change:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Default)]
            pub struct $fault;

            impl Fault for $fault {
                fn read_all_as(&self, mut $read: ReadAll) -> ReadAll {
                    $change;
                    $read
                }
            }
        )*
    };
}

fn one_less(position: Position) -> Position {
    let (generation, high, low) = position.parts();
    Position::from_parts(generation, high, low.saturating_sub(1))
}

asking_all! {
    /// `after` is inclusive.
    AfterIsInclusiveInAll, |read| read.after = one_less(read.after);
    /// An empty list of stream types is none.
    EmptyKindsAreNone, |read| read.stream_types = read.stream_types.filter(|types| !types.is_empty());
    /// With a filter for events, that for streams is forgotten.
    OneFilterOnly, |read| if read.event_types.is_some() { read.stream_types = None };
    /// A count is taken for the whole store backward only.
    CountIgnoredForward, |read| if read.direction == Direction::Forward { read.max_count = None };
}

/// The whole store is read stream by stream.
#[derive(Default)]
pub struct StreamByStream;

#[async_trait]
impl Fault for StreamByStream {
    async fn read_all(&self, store: &Healthy, read: ReadAll) -> Answer<Vec<RecordedEvent>> {
        let mut events = store.read_all(read).await?;
        events.sort_by(|a, b| a.stream.cmp(&b.stream));
        Ok(events)
    }
}

/// A position of another store is taken for the end of this one.
#[derive(Default)]
pub struct ForeignIsTheEnd;

#[async_trait]
impl Fault for ForeignIsTheEnd {
    async fn read_all(&self, store: &Healthy, read: ReadAll) -> Answer<Vec<RecordedEvent>> {
        match store.read_all(read).await {
            Err(StoreError::Invalid { .. }) => Ok(vec![]),
            read => read,
        }
    }
}
