//! Snapshots.

use ipa_eventstore::{Expected, ReadStream, Snapshot, StoreError};

use super::{Store, events, id, stream, versions};

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
