//! Groups, refusals within them, failures of a whole one, closing.

use std::collections::BTreeMap;
use std::time::Duration;

use ipa_eventstore::{
    Appended, EventStore, Expected, ReadAll, ReadStream, SqliteOptions, StoreError, Subscribe,
};
use tokio::task::JoinHandle;

use super::{Place, shared};
use crate::conformance::{Store, event, events, id, kind, stream, versions};

type Append = JoinHandle<Result<Appended, StoreError>>;

/// Starts an append and lets it get into the queue.
async fn queued(store: &Store, stream: &str, expected: Expected, count: usize) -> Append {
    let (store, stream) = (store.clone(), id(stream));
    let append = tokio::spawn(async move { store.append(&stream, expected, events(count)).await });
    // On one thread: by now it waits for its answer.
    tokio::task::yield_now().await;
    append
}

/// ES-08 writes that wait together are refused or stored each for itself, in the order of a stream's.
#[tokio::test]
async fn waiting_writes_are_decided_one_by_one() {
    let place = Place::new();
    let sqlite = place.open().await;
    let store = shared(&sqlite);
    for name in ["a", "b"] {
        stream(&store, name, 0).await;
    }
    let taken = vec![event("taken")];
    store.append(&id("b"), Expected::Any, taken.clone()).await.unwrap();
    let mut all = store.subscribe(Subscribe::all(Default::default())).await.unwrap();

    // Another process holds the write lock, so that all of these wait, and are then committed in one
    // group or two.
    let other = place.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let first = queued(&store, "a", Expected::Any, 1).await;
    let group = [
        queued(&store, "a", Expected::Exact(1), 2).await,
        queued(&store, "a", Expected::Exact(1), 2).await, // conflicts with the one before
        queued(&store, "c", Expected::NoStream(kind("task")), 1).await,
        queued(&store, "a", Expected::Exact(3), 1).await,
        queued(&store, "c", Expected::NoStream(kind("task")), 1).await, // exists by then
        queued(&store, "d", Expected::Any, 1).await,                    // does not
        queued(&store, "c", Expected::Exact(1), 1).await,
    ];
    let overlap = vec![event("new"), taken[0].clone()];
    let e = id("e");
    let half_stored = store.append(&e, Expected::NoStream(kind("task")), overlap);
    let release = async {
        other.execute_batch("COMMIT").unwrap();
    };
    let (half_stored, ()) = tokio::join!(half_stored, release);

    assert_eq!(first.await.unwrap().unwrap().version, 1);
    let mut answers = Vec::new();
    for append in group {
        answers.push(append.await.unwrap().map(|appended| appended.version));
    }
    assert!(matches!(answers[0], Ok(3)), "{answers:?}");
    assert!(matches!(answers[1], Err(StoreError::Conflict { expected: 1, actual: 3, .. })), "{answers:?}");
    assert!(matches!(answers[2], Ok(1)), "{answers:?}");
    assert!(matches!(answers[3], Ok(4)), "{answers:?}");
    assert!(matches!(answers[4], Err(StoreError::AlreadyExists { version: 1, .. })), "{answers:?}");
    assert!(matches!(answers[5], Err(StoreError::StreamNotFound { .. })), "{answers:?}");
    assert!(matches!(answers[6], Ok(2)), "{answers:?}");
    assert!(matches!(half_stored, Err(StoreError::PartialDuplicate { .. })), "{half_stored:?}");
    assert!(!store.stream_exists(&e).await.unwrap());

    let stored = store.read_all(ReadAll::new()).await.unwrap();
    let mut places: Vec<_> = stored.iter().map(|e| (e.stream.as_str(), e.version)).collect();
    // How the writes fell into groups is the writer's own affair, and with it their positions.
    places.sort_unstable();
    assert_eq!(places, [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 1), ("c", 1), ("c", 2)]);
    for stored in stored {
        assert_eq!(all.next().await.unwrap().unwrap(), stored);
    }
    sqlite.close().await.unwrap();
}

/// Another process that keeps the file locked => Unavailable, nothing written, and fine again after.
#[tokio::test]
async fn a_locked_file_is_unavailable_for_as_long() {
    let place = Place::new();
    let options = SqliteOptions::new().busy_timeout(Duration::from_millis(20));
    let store = options.open(place.path()).await.unwrap();
    let a = stream(&shared(&store), "a", 1).await;
    let other = place.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let batch = events(2);
    let error = store.append(&a, Expected::Exact(1), batch.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)) && error.is_retryable(), "{error:?}");
    assert_eq!(store.stream_version(&a).await.unwrap(), 1, "reads go on meanwhile");
    other.execute_batch("COMMIT").unwrap();
    let appended = store.append(&a, Expected::Exact(1), batch).await.unwrap();
    assert_eq!((appended.version, appended.duplicate), (3, false));
    store.close().await.unwrap();
}

/// A commit that fails is Indeterminate; the writer opens the file again, and the same ids settle it.
#[tokio::test]
async fn a_failed_commit_is_indeterminate_and_survived() {
    let place = Place::new();
    let store = place.open().await;
    let a = stream(&shared(&store), "a", 1).await;
    let mut following = store.subscribe(Subscribe::stream(&a, 1)).await.unwrap();
    // A deferred foreign key is looked at by COMMIT, which then fails.
    let sabotage = "CREATE TABLE broken (x INTEGER REFERENCES streams (id) DEFERRABLE INITIALLY DEFERRED);
                    CREATE TRIGGER at_commit AFTER INSERT ON events WHEN NEW.type = 'e2'
                    BEGIN INSERT INTO broken VALUES (-1); END;";
    place.raw().execute_batch(sabotage).unwrap();
    let batch = events(2);
    let error = store.append(&a, Expected::Exact(1), batch.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Indeterminate(_)) && error.is_retryable(), "{error:?}");
    assert_eq!(store.stream_version(&a).await.unwrap(), 1);
    // What does not meet the fault goes on, on the new connection.
    store.append(&a, Expected::Exact(1), events(1)).await.unwrap();
    place.raw().execute_batch("DROP TRIGGER at_commit").unwrap();
    let appended = store.append(&a, Expected::Exact(2), batch).await.unwrap();
    assert_eq!((appended.version, appended.duplicate), (4, false));
    for version in 2..=4 {
        assert_eq!(following.next().await.unwrap().unwrap().version, version);
    }
    store.close().await.unwrap();
}

/// The log as a failed commit left it may not be on the disk, whatever later syncs say: the next write goes into a new one, and waits
/// for that.
#[tokio::test]
async fn nothing_is_written_behind_a_failed_commit() {
    let place = Place::new();
    let options = SqliteOptions::new().busy_timeout(Duration::from_millis(20));
    let store = options.open(place.path()).await.unwrap();
    let a = stream(&shared(&store), "a", 1).await;
    let sabotage = "CREATE TABLE broken (x INTEGER REFERENCES streams (id) DEFERRABLE INITIALLY DEFERRED);
                    CREATE TRIGGER at_commit AFTER INSERT ON events WHEN NEW.type = 'e2'
                    BEGIN INSERT INTO broken VALUES (-1); END;";
    place.raw().execute_batch(sabotage).unwrap();
    // Another program reads the log, so that it can be carried over but not be begun anew.
    let reader = place.raw();
    reader.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    let error = store.append(&a, Expected::Exact(1), events(2)).await.unwrap_err();
    assert!(matches!(error, StoreError::Indeterminate(_)), "{error:?}");
    let error = store.append(&a, Expected::Exact(1), events(1)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(_)), "{error:?}");
    let salts = || std::fs::read(place.beside("events.db-wal")).unwrap().get(16..24).map(<[u8]>::to_vec);
    let before = salts();
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(store.append(&a, Expected::Exact(1), events(1)).await.unwrap().version, 2);
    assert!(before.is_some() && salts() != before, "{before:?}");
    store.close().await.unwrap();
}

/// A transaction that fails before its commit is surely not done: Unavailable, and survived.
#[tokio::test]
async fn a_failure_before_the_commit_is_surely_not_done() {
    let place = Place::new();
    let store = place.open().await;
    let a = stream(&shared(&store), "a", 1).await;
    let sabotage = "CREATE TRIGGER before_commit AFTER INSERT ON events WHEN NEW.type = 'e2'
                    BEGIN SELECT RAISE(ROLLBACK, 'sabotaged'); END;";
    place.raw().execute_batch(sabotage).unwrap();
    let error = store.append(&a, Expected::Any, events(2)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(_)), "{error:?}");
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    let mut texts = Vec::new();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    assert!(texts.join(": ").contains("events.db: sabotaged"), "{texts:?}");
    assert_eq!(store.append(&a, Expected::Exact(1), events(1)).await.unwrap().version, 2);
    store.close().await.unwrap();
}

/// ES-45 what was accepted before a close is committed and answered; the rest is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_finishes_what_was_accepted() {
    let place = Place::new();
    let sqlite = SqliteOptions::new().queue(4).open(place.path()).await.unwrap();
    let store = shared(&sqlite);
    let mut waiting = store.subscribe(Subscribe::all(Default::default())).await.unwrap();
    let mut appends = Vec::new();
    for n in 0..40 {
        let store = store.clone();
        appends.push(tokio::spawn(async move {
            let name = id(&format!("s{n}"));
            let created = Expected::NoStream(kind("task"));
            store.append(&name, created, events(2)).await.map(|_| name)
        }));
        if n == 20 {
            tokio::task::yield_now().await;
        }
    }
    let (first, second) = tokio::join!(sqlite.close(), sqlite.close());
    first.unwrap();
    second.unwrap();
    let mut acknowledged = BTreeMap::new();
    for append in appends {
        match append.await.unwrap() {
            Ok(name) => assert_eq!(acknowledged.insert(name.to_string(), 2), None),
            Err(error) => assert!(matches!(error, StoreError::Closed), "{error:?}"),
        }
    }
    while let Some(event) = waiting.next().await {
        assert!(acknowledged.contains_key(event.unwrap().stream.as_str()));
    }
    let late = [
        store.append(&id("s0"), Expected::Any, events(1)).await.err(),
        store.read_all(ReadAll::new()).await.err(),
        store.subscribe(Subscribe::all(Default::default())).await.err(),
    ];
    for error in late {
        assert!(matches!(error, Some(StoreError::Closed)), "{error:?}");
    }
    let reopened = place.open().await;
    let mut stored = BTreeMap::new();
    for event in reopened.read_all(ReadAll::new()).await.unwrap() {
        stored.insert(event.stream.to_string(), event.version);
    }
    assert_eq!(stored, acknowledged, "acknowledged is stored, and nothing else");
    reopened.close().await.unwrap();
}

/// ES-13 many at once through a small queue and small groups: all of them, and no gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_queue_lets_everyone_through() {
    let place = Place::new();
    let options = SqliteOptions::new().queue(2).group_requests(3).group_events(4).readers(1);
    let sqlite = options.open(place.path()).await.unwrap();
    let store = shared(&sqlite);
    let a = stream(&store, "a", 0).await;
    let appends: Vec<_> = (0..100)
        .map(|_| {
            let (store, a) = (store.clone(), a.clone());
            tokio::spawn(async move {
                store.append(&a, Expected::Any, events(2)).await.unwrap();
                store.read_stream(&a, ReadStream::new()).await.unwrap().len()
            })
        })
        .collect();
    for append in appends {
        assert!(append.await.unwrap() >= 2, "everyone reads what they wrote");
    }
    let read = store.read_stream(&a, ReadStream::new()).await.unwrap();
    assert_eq!(versions(&read), (1..=200).collect::<Vec<_>>());
    sqlite.close().await.unwrap();
}

/// Every write is counted once, as what became of it, and every commit.
#[tokio::test]
async fn stats_count_what_was_done() {
    let place = Place::new();
    let store = place.open().await;
    let a = stream(&shared(&store), "a", 2).await;
    let mut following = store.subscribe(Subscribe::stream(&a, 2)).await.unwrap();
    let batch = events(3);
    store.append(&a, Expected::Exact(2), batch.clone()).await.unwrap();
    assert!(store.append(&a, Expected::Exact(2), batch).await.unwrap().duplicate);
    assert!(store.append(&a, Expected::Exact(2), events(1)).await.unwrap_err().is_conflict());
    assert!(store.start_stream(&kind("task"), Some(a.clone()), vec![]).await.unwrap_err().is_conflict());
    store.append(&id("missing"), Expected::Any, events(1)).await.unwrap_err();
    store.append(&a, Expected::Any, vec![]).await.unwrap();
    let stats = store.stats();
    assert_eq!((stats.appends, stats.events, stats.duplicates), (2, 5, 1));
    assert_eq!((stats.conflicts, stats.refused), (2, 1));
    assert_eq!((stats.indeterminate, stats.unavailable, stats.failed_commits), (0, 0, 0));
    assert_eq!((stats.commits, stats.commit_time.count), (7, 7));
    assert_eq!((stats.group_size.sum, stats.group_size.max), (7, 1));
    assert_eq!((stats.group_events.sum, stats.group_events.max), (5, 3));
    assert_eq!(stats.subscriber_lag.count, 0, "it has read nothing yet");

    // What is there when it begins is not late; what comes when it is up to date is measured.
    crate::conformance::take(&mut following, 3).await;
    assert_eq!(store.stats().subscriber_lag.count, 0);
    let (next, appended) =
        tokio::join!(crate::conformance::next(&mut following), store.append(&a, Expected::Any, events(1)));
    assert_eq!((next.version, appended.unwrap().version), (6, 6));
    assert_eq!(store.stats().subscriber_lag.count, 1);
    store.close().await.unwrap();
}
