//! Stores of every schema that was ever released, as files in the repository: each opens, holds what was put into it, and goes on.
//!
//! A new schema needs a fixture of its own, written by `IPA_WRITE_FIXTURES=1 cargo test -p ipa-eventstore --test store fixtures`
//! before anybody has stores of it; those that are there are never written again.

use std::path::PathBuf;

use ipa_eventstore::{
    EventId, EventStore, Expected, Json, NewEvent, ReadAll, ReadStream, Snapshot, SqliteEventStore,
    StoreError,
};
use uuid::Uuid;

use super::Place;
use crate::conformance::{events, id, kind, versions};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/store/fixtures")
}

/// What every fixture holds in stream "full", beside an empty stream and the gap that a deleted one left.
fn content() -> Vec<NewEvent> {
    let event = |n: u128, event_type: &str, data: &str| {
        let data = Json::parse(data).unwrap();
        NewEvent::new(event_type, data).unwrap().id(EventId::from(Uuid::from_u128(n)))
    };
    let mut events = vec![
        event(1, "created", r#"{"n":  1.0, "long": 12345678901234567890123}"#)
            .actor("ann")
            .causation("command-1")
            .correlation("request-1")
            .schema_version(3)
            .metadata(&serde_json::json!({"host": "a1"}))
            .unwrap(),
        event(2, "renamed", r#""日本 \u0000 é""#),
        event(3, "cleared", "null"),
    ];
    events.extend((4..40).map(|n| event(n, "grown", &format!("[{n}, \"{}\"]", "x".repeat(200)))));
    events
}

async fn write(path: &std::path::Path) -> SqliteEventStore {
    let store = SqliteEventStore::open(path).await.unwrap();
    let doomed = id("doomed");
    store.append(&doomed, Expected::NoStream(kind("task")), events(2)).await.unwrap();
    store.delete_stream(&doomed).await.unwrap();
    store.append(&id("empty"), Expected::NoStream(kind("other")), vec![]).await.unwrap();
    store.append(&id("full"), Expected::NoStream(kind("task")), content()).await.unwrap();
    store.save_snapshot(&id("full"), Snapshot::json(30, 7, &["state"]).unwrap()).await.unwrap();
    store
}

/// Writes the fixtures of the present schema: one of a store that was closed, one of a store that was killed.
#[tokio::test]
async fn the_present_schema_has_its_fixtures() {
    let place = Place::new();
    let store = write(&place.path()).await;
    let schema: i64 = place.raw().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let fixture = |ending: &str| folder().join(format!("schema-{schema}{ending}"));
    if std::env::var_os("IPA_WRITE_FIXTURES").is_some() && !fixture(".db").exists() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::copy(place.path(), fixture("-killed.db")).unwrap();
        std::fs::copy(place.beside("events.db-wal"), fixture("-killed.db-wal")).unwrap();
        store.close().await.unwrap();
        std::fs::copy(place.path(), fixture(".db")).unwrap();
    } else {
        store.close().await.unwrap();
    }
    for ending in [".db", "-killed.db", "-killed.db-wal"] {
        assert!(fixture(ending).is_file(), "{} is missing: see this module", fixture(ending).display());
    }
}

/// A store of any released schema opens, is brought to the present one, and holds what was put into it.
#[tokio::test]
async fn every_released_schema_opens() {
    let mut opened = 0;
    for entry in folder().read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "db") {
            continue;
        }
        let place = Place::new();
        std::fs::copy(&path, place.path()).unwrap();
        let mut log = path.clone().into_os_string();
        log.push("-wal");
        if PathBuf::from(&log).exists() {
            std::fs::copy(log, place.beside("events.db-wal")).unwrap();
        }
        let store = place.open().await;
        let (full, empty) = (id("full"), id("empty"));
        let read = store.read_stream(&full, ReadStream::new()).await.unwrap();
        let wanted = content();
        assert_eq!(versions(&read), (1..=wanted.len() as u64).collect::<Vec<_>>(), "{}", path.display());
        for (read, wanted) in read.iter().zip(&wanted) {
            let read = read.clone();
            assert_eq!(
                (read.id, &read.event_type, &read.data),
                (wanted.id, &wanted.event_type, &wanted.data)
            );
            assert_eq!((read.actor, read.causation), (wanted.actor.clone(), wanted.causation.clone()));
            assert_eq!(
                (read.correlation, read.metadata),
                (wanted.correlation.clone(), wanted.metadata.clone())
            );
            assert_eq!(read.schema_version, wanted.schema_version);
        }
        assert_eq!(store.stream_info(&full).await.unwrap().stream_type, kind("task"));
        assert_eq!(store.stream_info(&empty).await.unwrap().version, 0);
        assert!(matches!(store.stream_info(&id("doomed")).await, Err(StoreError::StreamNotFound { .. })));
        let snapshot = store.load_snapshot(&full).await.unwrap().unwrap();
        assert_eq!(snapshot, Snapshot::json(30, 7, &["state"]).unwrap());
        // And it goes on: a retry is known, positions rise, the deleted ones are not used again.
        assert!(store.append(&full, Expected::Exact(0), content()).await.unwrap().duplicate);
        let last = read.last().unwrap().position;
        let next = store.append(&full, Expected::Exact(read.len() as u64), events(1)).await.unwrap();
        assert!(next.position.unwrap() > last);
        assert_eq!(store.read_all(ReadAll::new()).await.unwrap().len(), wanted.len() + 1);
        store.close().await.unwrap();
        opened += 1;
    }
    assert!(opened >= 2);
}
