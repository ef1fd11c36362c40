//! Starts through the real supervisor: order, rollback, failures of every kind, specs.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipa_supervisor::{
    BoxError, Cause, Child, ChildCounts, ChildSpec, ChildState, Context, DynamicSupervisor, Exit, ExitReason,
    Kind, Restart, RestartChildError, RestartIntensity, Settings, Shutdown, SpecError, StartChildError,
    StartError, StartFailure, Started, Supervisor, async_trait,
};
use support::{Bomb, Does, World, all_running, ms, states};
use tokio::time::{Duration, Instant};

fn failure(error: StartError) -> Arc<StartFailure> {
    match error {
        StartError::ChildFailed(failure) => failure,
        other => panic!("{other}"),
    }
}

/// ST-01 ST-02 each init begins when the one before it is done, and the start returns when all are.
#[tokio::test(start_paused = true)]
async fn children_start_in_order() {
    let world = World::new();
    let begun = Instant::now();
    let kid = |name| world.kid(name).init(Does::Sleeps(10)).spec();
    let supervisor = Supervisor::builder().children([kid("c"), kid("a"), kid("b")]).start().await.unwrap();
    assert_eq!(begun.elapsed(), ms(30));
    let inits: Vec<_> = world.take().into_iter().filter(|line| line.starts_with("init")).collect();
    assert_eq!(inits, ["init c#1", "init a#1", "init b#1"]);
    assert!(all_running(&supervisor.which_children().await.unwrap()));
}

/// ST-03 an empty list is a supervisor without children.
#[tokio::test(start_paused = true)]
async fn no_children() {
    let supervisor = Supervisor::builder().start().await.unwrap();
    assert_eq!(supervisor.count_children().await.unwrap(), ChildCounts::default());
    supervisor.shutdown().await.unwrap();
}

/// ST-04 ST-06 the third of four fails: the fourth is never started, the others are stopped in reverse, nothing is retried.
#[tokio::test(start_paused = true)]
async fn a_failed_start_is_rolled_back() {
    let world = World::new();
    let error = Supervisor::builder()
        .children([
            world.spec("a"),
            world.spec("b"),
            world.kid("c").init(Does::Fails).spec(),
            world.spec("d"),
        ])
        .intensity(RestartIntensity::new(100, ms(1000)))
        .start()
        .await
        .unwrap_err();
    let log: Vec<_> = world.take().into_iter().filter(|line| !line.starts_with("run")).collect();
    assert_eq!(
        log,
        [
            "init a#1",
            "init b#1",
            "init c#1",
            "drop c",
            "terminate b: shutdown: child `c` failed to start: failed: init failed",
            "terminated b",
            "drop b",
            "terminate a: shutdown: child `c` failed to start: failed: init failed",
            "terminated a",
            "drop a",
        ]
    );
    let failure = failure(error);
    assert_eq!(failure.child.as_str(), "c");
    assert_eq!(std::error::Error::source(&*failure).unwrap().to_string(), "init failed");
}

/// ST-05 RT-09 RT-10 an error, a panic of whatever payload, a panicking factory: one failure, and each says what it was.
#[tokio::test(start_paused = true)]
async fn failures_are_equal() {
    struct Payload(Box<dyn Fn() + Send + Sync>);
    #[async_trait]
    impl Child for Payload {
        async fn init(&mut self, _cx: &mut Context) -> Result<ipa_supervisor::Init, BoxError> {
            (self.0)();
            Ok(ipa_supervisor::Init::Ready)
        }
        async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
            Ok(Exit::Normal)
        }
    }
    let world = World::new();
    let panics = |with: fn()| ChildSpec::new("bad", move || Payload(Box::new(with)));
    let factory = ChildSpec::new("bad", || -> Payload { panic!("no child") });
    let cases = [
        (world.kid("bad").init(Does::Fails).quiet().spec(), "failed: init failed"),
        (world.kid("bad").init(Does::Panics).quiet().spec(), "panicked: init panicked"),
        (factory, "panicked: no child"),
        (panics(|| panic!("{}", String::from("owned"))), "panicked: owned"),
        (panics(|| std::panic::panic_any(7_u32)), "panicked: panic: <non-string>"),
        (panics(|| std::panic::panic_any(Bomb)), "panicked: panic: <non-string>"),
    ];
    for (bad, says) in cases {
        world.take();
        let error = Supervisor::builder().child(world.spec("a")).child(bad).start().await.unwrap_err();
        assert_eq!(failure(error).reason.to_string(), says);
        assert_eq!(world.take().last().unwrap(), "drop a", "{says}: rolled back before the answer");
    }
}

/// RT-11 a child that is stopped before its task was polled even once: its start ends, with an error.
#[tokio::test(start_paused = true)]
async fn a_start_that_is_cancelled_before_it_began() {
    let world = World::new();
    let supervisor = Supervisor::builder().start().await.unwrap();
    for shutdown in [Shutdown::BrutalKill, Shutdown::Timeout(ms(5000))] {
        // The loop handles both requests in one go, before the child's task runs.
        let start = supervisor.start_child(world.spec("a").shutdown(shutdown));
        let (started, ()) = tokio::join!(start, async { supervisor.request_terminate_child("a") });
        assert!(matches!(started, Err(StartChildError::Cancelled)), "{started:?}");
        assert_eq!(world.take(), [""; 0]);
    }
    supervisor.shutdown().await.unwrap();
}

/// ST-09 ST-11 a child that declines is kept, undefined; it can be asked again, and deleted.
#[tokio::test(start_paused = true)]
async fn a_child_that_declines() {
    let world = World::new();
    let supervisor = Supervisor::builder()
        .children([world.kid("a").init(Does::Declines).spec(), world.spec("b")])
        .start()
        .await
        .unwrap();
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#1 Undefined", "b#1 Running"]);
    let counts = supervisor.count_children().await.unwrap();
    assert_eq!((counts.specs, counts.active), (2, 1));
    let again = supervisor.start_child(world.spec("a")).await;
    assert!(matches!(again, Err(StartChildError::AlreadyPresent(id)) if id.as_str() == "a"));
    assert_eq!(supervisor.restart_child("a").await.unwrap(), Started::Ignored);
    supervisor.delete_child("a").await.unwrap();
    assert!(matches!(supervisor.restart_child("a").await, Err(RestartChildError::NotFound)));
}

/// ST-17 while an init hangs, queries, stops and starts of others are answered at once.
#[tokio::test(start_paused = true)]
async fn a_pending_init_holds_up_nobody() {
    let world = World::new();
    let supervisor = Supervisor::builder().child(world.spec("a")).start().await.unwrap();
    let slow = {
        let (supervisor, spec) = (supervisor.clone(), world.kid("slow").init(Does::Sleeps(1000)).spec());
        tokio::spawn(async move { supervisor.start_child(spec).await })
    };
    world.seen("init slow#1").await;
    let begun = Instant::now();
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#1 Running", "slow#1 Starting"]);
    assert_eq!(supervisor.count_children().await.unwrap().active, 1);
    let _ = supervisor.start_child(world.spec("b")).await.unwrap();
    supervisor.terminate_child("a").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(slow.await.unwrap().unwrap().child().is_some());
    assert_eq!(begun.elapsed(), ms(1000));
}

/// ST-18 a stop during the initial start cancels the init, then stops the others; its caller learns that it ended.
#[tokio::test(start_paused = true)]
async fn a_stop_during_the_initial_start() {
    let world = World::new();
    let (sender, supervisor) = tokio::sync::oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    let first = ChildSpec::task("a", move |cx| {
        if let Some(sender) = sender.lock().unwrap().take() {
            let _ = sender.send(cx.supervisor());
        }
        async move {
            cx.stopped().await;
        }
    });
    let start = tokio::spawn(
        Supervisor::builder()
            .children([first, world.kid("b").init(Does::Hangs).spec(), world.spec("c")])
            .start(),
    );
    let supervisor = supervisor.await.unwrap();
    world.seen("init b#1").await;
    supervisor.shutdown().await.unwrap();
    let error = start.await.unwrap().unwrap_err();
    assert!(matches!(error, StartError::Ended(ExitReason::Shutdown(Cause::Requested(None)))), "{error}");
    assert_eq!(world.take(), ["init b#1", "drop b"], "no terminate after a cancelled init");
}

/// ST-20 a nested start is depth-first, and a failing leaf is named at every level.
#[tokio::test(start_paused = true)]
async fn nested_starts() {
    let world = World::new();
    let inner = |leaf: Does| {
        let world = world.clone();
        move || Supervisor::builder().child(world.spec("x")).child(world.kid("y").init(leaf).spec())
    };
    let outer = |leaf| {
        Supervisor::builder().children([
            world.spec("a"),
            ChildSpec::supervisor("inner", inner(leaf)),
            world.spec("b"),
        ])
    };
    let supervisor = outer(Does::Well).start().await.unwrap();
    let inits: Vec<_> = world.take().into_iter().filter(|line| line.starts_with("init")).collect();
    assert_eq!(inits, ["init a#1", "init x#1", "init y#1", "init b#1"]);
    supervisor.shutdown().await.unwrap();
    let failure = failure(outer(Does::Fails).start().await.unwrap_err());
    assert_eq!(failure.child.as_str(), "inner");
    let source = std::error::Error::source(&*failure).unwrap();
    let Some(StartError::ChildFailed(leaf)) = source.downcast_ref() else { panic!("{source}") };
    assert_eq!(leaf.child.as_str(), "y");
}

/// A start that is given up by its caller is rolled back in the background.
#[tokio::test(start_paused = true)]
async fn a_dropped_start_is_rolled_back() {
    let world = World::new();
    let start =
        Supervisor::builder().children([world.spec("a"), world.kid("b").init(Does::Hangs).spec()]).start();
    assert!(tokio::time::timeout(ms(10), start).await.is_err());
    world.seen("drop a").await;
    let log: Vec<_> = world.take().into_iter().filter(|line| !line.starts_with("run")).collect();
    assert_eq!(log, ["init a#1", "init b#1", "drop b", "terminate a: shutdown", "terminated a", "drop a"]);
}

/// A start_child whose caller goes away comes up all the same; one that fails leaves nothing.
#[tokio::test(start_paused = true)]
async fn a_dropped_start_child_goes_on() {
    let world = World::new();
    let supervisor = Supervisor::builder().start().await.unwrap();
    let start = supervisor.start_child(world.kid("a").init(Does::Sleeps(100)).spec());
    assert!(tokio::time::timeout(ms(10), start).await.is_err());
    let bad = world.kid("b").init(Does::Sleeps(100)).spec().start_timeout(ms(50));
    assert!(tokio::time::timeout(ms(10), supervisor.start_child(bad)).await.is_err());
    tokio::time::sleep(ms(100)).await;
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#1 Running"]);
}

/// A start timeout is over with the start: what came up in time runs on for as long as it likes.
#[tokio::test(start_paused = true)]
async fn a_start_timeout_ends_with_the_start() {
    let world = World::new();
    let spec = world.kid("a").init(Does::Sleeps(50)).quiet().spec().start_timeout(ms(100));
    let supervisor = Supervisor::builder().child(spec).start_timeout(ms(200)).start().await.unwrap();
    tokio::time::sleep(ms(10_000)).await;
    assert_eq!(world.take(), ["init a#1", "run a#1"]);
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#1 Running"]);
}

/// A start timeout is a failure that says so, the child's own as well as the whole start's.
#[tokio::test(start_paused = true)]
async fn start_timeouts() {
    let world = World::new();
    let late = || world.kid("late").init(Does::Hangs).spec();
    let begun = Instant::now();
    let error = Supervisor::builder().child(late().start_timeout(ms(100))).start().await.unwrap_err();
    assert_eq!(begun.elapsed(), ms(100));
    assert!(failure(error).timed_out);
    let begun = Instant::now();
    let error = Supervisor::builder().child(late()).start_timeout(ms(200)).start().await.unwrap_err();
    assert_eq!(begun.elapsed(), ms(200));
    let failure = failure(error);
    assert!(failure.timed_out && failure.child.as_str() == "late");
    assert!(!world.take().iter().any(|line| line.starts_with("terminate")));
}

/// CS-08 two children of one id: an error that names it, and no factory is called.
#[tokio::test(start_paused = true)]
async fn duplicate_ids() {
    let world = World::new();
    let error = Supervisor::builder()
        .children([world.spec("a"), world.spec("b"), world.spec("a")])
        .start()
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::Spec(SpecError::DuplicateChild(id)) if id.as_str() == "a"));
    assert_eq!(world.take(), [""; 0]);
}

/// CS-10 a window of no length is an error of either supervisor, nested too.
#[tokio::test(start_paused = true)]
async fn zero_window() {
    let zero = RestartIntensity::new(3, Duration::ZERO);
    let error = Supervisor::builder().intensity(zero).start().await.unwrap_err();
    assert!(matches!(error, StartError::Spec(SpecError::ZeroWindow)));
    let error = DynamicSupervisor::builder().intensity(zero).start().await.unwrap_err();
    assert!(matches!(error, StartError::Spec(SpecError::ZeroWindow)));
    let nested = ChildSpec::supervisor("inner", move || Supervisor::builder().intensity(zero));
    let error = Supervisor::builder().child(nested).start().await.unwrap_err();
    assert_eq!(failure(error).child.as_str(), "inner");
}

/// CS-01 CS-02 CS-16 the spec that is kept has every default filled in, survives restarts, and goes with the child.
#[tokio::test(start_paused = true)]
async fn the_spec_that_is_kept() {
    let world = World::new();
    let inner = || ChildSpec::supervisor("inner", Supervisor::builder);
    let supervisor = Supervisor::builder()
        .children([world.spec("a"), inner(), inner().with_id("bounded").shutdown(Shutdown::Timeout(ms(7)))])
        .start()
        .await
        .unwrap();
    let kept = supervisor.get_childspec("a").await.unwrap().unwrap();
    assert_eq!((kept.restart, kept.kind), (Restart::Permanent, Kind::Worker));
    assert_eq!(kept.shutdown, Shutdown::Timeout(ms(5000)));
    world.order("a", Does::Fails);
    world.seen("run a#2").await;
    assert_eq!(supervisor.get_childspec("a").await.unwrap(), Some(kept));
    let inner = supervisor.get_childspec("inner").await.unwrap().unwrap();
    assert_eq!((inner.kind, inner.shutdown), (Kind::Supervisor, Shutdown::Infinity));
    let bounded = supervisor.get_childspec("bounded").await.unwrap().unwrap();
    assert_eq!(bounded.shutdown, Shutdown::Timeout(ms(7)));
    assert_eq!(supervisor.get_childspec("nobody").await.unwrap(), None);
}

/// CS-19 the caller's word beats the type's, which beats the supervisor's.
#[tokio::test(start_paused = true)]
async fn whose_word_counts() {
    struct Typed;
    #[async_trait]
    impl Child for Typed {
        async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
            std::future::pending().await
        }
        fn defaults() -> Settings {
            Settings {
                restart: Some(Restart::Temporary),
                shutdown: Some(Shutdown::BrutalKill),
                kind: Some(Kind::Supervisor),
                ..Settings::default()
            }
        }
    }
    let supervisor = Supervisor::builder()
        .child_defaults(Settings {
            restart: Some(Restart::Transient),
            start_timeout: Some(ms(9)),
            ..Settings::default()
        })
        .child(ChildSpec::new("typed", || Typed))
        .child(ChildSpec::new("told", || Typed).restart(Restart::Permanent).shutdown(Shutdown::Infinity))
        .child(ChildSpec::task("plain", |_cx| std::future::pending::<()>()))
        .start()
        .await
        .unwrap();
    let policy = |id: &'static str| {
        let supervisor = supervisor.clone();
        async move { supervisor.get_childspec(id).await.unwrap().unwrap() }
    };
    let typed = policy("typed").await;
    assert_eq!((typed.restart, typed.shutdown), (Restart::Temporary, Shutdown::BrutalKill));
    assert_eq!((typed.kind, typed.start_timeout), (Kind::Supervisor, Some(ms(9))));
    let told = policy("told").await;
    assert_eq!(
        (told.restart, told.shutdown, told.kind),
        (Restart::Permanent, Shutdown::Infinity, Kind::Supervisor)
    );
    let plain = policy("plain").await;
    assert_eq!((plain.restart, plain.shutdown), (Restart::Transient, Shutdown::Timeout(ms(5000))));
}

/// CS-20 CS-21 DS-19 a one-shot is temporary; what it captured goes with its one incarnation, and nothing of it is kept.
#[tokio::test(start_paused = true)]
async fn one_shots() {
    let world = World::new();
    let supervisor = Supervisor::builder().start().await.unwrap();
    let captured = Arc::new(());
    let held = captured.clone();
    let job = ChildSpec::once("job", {
        let world = world.clone();
        move |_cx| async move {
            let _held = held;
            world.log("job");
            std::future::pending::<()>().await
        }
    });
    let _ = supervisor.start_child(job).await.unwrap();
    assert_eq!(supervisor.get_childspec("job").await.unwrap().unwrap().restart, Restart::Temporary);
    world.seen("job").await;
    supervisor.terminate_child("job").await.unwrap();
    assert_eq!(Arc::strong_count(&captured), 1);
    assert_eq!(supervisor.count_children().await.unwrap().specs, 0);

    // A temporary child of a factory that could be called again is started once too.
    let made = Arc::new(AtomicUsize::new(0));
    let counted = made.clone();
    let spec = ChildSpec::task("again", move |_cx| {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<()>()
    });
    let _ = supervisor.start_child(spec.restart(Restart::Temporary)).await.unwrap();
    tokio::time::sleep(ms(1)).await;
    assert_eq!(made.load(Ordering::Relaxed), 1);
    assert_eq!(Arc::strong_count(&made), 1, "the child runs, and its factory is gone");
}

/// DO-05 a start_child that fails leaves its id free, with the child's own error as source.
#[tokio::test(start_paused = true)]
async fn a_failed_start_child() {
    let world = World::new();
    let supervisor = Supervisor::builder().start().await.unwrap();
    let bad = world.kid("a").init(Does::Fails).spec();
    let Err(StartChildError::Failed(failure)) = supervisor.start_child(bad).await else { panic!() };
    assert_eq!(failure.to_string(), "child `a` failed to start: failed: init failed");
    assert_eq!(supervisor.which_child("a").await.unwrap(), None);
    let child = supervisor.start_child(world.spec("a")).await.unwrap().child().unwrap();
    assert_eq!((child.id.as_str(), child.incarnation.0), ("a", 1));
    assert_eq!(supervisor.which_child("a").await.unwrap().unwrap().state, ChildState::Running);
}
