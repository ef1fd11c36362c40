//! `export`: every field, in the order of positions, to the byte.

use std::io::Read;
use std::process::Stdio;

use ipa_eventstore::transfer::Export;
use ipa_eventstore::{EventStore, Expected, Json, NewEvent, Snapshot, StreamType};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::tool::{Place, events, id, lines, stream};

/// A store with all that an event can have; also used by the imports.
pub async fn store() -> Place {
    let place = Place::new();
    let store = place.open().await;
    let gone = stream(&store, "gone", 2).await;
    let (a, b) = (stream(&store, "a", 2).await, stream(&store, "b é\n", 1).await);
    let json = |text: &str| Json::parse(text).unwrap();
    let mut odd = NewEvent::new("odd", json("{\"n\":  1.0, \"n\": 123456789012345678901234567890}"))
        .unwrap()
        .actor("ann")
        .causation("c")
        .correlation("r")
        .schema_version(7);
    odd.metadata = Some(json("null"));
    let mut lines = NewEvent::new("lines", json("{\n  \"a\": [\r\n1]\n}")).unwrap();
    lines.metadata = Some(json("[\n]"));
    let deep = NewEvent::new("deep", json(&format!("{}{}", "[".repeat(100), "]".repeat(100)))).unwrap();
    store.append(&a, Expected::Any, vec![odd, lines]).await.unwrap();
    store.append(&b, Expected::Any, vec![deep]).await.unwrap();
    store.append(&a, Expected::Any, events(1)).await.unwrap();
    store.start_stream(&StreamType::new("tenant").unwrap(), Some(id("empty")), vec![]).await.unwrap();
    store.save_snapshot(&a, Snapshot::new(3, 2, json("{\"s\":\n1}"))).await.unwrap();
    store.delete_stream(&gone).await.unwrap();
    store.close().await.unwrap();
    place
}

#[tokio::test]
async fn everything_in_the_order_of_positions() {
    let place = store().await;
    assert_eq!(place.ok(&["export", "events.db", "export.jsonl"]), "3 streams, 7 events, 1 snapshots\n");
    let text = place.text("export.jsonl");
    let found = lines(&text);
    assert_eq!(found[0], json!({"format": "ipa-events", "version": 1}));
    let order: Vec<String> = found[1..]
        .iter()
        .map(|line| {
            let (kind, fields) = line.as_object().unwrap().iter().next().unwrap();
            let name = fields.get("name").or(fields.get("stream")).unwrap_or(&Value::Null);
            format!("{kind} {name} {}", fields.get("version").unwrap_or(&Value::Null))
        })
        .collect();
    let expected = [
        "stream \"a\" null",
        "event \"a\" 1",
        "event \"a\" 2",
        "stream \"b é\\n\" null",
        "event \"b é\\n\" 1",
        "event \"a\" 3",
        "event \"a\" 4",
        "event \"b é\\n\" 2",
        "event \"a\" 5",
        "stream \"empty\" null",
        "snapshot \"a\" 3",
    ];
    assert_eq!(order[..11], expected);
    assert_eq!(found.last().unwrap(), &json!({"end": {"streams": 3, "events": 7, "snapshots": 1}}));
    assert_eq!(found.len(), 13);

    let line = |n: usize| text.lines().nth(n).unwrap();
    assert!(line(6).ends_with(
        "\"actor\":\"ann\",\"causation\":\"c\",\"correlation\":\"r\",\"metadata\":null,\
         \"data\":{\"n\":  1.0, \"n\": 123456789012345678901234567890}}}"
    ));
    assert!(
        line(7).ends_with("\"metadata_text\":\"[\\n]\",\"data_text\":\"{\\n  \\\"a\\\": [\\r\\n1]\\n}\"}}")
    );
    assert_eq!(
        found[11]["snapshot"],
        json!({"stream": "a", "version": 3, "schema": 2, "data_text": "{\"s\":\n1}"})
    );
    let event = &found[2]["event"];
    assert_eq!(event["position"], format!("{:040x}", 3), "the first two were deleted");
    assert!(event["recorded_at"].as_str().unwrap().ends_with('Z'));

    // On standard output there is nothing else.
    let ran = place.run(&["export", "events.db", "-"]);
    assert_eq!((ran.code, ran.stdout == text), (0, true), "{ran:?}");
    assert_eq!(ran.stderr, "3 streams, 7 events, 1 snapshots\n");
    let summary = place.json(&["export", "events.db", "second.jsonl"]);
    assert_eq!(summary, [json!({"streams": 3, "events": 7, "snapshots": 1, "deleted_meanwhile": 0})]);
    assert_eq!(place.text("second.jsonl"), text);
}

#[tokio::test]
async fn some_streams() {
    let place = store().await;
    let end = |words: &[&str]| {
        let ran = place.run(&[&["export", "events.db"], words].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        let end = lines(&ran.stdout).last().unwrap()["end"].clone();
        ["streams", "events", "snapshots"].map(|name| end[name].as_u64().unwrap())
    };
    assert_eq!(end(&["--stream", "a"]), [1, 5, 1]);
    assert_eq!(end(&["--stream", "b é\n", "--stream", "empty"]), [2, 2, 0]);
    assert_eq!(end(&["--type", "tenant"]), [1, 0, 0]);
    assert_eq!(end(&["--type", "task"]), [2, 7, 1]);
    assert_eq!(end(&["--type", "tenant", "--stream", "a"]), [0, 0, 0]);
}

#[tokio::test]
async fn nothing_is_replaced() {
    let place = store().await;
    place.write("export.jsonl", "something else");
    let error = place.fails(&["export", "events.db", "export.jsonl"], 5);
    assert!(error.contains("export.jsonl exists"), "{error}");
    assert_eq!(place.text("export.jsonl"), "something else");
    place.fails(&["export", "events.db", "missing/export.jsonl"], 5);
}

/// An event that is missing ends an export, as it does a read: what was exported would not be what the store had.
#[tokio::test]
async fn a_missing_event_is_damage() {
    for (damage, missing) in [
        ("DELETE FROM events WHERE version = 1 AND stream = 2", "found version 2 where 1 is due"),
        ("DELETE FROM events WHERE version = 3 AND stream = 2", "found version 4 where 3 is due"),
        ("DELETE FROM events WHERE version = 5", "the stream is at version 5, but 5 is missing"),
    ] {
        let place = store().await;
        place.raw().execute_batch(damage).unwrap();
        let error = place.fails(&["export", "events.db", "export.jsonl"], 1);
        assert!(
            error.contains("damaged at stream a, version") && error.contains(missing),
            "{damage}: {error}"
        );
    }
}

/// A stream that is created again meanwhile is another one, whether it had a snapshot or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_created_again_meanwhile_counts_as_deleted() {
    let place = Place::with(&[("a", 1500), ("b", 1)]).await;
    let store = place.open().await;
    let (kind, mut again) = (StreamType::new("task").unwrap(), true);
    let export = Export::new(&store).run(std::io::sink(), |_| {
        if std::mem::take(&mut again) {
            tokio::task::block_in_place(|| {
                Handle::current().block_on(async {
                    store.delete_stream(&id("a")).await.unwrap();
                    store.start_stream(&kind, Some(id("a")), events(2)).await.unwrap();
                });
            });
        }
    });
    let exported = export.await.unwrap();
    assert_eq!((exported.streams, exported.events, exported.deleted_meanwhile), (2, 1001, 1));
    store.close().await.unwrap();
}

/// A reader that does not read holds up no interrupt: one is enough, for events as they are and for those to come.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it_though_nobody_reads() {
    let place = Place::new();
    let store = place.open().await;
    let name = stream(&store, "task-1", 0).await;
    // More than a pipe holds: whoever has read the first of it has the tool wait within it.
    let payload = Json::parse(format!("{:?}", "x".repeat(1 << 18))).unwrap();
    store.append(&name, Expected::Any, vec![NewEvent::new("large", payload).unwrap()]).await.unwrap();
    store.close().await.unwrap();
    for words in [&["export", "events.db"][..], &["tail", "events.db", "--from-start"]] {
        for signal in [Signal::INT, Signal::TERM] {
            let mut child =
                place.command(words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let mut first = [0];
            child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
            kill_process(Pid::from_child(&child), signal).unwrap();
            let ended = tokio::task::spawn_blocking(move || (child.wait().unwrap().code(), child));
            assert_eq!(ended.await.unwrap().0, Some(130), "{words:?}");
        }
    }
}
