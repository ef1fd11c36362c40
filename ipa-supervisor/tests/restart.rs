//! Restarts through the real supervisors: policy, fresh state, intensity, retries that let others through.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipa_supervisor::{
    BoxError, Cause, Child, ChildSpec, ChildState, Context, DynamicSupervisor, Exit, ExitReason, Init, Note,
    Restart, RestartChildError, RestartIntensity, StartChildError, Supervisor, SupervisorRef,
};
use support::{Bomb, Does, World, all_running, ms, states};
use tokio::sync::mpsc;
use tokio::time::Instant;

fn often() -> RestartIntensity {
    RestartIntensity::new(1000, ms(1000))
}

/// Waits until a child is in this state; every change of one is noted.
async fn until(
    supervisor: &SupervisorRef,
    notes: &mut mpsc::UnboundedReceiver<Note>,
    id: &'static str,
    state: Option<ChildState>,
) {
    loop {
        if supervisor.which_child(id).await.unwrap().map(|info| info.state) == state {
            return;
        }
        notes.recv().await.unwrap();
    }
}

fn noting() -> (Arc<dyn ipa_supervisor::Observer>, mpsc::UnboundedReceiver<Note>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let observer = move |note: &Note| {
        let _ = sender.send(note.clone());
    };
    (Arc::new(observer), receiver)
}

/// CR-01 CR-14 CR-07 a permanent child is restarted after every end, in its place, with fresh state.
#[tokio::test(start_paused = true)]
async fn permanent_children() {
    let world = World::new();
    let supervisor = Supervisor::builder()
        .children([world.spec("a"), world.spec("b"), world.spec("c")])
        .intensity(often())
        .start()
        .await
        .unwrap();
    let ends = [Does::Well, Does::Declines, Does::Fails, Does::Panics];
    for (n, does) in ends.into_iter().enumerate() {
        world.order("b", does);
        world.seen(&format!("run b#{}", n + 2)).await;
    }
    assert_eq!(
        states(&supervisor.which_children().await.unwrap()),
        ["a#1 Running", "b#5 Running", "c#1 Running"]
    );
    assert_eq!(supervisor.which_child("b").await.unwrap().unwrap().restarts, 4);
}

/// CR-02 CR-03 CR-04 a transient child that ends well is kept, undefined; one that crashes is restarted.
#[tokio::test(start_paused = true)]
async fn transient_children() {
    let world = World::new();
    let (observer, mut notes) = noting();
    let supervisor = Supervisor::builder()
        .child(world.spec("a").restart(Restart::Transient))
        .observer(observer)
        .start()
        .await
        .unwrap();
    world.order("a", Does::Panics);
    world.seen("run a#2").await;
    world.order("a", Does::Well);
    until(&supervisor, &mut notes, "a", Some(ChildState::Undefined)).await;
    let again = supervisor.start_child(world.spec("a")).await;
    assert!(matches!(again, Err(StartChildError::AlreadyPresent(_))));
    let child = supervisor.restart_child("a").await.unwrap().child().unwrap();
    assert_eq!(child.incarnation.0, 3);
}

/// CR-05 a temporary child is forgotten however it ends, and never counted.
#[tokio::test(start_paused = true)]
async fn temporary_children() {
    let world = World::new();
    let (observer, mut notes) = noting();
    let supervisor = Supervisor::builder()
        .intensity(RestartIntensity::new(0, ms(1000)))
        .observer(observer)
        .start()
        .await
        .unwrap();
    for does in [Does::Well, Does::Declines, Does::Fails, Does::Panics] {
        let _ = supervisor.start_child(world.spec("a").restart(Restart::Temporary)).await.unwrap();
        world.order("a", does);
        until(&supervisor, &mut notes, "a", None).await;
    }
}

/// CR-08 each restart calls the factory again.
#[tokio::test(start_paused = true)]
async fn the_factory_is_called_each_time() {
    let world = World::new();
    let made = Arc::new(AtomicUsize::new(0));
    let (counted, logged) = (made.clone(), world.clone());
    let spec = ChildSpec::task("a", move |cx| {
        counted.fetch_add(1, Ordering::Relaxed);
        let world = logged.clone();
        async move {
            world.log(format!("run {}", cx.child().incarnation));
            if cx.child().incarnation.0 < 4 {
                Err("again")
            } else {
                cx.stopped().await;
                Ok(())
            }
        }
    });
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let child = supervisor.start_child(spec).await.unwrap().child().unwrap();
    world.seen("run #4").await;
    assert_eq!(made.load(Ordering::Relaxed), 4);
    assert_eq!(supervisor.which_child(&child).await.unwrap().unwrap().child.incarnation.0, 4, "DS-01");
}

/// CR-09 CR-10 a restart that declines: kept and undefined in the one, forgotten in the other.
#[tokio::test(start_paused = true)]
async fn a_restart_may_decline() {
    let spec = |world: &World| {
        let (world, made) = (world.clone(), AtomicUsize::new(0));
        ChildSpec::new("a", move || DeclinesLater {
            world: world.clone(),
            first: made.fetch_add(1, Ordering::Relaxed) == 0,
        })
    };
    let world = World::new();
    let (observer, mut notes) = noting();
    let supervisor = Supervisor::builder().child(spec(&world)).observer(observer).start().await.unwrap();
    until(&supervisor, &mut notes, "a", Some(ChildState::Undefined)).await;
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#2 Undefined"]);

    let dynamic = DynamicSupervisor::builder().start().await.unwrap();
    let child = dynamic.start_child(spec(&world)).await.unwrap().child().unwrap();
    while dynamic.which_child(&child).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    dynamic.shutdown().await.unwrap();
}

struct DeclinesLater {
    world: World,
    first: bool,
}

#[ipa_supervisor::async_trait]
impl ipa_supervisor::Child for DeclinesLater {
    async fn init(
        &mut self,
        _cx: &mut ipa_supervisor::Context,
    ) -> Result<ipa_supervisor::Init, ipa_supervisor::BoxError> {
        Ok(if self.first { ipa_supervisor::Init::Ready } else { ipa_supervisor::Init::Ignore })
    }
    async fn run(&mut self, _cx: &mut ipa_supervisor::Context) -> Result<Exit, ipa_supervisor::BoxError> {
        self.world.log("run");
        Err("over".into())
    }
}

/// RI-01 RI-13 RI-14 one restart too many: the others stop in reverse, and the reason says whose it was and how it ended.
#[tokio::test(start_paused = true)]
async fn giving_up() {
    let world = World::new();
    let supervisor = Supervisor::builder()
        .children([world.spec("a"), world.spec("b"), world.spec("c")])
        .intensity(RestartIntensity::new(1, ms(1000)))
        .start()
        .await
        .unwrap();
    world.order("b", Does::Fails);
    world.seen("run b#2").await;
    world.take();
    world.order("b", Does::Panics);
    let reason = supervisor.wait().await;
    let ExitReason::Shutdown(Cause::Intensity(crash)) = reason else { panic!("{reason}") };
    assert_eq!((crash.child.as_str(), crash.reason.to_string().as_str()), ("b", "panicked: run panicked"));
    let log: Vec<_> = world.take().into_iter().filter(|line| line.starts_with("drop")).collect();
    assert_eq!(log, ["drop b", "drop c", "drop a"]);
    assert!(supervisor.is_closed());
}

/// RI-04 RI-05 RI-12 RT-24 under a paused clock the window is exact: a death each 1,001 ms for ever, at 1,000 ms the end.
#[tokio::test(start_paused = true)]
async fn the_window_under_a_paused_clock() {
    let world = World::new();
    let supervisor = Supervisor::builder()
        .child(world.kid("a").quiet().spec())
        .intensity(RestartIntensity::new(1, ms(1000)))
        .start()
        .await
        .unwrap();
    for n in 2..20 {
        world.order("a", Does::Fails);
        world.seen(&format!("run a#{n}")).await;
        tokio::time::sleep(ms(1001)).await;
    }
    world.order("a", Does::Fails);
    world.seen("run a#20").await;
    tokio::time::sleep(ms(1000)).await;
    world.order("a", Does::Fails);
    assert!(matches!(supervisor.wait().await, ExitReason::Shutdown(Cause::Intensity(_))));
}

/// RT-10 a factory that panics at a restart is a failed attempt: retried, counted, and the supervisor lives.
#[tokio::test(start_paused = true)]
async fn a_factory_panics_at_a_restart() {
    let world = World::new();
    let (logged, made) = (world.clone(), AtomicUsize::new(0));
    let spec = ChildSpec::task("a", move |cx| {
        let n = made.fetch_add(1, Ordering::Relaxed);
        let world = logged.clone();
        async move {
            world.log(format!("run {n}"));
            if n == 0 {
                panic!("run")
            }
            cx.stopped().await;
        }
    });
    // The task's own function is called in `run`; a factory that panics is one of `new`.
    let made = Arc::new(AtomicUsize::new(0));
    let (counted, logged) = (made.clone(), world.clone());
    let factory = ChildSpec::new("b", move || {
        let n = counted.fetch_add(1, Ordering::Relaxed);
        assert!(n == 0 || n == 3, "factory {n}");
        DeclinesLater { world: logged.clone(), first: true }
    });
    let supervisor = Supervisor::builder()
        .child(spec)
        .intensity(RestartIntensity::new(5, ms(1000)))
        .start()
        .await
        .unwrap();
    world.seen("run 1").await;
    supervisor.terminate_child("a").await.unwrap();
    let _ = supervisor.start_child(factory).await.unwrap();
    supervisor.wait().await;
    assert_eq!(made.load(Ordering::Relaxed), 5, "a took one of the five, b two ends and two failures");
}

/// RT-16 starts that fail for ever, with an intensity that never ends: stops, queries and starts get through.
#[tokio::test(start_paused = true)]
async fn endless_retries_let_others_through() {
    let endless = RestartIntensity::new(u32::MAX, ms(1));
    let world = World::new();
    // Each ends as soon as it is up, so that at any moment there are reports of many of them.
    let supervisor = DynamicSupervisor::builder().intensity(endless).start().await.unwrap();
    let mut children = Vec::new();
    for _ in 0..100 {
        let spec = ChildSpec::task("fails", |_cx| async { Err::<(), _>("at once") });
        let started = supervisor.start_child(spec).await.unwrap();
        children.push(started.child().unwrap());
    }
    assert_eq!(supervisor.count_children().await.unwrap().specs, 100);
    let _ = supervisor.start_child(world.spec("good")).await.unwrap();
    for child in &children[..50] {
        supervisor.terminate_child(child).await.unwrap();
    }
    assert_eq!(supervisor.count_children().await.unwrap().specs, 51);
    supervisor.shutdown().await.unwrap();
}

/// RT-16 DO-18 DO-09 one whose restarts always fail is listed as restarting, and can be stopped for good.
#[tokio::test(start_paused = true)]
async fn an_endless_retry_can_be_stopped() {
    let made = AtomicUsize::new(0);
    let spec = ChildSpec::new("a", move || {
        assert!(made.fetch_add(1, Ordering::Relaxed) == 0, "never again");
        DeclinesLater { world: World::new(), first: true }
    });
    let endless = RestartIntensity::new(u32::MAX, ms(1));
    let supervisor = Supervisor::builder().child(spec).intensity(endless).start().await.unwrap();
    while supervisor.which_child("a").await.unwrap().unwrap().child.incarnation.0 < 10 {}
    let info = supervisor.which_child("a").await.unwrap().unwrap();
    assert_eq!(info.state, ChildState::Restarting);
    let counts = supervisor.count_children().await.unwrap();
    assert_eq!((counts.specs, counts.active), (1, 0), "DO-20");
    assert!(matches!(supervisor.restart_child("a").await, Err(RestartChildError::Restarting)));
    supervisor.terminate_child("a").await.unwrap();
    let stopped = supervisor.which_child("a").await.unwrap().unwrap();
    assert_eq!(stopped.state, ChildState::Undefined);
    tokio::time::sleep(ms(10)).await;
    assert_eq!(supervisor.which_child("a").await.unwrap().unwrap(), stopped);
}

/// CR-17 RI-19 a nested supervisor that gives up is restarted with its builder's children alone, and an empty history.
#[tokio::test(start_paused = true)]
async fn a_nested_supervisor_is_restarted() {
    let world = World::new();
    let (handles, mut handle) = mpsc::unbounded_channel();
    let inner = {
        let world = world.clone();
        move || {
            let (handles, world) = (handles.clone(), world.clone());
            let first = ChildSpec::task("first", move |cx| {
                let _ = handles.send(cx.supervisor());
                async move {
                    cx.stopped().await;
                }
            });
            Supervisor::builder()
                .children([first, world.spec("leaf")])
                .intensity(RestartIntensity::new(1, ms(1000)))
        }
    };
    let supervisor =
        Supervisor::builder().child(ChildSpec::supervisor("inner", inner)).start().await.unwrap();
    for round in 1..=2 {
        let inner = handle.recv().await.unwrap();
        let _ = inner.start_child(world.spec("added")).await.unwrap();
        world.order("leaf", Does::Fails);
        world.seen("run leaf#2").await;
        world.take();
        world.order("leaf", Does::Fails);
        assert!(matches!(inner.wait().await, ExitReason::Shutdown(Cause::Intensity(_))));
        world.seen("run leaf#1").await;
        let log = world.take();
        assert!(log.contains(&"drop added".to_string()), "{log:?}");
        assert!(!log.contains(&"init added#1".to_string()), "{log:?}");
        assert_eq!(supervisor.which_child("inner").await.unwrap().unwrap().restarts, round);
    }
}

/// RI-14 a transient supervisor that gives up is not restarted: a shutdown is no crash.
#[tokio::test(start_paused = true)]
async fn a_transient_supervisor_that_gives_up() {
    let world = World::new();
    let (observer, mut notes) = noting();
    let leaf = world.clone();
    let inner = ChildSpec::supervisor("inner", move || {
        Supervisor::builder().child(leaf.spec("leaf")).intensity(RestartIntensity::new(0, ms(1000)))
    });
    let supervisor = Supervisor::builder()
        .child(inner.restart(Restart::Transient))
        .observer(observer)
        .start()
        .await
        .unwrap();
    world.order("leaf", Does::Fails);
    until(&supervisor, &mut notes, "inner", Some(ChildState::Undefined)).await;
}

/// RI-15 escalation multiplies: with N = 1 and N = 2 the leaf is started 2 * 3 times before the top gives up.
#[tokio::test(start_paused = true)]
async fn escalation_multiplies() {
    let starts = Arc::new(AtomicUsize::new(0));
    let counted = starts.clone();
    let inner = ChildSpec::supervisor("inner", move || {
        let counted = counted.clone();
        let leaf = ChildSpec::task("leaf", move |_cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Err::<(), _>("over") }
        });
        Supervisor::builder().child(leaf).intensity(RestartIntensity::new(2, ms(60_000)))
    });
    let supervisor =
        Supervisor::builder().child(inner).intensity(RestartIntensity::new(1, ms(60_000))).start().await;
    if let Ok(supervisor) = supervisor {
        supervisor.wait().await;
    }
    assert_eq!(starts.load(Ordering::Relaxed), 6);
}

/// CR-16 observers hear of every end, and of whether a restart follows; one that panics harms nobody.
#[tokio::test(start_paused = true)]
async fn observers() {
    let world = World::new();
    let logged = world.clone();
    let observer = move |note: &Note| match note {
        Note::Started(child) => logged.log(format!("up {child}")),
        Note::Exited { child, reason, restart } => logged.log(format!("exited {child} {reason} {restart}")),
        _ => panic!("an observer"),
    };
    let supervisor = Supervisor::builder()
        .child(world.kid("a").quiet().spec())
        .observer(Arc::new(observer))
        .start()
        .await
        .unwrap();
    world.order("a", Does::Fails);
    world.seen("up a#2").await;
    assert!(all_running(&supervisor.which_children().await.unwrap()));
    supervisor.shutdown().await.unwrap();
    let log: Vec<_> = world
        .take()
        .into_iter()
        .filter(|line| line.starts_with("up") || line.starts_with("exited"))
        .collect();
    assert_eq!(log, ["up a#1", "exited a#1 failed: run failed true", "up a#2"]);
}

/// A panic in the value's Drop is how the child ended, unless it had crashed already; one in the Drop of its run's future too.
#[tokio::test(start_paused = true)]
async fn panics_in_drops_are_the_childs() {
    let (observer, mut notes) = noting();
    let value = ChildSpec::new("value", || Held { _bomb: Some(Bomb) }).restart(Restart::Temporary);
    let crashed = ChildSpec::new("crashed", || Crashes(Bomb)).restart(Restart::Temporary);
    let future = ChildSpec::once("future", |_cx| async {
        let _bomb = Bomb;
    });
    let supervisor = Supervisor::builder().observer(observer).start().await.unwrap();
    let in_drop = "panicked: boom in a drop";
    for (spec, ended) in [(value, in_drop), (crashed, "failed: before that"), (future.into(), in_drop)] {
        let _ = supervisor.start_child(spec).await.unwrap();
        let reason = loop {
            if let Note::Exited { reason, .. } = notes.recv().await.unwrap() {
                break reason;
            }
        };
        assert_eq!(reason.to_string(), ended);
    }
    let begun = Instant::now();
    supervisor.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), ms(0));
}

/// A child whose calls are written by hand: the one it is to panic in does so before there is a future of it.
struct ByHand(&'static str);

type Called<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl ByHand {
    fn call<'a, T: Send + 'a>(&self, name: &'static str, answer: T) -> Called<'a, T> {
        assert!(self.0 != name, "no {name}");
        Box::pin(std::future::ready(answer))
    }
}

impl Child for ByHand {
    fn init<'a, 'b, 'c>(&'a mut self, _: &'b mut Context) -> Called<'c, Result<Init, BoxError>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.call("init", Ok(Init::Ready))
    }
    fn run<'a, 'b, 'c>(&'a mut self, _: &'b mut Context) -> Called<'c, Result<Exit, BoxError>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.call("run", Ok(Exit::Normal))
    }
    fn terminate<'a, 'b, 'c, 'd>(&'a mut self, _: &'b mut Context, _: &'c ExitReason) -> Called<'d, ()>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        self.call("terminate", ())
    }
}

/// A panic in a call that has not answered its future yet is the child's as well.
#[tokio::test(start_paused = true)]
async fn panics_in_calls_before_they_are_futures() {
    let (observer, mut notes) = noting();
    let supervisor = Supervisor::builder().observer(observer).start().await.unwrap();
    for call in ["init", "run", "terminate"] {
        let spec = ChildSpec::new("child", move || ByHand(call)).restart(Restart::Temporary);
        let reason = match supervisor.start_child(spec).await {
            Err(StartChildError::Failed(failure)) => failure.reason.clone(),
            Err(other) => panic!("{other}"),
            Ok(_) => loop {
                if let Note::Exited { reason, .. } = notes.recv().await.unwrap() {
                    break reason;
                }
            },
        };
        assert_eq!(reason.to_string(), format!("panicked: no {call}"));
    }
    supervisor.shutdown().await.unwrap();
}

/// A nested supervisor that gives up tells its parent why.
#[tokio::test(start_paused = true)]
async fn a_nested_supervisor_says_why_it_gave_up() {
    let (observer, mut notes) = noting();
    let nested = || {
        let fails =
            ChildSpec::task("fails", |_cx| async { Err::<(), ipa_supervisor::BoxError>("always".into()) });
        Supervisor::builder().intensity(RestartIntensity::new(0, ms(1000))).child(fails)
    };
    let spec = ChildSpec::supervisor("nested", nested).restart(Restart::Temporary);
    let supervisor = Supervisor::builder().observer(observer).child(spec).start().await.unwrap();
    let reason = loop {
        if let Note::Exited { reason, .. } = notes.recv().await.unwrap() {
            break reason;
        }
    };
    assert!(
        matches!(&reason, ExitReason::Shutdown(Cause::Intensity(crash)) if crash.child.as_str() == "fails"),
        "{reason}"
    );
    supervisor.shutdown().await.unwrap();
}

struct Held {
    _bomb: Option<Bomb>,
}

#[ipa_supervisor::async_trait]
impl ipa_supervisor::Child for Held {
    async fn run(&mut self, _cx: &mut ipa_supervisor::Context) -> Result<Exit, ipa_supervisor::BoxError> {
        Ok(Exit::Normal)
    }
}

struct Crashes(#[allow(dead_code)] Bomb);

#[ipa_supervisor::async_trait]
impl ipa_supervisor::Child for Crashes {
    async fn run(&mut self, _cx: &mut ipa_supervisor::Context) -> Result<Exit, ipa_supervisor::BoxError> {
        Err("before that".into())
    }
}
