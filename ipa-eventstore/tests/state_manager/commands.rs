//! One command after the other: their order, their answers, readers, stops, dropped calls.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipa_eventstore::{
    EventStore, ExecuteError, InMemoryEventStore, SqliteEventStore, StateGone, StateHandle, StateManager,
    Subscribe,
};
use ipa_pod::{PodScope, PodSpec, PodSupervisor};
use ipa_supervisor::{BoxError, ChildSpec, StopMode, Supervisor};
use tokio::sync::oneshot;

use crate::counter::{Command, Counter, Refused, at, create, now, start, start_as, stored, stream};
use crate::scripted::{Scripted, Turn, gate};

#[tokio::test(start_paused = true)]
async fn a_command_is_decided_appended_applied_published_and_answered_in_that_order() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    let published = counter.watch().await.unwrap();
    let mut subscriber = store.subscribe(Subscribe::stream(&stream(), 0)).await.unwrap();

    let log = Arc::new(Mutex::new(Vec::new()));
    let note = {
        let (log, published) = (log.clone(), published.clone());
        Arc::new(move |what: &'static str| {
            log.lock().unwrap().push((what, published.borrow().version));
        })
    };
    let in_store = note.clone();
    store.probe(move || in_store("append"));
    counter.execute(Command::AddProbed(note.clone())).await.unwrap();
    note("answer");
    let order = log.lock().unwrap().clone();
    assert_eq!(order, [("decide", 0), ("append", 0), ("apply", 0), ("answer", 1)]);

    // Nothing has been awaited since the answer.
    assert_eq!(at(&published.borrow().clone()), (1, 1));
    assert_eq!(now(&counter).await, (1, 1));
    let event = tokio::time::timeout(Duration::ZERO, subscriber.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(event.version, 1);
}

#[tokio::test(start_paused = true)]
async fn all_events_of_a_command_are_one_append() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    let done = counter.execute(Command::AddAll(vec![1, 2, 3])).await.unwrap();
    assert_eq!((done.version, done.events), (3, 3));
    assert_eq!(store.appended().len(), 2, "the stream's creation, and one more");
    assert_eq!(now(&counter).await, (3, 6));
}

#[tokio::test(start_paused = true)]
async fn a_command_without_events_is_answered_without_an_append() {
    let store = Scripted::default();
    create(&store, &[5]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    let done = counter.execute(Command::AddAll(vec![])).await.unwrap();
    assert_eq!((done.version, done.events), (1, 0));
    assert_eq!(store.appended().len(), 1, "the stream's creation");
}

#[tokio::test(start_paused = true)]
async fn a_refused_command_leaves_all_as_it_was() {
    let store = InMemoryEventStore::new();
    create(&store, &[5]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    let watch = counter.watch().await.unwrap();
    let refused = counter.execute(Command::Refuse).await.unwrap_err();
    assert!(matches!(&refused, ExecuteError::Rejected(Refused(5))));
    assert_eq!(refused.to_string(), "not with a sum of 5");
    let unencodable = counter.execute(Command::Unencodable).await.unwrap_err();
    assert!(matches!(&unencodable, ExecuteError::Encode(source) if source.to_string() == "no form"));
    assert!(!watch.has_changed().unwrap());
    assert_eq!((stored(&store).await, now(&counter).await), (vec![5], (1, 5)));
    counter.execute(Command::Add(1)).await.unwrap();
    assert_eq!((stored(&store).await, now(&counter).await), (vec![5, 1], (2, 6)));
}

#[tokio::test(start_paused = true)]
async fn a_late_reader_sees_the_newest_and_a_slow_one_skips() {
    let store = InMemoryEventStore::new();
    create(&store, &[]).await;
    let (_supervisor, counter) = start(store).await;
    let mut slow = counter.watch().await.unwrap();
    for n in 1..=10 {
        counter.execute(Command::Add(n)).await.unwrap();
    }
    let late = counter.watch().await.unwrap();
    assert_eq!(at(&late.borrow().clone()), (10, 55));
    assert!(slow.has_changed().unwrap());
    assert_eq!(at(&slow.borrow_and_update().clone()), (10, 55));
    assert!(!slow.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn concurrent_commands_are_executed_one_at_a_time() {
    let store = InMemoryEventStore::new();
    create(&store, &[]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    // More than the mailbox has places.
    let callers = (0..3000).map(|_| {
        let counter = counter.clone();
        tokio::spawn(async move { counter.execute(Command::Add(1)).await.unwrap().version })
    });
    let mut versions = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        versions.push(caller.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=3000).collect::<Vec<_>>());
    assert_eq!(now(&counter).await, (3000, 3000));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_executed_all_the_same_and_whole() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    let (turn, at_gate, open) = gate();
    store.then(Turn::Gate(turn));
    let hasty = tokio::time::timeout(Duration::from_secs(1), counter.execute(Command::AddAll(vec![1, 2])));
    assert!(hasty.await.is_err());
    at_gate.await.unwrap();
    // Queued behind it, and dropped too.
    let queued = tokio::time::timeout(Duration::from_secs(1), counter.execute(Command::Add(4)));
    assert!(queued.await.is_err());
    assert_eq!(now(&counter).await, (0, 0));
    open.send(()).unwrap();
    assert_eq!(counter.execute(Command::Add(8)).await.unwrap().version, 4);
    assert_eq!((stored(&store).await, now(&counter).await), (vec![1, 2, 4, 8], (4, 15)));
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_the_command_in_hand_finish_and_takes_no_other() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (supervisor, counter) = start(store.clone()).await;
    let (turn, at_gate, open) = gate();
    store.then(Turn::Gate(turn));
    let execute = |n| {
        tokio::spawn({
            let counter = counter.clone();
            async move { counter.execute(Command::Add(n)).await }
        })
    };
    let in_hand = execute(1);
    at_gate.await.unwrap();
    let queued = execute(2);
    tokio::task::yield_now().await; // it is in the mailbox
    let stopping = tokio::spawn({
        let supervisor = supervisor.downgrade();
        async move { supervisor.shutdown().await }
    });
    tokio::task::yield_now().await; // the stop has been asked for
    open.send(()).unwrap();
    assert_eq!(in_hand.await.unwrap().unwrap().version, 1);
    assert!(matches!(queued.await.unwrap(), Err(ExecuteError::Gone)));
    stopping.await.unwrap().unwrap();
    assert_eq!(stored(&store).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn without_a_state_manager_everything_is_gone_at_once() {
    let store = InMemoryEventStore::new();
    create(&store, &[]).await;
    let (spec, counter) = StateManager::<Counter>::new(Arc::new(store), stream()).child("state");
    assert!(!counter.is_up());
    assert!(matches!(counter.execute(Command::Add(1)).await, Err(ExecuteError::Gone)));
    assert_eq!(counter.state().await.unwrap_err(), StateGone);
    assert_eq!(counter.watch().await.unwrap_err(), StateGone);

    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    assert!(counter.is_up());
    let policy = supervisor.get_childspec("state").await.unwrap().unwrap();
    assert_eq!(policy.stop_mode, StopMode::Cooperative);
    let mut watch = counter.watch().await.unwrap();
    supervisor.shutdown().await.unwrap();
    assert!(!counter.is_up());
    assert!(matches!(counter.execute(Command::Add(1)).await, Err(ExecuteError::Gone)));
    assert_eq!(counter.state().await.unwrap_err(), StateGone);
    // A watch ends when nothing can publish any more.
    drop((counter, supervisor));
    assert!(watch.changed().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn siblings_in_a_pod_find_the_handle_in_their_scope() {
    let store = InMemoryEventStore::new();
    create(&store, &[2]).await;
    let (answer, answered) = oneshot::channel();
    let answer = Arc::new(Mutex::new(Some(answer)));
    let factory = {
        let store = store.clone();
        move |scope: &PodScope| -> Result<PodSpec, BoxError> {
            let stream = scope.task().as_str().parse()?;
            let (state, _handle) =
                StateManager::<Counter>::new(Arc::new(store.clone()), stream).child("state");
            let (scope, answer) = (scope.clone(), answer.clone());
            let sibling = ChildSpec::task("sibling", move |_cx| {
                let (scope, answer) = (scope.clone(), answer.clone());
                async move {
                    let counter = scope.find::<StateHandle<Counter>>("state")?;
                    let done = counter.execute(Command::Add(3)).await?;
                    if let Some(answer) = answer.lock().unwrap().take() {
                        let _ = answer.send(done.version);
                    }
                    Ok::<(), BoxError>(())
                }
            });
            Ok(PodSpec::new().child(state).child(sibling))
        }
    };
    let pods = PodSupervisor::builder(store.clone(), factory).start().await.unwrap();
    pods.start_pod(stream().as_str()).await.unwrap();
    assert_eq!(answered.await.unwrap(), 2);
    pods.shutdown().await.unwrap();
    assert_eq!(stored(&store).await, [2, 3]);
}

/// ES-45 the same on the durable store: what was answered is stored, and so is a whole command whose caller left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_durable_store_answered_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let store = SqliteEventStore::open(&path).await.unwrap();
    create(&store, &[]).await;
    let (supervisor, counter) = start_as::<1>(store.clone(), |manager| manager.snapshot_every(10)).await;
    for n in 1..=25 {
        let done = counter.execute(Command::AddAll(vec![n, n])).await.unwrap();
        assert_eq!(done.version, 2 * n);
        assert!(now(&counter).await.0 >= done.version);
    }
    {
        let dropped = counter.execute(Command::AddAll(vec![1000, 1000]));
        tokio::pin!(dropped);
        // Polled once: it is in the mailbox.
        tokio::select! { biased; _ = &mut dropped => {}, () = std::future::ready(()) => {} }
    }
    assert_eq!(counter.execute(Command::Add(1)).await.unwrap().version, 53);
    supervisor.shutdown().await.unwrap();
    store.close().await.unwrap();

    let store = SqliteEventStore::open(&path).await.unwrap();
    assert_eq!(store.load_snapshot(&stream()).await.unwrap().unwrap().version, 53);
    let (supervisor, counter) = start_as::<1>(store.clone(), |manager| manager).await;
    assert_eq!(now(&counter).await, (53, 650 + 2000 + 1));
    supervisor.shutdown().await.unwrap();
    store.close().await.unwrap();
}
