//! Group strategies, significant children and backoff in pods.

mod common;

use std::time::Duration;

use common::{Log, Logged, SECOND, Streams, names, settle};
use ipa_pod::{PodScope, PodSpec, PodStatus, PodSupervisor};
use ipa_supervisor::{
    AutoShutdown, Backoff, Cause, ChildSpec, ChildState, ExitReason, SignificantRestart, Strategy,
};
use tokio::sync::watch;

/// A child that ends abnormally each time `crash` is changed after it came up.
fn crashing(crash: &watch::Receiver<()>, log: &Log, id: &'static str) -> ChildSpec {
    let (crash, log) = (crash.clone(), log.clone());
    ChildSpec::task(id, move |_cx| {
        let (mut crash, log) = (crash.clone(), log.clone());
        async move {
            crash.mark_unchanged();
            log.push(format!("+{id}"));
            let _ = crash.changed().await;
            Err::<(), _>("told to")
        }
    })
}

async fn pods(
    log: &Log,
    spec: impl Fn(&watch::Receiver<()>, &Log) -> PodSpec + Send + Sync + 'static,
) -> (PodSupervisor, watch::Sender<()>) {
    let (crash, crashes) = watch::channel(());
    let log = log.clone();
    let pods = PodSupervisor::builder(Streams::of(&["t"]), move |_: &PodScope| Ok(spec(&crashes, &log)));
    (pods.start().await.unwrap(), crash)
}

/// SG-02 SG-03 SG-04 a pod restarts by the strategy of its spec; a group is one restart of the pod's count.
#[tokio::test(start_paused = true)]
async fn a_pod_restarts_by_its_strategy() {
    for (strategy, expected) in [
        (Strategy::OneForOne, "+b"),
        (Strategy::RestForOne, "-c +b +c"),
        (Strategy::OneForAll, "-c -a +a +b +c"),
    ] {
        let log = Log::default();
        let (pods, crash) = pods(&log, move |crashes, log| {
            PodSpec::new()
                .strategy(strategy)
                .child(Logged::new(log).spec("a"))
                .child(crashing(crashes, log, "b"))
                .child(Logged::new(log).spec("c"))
        })
        .await;
        let pod = pods.start_pod("t").await.unwrap();
        settle().await;
        log.take();
        crash.send(()).unwrap();
        settle().await;
        assert_eq!(log.take().join(" "), expected, "{strategy:?}");
        assert_eq!((pod.restarts(), pods.stats().child_restarts_total), (1, 1));
        assert_eq!(pods.registry().children().count(), 3);
    }
}

/// CS-12 a pod is one_for_one unless told otherwise.
#[tokio::test(start_paused = true)]
async fn a_pod_is_one_for_one_unless_told_otherwise() {
    let log = Log::default();
    let (pods, crash) = pods(&log, |crashes, log| {
        let others = |id| Logged::new(log).spec(id);
        PodSpec::new().child(others("a")).child(crashing(crashes, log, "b")).child(others("c"))
    })
    .await;
    pods.start_pod("t").await.unwrap();
    settle().await;
    log.take();
    crash.send(()).unwrap();
    settle().await;
    assert_eq!(log.take(), ["+b"]);
}

/// SC-02 SC-03 a significant child that ends by itself ends its pod, for a reason of its own.
#[tokio::test(start_paused = true)]
async fn a_significant_child_ends_its_pod() {
    let log = Log::default();
    let (pods, crash) = pods(&log, |crashes, log| {
        let leader = crashing(crashes, log, "leader").significant(SignificantRestart::Temporary);
        PodSpec::new()
            .auto_shutdown(AutoShutdown::AnySignificant)
            .child(Logged::new(log).spec("a"))
            .child(leader)
    })
    .await;
    let pod = pods.start_pod("t").await.unwrap();
    settle().await;
    crash.send(()).unwrap();
    let reason = pod.wait().await;
    assert!(
        matches!(reason, ExitReason::Shutdown(Cause::Significant { child }) if child.as_str() == "leader")
    );
    assert_eq!(log.take(), ["+a", "+leader", "-a"]);
    assert_eq!(pods.count_pods(), 0);
}

/// SC-02 PL-20 PL-27 a pod that its significant child has ended is stopping, and says so, while its other children stop.
#[tokio::test(start_paused = true)]
async fn a_pod_that_ends_by_a_significant_child_says_that_it_stops() {
    let log = Log::default();
    let (pods, crash) = pods(&log, |crashes, log| {
        let leader = crashing(crashes, log, "leader").significant(SignificantRestart::Temporary);
        PodSpec::new()
            .auto_shutdown(AutoShutdown::AnySignificant)
            .child(Logged { terminate: SECOND, ..Logged::new(log) }.spec("slow"))
            .child(leader)
    })
    .await;
    let mut events = pods.subscribe();
    let pod = pods.start_pod("t").await.unwrap();
    settle().await;
    assert_eq!(names(&mut events), ["t starting", "t active"]);
    crash.send(()).unwrap();
    settle().await;
    assert_eq!((pod.status(), pods.pod_running("t")), (PodStatus::Stopping, false));
    assert_eq!(names(&mut events), ["t stopping"]);
    // A request is not lost to the pod on its way out.
    let next = pods.get_or_start("t").await.unwrap();
    assert!(next != pod && pod.has_ended());
    assert_eq!(names(&mut events), ["t ended", "t starting", "t active"]);
}

/// TM-11 a stop of a pod does not wait for a child's backoff.
#[tokio::test(start_paused = true)]
async fn a_pods_stop_cancels_a_backoff() {
    let log = Log::default();
    let (pods, crash) = pods(&log, |crashes, log| {
        let backoff = Backoff { initial: Duration::from_secs(20), ..Backoff::default() };
        PodSpec::new().child(crashing(crashes, log, "b").backoff(backoff))
    })
    .await;
    let pod = pods.start_pod("t").await.unwrap();
    settle().await;
    crash.send(()).unwrap();
    settle().await;
    assert_eq!(pod.which_children().await.unwrap()[0].state, ChildState::Restarting);
    let begun = tokio::time::Instant::now();
    pods.stop_pod("t").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(log.take(), ["+b"]);
}
