//! What outlives a task: blocked threads, closures on other threads, guards; kills that fail, and the order of drops.
//!
//! Real threads that block on channels, a runtime with several workers, and no sleep: a test waits for what it is told.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc as blocking};
use std::time::Duration;

use ipa_supervisor::{
    BoxError, Cause, Child, ChildRef, ChildSpec, ChildState, Context, Directory, DynamicSupervisor, Entry,
    Exit, ExitReason, Init, Note, Observer, Published, Restart, RestartChildError, RestartIntensity,
    Shutdown, ShutdownError, StartChildError, StartError, Supervisor, SupervisorRef, TerminateChildError,
    WeakLease, async_trait,
};
use support::{Bomb, Guard, World, ms, states};
use tokio::sync::mpsc;

const GRACE: Duration = Duration::from_millis(20);
/// Long enough for anything that is not stuck.
const SOON: Duration = Duration::from_secs(20);

/// A child that blocks its thread as soon as it runs, until it is released.
struct Blocker {
    spec: ChildSpec,
    blocked: mpsc::UnboundedReceiver<()>,
    /// Dropping it releases the child.
    release: blocking::Sender<()>,
}

fn blocker(id: &'static str, world: &World) -> Blocker {
    let (release, released) = blocking::channel::<()>();
    let (blocks, blocked) = mpsc::unbounded_channel();
    let (released, world) = (Arc::new(Mutex::new(released)), world.clone());
    let spec = ChildSpec::task(id, move |cx| {
        let (released, blocks, world) = (released.clone(), blocks.clone(), world.clone());
        async move {
            cx.lease().tie(Guard(world.clone(), "tied guard"));
            // In place: whoever waits for its turn on this worker goes on elsewhere. tokio keeps the task that was woken last to
            // the worker itself, and that could be anybody.
            tokio::task::block_in_place(|| {
                let _ = blocks.send(());
                let _ = released.lock().unwrap().recv();
            });
            world.log("released");
        }
    });
    Blocker { spec: spec.shutdown(Shutdown::BrutalKill), blocked, release }
}

fn notes_into(world: &World) -> Arc<dyn Observer> {
    let world = world.clone();
    Arc::new(move |note: &Note| match note {
        Note::Stuck(child) => world.log(format!("stuck {child}")),
        Note::Reaped(child) => world.log(format!("reaped {child}")),
        Note::Started(child) => world.log(format!("started {child}")),
        _ => {}
    })
}

/// RT-01 RT-02 RT-04 a child that blocks its thread: the kill is bounded, the error names it, it keeps its place, it is reaped.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blocked_child() {
    let world = World::new();
    let Blocker { spec, mut blocked, release } = blocker("blocked", &world);
    let supervisor = Supervisor::builder()
        .children([world.kid("a").quiet().spec(), spec])
        .kill_grace(GRACE)
        .observer(notes_into(&world))
        .start()
        .await
        .unwrap();
    blocked.recv().await.unwrap();
    let Err(TerminateChildError::Stuck(stuck)) = supervisor.terminate_child("blocked").await else {
        panic!()
    };
    assert_eq!(stuck.len(), 1);
    assert_eq!(stuck[0].to_string(), "blocked#1");
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#1 Running", "blocked#1 Stuck"]);
    assert_eq!(supervisor.count_children().await.unwrap().active, 2, "it may still run");
    // It keeps its id, and nothing is started in its place.
    assert!(matches!(supervisor.start_child(world.spec("blocked")).await, Err(StartChildError::Stuck(_))));
    assert!(matches!(supervisor.restart_child("blocked").await, Err(RestartChildError::Stuck(_))));
    assert!(matches!(supervisor.terminate_child("blocked").await, Err(TerminateChildError::Stuck(_))));
    // The others are served.
    supervisor.terminate_child("a").await.unwrap();
    let _ = supervisor.restart_child("a").await.unwrap();
    assert!(!world.take().contains(&"tied guard".into()));
    drop(release);
    world.seen("reaped blocked#1").await;
    let log = world.take();
    assert_eq!(log.iter().filter(|line| *line == "tied guard").count(), 1);
    let child = supervisor.which_child("blocked").await.unwrap().unwrap();
    assert_eq!(child.state, ChildState::Undefined, "RT-02 whatever it said at its end, it was stopped");
    supervisor.shutdown().await.unwrap();
}

/// RT-04 a stop of a supervisor with a stuck child: every caller is told, the others stop, and the end comes with the child's.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_with_a_blocked_child() {
    let world = World::new();
    let Blocker { spec, mut blocked, release } = blocker("blocked", &world);
    let supervisor = Supervisor::builder()
        .children([world.spec("a"), spec, world.spec("b")])
        .kill_grace(GRACE)
        .start()
        .await
        .unwrap();
    blocked.recv().await.unwrap();
    let (first, second) = tokio::join!(supervisor.shutdown(), supervisor.shutdown());
    for result in [first, second, supervisor.shutdown().await] {
        let Err(ShutdownError::Stuck(stuck)) = result else { panic!("{result:?}") };
        assert_eq!(stuck[0].to_string(), "blocked#1");
    }
    let log = world.take();
    assert!(log.contains(&"drop a".into()) && log.contains(&"drop b".into()), "{log:?}");
    let states = states(&supervisor.which_children().await.unwrap());
    assert_eq!(states, ["a#1 Undefined", "blocked#1 Stuck", "b#1 Undefined"]);
    assert!(!supervisor.is_closed());
    drop(release);
    assert!(matches!(supervisor.wait().await, ExitReason::Shutdown(Cause::Requested(None))));
    assert!(world.take().contains(&"tied guard".into()));
}

/// RT-03 a child that never yields, though it awaits: as one that blocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_child_that_never_yields() {
    let (done, running) = (Arc::new(AtomicBool::new(false)), Arc::new(tokio::sync::Notify::new()));
    let spec = {
        let (done, running) = (done.clone(), running.clone());
        ChildSpec::task("spins", move |_cx| {
            let (done, running) = (done.clone(), running.clone());
            async move {
                tokio::task::yield_now().await;
                running.notify_one();
                while !done.load(Ordering::Acquire) {
                    std::future::ready(()).await;
                    std::thread::yield_now();
                }
            }
        })
    };
    let supervisor = Supervisor::builder()
        .child(spec.shutdown(Shutdown::Timeout(ms(1))))
        .kill_grace(GRACE)
        .start()
        .await
        .unwrap();
    running.notified().await;
    assert!(matches!(supervisor.terminate_child("spins").await, Err(TerminateChildError::Stuck(_))));
    done.store(true, Ordering::Release);
    supervisor.wait_for_the_end().await;
}

trait End {
    async fn wait_for_the_end(&self);
}

impl End for Supervisor {
    async fn wait_for_the_end(&self) {
        self.request_shutdown(Cause::Requested(None));
        tokio::time::timeout(SOON, self.wait()).await.expect("nothing is stuck");
    }
}

/// RT-05 a spawn_blocking closure holds the lease: no stop is answered, no successor started, before it has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_closure_holds_the_lease() {
    let world = World::new();
    let (release, released) = blocking::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let logged = world.clone();
    let spec = ChildSpec::task("a", move |cx| {
        let (released, world) = (released.clone(), logged.clone());
        async move {
            world.log(format!("run {}", cx.child().incarnation));
            cx.lease().tie(Guard(world.clone(), "tied guard"));
            let closure = cx.spawn_blocking(move || {
                let _ = released.lock().unwrap().recv();
                world.log("closure done");
            });
            if cx.child().incarnation.0 == 1 {
                return Err("the task ends, the closure goes on");
            }
            let _ = closure.await;
            cx.stopped().await;
            Ok(())
        }
    });
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    world.seen("run #1").await;
    assert_eq!(supervisor.which_child("a").await.unwrap().unwrap().state, ChildState::Running);
    release.send(()).unwrap();
    world.seen("run #2").await;
    assert_eq!(world.take(), ["run #1", "closure done", "tied guard", "run #2"]);
    let stop = {
        let supervisor = supervisor.downgrade();
        tokio::spawn(async move { supervisor.terminate_child("a").await })
    };
    while supervisor.which_child("a").await.unwrap().unwrap().state != ChildState::Stopping {
        tokio::task::yield_now().await;
    }
    assert!(!stop.is_finished());
    release.send(()).unwrap();
    stop.await.unwrap().unwrap();
    assert_eq!(world.take(), ["closure done", "tied guard"]);
}

/// RT-12 RT-04 a nested supervisor is killed while a closure of its child runs on: what is tied to its lease, and to its
/// child's, is not free before that has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_supervisor_lives_as_long_as_what_is_under_it() {
    let world = World::new();
    let (release, released) = blocking::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    struct Named(ipa_supervisor::NestedSupervisor, World);
    #[async_trait]
    impl Child for Named {
        async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
            cx.lease().tie(Guard(self.1.clone(), "key free"));
            self.0.init(cx).await
        }
        async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
            self.0.run(cx).await
        }
        fn defaults() -> ipa_supervisor::Settings {
            ipa_supervisor::NestedSupervisor::defaults()
        }
    }
    let inner = {
        let world = world.clone();
        move || {
            let (released, leaf) = (released.clone(), world.clone());
            let leaf = ChildSpec::task("leaf", move |cx| {
                let (released, world) = (released.clone(), leaf.clone());
                async move {
                    cx.lease().tie(Guard(world.clone(), "leaf's key free"));
                    cx.spawn_blocking(move || {
                        world.log("working");
                        let _ = released.lock().unwrap().recv();
                        world.log("worked");
                    })
                    .await
                    .unwrap();
                }
            });
            Named(ipa_supervisor::NestedSupervisor::new(Supervisor::builder().child(leaf)), world.clone())
        }
    };
    let supervisor = Supervisor::builder()
        .child(ChildSpec::new("inner", inner).shutdown(Shutdown::BrutalKill))
        .kill_grace(GRACE)
        .observer(notes_into(&world))
        .start()
        .await
        .unwrap();
    world.seen("working").await;
    world.take();
    let Err(TerminateChildError::Stuck(stuck)) = supervisor.terminate_child("inner").await else { panic!() };
    assert_eq!(stuck[0].to_string(), "inner#1");
    assert_eq!(world.take(), ["stuck inner#1"]);
    drop(release);
    world.seen("reaped inner#1").await;
    assert_eq!(world.take(), ["worked", "leaf's key free", "key free", "reaped inner#1"]);
    supervisor.wait_for_the_end().await;
}

/// RT-12 a runtime that shuts down under a supervisor does not end what runs on: the root's end is known when that has ended.
#[test]
fn a_runtime_is_gone_and_a_thread_works_on() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = World::new();
    let (release, released) = blocking::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let (weak, mut working) = runtime.block_on(async {
        let (works, mut working) = mpsc::unbounded_channel();
        let logged = world.clone();
        let spec = ChildSpec::task("a", move |cx| {
            let (lease, released, works) = (cx.lease(), released.clone(), works.clone());
            cx.lease().tie(Guard(logged.clone(), "key free"));
            std::thread::spawn(move || {
                let _ = works.send(());
                drop(works);
                let _ = released.lock().unwrap().recv();
                drop(lease);
            });
            std::future::pending::<()>()
        });
        let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
        working.recv().await.unwrap();
        let weak = supervisor.downgrade();
        drop(supervisor);
        (weak, working)
    });
    runtime.shutdown_background();
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    other.block_on(async {
        let mut ended = std::pin::pin!(weak.wait());
        tokio::select! {
            biased;
            reason = &mut ended => panic!("it has not ended: {reason}"),
            // Every sender of the child's side is gone with its factory, so the supervisor is.
            none = working.recv() => assert_eq!(none, None),
        }
        assert_eq!(world.take(), [""; 0]);
        drop(release);
        ended.await;
        world.seen("key free").await;
    });
}

/// RT-04 a nested supervisor that gave up, and cannot end for a stuck child, says so when it is asked to stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_of_a_supervisor_that_had_stalled() {
    let world = World::new();
    let Blocker { spec, mut blocked, release } = blocker("blocked", &world);
    let spec = Mutex::new(Some(spec));
    let inner = {
        let world = world.clone();
        move || {
            let spec = spec.lock().unwrap().take().expect("it is started once");
            Supervisor::builder()
                .children([spec, world.spec("crashes")])
                .intensity(RestartIntensity::new(0, ms(1000)))
                .kill_grace(GRACE)
                .observer(notes_into(&world))
        }
    };
    let inner = ChildSpec::supervisor("inner", inner).restart(Restart::Temporary);
    let supervisor = Supervisor::builder().child(inner).kill_grace(GRACE).start().await.unwrap();
    blocked.recv().await.unwrap();
    world.order("crashes", support::Does::Fails);
    world.seen("stuck blocked#1").await;
    assert_eq!(supervisor.which_child("inner").await.unwrap().unwrap().state, ChildState::Running);
    let stopped = tokio::time::timeout(SOON, supervisor.shutdown()).await.expect("told at once");
    let Err(ShutdownError::Stuck(stuck)) = stopped else { panic!() };
    assert_eq!(stuck[0].to_string(), "inner#1");
    drop(release);
    supervisor.wait().await;
}

/// RT-04 the same of one whose start is rolled back: the start's caller is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rollback_that_cannot_end() {
    let world = World::new();
    let Blocker { spec, blocked, release } = blocker("blocked", &world);
    struct FailsThen(Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<()>>>);
    #[async_trait]
    impl Child for FailsThen {
        async fn init(&mut self, _cx: &mut Context) -> Result<Init, BoxError> {
            self.0.lock().await.recv().await;
            Err("no".into())
        }
        async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
            Ok(Exit::Normal)
        }
    }
    let blocked = Arc::new(tokio::sync::Mutex::new(blocked));
    let fails = ChildSpec::new("fails", move || FailsThen(blocked.clone()));
    let error = Supervisor::builder().children([spec, fails]).kill_grace(GRACE).start().await.unwrap_err();
    let StartError::Stuck(stuck) = error else { panic!("{error}") };
    assert_eq!(stuck[0].to_string(), "blocked#1");
    drop(release);
    world.seen("tied guard").await;
}

/// The order of an end: the run's future, the value, the directory's entry, the tied guards (the latest first), then the exit.
#[tokio::test(start_paused = true)]
async fn the_order_of_drops() {
    struct Ordered(World, #[allow(dead_code)] Guard);
    #[async_trait]
    impl Child for Ordered {
        async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
            cx.lease().tie(Guard(self.0.clone(), "first guard"));
            cx.lease().tie(Guard(self.0.clone(), "second guard"));
            cx.publish(String::from("address"));
            Ok(Init::Ready)
        }
        async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
            let _future = Guard(self.0.clone(), "future");
            std::future::pending().await
        }
    }
    struct Names(World);
    struct Name(World);
    impl Directory for Names {
        fn enter(&self, child: &ChildRef) -> Result<Arc<dyn Entry>, BoxError> {
            self.0.log(format!("enter {child}"));
            Ok(Arc::new(Name(self.0.clone())))
        }
    }
    impl Entry for Name {
        fn publish(&self, address: Published) {
            self.0.log(format!("published {}", address.get::<String>().unwrap()));
        }
    }
    impl Drop for Name {
        fn drop(&mut self) {
            self.0.log("entry");
        }
    }
    let order = ["future", "value", "entry", "second guard", "first guard", "gone"];
    // Stopped, killed, and by itself: the order is the same.
    for shutdown in [Shutdown::Infinity, Shutdown::BrutalKill] {
        let world = World::new();
        let logged = world.clone();
        let spec = ChildSpec::new("a", move || Ordered(logged.clone(), Guard(logged.clone(), "value")));
        let supervisor = Supervisor::builder()
            .child(spec.shutdown(shutdown))
            .directory(Arc::new(Names(world.clone())))
            .start()
            .await
            .unwrap();
        tokio::time::sleep(ms(1)).await;
        assert_eq!(world.take(), ["enter a#1", "published address"]);
        supervisor.terminate_child("a").await.unwrap();
        world.log("gone");
        assert_eq!(world.take(), order, "{shutdown:?}");
        let _ = supervisor.restart_child("a").await.unwrap();
        assert_eq!(world.take(), ["enter a#2", "published address"]);
        drop(supervisor);
    }
}

/// A directory that refuses, or panics, fails the start; the factory is not called.
#[tokio::test(start_paused = true)]
async fn a_directory_may_refuse() {
    struct Refuses;
    impl Directory for Refuses {
        fn enter(&self, child: &ChildRef) -> Result<Arc<dyn Entry>, BoxError> {
            match child.id.as_str() {
                "taken" => Err("taken".into()),
                _ => panic!("a directory"),
            }
        }
    }
    let world = World::new();
    let supervisor = DynamicSupervisor::builder().directory(Arc::new(Refuses)).start().await.unwrap();
    for (id, says) in [("taken", "failed: taken"), ("panics", "panicked: a directory")] {
        let Err(StartChildError::Failed(failure)) = supervisor.start_child(world.spec(id)).await else {
            panic!()
        };
        assert_eq!(failure.reason.to_string(), says);
    }
    assert_eq!(world.take(), [""; 0]);
}

/// RT-07's neighbour: a kill of a child whose future, value, entry and guards all panic when dropped ends that child alone.
#[tokio::test(start_paused = true)]
async fn panics_in_every_drop_of_a_killed_child() {
    struct Explosive(#[allow(dead_code)] Bomb);
    #[async_trait]
    impl Child for Explosive {
        async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
            cx.lease().tie(Bomb);
            cx.lease().tie(Bomb);
            Ok(Init::Ready)
        }
        async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
            let _bomb = Bomb;
            std::future::pending().await
        }
    }
    struct Names;
    struct Name(#[allow(dead_code)] Bomb);
    impl Directory for Names {
        fn enter(&self, _child: &ChildRef) -> Result<Arc<dyn Entry>, BoxError> {
            Ok(Arc::new(Name(Bomb)))
        }
    }
    impl Entry for Name {
        fn publish(&self, _address: Published) {}
    }
    for shutdown in [Shutdown::BrutalKill, Shutdown::Infinity] {
        let supervisor = Supervisor::builder()
            .child(ChildSpec::new("a", || Explosive(Bomb)).shutdown(shutdown))
            .directory(Arc::new(Names))
            .start()
            .await
            .unwrap();
        tokio::time::sleep(ms(1)).await;
        supervisor.terminate_child("a").await.unwrap();
        let _ = supervisor.restart_child("a").await.unwrap();
        supervisor.shutdown().await.unwrap();
    }
}

/// A terminate that is cut short, and whose future panics when dropped: as with any panic there, that is what the child ended with.
#[tokio::test(start_paused = true)]
async fn a_terminate_that_panics_when_cut_short() {
    struct Slow;
    #[async_trait]
    impl Child for Slow {
        async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
            Ok(Exit::Normal)
        }
        async fn terminate(&mut self, _cx: &mut Context, _reason: &ExitReason) {
            let _bomb = Bomb;
            std::future::pending::<()>().await
        }
    }
    let (notes, mut noted) = mpsc::unbounded_channel();
    let observer = move |note: &Note| {
        if let Note::Exited { reason, .. } = note {
            let _ = notes.send(reason.to_string());
        }
    };
    let spec = ChildSpec::new("a", || Slow).restart(Restart::Temporary).shutdown(Shutdown::Timeout(ms(10)));
    let _supervisor = Supervisor::builder().child(spec).observer(Arc::new(observer)).start().await.unwrap();
    assert_eq!(noted.recv().await.unwrap(), "panicked: boom in a drop");
}

/// A weak lease does not hold, and tells when the incarnation has ended.
#[tokio::test(start_paused = true)]
async fn weak_leases() {
    let (sender, mut leases) = mpsc::unbounded_channel::<WeakLease>();
    let spec = ChildSpec::task("a", move |cx| {
        let _ = sender.send(cx.lease().downgrade());
        std::future::pending::<()>()
    });
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    let weak = leases.recv().await.unwrap();
    assert!(weak.upgrade().is_some());
    supervisor.terminate_child("a").await.unwrap();
    assert!(weak.upgrade().is_none());
}

/// A lease that was made of a weak one holds as any other, and when it was the last there is no way back.
#[tokio::test(start_paused = true)]
async fn a_weak_lease_that_was_upgraded_holds() {
    let (sender, mut leases) = mpsc::unbounded_channel::<WeakLease>();
    let spec = ChildSpec::task("a", move |cx| {
        let _ = sender.send(cx.lease().downgrade());
        async move { drop(cx.stopped().await) }
    });
    let supervisor = Supervisor::builder().child(spec.restart(Restart::Transient)).start().await.unwrap();
    let weak = leases.recv().await.unwrap();
    let lease = weak.upgrade().unwrap();
    supervisor.request_terminate_child("a");
    tokio::time::sleep(ms(1)).await;
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#1 Stopping"]);
    let other = weak.upgrade().unwrap();
    drop(lease);
    tokio::time::sleep(ms(1)).await;
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#1 Stopping"]);
    drop(other);
    assert!(weak.upgrade().is_none());
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#1 Undefined"]);
}

/// For whoever looks for what keeps a child from ending.
#[tokio::test]
async fn a_lease_shows_how_many_hold_it() {
    let (leases, mut leased) = mpsc::unbounded_channel();
    let spec = ChildSpec::task("held", move |cx| {
        let _ = leases.send(cx.lease());
        async move { drop(cx.stopped().await) }
    });
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    let lease = leased.recv().await.unwrap();
    let weak = lease.downgrade();
    let holders = |shown: String| shown.split_once("holders: ").unwrap().1.chars().next().unwrap();
    let before = holders(format!("{lease:?}"));
    assert_eq!(holders(format!("{weak:?}")), before);
    let other = lease.clone();
    assert_eq!(holders(format!("{weak:?}")) as u32, before as u32 + 1);
    drop((lease, other));
    supervisor.shutdown().await.unwrap();
    assert_eq!(format!("{weak:?}"), "WeakLease { holders: 0, .. }");
}

/// What is tied to a lease is dropped before the supervisor is told of the end: asked meanwhile, it has not heard of it.
#[tokio::test]
async fn guards_go_before_the_report() {
    struct Asks(tokio::runtime::Handle, SupervisorRef, World);
    impl Drop for Asks {
        fn drop(&mut self) {
            let children = self.0.block_on(self.1.which_children()).unwrap();
            self.2.log(format!("{:?}", states(&children)));
        }
    }
    let world = World::new();
    let (send, mut leases) = mpsc::unbounded_channel();
    let spec = ChildSpec::task("a", {
        let world = world.clone();
        move |cx| {
            cx.lease().tie(Asks(tokio::runtime::Handle::current(), cx.supervisor(), world.clone()));
            let (over, lease) = (Guard(world.clone(), "run is over"), cx.lease());
            let _ = send.send(lease);
            async move { drop(over) }
        }
    });
    let supervisor = Supervisor::builder().child(spec.restart(Restart::Transient)).start().await.unwrap();
    let lease = leases.recv().await.unwrap();
    world.seen("run is over").await;
    // The last one: a thread drops it that may wait for the answer.
    tokio::task::spawn_blocking(move || drop(lease)).await.unwrap();
    assert_eq!(world.take(), ["run is over", "[\"a#1 Running\"]"]);
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#1 Undefined"]);
}

/// A child that puts another's context in the place of its own in one call has its own in the next, and holds the other one's lease no longer.
#[tokio::test(start_paused = true)]
async fn a_child_that_takes_the_context_of_another() {
    struct Takes(Arc<Mutex<Option<Context>>>, World);
    impl Takes {
        fn take(&self, call: &str, cx: &mut Context) {
            self.1.log(format!("{call} {}", cx.child()));
            if let Some(other) = &*self.0.lock().unwrap() {
                *cx = other.clone();
            }
        }
    }
    #[async_trait]
    impl Child for Takes {
        async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
            self.take("init", cx);
            Ok(Init::Ready)
        }
        fn poll_ready(
            &mut self,
            cx: &mut Context,
            _task: &mut std::task::Context<'_>,
        ) -> std::task::Poll<()> {
            self.take("is ready", cx);
            std::task::Poll::Ready(())
        }
        async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
            self.take("run", cx);
            self.0.lock().unwrap().take();
            tokio::time::sleep(ms(1)).await;
            self.take("slept as", cx);
            std::future::pending().await
        }
        async fn terminate(&mut self, cx: &mut Context, _reason: &ExitReason) {
            self.take("terminate", cx);
        }
    }
    let (world, shared) = (World::new(), Arc::<Mutex<Option<Context>>>::default());
    let gives = ChildSpec::task("gives", {
        let shared = shared.clone();
        move |cx| {
            *shared.lock().unwrap() = Some(cx.clone());
            async move { drop(cx.stopped().await) }
        }
    });
    let supervisor = Supervisor::builder().child(gives).start().await.unwrap();
    tokio::time::sleep(ms(1)).await;
    let takes = ChildSpec::new("takes", {
        let world = world.clone();
        move || Takes(shared.clone(), world.clone())
    });
    let _ = supervisor.start_child(takes).await.unwrap();
    tokio::time::sleep(ms(2)).await;
    supervisor.terminate_child("takes").await.unwrap();
    assert_eq!(
        world.take(),
        ["init takes#1", "is ready takes#1", "run takes#1", "slept as gives#1", "terminate takes#1"]
    );
    let begun = tokio::time::Instant::now();
    supervisor.terminate_child("gives").await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody holds it");
    supervisor.shutdown().await.unwrap();
}

/// A blocking child's context can do on the thread what it can do elsewhere.
#[tokio::test]
async fn a_blocking_child_spawns_within_its_runtime() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let spec = ChildSpec::blocking("a", move |cx| {
        let (task, closure) = (tell.clone(), tell.clone());
        cx.context().spawn(async move { task.send("task") });
        cx.context().spawn_blocking(move || closure.send("closure"));
        cx.stopped();
    });
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    let mut both = [told.recv().await.unwrap(), told.recv().await.unwrap()];
    both.sort_unstable();
    assert_eq!(both, ["closure", "task"]);
    supervisor.shutdown().await.unwrap();
}
