//! Children of a pod: crashes, meltdowns, addresses, operations, nested supervisors, and a pod as somebody's child.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::*;
use ipa_pod::{
    LookupError, PodEvent, PodScope, PodSpec, PodStatus, PodSupervisor, RestartPodError, StartPodError,
};
use ipa_registry::{Registration, Registry};
use ipa_supervisor::machine::SlotId;
use ipa_supervisor::{
    Address, Backoff, BoxError, CallError, Cause, Child, ChildSpec, ChildState, Context, DynamicSupervisor,
    Exit, ExitReason, Flow, Incarnation, Init, Note, Reply, Restart, RestartChildError, RestartIntensity,
    Server, ServerContext, StartChildError, Supervisor, TerminateChildError, async_trait,
};
use tokio::sync::Notify;

/// Counts; its count dies with it.
struct Counter(u64);

enum Msg {
    Add(u64),
    Get(Reply<u64>),
    Crash,
}

#[async_trait]
impl Server for Counter {
    type Message = Msg;
    async fn handle(&mut self, message: Msg, _cx: &mut ServerContext<Msg>) -> Result<Flow, BoxError> {
        match message {
            Msg::Add(n) => self.0 += n,
            Msg::Get(reply) => reply.send(self.0),
            Msg::Crash => return Err("told to".into()),
        }
        Ok(Flow::Continue)
    }
}

fn counter(id: &str) -> ChildSpec {
    ChildSpec::server(id, || Counter(0)).0
}

/// PL-33 a crashed child alone is restarted: the pod, its start, its other children and other pods are as they were.
#[tokio::test(start_paused = true)]
async fn a_crash_restarts_one_child_alone() {
    let crash = Arc::new(Notify::new());
    let pods = start(&Streams::any(), {
        let crash = crash.clone();
        move |_| PodSpec::new().child(idle("a")).child(crashing("b", &crash)).child(idle("c"))
    })
    .await;
    let pod = pods.start_pod("t").await.unwrap();
    let other = pods.start_pod("other").await.unwrap();
    let (started_at, others) = (pod.started_at(), other.which_children().await.unwrap());
    crash.notify_one();
    settle().await;
    let rows = pod.which_children().await.unwrap();
    let runs: Vec<_> = rows.iter().map(|row| (row.child.to_string(), row.restarts)).collect();
    assert_eq!(runs, [("a#1".to_owned(), 0), ("b#2".to_owned(), 1), ("c#1".to_owned(), 0)]);
    assert_eq!((pods.get_pod("t").unwrap() == pod, pod.started_at(), pod.restarts()), (true, started_at, 1));
    assert_eq!((pod.status(), other.restarts()), (PodStatus::Active, 0));
    assert_eq!(other.which_children().await.unwrap(), others);
}

/// PL-12 children are transient by default: one that finishes is not restarted, and the pod goes on.
#[tokio::test(start_paused = true)]
async fn children_are_transient() {
    let pods = start(&Streams::any(), |scope| {
        let done = ChildSpec::task("done", |_cx| async {});
        match scope.task().as_str() {
            "permanent" => PodSpec::new().child(done).child_restart(Restart::Permanent),
            _ => PodSpec::new().child(done).child(idle("b")),
        }
    })
    .await;
    let pod = pods.start_pod("t").await.unwrap();
    settle().await;
    let states: Vec<_> = pod.which_children().await.unwrap().iter().map(|row| row.state).collect();
    assert_eq!(states, [ChildState::Undefined, ChildState::Running]);
    let melting = pods.start_pod("permanent").await.unwrap();
    assert!(matches!(melting.wait().await, ExitReason::Shutdown(Cause::Intensity(_))));
}

/// PL-34 PL-12 a fourth crash in 5 s: the pod stops all its children, ends, is not started again, and can be.
#[tokio::test(start_paused = true)]
async fn a_meltdown_ends_the_pod() {
    let (log, crash) = (Log::default(), Arc::new(Notify::new()));
    let streams = Streams::any();
    streams.set(|state| state.log = log.clone());
    let pods = start(&streams, {
        let (log, crash) = (log.clone(), crash.clone());
        move |_| {
            PodSpec::new()
                .child(Logged::new(&log).spec("a"))
                .child(crashing("b", &crash))
                .child(Logged::new(&log).spec("c"))
        }
    })
    .await;
    let mut events = pods.subscribe();
    let pod = pods.start_pod("t").await.unwrap();
    for _ in 0..3 {
        crash.notify_one();
        settle().await;
    }
    assert_eq!((pod.status(), pod.restarts()), (PodStatus::Active, 3));
    crash.notify_one();
    let reason = pod.wait().await;
    match &reason {
        ExitReason::Shutdown(Cause::Intensity(crash)) => {
            assert_eq!((crash.child.as_str(), crash.reason.to_string().as_str()), ("b", "failed: crashed"));
        }
        other => panic!("{other}"),
    }
    assert_eq!(log.take(), ["+a", "+c", "-c", "-a", "permit back"]);
    assert_eq!((pods.count_pods(), pods.registry().children().count()), (0, 0));
    assert_eq!(
        names(&mut events),
        ["starting", "active", "child restarted", "child restarted", "child restarted", "stopping", "ended"]
            .map(|name| format!("t {name}"))
    );
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!((pods.count_pods(), streams.asked()), (0, 1), "temporary: nobody starts it again");
    let again = pods.start_pod("t").await.unwrap();
    assert_eq!((again.status(), again.restarts()), (PodStatus::Active, 0));
}

/// PL-34 PL-12 the intensity is the spec's: crashes further apart than its window never end the pod.
#[tokio::test(start_paused = true)]
async fn the_intensity_is_the_specs() {
    let crash = Arc::new(Notify::new());
    let pods = start(&Streams::any(), {
        let crash = crash.clone();
        move |_| PodSpec::new().child(crashing("b", &crash)).intensity(RestartIntensity::new(1, SECOND))
    })
    .await;
    let pod = pods.start_pod("t").await.unwrap();
    for _ in 0..20 {
        crash.notify_one();
        tokio::time::sleep(1100 * MS).await;
    }
    assert_eq!((pod.status(), pod.restarts()), (PodStatus::Active, 20));
    crash.notify_one();
    settle().await;
    crash.notify_one();
    pod.wait().await;
}

/// PL-35 a hundred pods melt down at once; the pod supervisor and the pods that are well do not notice.
#[tokio::test(start_paused = true)]
async fn a_hundred_meltdowns() {
    let pods = start(&Streams::any(), |scope| {
        let child = match scope.task().as_str() {
            "well" => idle("a"),
            _ => ChildSpec::task("a", |_cx| async {
                tokio::time::sleep(100 * MS).await;
                Err::<(), _>("again")
            }),
        };
        PodSpec::new().child(child)
    })
    .await;
    let well = pods.start_pod("well").await.unwrap();
    let mut melting = Vec::new();
    for n in 0..100 {
        melting.push(pods.start_pod(format!("t{n}")).await.unwrap());
    }
    for pod in melting {
        assert!(matches!(pod.wait().await, ExitReason::Shutdown(Cause::Intensity(_))));
    }
    assert_eq!((pods.count_pods(), well.status()), (1, PodStatus::Active));
    assert_eq!((pods.stats().ended_total, pods.stats().child_restarts_total), (100, 300));
    pods.start_pod("t0").await.unwrap();
    pods.shutdown().await.unwrap();
}

/// PL-33 SG-18 an address leads to whoever is the child now: across its restart, for those who had it and those who look it up.
#[tokio::test(start_paused = true)]
async fn an_address_leads_to_the_child_of_now() {
    let pods = start(&Streams::any(), |_| PodSpec::new().child(counter("k")).child(idle("after"))).await;
    let pod = pods.start_pod("t").await.unwrap();
    let address: Address<Msg> = pod.address("k").unwrap();
    address.cast(Msg::Add(2)).await.unwrap();
    assert_eq!(address.call(Msg::Get).await.unwrap(), 2);
    address.cast(Msg::Crash).await.unwrap();
    assert_eq!(address.call(Msg::Get).await, Err(CallError::Gone), "queued in the old mailbox");
    settle().await;
    assert_eq!(address.call(Msg::Get).await.unwrap(), 0, "a new one, with nothing of the old");
    let looked_up = pod.address::<Msg>("k").unwrap();
    looked_up.cast(Msg::Add(1)).await.unwrap();
    assert_eq!(address.call(Msg::Get).await.unwrap(), 1);
    assert_eq!(pod.which_children().await.unwrap()[1].child.incarnation.0, 1, "the one after it runs on");
    let entry = pods.registry().children().lookup(&("t".try_into().unwrap(), "k".into())).unwrap();
    assert_eq!((entry.slot, entry.incarnation), (SlotId(0), Incarnation(2)));
    pods.stop_pod("t").await.unwrap();
    assert_eq!(address.call(Msg::Get).await, Err(CallError::Gone));
    assert!(matches!(pod.address::<Msg>("k"), Err(LookupError::NotFound { .. })));
    // The same child of the task's next pod is another.
    let next = pods.start_pod("t").await.unwrap();
    assert_eq!(next.address::<Msg>("k").unwrap().call(Msg::Get).await.unwrap(), 0);
    assert_eq!(address.call(Msg::Get).await, Err(CallError::Gone));
}

/// PL-09 an address of another type is told apart from none: no such child, not up, without an address.
#[tokio::test(start_paused = true)]
async fn what_an_address_can_be_refused_for() {
    let scopes: Arc<Mutex<Vec<PodScope>>> = Arc::default();
    let pods = start(&Streams::any(), {
        let scopes = scopes.clone();
        move |scope| {
            scopes.lock().unwrap().push(scope.clone());
            PodSpec::new().child(counter("k")).child(idle("mute")).child(ChildSpec::once("job", |_| async {}))
        }
    })
    .await;
    let pod = pods.start_pod("t").await.unwrap();
    settle().await;
    let scope = scopes.lock().unwrap()[0].clone();
    assert_eq!((scope.task().as_str(), scope.pod() == &pod), ("t", true));
    scope.address::<Msg>("k").unwrap();
    match scope.address::<String>("k").unwrap_err() {
        LookupError::WrongType { task, child, expected, found } => {
            assert_eq!((task.as_str(), child.as_str()), ("t", "k"));
            assert!(expected.contains("String") && found.contains("Msg"), "{expected} {found}");
        }
        other => panic!("{other}"),
    }
    for id in ["none", "mute", "job"] {
        assert!(matches!(scope.address::<Msg>(id), Err(LookupError::NotFound { .. })), "{id}");
        assert!(matches!(pod.find::<u8>(id), Err(LookupError::NotFound { .. })), "{id}");
    }
    pod.terminate_child("k").await.unwrap();
    assert!(matches!(scope.address::<Msg>("k"), Err(LookupError::NotFound { .. })));
    assert!(matches!(scope.address::<String>("k"), Err(LookupError::NotFound { .. })));
    pod.restart_child("k").await.unwrap().child().unwrap();
    scope.address::<Msg>("k").unwrap();
}

/// PL-09 a later child finds an earlier one's address in its init; an earlier one does not yet find a later one's.
#[tokio::test(start_paused = true)]
async fn children_find_those_before_them() {
    struct Looks(PodScope, Log);
    #[async_trait]
    impl Child for Looks {
        async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
            self.1.push(format!("{} {}", cx.id(), self.0.address::<Msg>("k").is_ok()));
            Ok(Init::Ready)
        }
        async fn run(&mut self, _: &mut Context) -> Result<Exit, BoxError> {
            std::future::pending().await
        }
    }
    let log = Log::default();
    let pods = start(&Streams::any(), {
        let log = log.clone();
        move |scope| {
            let looks = |id: &str| {
                let (scope, log) = (scope.clone(), log.clone());
                ChildSpec::new(id, move || Looks(scope.clone(), log.clone()))
            };
            PodSpec::new().child(looks("before")).child(counter("k")).child(looks("after"))
        }
    })
    .await;
    pods.start_pod("t").await.unwrap();
    assert_eq!(log.take(), ["before false", "after true"]);
}

/// A child's entry goes with its task: one that waits for its restart is not listed.
#[tokio::test(start_paused = true)]
async fn a_child_that_is_down_is_not_listed() {
    let crash = Arc::new(Notify::new());
    let pods = start(&Streams::any(), {
        let crash = crash.clone();
        move |_| {
            let backoff = Backoff { initial: SECOND, jitter: 0.0, ..Backoff::default() };
            PodSpec::new().child(crashing("c", &crash).backoff(backoff))
        }
    })
    .await;
    pods.start_pod("t").await.unwrap();
    let listed = || -> Vec<u64> {
        let children = pods.registry().children().list();
        children.into_iter().map(|(_, entry)| entry.incarnation.0).collect()
    };
    assert_eq!(listed(), [1]);
    crash.notify_one();
    settle().await;
    assert!(listed().is_empty());
    tokio::time::sleep(SECOND).await;
    assert_eq!(listed(), [2]);
}

/// PL-39 a name that a child registers is free before its next incarnation registers it, however the last one ended.
#[tokio::test(start_paused = true)]
async fn a_name_is_free_before_the_next_incarnation() {
    type Names = Registry<(String, String), u64>;
    struct Named {
        names: Names,
        crash: Arc<Notify>,
        runs: Arc<AtomicU64>,
        held: Option<Registration<(String, String), u64>>,
    }
    #[async_trait]
    impl Child for Named {
        async fn init(&mut self, _: &mut Context) -> Result<Init, BoxError> {
            let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
            self.held =
                Some(self.names.register(("manager".into(), "t".into()), run).map_err(|e| e.to_string())?);
            Ok(Init::Ready)
        }
        async fn run(&mut self, _: &mut Context) -> Result<Exit, BoxError> {
            self.crash.notified().await;
            match self.runs.load(Ordering::SeqCst) % 2 {
                0 => panic!("manager panics"),
                _ => Err("manager fails".into()),
            }
        }
    }
    let (names, crash, runs) = (Names::new(), Arc::new(Notify::new()), Arc::<AtomicU64>::default());
    let pods = start(&Streams::any(), {
        let (names, crash, runs) = (names.clone(), crash.clone(), runs.clone());
        move |_| {
            let (names, crash, runs) = (names.clone(), crash.clone(), runs.clone());
            let named =
                move || Named { names: names.clone(), crash: crash.clone(), runs: runs.clone(), held: None };
            PodSpec::new().child(ChildSpec::new("manager", named))
        }
    })
    .await;
    let pod = pods.start_pod("t").await.unwrap();
    let key = ("manager".to_owned(), "t".to_owned());
    for run in 1..=3 {
        assert_eq!(names.lookup(&key), Some(run));
        crash.notify_one();
        settle().await;
    }
    assert_eq!((names.lookup(&key), pod.restarts()), (Some(4), 3), "no restart was in vain");
    pod.terminate_child("manager").await.unwrap();
    assert_eq!(names.lookup(&key), None);
    pod.restart_child("manager").await.unwrap().child().unwrap();
    assert_eq!(names.lookup(&key), Some(5));
    pods.stop_pod("t").await.unwrap();
    assert!(names.is_empty());
}

/// PL-33 the operations on a pod's children, with their errors; added ones stop first and are gone with the pod.
#[tokio::test(start_paused = true)]
async fn operations_on_children() {
    let log = Log::default();
    let pods = start(&Streams::any(), ab(&log)).await;
    let pod = pods.start_pod("t").await.unwrap();
    let c = pod.start_child(Logged::new(&log).spec("c")).await.unwrap().child().unwrap();
    assert_eq!(pods.registry().children().count(), 3);
    match pod.start_child(Logged::new(&log).spec("c")).await.unwrap_err() {
        StartChildError::AlreadyStarted(standing) => assert_eq!(standing, c),
        other => panic!("{other}"),
    }
    match pod.start_child(Logged { fail: true, ..Logged::new(&log) }.spec("d")).await.unwrap_err() {
        StartChildError::Failed(failure) => {
            assert_eq!(failure.to_string(), "child `d` failed to start: failed: d will not")
        }
        other => panic!("{other}"),
    }
    assert!(matches!(pod.restart_child("a").await, Err(RestartChildError::Running)));
    assert!(matches!(pod.terminate_child("x").await, Err(TerminateChildError::NotFound)));
    pod.terminate_child("a").await.unwrap();
    pod.delete_child("a").await.unwrap();
    let counts = pod.count_children().await.unwrap();
    assert_eq!((counts.specs, counts.active, counts.workers), (2, 2, 2));
    log.take();
    pods.restart_pod("t").await.unwrap();
    assert_eq!(log.take(), ["-c", "-b", "+a", "+b"], "those that were added are lost");
    // Calls on the ref of a pod that has ended.
    assert!(matches!(pod.start_child(idle("x")).await, Err(StartChildError::Closed)));
    assert!(matches!(pod.terminate_child("a").await, Err(TerminateChildError::Closed)));
    assert!(matches!(pod.restart_child("a").await, Err(RestartChildError::Closed)));
    assert!(pod.delete_child("a").await.is_err());
}

/// PL-08 a child that is added while the pod starts waits for the start, or for its failure.
#[tokio::test(start_paused = true)]
async fn a_child_that_is_added_during_the_start() {
    let streams = Streams::of(&["t"]);
    streams.set(|state| state.slow = SECOND);
    let log = Log::default();
    let pods = start(&streams, ab(&log)).await;
    for (task, works) in [("t", true), ("bad", false)] {
        let mut call = Box::pin(pods.start_pod(task));
        assert!(poll_once(&mut call).await.is_none());
        let pod = pods.get_pod(task).unwrap();
        assert!(pod.which_children().await.unwrap().is_empty());
        assert_eq!(pod.count_children().await.unwrap().specs, 0);
        let (started, added) = tokio::join!(call, pod.start_child(Logged::new(&log).spec("late")));
        assert_eq!((started.is_ok(), added.is_ok()), (works, works));
        assert_eq!(log.take(), if works { &["+a", "+b", "+late"][..] } else { &[] });
    }
}

/// PL-33 a nested supervisor in a pod: its leaf crashes alone, its meltdown is one end of a child, its stop is depth-first.
#[tokio::test(start_paused = true)]
async fn a_nested_supervisor() {
    let (log, crash) = (Log::default(), Arc::new(Notify::new()));
    let pods = start(&Streams::any(), {
        let (log, crash) = (log.clone(), crash.clone());
        move |_| {
            let (logged, crash) = (Logged::new(&log), crash.clone());
            let inner = move || {
                Supervisor::builder()
                    .child(logged.clone().spec("leaf"))
                    .child(crashing("crashing", &crash))
                    .intensity(RestartIntensity::new(1, SECOND))
            };
            PodSpec::new()
                .child(Logged::new(&log).spec("a"))
                .child(ChildSpec::supervisor("inner", inner).restart(Restart::Permanent))
                .child(Logged::new(&log).spec("b"))
        }
    })
    .await;
    let pod = pods.start_pod("t").await.unwrap();
    assert_eq!(log.take(), ["+a", "+leaf", "+b"]);
    let counts = pod.count_children().await.unwrap();
    assert_eq!((counts.workers, counts.supervisors), (2, 1));
    crash.notify_one();
    settle().await;
    assert_eq!(pod.restarts(), 0, "the leaf's restart is its own supervisor's");
    crash.notify_one();
    settle().await;
    assert_eq!((pod.restarts(), log.take()), (1, vec!["-leaf".to_owned(), "+leaf".to_owned()]));
    let inner: ipa_supervisor::SupervisorRef = pod.find("inner").unwrap();
    assert_eq!(inner.count_children().await.unwrap().active, 2);
    pods.stop_pod("t").await.unwrap();
    assert_eq!(log.take(), ["-b", "-leaf", "-a"]);
    assert!(inner.which_children().await.is_err());
}

/// PL-11 a leaf that fails to start inside a nested supervisor: the error names the way to it.
#[tokio::test(start_paused = true)]
async fn a_nested_failure_names_the_way() {
    let pods = start(&Streams::any(), |_| {
        let inner = || {
            Supervisor::builder().child(Logged { fail: true, ..Logged::new(&Log::default()) }.spec("leaf"))
        };
        PodSpec::new().child(ChildSpec::supervisor("inner", inner))
    })
    .await;
    let error = pods.start_pod("t").await.unwrap_err();
    let texts = chain(&error).join(" | ");
    for name in ["`t`", "`inner`", "`leaf`", "leaf will not"] {
        assert!(texts.contains(name), "{name} in {texts}");
    }
}

/// PL-01 PL-13 a pod as a child of a user's own supervisor: found, counted, stopped with it or by its id, and restarted if the user
/// wants that.
#[tokio::test(start_paused = true)]
async fn a_pod_as_a_child() {
    let log = Log::default();
    let streams = Streams::any();
    streams.set(|state| state.log = log.clone());
    let pods = start(&streams, ab(&log)).await;
    let spec = |task: &str| pods.child_spec(task.try_into().unwrap()).unwrap();
    let mut events = pods.subscribe();
    let exits = Arc::new(Mutex::new(Vec::new()));
    let exited = exits.clone();
    let observer = move |note: &Note| {
        if let Note::Exited { reason, .. } = note {
            exited.lock().unwrap().push(reason.clone());
        }
    };
    let own = Supervisor::builder().child(idle("first")).child(spec("t")).observer(Arc::new(observer));
    let own = own.start().await.unwrap();
    let pod = pods.get_pod("t").unwrap();
    assert_eq!((pod.status(), pods.count_pods()), (PodStatus::Active, 1));
    assert!(matches!(pods.start_pod("t").await, Err(StartPodError::AlreadyStarted { .. })));
    assert_eq!(own.count_children().await.unwrap().supervisors, 1);
    own.terminate_child("t").await.unwrap();
    assert_eq!(
        (log.take(), pods.count_pods()),
        (["+a", "+b", "-b", "-a", "permit back"].map(String::from).to_vec(), 0)
    );
    assert_eq!(names(&mut events), ["t starting", "t active", "t stopping", "t ended"]);
    // By its id; temporary, so it is not restarted.
    own.start_child(spec("t")).await.unwrap().child().unwrap();
    pods.stop_pod("t").await.unwrap();
    assert_eq!((pods.count_pods(), own.count_children().await.unwrap().specs), (0, 1));
    let exits = std::mem::take(&mut *exits.lock().unwrap());
    assert!(matches!(&exits[..], [ExitReason::Shutdown(Cause::Requested(None))]), "{exits:?}");
    // A permanent one is started again, with everything that belongs to a start.
    own.start_child(spec("t").restart(Restart::Permanent)).await.unwrap().child().unwrap();
    let first = pods.get_pod("t").unwrap();
    let asked = streams.asked();
    first.request_stop("go");
    first.wait().await;
    settle().await;
    let second = pods.get_pod("t").unwrap();
    assert!(first != second && second.status() == PodStatus::Active);
    assert_eq!(streams.asked(), asked + 1);
    own.shutdown().await.unwrap();
    assert_eq!((pods.count_pods(), second.has_ended()), (0, true));
    // A pod that cannot start is its supervisor's failed child, with the reason.
    pods.start_pod("t").await.unwrap();
    let error = Supervisor::builder().child(spec("t")).start().await.unwrap_err();
    assert!(chain(&error).join(" ").contains("task `t` has a pod already, which is active"), "{error}");
    let dynamic = DynamicSupervisor::builder().start().await.unwrap();
    dynamic.start_child(spec("u")).await.unwrap().child().unwrap();
    assert_eq!(pods.count_pods(), 2);
    assert!(
        matches!(pods.restart_pod("u").await, Err(RestartPodError::NotOurs(task)) if task.as_str() == "u")
    );
    pods.drain().await.unwrap();
    let left = (pods.count_pods(), dynamic.count_children().await.unwrap().specs);
    assert_eq!(left, (1, 1), "a drain leaves to other supervisors what is theirs");
}

/// PL-14 from within a pod that is a user's own child, a stop of it is refused too, and nothing else touches it.
#[tokio::test(start_paused = true)]
async fn a_pod_as_a_child_cannot_wait_for_itself() {
    let slot: Arc<std::sync::OnceLock<ipa_pod::PodSupervisorRef>> = Arc::default();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let pods = start(&Streams::any(), {
        let slot = slot.clone();
        move |_| {
            let (slot, tell) = (slot.clone(), tell.clone());
            PodSpec::new().child(ChildSpec::task("a", move |_cx| {
                let (pods, tell) = (slot.get().unwrap().clone(), tell.clone());
                async move {
                    let answers = [
                        format!("{:?}", pods.stop_pod("t").await),
                        format!("{:?}", pods.restart_pod("t").await.map(|_| ())),
                        format!("{:?}", pods.drain().await),
                    ];
                    tell.send(answers).unwrap();
                    std::future::pending::<()>().await
                }
            }))
        }
    })
    .await;
    slot.set(pods.downgrade()).unwrap();
    let spec = pods.child_spec("t".try_into().unwrap()).unwrap();
    let own = Supervisor::builder().child(spec).start().await.unwrap();
    assert_eq!(told.recv().await.unwrap(), ["Err(WouldDeadlock)", "Err(NotOurs(\"t\"))", "Ok(())"]);
    assert!(pods.pod_running("t"), "the drain does not wait for what is not its own");
    own.shutdown().await.unwrap();
}

/// PL-33 each restart of a child is told of, with the incarnation that ended, and the pod is active throughout.
#[tokio::test(start_paused = true)]
async fn every_restart_is_told_of() {
    let tries = Arc::new(AtomicU64::new(0));
    let pods = start(&Streams::any(), {
        let tries = tries.clone();
        move |_| {
            let tries = tries.clone();
            PodSpec::new().child(ChildSpec::task("a", move |_cx| {
                let n = tries.fetch_add(1, Ordering::SeqCst);
                async move {
                    tokio::time::sleep(MS).await;
                    if n < 3 { Err::<(), _>("not yet") } else { std::future::pending().await }
                }
            }))
        }
    })
    .await;
    let mut events = pods.subscribe();
    let pod = pods.start_pod("t").await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!((pod.status(), pod.restarts(), tries.load(Ordering::SeqCst)), (PodStatus::Active, 3, 4));
    let mut children = Vec::new();
    while let Ok(Some(event)) = events.try_recv() {
        if let PodEvent::ChildRestarted { child, .. } = event {
            children.push(child.to_string());
        }
    }
    assert_eq!(children, ["a#1", "a#2", "a#3"]);
}

/// SG-18 whoever waits for a sibling gets it when it is up, again when it has been restarted, and not after the pod's end.
#[tokio::test(start_paused = true)]
async fn a_sibling_can_be_waited_for() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let pods = PodSupervisor::builder(Streams::any(), move |scope: &PodScope| {
        let (scope, tell) = (scope.clone(), tell.clone());
        Ok(PodSpec::new()
            .child(ChildSpec::task("waits", move |_cx| {
                let (scope, tell) = (scope.clone(), tell.clone());
                async move {
                    tell.send(scope.wait_for::<u64>("late").await.unwrap()).unwrap();
                    std::future::pending::<()>().await
                }
            }))
            .child(ChildSpec::task("late", |cx| async move {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                cx.publish(cx.child().incarnation.0);
                std::future::pending::<()>().await
            })))
    })
    .start()
    .await
    .unwrap();
    let pod = pods.start_pod("t").await.unwrap();
    assert_eq!(told.recv().await, Some(1));
    pod.terminate_child("waits").await.unwrap();
    pod.terminate_child("late").await.unwrap();
    let _ = pod.restart_child("late").await.unwrap();
    let _ = pod.restart_child("waits").await.unwrap();
    assert_eq!(told.recv().await, Some(2), "the next incarnation, when it is up");
    pod.terminate_child("late").await.unwrap();
    let waiting = tokio::spawn({
        let scope = PodScope::of(&pod);
        async move { scope.wait_for::<u64>("late").await }
    });
    settle().await;
    pods.stop_pod("t").await.unwrap();
    assert!(matches!(waiting.await.unwrap(), Err(LookupError::NotFound { .. })));
}

/// SG-18 what is found through a pod is that pod's: after its end there is nothing, though the task has another pod by then.
#[tokio::test(start_paused = true)]
async fn a_pod_that_has_ended_finds_nothing() {
    let pods = start(&Streams::any(), |_| {
        PodSpec::new().child(ChildSpec::task("a", |cx| async move {
            cx.publish(7u64);
            std::future::pending::<()>().await
        }))
    })
    .await;
    let old = pods.start_pod("t").await.unwrap();
    settle().await;
    assert_eq!(old.find::<u64>("a"), Ok(7));
    let new = pods.restart_pod("t").await.unwrap();
    settle().await;
    assert_eq!(new.find::<u64>("a"), Ok(7));
    assert!(matches!(old.find::<u64>("a"), Err(LookupError::NotFound { .. })));
    let waited = PodScope::of(&old).wait_for::<u64>("a").await;
    assert!(matches!(waited, Err(LookupError::NotFound { .. })));
}
