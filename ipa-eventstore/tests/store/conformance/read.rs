//! Reading.

use ipa_eventstore::{Expected, Position, ReadAll, ReadStream, StoreError, StreamId};

use super::{Store, event, id, kind, stream, versions};

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

/// ES-21 a position that is not this store's is an error, and not the end of the store.
pub async fn foreign_positions_are_refused(store: Store) {
    stream(&store, "a", 2).await;
    for foreign in [Position::from_parts(1, 0, 0), Position::from_parts(0, 1, 0)] {
        for read in [ReadAll::new().after(foreign), ReadAll::new().before(foreign)] {
            let error = store.read_all(read).await.unwrap_err();
            assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
        }
        let subscribe = ipa_eventstore::Subscribe::all(foreign);
        let error = store.subscribe(subscribe).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
    }
    let beyond = Position::from_parts(0, 0, u64::MAX);
    assert_eq!(store.read_all(ReadAll::new().after(beyond)).await.unwrap(), []);
}

/// ES-46 replaying a lifecycle rebuilds its state.
pub async fn a_lifecycle_replays(store: Store) {
    #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Task {
        status: String,
        done: u32,
    }
    let change = |status: &str, done| Task { status: status.to_owned(), done };
    let record = |task: &Task| ipa_eventstore::NewEvent::json("changed", task).unwrap();
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
