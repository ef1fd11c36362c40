//! Snapshots: one a stream, forward only.

use super::fixtures::{Store, assert_silent, events, everything, id, stream, versions};
use crate::{Expected, Json, ReadStream, Snapshot, StoreError, Subscribe};

fn snapshot(version: u64, state: &str) -> Snapshot {
    Snapshot::json(version, 7, state).unwrap()
}

/// ES-28 save and load {version, schema, state}; none => None; save replaces, one a stream.
pub async fn snapshots_are_saved_loaded_and_replaced(store: Store) {
    let (a, b) = (stream(&store, "a", 3).await, stream(&store, "b", 1).await);
    assert_eq!(store.load_snapshot(&a).await.unwrap(), None);
    store.save_snapshot(&a, snapshot(0, "nothing")).await.unwrap();
    store.save_snapshot(&a, snapshot(2, "two")).await.unwrap();
    store.save_snapshot(&b, snapshot(1, "b's")).await.unwrap();
    store.save_snapshot(&a, snapshot(3, "three")).await.unwrap();
    let loaded = store.load_snapshot(&a).await.unwrap().unwrap();
    assert_eq!((loaded.version, loaded.schema), (3, 7));
    assert_eq!(loaded.state::<&str>().unwrap(), "three");
    assert_eq!(store.load_snapshot(&b).await.unwrap().unwrap(), snapshot(1, "b's"));
}

/// ES-29 a snapshot older than the stored one, or newer than the stream, is refused.
pub async fn snapshots_go_forward_only(store: Store) {
    let a = stream(&store, "a", 3).await;
    let error = store.save_snapshot(&a, snapshot(4, "four")).await.unwrap_err();
    assert!(matches!(error, StoreError::SnapshotAhead { version: 4, current: 3, .. }), "{error:?}");
    assert_eq!(store.load_snapshot(&a).await.unwrap(), None);
    store.save_snapshot(&a, snapshot(2, "two")).await.unwrap();
    let error = store.save_snapshot(&a, snapshot(1, "one")).await.unwrap_err();
    assert!(matches!(error, StoreError::SnapshotStale { version: 1, stored: 2, .. }), "{error:?}");
    let error = store.save_snapshot(&a, snapshot(u64::MAX, "far")).await.unwrap_err();
    assert!(matches!(error, StoreError::SnapshotAhead { .. }), "{error:?}");
    assert_eq!(store.load_snapshot(&a).await.unwrap(), Some(snapshot(2, "two")));
    // The same version again is replaced: perhaps by one of a newer schema.
    store.save_snapshot(&a, snapshot(2, "two, anew")).await.unwrap();
    assert_eq!(store.load_snapshot(&a).await.unwrap(), Some(snapshot(2, "two, anew")));
}

/// ES-30 replacing a snapshot, and appending after it, deletes nothing else.
pub async fn saving_a_snapshot_keeps_the_events(store: Store) {
    let a = stream(&store, "a", 3).await;
    let before = store.stream_info(&a).await.unwrap();
    for version in 1..=3 {
        store.save_snapshot(&a, snapshot(version, "s")).await.unwrap();
    }
    assert_eq!(store.stream_info(&a).await.unwrap(), before);
    store.append(&a, Expected::Exact(3), events(1)).await.unwrap();
    let read = store.read_stream(&a, ReadStream::new()).await.unwrap();
    assert_eq!(versions(&read), [1, 2, 3, 4]);
    assert_eq!(store.load_snapshot(&a).await.unwrap(), Some(snapshot(3, "s")));
}

/// ES-10 a snapshot of a missing stream => stream_not_found; nothing is created.
pub async fn snapshots_of_missing_streams(store: Store) {
    let a = id("a");
    let error = store.save_snapshot(&a, snapshot(0, "s")).await.unwrap_err();
    assert!(matches!(error, StoreError::StreamNotFound { .. }), "{error:?}");
    let error = store.load_snapshot(&a).await.unwrap_err();
    assert!(matches!(error, StoreError::StreamNotFound { .. }), "{error:?}");
    assert!(!store.stream_exists(&a).await.unwrap());
}

/// ES-29 a refused snapshot leaves the stored one as it was, and so does one of another stream.
pub async fn a_refused_snapshot_changes_nothing(store: Store) {
    let (a, b) = (stream(&store, "a", 3).await, stream(&store, "b", 9).await);
    store.save_snapshot(&a, snapshot(2, "two")).await.unwrap();
    for wrong in [0, 1, 4, 9] {
        store.save_snapshot(&a, snapshot(wrong, "wrong")).await.unwrap_err();
        assert_eq!(store.load_snapshot(&a).await.unwrap(), Some(snapshot(2, "two")));
    }
    store.save_snapshot(&b, snapshot(9, "b's")).await.unwrap();
    assert_eq!(store.load_snapshot(&a).await.unwrap(), Some(snapshot(2, "two")));
    // What was ahead is not, once the stream is there.
    store.append(&a, Expected::Exact(3), events(1)).await.unwrap();
    store.save_snapshot(&a, snapshot(4, "four")).await.unwrap();
    assert_eq!(store.load_snapshot(&a).await.unwrap(), Some(snapshot(4, "four")));
    let error = store.save_snapshot(&a, snapshot(3, "three")).await.unwrap_err();
    assert!(matches!(error, StoreError::SnapshotStale { version: 3, stored: 4, .. }), "{error:?}");
}

/// ES-31 a stream's snapshot goes with it: a new one of its name has none, and none of the old versions counts.
pub async fn a_snapshot_goes_with_its_stream(store: Store) {
    let a = stream(&store, "a", 5).await;
    store.save_snapshot(&a, snapshot(5, "old")).await.unwrap();
    store.delete_stream(&a).await.unwrap();
    let a = stream(&store, "a", 2).await;
    assert_eq!(store.load_snapshot(&a).await.unwrap(), None);
    let error = store.save_snapshot(&a, snapshot(5, "old")).await.unwrap_err();
    assert!(matches!(error, StoreError::SnapshotAhead { version: 5, current: 2, .. }), "{error:?}");
    store.save_snapshot(&a, snapshot(1, "new")).await.unwrap();
    assert_eq!(store.load_snapshot(&a).await.unwrap(), Some(snapshot(1, "new")));
}

/// ES-28 a snapshot's data comes back to the byte, however large or odd, and its schema as it was.
pub async fn snapshots_come_back_to_the_byte(store: Store) {
    let a = stream(&store, "a", 1).await;
    let large = format!("\"{}\"", "ü".repeat(1_000_000));
    let odd = r#"{ "b":1,  "a" : [null, 1.0, 1e400, 12345678901234567890], "\u0000": "\/" }"#;
    for (data, schema) in [(odd, 0), (&*large, u32::MAX), ("null", 1)] {
        let written = Snapshot::new(1, schema, Json::parse(data).unwrap());
        store.save_snapshot(&a, written.clone()).await.unwrap();
        let loaded = store.load_snapshot(&a).await.unwrap().unwrap();
        assert!(loaded.data.get() == data, "{} bytes of {}", loaded.data.get().len(), data.len());
        assert_eq!((loaded.version, loaded.schema), (1, schema));
    }
}

/// ES-38 a snapshot is no event: it takes no version and no position, and nobody is told.
pub async fn a_snapshot_is_no_event(store: Store) {
    let a = stream(&store, "a", 3).await;
    let before = (store.stream_info(&a).await.unwrap(), everything(&store).await);
    let mut of_a = store.subscribe(Subscribe::stream(&a, 3)).await.unwrap();
    let mut all = store.subscribe(Subscribe::all(before.1[2].position)).await.unwrap();
    for version in [0, 2, 3, 3] {
        store.save_snapshot(&a, snapshot(version, "s")).await.unwrap();
        store.load_snapshot(&a).await.unwrap();
    }
    assert_eq!((store.stream_info(&a).await.unwrap(), everything(&store).await), before);
    for subscription in [&mut of_a, &mut all] {
        assert_silent(subscription).await;
    }
    assert_eq!(store.append(&a, Expected::Exact(3), events(1)).await.unwrap().version, 4);
}
