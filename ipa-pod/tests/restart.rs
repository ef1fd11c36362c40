//! Restarts: the key held throughout, at every stage of the old pod, and what comes of a failure.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::*;
use ipa_pod::{PodSpec, PodStatus, PodSupervisor, RestartPodError, StartPodError, StopPodError};
use ipa_registry::Event;
use ipa_supervisor::{BoxError, Child, ChildSpec, Context, Exit, ExitReason, Init, Shutdown, async_trait};
use tokio::time::Instant;

/// PL-21 PL-24 PL-48 a restart ends the old pod first and holds the key throughout.
#[tokio::test(start_paused = true)]
async fn a_restart_holds_the_key() {
    let log = Log::default();
    let pods = start(&Streams::any(), ab(&log)).await;
    let old = pods.start_pod("t").await.unwrap();
    old.set_metadata("colour", "red");
    let mut registry = pods.registry().pods().subscribe();
    let mut events = pods.subscribe();
    settle().await;
    let new = pods.restart_pod("t").await.unwrap();
    assert_ne!(old, new);
    assert!(old.has_ended() && !new.has_ended());
    assert_eq!(pods.get_pod("t").unwrap(), new);
    assert!(new.metadata().is_empty() && new.age() < old.age(), "a new incarnation");
    assert_eq!(log.take(), ["+a", "+b", "-b", "-a", "+a", "+b"]);
    assert_eq!(names(&mut events), ["t stopping", "t ended", "t starting", "t active"]);
    let event = registry.try_recv().unwrap();
    assert!(matches!(event, ipa_registry::Event::Updated { value, .. } if value == new));
    assert!(registry.try_recv().is_err(), "never unregistered");
    assert_eq!(old.wait().await.to_string(), "shutdown: restart");
    pods.stop_pod("t").await.unwrap();
    assert_eq!(pods.count_pods(), 0);
    let stats = pods.stats();
    assert_eq!((stats.started_total, stats.ended_total, stats.start_failures_total), (2, 2, 0));
}

/// PL-48 while the old pod takes its time to stop, and the new one to start, a rival start is told that there is one.
#[tokio::test(start_paused = true)]
async fn a_rival_start_is_refused_throughout() {
    let gauge = Gauge::default();
    let pods = start(&Streams::any(), {
        let gauge = gauge.clone();
        move |_| {
            let slow = Logged { init: 2 * SECOND, terminate: 2 * SECOND, ..Logged::new(&Log::default()) };
            PodSpec::new().child(slow.spec("slow")).child(gauge.child("g"))
        }
    })
    .await;
    let old = pods.start_pod("t").await.unwrap();
    let restart = tokio::spawn({
        let pods = pods.clone();
        async move { pods.restart_pod("t").await }
    });
    let mut statuses = Vec::new();
    for _ in 0..8 {
        tokio::time::sleep(500 * MS - MS / 10).await;
        match pods.start_pod("t").await {
            Err(StartPodError::AlreadyStarted { status, .. }) => statuses.push(status),
            other => panic!("{other:?}"),
        }
        assert_eq!(pods.count_pods(), 1);
    }
    assert_eq!(statuses[..4], [PodStatus::Stopping; 4]);
    assert_eq!(statuses[4..], [PodStatus::Starting; 4]);
    let new = restart.await.unwrap().unwrap();
    assert_eq!((new == old, gauge.most(), gauge.now()), (false, 1, 1));
}

/// PL-22 a restart of a task without a pod starts it; without a stream it says so.
#[tokio::test(start_paused = true)]
async fn a_restart_without_a_pod_starts_one() {
    let pods = start(&Streams::of(&["t"]), ab(&Log::default())).await;
    let pod = pods.restart_pod("t").await.unwrap();
    assert_eq!(pod.status(), PodStatus::Active);
    let error = pods.restart_pod("unknown").await.unwrap_err();
    assert!(
        matches!(&error, RestartPodError::Start(StartPodError::StreamNotFound(task)) if task.as_str() == "unknown"),
        "{error}"
    );
    assert_eq!(pods.count_pods(), 1);
}

/// PL-23 the stop succeeds and the new start fails: the error is the start's, and there is no pod.
#[tokio::test(start_paused = true)]
async fn a_restart_whose_start_fails_leaves_no_pod() {
    let (streams, fail) = (Streams::of(&["t"]), Arc::new(AtomicBool::new(false)));
    let log = Log::default();
    let pods = start(&streams, {
        let (fail, log) = (fail.clone(), log.clone());
        move |_| {
            let b = Logged { fail: fail.load(Ordering::SeqCst), ..Logged::new(&log) };
            PodSpec::new().child(Logged::new(&log).spec("a")).child(b.spec("b"))
        }
    })
    .await;
    let mut events = pods.subscribe();
    // By its store.
    pods.start_pod("t").await.unwrap();
    streams.set(|state| state.streams.clear());
    let error = pods.restart_pod("t").await.unwrap_err();
    assert!(matches!(error, RestartPodError::Start(StartPodError::StreamNotFound(_))), "{error}");
    assert_eq!((pods.count_pods(), pods.registry().children().count()), (0, 0));
    assert_eq!(
        names(&mut events),
        ["t starting", "t active", "t stopping", "t ended", "t starting", "t ended"]
    );
    // By a child.
    streams.set(|state| state.any = true);
    pods.start_pod("t").await.unwrap();
    fail.store(true, Ordering::SeqCst);
    log.take();
    let error = pods.restart_pod("t").await.unwrap_err();
    assert_eq!(
        chain(&error)[..3],
        [
            "the new pod did not start",
            "the pod of task `t` did not start",
            "child `b` failed to start: failed: b will not"
        ]
    );
    assert_eq!(log.take(), ["-b", "-a", "+a", "-a"]);
    assert!(matches!(pods.stop_pod("t").await, Err(StopPodError::NotRunning(_))));
    fail.store(false, Ordering::SeqCst);
    pods.start_pod("t").await.unwrap();
}

/// PL-21 PL-24 a restart before anything of the pod has run: the start is told that it ended, the new pod comes up.
#[tokio::test(start_paused = true)]
async fn a_restart_overtakes_a_start() {
    let (streams, log) = (Streams::any(), Log::default());
    let pods = start(&streams, ab(&log)).await;
    let mut call = Box::pin(pods.start_pod("t"));
    assert!(poll_once(&mut call).await.is_none());
    let restarted = tokio::time::timeout(60 * SECOND, pods.restart_pod("t")).await.expect("no hang").unwrap();
    assert!(matches!(call.await, Err(StartPodError::Ended { .. })));
    assert_eq!(pods.get_pod("t").unwrap(), restarted);
    assert_eq!(restarted.status(), PodStatus::Active);
    let log = log.take();
    assert!(log.ends_with(&["+a".to_owned(), "+b".to_owned()]), "{log:?}");
    assert_eq!(pods.registry().children().count(), 2);
}

/// PL-21 PL-24 a restart of a pod whose child is slow to start: it is rolled back, then the new one starts.
#[tokio::test(start_paused = true)]
async fn a_restart_during_a_start() {
    let log = Log::default();
    let pods = start(&Streams::any(), {
        let log = log.clone();
        move |_| {
            PodSpec::new()
                .child(Logged::new(&log).spec("a"))
                .child(Logged { init: 5 * SECOND, ..Logged::new(&log) }.spec("b"))
        }
    })
    .await;
    let begun = Instant::now();
    let mut call = Box::pin(pods.start_pod("t"));
    assert!(poll_once(&mut call).await.is_none());
    tokio::time::sleep(SECOND).await;
    let first = pods.get_pod("t").unwrap();
    let new = pods.restart_pod("t").await.unwrap();
    assert_eq!(
        (begun.elapsed(), log.take()),
        (6 * SECOND, ["+a", "-a", "+a", "+b"].map(String::from).to_vec())
    );
    let error = call.await.unwrap_err();
    assert!(
        matches!(&error, StartPodError::Ended { reason, .. } if reason.to_string() == "shutdown: restart"),
        "{error}"
    );
    assert!(first.has_ended() && first != new);
}

/// PL-24 PL-17 a restart of a pod that is stopping waits for its end, and the stop is answered Ok.
#[tokio::test(start_paused = true)]
async fn a_restart_during_a_stop() {
    let (log, gauge) = (Log::default(), Gauge::default());
    let pods = start(&Streams::any(), {
        let (log, gauge) = (log.clone(), gauge.clone());
        move |_| {
            let slow = Logged { terminate: 3 * SECOND, ..Logged::new(&log) };
            PodSpec::new().child(slow.spec("a")).child(gauge.child("g"))
        }
    })
    .await;
    let begun = Instant::now();
    let old = pods.start_pod("t").await.unwrap();
    let stop = tokio::spawn({
        let pods = pods.clone();
        async move { pods.stop_pod("t").await }
    });
    tokio::time::sleep(SECOND).await;
    let new = pods.restart_pod("t").await.unwrap();
    assert_eq!((begun.elapsed(), gauge.most()), (3 * SECOND, 1));
    stop.await.unwrap().unwrap();
    assert!(old.has_ended() && pods.get_pod("t").unwrap() == new);
    assert_eq!(log.take(), ["+a", "-a", "+a"]);
    assert_eq!(old.wait().await.to_string(), "shutdown", "the stop was first");
}

/// PL-48 of several restarts at once one is Ok; the others are told that there is a pod; never are there two.
#[tokio::test(start_paused = true)]
async fn of_two_restarts_one_wins() {
    let gauge = Gauge::default();
    let pods = start(&Streams::any(), {
        let gauge = gauge.clone();
        move |_| {
            let slow = Logged { init: SECOND, terminate: SECOND, ..Logged::new(&Log::default()) };
            PodSpec::new().child(slow.spec("a")).child(gauge.child("g"))
        }
    })
    .await;
    pods.start_pod("t").await.unwrap();
    let calls: Vec<_> = (0..5)
        .map(|_| {
            tokio::spawn({
                let pods = pods.clone();
                async move { pods.restart_pod("t").await }
            })
        })
        .collect();
    let mut won = Vec::new();
    for call in calls {
        match call.await.unwrap() {
            Ok(pod) => won.push(pod),
            Err(RestartPodError::Start(StartPodError::AlreadyStarted { .. })) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((won.len(), gauge.most()), (1, 1));
    assert_eq!(pods.get_pod("t").unwrap(), won[0]);
    pods.restart_pod("t").await.expect("a restart after it finds the way clear");
}

/// PL-24 PL-48 starts, stops and restarts from many threads: never two pods of a task, no call hangs, and in the end all is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_calls() {
    let gauges: Vec<Gauge> = (0..3).map(|_| Gauge::default()).collect();
    let pods = start(&Streams::any(), {
        let gauges = gauges.clone();
        move |scope| {
            let n: usize = scope.task().as_str().parse().unwrap();
            PodSpec::new().child(gauges[n].child("a")).child(idle("b"))
        }
    })
    .await;
    let calls: Vec<_> = (0..12_u64)
        .map(|seed| {
            tokio::spawn({
                let pods = pods.clone();
                async move {
                    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                    for _ in 0..150 {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        let task = (random % 3).to_string();
                        match (random >> 8) % 5 {
                            0 | 1 => match pods.start_pod(&*task).await {
                                Ok(_)
                                | Err(StartPodError::AlreadyStarted { .. } | StartPodError::Ended { .. }) => {
                                }
                                Err(other) => panic!("{other}"),
                            },
                            2 => match pods.stop_pod(&task).await {
                                Ok(()) | Err(StopPodError::NotRunning(_)) => {}
                                Err(other) => panic!("{other}"),
                            },
                            3 => match pods.restart_pod(&*task).await {
                                Ok(_)
                                | Err(RestartPodError::Start(
                                    StartPodError::AlreadyStarted { .. } | StartPodError::Ended { .. },
                                )) => {}
                                Err(other) => panic!("{other}"),
                            },
                            _ => {
                                // Dropped after its first look, in the middle of things.
                                let mut call: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> =
                                    if random & 1 << 40 == 0 {
                                        let pods = pods.clone();
                                        Box::pin(async move { drop(pods.restart_pod(&*task).await) })
                                    } else {
                                        let pods = pods.clone();
                                        Box::pin(async move { drop(pods.start_pod(&*task).await) })
                                    };
                                let _ = poll_once(&mut call).await;
                            }
                        }
                    }
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    for gauge in &gauges {
        assert!(gauge.most() <= 1, "two pods of one task");
    }
    pods.shutdown().await.unwrap();
    assert_eq!((pods.count_pods(), pods.registry().children().count()), (0, 0));
    assert!(gauges.iter().all(|gauge| gauge.now() == 0));
    let stats = pods.stats();
    assert_eq!(stats.started_total, stats.ended_total);
}

/// PL-24 a pod that ends by itself while a restart of it is on its way is restarted all the same.
#[tokio::test(start_paused = true)]
async fn a_restart_of_a_pod_that_ends_by_itself() {
    let pods = start(&Streams::any(), |_| {
        let slow = Logged { terminate: 2 * SECOND, ..Logged::new(&Log::default()) };
        PodSpec::new().child(slow.spec("a").shutdown(Shutdown::Infinity))
    })
    .await;
    let old = pods.start_pod("t").await.unwrap();
    old.request_stop("by itself");
    settle().await;
    let new = pods.restart_pod("t").await.unwrap();
    assert_ne!(old, new);
    assert_eq!(old.wait().await.to_string(), "shutdown: by itself");
    // At its very end: its key is free, and its ref is still about.
    pods.stop_pod("t").await.unwrap();
    assert!(matches!(new.wait().await, ExitReason::Shutdown(_)));
    pods.restart_pod("t").await.unwrap();
}

/// PL-48 a restart of a pod supervisor that has ended is refused, as a start is.
#[tokio::test(start_paused = true)]
async fn a_restart_after_the_end_is_refused() {
    let pods: PodSupervisor = start(&Streams::any(), ab(&Log::default())).await;
    pods.start_pod("t").await.unwrap();
    let weak = pods.downgrade();
    pods.shutdown().await.unwrap();
    assert!(matches!(pods.restart_pod("t").await, Err(RestartPodError::Start(StartPodError::Draining))));
    drop(pods);
    assert!(matches!(weak.restart_pod("t").await, Err(RestartPodError::Start(StartPodError::Draining))));
    assert!(matches!(weak.start_pod("t").await, Err(StartPodError::Draining)));
    assert!(matches!(weak.stop_pod("t").await, Err(StopPodError::NotRunning(_))));
    weak.drain().await.unwrap();
    weak.shutdown().await.unwrap();
    assert!(weak.child_spec("t".try_into().unwrap()).is_none());
}

/// PL-23 PL-24 a restart whose new pod does not start, and gets stuck in that, says so: the old one has ended.
#[tokio::test(start_paused = true)]
async fn a_restart_tells_which_pod_is_stuck() {
    let starts = Arc::new(AtomicUsize::new(0));
    let pods = start(&Streams::any(), move |_| {
        let first = starts.fetch_add(1, Ordering::SeqCst) == 0;
        // The second pod's child takes too long to start, and something of it outlives the kill.
        let child = ChildSpec::new("a", move || Held { lasts: if first { None } else { Some(5 * SECOND) } });
        PodSpec::new().child(child.start_timeout(SECOND))
    })
    .await;
    let old = pods.start_pod("t").await.unwrap();
    match pods.restart_pod("t").await.unwrap_err() {
        RestartPodError::Start(StartPodError::Stuck { children, .. }) => {
            assert_eq!(children.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a#1"]);
        }
        other => panic!("{other:?}"),
    }
    assert!(old.has_ended());
    match pods.restart_pod("t").await.unwrap_err() {
        RestartPodError::Stop(StopPodError::Stuck { children, .. }) => assert_eq!(children.len(), 1),
        other => panic!("{other:?}"),
    }
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(pods.count_pods(), 0);
}

/// A child whose `init` never ends, if something is to hold its lease for a while.
struct Held {
    lasts: Option<Duration>,
}

#[async_trait]
impl Child for Held {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let Some(lasts) = self.lasts else { return Ok(Init::Ready) };
        let lease = cx.lease();
        tokio::spawn(async move {
            tokio::time::sleep(lasts).await;
            drop(lease);
        });
        std::future::pending().await
    }

    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        std::future::pending().await
    }
}

/// PL-21 RG-47 while a restart waits for the pod before it, that one's children are found, listed and counted; then the new ones are, and
/// who follows the registry has seen it all.
#[tokio::test(start_paused = true)]
async fn children_are_found_as_long_as_they_run() {
    let log = Log::default();
    let pods = start(&Streams::any(), {
        let log = log.clone();
        move |_| {
            let slow = Logged { terminate: 2 * SECOND, ..Logged::new(&log) };
            PodSpec::new().child(slow.spec("a")).child(Logged::new(&log).spec("b"))
        }
    })
    .await;
    let children = pods.registry().children().clone();
    let mut events = children.subscribe_with_capacity(64);
    let (old, _other) = (pods.start_pod("t").await.unwrap(), pods.start_pod("other").await.unwrap());
    let key = |task: &str, child: &str| (task.try_into().unwrap(), child.into());
    let keys = || {
        let mut keys: Vec<_> =
            children.keys().iter().map(|(task, child)| format!("{task}/{child}")).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(
        (keys(), children.count()),
        (["other/a", "other/b", "t/a", "t/b"].map(String::from).into(), 4)
    );
    assert_eq!(children.select(|(task, _), _| task.as_str() == "t").len(), 2);
    assert!(!children.is_empty() && children.contains(&key("t", "b")) && !children.contains(&key("t", "c")));

    let restart = tokio::spawn({
        let pods = pods.downgrade();
        async move { pods.restart_pod("t").await }
    });
    tokio::time::sleep(SECOND).await;
    assert_eq!((keys(), children.count()), (["other/a", "other/b", "t/a"].map(String::from).into(), 3));
    assert!(children.lookup(&key("t", "a")).is_some() && !children.contains(&key("t", "b")));
    let new = restart.await.unwrap().unwrap();
    assert_ne!(new, old);
    assert_eq!((keys().len(), children.list().len(), children.count()), (4, 4, 4));

    let mut followed = BTreeSet::new();
    while let Ok(event) = events.try_recv() {
        let (task, child) = event.key();
        let name = format!("{task}/{child}");
        match event {
            Event::Unregistered { .. } => assert!(followed.remove(&name), "{name}"),
            _ => assert!(followed.insert(name), "each comes once: none publishes anything"),
        }
    }
    assert!(followed.into_iter().eq(keys()));
    pods.shutdown().await.unwrap();
    assert!(children.is_empty() && children.lookup(&key("t", "a")).is_none());
}
