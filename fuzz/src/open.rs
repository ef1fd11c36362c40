//! Opening what may be anything: refused as it is, or a store that reads, writes and opens again.
//!
//! The input says which store to begin with, how to open it, and what was done to its files before.

mod edit;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use edit::Files;
use ipa_eventstore::{
    Durability, EventStore, Expected, ListStreams, NewEvent, ReadAll, ReadStream, SqliteEventStore,
    SqliteOptions, StoreError, StreamId, StreamType,
};

use crate::input::Input;

/// A store of the first schema, closed.
const CLOSED: &[u8] = include_bytes!("../../ipa-eventstore/tests/store/fixtures/schema-1.db");

/// One that was killed, with its log.
struct Killed {
    store: &'static [u8],
    log: &'static [u8],
}

const KILLED: Killed = Killed {
    store: include_bytes!("../../ipa-eventstore/tests/store/fixtures/schema-1-killed.db"),
    log: include_bytes!("../../ipa-eventstore/tests/store/fixtures/schema-1-killed.db-wal"),
};

/// Panics if a store is changed that is refused, if an error does not say which file it is about, or if something is lost that was
/// acknowledged.
pub fn check(input: &[u8]) {
    let mut input = Input::new(input);
    let how = input.byte();
    let mut files = Files { store: CLOSED.to_vec(), ..Files::default() };
    if how & 1 == 1 {
        files = Files { store: KILLED.store.to_vec(), log: Some(KILLED.log.to_vec()), ..files };
    }
    let mode = if how & 4 == 4 { Durability::ProcessCrash } else { Durability::Full };
    let options = SqliteOptions::new().durability(mode).busy_timeout(Duration::from_millis(20)).readers(1);

    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("events.db");
    let (files, edits) = files.edited(input, directory.path());
    files.write(&path);
    let before = listed(directory.path());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(async {
        let read_only = how & 2 == 2;
        let opened = match read_only {
            true => options.clone().open_read_only(&path).await,
            false => options.clone().open(&path).await,
        };
        let store = match opened {
            Ok(store) => store,
            Err(error) => {
                refused(&error, &edits);
                unchanged(&before, &listed(directory.path()), &error, &edits);
                return;
            }
        };
        read_all(&store, &edits).await;
        let appended = append(&store, &edits).await;
        assert!(!(read_only && appended.is_some()), "{edits}");
        let closed = store.close().await;
        if read_only {
            let after = listed(directory.path());
            for ending in ["events.db", "events.db-wal"] {
                let kept = before.get(ending).filter(|bytes| !bytes.is_empty());
                let now = after.get(ending).filter(|bytes| !bytes.is_empty());
                assert_eq!(now, kept, "reading changed {ending}: {edits}");
            }
        } else if matches!(closed, Ok(()) | Err(StoreError::LogLeft { .. }))
            && let Some((stream, version)) = appended
        {
            let left = listed(directory.path());
            let log_is_left = left.get("events.db-wal").is_some_and(|bytes| !bytes.is_empty());
            let store = match options.open(&path).await {
                Ok(store) => store,
                // Where the log could not be carried over, the next open looks at all pages, and may find what an edit had damaged before.
                Err(error) if log_is_left => return refused(&error, &edits),
                Err(error) => panic!("a store that was closed is refused: {}: {edits}", chain(&error)),
            };
            has(&store, &stream, version, &edits).await;
            let _ = store.close().await;
        }
    });
}

/// An error of opening says which file, what is wrong and what to do, and is none of a request's.
fn refused(error: &StoreError, edits: &str) {
    let text = chain(error);
    assert!(text.contains("events.db"), "no path: {text}: {edits}");
    let of_opening = matches!(
        error,
        StoreError::Damaged { .. }
            | StoreError::NotOurs { .. }
            | StoreError::NewerSchema { .. }
            | StoreError::CannotOpen { .. }
    );
    assert!(of_opening, "{error:?}: {edits}");
}

/// The files of the store are what they were; its lock, and SQLite's index of the log, may be new.
fn unchanged(before: &Listing, after: &Listing, error: &StoreError, edits: &str) {
    let foreign = matches!(error, StoreError::NotOurs { .. });
    // Another program that died while it wrote left it; SQLite takes that back whenever it looks at the file.
    if before.get("events.db-journal").is_some_and(|bytes| !bytes.is_empty()) && !foreign {
        return;
    }
    for (name, bytes) in after {
        let new_allowed = match name.as_str() {
            "events.db.lock" | "events.db-shm" => !foreign,
            "events.db-wal" => bytes.is_empty() && !foreign,
            _ => false,
        };
        match before.get(name) {
            None => assert!(new_allowed, "{name} is new after {}: {edits}", chain(error)),
            Some(was) => {
                let own = matches!(name.as_str(), "events.db.lock" | "events.db-shm");
                assert!(own || was == bytes, "{name} was changed before {}: {edits}", chain(error));
            }
        }
    }
    let gone = before.keys().find(|name| !after.contains_key(*name) && !name.ends_with("-shm"));
    assert_eq!(gone, None, "removed before {}: {edits}", chain(error));
}

/// Each stream can be read, or is damaged.
async fn read_all(store: &SqliteEventStore, edits: &str) {
    let answered = |what: &str, error: &StoreError| {
        assert!(matches!(error, StoreError::Damaged { .. }), "{what}: {}: {edits}", chain(error));
        assert!(chain(error).contains("events.db"), "no path: {}: {edits}", chain(error));
    };
    if let Err(error) = store.read_all(ReadAll::new()).await {
        answered("read_all", &error);
    }
    let listed = match store.list_streams(ListStreams::new()).await {
        Ok(listed) => listed,
        Err(error) => return answered("list_streams", &error),
    };
    for info in listed {
        for read in [ReadStream::new(), ReadStream::new().backward()] {
            match store.read_stream(&info.id, read).await {
                Ok(events) => assert_eq!(events.len() as u64, info.version, "{edits}"),
                Err(error) => answered("read_stream", &error),
            }
        }
        if let Err(error) = store.load_snapshot(&info.id).await {
            answered("load_snapshot", &error);
        }
        if let Err(error) = store.stream_info(&info.id).await {
            answered("stream_info", &error);
        }
    }
}

/// Appends to a stream that is there and creates another; gives back what was acknowledged last.
async fn append(store: &SqliteEventStore, edits: &str) -> Option<(StreamId, u64)> {
    let event = || vec![NewEvent::json("fuzzed", &()).expect("a sound event")];
    let there = StreamId::new("full").expect("a sound name");
    let new = StreamId::new("new").expect("a sound name");
    let created = Expected::NoStream(StreamType::new("task").expect("a sound name"));
    let mut last = None;
    for (stream, expected) in [(there, Expected::Any), (new, created)] {
        match store.append(&stream, expected, event()).await {
            Ok(appended) => {
                has(store, &stream, appended.version, edits).await;
                last = Some((stream, appended.version));
            }
            Err(error) => assert!(!chain(&error).contains("panicked"), "{}: {edits}", chain(&error)),
        }
    }
    last
}

/// What was acknowledged is there.
async fn has(store: &SqliteEventStore, stream: &StreamId, version: u64, edits: &str) {
    let read = store.read_stream(stream, ReadStream::new().after(version - 1)).await;
    let read = read.unwrap_or_else(|error| panic!("{stream} {version}: {}: {edits}", chain(&error)));
    assert_eq!(read.len(), 1, "{stream} {version}: {edits}");
    assert_eq!((read[0].version, read[0].event_type.as_ref()), (version, "fuzzed"), "{edits}");
}

/// The names and bytes of a directory's files.
type Listing = BTreeMap<String, Vec<u8>>;

fn listed(directory: &Path) -> Listing {
    let entries = fs::read_dir(directory).expect("a temporary directory");
    entries
        .map(|entry| {
            let path = entry.expect("a temporary file").path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            (name.unwrap_or_default(), fs::read(&path).expect("a temporary file"))
        })
        .collect()
}

/// An error with what is behind it.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
