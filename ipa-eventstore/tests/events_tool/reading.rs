//! `ls`, `cat` and `stat`, beside a writer and without one.

use ipa_eventstore::{EventStore, Expected, NewEvent, Snapshot, StreamType};
use serde_json::{Value, json};

use crate::tool::{Place, events, field, id, stream, versions};

#[tokio::test]
async fn ls_lists_streams_by_name() {
    let place = Place::with(&[("b", 2), ("a", 0), ("c", 12)]).await;
    let store = place.open().await;
    store.start_stream(&StreamType::new("tenant").unwrap(), Some(id("d\n")), events(1)).await.unwrap();
    store.close().await.unwrap();

    let text = place.ok(&["ls", "events.db"]);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "TYPE", "VERSION", "UPDATED"]);
    let first_three: Vec<_> = rows[1..].iter().map(|row| [row[0], row[1], row[2]]).collect();
    assert_eq!(
        first_three,
        [["a", "task", "0"], ["b", "task", "2"], ["c", "task", "12"], ["d\\n", "tenant", "1"]]
    );
    let ends: Vec<_> =
        text.lines().map(|line| line.find(" 20").unwrap_or(line.find("  UPDATED").unwrap_or(0))).collect();
    assert!(ends.iter().all(|end| *end > 0), "{text}");

    let names = |words: &[&str]| -> Vec<String> {
        let lines = place.json(&[&["ls", "events.db"], words].concat());
        field(&lines, "name").into_iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&[]), ["a", "b", "c", "d\n"]);
    assert_eq!(names(&["--type", "task"]), ["a", "b", "c"]);
    assert_eq!(names(&["--type", "none"]), [""; 0]);
    assert_eq!(names(&["--after", "a", "--max", "2"]), ["b", "c"]);
    assert_eq!(names(&["--max", "0"]), [""; 0]);
    let line = &place.json(&["ls", "events.db", "--max", "1"])[0];
    let created = line["created_at"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.len() == "2026-01-02T03:04:05.678901Z".len(), "{created}");
    assert_eq!(line["created_at"], line["updated_at"]);
}

#[tokio::test]
async fn cat_prints_events() {
    let place = Place::with(&[("a", 5), ("empty", 0)]).await;
    let store = place.open().await;
    let last = NewEvent::json("odd", &"\u{9b}[2J")
        .unwrap()
        .actor("ann\u{1b}")
        .correlation("r-9")
        .metadata(&json!({"host": "a1"}))
        .unwrap()
        .schema_version(2);
    store.append(&id("a"), Expected::Any, vec![last.clone()]).await.unwrap();
    store.close().await.unwrap();

    let text = place.ok(&["cat", "events.db", "a"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6);
    assert!(lines[0].starts_with("1  20") && lines[0].ends_with("Z  e1  {\"n\":1}"), "{text}");
    let end = "  odd  \"\\u009b[2J\"  actor=ann\\u{1b} correlation=r-9 metadata={\"host\":\"a1\"} schema=2";
    assert!(lines[5].ends_with(end), "{text}");
    assert_eq!(place.ok(&["cat", "events.db", "empty"]), "");

    let found = |words: &[&str]| versions(&place.json(&[&["cat", "events.db", "a"], words].concat()));
    assert_eq!(found(&[]), [1, 2, 3, 4, 5, 6]);
    assert_eq!(found(&["--after", "2", "--before", "5"]), [3, 4]);
    assert_eq!(found(&["--backward", "--max", "2"]), [6, 5]);
    assert_eq!(found(&["--type", "e2", "--type", "odd"]), [2, 6]);
    assert_eq!(found(&["--max", "0"]), [0; 0]);

    let line = &place.json(&["cat", "events.db", "a", "--after", "5"])[0];
    assert_eq!(line["id"], last.id.to_string());
    let fields = ["stream", "type", "schema_version", "actor", "correlation", "metadata", "data"];
    let values = fields.map(|name| line[name].clone());
    let expected = json!(["a", "odd", 2, "ann\u{1b}", "r-9", {"host": "a1"}, "\u{9b}[2J"]);
    assert_eq!(Value::from(values.to_vec()), expected);
    assert!(line.get("causation").is_none());
}

#[tokio::test]
async fn cat_goes_through_long_streams() {
    let place = Place::with(&[("a", 2500)]).await;
    let all: Vec<u64> = (1..=2500).collect();
    assert_eq!(versions(&place.json(&["cat", "events.db", "a"])), all);
    let backward: Vec<u64> = all.iter().rev().copied().collect();
    assert_eq!(versions(&place.json(&["cat", "events.db", "a", "--backward"])), backward);
    assert_eq!(versions(&place.json(&["cat", "events.db", "a", "--max", "2001"])), all[..2001]);
    assert_eq!(place.ok(&["cat", "events.db", "a"]).lines().count(), 2500);
}

#[tokio::test]
async fn stat_counts() {
    let place = Place::with(&[("a", 3), ("b", 5), ("gone", 2)]).await;
    let store = place.open().await;
    store.save_snapshot(&id("b"), Snapshot::json(4, 1, &()).unwrap()).await.unwrap();
    store.delete_stream(&id("gone")).await.unwrap();
    store.start_stream(&StreamType::new("tenant").unwrap(), Some(id("c")), vec![]).await.unwrap();
    store.close().await.unwrap();

    let stat = &place.json(&["stat", "events.db"])[0];
    assert_eq!((&stat["streams"], &stat["events"], &stat["snapshots"]), (&json!(3), &json!(8), &json!(1)));
    assert_eq!(stat["last_position"], format!("{:040x}", 8));
    assert_eq!((&stat["schema"], &stat["durability"]), (&json!(1), &json!("full")));
    assert_eq!(stat["file_bytes"], place.path().metadata().unwrap().len());
    let pages = stat["pages"].as_u64().unwrap();
    assert_eq!(stat["page_size"].as_u64().unwrap() * pages, stat["file_bytes"].as_u64().unwrap());
    assert_eq!(stat["log_bytes"], 0);
    let largest = json!([{"stream": "b", "events": 5}, {"stream": "a", "events": 3}]);
    assert_eq!(stat["largest"], largest);
    let types =
        json!([{"type": "task", "streams": 2, "events": 8}, {"type": "tenant", "streams": 1, "events": 0}]);
    assert_eq!(stat["stream_types"], types);
    let of_events = json!([
        {"type": "e1", "events": 2},
        {"type": "e2", "events": 2},
        {"type": "e3", "events": 2},
        {"type": "e4", "events": 1},
        {"type": "e5", "events": 1},
    ]);
    assert_eq!(stat["event_types"], of_events);

    let text = place.ok(&["stat", "events.db"]);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [vec!["events", "8"], vec!["durability", "full"], vec!["tenant", "1", "0"], vec!["b", "5"]] {
        assert!(rows.contains(&row), "{row:?}: {text}");
    }
}

/// What only reads works beside a writer, which afterwards goes on as before.
#[tokio::test]
async fn beside_a_running_writer() {
    let place = Place::new();
    let writer = place.open().await;
    let a = stream(&writer, "a", 3).await;
    for (round, version) in (4..=6).enumerate() {
        let target = format!("backup-{round}.db");
        let export = format!("export-{round}.jsonl");
        place.ok(&["ls", "events.db"]);
        assert_eq!(place.json(&["cat", "events.db", "a"]).len() as u64, version - 1);
        assert_eq!(place.json(&["stat", "events.db"])[0]["events"], version - 1);
        place.ok(&["check", "events.db"]);
        place.ok(&["backup", "events.db", &target]);
        place.ok(&["export", "events.db", &export]);
        let appended = writer.append(&a, Expected::Exact(version - 1), events(1)).await.unwrap();
        assert_eq!(appended.version, version);
    }
    writer.close().await.unwrap();
    let files: Vec<String> = place.files().into_iter().filter(|name| name.starts_with("events.db")).collect();
    assert_eq!(files, ["events.db", "events.db.lock"], "the writer was the last to close");
    place.open().await.close().await.unwrap();
}

/// A store that is closed stays as it is, to the byte, with nothing beside it.
#[tokio::test]
async fn reading_leaves_nothing_behind() {
    let place = Place::with(&[("a", 3)]).await;
    std::fs::remove_file(place.beside("events.db.lock")).unwrap();
    let before = std::fs::read(place.path()).unwrap();
    place.ok(&["ls", "events.db"]);
    place.ok(&["cat", "events.db", "a"]);
    place.ok(&["stat", "events.db"]);
    place.ok(&["check", "events.db"]);
    place.ok(&["backup", "events.db", "copy.db"]);
    place.ok(&["export", "events.db", "export.jsonl"]);
    place.fails(&["cat", "events.db", "none"], 4);
    assert_eq!(place.files(), ["copy.db", "events.db", "export.jsonl"]);
    assert!(std::fs::read(place.path()).unwrap() == before);
}

/// The log of a writer that was killed is read, and left for the writer's next open to check.
#[tokio::test]
async fn the_log_of_a_killed_writer_stays() {
    let place = Place::new();
    let writer = place.open().await;
    stream(&writer, "a", 3).await;
    // As the files stand now, a kill would leave them.
    let killed = Place::new();
    for name in ["events.db", "events.db-wal"] {
        std::fs::copy(place.beside(name), killed.beside(name)).unwrap();
    }
    let before = ["events.db", "events.db-wal"].map(|name| std::fs::read(killed.beside(name)).unwrap());
    assert!(!before[1].is_empty());
    assert_eq!(versions(&killed.json(&["cat", "events.db", "a"])), [1, 2, 3]);
    killed.ok(&["check", "events.db"]);
    let after = ["events.db", "events.db-wal"].map(|name| std::fs::read(killed.beside(name)).unwrap());
    assert!(before == after);
    writer.close().await.unwrap();
}
