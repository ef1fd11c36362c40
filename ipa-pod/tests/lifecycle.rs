//! Starts and stops of pods, case by case.

mod common;

use std::time::Duration;

use common::{Log, Logged, Streams, names};
use ipa_pod::{PodSpec, PodStatus, PodSupervisor, StartPodError, StopPodError};
use tokio::time::Instant;

async fn pods(streams: &Streams, log: &Log) -> PodSupervisor {
    let log = log.clone();
    PodSupervisor::builder(streams.clone(), move |_scope: &_| {
        Ok(PodSpec::new().child(Logged::new(&log).spec("a")).child(Logged::new(&log).spec("b")))
    })
    .start()
    .await
    .unwrap()
}

/// PL-01 PL-08 PL-13 PL-14 PL-26 PL-27 a pod is started once, found, and gone when its stop returns.
#[tokio::test(start_paused = true)]
async fn a_pod_starts_is_found_and_stops() {
    let (streams, log) = (Streams::of(&["t"]), Log::default());
    let pods = pods(&streams, &log).await;
    let mut events = pods.subscribe();
    let pod = pods.start_pod("t").await.unwrap();
    assert_eq!(pod.status(), PodStatus::Active);
    assert!(pods.pod_running("t"));
    assert_eq!(pods.get_pod("t").unwrap(), pod);
    assert_eq!(pods.registry().children().count(), 2);
    pods.stop_pod("t").await.unwrap();
    assert_eq!(log.take(), ["+a", "+b", "-b", "-a"]);
    assert!(!pods.pod_running("t"));
    assert!(pods.get_pod("t").is_err());
    assert_eq!((pods.count_pods(), pods.registry().children().count()), (0, 0));
    assert!(matches!(pods.stop_pod("t").await, Err(StopPodError::NotRunning(_))));
    assert_eq!(names(&mut events), ["t starting", "t active", "t stopping", "t ended"]);
    assert!(pod.has_ended());
}

/// PL-03 without a stream there is no pod, no entry, no child.
#[tokio::test(start_paused = true)]
async fn without_a_stream_there_is_no_pod() {
    let (streams, log) = (Streams::default(), Log::default());
    let pods = pods(&streams, &log).await;
    let error = pods.start_pod("t").await.unwrap_err();
    assert!(matches!(error, StartPodError::StreamNotFound(task) if task.as_str() == "t"));
    assert_eq!((pods.count_pods(), log.lines().len()), (0, 0));
}

/// PL-18 a stop takes the pod's shutdown timeout at most, whatever its children's deadlines add up to.
#[tokio::test(start_paused = true)]
async fn a_slow_stop_is_cut_at_the_pods_deadline() {
    let (streams, log) = (Streams::of(&["t"]), Log::default());
    let pods = PodSupervisor::builder(streams, {
        let log = log.clone();
        move |_scope: &_| {
            let slow = || Logged { terminate: Duration::from_secs(4), ..Logged::new(&log) };
            Ok(PodSpec::new().children((0..10).map(|n| slow().spec(&n.to_string()))))
        }
    })
    .start()
    .await
    .unwrap();
    pods.start_pod("t").await.unwrap();
    let begun = Instant::now();
    log.take();
    pods.stop_pod("t").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    assert_eq!(log.take(), ["-9", "-8"]);
}

/// PL-21 PL-24 PL-48 a restart holds the key throughout, and ends the old pod first.
#[tokio::test(start_paused = true)]
async fn a_restart_holds_the_key() {
    let (streams, log) = (Streams::of(&["t"]), Log::default());
    let pods = pods(&streams, &log).await;
    let old = pods.start_pod("t").await.unwrap();
    let mut registry = pods.registry().pods().subscribe();
    let mut events = pods.subscribe();
    let new = pods.restart_pod("t").await.unwrap();
    assert_ne!(old, new);
    assert!(old.has_ended());
    assert_eq!(pods.get_pod("t").unwrap(), new);
    assert_eq!(log.take(), ["+a", "+b", "-b", "-a", "+a", "+b"]);
    assert_eq!(names(&mut events), ["t stopping", "t ended", "t starting", "t active"]);
    let event = registry.try_recv().unwrap();
    assert!(matches!(event, ipa_registry::Event::Updated { value, .. } if value == new));
    assert!(registry.try_recv().is_err(), "never unregistered");
    pods.stop_pod("t").await.unwrap();
    assert_eq!(pods.count_pods(), 0);
}
