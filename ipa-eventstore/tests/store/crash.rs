//! kill -9 of a process that appends: what it acknowledged is stored, whole and without gaps.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ipa_eventstore::{EventStore, Expected, ReadAll, ReadStream, SqliteEventStore, StoreError, StreamId};
use tokio::task::JoinSet;

use crate::conformance::{events, id, kind, versions};

const PATH: &str = "IPA_EVENTSTORE_CRASH_TEST";
const STREAMS: usize = 4;
const BATCH: usize = 3;

/// What the killed process runs: a test that does nothing unless it is told where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(path) = std::env::var_os(PATH) else {
        return;
    };
    let store: Arc<dyn EventStore> = Arc::new(SqliteEventStore::open(path).await.unwrap());
    let mut appending = JoinSet::new();
    for n in 0..STREAMS {
        let store = store.clone();
        appending.spawn(async move {
            let stream = id(&format!("s{n}"));
            match store.start_stream(&kind("task"), Some(stream.clone()), vec![]).await {
                Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
                Err(error) => return error,
            }
            loop {
                match store.append(&stream, Expected::Any, events(BATCH)).await {
                    Ok(appended) => println!("acknowledged {stream} {}", appended.version),
                    Err(error) => return error,
                }
            }
        });
    }
    panic!("{:?}", appending.join_next().await);
}

/// ES-42 killed at any moment: stored is what was acknowledged, or one batch a stream more.
#[tokio::test]
async fn acknowledged_is_stored_after_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let mut acknowledged: BTreeMap<StreamId, u64> = BTreeMap::new();
    for until in [1, 40, 150] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child", "--exact", "--nocapture"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut seen = 0;
        // To the end: what was printed before the kill was acknowledged, too.
        for line in output.lines() {
            let line = line.unwrap();
            let Some((_, place)) = line.split_once("acknowledged ") else {
                continue;
            };
            let Some((stream, version)) = place.split_once(' ') else {
                continue;
            };
            acknowledged.insert(id(stream), version.parse().unwrap());
            seen += 1;
            if seen == until {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success());
        assert!(seen >= until, "the child ended by itself");

        let store = SqliteEventStore::open(&path).await.unwrap();
        let mut total = 0;
        for (stream, acknowledged) in &mut acknowledged {
            let stored = store.read_stream(stream, ReadStream::new()).await.unwrap();
            let last = stored.len() as u64;
            assert_eq!(versions(&stored), (1..=last).collect::<Vec<_>>());
            assert!(last >= *acknowledged, "{stream}: {acknowledged} acknowledged, {last} stored");
            assert!(last <= *acknowledged + BATCH as u64, "{stream}: {acknowledged}, {last}");
            assert_eq!(last % BATCH as u64, 0, "batches are whole");
            *acknowledged = last;
            total += stored.len();
        }
        let all = store.read_all(ReadAll::new()).await.unwrap();
        assert!(all.len() <= total + (STREAMS - acknowledged.len()) * BATCH);
        assert!(all.is_sorted_by(|a, b| a.position < b.position));
        store.close().await.unwrap();
    }
}
