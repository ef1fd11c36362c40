//! `check`: each kind of damage is found, named, and nothing else is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ipa_eventstore::{EventStore, Expected, Snapshot};
use serde_json::json;

use crate::tool::{Place, Ran, events, id, lines, stream};

async fn store() -> Place {
    let place = Place::with(&[("a", 5), ("b", 3)]).await;
    let store = place.open().await;
    store.save_snapshot(&id("a"), Snapshot::json(4, 1, &()).unwrap()).await.unwrap();
    store.close().await.unwrap();
    place
}

#[tokio::test]
async fn a_sound_store() {
    let place = store().await;
    let text = place.ok(&["check", "events.db"]);
    assert!(text.ends_with("events.db is sound: 2 streams, 8 events, 1 snapshots\n"), "{text}");
    let found = &place.json(&["check", "events.db"])[0];
    assert_eq!((&found["sound"], &found["report"]["findings"]), (&json!(true), &json!([])));
    assert_eq!(found["report"]["events"], 8);
}

/// Whether a store is sound does not depend on whether anybody reads on.
#[tokio::test]
async fn the_verdict_stands_though_nobody_reads_it() {
    let place = store().await;
    let code = |words: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        place.command(words).stdout(writer).status().unwrap().code()
    };
    let both = || [code(&["check", "events.db"]), code(&["check", "events.db", "--json"])];
    assert_eq!(both(), [Some(0); 2]);
    place.raw().execute_batch("DELETE FROM events WHERE version = 5").unwrap();
    assert_eq!(both(), [Some(1); 2]);
}

/// A path that is not UTF-8 has no text of its own, and is shown as near as can be.
#[tokio::test]
async fn a_path_that_is_no_text_is_shown_in_json() {
    let place = store().await;
    let odd = || OsStr::from_bytes(b"odd\xff.db");
    for verb in [["backup", "events.db"].as_slice(), &["check"]] {
        let ran = Ran::from(place.command(verb).args([odd(), OsStr::new("--json")]).output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        assert!(lines(&ran.stdout)[0].to_string().contains("odd\u{fffd}.db"), "{ran:?}");
    }
}

/// A statement that damages a store, and each finding's area, stream, version, and a part of its message.
type Damage<'a> = (&'a str, &'a [(&'a str, Option<&'a str>, Option<u64>, &'a str)]);

#[tokio::test]
async fn damage_is_found_and_named() {
    let a = Some("a");
    let damages: &[Damage<'_>] = &[
        (
            "DELETE FROM events WHERE version = 2 AND stream = 1",
            &[("events", a, Some(2), "version 3 is found where 2 is due")],
        ),
        (
            "DELETE FROM events WHERE version = 5",
            &[("streams", a, Some(5), "the stream is at version 5, its last event is 4")],
        ),
        (
            "UPDATE streams SET version = 2 WHERE name = 'b'",
            &[("streams", Some("b"), Some(4), "the stream is at version 2, its last event is 3")],
        ),
        ("UPDATE events SET data = '{' WHERE version = 4", &[("events", a, Some(4), "not JSON")]),
        ("UPDATE events SET metadata = 'no json' WHERE version = 4", &[("events", a, Some(4), "not JSON")]),
        ("UPDATE events SET event_id = x'00' WHERE version = 4", &[("events", a, Some(4), "not a UUID")]),
        ("UPDATE events SET type = ' ' WHERE version = 4", &[("events", a, Some(4), "blank")]),
        (
            "UPDATE events SET schema_version = -1 WHERE version = 4",
            &[("events", a, Some(4), "out of range")],
        ),
        (
            "UPDATE snapshots SET version = 6",
            &[("snapshots", a, Some(6), "the snapshot is of version 6, the stream is at 5")],
        ),
        ("UPDATE snapshots SET data = '['", &[("snapshots", a, Some(4), "not JSON")]),
        ("UPDATE streams SET name = ' ' WHERE name = 'b'", &[("streams", None, None, "blank")]),
        (
            "DELETE FROM streams WHERE name = 'a'",
            &[
                ("references", None, None, "row 1 of snapshots"),
                ("references", None, None, "row 1 of events refers to a row of streams that is not there"),
                ("references", None, None, "row 2 of events"),
                ("references", None, None, "row 3 of events"),
                ("references", None, None, "row 4 of events"),
                ("references", None, None, "row 5 of events"),
            ],
        ),
        (
            "UPDATE sqlite_sequence SET seq = 7 WHERE name = 'events'",
            &[("streams", None, None, "the last number used in events is 8, but 7 is recorded")],
        ),
        (
            // Two events of a stream in the wrong order of positions.
            "UPDATE events SET version = 9 WHERE stream = 2 AND version = 1;
             UPDATE events SET version = 1 WHERE stream = 2 AND version = 2;
             UPDATE events SET version = 2 WHERE stream = 2 AND version = 9",
            &[
                ("events", Some("b"), Some(1), "version 2 is found where 1 is due"),
                ("events", Some("b"), Some(3), "version 1 is found where 3 is due"),
                ("events", Some("b"), Some(2), "version 3 is found where 2 is due"),
            ],
        ),
    ];
    for (sql, expected) in damages {
        let place = store().await;
        let raw = place.raw();
        raw.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        raw.execute_batch(sql).unwrap();
        drop(raw);
        let ran = place.run(&["check", "events.db", "--json"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{sql}");
        let found = &lines(&ran.stdout)[0];
        assert_eq!(found["sound"], false);
        let findings = found["report"]["findings"].as_array().unwrap();
        assert_eq!(findings.len(), expected.len(), "{sql}: {findings:?}");
        for (found, (area, stream, version, message)) in findings.iter().zip(*expected) {
            let place = (&found["area"], &found["stream"], &found["version"]);
            assert_eq!(place, (&json!(area), &json!(stream), &json!(version)), "{sql}: {found}");
            assert!(found["message"].as_str().unwrap().contains(message), "{sql}: {found}");
        }
        let ran = place.run(&["check", "events.db"]);
        assert_eq!((ran.code, ran.stdout.lines().count()), (1, expected.len() + 1), "{sql}: {ran:?}");
        assert!(ran.stdout.lines().last().unwrap().contains("is damaged"), "{ran:?}");
    }
}

/// A page that was overwritten is found by SQLite's own check, and the rest is looked at all the same.
#[tokio::test]
async fn damaged_pages() {
    let place = Place::with(&[("a", 2000)]).await;
    let mut bytes = std::fs::read(place.path()).unwrap();
    let middle = bytes.len() / 4096 / 2 * 4096;
    bytes[middle..middle + 2048].fill(0xAA);
    place.write("events.db", bytes);
    let ran = place.run(&["check", "events.db", "--json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""), "{ran:?}");
    let report = &lines(&ran.stdout)[0]["report"];
    assert_eq!(report["findings"][0]["area"], "pages", "{report}");
    assert_eq!(report["streams"], 1);
    let error = place.fails(&["backup", "events.db", "copy.db"], 1);
    assert!(error.contains("damaged"), "{error}");
    assert!(!place.files().iter().any(|name| name.starts_with("copy")), "{:?}", place.files());
}

/// What a writer writes meanwhile is no damage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_busy_writer() {
    let place = Place::new();
    let writer = place.open().await;
    let a = stream(&writer, "a", 0).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let appending = tokio::spawn(async move {
        let mut stopped = stopped;
        while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            writer.append(&a, Expected::Any, events(5)).await.unwrap();
        }
        writer.close().await.unwrap();
    });
    for _ in 0..10 {
        place.ok(&["check", "events.db"]);
    }
    stop.send(()).unwrap();
    appending.await.unwrap();
}
