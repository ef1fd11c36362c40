//! Random operations on both stores: the same results, the same errors.
//!
//! The store in memory is the model. A failure shrinks to the few operations that it takes.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use ipa_eventstore::testkit::fixtures::{PATIENCE, Polls};
use ipa_eventstore::{
    Durability, EventId, EventStore, Expected, InMemoryEventStore, ListStreams, NewEvent, Position, ReadAll,
    ReadStream, RecordedEvent, Snapshot, SqliteEventStore, SqliteOptions, StoreError, StreamId, StreamInfo,
    StreamType, Subscribe, Subscription,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use crate::conformance::{id, kind};

/// Every call of the port, and what else can happen to a store.
#[derive(Debug, Clone)]
enum Op {
    Append(StreamId, Expected, Vec<NewEvent>),
    /// An append of before once more, whatever became of it: the whole of it, or its first few events.
    Again(Index, Expected, Option<usize>),
    Start(StreamId, StreamType, Vec<NewEvent>),
    Delete(StreamId),
    ReadStream(StreamId, ReadStream),
    ReadAll(ReadAll),
    Info(StreamId),
    Exists(StreamId),
    List(ListStreams),
    Save(StreamId, Snapshot),
    Load(StreamId),
    Subscribe(Subscribe),
    /// So many events of an open subscription, or as many as there are.
    Next(Index, usize),
    /// Drops a subscription.
    Unsubscribe(Index),
    /// Closes the store and opens it again.
    Reopen,
}

/// Few streams, ids and types, so that operations meet.
fn a_stream() -> impl Strategy<Value = StreamId> {
    (0..3_usize).prop_map(|n| id(["a", "b", "c"][n]))
}

fn an_event() -> impl Strategy<Value = NewEvent> {
    // Some of the ids are from a few, so that appends overlap and name one twice.
    let event_id = prop_oneof![1 => 1..30_u128, 2 => any::<u128>()].prop_map(Uuid::from_u128);
    let kind = prop_oneof![60 => 0..3_usize, 1 => Just(3)];
    let text = option::weighted(0.2, ".{0,3}");
    (event_id, kind, any::<u8>(), text, option::weighted(0.2, any::<i64>())).prop_map(
        |(event_id, kind, data, text, metadata)| {
            let mut event = NewEvent::json("x", &data).unwrap().id(EventId::from_uuid(event_id));
            // The last is no name, which the constructor would not take.
            event.event_type = ["x", "y", "z", " "][kind].into();
            if let Some(text) = text {
                event = event.actor(&*text).causation(text.to_uppercase()).correlation(text);
            }
            match metadata {
                Some(metadata) => event.metadata(&metadata).unwrap().schema_version(metadata as u32),
                None => event,
            }
        },
    )
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
        2 => (a_version(), a_position()).prop_map(|(version, position)| Expected::ExactAt { version, position }),
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

fn a_subscription() -> impl Strategy<Value = Subscribe> {
    let of_streams = option::weighted(0.5, vec((0..2_usize).prop_map(|n| kind(["task", "room"][n])), 0..2));
    let source = prop_oneof![
        (a_stream(), a_version()).prop_map(|(stream, after)| Subscribe::stream(&stream, after)),
        (a_position(), of_streams).prop_map(|(after, of_streams)| match of_streams {
            Some(of_streams) => Subscribe::stream_types(after, of_streams),
            None => Subscribe::all(after),
        }),
    ];
    (source, some_types()).prop_map(|(mut subscribe, types)| {
        subscribe.event_types = types;
        subscribe
    })
}

fn an_op() -> impl Strategy<Value = Op> {
    let append = (a_stream(), an_expectation(), vec(an_event(), 0..4));
    let again = (any::<Index>(), an_expectation(), option::weighted(0.3, 0..3_usize));
    let start = (a_stream(), (0..2_usize).prop_map(|n| kind(["task", "room"][n])), vec(an_event(), 0..2));
    let snapshot = (prop_oneof![3 => 0..8_u64, 1 => a_version()], any::<u32>(), ".{0,5}");
    prop_oneof![
        12 => append.prop_map(|(stream, expected, events)| Op::Append(stream, expected, events)),
        3 => again.prop_map(|(which, expected, count)| Op::Again(which, expected, count)),
        2 => start.prop_map(|(stream, kind, events)| Op::Start(stream, kind, events)),
        1 => a_stream().prop_map(Op::Delete),
        3 => (a_stream(), a_read_of_a_stream()).prop_map(|(stream, read)| Op::ReadStream(stream, read)),
        3 => a_read_of_all().prop_map(Op::ReadAll),
        1 => a_stream().prop_map(Op::Info),
        1 => a_stream().prop_map(Op::Exists),
        1 => a_list().prop_map(Op::List),
        3 => (a_stream(), snapshot).prop_map(|(stream, (version, schema, state))| {
            Op::Save(stream, Snapshot::json(version, schema, &state).unwrap())
        }),
        1 => a_stream().prop_map(Op::Load),
        2 => a_subscription().prop_map(Op::Subscribe),
        4 => (any::<Index>(), 1..5_usize).prop_map(|(which, count)| Op::Next(which, count)),
        1 => any::<Index>().prop_map(Op::Unsubscribe),
        1 => Just(Op::Reopen),
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

fn told<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    format!("{answer:?}")
}

/// A store under the operations: what it is made of, and what they have left open.
struct Subject<S> {
    store: S,
    subscriptions: Vec<Subscription>,
    appended: Vec<(StreamId, Vec<NewEvent>)>,
}

impl<S: EventStore> Subject<S> {
    fn new(store: S) -> Self {
        Self { store, subscriptions: Vec::new(), appended: Vec::new() }
    }

    /// Runs an operation and says what came of it, errors as they are told. `due` is what the model
    /// said, so that nothing is waited for that does not come.
    async fn outcome(&mut self, op: Op, due: Option<&str>) -> String {
        let store = &self.store;
        match op {
            Op::Append(stream, expected, events) => {
                self.appended.push((stream.clone(), events.clone()));
                told(store.append(&stream, expected, events).await)
            }
            Op::Again(which, expected, count) => {
                if self.appended.is_empty() {
                    return "nothing was appended".to_owned();
                }
                let (stream, events) = which.get(&self.appended);
                let events = events[..count.unwrap_or(events.len()).min(events.len())].to_vec();
                told(store.append(stream, expected, events).await)
            }
            Op::Start(stream, kind, events) => told(store.start_stream(&kind, Some(stream), events).await),
            Op::Delete(stream) => told(store.delete_stream(&stream).await),
            Op::ReadStream(stream, read) => told(store.read_stream(&stream, read).await.map(timeless)),
            Op::ReadAll(read) => told(store.read_all(read).await.map(timeless)),
            Op::Info(stream) => {
                told(store.stream_info(&stream).await.as_ref().map(timeless_info).map_err(Clone::clone))
            }
            Op::Exists(stream) => told(store.stream_exists(&stream).await),
            Op::List(list) => {
                let streams = store.list_streams(list).await;
                told(streams.map(|streams| streams.iter().map(timeless_info).collect::<Vec<_>>()))
            }
            Op::Save(stream, snapshot) => told(store.save_snapshot(&stream, snapshot).await),
            Op::Load(stream) => told(store.load_snapshot(&stream).await),
            Op::Subscribe(subscribe) => match store.subscribe(subscribe).await {
                Ok(subscription) => {
                    self.subscriptions.push(subscription);
                    "subscribed".to_owned()
                }
                Err(error) => told::<()>(Err(error)),
            },
            Op::Next(..) if self.subscriptions.is_empty() => "no subscription".to_owned(),
            Op::Next(which, count) => self.next(which.index(self.subscriptions.len()), count, due).await,
            Op::Unsubscribe(which) => {
                if !self.subscriptions.is_empty() {
                    drop(self.subscriptions.remove(which.index(self.subscriptions.len())));
                }
                format!("{} left", self.subscriptions.len())
            }
            Op::Reopen => {
                self.subscriptions.clear();
                "opened".to_owned()
            }
        }
    }

    /// The model's subscription answers at once or not at all. The other's is given its time where the
    /// model had an answer.
    async fn next(&mut self, at: usize, count: usize, due: Option<&str>) -> String {
        let subscription = &mut self.subscriptions[at];
        let mut answers = Vec::new();
        for _ in 0..count {
            let answer = match due {
                None => Polls::new(subscription.next(), 1).await,
                Some(due) if answers.len() == due.lines().count() => None,
                Some(_) => tokio::time::timeout(PATIENCE, subscription.next()).await.ok(),
            };
            let Some(answer) = answer else { break };
            let ended = answer.is_none();
            answers.push(format!("{:?}", answer.map(|event| event.map(|event| timeless(vec![event])))));
            if ended {
                break;
            }
        }
        answers.join("\n")
    }

    /// What is there in the end: streams, snapshots, and what a new subscriber sees.
    async fn left(&mut self) -> String {
        let streams = self.store.list_streams(ListStreams::new()).await.unwrap();
        let mut left = Vec::new();
        for info in &streams {
            left.push(timeless_info(info));
            left.push(told(self.store.load_snapshot(&info.id).await));
        }
        let stored = self.store.read_all(ReadAll::new()).await.unwrap();
        let mut all = self.store.subscribe(Subscribe::all(Position::START)).await.unwrap();
        for stored in stored {
            let event = tokio::time::timeout(PATIENCE, all.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(event, stored);
            left.push(format!("{:?}", timeless(vec![event])));
        }
        left.join("\n")
    }
}

/// A store on disk, opened again whenever that is the operation.
async fn open(path: &std::path::Path) -> SqliteEventStore {
    // Nothing here ends but by itself, and syncing would take most of the time.
    SqliteOptions::new().durability(Durability::ProcessCrash).open(path).await.unwrap()
}

async fn compare(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let mut model = Subject::new(InMemoryEventStore::new());
    let mut sqlite = Subject::new(open(&path).await);
    for (n, op) in ops.into_iter().enumerate() {
        if let Op::Reopen = op {
            sqlite.store.close().await.unwrap();
            sqlite.store = open(&path).await;
        }
        let due = model.outcome(op.clone(), None).await;
        let got = sqlite.outcome(op.clone(), Some(&due)).await;
        prop_assert_eq!(got, due, "operation {}: {:?}", n, op);
    }
    // What was not read to its end has nothing more than the model has.
    for at in 0..model.subscriptions.len() {
        let due = model.next(at, usize::MAX, None).await;
        prop_assert_eq!(sqlite.next(at, usize::MAX, Some(&due)).await, due);
    }
    prop_assert_eq!(sqlite.left().await, model.left().await);
    sqlite.store.close().await.unwrap();
    Ok(())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// ES-46 random operations: both stores give the same results and the same errors.
    #[test]
    fn both_stores_agree(ops in vec(an_op(), 1..80)) {
        runtime().block_on(compare(ops))?;
    }
}

/// The operations above are worth comparing: between them they bring about every answer that the port has.
#[test]
fn the_operations_bring_about_every_answer() {
    const APPEND: &[&str] = &[
        "duplicate: false",
        "duplicate: true",
        "StreamNotFound",
        "AlreadyExists",
        "Conflict",
        "PartialDuplicate",
        "Invalid",
    ];
    let answers: [(&str, &[&str]); 14] = [
        ("Append", APPEND),
        ("Again", APPEND),
        ("Start", &["Ok(", "AlreadyExists", "PartialDuplicate", "Invalid"]),
        ("Delete", &["Ok(())", "StreamNotFound"]),
        ("ReadStream", &["Ok([])", "Ok([Rec", "StreamNotFound"]),
        ("ReadAll", &["Ok([])", "Ok([Rec", "Invalid"]),
        ("Info", &["Ok(", "StreamNotFound"]),
        ("Exists", &["Ok(true)", "Ok(false)"]),
        ("List", &["Ok([])", "Ok([\""]),
        ("Save", &["Ok(())", "StreamNotFound", "SnapshotStale", "SnapshotAhead"]),
        ("Load", &["Ok(None)", "Ok(Some(", "StreamNotFound"]),
        ("Subscribe", &["subscribed", "StreamNotFound", "Invalid"]),
        ("Next", &["Some(Ok", "Some(Err(StreamNotFound", "\nSome(Ok", "\nNone"]),
        ("Reopen", &["opened"]),
    ];
    let mut missing: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (op, answers) in answers {
        missing.extend(answers.iter().map(|answer| (op, *answer)));
    }
    let mut runner = TestRunner::deterministic();
    let many = vec(an_op(), 80);
    runtime().block_on(async {
        for _ in 0..100 {
            let mut model = Subject::new(InMemoryEventStore::new());
            for op in many.new_tree(&mut runner).unwrap().current() {
                let name = format!("{op:?}");
                let name = name.split('(').next().unwrap();
                let outcome = model.outcome(op, None).await;
                missing.retain(|(op, answer)| *op != name || !outcome.contains(answer));
            }
        }
    });
    assert!(missing.is_empty(), "no operation was answered so: {missing:?}");
}
