//! What cannot be killed: blocked threads and blocking closures, the keys they keep, and their end at last.
//!
//! Real threads, so real time: the deadlines are short, and every wait is for a signal.

mod common;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use ipa_pod::{
    PodEvent, PodEvents, PodRegistry, PodScope, PodSpec, PodStatus, PodSupervisor, RestartPodError,
    ShutdownPodsError, StartPodError, StopPodError,
};
use ipa_supervisor::{
    Cause, ChildSpec, Context, DynamicSupervisor, Shutdown, ShutdownError, TerminateChildError,
};

/// How a child blocks.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// Its thread, in its `run`.
    Thread,
    /// A blocking closure of its context's, while the child itself can be killed.
    Closure,
}

/// A gate that blocks whoever comes, the first time only: later incarnations and pods pass.
#[derive(Clone)]
struct Gate(Arc<Mutex<Option<Inside>>>);

/// Says that somebody is blocked, and waits until it is let go.
type Inside = (Sender<()>, Receiver<()>);

/// The other side: knows when somebody is blocked, and lets go of it.
struct Keeper {
    blocked: Option<Receiver<()>>,
    release: Option<Sender<()>>,
}

fn gate() -> (Gate, Keeper) {
    let (tell, blocked) = channel();
    let (release, released) = channel();
    let keeper = Keeper { blocked: Some(blocked), release: Some(release) };
    (Gate(Arc::new(Mutex::new(Some((tell, released))))), keeper)
}

impl Gate {
    fn block(&self) {
        let inside = self.0.lock().unwrap().take();
        if let Some((tell, released)) = inside {
            tell.send(()).unwrap();
            let _ = released.recv();
        }
    }

    fn child(&self, id: &str, how: How) -> ChildSpec {
        let gate = self.clone();
        ChildSpec::task(id, move |cx: Context| {
            let gate = gate.clone();
            async move {
                match how {
                    How::Thread => {
                        // In place: whoever waits for its turn on this worker goes on elsewhere. tokio keeps the task that was woken
                        // last to the worker itself, and that could be anybody.
                        tokio::task::block_in_place(|| gate.block());
                    }
                    How::Closure => drop(cx.spawn_blocking(move || gate.block()).await),
                }
                std::future::pending::<()>().await
            }
        })
        .shutdown(Shutdown::Timeout(20 * MS))
    }
}

impl Keeper {
    async fn until_blocked(&mut self) {
        let blocked = self.blocked.take().unwrap();
        tokio::task::spawn_blocking(move || blocked.recv().unwrap()).await.unwrap();
    }
    fn release(&mut self) {
        drop(self.release.take());
    }
}

/// A pod whose child `b` blocks, between two that do not.
fn pod(gate: &Gate, log: &Log, how: How) -> impl Fn(&PodScope) -> PodSpec + Send + Sync + 'static + use<> {
    let (gate, log) = (gate.clone(), log.clone());
    move |_| {
        PodSpec::new()
            .child(Logged::new(&log).spec("a"))
            .child(gate.child("b", how))
            .child(Logged::new(&log).spec("c"))
            .kill_grace(20 * MS)
    }
}

/// The next event of another kind than `Starting` and `Active`.
async fn next(events: &mut PodEvents) -> PodEvent {
    loop {
        match events.recv().await.unwrap() {
            PodEvent::Starting(_) | PodEvent::Active(_) => {}
            event => return event,
        }
    }
}

async fn stuck_then_reaped(how: How) {
    let ((gate, mut keeper), log) = (gate(), Log::default());
    let streams = Streams::any();
    streams.set(|state| state.log = log.clone());
    let pods = start(&streams, pod(&gate, &log, how)).await;
    let mut events = pods.subscribe();
    let pod = pods.start_pod("t").await.unwrap();
    keeper.until_blocked().await;
    log.take();

    match pods.stop_pod("t").await.unwrap_err() {
        StopPodError::Stuck { task, children } => {
            let children: Vec<_> = children.iter().map(ToString::to_string).collect();
            assert_eq!((task.as_str(), children), ("t", vec!["b#1".to_owned()]));
        }
        other => panic!("{other}"),
    }
    // The children beside it are gone; the permit is kept with the key.
    assert_eq!(log.take(), ["-c", "-a"]);
    assert_eq!((pod.status(), pods.pod_running("t"), pod.has_ended()), (PodStatus::Stuck, false, false));
    assert_eq!((pods.count_pods(), pods.stats().stuck, pods.stats().stuck_total), (1, 1, 1));
    assert!(matches!(next(&mut events).await, PodEvent::Stopping { .. }));
    match next(&mut events).await {
        PodEvent::Stuck { pod: which, children } => {
            assert_eq!((which == pod, children.len(), children[0].id.as_str()), (true, 1, "b"));
        }
        other => panic!("{other:?}"),
    }

    // Nothing is put in its place, and every question is answered.
    match pods.start_pod("t").await.unwrap_err() {
        StartPodError::AlreadyStarted { pod: standing, status } => {
            assert_eq!((standing == pod, status), (true, PodStatus::Stuck));
        }
        other => panic!("{other}"),
    }
    for _ in 0..2 {
        assert!(matches!(pods.stop_pod("t").await, Err(StopPodError::Stuck { .. })));
        match pods.restart_pod("t").await.unwrap_err() {
            RestartPodError::Stop(StopPodError::Stuck { children, .. }) => {
                assert_eq!(children[0].id.as_str(), "b")
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(pods.get_pod("t").unwrap(), pod);
    let snapshot = serde_json::to_value(pods.snapshot().await).unwrap();
    assert_eq!(
        (&snapshot[0]["status"], &snapshot[0]["children"][1]["state"]),
        (&"stuck".into(), &"stuck".into())
    );
    pods.start_pod("other").await.expect("others do not notice");
    pods.stop_pod("other").await.unwrap();
    assert!(log.take().iter().filter(|line| *line == "permit back").count() == 1, "the other's only");

    // Released, it is reaped: its key is free, its permit back, and the next one starts.
    keeper.release();
    pod.wait().await;
    assert_eq!((log.take(), pods.count_pods()), (vec!["permit back".to_owned()], 0));
    assert!(pod.has_ended());
    let again = pods.start_pod("t").await.unwrap();
    assert!(again != pod && again.status() == PodStatus::Active);
    pods.shutdown().await.unwrap();
    let mut ended = 0;
    while let Ok(Some(event)) = events.try_recv() {
        match event {
            PodEvent::Ended { pod: which, was_active, .. } if which == pod => {
                assert!(was_active);
                ended += 1;
            }
            PodEvent::Stuck { .. } => panic!("said twice"),
            _ => {}
        }
    }
    assert_eq!(ended, 1);
}

/// PL-18 RT-01 RT-04 a child that blocks its thread: the stop names it, the key is kept, and it is reaped when it ends at last.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blocked_thread_keeps_the_key() {
    stuck_then_reaped(How::Thread).await;
}

/// PL-18 RT-05 a blocking closure that outlives its child keeps the key just so.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blocking_closure_keeps_the_key() {
    stuck_then_reaped(How::Closure).await;
}

/// PL-18 PL-17 two stops of one pod that gets stuck are both told; one that waited for its end is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_who_stop_are_told() {
    let ((gate, mut keeper), log) = (gate(), Log::default());
    let pods = start(&Streams::any(), pod(&gate, &log, How::Closure)).await;
    let pod = pods.start_pod("t").await.unwrap();
    keeper.until_blocked().await;
    let mut wait = Box::pin(pod.wait());
    assert!(poll_once(&mut wait).await.is_none());
    let (a, b, c) = tokio::join!(pods.stop_pod("t"), pods.stop_pod("t"), pods.restart_pod("t"));
    assert!(matches!(a, Err(StopPodError::Stuck { .. })), "{a:?}");
    assert!(matches!(b, Err(StopPodError::Stuck { .. })), "{b:?}");
    assert!(matches!(c, Err(RestartPodError::Stop(StopPodError::Stuck { .. }))), "{c:?}");
    assert!(poll_once(&mut wait).await.is_none());
    keeper.release();
    wait.await;
    pods.restart_pod("t").await.unwrap();
}

/// PL-37 PL-18 a drain and a shutdown with a stuck pod stop all others, and report it; when it ends, so does everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shutdown_reports_what_is_stuck() {
    let ((gate, mut keeper), log) = (gate(), Log::default());
    let stuck = pod(&gate, &log, How::Thread);
    let pods = start(&Streams::any(), move |scope| match scope.task().as_str() {
        "t" => stuck(scope),
        _ => PodSpec::new().child(idle("x")),
    })
    .await;
    let pod = pods.start_pod("t").await.unwrap();
    let others = [pods.start_pod("u").await.unwrap(), pods.start_pod("v").await.unwrap()];
    keeper.until_blocked().await;
    for shutdown in [false, true, true] {
        let result = if shutdown { pods.shutdown().await } else { pods.drain().await };
        let error = result.unwrap_err();
        assert!(error.to_string().contains("task `t` (children `b#1`)"), "{error}");
        match error {
            ShutdownPodsError::Stuck(stuck) => {
                assert_eq!((stuck.len(), stuck[0].task.as_str()), (1, "t"));
                assert_eq!(stuck[0].children[0].id.as_str(), "b");
            }
            other => panic!("{other}"),
        }
        assert!(others.iter().all(|pod| pod.has_ended()));
        assert!(matches!(pods.start_pod("w").await, Err(StartPodError::Draining)));
        assert_eq!(pods.count_pods(), 1);
    }
    keeper.release();
    pod.wait().await;
    pods.shutdown().await.unwrap();
    assert_eq!(pods.count_pods(), 0);
}

/// PL-11 PL-18 a start that fails and cannot be rolled back: the error names what is left, which keeps the key.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rollback_that_gets_stuck() {
    let ((gate, mut keeper), log) = (gate(), Log::default());
    let ready = Arc::new(tokio::sync::Notify::new());
    let pods = start(&Streams::any(), {
        let (gate, ready, log) = (gate.clone(), ready.clone(), log.clone());
        move |_| {
            struct Fails(Arc<tokio::sync::Notify>);
            #[ipa_pod::async_trait]
            impl ipa_supervisor::Child for Fails {
                async fn init(
                    &mut self,
                    _: &mut Context,
                ) -> Result<ipa_supervisor::Init, ipa_supervisor::BoxError> {
                    self.0.notified().await;
                    Err("no".into())
                }
                async fn run(
                    &mut self,
                    _: &mut Context,
                ) -> Result<ipa_supervisor::Exit, ipa_supervisor::BoxError> {
                    unreachable!()
                }
            }
            let ready = ready.clone();
            PodSpec::new()
                .child(Logged::new(&log).spec("a"))
                .child(gate.child("b", How::Closure))
                .child(ChildSpec::new("c", move || Fails(ready.clone())))
                .kill_grace(20 * MS)
        }
    })
    .await;
    let mut events = pods.subscribe();
    let call = tokio::spawn({
        let pods = pods.clone();
        async move { pods.start_pod("t").await }
    });
    keeper.until_blocked().await;
    let pod = pods.get_pod("t").unwrap();
    ready.notify_one();
    match call.await.unwrap().unwrap_err() {
        StartPodError::Stuck { task, children } => {
            assert_eq!((task.as_str(), children.len(), children[0].id.as_str()), ("t", 1, "b"));
        }
        other => panic!("{other}"),
    }
    assert_eq!(log.take(), ["+a", "-a"]);
    assert_eq!((pod.status(), pods.count_pods()), (PodStatus::Stuck, 1));
    assert!(matches!(
        pods.start_pod("t").await,
        Err(StartPodError::AlreadyStarted { status: PodStatus::Stuck, .. })
    ));
    assert!(matches!(pods.stop_pod("t").await, Err(StopPodError::Stuck { .. })));
    assert_eq!(pods.snapshot().await.len(), 1, "it has not ended, so it is in the snapshot");
    match pods.shutdown().await.unwrap_err() {
        ShutdownPodsError::Stuck(stuck) => assert_eq!(stuck[0].children[0].id.as_str(), "b"),
        other => panic!("{other}"),
    }
    keeper.release();
    pod.wait().await;
    pods.shutdown().await.unwrap();
    assert_eq!(names(&mut events), ["t starting", "t stuck", "t ended"]);
    let stats = pods.stats();
    assert_eq!((stats.started_total, stats.start_failures_total, stats.ended_total), (0, 1, 0));
}

/// PL-18 a child of an active pod that is stuck leaves the pod active; the pod's own stop is then told of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stuck_child_of_an_active_pod() {
    let ((gate, mut keeper), log) = (gate(), Log::default());
    let pods = start(&Streams::any(), pod(&gate, &log, How::Closure)).await;
    let pod = pods.start_pod("t").await.unwrap();
    keeper.until_blocked().await;
    assert!(matches!(pod.terminate_child("b").await, Err(TerminateChildError::Stuck(_))));
    assert_eq!(pod.status(), PodStatus::Active);
    assert!(matches!(pods.stop_pod("t").await, Err(StopPodError::Stuck { .. })));
    assert_eq!(pod.status(), PodStatus::Stuck);
    keeper.release();
    pod.wait().await;
    assert_eq!(pods.count_pods(), 0);
}

/// PL-13 RT-05 RT-12 a pod's task is aborted (killed by its supervisor) while a child's blocking closure runs on: the key and the
/// permit are not given back before that has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_aborted_pod_keeps_its_key_while_a_closure_runs() {
    let ((gate, mut keeper), log) = (gate(), Log::default());
    let streams = Streams::any();
    streams.set(|state| state.log = log.clone());
    let pods = start(&streams, pod(&gate, &log, How::Closure)).await;
    let own = DynamicSupervisor::builder().kill_grace(20 * MS).start().await.unwrap();
    let spec = pods.child_spec("t".try_into().unwrap()).unwrap().shutdown(Shutdown::BrutalKill);
    let child = own.start_child(spec).await.unwrap().child().unwrap();
    let pod = pods.get_pod("t").unwrap();
    keeper.until_blocked().await;
    log.take();
    assert!(matches!(own.terminate_child(&child).await, Err(TerminateChildError::Stuck(_))));
    assert!(pod.which_children().await.is_err(), "the pod's loop is gone");
    assert_eq!((pods.count_pods(), pod.has_ended(), log.take().len()), (1, false, 0));
    assert_eq!(pods.registry().children().count(), 0, "of its children only the closure is left");
    assert!(matches!(pods.start_pod("t").await, Err(StartPodError::AlreadyStarted { .. })));
    assert!(matches!(own.shutdown().await, Err(ShutdownError::Stuck(_))));
    keeper.release();
    assert!(matches!(pod.wait().await, ipa_supervisor::ExitReason::Killed));
    assert_eq!((pods.count_pods(), log.take()), (0, vec!["permit back".to_owned()]));
    own.wait().await;
    pods.start_pod("t").await.unwrap();
}

/// PL-37 RT-05 at a shutdown's deadline a pod is killed whole, while a child's closure runs on: it is reported, its status says
/// stuck, its key is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pod_that_is_killed_whole_is_reported() {
    let ((gate, mut keeper), log) = (gate(), Log::default());
    let pods = builder(&Streams::any(), {
        let (gate, log) = (gate.clone(), log.clone());
        move |scope| pod(&gate, &log, How::Closure)(scope).kill_grace(Duration::from_secs(600))
    })
    .shutdown_timeout(20 * MS)
    .start()
    .await
    .unwrap();
    let mut events = pods.subscribe();
    let pod = pods.start_pod("t").await.unwrap();
    keeper.until_blocked().await;
    match pods.shutdown().await.unwrap_err() {
        ShutdownPodsError::Stuck(stuck) => assert_eq!((stuck.len(), stuck[0].task.as_str()), (1, "t")),
        other => panic!("{other}"),
    }
    assert_eq!((pod.status(), pods.count_pods()), (PodStatus::Stuck, 1));
    keeper.release();
    pod.wait().await;
    assert_eq!(pods.count_pods(), 0);
    assert_eq!(names(&mut events), ["t starting", "t active", "t stopping", "t stuck", "t ended"]);
}

/// PL-13 PL-36 RT-05 RT-12 the runtime goes, and with it every task of the stack, while a child's blocking closure runs on: the key
/// is not free until that has ended.
#[test]
fn a_closure_that_outlives_its_runtime_keeps_the_key() {
    let ((gate, mut keeper), log) = (gate(), Log::default());
    let registry = PodRegistry::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let streams = Streams::any();
    streams.set(|state| state.log = log.clone());
    let (pods, held): (PodSupervisor, _) = runtime.block_on(async {
        let pods = builder(&streams, pod(&gate, &log, How::Closure))
            .registry(registry.clone())
            .start()
            .await
            .unwrap();
        let held = pods.start_pod("t").await.unwrap();
        pods.start_pod("free").await.unwrap();
        keeper.until_blocked().await;
        (pods, held)
    });
    // The other pod's child has passed the gate; its closure is over, or ends by itself.
    let free = registry.pods().lookup("free").unwrap();
    runtime.shutdown_background();
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    other.block_on(free.wait());
    assert_eq!(registry.pods().keys().iter().map(ToString::to_string).collect::<Vec<_>>(), ["t"]);
    assert!(!held.has_ended());
    keeper.release();
    assert!(matches!(other.block_on(held.wait()), ipa_supervisor::ExitReason::Killed));
    assert_eq!((registry.pods().count(), registry.children().count()), (0, 0));
    assert_eq!(log.lines().iter().filter(|line| *line == "permit back").count(), 2);
    drop(pods);
}

/// PL-37 RT-05 a pod under a supervisor of the user's is killed whole, while a child's closure runs on: it is called stuck as any other, by
/// its status, an event, the count, and to whoever waits for its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pod_of_the_users_own_that_is_killed_whole_is_reported() {
    let ((gate, mut keeper), log) = (gate(), Log::default());
    let pods = start(&Streams::any(), pod(&gate, &log, How::Closure)).await;
    let mut events = pods.subscribe();
    let own = DynamicSupervisor::builder().kill_grace(20 * MS).start().await.unwrap();
    let spec = pods.child_spec("t".try_into().unwrap()).unwrap().shutdown(Shutdown::BrutalKill);
    let child = own.start_child(spec).await.unwrap().child().unwrap();
    let pod = pods.get_pod("t").unwrap();
    keeper.until_blocked().await;
    assert!(matches!(own.terminate_child(&child).await, Err(TerminateChildError::Stuck(_))));
    assert_eq!((pod.status(), pods.pod_running("t")), (PodStatus::Stopping, false), "at once");
    assert!(matches!(pods.stop_pod("t").await, Err(StopPodError::Stuck { .. })));
    assert_eq!((pod.status(), pods.stats().stuck, pods.stats().stuck_total), (PodStatus::Stuck, 1, 1));
    assert!(matches!(pods.get_or_start("t").await, Err(StartPodError::AlreadyStarted { .. })));
    keeper.release();
    pod.wait().await;
    assert_eq!(names(&mut events), ["t starting", "t active", "t stuck", "t ended"]);
    own.request_shutdown(Cause::Requested(None));
    own.wait().await;
}

/// PL-18 RT-01 a factory that blocks its thread is no child, but is killed and reported like one; its key is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blocked_factory() {
    let (gate, mut keeper) = gate();
    let pods = builder(&Streams::any(), {
        let gate = gate.clone();
        move |scope| {
            if scope.task().as_str() == "t" {
                tokio::task::block_in_place(|| gate.block());
            }
            PodSpec::new().child(idle("a"))
        }
    })
    .shutdown_timeout(20 * MS)
    .start()
    .await
    .unwrap();
    let call = tokio::spawn({
        let pods = pods.clone();
        async move { pods.start_pod("t").await }
    });
    keeper.until_blocked().await;
    pods.start_pod("other").await.expect("others do not notice");
    assert_eq!((pods.list_pods().len(), pods.snapshot().await.len()), (2, 2));
    assert!(
        matches!(pods.shutdown().await, Err(ShutdownPodsError::Stuck(stuck)) if stuck[0].task.as_str() == "t")
    );
    assert!(matches!(call.await.unwrap(), Err(StartPodError::Stuck { .. })));
    let pod = pods.get_pod("t").unwrap();
    assert_eq!(pod.status(), PodStatus::Stuck);
    keeper.release();
    pod.wait().await;
    assert_eq!(pods.count_pods(), 0);
    pods.shutdown().await.unwrap();
}
