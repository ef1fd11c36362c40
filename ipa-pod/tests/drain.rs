//! The end of a pod supervisor: drained, shut down, dropped, gone with its runtime; and another one after it.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use ipa_pod::{
    PodEvent, PodEventsError, PodRegistry, PodSpec, PodStatus, RestartPodError, ShutdownPodsError,
    StartPodError,
};
use ipa_supervisor::{Cause, ExitReason, Shutdown};
use tokio::time::Instant;

/// A pod whose stop takes the number of seconds that its id says.
fn timed(log: &Log) -> impl Fn(&ipa_pod::PodScope) -> PodSpec + Send + Sync + 'static + use<> {
    let log = log.clone();
    move |scope| {
        let terminate = Duration::from_secs(scope.task().as_str().parse().unwrap());
        PodSpec::new().child(Logged { terminate, ..Logged::new(&log) }.spec(scope.task().as_str()))
    }
}

/// PL-37 a drain stops all pods side by side, refuses starts from then on, and answers questions still.
#[tokio::test(start_paused = true)]
async fn a_drain_stops_all_side_by_side() {
    let log = Log::default();
    let pods = start(&Streams::any(), timed(&log)).await;
    for task in ["3", "1", "2"] {
        pods.start_pod(task).await.unwrap();
    }
    log.take();
    let begun = Instant::now();
    let drain = tokio::spawn({
        let pods = pods.clone();
        async move { pods.drain().await }
    });
    settle().await;
    assert!(matches!(pods.start_pod("4").await, Err(StartPodError::Draining)));
    assert!(matches!(pods.restart_pod("3").await, Err(RestartPodError::Start(StartPodError::Draining))));
    assert!(pods.list_pods().iter().all(|row| row.status == PodStatus::Stopping));
    assert_eq!((pods.count_pods(), pods.stats().stopping), (3, 3));
    pods.drain().await.unwrap();
    drain.await.unwrap().unwrap();
    assert_eq!((begun.elapsed(), log.take()), (3 * SECOND, ["-1", "-2", "-3"].map(String::from).to_vec()));
    assert_eq!(pods.count_pods(), 0);
    pods.drain().await.unwrap();
    assert!(matches!(pods.start_pod("1").await, Err(StartPodError::Draining)));
    pods.shutdown().await.unwrap();
}

/// A drain that is answered when all has ended does not say that something has not, though it was stuck for a while.
#[tokio::test(start_paused = true)]
async fn a_drain_says_what_is_stuck_when_it_answers() {
    let pods = start(&Streams::any(), |scope| {
        // Held after the kill: longer than the grace, but not as long as the other's stop takes.
        let stuck = ipa_supervisor::ChildSpec::task("stuck", |cx| async move {
            let lease = cx.lease();
            tokio::spawn(async move {
                tokio::time::sleep(5 * SECOND).await;
                drop(lease);
            });
            std::future::pending::<()>().await
        });
        let slow = Logged { terminate: 9 * SECOND, ..Logged::new(&Log::default()) };
        match scope.task().as_str() {
            "slow" => PodSpec::new().child(slow.spec("slow").shutdown(Shutdown::Infinity)),
            _ => PodSpec::new().child(stuck.shutdown(Shutdown::BrutalKill)),
        }
    })
    .await;
    for task in ["slow", "a", "b", "c", "d", "e", "f"] {
        pods.start_pod(task).await.unwrap();
    }
    let begun = Instant::now();
    pods.drain().await.unwrap();
    assert_eq!((begun.elapsed(), pods.count_pods()), (9 * SECOND, 0));
}

/// PL-37 a drain in the middle of starts and restarts leaves nothing behind, whatever their stage.
#[tokio::test(start_paused = true)]
async fn a_drain_catches_starts_and_restarts() {
    let gauge = Gauge::default();
    for wait_ms in [0, 500, 1500, 2500, 3500] {
        let streams = Streams::any();
        let pods = start(&streams, {
            let gauge = gauge.clone();
            move |_| {
                let slow = Logged { init: SECOND, terminate: SECOND, ..Logged::new(&Log::default()) };
                PodSpec::new().child(gauge.child("g")).child(slow.spec("a"))
            }
        })
        .await;
        pods.start_pod("old").await.unwrap();
        streams.set(|state| state.slow = SECOND);
        let mut starting = Box::pin(pods.start_pod("new"));
        let mut restarting = Box::pin(pods.restart_pod("old"));
        assert!(poll_once(&mut starting).await.is_none());
        assert!(poll_once(&mut restarting).await.is_none());
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        pods.drain().await.unwrap();
        assert_eq!((pods.count_pods(), gauge.now()), (0, 0), "after {wait_ms} ms");
        let (started, restarted) = (starting.await, restarting.await);
        assert!(started.is_ok() == (wait_ms > 2000), "{started:?} after {wait_ms} ms");
        assert!(restarted.is_ok() == (wait_ms > 3000), "{restarted:?} after {wait_ms} ms");
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!((pods.count_pods(), gauge.now()), (0, 0), "after {wait_ms} ms and long after");
    }
}

/// PL-37 restarts that wait for their old pods are refused by a drain, in whatever order the old ones end and the drain sees it.
#[tokio::test(start_paused = true)]
async fn a_drain_refuses_restarts_that_wait() {
    let pods = start(&Streams::any(), |_| {
        let slow = Logged { terminate: SECOND, ..Logged::new(&Log::default()) };
        PodSpec::new().child(slow.spec("a"))
    })
    .await;
    let mut restarts = Vec::new();
    for n in 0..8 {
        // Others, that end at the same moment: the drain waits for one after the other.
        pods.start_pod(format!("other {n}")).await.unwrap().request_stop("over");
        pods.start_pod(format!("{n}")).await.unwrap();
        let pods = pods.clone();
        restarts.push(tokio::spawn(async move { pods.restart_pod(format!("{n}")).await }));
    }
    tokio::time::sleep(SECOND / 2).await;
    let mut events = pods.subscribe();
    // On a task of its own, whose turn may come before that of the new pods.
    let drain = tokio::spawn({
        let pods = pods.clone();
        async move { pods.drain().await }
    });
    drain.await.unwrap().unwrap();
    for restart in restarts {
        let answer = restart.await.unwrap();
        assert!(matches!(answer, Err(RestartPodError::Start(StartPodError::Draining))), "{answer:?}");
    }
    // Of a new pod nothing has begun.
    assert!(names(&mut events).iter().all(|name| name.ends_with("ended")));
}

/// PL-37 a drain against starts from other threads: what is Ok is gone when it returns, what comes later is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_drain_races_with_starts() {
    for round in 0..100 {
        let gauge = Gauge::default();
        let pods = start(&Streams::any(), {
            let gauge = gauge.clone();
            move |_| PodSpec::new().child(gauge.child("g"))
        })
        .await;
        pods.start_pod("r").await.unwrap();
        let calls: Vec<_> = (0..8)
            .map(|n| {
                tokio::spawn({
                    let pods = pods.clone();
                    async move {
                        if n < 2 {
                            drop(pods.restart_pod("r").await);
                        } else {
                            drop(pods.start_pod(format!("{n}")).await);
                        }
                    }
                })
            })
            .collect();
        pods.drain().await.unwrap();
        assert_eq!(gauge.now(), 0, "round {round}: a pod outlived the drain");
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!((pods.count_pods(), gauge.now()), (0, 0), "round {round}: a pod came up after the drain");
    }
}

/// PL-37 a shutdown stops all pods side by side, each within its own time; calls afterwards are answered at once.
#[tokio::test(start_paused = true)]
async fn a_shutdown_stops_all_side_by_side() {
    let log = Log::default();
    let pods = start(&Streams::any(), timed(&log)).await;
    let mut events = pods.subscribe();
    let mut refs = Vec::new();
    for task in ["3", "1", "20", "2"] {
        refs.push(pods.start_pod(task).await.unwrap());
    }
    log.take();
    let begun = Instant::now();
    pods.shutdown().await.unwrap();
    // The child of `20` was killed at its own deadline.
    assert_eq!((begun.elapsed(), log.take()), (5 * SECOND, ["-1", "-2", "-3"].map(String::from).to_vec()));
    assert!(refs.iter().all(|pod| pod.has_ended()));
    assert_eq!((pods.count_pods(), pods.registry().children().count()), (0, 0));
    assert_eq!(names(&mut events).iter().filter(|name| name.ends_with("ended")).count(), 4);
    pods.shutdown().await.unwrap();
    assert!(matches!(pods.start_pod("1").await, Err(StartPodError::Draining)));
    assert!(pods.get_pod("1").is_err() && !pods.pod_running("1"));
    assert_eq!((pods.list_pods().len(), pods.snapshot().await.len()), (0, 0));
}

/// PL-37 at the shutdown's own deadline the pods that are left are killed.
#[tokio::test(start_paused = true)]
async fn a_shutdown_has_a_deadline() {
    let log = Log::default();
    let pods = builder(&Streams::any(), timed(&log)).shutdown_timeout(2 * SECOND).start().await.unwrap();
    let quick = pods.start_pod("1").await.unwrap();
    let slow = pods.start_pod("4").await.unwrap();
    let begun = Instant::now();
    pods.shutdown().await.unwrap();
    assert_eq!((begun.elapsed(), log.take()), (2 * SECOND, ["+1", "+4", "-1"].map(String::from).to_vec()));
    assert!(matches!(quick.wait().await, ExitReason::Shutdown(_)));
    assert!(matches!(slow.wait().await, ExitReason::Killed));
    assert_eq!(pods.count_pods(), 0);
}

/// PL-37 two shutdowns join; one that is dropped goes on; a start that is under way is told.
#[tokio::test(start_paused = true)]
async fn shutdowns_join() {
    let pods = start(&Streams::any(), timed(&Log::default())).await;
    pods.start_pod("3").await.unwrap();
    let begun = Instant::now();
    let mut dropped = Box::pin(pods.shutdown());
    assert!(poll_once(&mut dropped).await.is_none());
    drop(dropped);
    tokio::time::sleep(SECOND).await;
    let (a, b) = tokio::join!(pods.shutdown(), pods.shutdown());
    a.unwrap();
    b.unwrap();
    assert_eq!((begun.elapsed(), pods.count_pods()), (3 * SECOND, 0));
}

/// PL-37 a shutdown while a pod starts rolls the start back, and the start says why.
#[tokio::test(start_paused = true)]
async fn a_shutdown_during_a_start() {
    for slow_store in [true, false] {
        let (streams, log) = (Streams::any(), Log::default());
        streams.set(|state| state.slow = if slow_store { 9 * SECOND } else { Duration::ZERO });
        let pods = start(&streams, {
            let log = log.clone();
            move |_| {
                PodSpec::new()
                    .child(Logged::new(&log).spec("a"))
                    .child(Logged { init: 9 * SECOND, ..Logged::new(&log) }.spec("b"))
            }
        })
        .await;
        let mut call = Box::pin(pods.start_pod("t"));
        assert!(poll_once(&mut call).await.is_none());
        settle().await;
        let begun = Instant::now();
        pods.shutdown().await.unwrap();
        assert_eq!((begun.elapsed(), pods.count_pods()), (Duration::ZERO, 0));
        let error = call.await.unwrap_err();
        assert!(
            matches!(&error, StartPodError::Ended { reason: ExitReason::Shutdown(Cause::Requested(_)), .. }),
            "{error}"
        );
        let expected: &[&str] = if slow_store { &[] } else { &["+a", "-a"] };
        assert_eq!(log.take(), expected);
    }
}

/// PL-36 when the last handle is dropped all pods are stopped gracefully in the background; until then none is.
#[tokio::test(start_paused = true)]
async fn the_last_handle_stops_all() {
    let log = Log::default();
    let pods = start(&Streams::any(), timed(&log)).await;
    let mut events = pods.subscribe();
    let pod = pods.start_pod("2").await.unwrap();
    let (clone, weak) = (pods.clone(), pods.downgrade());
    drop(pods);
    settle().await;
    assert_eq!(clone.get_pod("2").unwrap().status(), PodStatus::Active);
    drop(clone);
    settle().await;
    assert_eq!(pod.status(), PodStatus::Stopping);
    assert!(matches!(weak.start_pod("1").await, Err(StartPodError::Draining)));
    assert!(matches!(pod.wait().await, ExitReason::Shutdown(Cause::Requested(None))));
    assert_eq!((log.take(), weak.count_pods()), (vec!["+2".to_owned(), "-2".to_owned()], 0));
    assert_eq!(names(&mut events), ["2 starting", "2 active", "2 stopping", "2 ended"]);
    settle().await;
    assert_eq!(events.try_recv().unwrap_err(), PodEventsError::Closed);
    assert_eq!(weak.subscribe().try_recv().unwrap_err(), PodEventsError::Closed);
}

/// PL-36 a pod's child that keeps a weak handle keeps nothing alive.
#[tokio::test(start_paused = true)]
async fn weak_handles_keep_nothing_alive() {
    let gauge = Gauge::default();
    let slot: Arc<std::sync::OnceLock<ipa_pod::PodSupervisorRef>> = Arc::default();
    let pods = start(&Streams::any(), {
        let (slot, gauge) = (slot.clone(), gauge.clone());
        move |scope| {
            let _held = (slot.get().cloned(), scope.clone());
            PodSpec::new().child(gauge.child("g"))
        }
    })
    .await;
    slot.set(pods.downgrade()).unwrap();
    let pod = pods.start_pod("t").await.unwrap();
    drop(pods);
    pod.wait().await;
    assert_eq!(gauge.now(), 0);
}

/// PL-36 a whole stack is shut down and a new one made: no pod comes back, and starts work; two stacks side by side share
/// nothing.
#[tokio::test(start_paused = true)]
async fn a_second_stack() {
    let log = Log::default();
    let first = start(&Streams::any(), ab(&log)).await;
    first.start_pod("t").await.unwrap();
    let beside = start(&Streams::any(), ab(&Log::default())).await;
    let mut events = beside.subscribe();
    beside.start_pod("t").await.unwrap();
    first.shutdown().await.unwrap();
    log.take();
    drop(first);
    assert!(beside.pod_running("t"));
    assert_eq!(names(&mut events), ["t starting", "t active"]);
    assert_eq!((beside.stats().started_total, beside.stats().ended_total), (1, 0));
    let second = start(&Streams::any(), ab(&log)).await;
    settle().await;
    assert_eq!((second.count_pods(), log.take().len()), (0, 0));
    second.start_pod("t").await.unwrap();
    assert_eq!((second.count_pods(), beside.count_pods()), (1, 1));
}

/// PL-36 PL-37 a stack that goes with its runtime frees every key and tells whoever waits elsewhere; the registry, made before
/// the pods, outlives them, and another stack may use it.
#[test]
fn a_stack_goes_with_its_runtime() {
    let registry = PodRegistry::new();
    let gauge = Gauge::default();
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let make = |gauge: &Gauge| {
        let gauge = gauge.clone();
        move |_: &ipa_pod::PodScope| PodSpec::new().child(gauge.child("g").shutdown(Shutdown::Infinity))
    };
    let first = runtime();
    let (pods, pod, mut events) = first.block_on(async {
        let pods = builder(&Streams::any(), make(&gauge)).registry(registry.clone()).start().await.unwrap();
        let events = pods.subscribe();
        let pod = pods.start_pod("t").await.unwrap();
        (pods, pod, events)
    });
    assert_eq!((registry.pods().count(), registry.children().count()), (1, 1));
    drop(first);
    assert_eq!((registry.pods().count(), registry.children().count(), gauge.now()), (0, 0, 0));
    let second = runtime();
    second.block_on(async {
        assert!(matches!(pod.wait().await, ExitReason::Killed));
        assert!(pod.which_children().await.is_err());
        assert!(matches!(pods.start_pod("t").await, Err(StartPodError::Draining)));
        pods.shutdown().await.unwrap();
        assert_eq!(names(&mut events), ["t starting", "t active", "t ended"]);
        let again = builder(&Streams::any(), make(&gauge)).registry(registry.clone()).start().await.unwrap();
        again.start_pod("t").await.unwrap();
        assert_eq!(registry.pods().count(), 1);
        again.shutdown().await.unwrap();
    });
    assert_eq!((registry.pods().count(), registry.children().count()), (0, 0));
}

/// PL-36 the runtime goes in the middle of a start: the key is free, and the caller is told.
#[test]
fn a_start_goes_with_its_runtime() {
    let registry = PodRegistry::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let streams = Streams::any();
    streams.set(|state| state.slow = 600 * SECOND);
    let pods =
        runtime.block_on(builder(&streams, ab(&Log::default())).registry(registry.clone()).start()).unwrap();
    let mut events = pods.subscribe();
    let mut call = Box::pin(pods.start_pod("t"));
    runtime.block_on(async {
        assert!(poll_once(&mut call).await.is_none());
        assert!(matches!(events.recv().await.unwrap(), PodEvent::Starting(_)));
    });
    assert_eq!(registry.pods().count(), 1);
    drop(runtime);
    assert_eq!(registry.pods().count(), 0);
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let result = other.block_on(call);
    assert!(result.is_err(), "{result:?}");
}

/// PL-37 a shutdown that a child asks for without waiting stops all, the asker too.
#[tokio::test(start_paused = true)]
async fn a_child_may_request_a_shutdown() {
    let slot: Arc<std::sync::OnceLock<ipa_pod::PodSupervisorRef>> = Arc::default();
    let pods = start(&Streams::any(), {
        let slot = slot.clone();
        move |scope| {
            if scope.task().as_str() != "asks" {
                return PodSpec::new().child(idle("a"));
            }
            let slot = slot.clone();
            PodSpec::new().child(ipa_supervisor::ChildSpec::task("a", move |_cx| {
                let pods = slot.get().unwrap().clone();
                async move {
                    tokio::time::sleep(SECOND).await;
                    pods.request_shutdown();
                    std::future::pending::<()>().await
                }
            }))
        }
    })
    .await;
    slot.set(pods.downgrade()).unwrap();
    let other = pods.start_pod("other").await.unwrap();
    let asks = pods.start_pod("asks").await.unwrap();
    other.wait().await;
    asks.wait().await;
    assert!(!matches!(pods.shutdown().await, Err(ShutdownPodsError::WouldDeadlock)));
    assert_eq!(pods.count_pods(), 0);
}
