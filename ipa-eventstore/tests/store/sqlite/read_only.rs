//! A store opened for reading beside its writer.

use std::future::{Future, poll_fn};
use std::task::Poll;

use ipa_eventstore::{EventStore, Expected, Position, ReadAll, SqliteEventStore, StoreError, Subscribe};

use super::{Place, shared};
use crate::conformance::{events, id, kind, next, stream, take, versions};

/// A reader needs no lock, sees what is committed, and writes nothing.
#[tokio::test]
async fn reads_beside_the_writer_and_never_writes() {
    let place = Place::new();
    let writer = place.open().await;
    let a = stream(&shared(&writer), "a", 2).await;
    let reader = SqliteEventStore::open_read_only(place.path()).await.unwrap();
    assert_eq!(reader.read_all(ReadAll::new()).await.unwrap().len(), 2);
    writer.append(&a, Expected::Any, events(1)).await.unwrap();
    assert_eq!(reader.stream_version(&a).await.unwrap(), 3);
    let refused = [
        reader.append(&a, Expected::Any, events(1)).await.err(),
        reader.start_stream(&kind("task"), Some(id("b")), vec![]).await.err(),
        reader.delete_stream(&a).await.err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(StoreError::ReadOnly { .. })), "{error:?}");
    }
    reader.close().await.unwrap();
    let error = reader.stream_version(&a).await.unwrap_err();
    assert!(matches!(error, StoreError::Closed), "{error:?}");
    writer.close().await.unwrap();
    // Without a writer too.
    let reader = SqliteEventStore::open_read_only(place.path()).await.unwrap();
    assert_eq!(reader.stream_version(&a).await.unwrap(), 3);
    reader.close().await.unwrap();
}

/// ES-42 a reader's subscriptions follow what another connection commits.
#[tokio::test]
async fn follows_the_writer() {
    let place = Place::new();
    let writer = place.open().await;
    let a = stream(&shared(&writer), "a", 2).await;
    let reader = SqliteEventStore::open_read_only(place.path()).await.unwrap();
    let mut of_a = reader.subscribe(Subscribe::stream(&a, 1)).await.unwrap();
    let mut all = reader.subscribe(Subscribe::all(Position::START)).await.unwrap();
    assert_eq!(next(&mut of_a).await.version, 2);
    for version in 3..=5 {
        writer.append(&a, Expected::Any, events(1)).await.unwrap();
        assert_eq!(next(&mut of_a).await.version, version);
    }
    assert_eq!(versions(&take(&mut all, 5).await), [1, 2, 3, 4, 5]);
    reader.close().await.unwrap();
    assert!(all.next().await.is_none());
    writer.close().await.unwrap();
}

/// Whoever looks for commits ends with its runtime; a subscription that waits on another one follows all the same.
#[test]
fn follows_on_another_runtime_when_one_is_gone() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let place = Place::new();
    let (writer, a) = second.block_on(async {
        let writer = place.open().await;
        let a = stream(&shared(&writer), "a", 1).await;
        (writer, a)
    });
    let reader = first.block_on(async {
        let reader = SqliteEventStore::open_read_only(place.path()).await.unwrap();
        let mut events = reader.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
        assert_eq!(next(&mut events).await.version, 1);
        reader
    });
    second.block_on(async {
        let mut waits = reader.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
        assert_eq!(next(&mut waits).await.version, 1);
        let mut wait = Box::pin(next(&mut waits));
        assert!(poll_fn(|task| Poll::Ready(wait.as_mut().poll(task).is_pending())).await);
        std::thread::spawn(|| drop(first)).join().unwrap();
        writer.append(&a, Expected::Any, events(1)).await.unwrap();
        assert_eq!(wait.await.version, 2);
        reader.close().await.unwrap();
        writer.close().await.unwrap();
    });
}

/// Where there is no store, reading does not make one.
#[tokio::test]
async fn a_missing_store_is_not_created() {
    let place = Place::new();
    let error = SqliteEventStore::open_read_only(place.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::CannotOpen { .. }), "{error:?}");
    assert!(place.files().is_empty());
}

/// What the log says counts too: the file's own header may be behind it.
#[tokio::test]
async fn a_newer_schema_in_the_log_is_refused() {
    let place = Place::new();
    place.open().await.close().await.unwrap();
    let newer = place.raw();
    newer.pragma_update(None, "user_version", 999).unwrap();
    let error = SqliteEventStore::open_read_only(place.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 999, .. }), "{error:?}");
}
