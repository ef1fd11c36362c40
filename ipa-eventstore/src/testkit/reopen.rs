//! Closing a store and opening what is left of it. For subjects that survive, see
//! [`Subject::reopening`].

use super::Subject;
use super::fixtures::{
    PATIENCE, all_of, create, event, events, everything, id, kind, next, stream, take, versions,
};
use crate::{Expected, ListStreams, Position, ReadAll, ReadStream, Snapshot, StoreError, Subscribe};

/// ES-42 opened again, everything is there to the last detail: streams, events, snapshots, times, order.
pub async fn everything_is_there_after_reopening(subject: &Subject) {
    let store = subject.store();
    let a = stream(&store, "a", 2).await;
    store.append(&id("b"), Expected::NoStream(kind("other")), vec![]).await.unwrap();
    let full = event("full").actor("ann").causation("c").correlation("d").metadata(&7).unwrap();
    store.append(&a, Expected::Exact(2), vec![full.schema_version(3)]).await.unwrap();
    store.save_snapshot(&a, Snapshot::json(2, 5, "two").unwrap()).await.unwrap();
    let doomed = stream(&store, "doomed", 2).await;
    store.append(&a, Expected::Any, events(1)).await.unwrap();
    store.delete_stream(&doomed).await.unwrap();
    let streams = store.list_streams(ListStreams::new()).await.unwrap();
    let before = everything(&store).await;
    drop(store);

    let store = subject.reopen().await;
    assert_eq!(store.list_streams(ListStreams::new()).await.unwrap(), streams);
    assert_eq!(everything(&store).await, before);
    assert_eq!(all_of(&store, &a).await, before);
    assert_eq!(store.load_snapshot(&a).await.unwrap(), Some(Snapshot::json(2, 5, "two").unwrap()));
    assert_eq!(store.load_snapshot(&id("b")).await.unwrap(), None);
    assert!(!store.stream_exists(&doomed).await.unwrap());
}

/// ES-42 versions, positions, ids and snapshots go on where they were, though the newest events were deleted.
pub async fn everything_goes_on_after_reopening(subject: &Subject) {
    let store = subject.store();
    let a = stream(&store, "a", 1).await;
    let batch = events(2);
    let first = store.append(&a, Expected::Exact(1), batch.clone()).await.unwrap();
    store.save_snapshot(&a, Snapshot::json(2, 1, &()).unwrap()).await.unwrap();
    let doomed = stream(&store, "doomed", 3).await;
    let newest = all_of(&store, &doomed).await[2].position;
    store.delete_stream(&doomed).await.unwrap();
    drop(store);

    let store = subject.reopen().await;
    let again = store.append(&a, Expected::Exact(1), batch).await.unwrap();
    assert_eq!((again.version, again.position, again.duplicate), (3, first.position, true));
    let error = store.append(&a, create(), events(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { version: 3, .. }), "{error:?}");
    let next = store.append(&a, Expected::Exact(3), events(1)).await.unwrap();
    assert_eq!(next.version, 4);
    assert!(next.position.unwrap() > newest, "not even those deleted before the close are used again");
    let error = store.save_snapshot(&a, Snapshot::json(1, 1, &()).unwrap()).await.unwrap_err();
    assert!(matches!(error, StoreError::SnapshotStale { version: 1, stored: 2, .. }), "{error:?}");
}

/// ES-42 a subscriber that kept its place, as text, goes on from there in the store that is opened again.
pub async fn a_subscriber_goes_on_after_reopening(subject: &Subject) {
    let store = subject.store();
    let (a, b) = (stream(&store, "a", 2).await, stream(&store, "b", 2).await);
    let mut all = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    let kept = take(&mut all, 3).await[2].position.to_string();
    let due = everything(&store).await;
    drop((store, all));

    let store = subject.reopen().await;
    let place: Position = kept.parse().unwrap();
    let mut all = store.subscribe(Subscribe::all(place)).await.unwrap();
    let mut of_a = store.subscribe(Subscribe::stream(&a, 1)).await.unwrap();
    assert_eq!(next(&mut all).await, due[3]);
    assert_eq!(next(&mut of_a).await, due[1]);
    store.append(&a, Expected::Exact(2), events(1)).await.unwrap();
    store.append(&b, Expected::Exact(2), events(1)).await.unwrap();
    assert_eq!(versions(&take(&mut all, 2).await), [3, 3]);
    assert_eq!(next(&mut of_a).await.version, 3);
    assert_eq!(store.read_all(ReadAll::new().after(place)).await.unwrap().len(), 3);
}

/// ES-41 closing ends every subscription, those that wait too, and every call on the closed store says so.
pub async fn closing_ends_what_hangs_on_it(subject: &Subject) {
    let store = subject.store();
    let a = stream(&store, "a", 1).await;
    let mut waiting = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    next(&mut waiting).await;
    let waiting = tokio::spawn(async move { waiting.next().await.is_none() });
    let mut lagging = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    tokio::task::yield_now().await;
    let again = subject.reopen().await;

    let ended = tokio::time::timeout(PATIENCE, waiting).await.expect("an end within a minute");
    assert!(ended.unwrap(), "a closed store's subscription ends without an error");
    assert!(lagging.next().await.is_none() && lagging.next().await.is_none());
    let refused = [
        store.append(&a, Expected::Any, events(1)).await.err(),
        store.read_stream(&a, ReadStream::new()).await.err(),
        store.read_all(ReadAll::new()).await.err(),
        store.subscribe(Subscribe::stream(&a, 0)).await.err(),
        store.stream_info(&a).await.err(),
        store.list_streams(ListStreams::new()).await.err(),
        store.delete_stream(&a).await.err(),
        store.save_snapshot(&a, Snapshot::json(1, 1, &()).unwrap()).await.err(),
        store.load_snapshot(&a).await.err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(StoreError::Closed)), "{error:?}");
    }
    // None of it was done to the store that is open now.
    assert_eq!(versions(&all_of(&again, &a).await), [1]);
    assert_eq!(again.load_snapshot(&a).await.unwrap(), None);
}
