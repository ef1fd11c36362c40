//! Random operations on both stores: the same results, the same errors.

use std::time::UNIX_EPOCH;

use ipa_eventstore::{
    Durability, EventId, EventStore, Expected, InMemoryEventStore, ListStreams, NewEvent, Position, ReadAll,
    ReadStream, RecordedEvent, Snapshot, SqliteOptions, StreamId, StreamInfo, Subscribe,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use crate::conformance::{id, kind, next};

#[derive(Debug, Clone)]
enum Op {
    Append(StreamId, Expected, Vec<NewEvent>),
    Delete(StreamId),
    ReadStream(StreamId, ReadStream),
    ReadAll(ReadAll),
    Info(StreamId),
    List(ListStreams),
    Save(StreamId, Snapshot),
    Load(StreamId),
}

/// Few streams, ids and types, so that operations meet.
fn a_stream() -> impl Strategy<Value = StreamId> {
    (0..3_usize).prop_map(|n| id(["a", "b", "c"][n]))
}

fn an_event() -> impl Strategy<Value = NewEvent> {
    // Half of the ids are from a few, so that appends repeat and overlap.
    let event_id = prop_oneof![1..12_u128, any::<u128>()].prop_map(Uuid::from_u128);
    (event_id, 0..3_usize, any::<u8>()).prop_map(|(event_id, kind, data)| {
        let event = NewEvent::json(["x", "y", "z"][kind], &data).unwrap();
        event.id(EventId::from_uuid(event_id))
    })
}

/// As many as there may be, and sometimes far more.
fn a_version() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..8_u64, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn a_position() -> impl Strategy<Value = Position> {
    let generation = prop_oneof![20 => Just(0), 1 => Just(1)];
    let low = prop_oneof![8 => 0..30_u64, 1 => any::<u64>()];
    (generation, low).prop_map(|(generation, low)| Position::from_parts(generation, 0, low))
}

fn some_types() -> impl Strategy<Value = Option<Vec<String>>> {
    option::weighted(0.3, vec((0..4_usize).prop_map(|n| ["x", "y", "z", "?"][n].to_owned()), 0..3))
}

fn an_expectation() -> impl Strategy<Value = Expected> {
    prop_oneof![
        3 => Just(Expected::Any),
        1 => Just(Expected::Exists),
        3 => a_version().prop_map(Expected::Exact),
        3 => (0..2_usize).prop_map(|n| Expected::NoStream(kind(["task", "room"][n]))),
    ]
}

prop_compose! {
    fn a_read_of_a_stream()(
        after in a_version(),
        before in option::of(a_version()),
        backward in any::<bool>(),
        max_count in option::of(0..6_usize),
        types in some_types(),
    ) -> ReadStream {
        let mut read = ReadStream::new().after(after);
        if backward {
            read = read.backward();
        }
        read.before = before;
        read.max_count = max_count;
        read.event_types = types;
        read
    }
}

prop_compose! {
    fn a_read_of_all()(
        after in a_position(),
        before in option::of(a_position()),
        backward in any::<bool>(),
        max_count in option::of(0..6_usize),
        types in some_types(),
        of_streams in option::weighted(0.3, vec((0..2_usize).prop_map(|n| kind(["task", "room"][n])), 0..2)),
    ) -> ReadAll {
        let mut read = ReadAll::new().after(after);
        if backward {
            read = read.backward();
        }
        read.before = before;
        read.max_count = max_count;
        read.event_types = types;
        read.stream_types = of_streams;
        read
    }
}

prop_compose! {
    fn a_list()(
        after in option::of(a_stream()),
        of_type in option::of(0..2_usize),
        max_count in option::of(0..3_usize),
    ) -> ListStreams {
        let mut list = ListStreams::new();
        list.after = after;
        list.stream_type = of_type.map(|n| kind(["task", "room"][n]));
        list.max_count = max_count;
        list
    }
}

fn an_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (a_stream(), an_expectation(), vec(an_event(), 0..4))
            .prop_map(|(stream, expected, events)| Op::Append(stream, expected, events)),
        1 => a_stream().prop_map(Op::Delete),
        3 => (a_stream(), a_read_of_a_stream()).prop_map(|(stream, read)| Op::ReadStream(stream, read)),
        3 => a_read_of_all().prop_map(Op::ReadAll),
        1 => a_stream().prop_map(Op::Info),
        1 => a_list().prop_map(Op::List),
        2 => (a_stream(), a_version(), any::<u32>()).prop_map(|(stream, version, schema)| {
            Op::Save(stream, Snapshot::json(version, schema, "state").unwrap())
        }),
        1 => a_stream().prop_map(Op::Load),
    ]
}

/// Everything but the times, in which two stores cannot agree.
fn timeless(events: Vec<RecordedEvent>) -> Vec<RecordedEvent> {
    let strip = |mut event: RecordedEvent| {
        event.recorded_at = UNIX_EPOCH;
        event
    };
    events.into_iter().map(strip).collect()
}

/// Of the times, only whether they are the same at first.
fn timeless_info(info: &StreamInfo) -> String {
    let untouched = info.version > 0 || info.created_at == info.updated_at;
    format!("{} {} {} {untouched}", info.id, info.stream_type, info.version)
}

/// Runs an operation and says what came of it, errors as they are told.
async fn outcome(store: &dyn EventStore, op: Op) -> String {
    match op {
        Op::Append(stream, expected, events) => {
            format!("{:?}", store.append(&stream, expected, events).await)
        }
        Op::Delete(stream) => format!("{:?}", store.delete_stream(&stream).await),
        Op::ReadStream(stream, read) => {
            format!("{:?}", store.read_stream(&stream, read).await.map(timeless))
        }
        Op::ReadAll(read) => format!("{:?}", store.read_all(read).await.map(timeless)),
        Op::Info(stream) => {
            format!("{:?}", store.stream_info(&stream).await.as_ref().map(timeless_info))
        }
        Op::List(list) => {
            let streams = store.list_streams(list).await;
            format!("{:?}", streams.map(|streams| streams.iter().map(timeless_info).collect::<Vec<_>>()))
        }
        Op::Save(stream, snapshot) => {
            format!("{:?}", store.save_snapshot(&stream, snapshot).await)
        }
        Op::Load(stream) => format!("{:?}", store.load_snapshot(&stream).await),
    }
}

/// What a subscription to everything sees of what is stored.
async fn followed(store: &dyn EventStore) -> Vec<RecordedEvent> {
    let stored = store.read_all(ReadAll::new()).await.unwrap();
    let mut all = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    let mut got = Vec::new();
    for _ in &stored {
        got.push(next(&mut all).await);
    }
    assert_eq!(got, stored);
    timeless(got)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// ES-46 random operations: both stores give the same results and the same errors.
    #[test]
    fn both_stores_agree(ops in vec(an_op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            // Nothing here ends but by itself, and syncing would take most of the time.
            let options = SqliteOptions::new().durability(Durability::ProcessCrash);
            let path = directory.path().join("events.db");
            let mut sqlite = options.clone().open(&path).await.unwrap();
            let memory = InMemoryEventStore::new();
            let half = ops.len() / 2;
            for (n, op) in ops.into_iter().enumerate() {
                if n == half {
                    sqlite.close().await.unwrap();
                    sqlite = options.clone().open(&path).await.unwrap();
                }
                let expected = outcome(&memory, op.clone()).await;
                let got = outcome(&sqlite, op.clone()).await;
                prop_assert_eq!(got, expected, "operation {}: {:?}", n, op);
            }
            prop_assert_eq!(followed(&sqlite).await, followed(&memory).await);
            sqlite.close().await.unwrap();
            Ok(())
        })?;
    }
}
