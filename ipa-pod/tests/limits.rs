//! Limits and numbers: how many pods there may be, how many start at once, how long anything may take; and many of them.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use ipa_pod::{PodSpec, PodStatus, PodSupervisor, StartPodError};
use ipa_supervisor::RestartIntensity;
use tokio::sync::{Barrier, Notify};
use tokio::time::Instant;

/// PL-06 the same on many threads, again and again; never are there two.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_starts_on_many_threads_one_wins() {
    let (streams, gauge) = (Streams::any(), Gauge::default());
    let pods = start(&streams, {
        let gauge = gauge.clone();
        move |_| PodSpec::new().child(gauge.child("a"))
    })
    .await;
    for round in 0..50 {
        let barrier = Arc::new(Barrier::new(8));
        let calls: Vec<_> = (0..8)
            .map(|_| {
                tokio::spawn({
                    let (pods, barrier) = (pods.clone(), barrier.clone());
                    async move {
                        barrier.wait().await;
                        pods.start_pod("t").await
                    }
                })
            })
            .collect();
        let mut won = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(_) => won += 1,
                Err(StartPodError::AlreadyStarted { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!((won, gauge.most()), (1, 1), "round {round}");
        pods.stop_pod("t").await.unwrap();
        assert_eq!((pods.count_pods(), gauge.now()), (0, 0));
    }
    assert_eq!(streams.asked(), 50);
}

/// PL-12 no length of time is too long to be given: none means "no limit" to whoever says `Duration::MAX`.
#[tokio::test(start_paused = true)]
async fn limits_may_be_endless() {
    let (log, crash) = (Log::default(), Arc::new(Notify::new()));
    let pods = builder(&Streams::of(&["t"]), {
        let (log, crash) = (log.clone(), crash.clone());
        move |_| {
            PodSpec::new()
                .child(Logged::new(&log).spec("a").shutdown(ipa_supervisor::Shutdown::Timeout(Duration::MAX)))
                .child(crashing("b", &crash).start_timeout(Duration::MAX))
                .start_timeout(Duration::MAX)
                .shutdown_timeout(Duration::MAX)
                .kill_grace(Duration::MAX)
                .intensity(RestartIntensity::new(3, Duration::MAX))
        }
    })
    .admission_timeout(Duration::MAX)
    .shutdown_timeout(Duration::MAX)
    .start()
    .await
    .unwrap();
    let pod = pods.start_pod("t").await.unwrap();
    crash.notify_one();
    settle().await;
    assert_eq!((pod.restarts(), pod.status()), (1, PodStatus::Active));
    pods.stop_pod("t").await.unwrap();
    assert_eq!(log.take(), ["+a", "-a"]);
    pods.start_pod("t").await.unwrap();
    pods.shutdown().await.unwrap();
    assert_eq!(log.take(), ["+a", "-a"]);
}

/// PL-30 the limit on pods is exact: a place is free when the stop returns, a failed start gives it back, a restart keeps it.
#[tokio::test(start_paused = true)]
async fn the_limit_on_pods_is_exact() {
    let streams = Streams::any();
    let pods = builder(&streams, ab(&Log::default())).max_pods(2).start().await.unwrap();
    pods.start_pod("a").await.unwrap();
    streams.set(|state| state.down = true);
    assert!(matches!(pods.start_pod("b").await, Err(StartPodError::Unavailable { .. })));
    streams.set(|state| state.down = false);
    pods.start_pod("b").await.unwrap();
    assert!(matches!(pods.start_pod("c").await, Err(StartPodError::AtCapacity(2))));
    assert!(matches!(pods.start_pod("a").await, Err(StartPodError::AlreadyStarted { .. })), "before full");
    pods.restart_pod("a").await.unwrap();
    assert!(matches!(pods.start_pod("c").await, Err(StartPodError::AtCapacity(2))));
    pods.stop_pod("a").await.unwrap();
    pods.start_pod("c").await.unwrap();
    let none = builder(&streams, ab(&Log::default())).max_pods(0).start().await.unwrap();
    assert!(matches!(none.start_pod("a").await, Err(StartPodError::AtCapacity(0))));
}

/// PL-30 the limit on pods holds while many threads start and stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_limit_on_pods_holds_on_many_threads() {
    let (streams, gauge) = (Streams::any(), Gauge::default());
    let pods = builder(&streams, {
        let gauge = gauge.clone();
        move |_| PodSpec::new().child(gauge.child("a"))
    })
    .max_pods(5)
    .start()
    .await
    .unwrap();
    let calls: Vec<_> = (0..16)
        .map(|n| {
            tokio::spawn({
                let pods = pods.clone();
                async move {
                    let mut started = 0;
                    for round in 0..30 {
                        let task = format!("{n}-{round}");
                        match pods.start_pod(&*task).await {
                            Ok(_) => {
                                started += 1;
                                pods.stop_pod(&task).await.unwrap();
                            }
                            Err(StartPodError::AtCapacity(5)) => tokio::task::yield_now().await,
                            Err(other) => panic!("{other}"),
                        }
                    }
                    started
                }
            })
        })
        .collect();
    let mut started = 0;
    for call in calls {
        started += call.await.unwrap();
    }
    assert!(gauge.most() <= 5, "{}", gauge.most());
    assert_eq!((pods.count_pods(), gauge.now()), (0, 0));
    assert_eq!((pods.stats().started_total, pods.stats().ended_total), (started, started));
    for n in 0..5 {
        pods.start_pod(format!("t{n}")).await.unwrap();
    }
    assert!(matches!(pods.start_pod("t5").await, Err(StartPodError::AtCapacity(5))));
}

/// PL-31 no more pods start at once than may; a start that fails gives its place on.
#[tokio::test(start_paused = true)]
async fn starts_wait_their_turn() {
    let pods = builder(&Streams::any(), |scope| {
        let fail = scope.task().as_str().ends_with('3');
        PodSpec::new().child(Logged { init: SECOND, fail, ..Logged::new(&Log::default()) }.spec("a"))
    })
    .max_starting(2)
    .start()
    .await
    .unwrap();
    let begun = Instant::now();
    let calls: Vec<_> = (0..10)
        .map(|n| {
            tokio::spawn({
                let pods = pods.clone();
                async move { (n, pods.start_pod(format!("t{n}")).await.is_ok(), begun.elapsed()) }
            })
        })
        .collect();
    for call in calls {
        let (n, ok, after) = call.await.unwrap();
        assert_eq!((ok, after), (n != 3, (n / 2 + 1) * SECOND), "pod {n}");
    }
    assert_eq!(pods.count_pods(), 9);
}

/// PL-30 PL-31 a thousand pods start and stop, and nothing is left.
#[tokio::test(start_paused = true)]
async fn a_thousand_pods_come_and_go() {
    let (log, gauge) = (Log::default(), Gauge::default());
    let streams = Streams::any();
    streams.set(|state| state.log = log.clone());
    let pods = start(&streams, {
        let gauge = gauge.clone();
        move |_| PodSpec::new().child(gauge.child("a")).child(gauge.child("b"))
    })
    .await;
    let all = |action: fn(PodSupervisor, String) -> tokio::task::JoinHandle<()>| {
        let pods = pods.clone();
        async move {
            let calls: Vec<_> = (0..1000).map(|n| action(pods.clone(), format!("t{n}"))).collect();
            for call in calls {
                call.await.unwrap();
            }
        }
    };
    all(|pods, task| tokio::spawn(async move { drop(pods.start_pod(task).await.unwrap()) })).await;
    settle().await;
    assert_eq!((pods.count_pods(), pods.list_pods().len(), gauge.now()), (1000, 1000, 2000));
    assert_eq!(pods.registry().children().count(), 2000);
    all(|pods, task| tokio::spawn(async move { pods.stop_pod(task).await.unwrap() })).await;
    assert_eq!((pods.count_pods(), pods.registry().children().count(), gauge.now()), (0, 0, 0));
    assert_eq!(log.lines().len(), 1000, "every permit is back");
    let stats = pods.stats();
    assert_eq!((stats.started_total, stats.ended_total, stats.start_failures_total), (1000, 1000, 0));
}
