//! Events, and what else tells of pods: listings, numbers, snapshots, metadata.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::*;
use ipa_pod::{PodEvent, PodEventsError, PodSpec, PodStatus, StartPodError};
use ipa_supervisor::{Cause, ExitReason};
use tokio::sync::Notify;

/// PL-47 `Ended` comes last, with the reason, when the key is free: a start from its handler works.
#[tokio::test(start_paused = true)]
async fn a_start_from_the_handler_of_ended_works() {
    let pods = start(&Streams::any(), ab(&Log::default())).await;
    let mut events = pods.subscribe();
    let first = pods.start_pod("t").await.unwrap();
    let manager = tokio::spawn({
        let pods = pods.clone();
        async move {
            for round in 0.. {
                loop {
                    let event = events.recv().await.unwrap();
                    if let PodEvent::Ended { pod, reason, was_active } = event {
                        assert!(was_active && pod.has_ended());
                        assert_eq!(reason.to_string(), format!("shutdown: {round}"));
                        break;
                    }
                }
                pods.start_pod("t").await.expect("the key is free");
                if round == 4 {
                    return pods.get_pod("t").unwrap();
                }
            }
            unreachable!()
        }
    });
    for round in 0..5 {
        settle().await;
        pods.stop_pod_with("t", round.to_string()).await.unwrap();
    }
    let last = manager.await.unwrap();
    assert_ne!(first, last);
    assert_eq!(last.status(), PodStatus::Active);
}

/// PL-47 the same on many threads: whoever reads `Ended` finds the key free, and whoever is answered finds it published.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ended_is_published_between_the_key_and_the_answer() {
    let pods = start(&Streams::any(), |_| PodSpec::new().child(idle("a"))).await;
    let mut events = pods.subscribe();
    let registry = pods.registry().clone();
    let (tell, mut handled) = tokio::sync::mpsc::unbounded_channel();
    let reader = tokio::spawn({
        let mut events = pods.subscribe();
        async move {
            while let Ok(event) = events.recv().await {
                if let PodEvent::Ended { pod, .. } = event {
                    let free = registry.pods().lookup("t").is_none_or(|standing| standing != pod);
                    tell.send(free).unwrap();
                }
            }
        }
    });
    for round in 0..200 {
        let pod = pods.start_pod("t").await.unwrap();
        match round % 2 {
            0 => pods.stop_pod("t").await.unwrap(),
            _ => {
                pod.request_stop("done");
                pod.wait().await;
            }
        }
        assert_eq!(
            names(&mut events),
            ["t starting", "t active", "t stopping", "t ended"],
            "all of it is published when the stop or the wait is over"
        );
        assert!(handled.recv().await.unwrap(), "the key was free");
    }
    reader.abort();
}

/// Gives way so many times before it is up.
struct GivesWay(usize);

#[ipa_pod::async_trait]
impl ipa_supervisor::Child for GivesWay {
    async fn init(
        &mut self,
        _cx: &mut ipa_supervisor::Context,
    ) -> Result<ipa_supervisor::Init, ipa_supervisor::BoxError> {
        give_way(self.0).await;
        Ok(ipa_supervisor::Init::Ready)
    }
    async fn run(
        &mut self,
        _cx: &mut ipa_supervisor::Context,
    ) -> Result<ipa_supervisor::Exit, ipa_supervisor::BoxError> {
        std::future::pending().await
    }
}

async fn give_way(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// PL-47 a stop that comes just when the last child comes up finds the pod active, or it has never been: `Active` is not published after
/// `Stopping`, and the start's answer says the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_at_the_moment_of_coming_up() {
    let pods = start(&Streams::any(), |scope| {
        let round: usize = scope.task().as_str().parse().unwrap();
        let child = |id, times| ipa_supervisor::ChildSpec::new(id, move || GivesWay(times));
        PodSpec::new().child(child("a", round % 4)).child(child("b", round / 4 % 4))
    })
    .await;
    for round in 0..10_000 {
        let mut events = pods.subscribe();
        let task = round.to_string();
        let start = tokio::spawn({
            let (pods, task) = (pods.clone(), task.clone());
            async move { pods.start_pod(&*task).await }
        });
        let stop = tokio::spawn({
            let (pods, task) = (pods.clone(), task.clone());
            async move {
                give_way(round % 59).await;
                if let Ok(pod) = pods.get_pod(&*task) {
                    pod.request_stop("now");
                }
            }
        });
        let started = start.await.unwrap().is_ok();
        stop.await.unwrap();
        let _ = pods.stop_pod(&*task).await;
        let (mut active, mut stopping) = (false, false);
        // None of a pod that was stopped before it was announced.
        while let Some(event) = events.try_recv().unwrap() {
            match event {
                // The end of the one before, whose key was free already.
                event if event.pod().task().as_str() != task => {}
                PodEvent::Active(_) => {
                    assert!(!stopping, "round {round}");
                    active = true;
                }
                PodEvent::Stopping { .. } => stopping = true,
                PodEvent::Ended { was_active, .. } => assert_eq!(was_active, active, "round {round}"),
                _ => {}
            }
        }
        assert_eq!(started, active, "round {round}");
    }
    pods.shutdown().await.unwrap();
}

/// PL-47 on many threads the events of each pod come in their order, in the midst of stops that overtake starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_of_a_pod_are_in_order() {
    let pods = start(&Streams::any(), |_| PodSpec::new().child(idle("a"))).await;
    let mut events = pods.subscribe();
    for round in 0..40 {
        let calls: Vec<_> = (0..6)
            .map(|n| {
                tokio::spawn({
                    let pods = pods.clone();
                    async move {
                        match n {
                            0..=2 => drop(pods.start_pod("t").await),
                            3 => drop(pods.restart_pod("t").await),
                            _ => drop(pods.stop_pod("t").await),
                        }
                    }
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        let _ = pods.stop_pod("t").await;
        // By pod: two incarnations may overlap in what is published of them, never in what they are.
        let mut pods_seen: Vec<(ipa_pod::PodRef, Vec<&str>)> = Vec::new();
        while let Ok(Some(event)) = events.try_recv() {
            let name = match &event {
                PodEvent::Starting(_) => "starting",
                PodEvent::Active(_) => "active",
                PodEvent::Stopping { .. } => "stopping",
                PodEvent::Ended { was_active: true, .. } => "ended",
                PodEvent::Ended { .. } => "failed",
                _ => "?",
            };
            match pods_seen.iter_mut().find(|(pod, _)| pod == event.pod()) {
                Some((_, names)) => names.push(name),
                None => pods_seen.push((event.pod().clone(), vec![name])),
            }
        }
        for (_, names) in pods_seen {
            let expected: [&[&str]; 4] = [
                &["starting", "active", "stopping", "ended"],
                &["starting", "stopping", "failed"],
                &["starting", "failed"],
                &["starting", "active", "ended"],
            ];
            assert!(expected.contains(&names.as_slice()), "round {round}: {names:?}");
        }
    }
}

/// PL-47 PL-33 a crashed child is told of, with the child as it ended and how; a failed start ends without having been active.
#[tokio::test(start_paused = true)]
async fn what_the_events_say() {
    let crash = Arc::new(Notify::new());
    let pods = start(&Streams::any(), {
        let crash = crash.clone();
        move |scope| {
            let fail = scope.task().as_str() == "bad";
            PodSpec::new()
                .child(crashing("c", &crash))
                .child(Logged { fail, ..Logged::new(&Log::default()) }.spec("d"))
        }
    })
    .await;
    let mut events = pods.subscribe();
    let pod = pods.start_pod("t").await.unwrap();
    crash.notify_one();
    settle().await;
    pods.stop_pod("t").await.unwrap();
    let mut seen = Vec::new();
    while let Ok(Some(event)) = events.try_recv() {
        assert_eq!(event.pod(), &pod);
        seen.push(match event {
            PodEvent::Starting(_) => "starting".to_owned(),
            PodEvent::Active(_) => "active".to_owned(),
            PodEvent::ChildRestarted { child, reason, .. } => format!("{child} {reason}"),
            PodEvent::Stopping { reason, .. } => format!("stopping {reason:?}"),
            PodEvent::Ended { reason, was_active, .. } => format!("ended {reason} {was_active}"),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["starting", "active", "c#1 failed: crashed", "stopping None", "ended shutdown true"]);
    let _ = pods.start_pod("bad").await.unwrap_err();
    assert!(matches!(events.recv().await.unwrap(), PodEvent::Starting(_)));
    match events.recv().await.unwrap() {
        PodEvent::Ended {
            reason: ExitReason::Shutdown(Cause::FailedToStart(failure)), was_active, ..
        } => {
            assert_eq!((failure.child.as_str(), was_active), ("d", false));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((names(&mut events).len(), pods.stats().child_restarts_total), (0, 1));
}

/// PL-33 PL-47 a child that crashes while those after it are still starting is restarted, and told of, before the pod is active.
#[tokio::test(start_paused = true)]
async fn a_crash_during_the_start() {
    let crash = Arc::new(Notify::new());
    let pods = start(&Streams::any(), {
        let crash = crash.clone();
        move |_| {
            let slow = Logged { init: SECOND, ..Logged::new(&Log::default()) };
            PodSpec::new().child(crashing("c", &crash)).child(slow.spec("d"))
        }
    })
    .await;
    let mut events = pods.subscribe();
    let mut call = Box::pin(pods.start_pod("t"));
    assert!(poll_once(&mut call).await.is_none());
    settle().await;
    crash.notify_one();
    assert_eq!(call.await.unwrap().restarts(), 1);
    assert_eq!(names(&mut events), ["t starting", "t child restarted", "t active"]);
}

/// PL-47 a subscriber that falls behind is told so, once, and goes on with the oldest that is left; it slows nobody.
#[tokio::test(start_paused = true)]
async fn a_lagged_subscriber_is_told() {
    let pods = start(&Streams::any(), |_| PodSpec::new()).await;
    let mut slow = pods.subscribe();
    // Four events each, and the channel holds 4096.
    for _ in 0..1100 {
        pods.start_pod("t").await.unwrap();
        pods.stop_pod("t").await.unwrap();
    }
    assert_eq!(slow.recv().await.unwrap_err(), PodEventsError::Lagged(4400 - 4096));
    assert!(matches!(slow.recv().await.unwrap(), PodEvent::Starting(_)));
    let mut rest = 1;
    while let Ok(Some(_)) = slow.try_recv() {
        rest += 1;
    }
    assert_eq!(rest, 4096);
    let mut dropped = Box::pin(slow.recv());
    assert!(poll_once(&mut dropped).await.is_none());
    drop(dropped);
    pods.start_pod("t").await.unwrap();
    assert_eq!(names(&mut slow), ["t starting", "t active"], "a dropped receive lost nothing");
}

/// PL-29 PL-30 a listing has each pod once, with its id, ref, status, start and restarts, and nothing but pods.
#[tokio::test(start_paused = true)]
async fn a_listing_of_pods() {
    let crash = Arc::new(Notify::new());
    let pods = start(&Streams::any(), {
        let crash = crash.clone();
        move |_| PodSpec::new().child(crashing("c", &crash)).child(idle("d"))
    })
    .await;
    assert_eq!((pods.count_pods(), pods.list_pods().len()), (0, 0));
    let a = pods.start_pod("a").await.unwrap();
    crash.notify_one();
    settle().await;
    let b = pods.start_pod("b").await.unwrap();
    assert_eq!((pods.count_pods(), pods.registry().children().count()), (2, 4));
    let mut rows = pods.list_pods();
    rows.sort_by(|x, y| x.task.cmp(&y.task));
    let seen: Vec<_> =
        rows.iter().map(|row| (row.task.as_str(), row.pod.clone(), row.status, row.restarts)).collect();
    assert_eq!(seen, [("a", a.clone(), PodStatus::Active, 1), ("b", b, PodStatus::Active, 0)]);
    assert_eq!(rows[0].started_at, a.started_at());
    pods.stop_pod("b").await.unwrap();
    assert_eq!((pods.count_pods(), pods.list_pods().len()), (1, 1));
}

/// PL-29 a snapshot of the whole tree is plain data, in order of task id, whatever the pods are doing.
#[tokio::test(start_paused = true)]
async fn a_snapshot_is_plain() {
    let crash = Arc::new(Notify::new());
    let streams = Streams::any();
    let pods = start(&streams, {
        let crash = crash.clone();
        move |_| PodSpec::new().child(crashing("c", &crash)).child(idle("d"))
    })
    .await;
    let pod = pods.start_pod("b").await.unwrap();
    assert_eq!(pod.set_metadata("colour", "red"), None);
    assert_eq!(pod.set_metadata("colour", "blue").as_deref(), Some("red"));
    crash.notify_one();
    settle().await;
    streams.set(|state| state.slow = SECOND);
    let mut call = Box::pin(pods.start_pod("a"));
    assert!(poll_once(&mut call).await.is_none());
    settle().await;
    let mut plain = serde_json::to_value(pods.snapshot().await).unwrap();
    for row in plain.as_array_mut().unwrap() {
        assert!(row.as_object_mut().unwrap().remove("started_at").is_some());
    }
    assert_eq!(
        plain,
        serde_json::json!([
            { "task": "a", "status": "starting", "restarts": 0, "labels": [], "metadata": {}, "children": [] },
            { "task": "b", "status": "active", "restarts": 1, "labels": [], "metadata": { "colour": "blue" }, "children": [
                { "child": { "id": "c", "slot": 0, "incarnation": 2 }, "state": "running", "kind": "worker", "restarts": 1 },
                { "child": { "id": "d", "slot": 1, "incarnation": 1 }, "state": "running", "kind": "worker", "restarts": 0 },
            ] },
        ])
    );
    call.await.unwrap();
}

/// PL-30 the numbers add up: of what was started, what has not ended is there, whatever came between.
#[tokio::test(start_paused = true)]
async fn the_numbers_add_up() {
    let (streams, crash) = (Streams::any(), Arc::new(Notify::new()));
    let pods = start(&streams, {
        let crash = crash.clone();
        move |scope| {
            let fail = scope.task().as_str().starts_with("bad");
            let last = Logged { fail, terminate: SECOND, ..Logged::new(&Log::default()) };
            PodSpec::new().child(crashing("c", &crash)).child(last.spec("d"))
        }
    })
    .await;
    for n in 0..6 {
        pods.start_pod(format!("t{n}")).await.unwrap();
    }
    for n in 0..2 {
        assert!(matches!(pods.start_pod(format!("bad{n}")).await, Err(StartPodError::ChildFailed { .. })));
    }
    assert!(matches!(pods.start_pod("t0").await, Err(StartPodError::AlreadyStarted { .. })));
    pods.stop_pod("t1").await.unwrap();
    pods.restart_pod("t2").await.unwrap();
    crash.notify_one();
    settle().await;
    streams.set(|state| state.slow = SECOND);
    let mut starting = Box::pin(pods.start_pod("t6"));
    assert!(poll_once(&mut starting).await.is_none());
    let mut stopping = Box::pin(pods.stop_pod("t3"));
    assert!(poll_once(&mut stopping).await.is_none());
    settle().await;
    let stats = pods.stats();
    assert_eq!((stats.starting, stats.active, stats.stopping, stats.stuck), (1, 4, 1, 0));
    assert_eq!((stats.started_total, stats.ended_total, stats.start_failures_total), (7, 2, 2));
    assert_eq!((stats.child_restarts_total, stats.stuck_total), (1, 0));
    assert_eq!(stats.started_total - stats.ended_total, (stats.active + stats.stopping) as u64);
    assert_eq!(pods.count_pods(), stats.starting + stats.active + stats.stopping + stats.stuck);
    let plain: HashMap<String, u64> = serde_json::from_value(serde_json::to_value(stats).unwrap()).unwrap();
    assert_eq!(plain["started_total"], 7);
    starting.await.unwrap();
    stopping.await.unwrap();
}
