//! Faults in what comes back of an event, and in the names and times of things.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use ipa_eventstore::{
    Appended, EventId, EventStore, Expected, Json, NewEvent, RecordedEvent, Snapshot, StoreError, StreamId,
    StreamInfo,
};
use parking_lot::Mutex;

use super::store::{Answer, Fault, Healthy};

/// JSON without the white space between its tokens, as a parser and a writer leave it.
pub fn written_anew(json: &Json) -> Json {
    let (mut text, mut quoted, mut escaped) = (String::new(), false, false);
    for next in json.get().chars() {
        if quoted || !next.is_whitespace() {
            text.push(next);
        }
        quoted ^= next == '"' && !escaped;
        escaped = next == '\\' && !escaped;
    }
    Json::parse(text).unwrap()
}

/// Events that are shown otherwise than they were written.
macro_rules! shown {
    ($($(#[$doc:meta])* $fault:ident, |$event:ident| $change:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Default)]
            pub struct $fault;

            impl Fault for $fault {
                fn shown(&self, mut $event: RecordedEvent) -> Option<RecordedEvent> {
                    $change;
                    Some($event)
                }
            }
        )*
    };
}

shown! {
    /// The data is parsed and written again.
    DataWrittenAnew, |event| event.data = written_anew(&event.data);
    /// Metadata that was not given comes back as null.
    AbsentBecomesNull, |event| event.metadata = event.metadata.or(Json::parse("null").ok());
    /// Text that is empty comes back as absent.
    EmptyBecomesAbsent, |event| event.actor = event.actor.filter(|actor| !actor.is_empty());
    /// Two columns are mixed up.
    CausationIsCorrelation, |event| (event.causation, event.correlation) = (event.correlation, event.causation);
    /// The schema version has one byte.
    SchemaVersionCut, |event| event.schema_version = event.schema_version.min(255);
    /// The time is counted from the start of the process.
    TimesBeginWithTheProcess, |event| event.recorded_at = UNIX_EPOCH + Duration::from_secs(9);
    /// The time is of nanoseconds, which nobody else keeps.
    TimesAreTooFine, |event| event.recorded_at += Duration::from_nanos(1);
    /// Every event shows the data of a stream's first.
    DataStandsStill, |event| if event.version > 1 { event.data = Json::of("?").unwrap() };
}

/// An event of more than a megabyte is refused.
#[derive(Default)]
pub struct LargeIsRefused;

#[async_trait]
impl Fault for LargeIsRefused {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        if events.iter().any(|event| event.data.get().len() > 2 << 20) {
            return Err(StoreError::Invalid { reason: "too large".into() });
        }
        store.append(stream, expected, events).await
    }
}

/// The nil id means "give it one".
#[derive(Default)]
pub struct NilIsReplaced;

#[async_trait]
impl Fault for NilIsReplaced {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let replace = |event: NewEvent| match event.id.as_uuid().is_nil() {
            true => event.id(EventId::generate()),
            false => event,
        };
        store.append(stream, expected, events.into_iter().map(replace).collect()).await
    }
}

/// Names are compared without regard to case.
#[derive(Default)]
pub struct NamesIgnoreCase;

impl Fault for NamesIgnoreCase {
    fn name(&self, stream: &StreamId) -> StreamId {
        StreamId::new(stream.as_str().to_lowercase()).unwrap()
    }
}

/// Names are trimmed.
#[derive(Default)]
pub struct NamesAreTrimmed;

impl Fault for NamesAreTrimmed {
    fn name(&self, stream: &StreamId) -> StreamId {
        StreamId::new(stream.as_str().trim()).unwrap()
    }
}

/// Counts what should have left a stream's `updated_at` alone.
#[derive(Default)]
struct Touched(Mutex<HashMap<StreamId, u64>>);

impl Touched {
    fn touch(&self, stream: &StreamId) {
        *self.0.lock().entry(stream.clone()).or_default() += 1;
    }

    fn shown(&self, mut info: StreamInfo) -> StreamInfo {
        let touched = self.0.lock().get(&info.id).copied().unwrap_or(0);
        info.updated_at += Duration::from_micros(touched);
        info
    }
}

macro_rules! touching {
    ($($(#[$doc:meta])* $fault:ident, |$count:ident, $appended:ident| $when:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Default)]
            pub struct $fault(Touched);

            #[async_trait]
            impl Fault for $fault {
                fn info(&self, info: StreamInfo) -> StreamInfo {
                    self.0.shown(info)
                }

                async fn append(
                    &self,
                    store: &Healthy,
                    stream: &StreamId,
                    expected: Expected,
                    events: Vec<NewEvent>,
                ) -> Answer<Appended> {
                    let $count = events.len();
                    let $appended = store.append(stream, expected, events).await;
                    if $when {
                        self.0.touch(stream);
                    }
                    $appended
                }
            }
        )*
    };
}

touching! {
    /// An append without events touches `updated_at`.
    TouchedByAnEmptyAppend, |count, appended| count == 0 && appended.is_ok();
    /// An append that is refused touches `updated_at`.
    TouchedByARefusal, |_count, appended| appended.is_err();
    /// A retry touches `updated_at`.
    TouchedByARetry, |_count, appended| appended.as_ref().is_ok_and(|appended| appended.duplicate);
}

/// A snapshot touches `updated_at`.
#[derive(Default)]
pub struct TouchedByASnapshot(Touched);

#[async_trait]
impl Fault for TouchedByASnapshot {
    fn info(&self, info: StreamInfo) -> StreamInfo {
        self.0.shown(info)
    }

    async fn save_snapshot(&self, store: &Healthy, stream: &StreamId, snapshot: Snapshot) -> Answer<()> {
        self.0.touch(stream);
        store.save_snapshot(stream, snapshot).await
    }
}

/// `updated_at` stays as it was at first.
#[derive(Default)]
pub struct UpdatedAtStandsStill;

impl Fault for UpdatedAtStandsStill {
    fn info(&self, mut info: StreamInfo) -> StreamInfo {
        info.updated_at = info.created_at;
        info
    }
}

/// `created_at` moves with `updated_at`.
#[derive(Default)]
pub struct CreatedAtMoves;

impl Fault for CreatedAtMoves {
    fn info(&self, mut info: StreamInfo) -> StreamInfo {
        info.created_at = info.updated_at;
        info
    }
}

/// A stream is created a moment before it is.
#[derive(Default)]
pub struct CreatedEarlier;

impl Fault for CreatedEarlier {
    fn info(&self, mut info: StreamInfo) -> StreamInfo {
        info.created_at -= Duration::from_micros(1);
        info
    }
}
