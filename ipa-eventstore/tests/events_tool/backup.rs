//! `backup`: a store like any other, of one moment, or nothing.

use std::sync::mpsc;

use ipa_eventstore::{EventStore, Expected, ReadAll, Snapshot, SqliteEventStore, StoreError};
use serde_json::json;
use tokio::sync::oneshot;

use crate::tool::{Place, events, id, stream};

#[tokio::test]
async fn a_copy_is_a_store() {
    let place = Place::with(&[("a", 50), ("gone", 5)]).await;
    let store = place.open().await;
    store.save_snapshot(&id("a"), Snapshot::json(4, 1, &7).unwrap()).await.unwrap();
    store.delete_stream(&id("gone")).await.unwrap();
    let all = store.read_all(ReadAll::new()).await.unwrap();
    store.close().await.unwrap();

    let made = &place.json(&["backup", "events.db", "copy.db"])[0];
    let target = place.beside("copy.db").canonicalize().unwrap();
    assert_eq!(made["target"], json!(target));
    assert_eq!(made["bytes"], target.metadata().unwrap().len());
    assert_eq!(place.files(), ["copy.db", "events.db", "events.db.lock"]);
    let text = place.ok(&["backup", "events.db", "second.db"]);
    assert!(text.contains("second.db: ") && text.ends_with(" KiB, checked\n"), "{text}");

    place.ok(&["check", "copy.db"]);
    let copy = SqliteEventStore::open(&target).await.unwrap();
    assert_eq!(copy.read_all(ReadAll::new()).await.unwrap(), all);
    assert_eq!(copy.load_snapshot(&id("a")).await.unwrap(), Some(Snapshot::json(4, 1, &7).unwrap()));
    let next = copy.append(&id("a"), Expected::Exact(50), events(1)).await.unwrap();
    assert_eq!(
        next.position.unwrap().parts(),
        (0, 0, 56),
        "positions of what was deleted are not used again"
    );
    copy.close().await.unwrap();
}

/// Under writes: the copy is a prefix of what is stored, with whole appends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_beside_a_busy_writer_is_a_prefix() {
    let place = Place::new();
    let writer = place.open().await;
    let a = stream(&writer, "a", 3000).await;
    let b = stream(&writer, "b", 3).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let store = writer.clone();
    let appending = tokio::spawn(async move {
        let mut stopped = stopped;
        while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            store.append(&a, Expected::Any, events(3)).await.unwrap();
            store.append(&b, Expected::Any, events(3)).await.unwrap();
        }
    });
    for round in 0..5 {
        place.ok(&["backup", "events.db", &format!("copy-{round}.db")]);
    }
    stop.send(()).unwrap();
    appending.await.unwrap();
    let all = writer.read_all(ReadAll::new()).await.unwrap();
    writer.close().await.unwrap();

    let mut before = 3003;
    for round in 0..5 {
        let name = format!("copy-{round}.db");
        place.ok(&["check", &name]);
        let copy = SqliteEventStore::open(place.beside(&name)).await.unwrap();
        let copied = copy.read_all(ReadAll::new()).await.unwrap();
        assert!(all.starts_with(&copied));
        assert_eq!(copied.len() % 3, 0, "appends are whole");
        assert!(copied.len() >= before, "a later copy has what an earlier one has");
        before = copied.len();
        copy.close().await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_replaced() {
    let place = Place::with(&[("a", 3)]).await;
    place.write("copy.db", "something else");
    place.write("logged.db-wal", "the log of another store");
    place.write("killed.db.part", "half a copy");
    let files = place.files();
    for (target, named) in [
        ("copy.db", "copy.db"),
        ("logged.db", "logged.db-wal"),
        ("killed.db", "killed.db.part"),
        ("events.db", "events.db"),
    ] {
        let error = place.fails(&["backup", "events.db", target], 5);
        assert!(error.contains(&format!("/{named}: ")), "{error}");
    }
    let error = place.fails(&["backup", "events.db", "missing/copy.db"], 5);
    assert!(error.contains("check that its directory exists"), "{error}");
    assert_eq!(place.files(), files);
    assert_eq!(place.text("copy.db"), "something else");
    assert_eq!(place.text("killed.db.part"), "half a copy");
}

/// A backup that nobody waits for any more stops, and takes its draft with it.
#[tokio::test]
async fn a_dropped_backup_removes_its_draft() {
    let place = Place::with(&[("a", 100)]).await;
    let store = place.open().await;
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let (ended, has_ended) = oneshot::channel::<()>();
    let mut first = Some((begun, may_go_on));
    let progress = move |_| {
        // Dropped with this closure, when the work has ended.
        let _ended = &ended;
        if let Some((begun, may_go_on)) = first.take() {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
        }
    };
    let target = place.beside("copy.db");
    let backup = tokio::spawn({
        let (store, target) = (store.clone(), target.clone());
        async move { store.backup_with(&target, progress).await }
    });
    has_begun.await.unwrap();
    assert!(place.beside("copy.db.part").exists());
    backup.abort();
    assert!(backup.await.unwrap_err().is_cancelled());
    go_on.send(()).unwrap();
    assert!(has_ended.await.is_err());
    assert_eq!(place.files(), ["events.db", "events.db-shm", "events.db-wal", "events.db.lock"]);
    store.backup_to(&target).await.unwrap();
    store.close().await.unwrap();
    let error = store.backup_to(place.beside("late.db")).await.unwrap_err();
    assert!(matches!(error, StoreError::Closed), "{error:?}");
}
