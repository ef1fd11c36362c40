//! Idle stops, `get_or_start`, and labels.

mod common;

use std::sync::Mutex;
use std::time::Duration;

use common::{Log, Logged, Streams, names};
use ipa_pod::{
    PodScope, PodSpec, PodStatus, PodSupervisor, PodSupervisorRef, ShutdownPodsError, StartPodError,
};
use ipa_supervisor::{
    BoxError, CallError, Cause, ChildSpec, ExitReason, Flow, Reply, Server, ServerContext, async_trait,
};
use tokio::time::{Instant, sleep};

const IDLE: Duration = Duration::from_secs(60);

enum Ask {
    /// Declares activity.
    Touch(Reply<()>),
    /// Is busy for so long.
    Work(Duration),
    /// Declares nothing.
    Look(Reply<()>),
}

struct Worker(PodScope);

#[async_trait]
impl Server for Worker {
    type Message = Ask;
    async fn handle(&mut self, ask: Ask, _cx: &mut ServerContext<Ask>) -> Result<Flow, BoxError> {
        match ask {
            Ask::Touch(reply) => {
                self.0.touch();
                reply.send(());
            }
            Ask::Work(time) => {
                let _busy = self.0.busy();
                sleep(time).await;
            }
            Ask::Look(reply) => reply.send(()),
        }
        Ok(Flow::Continue)
    }
}

async fn pods(slow_stop: Duration) -> (PodSupervisor, Log) {
    let log = Log::default();
    let pods = PodSupervisor::builder(Streams::of(&["t"]), {
        let log = log.clone();
        move |scope: &PodScope| {
            let scope = scope.clone();
            let (worker, _) = ChildSpec::server("w", move || Worker(scope.clone()));
            let logged = Logged { terminate: slow_stop, ..Logged::new(&log) };
            Ok(PodSpec::new().child(worker).child(logged.spec("l")).idle_stop(IDLE))
        }
    })
    .start()
    .await
    .unwrap();
    (pods, log)
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_activity_stops_by_itself() {
    let (pods, log) = pods(Duration::ZERO).await;
    let mut events = pods.subscribe();
    let pod = pods.start_pod("t").await.unwrap();
    let begun = Instant::now();
    assert!(matches!(pod.wait().await, ExitReason::Shutdown(Cause::Idle)));
    assert_eq!(begun.elapsed(), IDLE);
    assert_eq!(log.take(), ["+l", "-l"], "gracefully");
    assert_eq!(names(&mut events), ["t starting", "t active", "t stopping", "t ended"]);
    assert_eq!(pods.count_pods(), 0);
}

#[tokio::test(start_paused = true)]
async fn activity_is_what_the_children_declare() {
    let (pods, _log) = pods(Duration::ZERO).await;
    let pod = pods.start_pod("t").await.unwrap();
    let worker = pod.address::<Ask>("w").unwrap();
    let begun = Instant::now();
    sleep(IDLE / 2).await;
    worker.call(Ask::Touch).await.unwrap();
    sleep(IDLE / 2).await;
    worker.cast(Ask::Work(3 * IDLE)).await.unwrap();
    sleep(3 * IDLE - Duration::from_secs(1)).await;
    assert_eq!(pod.status(), PodStatus::Active, "busy is not idle");
    sleep(IDLE / 2).await;
    // Whoever reads from outside keeps nobody awake.
    worker.call(Ask::Look).await.unwrap();
    let _ = (pods.list_pods(), pod.which_children().await, pod.snapshot().await);
    pod.wait().await;
    assert_eq!(begun.elapsed(), 5 * IDLE, "half, half, three of work, one of nothing");
}

#[tokio::test(start_paused = true)]
async fn a_request_to_a_pod_on_its_way_out_is_refused_or_starts_it_again() {
    let (pods, log) = pods(Duration::from_secs(3)).await;
    let pod = pods.start_pod("t").await.unwrap();
    let worker = pod.address::<Ask>("w").unwrap();
    sleep(IDLE + Duration::from_secs(1)).await;
    assert_eq!(pod.status(), PodStatus::Stopping);
    assert!(matches!(
        pods.start_pod("t").await,
        Err(StartPodError::AlreadyStarted { status: PodStatus::Stopping, .. })
    ));
    let begun = Instant::now();
    let again = pods.get_or_start("t").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(2), "when the old one has ended");
    assert_ne!(again, pod);
    assert_eq!(again.status(), PodStatus::Active);
    assert_eq!(worker.call(Ask::Touch).await, Err(CallError::Gone), "the old one's address says so");
    again.address::<Ask>("w").unwrap().call(Ask::Touch).await.unwrap();
    assert_eq!(pods.get_or_start("t").await.unwrap(), again, "one that is active is answered as it is");
    assert_eq!(log.take(), ["+l", "-l", "+l"]);
}

#[tokio::test(start_paused = true)]
async fn get_or_start_from_many_starts_one() {
    let (streams, log) = (Streams::of(&["t"]), Log::default());
    let pods = PodSupervisor::builder(streams.clone(), {
        let log = log.clone();
        move |_: &_| {
            let slow = Logged { init: Duration::from_secs(1), ..Logged::new(&log) };
            Ok(PodSpec::new().child(slow.spec("a")))
        }
    })
    .start()
    .await
    .unwrap();
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let pods = pods.downgrade();
            tokio::spawn(async move { pods.get_or_start("t").await.unwrap() })
        })
        .collect();
    let mut got = Vec::new();
    for caller in callers {
        got.push(caller.await.unwrap());
    }
    assert!(got.iter().all(|pod| *pod == got[0] && pod.status() == PodStatus::Active));
    assert_eq!(log.take(), ["+a"]);
    // One that fails to start fails for all who wait for it, with the reason of a start of their own.
    pods.stop_pod("t").await.unwrap();
    streams.0.lock().unwrap().streams.clear();
    assert!(matches!(pods.get_or_start("t").await, Err(StartPodError::StreamNotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn pods_are_listed_counted_and_stopped_by_label() {
    let names: Vec<String> = (0..6).map(|n| format!("t{n}")).collect();
    let streams = Streams::of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let pods = PodSupervisor::builder(streams, |scope: &PodScope| {
        let n: u32 = scope.task().as_str()[1..].parse()?;
        let spec = PodSpec::new().child(ChildSpec::task("w", |_cx| std::future::pending::<()>()));
        let spec = if n.is_multiple_of(2) { spec.label("even").label("even") } else { spec };
        Ok(if n < 3 { spec.label("low") } else { spec })
    })
    .start()
    .await
    .unwrap();
    for name in &names {
        pods.start_pod(name.as_str()).await.unwrap();
    }
    let even: Vec<String> =
        pods.list_pods_labelled("even").iter().map(|info| info.task.to_string()).collect();
    assert_eq!(even, ["t0", "t2", "t4"]);
    assert_eq!((pods.count_pods_labelled("low"), pods.count_pods_labelled("none")), (3, 0));
    let labels: Vec<String> =
        pods.get_pod("t0").unwrap().labels().iter().map(|label| label.to_string()).collect();
    assert_eq!(labels, ["even", "low"]);
    assert_eq!(pods.stop_pods_labelled("even").await.unwrap(), 3);
    assert_eq!(
        (pods.count_pods(), pods.count_pods_labelled("even"), pods.count_pods_labelled("low")),
        (3, 0, 1)
    );
    pods.restart_pod("t1").await.unwrap();
    assert_eq!(pods.count_pods_labelled("low"), 1, "a restarted pod carries its labels anew");
    assert_eq!(pods.stop_pods_labelled("none").await.unwrap(), 0);
}

/// RT-20 a child that would wait for its own pod's end by a label is refused.
#[tokio::test(start_paused = true)]
async fn a_child_must_not_stop_its_own_pod_by_label() {
    let (tell, told) = tokio::sync::oneshot::channel::<PodSupervisorRef>();
    let told = Mutex::new(Some(told));
    let pods = PodSupervisor::builder(Streams::of(&["t"]), move |_: &PodScope| {
        let told = told.lock().unwrap().take().unwrap();
        Ok(PodSpec::new().label("mine").child(ChildSpec::once("w", |_cx| async move {
            let refused = told.await.unwrap().stop_pods_labelled("mine").await;
            assert!(matches!(refused, Err(ShutdownPodsError::WouldDeadlock)));
            std::future::pending::<()>().await;
        })))
    })
    .start()
    .await
    .unwrap();
    pods.start_pod("t").await.unwrap();
    tell.send(pods.downgrade()).unwrap();
    common::settle().await;
    assert_eq!(pods.get_pod("t").unwrap().count_children().await.unwrap().active, 1, "it did not crash");
}
