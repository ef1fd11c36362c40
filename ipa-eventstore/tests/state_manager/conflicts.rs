//! Others append to the stream too.

use std::sync::Arc;

use ipa_eventstore::{
    EventStore, ExecuteError, Expected, InMemoryEventStore, SqliteEventStore, StateHandle, StateManager,
};
use ipa_supervisor::Supervisor;

use crate::counter::{Command, Counter, added, at, create, now, start, start_as, stored, stream};
use crate::scripted::{Scripted, Turn};

const EACH: u64 = 100;

/// Two managers of one stream, and as many increments by each, with several under way at once.
async fn race(store: impl EventStore + Clone) {
    create(&store, &[]).await;
    let mut supervisors = Vec::new();
    let mut callers = Vec::new();
    let mut counters: Vec<StateHandle<Counter>> = Vec::new();
    for _ in 0..2 {
        let (spec, counter) =
            StateManager::new(Arc::new(store.clone()), stream()).max_conflicts(1000).child("state");
        supervisors.push(Supervisor::builder().child(spec).start().await.unwrap());
        for _ in 0..4 {
            let counter = counter.clone();
            callers.push(tokio::spawn(async move {
                let mut versions = Vec::new();
                for _ in 0..EACH / 4 {
                    versions.push(counter.execute(Command::Add(1)).await.unwrap().version);
                    // On a paused clock everybody shares one thread, which is let go here.
                    tokio::task::yield_now().await;
                }
                versions
            }));
        }
        counters.push(counter);
    }
    let mut versions = Vec::new();
    for caller in callers {
        versions.extend(caller.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=2 * EACH).collect::<Vec<_>>(), "each command its own event");
    assert_eq!(stored(&store).await, vec![1; 2 * EACH as usize]);
    // The one that came last has all of it; the other sees it with its next command.
    for (done, counter) in (1..).zip(&counters) {
        assert_eq!(counter.execute(Command::Add(1)).await.unwrap().version, 2 * EACH + done);
        assert_eq!(now(counter).await, (2 * EACH + done, 2 * EACH + done));
    }
    for supervisor in supervisors {
        supervisor.shutdown().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn two_managers_of_one_stream_lose_nothing_in_memory() {
    race(InMemoryEventStore::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_managers_of_one_stream_lose_nothing_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteEventStore::open(directory.path().join("events.db")).await.unwrap();
    race(store.clone()).await;
    store.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_others_append_is_seen_with_the_next_command_that_has_events() {
    let store = InMemoryEventStore::new();
    create(&store, &[1]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    let mut watch = counter.watch().await.unwrap();
    store.append(&stream(), Expected::Any, vec![added(10), added(20)]).await.unwrap();
    // It does not follow its stream.
    assert_eq!(counter.execute(Command::AddAll(vec![])).await.unwrap().version, 1);
    assert_eq!(now(&counter).await, (1, 1));
    assert!(!watch.has_changed().unwrap());

    assert_eq!(counter.execute(Command::Add(100)).await.unwrap().version, 4);
    assert_eq!(at(&watch.borrow_and_update().clone()), (4, 131));
    assert_eq!(stored(&store).await, [1, 10, 20, 100]);
}

#[tokio::test(start_paused = true)]
async fn conflicts_are_bounded_and_what_was_read_meanwhile_stays() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (_supervisor, counter) = start_as::<0>(store.clone(), |manager| manager.max_conflicts(2)).await;
    // As many as it decides again: the third try succeeds.
    store.then(Turn::After(vec![added(1)])).then(Turn::After(vec![added(2)]));
    assert_eq!(counter.execute(Command::Add(10)).await.unwrap().version, 3);
    // One more.
    store
        .then(Turn::After(vec![added(3)]))
        .then(Turn::After(vec![added(4)]))
        .then(Turn::After(vec![added(5)]));
    match counter.execute(Command::Add(20)).await {
        Err(ExecuteError::Conflict { stream: of, attempts }) => assert_eq!((of, attempts), (stream(), 3)),
        other => panic!("expected Conflict, got {other:?}"),
    }
    assert_eq!(stored(&store).await, [1, 2, 10, 3, 4, 5]);
    assert_eq!(now(&counter).await, (6, 25));
    assert_eq!(store.appended().len(), 1 + 3 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_manager_may_be_told_never_to_decide_again() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (_supervisor, counter) = start_as::<0>(store.clone(), |manager| manager.max_conflicts(0)).await;
    store.then(Turn::After(vec![added(1)]));
    let conflict = counter.execute(Command::Add(10)).await;
    assert!(matches!(conflict, Err(ExecuteError::Conflict { attempts: 1, .. })));
    assert_eq!(counter.execute(Command::Add(10)).await.unwrap().version, 2);
}
