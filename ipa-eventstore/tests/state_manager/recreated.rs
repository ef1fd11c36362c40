//! The stream is deleted, and one of its name made: what was known of it counts no more, whatever the versions say.

use std::sync::Arc;

use ipa_eventstore::{
    EventStore, ExecuteError, Expected, InMemoryEventStore, Json, ReplayError, Snapshot, SqliteEventStore,
    StateHandle, StoreError,
};
use ipa_supervisor::Supervisor;

use crate::counter::{Command, Counter, added, create, next, now, start, start_as, stored, stream};
use crate::scripted::{Scripted, Turn, gate};

async fn recreate(store: &dyn EventStore, numbers: &[u64]) {
    store.delete_stream(&stream()).await.unwrap();
    create(store, numbers).await;
}

/// Fewer events than before, as many, more, none.
const ANEW: [&[u64]; 5] = [&[50], &[50, 60], &[50, 60, 70], &[50, 60, 70, 80, 90], &[]];

async fn is_read_anew(store: impl EventStore + Clone) {
    create(&store, &[1, 2, 3]).await;
    let (supervisor, counter) = start(store.clone()).await;
    let mut watch = counter.watch().await.unwrap();
    watch.mark_unchanged();
    for anew in ANEW {
        recreate(&store, anew).await;
        let (version, sum) = (anew.len() as u64, anew.iter().sum::<u64>());
        // Decided on the new stream's state.
        assert_eq!(counter.execute(Command::Add(4)).await.unwrap().version, version + 1);
        assert_eq!(next(&mut watch).await, (version + 1, sum + 4));
        assert_eq!(stored(&store).await, [anew, &[4]].concat());
    }
    supervisor.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_made_anew_is_read_anew_in_memory() {
    is_read_anew(InMemoryEventStore::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_made_anew_is_read_anew_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteEventStore::open(directory.path().join("events.db")).await.unwrap();
    is_read_anew(store.clone()).await;
    store.close().await.unwrap();
}

/// What tells a stream from another is positions, which are never used twice; ids and contents may be the same.
#[tokio::test(start_paused = true)]
async fn the_same_ids_do_not_make_it_the_same_stream() {
    let store = InMemoryEventStore::new();
    let first = added(1);
    create(&store, &[]).await;
    store.append(&stream(), Expected::Any, vec![first.clone()]).await.unwrap();
    let (_supervisor, counter) = start(store.clone()).await;
    let before = counter.state().await.unwrap().position;
    recreate(&store, &[]).await;
    store.append(&stream(), Expected::Any, vec![first.clone(), added(5)]).await.unwrap();
    assert_eq!(counter.execute(Command::AddOnce(9, first.id)).await.unwrap().version, 1);
    assert_eq!(now(&counter).await, (2, 6));
    assert!(counter.state().await.unwrap().position > before);
}

/// A refusal is of the state that is known. One that is to have events is checked.
#[tokio::test(start_paused = true)]
async fn what_has_no_events_does_not_look() {
    let store = InMemoryEventStore::new();
    create(&store, &[1]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    recreate(&store, &[7]).await;
    assert!(
        matches!(counter.execute(Command::Refuse).await, Err(ExecuteError::Rejected(refused)) if refused.0 == 1)
    );
    assert_eq!(counter.execute(Command::Add(1)).await.unwrap().version, 2);
    assert!(
        matches!(counter.execute(Command::Refuse).await, Err(ExecuteError::Rejected(refused)) if refused.0 == 8)
    );
}

/// Starts a command that waits in the store before it is appended.
async fn in_flight(
    store: &Scripted,
    counter: &StateHandle<Counter>,
    command: Command,
) -> (
    tokio::task::JoinHandle<Result<ipa_eventstore::Executed, ExecuteError<crate::counter::Refused>>>,
    tokio::sync::oneshot::Sender<()>,
) {
    let (turn, at_gate, open) = gate();
    store.then(Turn::Gate(turn));
    let counter = counter.clone();
    let running = tokio::spawn(async move { counter.execute(command).await });
    at_gate.await.unwrap();
    (running, open)
}

#[tokio::test(start_paused = true)]
async fn a_command_in_flight_meets_a_conflict_and_is_decided_anew() {
    // With as many events, too.
    for anew in [&[50][..], &[50, 60], &[50, 60, 70]] {
        let store = Scripted::default();
        create(&store, &[1, 2]).await;
        let (_supervisor, counter) = start(store.clone()).await;
        let (running, open) = in_flight(&store, &counter, Command::Add(4)).await;
        recreate(&store, anew).await;
        open.send(()).unwrap();
        assert_eq!(running.await.unwrap().unwrap().version, anew.len() as u64 + 1);
        assert_eq!(stored(&store).await, [anew, &[4]].concat());
        assert_eq!(now(&counter).await, (anew.len() as u64 + 1, anew.iter().sum::<u64>() + 4));
    }
}

/// Appended, and deleted before that was known: it was stored, and the next command finds the stream as it is.
#[tokio::test(start_paused = true)]
async fn a_command_whose_events_went_with_the_stream_was_stored() {
    for anew in ANEW {
        let store = Scripted::default();
        create(&store, &[1, 2]).await;
        let (_supervisor, counter) = start(store.clone()).await;
        let (turn, at_gate, open) = gate();
        store.then(Turn::GateAfter(turn));
        let running = tokio::spawn({
            let counter = counter.clone();
            async move { counter.execute(Command::Add(4)).await }
        });
        at_gate.await.unwrap();
        assert_eq!(stored(&store).await, [1, 2, 4]);
        recreate(&store, anew).await;
        open.send(()).unwrap();
        assert_eq!(running.await.unwrap().unwrap().version, 3);
        assert_eq!(now(&counter).await, (3, 7));
        let (version, sum) = (anew.len() as u64, anew.iter().sum::<u64>());
        assert_eq!(counter.execute(Command::Add(1)).await.unwrap().version, version + 1);
        assert_eq!(now(&counter).await, (version + 1, sum + 1));
    }
}

/// A try that comes when the stream is another one is no try any more: it is decided anew.
#[tokio::test(start_paused = true)]
async fn a_late_try_does_not_land_in_the_new_stream() {
    let store = Scripted::default();
    create(&store, &[1, 2]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    let (turn, at_gate, open) = gate();
    store.then(Turn::GateThenIndeterminate(turn));
    let running = tokio::spawn({
        let counter = counter.clone();
        async move { counter.execute(Command::Add(4)).await }
    });
    at_gate.await.unwrap();
    recreate(&store, &[50, 60]).await;
    open.send(()).unwrap();
    assert_eq!(running.await.unwrap().unwrap().version, 3);
    assert_eq!((stored(&store).await, now(&counter).await), (vec![50, 60, 4], (3, 114)));
}

#[tokio::test(start_paused = true)]
async fn a_command_in_flight_whose_stream_is_gone_is_told_so() {
    let store = Scripted::default();
    create(&store, &[1, 2]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    let (running, open) = in_flight(&store, &counter, Command::Add(4)).await;
    store.delete_stream(&stream()).await.unwrap();
    open.send(()).unwrap();
    let gone = running.await.unwrap();
    assert!(matches!(gone, Err(ExecuteError::Store(StoreError::StreamNotFound { .. }))), "{gone:?}");
    create(&store, &[50]).await;
    assert_eq!(counter.execute(Command::Add(1)).await.unwrap().version, 2);
    assert_eq!(now(&counter).await, (2, 51));
}

async fn stop(supervisor: Supervisor) {
    supervisor.shutdown().await.unwrap();
}

/// A snapshot of the deleted stream that arrives late: the store takes it for one of the new stream. It is not used.
#[tokio::test(start_paused = true)]
async fn a_snapshot_of_the_deleted_stream_is_ignored() {
    for anew in [&[50, 60][..], &[50, 60, 70]] {
        let store = Scripted::default();
        create(&store, &[]).await;
        let (supervisor, counter) = start_as::<1>(store.clone(), |manager| manager.snapshot_every(2)).await;
        let (save, at_gate, open) = gate();
        store.then_save(save);
        counter.execute(Command::AddAll(vec![1, 2])).await.unwrap();
        at_gate.await.unwrap();
        recreate(&store, anew).await;
        open.send(()).unwrap();
        stop(supervisor).await;
        let late = store.inner.load_snapshot(&stream()).await.unwrap().unwrap();
        assert_eq!(late.version, 2, "the store cannot know");

        let (supervisor, counter) = start_as::<1>(store.clone(), |manager| manager.snapshot_every(0)).await;
        assert_eq!(now(&counter).await, (anew.len() as u64, anew.iter().sum()));
        stop(supervisor).await;
        // It is replaced.
        let (_supervisor, counter) = start_as::<1>(store.clone(), |manager| manager).await;
        store.take_reads();
        assert_eq!(now(&counter).await, (anew.len() as u64, anew.iter().sum()));
    }
}

/// The new stream is shorter than the last snapshot of the old one: it gets snapshots all the same.
#[tokio::test(start_paused = true)]
async fn the_new_stream_gets_snapshots_of_its_own() {
    let store = Scripted::default();
    create(&store, &[1; 50]).await;
    let (supervisor, counter) = start_as::<1>(store.clone(), |manager| manager.snapshot_every(10)).await;
    tokio::task::yield_now().await;
    recreate(&store, &[7; 5]).await;
    for _ in 0..6 {
        counter.execute(Command::Add(1)).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(store.inner.load_snapshot(&stream()).await.unwrap().unwrap().version, 10);
    stop(supervisor).await;
    assert_eq!(store.inner.load_snapshot(&stream()).await.unwrap().unwrap().version, 11);
    store.take_reads();
    let (_supervisor, counter) = start_as::<1>(store.clone(), |manager| manager).await;
    assert_eq!(store.take_reads(), [10]);
    assert_eq!(now(&counter).await, (11, 41));
}

/// A snapshot without the position of its last event, of whatever origin, is only a shortcut that is not taken.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_does_not_say_of_which_stream_it_is_is_ignored() {
    let store = Scripted::default();
    create(&store, &[1, 2, 3]).await;
    let bare = Json::of(&Counter::<1> { sum: 1_000_000, events: 2 }).unwrap();
    store.inner.save_snapshot(&stream(), Snapshot::new(2, 1, bare)).await.unwrap();
    let (_supervisor, counter) = start_as::<1>(store.clone(), |manager| manager).await;
    assert_eq!(now(&counter).await, (3, 6));
}

/// While the pages of a long stream are read, it is deleted and made anew: the pages are not mixed.
#[tokio::test(start_paused = true)]
async fn pages_of_two_streams_are_never_mixed() {
    for anew in [vec![], vec![5; 10], vec![5; 1500], vec![5; 3000]] {
        let store = Scripted::default();
        create(&store, &[1; 2500]).await;
        let (read, at_gate, open) = gate();
        store.then_read(1, read);
        let starting = tokio::spawn({
            let store = store.clone();
            async move { start(store).await }
        });
        at_gate.await.unwrap();
        recreate(&store, &anew).await;
        open.send(()).unwrap();
        let (_supervisor, counter) = starting.await.unwrap();
        assert_eq!(now(&counter).await, (anew.len() as u64, anew.iter().sum()));
    }
}

/// Another stream at every look: an end, not an endless loop.
#[tokio::test(start_paused = true)]
async fn a_stream_that_never_stands_still_is_given_up() {
    let store = Scripted::default();
    create(&store, &[1; 1500]).await;
    store.recreate_at_every_read(true);
    let (spec, counter) =
        ipa_eventstore::StateManager::<Counter>::new(Arc::new(store.clone()), stream()).child("state");
    let failed = match Supervisor::builder().child(spec).start().await {
        Err(ipa_supervisor::StartError::ChildFailed(failure)) => failure,
        other => panic!("expected a failed child, got {other:?}"),
    };
    let source = failed.reason.source().and_then(|source| source.downcast_ref::<ReplayError>());
    assert!(matches!(source, Some(ReplayError::Recreated { .. })), "{source:?}");
    assert!(!counter.is_up());
    assert_eq!(store.take_reads(), [0, 999].repeat(8));
}

/// A missing version is damage, wherever it is found to be missing: the end of the manager, and of every later start.
#[tokio::test(start_paused = true)]
async fn a_gap_within_a_stream_is_damage() {
    for hidden in [3, 2] {
        let store = Scripted::default();
        create(&store, &[1, 2]).await;
        let (supervisor, counter) = start(store.clone()).await;
        let mut watch = counter.watch().await.unwrap();
        watch.mark_unchanged();
        store.append(&stream(), Expected::Any, vec![added(3), added(4)]).await.unwrap();
        store.hide(Some(hidden));
        match counter.execute(Command::Add(5)).await {
            Err(ExecuteError::Replay(ReplayError::Gap { expected, found, .. })) => {
                assert_eq!((expected, found), (hidden, hidden + 1));
            }
            other => panic!("expected Gap, got {other:?}"),
        }
        assert!(!watch.has_changed().unwrap());
        let reason = supervisor.wait().await.to_string();
        assert!(reason.contains(&format!("no event {hidden}")), "{reason}");
        store.hide(None);
        assert_eq!(stored(&store).await, [1, 2, 3, 4]);
    }
}
