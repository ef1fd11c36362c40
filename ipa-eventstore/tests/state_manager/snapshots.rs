//! Snapshots are a shortcut, and nothing waits for them.

use std::time::Duration;

use ipa_eventstore::{EventStore, ExecuteError, Expected, Json, Position, ReadStream, Snapshot, StateHandle};
use ipa_supervisor::Cause;
use tokio::time::Instant;

use crate::counter::{Command, Counter, added, create, next, now, start, start_as, stream};
use crate::scripted::{Scripted, gate};

async fn add(counter: &StateHandle<Counter<1>>, times: usize) {
    for _ in 0..times {
        counter.execute(Command::Add(1)).await.unwrap();
        // The snapshot's task gets its turn.
        tokio::task::yield_now().await;
    }
}

/// ES-28 saved every so many events and at the end; the next start reads on from there. Never ahead of the stream.
#[tokio::test(start_paused = true)]
async fn snapshots_are_saved_and_used() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (supervisor, counter) = start_as::<1>(store.clone(), |manager| manager.snapshot_every(10)).await;
    add(&counter, 25).await;
    supervisor.shutdown().await.unwrap();
    let saved = store.saved();
    assert_eq!(saved.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [10, 20, 25]);
    assert!(saved.iter().all(|(version, current)| version <= current), "{saved:?}");

    store.take_reads();
    let (supervisor, counter) = start_as::<1>(store.clone(), |manager| manager.snapshot_every(10)).await;
    // From the last event in it, which shows that it is of this stream.
    assert_eq!(store.take_reads(), [24]);
    assert_eq!(now(&counter).await, (25, 25));
    // Counted from the one that is there; and nothing new, nothing saved.
    add(&counter, 9).await;
    assert_eq!(store.saved().len(), 3);
    add(&counter, 1).await;
    assert_eq!(store.saved().last(), Some(&(35, 35)));
    supervisor.shutdown().await.unwrap();
    assert_eq!(store.saved().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_long_stream_gets_its_snapshot_at_the_start() {
    let store = Scripted::default();
    create(&store, &[1; 30]).await;
    let (save, at_gate, open) = gate();
    store.then_save(save);
    let (supervisor, _counter) = start_as::<1>(store.clone(), |manager| manager.snapshot_every(30)).await;
    at_gate.await.unwrap();
    open.send(()).unwrap();
    assert_eq!(store.saved(), [(30, 30)]);
    supervisor.shutdown().await.unwrap();
    assert_eq!(store.saved().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_zero_saves_at_the_end_alone_and_without_a_schema_there_are_none() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (supervisor, counter) = start_as::<1>(store.clone(), |manager| manager.snapshot_every(0)).await;
    add(&counter, 300).await;
    assert!(store.saved().is_empty());
    supervisor.shutdown().await.unwrap();
    assert_eq!(store.saved(), [(300, 300)]);

    let (supervisor, counter) = start_as::<0>(store.clone(), |manager| manager.snapshot_every(1)).await;
    assert_eq!(now(&counter).await, (300, 300));
    counter.execute(Command::Add(1)).await.unwrap();
    supervisor.shutdown().await.unwrap();
    assert_eq!(store.saved(), [(300, 300)]);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_not_understood_is_ignored() {
    // Of this stream, whose first events are the first of the store.
    let state = Counter::<1> { sum: 1_000_000, events: 2 };
    let wrong =
        Json::of(&serde_json::json!({"position": Position::from_parts(0, 0, 2), "state": state})).unwrap();
    let strange = Json::of("strange").unwrap();
    // It panics when it is made from this.
    let state = Counter::<1> { sum: u64::MAX, events: 2 };
    let panics =
        Json::of(&serde_json::json!({"position": Position::from_parts(0, 0, 2), "state": state})).unwrap();
    let snapshots = [
        Snapshot::new(2, 9, wrong.clone()),
        Snapshot::new(2, 1, strange),
        Snapshot::new(2, 1, panics),
        // There is no event by which it could be known to be of this stream.
        Snapshot::new(0, 1, wrong),
    ];
    for snapshot in snapshots {
        let store = Scripted::default();
        create(&store, &[1, 2, 3]).await;
        store.inner.save_snapshot(&stream(), snapshot).await.unwrap();
        let (supervisor, counter) = start_as::<1>(store.clone(), |manager| manager).await;
        assert_eq!(store.take_reads(), [0]);
        assert_eq!(now(&counter).await, (3, 6));
        supervisor.shutdown().await.unwrap();
        // It is replaced by one that is.
        assert_eq!(store.inner.load_snapshot(&stream()).await.unwrap().unwrap().schema, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_this_schema_is_what_the_state_begins_with() {
    let store = Scripted::default();
    create(&store, &[1, 2, 3]).await;
    // Tells that it is used by not being what the events amount to.
    let state = Counter::<1> { sum: 1_000_000, events: 2 };
    let second = store.inner.read_stream(&stream(), ReadStream::new().after(1).max_count(1)).await.unwrap();
    let data = serde_json::json!({"position": second[0].position, "state": state});
    store.inner.save_snapshot(&stream(), Snapshot::json(2, 1, &data).unwrap()).await.unwrap();
    let (_supervisor, counter) = start_as::<1>(store.clone(), |manager| manager).await;
    assert_eq!(now(&counter).await, (3, 1_000_003));
}

#[tokio::test(start_paused = true)]
async fn a_slow_snapshot_is_in_nobodys_way_and_goes_with_a_kill() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (supervisor, counter) = start_as::<1>(store.clone(), |manager| manager.snapshot_every(2)).await;
    let (save, at_gate, _never) = gate();
    store.then_save(save);
    add(&counter, 2).await;
    at_gate.await.unwrap();
    add(&counter, 8).await;
    assert_eq!(now(&counter).await, (10, 10));
    assert_eq!(store.saved(), [(2, 2)], "one at a time");
    let before = Instant::now();
    supervisor.kill(Cause::Requested(None));
    supervisor.wait().await;
    assert_eq!(before.elapsed(), Duration::ZERO, "nothing of it lives on until the kill grace is over");
    assert!(!counter.is_up());
    assert_eq!(store.inner.load_snapshot(&stream()).await.unwrap(), None);
    assert_eq!(store.saved().len(), 1, "no terminate after a kill");
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_snapshot_under_way_and_saves_the_last() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (supervisor, counter) = start_as::<1>(store.clone(), |manager| manager.snapshot_every(2)).await;
    let (save, at_gate, open) = gate();
    store.then_save(save);
    add(&counter, 3).await;
    at_gate.await.unwrap();
    let stopping = tokio::spawn({
        let supervisor = supervisor.downgrade();
        async move { supervisor.shutdown().await }
    });
    open.send(()).unwrap();
    stopping.await.unwrap().unwrap();
    assert_eq!(store.saved(), [(2, 2), (3, 3)]);
    assert_eq!(store.inner.load_snapshot(&stream()).await.unwrap().unwrap().version, 3);
}

#[tokio::test(start_paused = true)]
async fn no_snapshot_is_saved_after_a_crash() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (_supervisor, counter) = start_as::<1>(store.clone(), |manager| manager).await;
    let mut watch = counter.watch().await.unwrap();
    add(&counter, 3).await;
    watch.mark_unchanged();
    assert!(matches!(counter.execute(Command::PanicInDecide).await, Err(ExecuteError::Lost)));
    assert_eq!(next(&mut watch).await, (3, 3));
    assert!(store.saved().is_empty());
}

/// ES-29 a snapshot that another manager overtook is refused by the store, and harms nobody.
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_was_overtaken_is_left_alone() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (slow_supervisor, slow) = start_as::<1>(store.clone(), |manager| manager.snapshot_every(2)).await;
    let (save, at_gate, open) = gate();
    store.then_save(save);
    add(&slow, 2).await;
    at_gate.await.unwrap();
    store.append(&stream(), Expected::Any, vec![added(1)]).await.unwrap();
    let (other_supervisor, other) = start_as::<1>(store.clone(), |manager| manager).await;
    assert_eq!(now(&other).await, (3, 3));
    other_supervisor.shutdown().await.unwrap();
    open.send(()).unwrap();
    slow_supervisor.shutdown().await.unwrap();
    assert_eq!(store.inner.load_snapshot(&stream()).await.unwrap().unwrap().version, 3);
    // Whoever has no snapshots does not mind one.
    let (_supervisor, plain) = start(store.clone()).await;
    assert_eq!(now(&plain).await, (3, 3));
}
