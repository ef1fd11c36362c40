//! `import`: what was exported, once, or an error that names the line.

use ipa_eventstore::{EventStore, Expected, SqliteEventStore};
use serde_json::{Value, json};

use crate::export;
use crate::tool::{Place, events, id, lines, stream};

/// The lines of an export without what the store decides.
fn kept(text: &str) -> Vec<Value> {
    let mut lines = lines(text);
    for line in &mut lines {
        for (_, fields) in line.as_object_mut().unwrap() {
            if let Some(fields) = fields.as_object_mut() {
                for name in ["position", "recorded_at", "created_at"] {
                    fields.remove(name);
                }
            }
        }
    }
    lines
}

fn export_of(place: &Place, store: &str) -> String {
    let ran = place.run(&["export", store]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout
}

#[tokio::test]
async fn an_export_imported_and_exported_is_the_same() {
    let place = export::store().await;
    let text = export_of(&place, "events.db");
    place.write("export.jsonl", &text);
    let summary = place.ok(&["import", "copy.db", "export.jsonl"]);
    let line =
        "imported: 3 streams, 7 events, 1 snapshots; there already: 0 streams, 0 events, 0 snapshots\n";
    assert_eq!(summary, line);
    let copy = export_of(&place, "copy.db");
    assert_eq!(kept(&copy), kept(&text));
    // As text too: payloads are what they were, to the byte.
    let payloads = |text: &str| -> Vec<String> {
        let after = |line: &str| line.split_once("\"data").map(|(_, data)| data.to_owned());
        text.lines().filter_map(after).collect()
    };
    assert_eq!(payloads(&copy), payloads(&text));
    assert_eq!(payloads(&copy).len(), 8);
    assert_eq!(lines(&copy)[2]["event"]["position"], format!("{:040x}", 1), "new positions");
    place.ok(&["check", "copy.db"]);
    let stat = &place.json(&["stat", "copy.db"])[0];
    assert_eq!(stat["durability"], "full", "all of it is synced in the end");
    assert_eq!(place.files().len(), 5, "{:?}", place.files());

    // Again, from standard input: nothing changes.
    let mut again = place.command(&["import", "copy.db", "--json"]);
    again.stdin(std::fs::File::open(place.beside("export.jsonl")).unwrap());
    let output = again.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let skipped = json!({
        "streams": 0, "events": 0, "snapshots": 0,
        "streams_skipped": 3, "events_skipped": 7, "snapshots_skipped": 1,
    });
    assert_eq!(lines(&String::from_utf8(output.stdout).unwrap()), [skipped]);
    assert_eq!(export_of(&place, "copy.db"), copy);
}

/// A file that is cut at any line or within one is imported up to there, and by the next import whole.
#[tokio::test]
async fn an_import_that_was_cut_short_is_run_again() {
    let place = export::store().await;
    let text = export_of(&place, "events.db");
    place.write("export.jsonl", &text);
    let count = text.lines().count();
    for whole in [1, 3, 5, 8, 11, count - 1] {
        let mut cut: String = text.split_inclusive('\n').take(whole).collect();
        if whole == 5 {
            cut.push_str("{\"event\":{\"stream\":\"b");
        }
        place.write("cut.jsonl", &cut);
        let ran = place.run(&["import", "copy.db", "cut.jsonl"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (5, ""), "{ran:?}");
        let place_in_file = format!("cut.jsonl: line {}, column ", whole + 1);
        assert!(ran.stderr.contains(&place_in_file) && ran.stderr.starts_with("imported: "), "{ran:?}");
        place.ok(&["check", "copy.db"]);
        if whole % 2 == 1 {
            place.ok(&["import", "copy.db", "export.jsonl"]);
            assert_eq!(kept(&export_of(&place, "copy.db")), kept(&text));
        }
        std::fs::remove_file(place.beside("copy.db")).unwrap();
    }
}

/// A later export of the same store brings what is new.
#[tokio::test]
async fn a_grown_export_brings_what_is_new() {
    let place = Place::with(&[("a", 3), ("b", 1)]).await;
    place.ok(&["export", "events.db", "first.jsonl"]);
    place.ok(&["import", "copy.db", "first.jsonl"]);
    let store = place.open().await;
    store.append(&id("b"), Expected::Any, events(2)).await.unwrap();
    store.append(&id("a"), Expected::Any, events(1500)).await.unwrap();
    stream(&store, "c", 1).await;
    store.close().await.unwrap();
    place.ok(&["export", "events.db", "second.jsonl"]);
    let done = &place.json(&["import", "copy.db", "second.jsonl", "--dry-run"])[0];
    let again = &place.json(&["import", "copy.db", "second.jsonl"])[0];
    assert_eq!(done, again, "a dry run says what an import then does");
    assert_eq!((&done["streams"], &done["events"]), (&json!(1), &json!(1503)));
    assert_eq!((&done["streams_skipped"], &done["events_skipped"]), (&json!(2), &json!(4)));
    assert_eq!(kept(&export_of(&place, "copy.db")), kept(&export_of(&place, "events.db")));
}

const HEADER: &str = r#"{"format":"ipa-events","version":1}"#;
const STREAM: &str = r#"{"stream":{"name":"a","type":"task"}}"#;

fn event(stream: &str, version: u64, id: u32) -> String {
    let id = uuid::Uuid::from_u128(id.into());
    format!(
        r#"{{"event":{{"stream":"{stream}","version":{version},"id":"{id}","type":"t","schema_version":1,"data":{{}}}}}}"#
    )
}

fn end(streams: u64, events: u64, snapshots: u64) -> String {
    format!(r#"{{"end":{{"streams":{streams},"events":{events},"snapshots":{snapshots}}}}}"#)
}

/// Every kind of line that is not of the format: an error with file, line, column and remedy.
#[test]
fn lines_that_are_broken() {
    let place = Place::new();
    let one = event("a", 1, 1);
    let with = |from: &str, to: &str| [HEADER, STREAM, &one.replace(from, to)].join("\n");
    let cases: [(String, &str, &str); 19] = [
        (String::new(), "line 1, column 1", "empty"),
        ("dear diary".to_owned(), "line 1, column 1", "expected"),
        (r#"{"format":"other","version":1}"#.to_owned(), "line 1, column 1", "the format is \"other\""),
        (r#"{"format":"ipa-events","version":2}"#.to_owned(), "line 1, column 1", "version 2"),
        (HEADER.to_owned(), "line 2, column 1", "cut short"),
        ([HEADER, STREAM, "", "{"].join("\n"), "line 4, column 1", "EOF"),
        ([HEADER, "{\"other\":1}"].join("\n"), "line 2, column 8", "unknown variant"),
        (with("\"t\"", "\" \""), "line 3, column ", "blank"),
        (with("\"version\":1", "\"version\":0"), "line 3, column ", "numbered from 1"),
        (with("\"version\":1", "\"version\":-1"), "line 3, column 35", "integer `-1`"),
        (with("\"id\":\"0", "\"id\":\"x"), "line 3, column ", "UUID"),
        (with("\"data\":{}", "\"dat\":{}"), "line 3, column ", "unknown field `dat`"),
        (with(",\"data\":{}", ""), "line 3, column ", "missing field `data`"),
        (with("\"data\":{}", "\"data\":{\"a\":}"), "line 3, column 122", "expected value"),
        (with("\"data\":{}", "\"data\":1,\"data_text\":\"1\""), "line 3, column ", "both data and data_text"),
        (with("\"data\":{}", "\"data_text\":\"{\""), "line 3, column ", "data_text: "),
        (
            with("\"data\":{}", "\"data\":{},\"recorded_at\":\"yesterday\""),
            "line 3, column ",
            "is not a time",
        ),
        ([HEADER, STREAM, &one, &end(1, 2, 0)].join("\n"), "line 4, column 1", "1, 1 and 0 came before it"),
        ([HEADER, STREAM, &end(1, 0, 0), &one].join("\n"), "line 4, column 1", "behind the end line"),
    ];
    for (text, at, problem) in cases {
        place.write("broken.jsonl", &text);
        for words in
            [&["import", "new.db", "broken.jsonl"][..], &["import", "new.db", "broken.jsonl", "--dry-run"]]
        {
            let error = place.fails(words, 5);
            assert!(
                error.contains(&format!("broken.jsonl: {at}")) && error.contains(problem),
                "{text}\n{error}"
            );
        }
    }
    let mut bytes = [HEADER, STREAM, "{\"event\":{\"stream\":\""].join("\n").into_bytes();
    bytes.extend([0xFF, 0xFE]);
    place.write("broken.jsonl", &bytes);
    place.fails(&["import", "new.db", "broken.jsonl"], 5);
    let error = place.fails(&["import", "new.db", "missing.jsonl"], 5);
    assert!(error.contains("cannot read missing.jsonl"), "{error}");
}

/// Lines that do not go with each other or with the store. What came before them is imported.
#[tokio::test]
async fn lines_that_do_not_fit() {
    let snapshot = r#"{"snapshot":{"stream":"a","version":3,"schema":1,"data":0}}"#;
    let tenant = r#"{"stream":{"name":"a","type":"tenant"}}"#;
    let b = r#"{"stream":{"name":"b","type":"task"}}"#;
    // Lines, the line that is wrong, what is said, the events of a that are there after it.
    let cases: [(Vec<String>, u64, &str, Option<u64>); 10] = [
        (vec![event("a", 1, 1)], 2, "stream a is neither in the store nor in a line before", None),
        (vec![STREAM.into(), event("a", 2, 1)], 3, "version 2 of stream a, which is at 0", None),
        (
            vec![STREAM.into(), event("a", 1, 1), event("a", 3, 3)],
            4,
            "version 3 of stream a, which is at 1",
            Some(1),
        ),
        (vec![STREAM.into(), event("a", 1, 1), event("a", 2, 1)], 4, "is in line 3 already", None),
        (vec![STREAM.into(), event("a", 1, 1), b.into(), event("b", 1, 1)], 5, "already", Some(1)),
        (vec![STREAM.into(), event("a", 1, 1), event("a", 1, 2)], 4, "another one in the store", Some(1)),
        (vec![STREAM.into(), event("a", 1, 1), tenant.into()], 4, "stream a is in line 2 already", Some(1)),
        (
            vec![STREAM.into(), event("a", 1, 1), snapshot.into()],
            4,
            "is of version 3, but stream a is at 1",
            Some(1),
        ),
        (vec![snapshot.into()], 2, "neither in the store", None),
        (
            vec![STREAM.into(), event("a", u64::MAX, 1), event("a", u64::MAX, 2)],
            3,
            "version 18446744073709551615 of stream a, which is at 0",
            None,
        ),
    ];
    for (mut text, line, problem, stored) in cases {
        let place = Place::new();
        text.insert(0, HEADER.to_owned());
        // An end that would count right.
        let count = |kind: &str| text.iter().filter(|line| line.starts_with(kind)).count() as u64;
        text.push(end(count("{\"stream\""), count("{\"event\""), count("{\"snapshot\"")));
        place.write("odd.jsonl", text.join("\n"));
        let error = place.fails(&["import", "new.db", "odd.jsonl", "--dry-run"], 5);
        assert!(error.contains(&format!("odd.jsonl: line {line}: ")) && error.contains(problem), "{error}");
        assert_eq!(place.files(), ["odd.jsonl"], "a dry run writes nothing");
        let error = place.fails(&["import", "new.db", "odd.jsonl"], 5);
        assert!(error.contains(&format!("odd.jsonl: line {line}: ")) && error.contains(problem), "{error}");
        let store = SqliteEventStore::open(place.beside("new.db")).await.unwrap();
        assert_eq!(store.stream_version(&id("a")).await.ok(), stored, "{text:?}");
        store.close().await.unwrap();
    }
}

/// Another store's stream of the same name is another history, and stays as it is.
#[tokio::test]
async fn another_history_is_a_conflict() {
    let place = Place::with(&[("a", 3)]).await;
    let other = Place::with(&[("b", 1), ("a", 5)]).await;
    other.ok(&["export", "events.db", "other.jsonl"]);
    place.write("other.jsonl", other.text("other.jsonl"));
    let before = export_of(&place, "events.db");
    let error = place.fails(&["import", "events.db", "other.jsonl"], 5);
    assert!(
        error.contains("line 5: version 1 of stream a is event ") && error.contains("into another store"),
        "{error}"
    );
    let after = export_of(&place, "events.db");
    assert_eq!(lines(&after)[1..5], lines(&before)[1..5], "a is as it was");

    let text = [HEADER, r#"{"stream":{"name":"a","type":"tenant"}}"#, &end(1, 0, 0)].join("\n");
    place.write("type.jsonl", text);
    let error = place.fails(&["import", "events.db", "type.jsonl"], 5);
    assert!(error.contains("line 2: stream a is of type tenant here, of type task in the store"), "{error}");
}

#[tokio::test]
async fn a_store_with_a_writer_is_refused() {
    let place = Place::with(&[("a", 3)]).await;
    place.ok(&["export", "events.db", "export.jsonl"]);
    let writer = place.open().await;
    let error = place.fails(&["import", "events.db", "export.jsonl"], 3);
    assert!(
        error.contains(&format!("process {}", std::process::id())) && error.contains("stop it"),
        "{error}"
    );
    // To look at it is allowed.
    place.ok(&["import", "events.db", "export.jsonl", "--dry-run"]);
    stream(&writer, "b", 1).await;
    writer.close().await.unwrap();
}

/// Linux says whether a process listens for a signal.
#[cfg(target_os = "linux")]
mod interrupted {
    use std::io::Write;
    use std::process::{Child, Command, Stdio};

    use rustix::process::{Pid, Signal, kill_process};

    use crate::tool::Place;

    /// Ctrl-C while the input has nothing to say: at its beginning, between two lines, and where nobody has come to write to a pipe yet.
    #[test]
    fn an_interrupt_is_heard_while_nothing_comes() {
        let place = Place::new();
        assert!(Command::new("mkfifo").arg(place.beside("pipe")).status().unwrap().success());
        let header = r#"{"format": "ipa-events", "version": 1}"#;
        for (input, begins) in [("-", ""), ("-", &*format!("{header}\n")), ("pipe", "")] {
            let mut child = place
                .command(&["import", "events.db", input])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut held = child.stdin.take().unwrap();
            held.write_all(begins.as_bytes()).unwrap();
            let pid = Pid::from_child(&child);
            // Until it listens, an interrupt ends it all the same, but by the signal.
            while !listens(&child) {
                std::thread::yield_now();
            }
            kill_process(pid, Signal::INT).unwrap();
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(130), "{input} {begins:?}: {output:?}");
            assert!(String::from_utf8(output.stderr).unwrap().contains("interrupted: run the import again"));
            drop(held);
        }
    }

    /// Whether a process has a handler of its own for SIGINT. Nothing but the system says so before it has read anything.
    fn listens(child: &Child) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (Signal::INT.as_raw() - 1)) != 0
    }
}
