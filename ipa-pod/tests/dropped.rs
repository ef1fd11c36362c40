//! Calls whose futures are dropped, after any number of looks: the operation goes on to one of its proper ends.

mod common;

use std::future::Future;
use std::pin::Pin;

use common::*;
use ipa_pod::{PodSpec, PodStatus, PodSupervisor, StartPodError};

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What passes between two looks.
#[derive(Clone, Copy, Debug)]
enum Between {
    /// Nothing: the future alone is polled.
    Nothing,
    /// Every other task gets one turn.
    Turn,
    /// Everything happens that can, and a millisecond passes.
    Millisecond,
}

/// A pod supervisor whose pods have a slow child between two that are counted, and take their time to be admitted.
async fn slow_pods(gauge: &Gauge, log: &Log) -> PodSupervisor {
    let streams = Streams::any();
    streams.set(|state| (state.slow, state.log) = (3 * MS, log.clone()));
    builder(&streams, {
        let gauge = gauge.clone();
        move |_| {
            let slow = Logged { init: 3 * MS, terminate: 3 * MS, ..Logged::new(&Log::default()) };
            PodSpec::new().child(gauge.child("a")).child(slow.spec("b")).child(idle("c"))
        }
    })
    .max_starting(1)
    .start()
    .await
    .unwrap()
}

/// Makes a call in a world that `prepare` has made, looks at it 0, 1, 2 ... times, drops it, waits, and then judges: until a
/// number of looks is reached at which the call is done.
async fn dropped_after_every_look(
    prepare: impl AsyncFn(&PodSupervisor),
    call: impl Fn(PodSupervisor) -> Call,
    judge: impl AsyncFn(&PodSupervisor, bool),
) {
    for between in [Between::Nothing, Between::Turn, Between::Millisecond] {
        let mut looks = 0;
        loop {
            let (gauge, log) = (Gauge::default(), Log::default());
            let pods = slow_pods(&gauge, &log).await;
            prepare(&pods).await;
            let mut call = call(pods.clone());
            let mut done = false;
            for _ in 0..looks {
                if poll_once(&mut call).await.is_some() {
                    done = true;
                    break;
                }
                match between {
                    Between::Nothing => {}
                    Between::Turn => tokio::task::yield_now().await,
                    Between::Millisecond => settle().await,
                }
            }
            drop(call);
            tokio::time::sleep(60 * SECOND).await;
            judge(&pods, looks > 0).await;
            // Nothing half-started: whoever is there is whole, and is one.
            let rows = pods.list_pods();
            assert!(rows.iter().all(|row| row.status == PodStatus::Active), "{between:?} {looks}: {rows:?}");
            assert_eq!(
                (gauge.now(), gauge.most() <= rows.len().max(1)),
                (rows.len(), true),
                "{between:?} {looks}"
            );
            assert_eq!(pods.registry().children().count(), 3 * rows.len(), "{between:?} {looks}");
            let stats = pods.stats();
            assert_eq!(stats.started_total - stats.ended_total, rows.len() as u64, "{between:?} {looks}");
            // And the task is free for whatever is next.
            match pods.start_pod("t").await {
                Ok(_) => assert!(rows.is_empty()),
                Err(StartPodError::AlreadyStarted { .. }) => assert_eq!(rows.len(), 1),
                Err(other) => panic!("{between:?} {looks}: {other}"),
            }
            pods.restart_pod("t").await.unwrap();
            pods.stop_pod("t").await.unwrap();
            assert_eq!((pods.count_pods(), gauge.now()), (0, 0), "{between:?} {looks}");
            let given = pods.stats().started_total;
            assert!(log.lines().len() as u64 >= given, "every permit is back");
            pods.shutdown().await.unwrap();
            if done || looks > 40 {
                break;
            }
            looks += 1;
        }
        assert!(matches!(between, Between::Millisecond | Between::Turn) || looks > 40);
    }
}

/// PL-01 PL-11 a start that is dropped: not begun, the key is free; begun, the pod comes up.
#[tokio::test(start_paused = true)]
async fn a_dropped_start() {
    dropped_after_every_look(
        async |_| {},
        |pods| Box::pin(async move { drop(pods.start_pod("t").await) }),
        async |pods, begun| assert_eq!(pods.pod_running("t"), begun),
    )
    .await;
}

/// PL-13 PL-17 a stop that is dropped: not begun, the pod lives; begun, it ends.
#[tokio::test(start_paused = true)]
async fn a_dropped_stop() {
    dropped_after_every_look(
        async |pods| drop(pods.start_pod("t").await.unwrap()),
        |pods| Box::pin(async move { pods.stop_pod("t").await.unwrap() }),
        async |pods, begun| {
            assert_eq!((pods.pod_running("t"), pods.count_pods()), (!begun, usize::from(!begun)))
        },
    )
    .await;
}

/// PL-13 PL-17 a stop that is dropped while the pod is still starting: not begun, the pod comes up; begun, nothing of it stays.
#[tokio::test(start_paused = true)]
async fn a_dropped_stop_of_a_starting_pod() {
    dropped_after_every_look(
        async |pods| {
            let mut call = Box::pin(pods.start_pod("t"));
            assert!(poll_once(&mut call).await.is_none());
        },
        |pods| Box::pin(async move { pods.stop_pod("t").await.unwrap() }),
        async |pods, begun| {
            assert_eq!((pods.pod_running("t"), pods.count_pods()), (!begun, usize::from(!begun)))
        },
    )
    .await;
}

/// PL-21 PL-48 a restart that is dropped: not begun, the old pod lives; begun, the new one comes up. There is always one.
#[tokio::test(start_paused = true)]
async fn a_dropped_restart() {
    dropped_after_every_look(
        async |pods| {
            drop(pods.start_pod("t").await.unwrap());
            pods.get_pod("t").unwrap().set_metadata("old", "yes");
        },
        |pods| Box::pin(async move { drop(pods.restart_pod("t").await.unwrap()) }),
        async |pods, begun| {
            let pod = pods.get_pod("t").unwrap();
            assert_eq!(pod.metadata().is_empty(), begun);
        },
    )
    .await;
}

/// PL-22 a restart that is dropped, of a task without a pod, is a start that is dropped.
#[tokio::test(start_paused = true)]
async fn a_dropped_restart_without_a_pod() {
    dropped_after_every_look(
        async |_| {},
        |pods| Box::pin(async move { drop(pods.restart_pod("t").await.unwrap()) }),
        async |pods, begun| assert_eq!(pods.pod_running("t"), begun),
    )
    .await;
}

/// PL-48 a restart that is dropped while the pod it would restart is still starting.
#[tokio::test(start_paused = true)]
async fn a_dropped_restart_of_a_starting_pod() {
    dropped_after_every_look(
        async |pods| {
            let mut call = Box::pin(pods.start_pod("t"));
            assert!(poll_once(&mut call).await.is_none());
        },
        |pods| Box::pin(async move { drop(pods.restart_pod("t").await.unwrap()) }),
        async |pods, _| assert!(pods.pod_running("t")),
    )
    .await;
}

/// PL-37 a drain that is dropped: whatever it has asked to stop stops; begun, no pod is started any more.
#[tokio::test(start_paused = true)]
async fn a_dropped_drain() {
    let (gauge, log) = (Gauge::default(), Log::default());
    let pods = slow_pods(&gauge, &log).await;
    for n in 0..5 {
        pods.start_pod(format!("t{n}")).await.unwrap();
    }
    let mut drain = Box::pin(pods.drain());
    assert!(poll_once(&mut drain).await.is_none());
    drop(drain);
    tokio::time::sleep(SECOND).await;
    assert_eq!((pods.count_pods(), gauge.now()), (0, 0));
    assert!(matches!(pods.start_pod("t").await, Err(StartPodError::Draining)));
}

/// PL-06 starts that are dropped while the supervisor's queue is full have not been made, and leave no key behind.
#[tokio::test(start_paused = true)]
async fn dropped_in_a_full_queue() {
    let (gauge, log) = (Gauge::default(), Log::default());
    let pods = slow_pods(&gauge, &log).await;
    let mut calls: Vec<_> = (0..200).map(|n| Box::pin(pods.start_pod(format!("t{n}")))).collect();
    for call in &mut calls {
        assert!(poll_once(call).await.is_none());
    }
    assert_eq!(pods.count_pods(), 200);
    drop(calls);
    tokio::time::sleep(60 * SECOND).await;
    let rows = pods.list_pods();
    assert!(!rows.is_empty() && rows.len() < 200, "{}", rows.len());
    assert!(rows.iter().all(|row| row.status == PodStatus::Active));
    assert_eq!((gauge.now(), pods.count_pods()), (rows.len(), rows.len()));
    for n in 0..200 {
        let started = pods.start_pod(format!("t{n}")).await;
        assert!(matches!(started, Ok(_) | Err(StartPodError::AlreadyStarted { .. })), "{started:?}");
    }
    assert_eq!(pods.count_pods(), 200);
}
