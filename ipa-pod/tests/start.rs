//! Starts: what is checked in which order, what a failure leaves behind, how many at once.

mod common;

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use common::*;
use ipa_pod::{PodSpec, PodStatus, PodSupervisor, StartPodError, TaskId};
use ipa_supervisor::{ChildSpec, ChildState, ExitReason, RestartIntensity};
use tokio::time::Instant;

/// PL-01 PL-08 PL-26 PL-27 a started pod is active, running, and what every lookup gives.
#[tokio::test(start_paused = true)]
async fn a_started_pod_is_found() {
    let pods = start(&Streams::of(&["t"]), ab(&Log::default())).await;
    assert!(!pods.pod_running("t"));
    assert!(pods.get_pod("t").is_err());
    let before = SystemTime::now();
    let pod = pods.start_pod("t").await.unwrap();
    assert_eq!((pod.status(), pods.pod_running("t")), (PodStatus::Active, true));
    assert_eq!(pods.get_pod("t").unwrap(), pod);
    assert_eq!(pods.registry().pods().lookup("t").unwrap(), pod);
    assert!(before <= pod.started_at() && pod.started_at() <= SystemTime::now());
    assert_eq!(pod.task().as_str(), "t");
    let counts = pod.count_children().await.unwrap();
    assert_eq!((counts.specs, counts.active), (2, 2));
    settle().await;
    assert!(pod.age() >= MS);
}

/// PL-02 a second start is told of the pod, which is left as it is.
#[tokio::test(start_paused = true)]
async fn a_running_pod_is_left_alone() {
    let log = Log::default();
    let pods = start(&Streams::of(&["t"]), ab(&log)).await;
    let pod = pods.start_pod("t").await.unwrap();
    let before = pod.which_children().await.unwrap();
    match pods.start_pod("t").await.unwrap_err() {
        StartPodError::AlreadyStarted { pod: standing, status } => {
            assert_eq!((standing, status), (pod.clone(), PodStatus::Active));
        }
        other => panic!("{other}"),
    }
    assert_eq!(pod.which_children().await.unwrap(), before);
    assert_eq!((log.take(), pods.count_pods()), (vec!["+a".to_owned(), "+b".to_owned()], 1));
}

/// PL-03 without a stream there is no pod, no entry, no child, no event of an active pod.
#[tokio::test(start_paused = true)]
async fn without_a_stream_there_is_no_pod() {
    let (streams, log) = (Streams::default(), Log::default());
    let pods = start(&streams, ab(&log)).await;
    let mut events = pods.subscribe();
    let error = pods.start_pod("t").await.unwrap_err();
    assert!(matches!(&error, StartPodError::StreamNotFound(task) if task.as_str() == "t"), "{error}");
    assert!(!pods.registry().pods().contains("t"));
    assert_eq!((pods.count_pods(), pods.registry().children().count(), log.lines().len()), (0, 0, 0));
    assert_eq!(names(&mut events), ["t starting", "t ended"]);
    streams.set(|state| state.any = true);
    pods.start_pod("t").await.unwrap();
}

/// PL-04 whether it runs is asked before whether its stream exists.
#[tokio::test(start_paused = true)]
async fn running_is_asked_before_the_stream() {
    let streams = Streams::of(&["t"]);
    let pods = start(&streams, ab(&Log::default())).await;
    pods.start_pod("t").await.unwrap();
    streams.set(|state| state.streams.clear());
    assert!(matches!(pods.start_pod("t").await, Err(StartPodError::AlreadyStarted { .. })));
    assert_eq!(streams.asked(), 1);
}

/// PL-05 a store that fails is not a stream that is missing, and its error is kept.
#[tokio::test(start_paused = true)]
async fn a_failing_store_is_told_as_such() {
    let streams = Streams::of(&["t"]);
    streams.set(|state| state.down = true);
    let pods = start(&streams, ab(&Log::default())).await;
    let error = pods.start_pod("t").await.unwrap_err();
    assert!(matches!(error, StartPodError::Unavailable { .. }), "{error}");
    assert_eq!(error.source().unwrap().to_string(), "disk on fire");
    assert_eq!(pods.count_pods(), 0);
    streams.set(|state| state.down = false);
    pods.start_pod("t").await.unwrap();
}

/// PL-05 a task that is owned elsewhere is refused, with the owner's name.
#[tokio::test(start_paused = true)]
async fn a_task_that_is_owned_elsewhere_is_refused() {
    let streams = Streams::of(&["t"]);
    streams.set(|state| state.owner = Some("machine 7".into()));
    let pods = start(&streams, ab(&Log::default())).await;
    match pods.start_pod("t").await.unwrap_err() {
        StartPodError::OwnedElsewhere { task, owner } => {
            assert_eq!((task.as_str(), owner.as_str()), ("t", "machine 7"));
        }
        other => panic!("{other}"),
    }
    assert_eq!(pods.count_pods(), 0);
}

/// PL-06 PL-07 of ten starts at once one is told Ok, nine that it is started; the losers start nothing, not even the check.
#[tokio::test(start_paused = true)]
async fn of_ten_starts_one_wins() {
    let (streams, log) = (Streams::of(&["t"]), Log::default());
    let pods = start(&streams, ab(&log)).await;
    let calls: Vec<_> = (0..10)
        .map(|_| {
            tokio::spawn({
                let pods = pods.clone();
                async move { pods.start_pod("t").await }
            })
        })
        .collect();
    let mut won = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => won += 1,
            Err(StartPodError::AlreadyStarted { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((won, streams.asked(), pods.count_pods()), (1, 1, 1));
    assert_eq!(log.take(), ["+a", "+b"]);
    let stats = pods.stats();
    assert_eq!((stats.started_total, stats.start_failures_total), (1, 0));
}

/// PL-08 a pod is starting until its last child is up, and active from then on.
#[tokio::test(start_paused = true)]
async fn a_pod_is_starting_until_its_last_child_is_up() {
    let log = Log::default();
    let pods = start(&Streams::of(&["t"]), {
        let log = log.clone();
        move |_| {
            let slow = |id| Logged { init: SECOND, ..Logged::new(&log) }.spec(id);
            PodSpec::new().child(slow("a")).child(slow("b"))
        }
    })
    .await;
    let begun = Instant::now();
    let mut call = Box::pin(pods.start_pod("t"));
    assert!(poll_once(&mut call).await.is_none());
    assert_eq!(pods.get_pod("t").unwrap().status(), PodStatus::Starting, "before anything of it ran");
    tokio::time::sleep(1500 * MS).await;
    let pod = pods.get_pod("t").unwrap();
    assert_eq!((pod.status(), pods.pod_running("t")), (PodStatus::Starting, true));
    let states: Vec<_> = pod.which_children().await.unwrap().into_iter().map(|row| row.state).collect();
    assert_eq!(states, [ChildState::Running, ChildState::Starting]);
    let started = call.await.unwrap();
    assert_eq!((begun.elapsed(), started == pod), (2 * SECOND, true));
    assert_eq!(pod.status(), PodStatus::Active);
}

/// PL-09 a child finds its own pod, and the children before it, during its own start.
#[tokio::test(start_paused = true)]
async fn a_child_finds_its_pod_during_its_own_start() {
    struct Looks(ipa_pod::PodScope, Log);
    #[ipa_pod::async_trait]
    impl ipa_supervisor::Child for Looks {
        async fn init(
            &mut self,
            cx: &mut ipa_supervisor::Context,
        ) -> Result<ipa_supervisor::Init, ipa_supervisor::BoxError> {
            let rows = self.0.pod().which_children().await?;
            let rows = rows.iter().map(|row| format!("{} {:?}", row.child.id, row.state));
            self.1.push(format!(
                "{} {} {}",
                cx.id(),
                self.0.pod().status(),
                rows.collect::<Vec<_>>().join(", ")
            ));
            Ok(ipa_supervisor::Init::Ready)
        }
        async fn run(
            &mut self,
            _: &mut ipa_supervisor::Context,
        ) -> Result<ipa_supervisor::Exit, ipa_supervisor::BoxError> {
            std::future::pending().await
        }
    }
    let log = Log::default();
    let pods = start(&Streams::of(&["t"]), {
        let log = log.clone();
        move |scope| {
            let looks = |id: &str| {
                let (scope, log) = (scope.clone(), log.clone());
                ChildSpec::new(id, move || Looks(scope.clone(), log.clone()))
            };
            PodSpec::new().child(looks("a")).child(looks("b"))
        }
    })
    .await;
    let pod = pods.start_pod("t").await.unwrap();
    assert_eq!(log.take(), ["a starting a Starting, b Undefined", "b starting a Running, b Starting"]);
    assert_eq!(pods.get_pod("t").unwrap(), pod);
}

/// PL-11 a child that fails to start: those before it are stopped in reverse, the error names it and keeps its source, nothing
/// stays, and a retry works at once.
#[tokio::test(start_paused = true)]
async fn a_failed_child_rolls_the_start_back() {
    let (log, fail) = (Log::default(), Arc::new(AtomicUsize::new(1)));
    let pods = start(&Streams::of(&["t"]), {
        let (log, fail) = (log.clone(), fail.clone());
        move |_| {
            let logged = |id| Logged::new(&log).spec(id);
            let third = Logged { fail: fail.load(Ordering::SeqCst) > 0, ..Logged::new(&log) }.spec("c");
            PodSpec::new().child(logged("a")).child(logged("b")).child(third).child(logged("d"))
        }
    })
    .await;
    let other = pods.count_pods();
    let error = pods.start_pod("t").await.unwrap_err();
    assert_eq!(log.take(), ["+a", "+b", "-b", "-a"]);
    assert_eq!((pods.count_pods(), pods.registry().children().count()), (other, 0));
    match &error {
        StartPodError::ChildFailed { task, failure } => {
            assert_eq!((task.as_str(), failure.child.as_str(), failure.timed_out), ("t", "c", false));
            assert!(matches!(failure.reason, ExitReason::Failed(_)));
        }
        other => panic!("{other}"),
    }
    assert_eq!(
        chain(&error),
        ["the pod of task `t` did not start", "child `c` failed to start: failed: c will not", "c will not"]
    );
    fail.store(0, Ordering::SeqCst);
    pods.start_pod("t").await.unwrap();
    let stats = pods.stats();
    assert_eq!((stats.active, stats.started_total, stats.start_failures_total), (1, 1, 1));
}

/// PL-11 a child that panics in its init or its factory fails the start just so.
#[tokio::test(start_paused = true)]
async fn a_panicking_child_rolls_the_start_back() {
    let log = Log::default();
    let pods = start(&Streams::of(&["t"]), {
        let log = log.clone();
        move |_| {
            let panics = ChildSpec::new("b", || -> Logged { panic!("no b today") });
            PodSpec::new().child(Logged::new(&log).spec("a")).child(panics)
        }
    })
    .await;
    for _ in 0..2 {
        let error = pods.start_pod("t").await.unwrap_err();
        let StartPodError::ChildFailed { failure, .. } = &error else { panic!("{error}") };
        assert!(matches!(&failure.reason, ExitReason::Panicked(text) if &**text == "no b today"));
        assert_eq!((log.take(), pods.count_pods()), (vec!["+a".to_owned(), "-a".to_owned()], 0));
    }
}

/// PL-11 a factory that fails or panics is a typed error with its source; the key is free at once.
#[tokio::test(start_paused = true)]
async fn a_failing_factory_is_a_typed_error() {
    let turn = Arc::new(AtomicUsize::new(0));
    let pods =
        PodSupervisor::builder(Streams::of(&["t"]), move |_: &_| match turn.fetch_add(1, Ordering::SeqCst) {
            0 => Err("no template".into()),
            1 => panic!("template torn"),
            2 => Ok(PodSpec::new().child(idle("twice")).child(idle("twice"))),
            3 => Ok(PodSpec::new().intensity(RestartIntensity::new(1, Duration::ZERO))),
            _ => Ok(PodSpec::new().child(idle("a"))),
        })
        .start()
        .await
        .unwrap();
    for expected in ["no template", "template torn", "`twice`", "zero"] {
        let error = pods.start_pod("t").await.unwrap_err();
        assert!(matches!(&error, StartPodError::Factory { task, .. } if task.as_str() == "t"), "{error}");
        let source = error.source().unwrap().to_string();
        assert!(source.contains(expected), "{source}");
        assert_eq!(pods.count_pods(), 0);
    }
    pods.start_pod("t").await.unwrap();
}

/// PL-12 the defaults: 3 restarts in 5 s, 30 s to start, 10 s to stop; a start that takes longer is rolled back and names the
/// child that was starting.
#[tokio::test(start_paused = true)]
async fn a_start_that_takes_too_long_is_rolled_back() {
    let log = Log::default();
    let pods = start(&Streams::of(&["t"]), {
        let log = log.clone();
        move |_| {
            let slow = Logged { init: 60 * SECOND, ..Logged::new(&log) };
            PodSpec::new()
                .child(Logged::new(&log).spec("a"))
                .child(Logged::new(&log).spec("b"))
                .child(slow.spec("slow"))
                .child(Logged::new(&log).spec("never"))
        }
    })
    .await;
    let begun = Instant::now();
    match pods.start_pod("t").await.unwrap_err() {
        StartPodError::TimedOut { task, timeout, child } => {
            assert_eq!((task.as_str(), timeout, child.unwrap().as_str()), ("t", 30 * SECOND, "slow"));
        }
        other => panic!("{other}"),
    }
    assert_eq!(begun.elapsed(), 30 * SECOND);
    assert_eq!(log.take(), ["+a", "+b", "-b", "-a"]);
    assert_eq!(pods.count_pods(), 0);
}

/// PL-11 a child's own start timeout is its failure, however long the rollback takes that follows.
#[tokio::test(start_paused = true)]
async fn a_rollback_does_not_count_towards_the_start_timeout() {
    let pods = start(&Streams::of(&["t"]), |_| {
        let slow = Logged { init: 60 * SECOND, ..Logged::new(&Log::default()) };
        let sibling = Logged { terminate: 3 * SECOND, ..Logged::new(&Log::default()) };
        PodSpec::new()
            .child(sibling.spec("sibling"))
            .child(slow.spec("slow").start_timeout(SECOND))
            .start_timeout(2 * SECOND)
    })
    .await;
    let begun = Instant::now();
    match pods.start_pod("t").await.unwrap_err() {
        StartPodError::ChildFailed { failure, .. } => {
            assert_eq!((failure.child.as_str(), failure.timed_out), ("slow", true));
        }
        other => panic!("{other}"),
    }
    assert_eq!(begun.elapsed(), 4 * SECOND);
}

/// PL-12 the start timeout is the spec's; a child's own start timeout is that child's failure.
#[tokio::test(start_paused = true)]
async fn start_timeouts_can_be_set() {
    let own = Arc::new(AtomicUsize::new(0));
    let pods = start(&Streams::of(&["t"]), {
        let own = own.clone();
        move |_| {
            let slow = Logged { init: 60 * SECOND, ..Logged::new(&Log::default()) }.spec("slow");
            match own.load(Ordering::SeqCst) {
                0 => PodSpec::new().child(slow).start_timeout(2 * SECOND),
                _ => PodSpec::new().child(slow.start_timeout(SECOND)).start_timeout(2 * SECOND),
            }
        }
    })
    .await;
    let begun = Instant::now();
    let error = pods.start_pod("t").await.unwrap_err();
    assert!(matches!(error, StartPodError::TimedOut { timeout, .. } if timeout == 2 * SECOND), "{error}");
    assert_eq!(begun.elapsed(), 2 * SECOND);
    own.store(1, Ordering::SeqCst);
    let begun = Instant::now();
    let error = pods.start_pod("t").await.unwrap_err();
    assert!(matches!(&error, StartPodError::ChildFailed { failure, .. } if failure.timed_out), "{error}");
    assert_eq!(begun.elapsed(), SECOND);
}

/// PL-31 PL-32 five pods at once all run, and stopping one leaves the others.
#[tokio::test(start_paused = true)]
async fn pods_do_not_depend_on_each_other() {
    let log = Log::default();
    let pods = start(&Streams::any(), ab(&log)).await;
    let calls: Vec<_> = (0..5)
        .map(|n| {
            tokio::spawn({
                let pods = pods.clone();
                async move { pods.start_pod(format!("t{n}")).await.unwrap() }
            })
        })
        .collect();
    let mut started = Vec::new();
    for call in calls {
        started.push(call.await.unwrap());
    }
    assert!((0..5).all(|n| pods.pod_running(format!("t{n}"))));
    pods.stop_pod("t2").await.unwrap();
    for (n, pod) in started.iter().enumerate() {
        assert_eq!(pod.has_ended(), n == 2);
        assert_eq!(pods.pod_running(format!("t{n}")), n != 2);
    }
    assert_eq!(pods.count_pods(), 4);
}

/// PL-42 a blank id is refused, and nothing is asked.
#[tokio::test(start_paused = true)]
async fn a_blank_id_is_refused() {
    let streams = Streams::any();
    let pods = start(&streams, ab(&Log::default())).await;
    for id in ["", " ", "\t\n"] {
        assert!(matches!(pods.start_pod(id).await, Err(StartPodError::InvalidTaskId(_))));
        assert!(matches!(
            pods.restart_pod(id).await,
            Err(ipa_pod::RestartPodError::Start(StartPodError::InvalidTaskId(_)))
        ));
        assert!(matches!(pods.stop_pod(id).await, Err(ipa_pod::StopPodError::NotRunning(_))));
        assert!(pods.get_pod(id).is_err());
        assert!(TaskId::new(id).is_err());
        assert!(serde_json::from_value::<TaskId>(id.into()).is_err());
    }
    assert_eq!((streams.asked(), pods.count_pods()), (0, 0));
    pods.start_pod("ünï code / 7").await.unwrap();
}

/// PL-19 PL-29 while a pod is slow to start, everything about others is answered in no time.
#[tokio::test(start_paused = true)]
async fn a_slow_start_delays_nobody() {
    let pods = start(&Streams::any(), |scope| {
        let init = if scope.task().as_str() == "slow" { 20 * SECOND } else { Duration::ZERO };
        PodSpec::new().child(Logged { init, ..Logged::new(&Log::default()) }.spec("a"))
    })
    .await;
    let mut call = Box::pin(pods.start_pod("slow"));
    assert!(poll_once(&mut call).await.is_none());
    let begun = Instant::now();
    pods.start_pod("fast").await.unwrap();
    assert_eq!(pods.list_pods().len(), 2);
    assert_eq!(pods.snapshot().await.len(), 2);
    assert_eq!((pods.stats().starting, pods.stats().active), (1, 1));
    pods.restart_pod("fast").await.unwrap();
    pods.stop_pod("fast").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    call.await.unwrap();
    assert_eq!(begun.elapsed(), 20 * SECOND);
}

/// PL-01 a pod may have a spec of its own, which a restart uses too; without it, the supervisor's is used again.
#[tokio::test(start_paused = true)]
async fn a_pod_may_have_a_spec_of_its_own() {
    let pods = start(&Streams::any(), ab(&Log::default())).await;
    let pod = pods.start_pod_with("t", |_: &_| Ok(PodSpec::new().child(idle("own")))).await.unwrap();
    let ids = |rows: Vec<ipa_supervisor::ChildInfo>| {
        rows.into_iter().map(|row| row.child.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(pod.which_children().await.unwrap()), ["own"]);
    let pod = pods.restart_pod("t").await.unwrap();
    assert_eq!(ids(pod.which_children().await.unwrap()), ["own"]);
    pods.stop_pod("t").await.unwrap();
    let pod = pods.start_pod("t").await.unwrap();
    assert_eq!(ids(pod.which_children().await.unwrap()), ["a", "b"]);
}

/// PL-01 a pod without children is a pod.
#[tokio::test(start_paused = true)]
async fn a_pod_may_be_empty() {
    let pods = start(&Streams::any(), |_| PodSpec::new()).await;
    let pod = pods.start_pod("t").await.unwrap();
    assert_eq!((pod.status(), pod.which_children().await.unwrap().len()), (PodStatus::Active, 0));
    let child = pod.start_child(idle("late")).await.unwrap().child().unwrap();
    assert_eq!(child.id.as_str(), "late");
    pods.stop_pod("t").await.unwrap();
    assert_eq!(pods.registry().children().count(), 0);
}
