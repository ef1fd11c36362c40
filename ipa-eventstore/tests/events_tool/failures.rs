//! What the tool says, and with which exit code, when there is nothing to be had.

use std::io::Read;
use std::process::Stdio;

use ipa_eventstore::EventStore;

use crate::tool::{Place, events, id};

const READING: [&[&str]; 7] = [
    &["ls", "events.db"],
    &["cat", "events.db", "a"],
    &["tail", "events.db"],
    &["stat", "events.db"],
    &["check", "events.db"],
    &["backup", "events.db", "copy.db"],
    &["export", "events.db", "export.jsonl"],
];

#[test]
fn bad_usage() {
    let place = Place::new();
    for words in [
        vec![],
        vec!["ls"],
        vec!["nonsense", "events.db"],
        vec!["cat", "events.db", " "],
        vec!["tail", "events.db", "--after", "3"],
        vec!["tail", "events.db", "a", "--after", "3", "--from-start"],
        vec!["tail", "events.db", "--position", "7"],
        vec!["ls", ":memory:"],
    ] {
        let ran = place.run(&words);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{words:?}: {ran:?}");
        assert!(!ran.stderr.is_empty());
    }
    let help = place.ok(&["--help"]);
    assert!(help.contains("Exit codes:") && help.contains("import"), "{help}");
    assert!(place.ok(&["import", "--help"]).contains("new positions and times"));
    assert!(place.files().is_empty());
}

#[test]
fn a_missing_store_is_not_made() {
    let place = Place::new();
    for words in READING {
        let error = place.fails(words, 3);
        assert!(error.contains("no event store at ") && error.contains("events.db"), "{error}");
    }
    place.fails(&["ls", "missing/events.db"], 3);
    assert!(place.files().is_empty());
}

#[tokio::test]
async fn files_that_are_not_ours_or_newer() {
    let place = Place::with(&[]).await;
    place.raw().pragma_update(None, "user_version", 999).unwrap();
    for words in READING {
        let error = place.fails(words, 3);
        assert!(error.contains("has schema 999") && error.contains("newer version"), "{error}");
    }
    let foreign = Place::new();
    foreign.write("events.db", "dear diary, ".repeat(1000));
    for words in READING {
        let error = foreign.fails(words, 3);
        assert!(error.contains("is not an event store"), "{error}");
    }
    assert_eq!(foreign.files(), ["events.db"]);
}

#[tokio::test]
async fn a_missing_stream() {
    let place = Place::with(&[("a", 1)]).await;
    for words in [
        vec!["cat", "events.db", "b"],
        vec!["tail", "events.db", "b"],
        vec!["tail", "events.db", "b", "--from-start"],
        vec!["export", "events.db", "--stream", "b"],
        vec!["export", "events.db", "export.jsonl", "--stream", "a", "--stream", "b"],
    ] {
        let error = place.fails(&words, 4);
        assert!(error.contains("no stream b") && error.contains("`ipa-events ls events.db`"), "{error}");
    }
    assert!(!place.beside("export.jsonl").exists());
}

/// A read that meets damage prints what came before it, names the place, and ends with the code of `check`.
#[tokio::test]
async fn damage_that_a_read_meets() {
    let place = Place::with(&[("a", 1500)]).await;
    place.raw().execute_batch("UPDATE events SET data = '{' WHERE version = 1200").unwrap();
    let ran = place.run(&["cat", "events.db", "a"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (1, 1000));
    assert!(
        ran.stderr.contains("stream a, version 1200") && ran.stderr.contains("ipa-events check"),
        "{ran:?}"
    );
}

/// Whoever reads a pipe may have seen enough: that is no failure.
#[tokio::test]
async fn a_broken_pipe_is_a_quiet_end() {
    let place = Place::new();
    let store = place.open().await;
    // More than a pipe holds.
    store
        .append_batch(&id("a"), ipa_eventstore::Expected::NoStream("task".parse().unwrap()), events(5000))
        .await
        .unwrap();
    store.close().await.unwrap();
    for words in
        [vec!["cat", "events.db", "a"], vec!["export", "events.db"], vec!["cat", "events.db", "a", "--json"]]
    {
        let mut child = place.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdout.take().unwrap();
        pipe.read_exact(&mut [0; 10]).unwrap();
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{words:?}");
    }
}

/// What is quoted of a file or of the command line moves no cursor.
#[tokio::test]
async fn errors_are_plain_text() {
    let place = Place::with(&[("a", 1)]).await;
    let error = place.fails(&["cat", "events.db", "x\u{1b}[31m"], 4);
    assert!(error.contains("no stream x\\u{1b}[31m"), "{error}");
}

/// A log that cannot be read is not a store that is not there.
#[tokio::test]
async fn a_log_that_cannot_be_read() {
    let place = Place::with(&[("a", 1)]).await;
    place.ok(&["export", "events.db", "in.jsonl"]);
    std::fs::create_dir(place.beside("events.db-wal")).unwrap();
    let error = place.fails(&["import", "events.db", "in.jsonl"], 3);
    assert!(error.contains("cannot look through") && error.contains("events.db-wal"), "{error}");
    assert!(!error.contains("there is no event store"), "{error}");
}
