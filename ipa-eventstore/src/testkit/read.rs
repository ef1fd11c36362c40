//! Reading: bounds, directions, filters, counts, pages.

use super::fixtures::{Store, all_of, event, everything, id, kind, stream, versions};
use crate::{Direction, Expected, Position, ReadAll, ReadStream, RecordedEvent, StoreError, StreamId};

async fn read(store: &Store, stream: &StreamId, read: ReadStream) -> Vec<u64> {
    versions(&store.read_stream(stream, read).await.unwrap())
}

/// A stream of types a b c a b c a b c.
async fn mixed(store: &Store) -> StreamId {
    let id = stream(store, "mixed", 0).await;
    let batch = (0..9).map(|n| event(["a", "b", "c"][n % 3])).collect();
    store.append(&id, Expected::Any, batch).await.unwrap();
    id
}

/// ES-20 read all => ascending versions.
pub async fn reads_are_ascending(store: Store) {
    let a = stream(&store, "a", 5).await;
    assert_eq!(read(&store, &a, ReadStream::new()).await, [1, 2, 3, 4, 5]);
}

/// ES-21 `after` is exclusive: after 1 => from 2; after 0 => all; >= the end => none.
pub async fn after_is_exclusive(store: Store) {
    let a = stream(&store, "a", 4).await;
    assert_eq!(read(&store, &a, ReadStream::new().after(0)).await, [1, 2, 3, 4]);
    assert_eq!(read(&store, &a, ReadStream::new().after(1)).await, [2, 3, 4]);
    for beyond in [4, 5, u64::MAX] {
        assert_eq!(read(&store, &a, ReadStream::new().after(beyond)).await, [0; 0]);
    }
    assert_eq!(read(&store, &a, ReadStream::new().after(1).before(4)).await, [2, 3]);
    for crossed in [0, 1, 2] {
        assert_eq!(read(&store, &a, ReadStream::new().after(1).before(crossed)).await, [0; 0]);
    }
}

/// ES-21 backward too: the bounds are the same, the order is reversed.
pub async fn backward_has_the_same_bounds(store: Store) {
    let a = stream(&store, "a", 4).await;
    let backward = ReadStream::new().backward();
    assert_eq!(read(&store, &a, backward.clone()).await, [4, 3, 2, 1]);
    assert_eq!(read(&store, &a, backward.clone().after(1)).await, [4, 3, 2]);
    assert_eq!(read(&store, &a, backward.clone().after(4)).await, [0; 0]);
    assert_eq!(read(&store, &a, backward.clone().max_count(2)).await, [4, 3]);
    assert_eq!(read(&store, &a, backward.clone().before(3).max_count(2)).await, [2, 1]);
    assert_eq!(read(&store, &a, backward.clone().before(1)).await, [0; 0]);
    assert_eq!(read(&store, &a, backward.before(u64::MAX)).await, [4, 3, 2, 1]);
}

/// ES-22 max_count n => the first n after filtering; 0 => none.
pub async fn max_count_is_taken_after_the_filter(store: Store) {
    let mixed = mixed(&store).await;
    let twos = ReadStream::new().event_types(["b"]).max_count(2);
    assert_eq!(read(&store, &mixed, twos).await, [2, 5]);
    assert_eq!(read(&store, &mixed, ReadStream::new().max_count(0)).await, [0; 0]);
    assert_eq!(read(&store, &mixed, ReadStream::new().max_count(99)).await.len(), 9);
    let error = store.read_stream(&id("none"), ReadStream::new().max_count(0)).await;
    assert!(matches!(error, Err(StoreError::StreamNotFound { .. })), "{error:?}");
}

/// ES-23 event_types filters; versions keep gaps; an empty list => no events, none given => all.
pub async fn event_types_filter(store: Store) {
    let mixed = mixed(&store).await;
    let of = |types: &[&str]| ReadStream::new().event_types(types.iter().copied());
    assert_eq!(read(&store, &mixed, of(&["a", "c"])).await, [1, 3, 4, 6, 7, 9]);
    assert_eq!(read(&store, &mixed, of(&["A", "a "])).await, [0; 0], "compared as they are");
    assert_eq!(read(&store, &mixed, of(&[])).await, [0; 0]);
    assert_eq!(read(&store, &mixed, ReadStream::new()).await.len(), 9);
}

/// ES-24 from, types and max together => filter, then limit, in order.
pub async fn everything_at_once(store: Store) {
    let mixed = mixed(&store).await;
    let wanted = ReadStream::new().after(1).before(9).event_types(["a", "c"]).max_count(3);
    assert_eq!(read(&store, &mixed, wanted.clone()).await, [3, 4, 6]);
    assert_eq!(read(&store, &mixed, wanted.backward()).await, [7, 6, 4]);
}

/// ES-25 a stream that exists and is empty reads as no events at version 0, not as missing.
pub async fn an_empty_stream_is_not_missing(store: Store) {
    let a = stream(&store, "a", 0).await;
    assert_eq!(read(&store, &a, ReadStream::new()).await, [0; 0]);
    assert_eq!(read(&store, &a, ReadStream::new().backward()).await, [0; 0]);
    assert_eq!(store.stream_version(&a).await.unwrap(), 0);
    // ES-10 beside it: a missing one is.
    let error = store.read_stream(&id("b"), ReadStream::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::StreamNotFound { .. }), "{error:?}");
    let error = store.stream_version(&id("b")).await.unwrap_err();
    assert!(matches!(error, StoreError::StreamNotFound { .. }), "{error:?}");
}

/// ES-21 the whole store is read in the order of positions, with exclusive bounds, both ways.
pub async fn read_all_follows_positions(store: Store) {
    let a = stream(&store, "a", 2).await;
    let b = id("b");
    store.append(&b, Expected::NoStream(kind("other")), vec![event("x")]).await.unwrap();
    store.append(&a, Expected::Any, vec![event("x")]).await.unwrap();
    let all = store.read_all(ReadAll::new()).await.unwrap();
    let places: Vec<_> = all.iter().map(|event| (event.stream.as_str(), event.version)).collect();
    assert_eq!(places, [("a", 1), ("a", 2), ("b", 1), ("a", 3)]);

    let position = |n: usize| all[n].position;
    let expect = async |read: ReadAll, wanted: &[usize]| {
        let wanted: Vec<_> = wanted.iter().map(|n| all[*n].clone()).collect();
        assert_eq!(store.read_all(read).await.unwrap(), wanted);
    };
    expect(ReadAll::new().after(position(1)), &[2, 3]).await;
    expect(ReadAll::new().after(position(3)), &[]).await;
    expect(ReadAll::new().after(position(0)).before(position(3)), &[1, 2]).await;
    expect(ReadAll::new().after(position(2)).before(position(1)), &[]).await;
    expect(ReadAll::new().backward(), &[3, 2, 1, 0]).await;
    expect(ReadAll::new().backward().before(position(2)).max_count(1), &[1]).await;
    expect(ReadAll::new().backward().after(position(3)), &[]).await;
    expect(ReadAll::new().backward().before(Position::START), &[]).await;
    expect(ReadAll::new().max_count(0), &[]).await;
    expect(ReadAll::new().event_types(["x"]), &[2, 3]).await;
    expect(ReadAll::new().event_types(["x"]).stream_types([kind("task")]), &[3]).await;
    expect(ReadAll::new().stream_types([kind("other"), kind("none")]), &[2]).await;
    expect(ReadAll::new().stream_types([]), &[]).await;
    store.delete_stream(&a).await.unwrap();
    expect(ReadAll::new(), &[2]).await;
}

/// ES-22 reads and filters that span more than a page of a thousand give what a short one would.
pub async fn long_reads_cross_pages(store: Store) {
    let a = stream(&store, "a", 0).await;
    for _ in 0..5 {
        let batch = (0..500).map(|n| event(if n == 499 { "rare" } else { "common" })).collect();
        store.append(&a, Expected::Any, batch).await.unwrap();
    }
    let all: Vec<u64> = (1..=2500).collect();
    let reversed: Vec<u64> = (1..=2500).rev().collect();
    assert_eq!(read(&store, &a, ReadStream::new()).await, all);
    assert_eq!(read(&store, &a, ReadStream::new().backward()).await, reversed);
    assert_eq!(read(&store, &a, ReadStream::new().max_count(1001)).await, all[..1001]);
    assert_eq!(read(&store, &a, ReadStream::new().max_count(1000)).await, all[..1000]);
    let rare = ReadStream::new().event_types(["rare"]);
    assert_eq!(read(&store, &a, rare.clone()).await, [500, 1000, 1500, 2000, 2500]);
    assert_eq!(read(&store, &a, rare.backward().max_count(2)).await, [2500, 2000]);
    let of_all = versions(&store.read_all(ReadAll::new()).await.unwrap());
    assert_eq!(of_all, all);
    let of_all = versions(&store.read_all(ReadAll::new().backward()).await.unwrap());
    assert_eq!(of_all, reversed);
    let rare = ReadAll::new().event_types(["rare"]).max_count(4);
    assert_eq!(versions(&store.read_all(rare).await.unwrap()), [500, 1000, 1500, 2000]);
}

/// ES-46 replaying a lifecycle rebuilds its state.
pub async fn a_lifecycle_replays(store: Store) {
    #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Task {
        status: String,
        done: u32,
    }
    let change = |status: &str, done| Task { status: status.to_owned(), done };
    let record = |task: &Task| crate::NewEvent::json("changed", task).unwrap();
    let a = stream(&store, "a", 0).await;
    let history = [change("started", 0), change("working", 2), change("finished", 3)];
    for (version, task) in (0..).zip(&history) {
        store.append(&a, Expected::Exact(version), vec![record(task)]).await.unwrap();
    }
    let mut state = Task::default();
    for event in store.read_stream(&a, ReadStream::new()).await.unwrap() {
        state = event.data().unwrap();
    }
    assert_eq!(state, history[2]);
    // Of another type, the error says which event it is about.
    let first = &store.read_stream(&a, ReadStream::new().max_count(1)).await.unwrap()[0];
    let error = first.data::<Vec<u8>>().unwrap_err();
    assert!(error.to_string().contains("changed event 1 of stream a"), "{error}");
}

/// What a read is to give of what there is within its bounds and filters: in order, and counted.
fn plain(
    all: &[RecordedEvent],
    direction: Direction,
    max_count: Option<usize>,
    wanted: impl Fn(&RecordedEvent) -> bool,
) -> Vec<RecordedEvent> {
    let mut found: Vec<_> = all.iter().filter(|event| wanted(event)).cloned().collect();
    if direction == Direction::Backward {
        found.reverse();
    }
    found.truncate(max_count.unwrap_or(usize::MAX));
    found
}

fn is_in<T: PartialEq<str>>(list: &Option<Vec<T>>, name: &str) -> bool {
    list.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == name))
}

/// Lists of names: none, and each of these.
fn lists(lists: &[&[&str]]) -> Vec<Option<Vec<String>>> {
    let owned = |list: &&[&str]| Some(list.iter().map(|name| (*name).to_owned()).collect());
    std::iter::once(None).chain(lists.iter().map(owned)).collect()
}

/// Every pair of one of these and one of those.
fn pairs<A: Clone, B: Clone>(these: &[A], those: &[B]) -> Vec<(A, B)> {
    these.iter().flat_map(|a| those.iter().map(|b| (a.clone(), b.clone()))).collect()
}

const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Backward];

/// ES-21 ES-22 ES-23 ES-24 every mixture of bounds, direction, filter and count, for one stream.
pub async fn every_mixture_of_a_stream_s_options(store: Store) {
    let mixed = mixed(&store).await;
    // Another stream's events in between are none of it.
    stream(&store, "other", 3).await;
    store.append(&mixed, Expected::Any, vec![event("a")]).await.unwrap();
    let all = all_of(&store, &mixed).await;
    let before = [None, Some(0), Some(1), Some(2), Some(5), Some(10), Some(11), Some(u64::MAX)];
    let bounds = pairs(&[0, 1, 4, 9, 10, 11, u64::MAX], &before);
    let order = pairs(&DIRECTIONS, &[None, Some(0), Some(2), Some(10)]);
    for (((after, before), (direction, max_count)), types) in
        pairs(&pairs(&bounds, &order), &lists(&[&[], &["b"], &["c", "a", "?"]]))
    {
        let due = plain(&all, direction, max_count, |event| {
            let within = event.version > after && before.is_none_or(|before| event.version < before);
            within && is_in(&types, &event.event_type)
        });
        let mut read = ReadStream::new().after(after);
        (read.before, read.direction) = (before, direction);
        (read.max_count, read.event_types) = (max_count, types);
        let got = store.read_stream(&mixed, read.clone()).await.unwrap();
        assert_eq!(versions(&got), versions(&due), "{read:?}");
        assert_eq!(got, due, "{read:?}");
    }
}

/// ES-21 ES-22 ES-23 ES-24 every mixture of bounds, direction, filters and count, for the whole store.
pub async fn every_mixture_of_the_store_s_options(store: Store) {
    let (a, b) = (stream(&store, "a", 0).await, id("b"));
    store.append(&b, Expected::NoStream(kind("other")), vec![]).await.unwrap();
    for stream in [&a, &b, &b, &a] {
        store.append(stream, Expected::Any, vec![event("x"), event("y")]).await.unwrap();
    }
    let all = everything(&store).await;
    let at = |n: usize| all[n].position;
    let before = [None, Some(Position::START), Some(at(0)), Some(at(3)), Some(at(7))];
    let bounds = pairs(&[Position::START, at(0), at(3), at(7)], &before);
    let order = pairs(&DIRECTIONS, &[None, Some(0), Some(2)]);
    let filters = pairs(&lists(&[&[], &["y"], &["x", "y", "?"]]), &lists(&[&[], &["task"], &["?", "other"]]));
    for (((after, before), (direction, max_count)), (types, kinds)) in
        pairs(&pairs(&bounds, &order), &filters)
    {
        let due = plain(&all, direction, max_count, |event| {
            let within = event.position > after && before.is_none_or(|before| event.position < before);
            let of_kind = is_in(&kinds, if event.stream == a { "task" } else { "other" });
            within && of_kind && is_in(&types, &event.event_type)
        });
        let mut read = ReadAll::new().after(after);
        (read.before, read.direction) = (before, direction);
        (read.max_count, read.event_types) = (max_count, types);
        read.stream_types = kinds.map(|kinds| kinds.iter().map(|name| kind(name)).collect());
        assert_eq!(store.read_all(read.clone()).await.unwrap(), due, "{read:?}");
    }
}

/// ES-22 page by page, either way, each event comes once, though appends go on in between.
pub async fn pages_give_each_event_once(store: Store) {
    let a = stream(&store, "a", 10).await;
    let before = everything(&store).await;
    let (mut forward, mut backward, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0.. {
        let after = forward.last().map_or(0, |event: &RecordedEvent| event.version);
        let read = ReadStream::new().after(after).max_count(4);
        let page = store.read_stream(&a, read).await.unwrap();
        let mut down = ReadStream::new().backward().max_count(4);
        down.before = backward.last().map(|event: &RecordedEvent| event.version);
        backward.extend(store.read_stream(&a, down).await.unwrap());
        let after = whole.last().map_or(Position::START, |event: &RecordedEvent| event.position);
        whole.extend(store.read_all(ReadAll::new().after(after).max_count(4)).await.unwrap());
        if page.is_empty() {
            break;
        }
        forward.extend(page);
        let meanwhile = if round < 4 { vec![event("x"), event("y")] } else { vec![] };
        store.append(&a, Expected::Any, meanwhile).await.unwrap();
    }
    let all = all_of(&store, &a).await;
    assert!(all.len() == 18 && all.starts_with(&before), "{}", all.len());
    assert_eq!(forward, all);
    assert_eq!(whole, all);
    backward.reverse();
    assert_eq!(backward, before, "newer events come above the pages that were read");
}
