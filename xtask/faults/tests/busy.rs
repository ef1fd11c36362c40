//! Another process holds SQLite's lock for writing.
#![cfg(unix)]

use std::{path::Path, time::Duration};

use ipa_eventstore::{
    Durability, EventStore, Expected, NewEvent, SqliteEventStore, SqliteOptions, StoreError, StreamId,
    StreamType,
};
use store_faults::busy::Held;

const PROGRAM: &str = env!("CARGO_BIN_EXE_store-faults");

async fn store(path: &Path, busy_timeout: Duration) -> (SqliteEventStore, StreamId) {
    let store = SqliteOptions::new().busy_timeout(busy_timeout).open(path).await.unwrap();
    let kind = StreamType::new("busy").unwrap();
    let stream = store.start_stream(&kind, Some(StreamId::new("a").unwrap()), vec![]).await.unwrap();
    (store, stream)
}

fn event() -> NewEvent {
    NewEvent::json("e", &()).unwrap()
}

#[tokio::test]
async fn an_append_waits_for_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let (store, stream) = store(&path, Duration::from_secs(60)).await;
    let held = Held::take(Path::new(PROGRAM), &path).await.unwrap();
    let mut append = store.append(&stream, Expected::Exact(0), vec![event()]);
    // As long as it is held, nothing comes of it.
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut append).await.is_err());
    held.release().await.unwrap();
    assert_eq!(append.await.unwrap().version, 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_append_that_has_waited_long_enough_is_surely_not_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let (store, stream) = store(&path, Duration::from_millis(50)).await;
    let held = Held::take(Path::new(PROGRAM), &path).await.unwrap();
    let sent = event();
    let error = store.append(&stream, Expected::Exact(0), vec![sent.clone()]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)) && error.is_retryable(), "{error:?}");
    assert_eq!(store.stream_version(&stream).await.unwrap(), 0, "reads go on");
    held.release().await.unwrap();
    let appended = store.append(&stream, Expected::Exact(0), vec![sent]).await.unwrap();
    assert!(appended.version == 1 && !appended.duplicate);
    store.close().await.unwrap();
}

/// Opening has to write only if the durability changes; then it says that it cannot, and leaves no lock behind.
#[tokio::test]
async fn a_store_opens_beside_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let (first, stream) = store(&path, Duration::from_millis(50)).await;
    first.close().await.unwrap();
    let held = Held::take(Path::new(PROGRAM), &path).await.unwrap();
    let options = || SqliteOptions::new().busy_timeout(Duration::from_millis(50));
    let beside = options().open(&path).await.unwrap();
    assert_eq!(beside.stream_version(&stream).await.unwrap(), 0);
    beside.close().await.unwrap();
    let other = || options().durability(Durability::ProcessCrash).open(&path);
    let error = other().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    held.release().await.unwrap();
    let switched = other().await.unwrap();
    assert_eq!(switched.append_batch(&stream, Expected::Any, vec![event()]).await.unwrap(), 1);
    switched.close().await.unwrap();
}
