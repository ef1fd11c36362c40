//! Stops: order, deadlines, joining, at every stage of a start.

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Wake, Waker};
use std::time::Duration;

use common::*;
use ipa_pod::{PodRegistry, PodSpec, PodStatus, PodSupervisor, StartPodError, StopPodError};
use ipa_registry::Event;
use ipa_supervisor::{Cause, ChildSpec, ExitReason, Shutdown, StopMode};
use tokio::time::Instant;

/// A pod with one child whose terminate takes so long.
fn slow_to_stop(terminate: Duration) -> impl Fn(&ipa_pod::PodScope) -> PodSpec + Send + Sync + 'static {
    move |_| {
        let child = Logged { terminate, ..Logged::new(&Log::default()) };
        PodSpec::new().child(child.spec("slow").shutdown(Shutdown::Infinity))
    }
}

/// PL-13 PL-14 PL-30 when a stop returns, the pod, its children and their entries are gone; a second finds nothing.
#[tokio::test(start_paused = true)]
async fn nothing_is_left_when_a_stop_returns() {
    let (log, gauge) = (Log::default(), Gauge::default());
    let pods = start(&Streams::any(), {
        let (log, gauge) = (log.clone(), gauge.clone());
        move |_| {
            PodSpec::new()
                .child(Logged::new(&log).spec("a"))
                .child(gauge.child("g"))
                .child(Logged::new(&log).spec("b"))
        }
    })
    .await;
    let other = pods.start_pod("other").await.unwrap();
    let pod = pods.start_pod("t").await.unwrap();
    log.take();
    pods.stop_pod("t").await.unwrap();
    assert_eq!((log.take(), gauge.now()), (vec!["-b".to_owned(), "-a".to_owned()], 1));
    assert_eq!((pods.count_pods(), pods.registry().children().count()), (1, 3));
    assert!(pod.has_ended() && !pods.pod_running("t") && pods.get_pod("t").is_err());
    assert!(pod.which_children().await.is_err() && pod.count_children().await.is_err());
    assert!(pod.snapshot().await.is_err());
    match pods.stop_pod("t").await.unwrap_err() {
        StopPodError::NotRunning(task) => assert_eq!(task, "t"),
        other => panic!("{other}"),
    }
    assert!(matches!(pods.stop_pod("never").await, Err(StopPodError::NotRunning(_))));
    assert_eq!(other.status(), PodStatus::Active);
    pods.start_pod("t").await.unwrap();
}

/// PL-15 the word on why is for the log and the event; to the children it is a shutdown.
#[tokio::test(start_paused = true)]
async fn a_reason_is_a_shutdown_to_the_children() {
    struct Tells(Log);
    #[ipa_pod::async_trait]
    impl ipa_supervisor::Child for Tells {
        async fn run(
            &mut self,
            _: &mut ipa_supervisor::Context,
        ) -> Result<ipa_supervisor::Exit, ipa_supervisor::BoxError> {
            std::future::pending().await
        }
        async fn terminate(&mut self, _: &mut ipa_supervisor::Context, reason: &ExitReason) {
            assert!(!reason.is_abnormal());
            self.0.push(format!("{reason}"));
        }
    }
    let log = Log::default();
    let pods = start(&Streams::any(), {
        let log = log.clone();
        move |_| {
            let log = log.clone();
            PodSpec::new().child(ChildSpec::new("a", move || Tells(log.clone())))
        }
    })
    .await;
    let pod = pods.start_pod("t").await.unwrap();
    let mut events = pods.subscribe();
    pods.stop_pod_with("t", "quota used up").await.unwrap();
    assert_eq!(log.take(), ["shutdown: quota used up"]);
    let reason = pod.wait().await;
    assert!(
        matches!(reason, ExitReason::Shutdown(Cause::Requested(Some(text))) if &*text == "quota used up")
    );
    let stopping = events.recv().await.unwrap();
    assert!(
        matches!(&stopping, ipa_pod::PodEvent::Stopping { reason: Some(text), .. } if &**text == "quota used up"),
        "{stopping:?}"
    );
}

/// PL-17 PL-20 PL-27 a second stop joins the first; meanwhile the pod is stopping, not running, and its key is taken.
#[tokio::test(start_paused = true)]
async fn stops_join() {
    let pods = start(&Streams::any(), slow_to_stop(3 * SECOND)).await;
    let pod = pods.start_pod("t").await.unwrap();
    let begun = Instant::now();
    let stop = |pods: &PodSupervisor| {
        let pods = pods.clone();
        tokio::spawn(async move { (pods.stop_pod("t").await, Instant::now()) })
    };
    let first = stop(&pods);
    tokio::time::sleep(SECOND).await;
    let second = stop(&pods);
    settle().await;
    assert_eq!((pod.status(), pods.pod_running("t")), (PodStatus::Stopping, false));
    assert_eq!(pods.get_pod("t").unwrap(), pod);
    assert!(matches!(
        pods.start_pod("t").await,
        Err(StartPodError::AlreadyStarted { status: PodStatus::Stopping, pod: standing }) if standing == pod
    ));
    assert_eq!(pods.stats().stopping, 1);
    for call in [first, second] {
        let (result, at) = call.await.unwrap();
        result.unwrap();
        assert_eq!(at - begun, 3 * SECOND);
    }
    assert_eq!(pods.count_pods(), 0);
}

/// PL-17 many stops at once on many threads: each is Ok or finds nothing, and none hangs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_stops_on_many_threads() {
    let gauge = Gauge::default();
    let pods = start(&Streams::any(), {
        let gauge = gauge.clone();
        move |_| PodSpec::new().child(gauge.child("a"))
    })
    .await;
    for _ in 0..50 {
        pods.start_pod("t").await.unwrap();
        let calls: Vec<_> = (0..8)
            .map(|_| {
                tokio::spawn({
                    let (pods, gauge) = (pods.clone(), gauge.clone());
                    async move {
                        let result = pods.stop_pod("t").await;
                        assert_eq!(gauge.now(), 0, "whoever is answered finds it gone");
                        result
                    }
                })
            })
            .collect();
        let mut ok = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(()) => ok += 1,
                Err(StopPodError::NotRunning(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert!(ok >= 1);
        assert_eq!(pods.count_pods(), 0);
    }
}

/// PL-18 PL-12 a stop takes the pod's shutdown timeout at most, whatever its children's deadlines add up to.
#[tokio::test(start_paused = true)]
async fn a_slow_stop_is_cut_at_the_pods_deadline() {
    let log = Log::default();
    let pods = start(&Streams::any(), {
        let log = log.clone();
        move |_| {
            let slow = || Logged { terminate: 4 * SECOND, ..Logged::new(&log) };
            PodSpec::new().children((0..10).map(|n| slow().spec(&n.to_string())))
        }
    })
    .await;
    pods.start_pod("t").await.unwrap();
    let begun = Instant::now();
    log.take();
    pods.stop_pod("t").await.unwrap();
    assert_eq!((begun.elapsed(), log.take()), (10 * SECOND, vec!["-9".to_owned(), "-8".to_owned()]));
}

/// PL-18 PL-12 a child that says nothing else has 5 seconds; the deadlines are the spec's to set; a child that takes no heed of a
/// stop costs nothing unless it asked to finish by itself.
#[tokio::test(start_paused = true)]
async fn the_deadlines_of_a_stop() {
    let pods = start(&Streams::any(), |scope| {
        let slow = Logged { terminate: 60 * SECOND, ..Logged::new(&Log::default()) }.spec("a");
        let deaf = ChildSpec::task("deaf", |_cx| std::future::pending::<()>());
        match scope.task().as_str() {
            "default" => PodSpec::new().child(slow),
            "child" => PodSpec::new().child(slow).child_shutdown(Shutdown::Timeout(2 * SECOND)),
            "pod" => PodSpec::new().child(slow).shutdown_timeout(3 * SECOND),
            "deaf" => PodSpec::new().child(deaf),
            _ => PodSpec::new().child(deaf.stop_mode(StopMode::Cooperative)),
        }
    })
    .await;
    for (task, seconds) in [("default", 5), ("child", 2), ("pod", 3), ("deaf", 0), ("cooperative", 5)] {
        pods.start_pod(task).await.unwrap();
        let begun = Instant::now();
        pods.stop_pod(task).await.unwrap();
        assert_eq!(begun.elapsed(), seconds * SECOND, "{task}");
    }
}

/// PL-19 PL-32 a pod that is slow to stop delays nothing of any other.
#[tokio::test(start_paused = true)]
async fn a_slow_stop_delays_nobody() {
    let pods = start(&Streams::any(), |scope| {
        let terminate = if scope.task().as_str() == "slow" { 5 * SECOND } else { Duration::ZERO };
        PodSpec::new().child(Logged { terminate, ..Logged::new(&Log::default()) }.spec("a"))
    })
    .await;
    pods.start_pod("slow").await.unwrap();
    let mut stop = Box::pin(pods.stop_pod("slow"));
    assert!(poll_once(&mut stop).await.is_none());
    settle().await;
    let begun = Instant::now();
    pods.start_pod("fast").await.unwrap();
    assert_eq!((pods.list_pods().len(), pods.snapshot().await.len()), (2, 2));
    pods.restart_pod("fast").await.unwrap();
    pods.stop_pod("fast").await.unwrap();
    assert_eq!((begun.elapsed(), pods.count_pods()), (Duration::ZERO, 1));
    stop.await.unwrap();
}

/// PL-13 a stop before anything of the pod has run: the start is told that it ended, and nothing was started.
#[tokio::test(start_paused = true)]
async fn a_stop_overtakes_a_start() {
    let (streams, log) = (Streams::any(), Log::default());
    let pods = start(&streams, ab(&log)).await;
    let mut events = pods.subscribe();
    let mut call = Box::pin(pods.start_pod("t"));
    assert!(poll_once(&mut call).await.is_none());
    pods.stop_pod("t").await.unwrap();
    let error = call.await.unwrap_err();
    assert!(
        matches!(&error, StartPodError::Ended { reason: ExitReason::Shutdown(Cause::Requested(None)), .. }),
        "{error}"
    );
    assert_eq!((streams.asked(), log.take().len(), pods.count_pods()), (0, 0, 0));
    // A pod that never began to start is not spoken of; one that is spoken of ends.
    assert_eq!(names(&mut events), [] as [&str; 0]);
    pods.start_pod("t").await.unwrap();
}

/// PL-13 a stop during the admission, in which the store takes its time: nothing is started.
#[tokio::test(start_paused = true)]
async fn a_stop_during_admission() {
    let (streams, log) = (Streams::any(), Log::default());
    streams.set(|state| state.slow = 20 * SECOND);
    let pods = start(&streams, ab(&log)).await;
    let mut events = pods.subscribe();
    let mut call = Box::pin(pods.start_pod("t"));
    assert!(poll_once(&mut call).await.is_none());
    settle().await;
    let begun = Instant::now();
    pods.stop_pod_with("t", "changed my mind").await.unwrap();
    assert_eq!((begun.elapsed(), pods.count_pods()), (Duration::ZERO, 0));
    let error = call.await.unwrap_err();
    assert_eq!(error.to_string(), "the pod of task `t` ended before it was up: shutdown: changed my mind");
    assert_eq!((streams.asked(), log.take().len()), (0, 0));
    assert_eq!(names(&mut events), ["t starting", "t stopping", "t ended"]);
}

/// PL-13 a stop that comes while the factory runs: no child of it is started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_during_the_factory() {
    let log = Log::default();
    let (entered, in_factory) = std::sync::mpsc::channel::<()>();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(Some((entered, released)));
    let pods = start(&Streams::any(), {
        let log = log.clone();
        move |_| {
            if let Some((entered, released)) = gate.lock().unwrap().take() {
                entered.send(()).unwrap();
                released.recv().unwrap();
            }
            PodSpec::new().child(Logged::new(&log).spec("a"))
        }
    })
    .await;
    let call = tokio::spawn({
        let pods = pods.clone();
        async move { pods.start_pod("t").await }
    });
    tokio::task::spawn_blocking(move || in_factory.recv().unwrap()).await.unwrap();
    let mut stop = Box::pin(pods.stop_pod("t"));
    assert!(poll_once(&mut stop).await.is_none());
    release.send(()).unwrap();
    stop.await.unwrap();
    assert!(matches!(call.await.unwrap(), Err(StartPodError::Ended { .. })));
    assert_eq!((log.take().iter().filter(|line| *line == "+a").count(), pods.count_pods()), (0, 0));
    pods.start_pod("t").await.unwrap();
}

/// PL-13 a stop while a child's init takes its time: the init is dropped, the children before it are stopped in reverse.
#[tokio::test(start_paused = true)]
async fn a_stop_during_a_slow_init() {
    let log = Log::default();
    let pods = start(&Streams::any(), {
        let log = log.clone();
        move |_| {
            let slow = Logged { init: 20 * SECOND, ..Logged::new(&log) };
            PodSpec::new()
                .child(Logged::new(&log).spec("a"))
                .child(Logged { terminate: SECOND, ..Logged::new(&log) }.spec("b"))
                .child(slow.spec("c"))
        }
    })
    .await;
    let mut events = pods.subscribe();
    let mut call = Box::pin(pods.start_pod("t"));
    assert!(poll_once(&mut call).await.is_none());
    settle().await;
    let begun = Instant::now();
    let mut stop = Box::pin(pods.stop_pod("t"));
    assert!(poll_once(&mut stop).await.is_none());
    assert_eq!(pods.get_pod("t").unwrap().status(), PodStatus::Stopping);
    stop.await.unwrap();
    assert_eq!((begun.elapsed(), log.take()), (SECOND, ["+a", "+b", "-b", "-a"].map(String::from).to_vec()));
    assert!(matches!(call.await, Err(StartPodError::Ended { .. })));
    assert_eq!(names(&mut events), ["t starting", "t stopping", "t ended"]);
    assert_eq!((pods.stats().start_failures_total, pods.stats().ended_total), (1, 0));
}

/// PL-13 a stop of a pod that waits for its turn to start ends it at once, and the turn goes to the next.
#[tokio::test(start_paused = true)]
async fn a_stop_while_waiting_for_a_place_to_start() {
    let (streams, log) = (Streams::any(), Log::default());
    streams.set(|state| state.slow = SECOND);
    let pods = builder(&streams, ab(&log)).max_starting(1).start().await.unwrap();
    let mut calls: Vec<_> = ["a", "b", "c"].into_iter().map(|task| Box::pin(pods.start_pod(task))).collect();
    let begun = Instant::now();
    for call in &mut calls {
        assert!(poll_once(call).await.is_none());
    }
    settle().await;
    pods.stop_pod("b").await.unwrap();
    assert_eq!(begun.elapsed(), MS);
    let mut calls = calls.into_iter();
    calls.next().unwrap().await.unwrap();
    assert!(matches!(calls.next().unwrap().await, Err(StartPodError::Ended { .. })));
    calls.next().unwrap().await.unwrap();
    assert_eq!((begun.elapsed(), streams.asked()), (2 * SECOND, 2));
}

/// PL-20 a pod that was asked to stop without waiting is stopping at once, and says so.
#[tokio::test(start_paused = true)]
async fn a_requested_stop_is_seen() {
    let pods = start(&Streams::any(), slow_to_stop(2 * SECOND)).await;
    let mut events = pods.subscribe();
    let pod = pods.start_pod("t").await.unwrap();
    pod.request_stop("enough");
    assert_eq!((pod.status(), pods.pod_running("t")), (PodStatus::Stopping, false));
    settle().await;
    assert_eq!(names(&mut events), ["t starting", "t active", "t stopping"]);
    let reason = pod.wait().await;
    assert_eq!(reason.to_string(), "shutdown: enough");
    assert_eq!(names(&mut events), ["t ended"]);
}

/// PL-47 waiting for a pod yields its exit reason when it has ended and its key is free, every time, at once if it had.
#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_pod() {
    let pods = start(&Streams::any(), slow_to_stop(2 * SECOND)).await;
    let pod = pods.start_pod("t").await.unwrap();
    let waits: Vec<_> = (0..3)
        .map(|_| {
            tokio::spawn({
                let (pod, pods) = (pod.clone(), pods.clone());
                async move {
                    let reason = pod.wait().await;
                    assert!(!pods.registry().pods().contains("t") && pod.has_ended());
                    reason
                }
            })
        })
        .collect();
    // A wait that is dropped harms nobody.
    let mut dropped = Box::pin(pod.wait());
    assert!(poll_once(&mut dropped).await.is_none());
    drop(dropped);
    pods.stop_pod_with("t", "done").await.unwrap();
    for wait in waits {
        assert_eq!(wait.await.unwrap().to_string(), "shutdown: done");
    }
    let mut late = Box::pin(pod.wait());
    assert_eq!(poll_once(&mut late).await.unwrap().to_string(), "shutdown: done");
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

/// PL-13 wakers that panic, of one who waits for the key and of one who waits for the end: one after the other, for two panics at once
/// would abort the process. The pod has ended all the same.
#[tokio::test(start_paused = true)]
async fn wakers_that_panic_at_the_end() {
    let registry = PodRegistry::new();
    let pods = builder(&Streams::any(), |_| PodSpec::new().child(idle("a"))).registry(registry.clone());
    let pods = pods.start().await.unwrap();
    let pod = pods.start_pod("t").await.unwrap();
    let waker = Waker::from(Arc::new(Panics));
    let mut panics = task::Context::from_waker(&waker);
    let mut freed = registry.pods().subscribe();
    let (mut freed, mut ended) = (pin!(freed.recv()), pin!(pod.wait()));
    assert!(freed.as_mut().poll(&mut panics).is_pending());
    assert!(ended.as_mut().poll(&mut panics).is_pending());
    pod.request_stop("done");
    settle().await;
    assert!(matches!(freed.await, Ok(Event::Unregistered { .. })));
    assert!(matches!(ended.await, ExitReason::Shutdown(Cause::Requested(_))));
    assert_eq!(pods.count_pods(), 0);
    pods.start_pod("t").await.unwrap();
}
