//! The port to the store: its permits, their order of return, their loss, and what an admission may do wrong.

mod common;

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex, OnceLock};

use common::*;
use ipa_pod::{
    AdmitError, Permit, PodEvent, PodRegistry, PodSpec, PodStatus, PodSupervisor, Revoker, StartPodError,
};
use ipa_supervisor::{Cause, ChildSpec, ExitReason, Shutdown};
use tokio::time::Instant;

/// An admission whose permits say, when they are given back, whether the key still stood.
fn watched(registry: &PodRegistry, log: &Log) -> Admit {
    let (registry, log) = (registry.clone(), log.clone());
    Admit::by(move |task| {
        let (registry, log) = (registry.clone(), log.clone());
        async move {
            Ok(Permit::holding(OnDrop(Some(Box::new(move || {
                log.push(format!("permit back, key held: {}", registry.pods().contains(&task)));
            })))))
        }
    })
}

/// An admission of revocable permits, and the revokers by task.
fn revocable(log: &Log) -> (Admit, Arc<Mutex<HashMap<String, Revoker>>>) {
    let revokers: Arc<Mutex<HashMap<String, Revoker>>> = Arc::default();
    let (log, given) = (log.clone(), revokers.clone());
    let admit = Admit::by(move |task| {
        let (log, given) = (log.clone(), given.clone());
        async move {
            let guard = OnDrop(Some(Box::new(move || log.push("permit back"))));
            let (permit, revoker) = Permit::holding(guard).with_revoker();
            given.lock().unwrap().insert(task.to_string(), revoker);
            Ok(permit)
        }
    });
    (admit, revokers)
}

fn revoke(revokers: &Mutex<HashMap<String, Revoker>>, task: &str) {
    let revoker = revokers.lock().unwrap()[task].clone();
    revoker.revoke();
    revoker.revoke();
}

/// PL-13 a permit is given back after the last child has ended and before the key is free, however the pod ends.
#[tokio::test(start_paused = true)]
async fn a_permit_goes_after_the_children_and_before_the_key() {
    let (registry, log) = (PodRegistry::new(), Log::default());
    let back = "permit back, key held: true".to_owned();
    let pods = PodSupervisor::builder(watched(&registry, &log), {
        let log = log.clone();
        move |scope: &ipa_pod::PodScope| {
            let fail = scope.task().as_str() == "bad";
            Ok(PodSpec::new()
                .child(Logged::new(&log).spec("a"))
                .child(Logged { fail, ..Logged::new(&log) }.spec("b")))
        }
    })
    .registry(registry.clone())
    .start()
    .await
    .unwrap();
    pods.start_pod("t").await.unwrap();
    pods.stop_pod("t").await.unwrap();
    assert_eq!(log.take(), ["+a", "+b", "-b", "-a", &back]);
    let _ = pods.start_pod("bad").await.unwrap_err();
    assert_eq!(log.take(), ["+a", "-a", &back]);
    // A restart has a permit of its own, asked for when the old one is back.
    pods.start_pod("t").await.unwrap();
    pods.restart_pod("t").await.unwrap();
    assert_eq!(log.take(), ["+a", "+b", "-b", "-a", &back, "+a", "+b"]);
    pods.shutdown().await.unwrap();
    assert_eq!(log.take(), ["-b", "-a", &back]);
    assert_eq!(registry.pods().count(), 0);
}

/// PL-05 a panic in the admission fails the start and nothing else; so does one in its synchronous part.
#[tokio::test(start_paused = true)]
async fn a_panicking_admission() {
    let turn = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let admission = Admit::by(move |_| {
        let turn = turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        assert!(turn != 0, "at the call");
        async move {
            tokio::task::yield_now().await;
            assert!(turn != 1, "later on");
            if turn == 2 {
                std::panic::panic_any(7_u8);
            }
            Ok(Permit::new())
        }
    });
    let pods =
        PodSupervisor::builder(admission, |_: &_| Ok(PodSpec::new().child(idle("a")))).start().await.unwrap();
    for text in ["panicked: at the call", "panicked: later on", "panicked: panic: <non-string>"] {
        let error = pods.start_pod("t").await.unwrap_err();
        assert!(matches!(error, StartPodError::Unavailable { .. }), "{error}");
        assert_eq!(error.source().unwrap().to_string(), text);
        assert_eq!(pods.count_pods(), 0);
    }
    pods.start_pod("t").await.unwrap();
}

/// PL-05 an admission that takes too long fails the start; its call is dropped, and the key is free.
#[tokio::test(start_paused = true)]
async fn an_admission_has_a_deadline() {
    let dropped = Log::default();
    let admission = {
        let dropped = dropped.clone();
        Admit::by(move |_| {
            let dropped = dropped.clone();
            async move {
                let _on_drop = OnDrop(Some(Box::new(move || dropped.push("dropped"))));
                std::future::pending::<Result<Permit, AdmitError>>().await
            }
        })
    };
    let pods = PodSupervisor::builder(admission, |_: &_| Ok(PodSpec::new()))
        .admission_timeout(3 * SECOND)
        .start()
        .await
        .unwrap();
    let begun = Instant::now();
    match pods.start_pod("t").await.unwrap_err() {
        StartPodError::TimedOut { timeout, child: None, .. } => assert_eq!(timeout, 3 * SECOND),
        other => panic!("{other}"),
    }
    assert_eq!((begun.elapsed(), dropped.take().len(), pods.count_pods()), (3 * SECOND, 1, 0));
}

/// PL-05 one that panics when it is dropped for that has taken too long all the same.
#[tokio::test(start_paused = true)]
async fn an_admission_that_panics_when_it_is_dropped() {
    let admission = Admit::by(move |_| async move {
        let _on_drop = OnDrop(Some(Box::new(|| panic!("as it is dropped"))));
        std::future::pending::<Result<Permit, AdmitError>>().await
    });
    let pods = PodSupervisor::builder(admission, |_: &_| Ok(PodSpec::new())).admission_timeout(3 * SECOND);
    let pods = pods.start().await.unwrap();
    let error = pods.start_pod("t").await.unwrap_err();
    assert_eq!(error.to_string(), "the pod of task `t` was not admitted within 3s");
    assert_eq!(pods.count_pods(), 0);
}

/// PL-13 a pod whose permit is revoked is killed: no child's terminate runs, the reason says why, the key is free afterwards.
#[tokio::test(start_paused = true)]
async fn a_revoked_pod_is_killed() {
    let log = Log::default();
    let (admission, revokers) = revocable(&log);
    let gauge = Gauge::default();
    let pods = PodSupervisor::builder(admission, {
        let (log, gauge) = (log.clone(), gauge.clone());
        move |_: &ipa_pod::PodScope| {
            let (logged, gauge) = (Logged::new(&log), gauge.clone());
            let inner = move || {
                ipa_supervisor::Supervisor::builder()
                    .child(logged.clone().spec("leaf"))
                    .child(gauge.child("g"))
            };
            Ok(PodSpec::new()
                .child(Logged::new(&log).spec("a"))
                .child(ChildSpec::supervisor("inner", inner))
                .child(Logged::new(&log).spec("b").shutdown(Shutdown::Infinity)))
        }
    })
    .start()
    .await
    .unwrap();
    let other = pods.start_pod("other").await.unwrap();
    let pod = pods.start_pod("t").await.unwrap();
    let mut events = pods.subscribe();
    log.take();
    let begun = Instant::now();
    revoke(&revokers, "t");
    assert!(matches!(pod.wait().await, ExitReason::Shutdown(Cause::Revoked)));
    assert_eq!((begun.elapsed(), log.take()), (std::time::Duration::ZERO, vec!["permit back".to_owned()]));
    assert_eq!((gauge.now(), pods.count_pods()), (1, 1));
    assert_eq!(names(&mut events), ["t stopping", "t ended"]);
    assert_eq!(other.status(), PodStatus::Active);
    pods.start_pod("t").await.unwrap();
}

/// PL-13 revoked while it starts: the start is told, and what had started is killed.
#[tokio::test(start_paused = true)]
async fn revoked_while_starting() {
    let log = Log::default();
    let (admission, revokers) = revocable(&log);
    let pods = PodSupervisor::builder(admission, {
        let log = log.clone();
        move |_: &_| {
            Ok(PodSpec::new()
                .child(Logged::new(&log).spec("a"))
                .child(Logged { init: 9 * SECOND, ..Logged::new(&log) }.spec("b")))
        }
    })
    .start()
    .await
    .unwrap();
    let mut call = Box::pin(pods.start_pod("t"));
    assert!(poll_once(&mut call).await.is_none());
    settle().await;
    let begun = Instant::now();
    revoke(&revokers, "t");
    let error = call.await.unwrap_err();
    assert!(
        matches!(&error, StartPodError::Ended { reason: ExitReason::Shutdown(Cause::Revoked), .. }),
        "{error}"
    );
    assert_eq!(log.take(), ["+a", "permit back"]);
    assert_eq!((begun.elapsed(), pods.count_pods()), (std::time::Duration::ZERO, 0));
}

/// PL-13 revoked before anything was started: nothing is.
#[tokio::test(start_paused = true)]
async fn revoked_at_once() {
    let log = Log::default();
    let admission = Admit::by(|_| async {
        let (permit, revoker) = Permit::revocable();
        revoker.revoke();
        Ok(permit)
    });
    let pods = PodSupervisor::builder(admission, {
        let log = log.clone();
        move |_: &_| Ok(PodSpec::new().child(Logged::new(&log).spec("a")))
    })
    .start()
    .await
    .unwrap();
    let error = pods.start_pod("t").await.unwrap_err();
    assert!(
        matches!(&error, StartPodError::Ended { reason: ExitReason::Shutdown(Cause::Revoked), .. }),
        "{error}"
    );
    assert_eq!((log.take().len(), pods.count_pods()), (0, 0));
}

/// PL-13 revoked while it stops: what is left is killed in the middle of its terminate, and that is how the pod ended.
#[tokio::test(start_paused = true)]
async fn revoked_while_stopping() {
    let log = Log::default();
    let (admission, revokers) = revocable(&log);
    let pods = PodSupervisor::builder(admission, {
        let log = log.clone();
        move |_: &_| {
            Ok(PodSpec::new()
                .child(Logged::new(&log).spec("a"))
                .child(Logged { terminate: 4 * SECOND, ..Logged::new(&log) }.spec("b")))
        }
    })
    .start()
    .await
    .unwrap();
    let pod = pods.start_pod("t").await.unwrap();
    log.take();
    let begun = Instant::now();
    let mut stop = Box::pin(pods.stop_pod("t"));
    assert!(poll_once(&mut stop).await.is_none());
    tokio::time::sleep(SECOND).await;
    revoke(&revokers, "t");
    stop.await.unwrap();
    assert_eq!((begun.elapsed(), log.take()), (SECOND, vec!["permit back".to_owned()]));
    assert!(matches!(pod.wait().await, ExitReason::Shutdown(Cause::Revoked)));
    assert_eq!(pods.count_pods(), 0);
}

/// PL-13 a revoker that outlives its pod, or is dropped, does nothing.
#[tokio::test(start_paused = true)]
async fn a_revoker_that_comes_late() {
    let log = Log::default();
    let (admission, revokers) = revocable(&log);
    let pods = PodSupervisor::builder(admission, ab(&Log::default()).ok()).start().await.unwrap();
    pods.start_pod("t").await.unwrap();
    let stale = revokers.lock().unwrap().remove("t").unwrap();
    let pod = pods.restart_pod("t").await.unwrap();
    stale.revoke();
    revokers.lock().unwrap().clear();
    settle().await;
    assert_eq!(pod.status(), PodStatus::Active);
}

/// PL-03 PL-06 the admission is asked once a start, with the key reserved, on the pod's own task; never for a loser.
#[tokio::test(start_paused = true)]
async fn an_admission_is_asked_with_the_key_reserved() {
    let slot: Arc<OnceLock<ipa_pod::PodSupervisorRef>> = Arc::default();
    let log = Log::default();
    let admission = {
        let (slot, log) = (slot.clone(), log.clone());
        Admit::by(move |task| {
            let (pods, log) = (slot.get().unwrap().clone(), log.clone());
            async move {
                let pod = pods.get_pod(&task).unwrap();
                log.push(format!("{} {}", pod.status(), pod.which_children().await.unwrap().len()));
                let rival = pods.start_pod(&task).await.unwrap_err();
                log.push(rival.to_string());
                Err(AdmitError::StreamNotFound)
            }
        })
    };
    let pods = PodSupervisor::builder(admission, |_: &_| Ok(PodSpec::new())).start().await.unwrap();
    slot.set(pods.downgrade()).unwrap();
    let mut events = pods.subscribe();
    assert!(matches!(pods.start_pod("t").await, Err(StartPodError::StreamNotFound(_))));
    assert_eq!(log.take(), ["starting 0", "task `t` has a pod already, which is starting"]);
    assert!(matches!(events.recv().await.unwrap(), PodEvent::Starting(_)));
    match events.recv().await.unwrap() {
        PodEvent::Ended { reason: ExitReason::Failed(error), was_active: false, .. } => {
            assert_eq!(error.to_string(), "task `t` has no event stream: create it first");
        }
        other => panic!("{other:?}"),
    }
}

/// PL-13 a permit whose guard panics when dropped still leads to a free key.
#[tokio::test(start_paused = true)]
async fn a_permit_that_panics_when_dropped() {
    let admission =
        Admit::by(|_| async { Ok(Permit::holding(OnDrop(Some(Box::new(|| panic!("lease service gone")))))) });
    let pods =
        PodSupervisor::builder(admission, |_: &_| Ok(PodSpec::new().child(idle("a")))).start().await.unwrap();
    for _ in 0..2 {
        pods.start_pod("t").await.unwrap();
        pods.stop_pod("t").await.unwrap();
        assert_eq!(pods.count_pods(), 0);
    }
}

/// A factory that cannot fail, as one that could.
trait Infallibly: Sized {
    fn ok(
        self,
    ) -> impl Fn(&ipa_pod::PodScope) -> Result<PodSpec, ipa_supervisor::BoxError> + Send + Sync + 'static;
}

impl<F: Fn(&ipa_pod::PodScope) -> PodSpec + Send + Sync + 'static> Infallibly for F {
    fn ok(
        self,
    ) -> impl Fn(&ipa_pod::PodScope) -> Result<PodSpec, ipa_supervisor::BoxError> + Send + Sync + 'static
    {
        move |scope| Ok(self(scope))
    }
}
