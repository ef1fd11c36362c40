//! Crashes, and starts from what is stored.

use std::sync::Arc;

use ipa_eventstore::{
    EventStore, ExecuteError, Expected, InMemoryEventStore, NewEvent, ReplayError, StateHandle, StateManager,
    StoreError,
};
use ipa_pod::{PodScope, PodSpec, PodSupervisor};
use ipa_supervisor::{Cause, ChildId, RestartIntensity, StartError, StartFailure, StopMode, Supervisor};

use crate::counter::{Command, Counter, added, create, next, now, start, start_as, stored, stream};
use crate::scripted::{Scripted, Turn, gate};

/// PL-44 a crash of the manager: restarted, under the same id, its state rebuilt from the stream; handle and watch lead on.
#[tokio::test(start_paused = true)]
async fn after_a_crash_the_next_incarnation_has_the_same_state() {
    let store = InMemoryEventStore::new();
    create(&store, &[]).await;
    let made = store.clone();
    let factory = move |scope: &PodScope| {
        let stream = scope.task().as_str().parse()?;
        Ok(PodSpec::new()
            .child(StateManager::<Counter>::new(Arc::new(made.clone()), stream).child("state").0))
    };
    let pods = PodSupervisor::builder(store.clone(), factory).start().await.unwrap();
    let pod = pods.start_pod(stream().as_str()).await.unwrap();
    let find = || {
        let state = ChildId::from("state");
        pods.registry().find::<StateHandle<Counter>>(pod.task(), &state).unwrap()
    };
    let counter = find();
    let mut watch = counter.watch().await.unwrap();
    counter.execute(Command::Add(7)).await.unwrap();
    counter.execute(Command::Add(8)).await.unwrap();
    assert_eq!(next(&mut watch).await, (2, 15));

    assert!(matches!(counter.execute(Command::PanicInDecide).await, Err(ExecuteError::Lost)));
    // The new incarnation publishes what it has read; whoever is woken by that can execute.
    assert_eq!(next(&mut watch).await, (2, 15));
    assert_eq!(counter.execute(Command::Add(1)).await.unwrap().version, 3);
    assert_eq!(now(&counter).await, (3, 16));
    assert_eq!(now(&find()).await, (3, 16));
    let children = pod.which_children().await.unwrap();
    assert_eq!(children.len(), 1);
    assert_eq!((children[0].child.id.as_str(), children[0].restarts), ("state", 1));
    pods.shutdown().await.unwrap();
    assert_eq!(stored(&store).await, [7, 8, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_at_a_crash_is_gone_and_what_is_in_hand_is_lost() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    let (turn, at_gate, open) = gate();
    store.then(Turn::Gate(turn));
    let execute = |command| {
        tokio::spawn({
            let counter = counter.clone();
            async move { counter.execute(command).await }
        })
    };
    let poison = execute(Command::Poison);
    at_gate.await.unwrap();
    let queued = execute(Command::Add(2));
    tokio::task::yield_now().await; // it is in the mailbox
    open.send(()).unwrap();
    assert!(matches!(poison.await.unwrap(), Err(ExecuteError::Lost)));
    assert!(matches!(queued.await.unwrap(), Err(ExecuteError::Gone)));
}

/// Stored, and not applied when the end comes: lost to the caller, but not to the stream, nor to any state after it.
#[tokio::test(start_paused = true)]
async fn an_end_between_append_and_apply_loses_nothing() {
    for kill in [false, true] {
        let store = Scripted::default();
        create(&store, &[1, 2]).await;
        let (spec, counter) =
            StateManager::<Counter<1>>::new(Arc::new(store.clone()), stream()).child("state");
        let spec = spec.stop_mode(StopMode::Drop);
        let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
        let watch = counter.watch().await.unwrap();
        let (turn, at_gate, _never) = gate();
        store.then(Turn::GateAfter(turn));
        let in_hand = tokio::spawn({
            let counter = counter.clone();
            async move { counter.execute(Command::Add(4)).await }
        });
        at_gate.await.unwrap();
        assert_eq!(stored(&store.inner).await, [1, 2, 4]);
        if kill {
            supervisor.kill(Cause::Requested(None));
            supervisor.wait().await;
        } else {
            supervisor.shutdown().await.unwrap();
        }
        assert!(matches!(in_hand.await.unwrap(), Err(ExecuteError::Lost)));
        assert!(!watch.has_changed().unwrap());
        // What was saved at the end is what was applied.
        let snapshot = store.load_snapshot(&stream()).await.unwrap();
        assert_eq!(snapshot.map(|snapshot| snapshot.version), (!kill).then_some(2));

        let (_supervisor, counter) = start_as::<1>(store.clone(), |manager| manager).await;
        assert_eq!(now(&counter).await, (3, 7));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_applied_is_never_published_and_fails_the_restarts() {
    let store = InMemoryEventStore::new();
    create(&store, &[3]).await;
    let (supervisor, counter) = start(store.clone()).await;
    let watch = counter.watch().await.unwrap();
    assert!(matches!(counter.execute(Command::Poison).await, Err(ExecuteError::Lost)));
    let reason = supervisor.wait().await;
    assert!(reason.to_string().contains("poison"), "{reason}");
    assert!(!watch.has_changed().unwrap());
    assert_eq!((watch.borrow().version, watch.borrow().state.sum), (1, 3));
    assert_eq!(store.stream_version(&stream()).await.unwrap(), 3);
}

/// ES-46 replay of a lifecycle rebuilds its state, over several pages too.
#[tokio::test(start_paused = true)]
async fn the_state_is_what_the_events_amount_to() {
    let store = InMemoryEventStore::new();
    create(&store, &[1; 2000]).await;
    for n in 0..3 {
        let (supervisor, counter) = start(store.clone()).await;
        assert_eq!(now(&counter).await, (2000 + 2 * n, 2000 + 30 * n));
        counter.execute(Command::AddAll(vec![10, 20])).await.unwrap();
        supervisor.shutdown().await.unwrap();
    }
    assert_eq!(stored(&store).await.len(), 2006);
}

async fn failed_start(store: InMemoryEventStore) -> Arc<StartFailure> {
    let (spec, counter) = StateManager::<Counter>::new(Arc::new(store), stream()).child("state");
    match Supervisor::builder().child(spec).start().await {
        Err(StartError::ChildFailed(failure)) => {
            assert!(!counter.is_up());
            failure
        }
        other => panic!("expected a failed child, got {other:?}"),
    }
}

fn replay_error(failure: &StartFailure) -> &ReplayError {
    failure.reason.source().and_then(|source| source.downcast_ref()).expect("a ReplayError")
}

/// ES-43 an event that cannot be decoded fails the start with an error that names stream and version.
#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_decoded_fails_the_start() {
    let store = InMemoryEventStore::new();
    create(&store, &[1]).await;
    let strange = NewEvent::json("strange", &()).unwrap();
    store.append(&stream(), Expected::Any, vec![strange, added(5)]).await.unwrap();
    let failure = failed_start(store).await;
    let error = replay_error(&failure);
    assert!(
        matches!(error, ReplayError::Decode { version: 2, source, .. } if source.to_string() == "strange is not known")
    );
    let text = error.to_string();
    assert!(text.contains("counter-1") && text.contains("event 2") && text.contains("strange"), "{text}");
}

/// ES-43 the same when somebody else appends it to a stream whose manager is up: told to the caller, and the end.
#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_decoded_ends_a_manager_that_is_up() {
    let store = InMemoryEventStore::new();
    create(&store, &[1]).await;
    let (spec, counter) = StateManager::<Counter>::new(Arc::new(store.clone()), stream()).child("state");
    let once = RestartIntensity { max_restarts: 0, ..RestartIntensity::default() };
    let supervisor = Supervisor::builder().child(spec).intensity(once).start().await.unwrap();
    let watch = counter.watch().await.unwrap();
    let strange = NewEvent::json("strange", &()).unwrap();
    store.append(&stream(), Expected::Any, vec![strange]).await.unwrap();
    match counter.execute(Command::Add(1)).await {
        Err(ExecuteError::Replay(ReplayError::Decode { version, .. })) => assert_eq!(version, 2),
        other => panic!("expected Replay, got {other:?}"),
    }
    let reason = supervisor.wait().await.to_string();
    assert!(reason.contains("strange event 2 of stream counter-1"), "{reason}");
    assert!(!watch.has_changed().unwrap());
    assert_eq!(store.stream_version(&stream()).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_missing_stream_and_a_closed_store_fail_the_start() {
    let store = InMemoryEventStore::new();
    let failure = failed_start(store.clone()).await;
    let missing = replay_error(&failure);
    assert!(matches!(missing, ReplayError::Store(StoreError::StreamNotFound { .. })), "{missing:?}");
    store.close();
    let failure = failed_start(store).await;
    let closed = replay_error(&failure);
    assert!(matches!(closed, ReplayError::Store(StoreError::Closed)), "{closed:?}");
}
