//! Stops through the real supervisors: order, deadlines to the millisecond, what runs and what does not, handles.

mod support;

use std::sync::Arc;

use ipa_supervisor::{
    BoxError, Cause, Child, ChildSpec, ChildState, Context, DynamicSupervisor, Exit, ExitReason,
    NestedSupervisor, Note, Restart, RestartIntensity, Shutdown, StartChildError, Started, StopMode,
    Supervisor, TerminateChildError, async_trait,
};
use support::{Does, Guard, World, ms, states};
use tokio::sync::mpsc;
use tokio::time::Instant;

fn timeout(millis: u64) -> Shutdown {
    Shutdown::Timeout(ms(millis))
}

/// TM-01 TM-03 one at a time, in reverse, each as soon as the one before it has ended: no deadline is waited out.
#[tokio::test(start_paused = true)]
async fn reverse_order() {
    let world = World::new();
    let kid = |name| world.kid(name).terminate(Does::Sleeps(10)).spec();
    let supervisor = Supervisor::builder().children([kid("a"), kid("b"), kid("c")]).start().await.unwrap();
    world.seen_times(3, "run").await;
    world.take();
    let begun = Instant::now();
    supervisor.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), ms(30));
    let log: Vec<_> = ["c", "b", "a"]
        .iter()
        .flat_map(|name| {
            [format!("terminate {name}: shutdown"), format!("terminated {name}"), format!("drop {name}")]
        })
        .collect();
    assert_eq!(world.take(), log);
}

/// A stop of one child is answered when the child is gone, and not before.
#[tokio::test(start_paused = true)]
async fn a_child_that_was_stopped_is_gone() {
    let world = World::new();
    let slow = || world.kid("a").terminate(Does::Sleeps(100)).spec();
    let supervisor = Supervisor::builder().child(slow()).start().await.unwrap();
    supervisor.terminate_child("a").await.unwrap();
    assert_eq!(world.take().last().unwrap(), "drop a");
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#1 Undefined"]);
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let Started::Child(child) = supervisor.start_child(slow()).await.unwrap() else { panic!() };
    supervisor.terminate_child(&child).await.unwrap();
    assert_eq!(world.take().last().unwrap(), "drop a");
    assert!(supervisor.which_children().await.unwrap().is_empty());
}

/// TM-02 a dynamic supervisor tells all at once and waits for them together.
#[tokio::test(start_paused = true)]
async fn side_by_side() {
    let world = World::new();
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        let _ = supervisor.start_child(world.kid(name).terminate(Does::Sleeps(200)).spec()).await.unwrap();
    }
    let begun = Instant::now();
    supervisor.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), ms(200));
}

/// TM-04 TM-14 TM-08 who does not obey is killed at exactly its own deadline, and reported; then the next is told.
#[tokio::test(start_paused = true)]
async fn own_deadlines() {
    let world = World::new();
    let (notes, mut noted) = mpsc::unbounded_channel();
    let observer = move |note: &Note| {
        if let Note::ShutdownError(child, reason) = note {
            let _ = notes.send(format!("{child} {reason}"));
        }
    };
    let kid = |name, millis| world.kid(name).terminate(Does::Hangs).spec().shutdown(timeout(millis));
    let supervisor = Supervisor::builder()
        .children([kid("a", 300), world.kid("b").terminate(Does::Panics).spec(), kid("c", 200)])
        .observer(Arc::new(observer))
        .start()
        .await
        .unwrap();
    let begun = Instant::now();
    supervisor.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), ms(500));
    let noted: Vec<_> = std::iter::from_fn(|| noted.try_recv().ok()).collect();
    assert_eq!(noted, ["c#1 killed", "b#1 panicked: terminate panicked", "a#1 killed"]);
    assert!(!world.take().contains(&"terminated a".into()));
}

/// TM-05 TM-13 CS-07 a brutal kill runs no cleanup but Drop; a deadline of zero asks first, which is too late as well.
#[tokio::test(start_paused = true)]
async fn brutal_kill() {
    let world = World::new();
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let patient = world.kid("patient").terminate(Does::Sleeps(60_000)).spec().shutdown(Shutdown::Infinity);
    let brutal = world.spec("brutal").shutdown(Shutdown::BrutalKill);
    let zero = world.kid("zero").terminate(Does::Sleeps(1)).spec().shutdown(timeout(0));
    for spec in [patient, brutal, zero] {
        let _ = supervisor.start_child(spec).await.unwrap();
    }
    world.seen_times(3, "run").await;
    world.take();
    let begun = Instant::now();
    supervisor.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), ms(60_000), "TM-06 infinity is not cut short");
    let log = world.take();
    assert!(!log.iter().any(|line| line.starts_with("terminate brutal")), "{log:?}");
    assert!(log.contains(&"drop brutal".into()), "{log:?}");
    assert!(!log.contains(&"terminated zero".into()), "{log:?}");
    assert_eq!(log.last().unwrap(), "drop patient");
}

/// TM-07 a nested supervisor that overruns its deadline is killed, and nothing under it survives.
#[tokio::test(start_paused = true)]
async fn a_nested_supervisor_overruns() {
    let world = World::new();
    let inner = {
        let world = world.clone();
        move || {
            let slow = world.kid("slow").terminate(Does::Hangs).spec().shutdown(Shutdown::Infinity);
            Supervisor::builder().children([world.spec("leaf"), slow])
        }
    };
    let supervisor = Supervisor::builder()
        .child(ChildSpec::supervisor("inner", inner).shutdown(timeout(100)))
        .start()
        .await
        .unwrap();
    world.take();
    let begun = Instant::now();
    supervisor.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), ms(100));
    let log = world.take();
    for line in ["drop leaf", "drop slow"] {
        assert!(log.contains(&line.into()), "{log:?}");
    }
    assert!(!log.contains(&"terminate leaf: shutdown".into()), "{log:?}");
}

/// TM-09 TM-11 RT-14 ends and retries during a stop: nothing is started any more, nothing is waited for twice.
#[tokio::test(start_paused = true)]
async fn ends_during_a_stop() {
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        let world = World::new();
        let supervisor = Supervisor::builder()
            .children(["a", "b", "c"].map(|name| world.spec(name).restart(restart)))
            .child(world.kid("last").terminate(Does::Sleeps(100)).spec())
            .start()
            .await
            .unwrap();
        world.take();
        supervisor.request_shutdown(Cause::Requested(None));
        world.seen("terminate last: shutdown").await;
        world.order("a", Does::Well);
        world.order("b", Does::Panics);
        world.order("c", Does::Declines);
        assert!(matches!(supervisor.wait().await, ExitReason::Shutdown(Cause::Requested(None))));
        let log = world.take();
        assert!(!log.iter().any(|line| line.starts_with("init")), "{restart:?}: {log:?}");
        let drops: Vec<_> = log.iter().filter(|line| line.starts_with("drop")).collect();
        assert_eq!(drops.len(), 4, "{restart:?}");
    }
}

/// RT-14 a crash and a stop at the same moment: the stop wins, no restart is begun.
#[tokio::test(start_paused = true)]
async fn the_stop_wins() {
    let world = World::new();
    let supervisor = Supervisor::builder().child(world.spec("a")).start().await.unwrap();
    world.seen("run a#1").await;
    // The child's task runs before the supervisor's: its exit is queued when the stop is, and behind it.
    world.order("a", Does::Fails);
    supervisor.shutdown().await.unwrap();
    assert!(!world.take().contains(&"init a#2".into()));
}

/// RT-14 the stop of one child overtakes its exit as well.
#[tokio::test(start_paused = true)]
async fn terminate_overtakes_an_exit() {
    let world = World::new();
    let supervisor = Supervisor::builder().child(world.spec("a")).start().await.unwrap();
    world.seen("run a#1").await;
    world.order("a", Does::Fails);
    supervisor.terminate_child("a").await.unwrap();
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#1 Undefined"]);
}

/// RT-25 a child that never looks for a stop costs nothing: its run is dropped at once, then terminate runs.
#[tokio::test(start_paused = true)]
async fn run_is_dropped_by_default() {
    let world = World::new();
    let supervisor = Supervisor::builder().child(world.spec("a")).start().await.unwrap();
    let begun = Instant::now();
    supervisor.terminate_child("a").await.unwrap();
    assert_eq!(begun.elapsed(), ms(0));
    assert!(world.take().contains(&"terminated a".into()));
}

/// RT-25 TM-04 a cooperative child finishes by itself, within its deadline; one that does not is killed then.
#[tokio::test(start_paused = true)]
async fn cooperative_children() {
    let world = World::new();
    let finishing = |name: &'static str, takes| {
        let world = world.clone();
        ChildSpec::task(name, move |cx| {
            let world = world.clone();
            async move {
                let reason = cx.stopped().await;
                assert!(cx.is_stopped());
                tokio::time::sleep(ms(takes)).await;
                world.log(format!("{name} finished: {reason}"));
            }
        })
        .stop_mode(StopMode::Cooperative)
    };
    let supervisor =
        Supervisor::builder().children([finishing("a", 4999), finishing("b", 5001)]).start().await.unwrap();
    let begun = Instant::now();
    supervisor.shutdown_with(Cause::Requested(Some("upgrade".into()))).await.unwrap();
    assert_eq!(begun.elapsed(), ms(9999));
    assert_eq!(world.take(), ["a finished: shutdown: upgrade"]);
}

/// TM-15 the cause of a stop is the exit reason, and what each child's terminate sees.
#[tokio::test(start_paused = true)]
async fn the_cause_of_a_stop() {
    let world = World::new();
    let supervisor = Supervisor::builder().child(world.spec("a")).start().await.unwrap();
    let waiting = {
        let supervisor = supervisor.downgrade();
        tokio::spawn(async move { supervisor.wait().await })
    };
    supervisor.shutdown_with(Cause::Requested(Some("upgrade".into()))).await.unwrap();
    assert!(world.take().contains(&"terminate a: shutdown: upgrade".into()));
    assert_eq!(waiting.await.unwrap().to_string(), "shutdown: upgrade");
    assert_eq!(supervisor.wait().await.to_string(), "shutdown: upgrade", "at once, however often");
}

/// TM-16 RT-12 the last strong handle is dropped: a graceful stop in the background. Clones are strong, what children get is weak.
#[tokio::test(start_paused = true)]
async fn the_last_handle() {
    let world = World::new();
    let supervisor = Supervisor::builder().child(world.spec("a")).start().await.unwrap();
    let weak = supervisor.downgrade();
    let clone = supervisor.clone();
    drop(supervisor);
    tokio::time::sleep(ms(10)).await;
    assert!(!weak.is_closed());
    drop(clone);
    assert!(matches!(weak.wait().await, ExitReason::Shutdown(Cause::Requested(None))));
    assert!(world.take().contains(&"terminated a".into()));

    let dynamic = DynamicSupervisor::builder().start().await.unwrap();
    let _ = dynamic.start_child(world.spec("b")).await.unwrap();
    let weak = dynamic.downgrade();
    drop(dynamic);
    weak.wait().await;
    assert!(world.take().contains(&"terminated b".into()));
}

/// RT-12 a supervisor's task is aborted, or its runtime ends: every child at every depth is dropped, and waiters are told.
#[test]
fn the_runtime_ends() {
    let world = World::new();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let weak = runtime.block_on(async {
        let leaf = world.clone();
        let inner = move || Supervisor::builder().child(leaf.spec("leaf"));
        let supervisor = Supervisor::builder()
            .children([world.spec("a"), ChildSpec::supervisor("inner", inner)])
            .start()
            .await
            .unwrap();
        world.seen_times(2, "run").await;
        let weak = supervisor.downgrade();
        std::mem::forget(supervisor);
        weak
    });
    drop(runtime);
    let log = world.take();
    for line in ["drop a", "drop leaf"] {
        assert!(log.contains(&line.into()), "{log:?}");
    }
    assert!(!log.iter().any(|line| line.starts_with("terminate")), "{log:?}");
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    other.block_on(async {
        assert!(matches!(weak.wait().await, ExitReason::Killed));
        assert!(weak.which_children().await.is_err());
        weak.shutdown().await.unwrap();
    });
}

/// TM-18 RT-18 stops join; after the end a stop is Ok and everything else is Closed, at once.
#[tokio::test(start_paused = true)]
async fn stops_join() {
    let world = World::new();
    let supervisor = Supervisor::builder()
        .child(world.kid("a").terminate(Does::Sleeps(100)).spec())
        .start()
        .await
        .unwrap();
    let begun = Instant::now();
    let (first, second) = tokio::join!(supervisor.shutdown(), supervisor.shutdown());
    first.unwrap();
    second.unwrap();
    supervisor.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), ms(100));
    assert!(matches!(supervisor.start_child(world.spec("b")).await, Err(StartChildError::Closed)));
    assert!(matches!(supervisor.terminate_child("a").await, Err(TerminateChildError::Closed)));
    assert!(supervisor.count_children().await.is_err());
    assert!(supervisor.is_closed());
}

/// TM-19 RT-18 calls that are queued at a stop are answered, and start nothing.
#[tokio::test(start_paused = true)]
async fn calls_during_a_stop() {
    let world = World::new();
    let supervisor = Supervisor::builder()
        .child(world.kid("a").terminate(Does::Sleeps(100)).spec())
        .start()
        .await
        .unwrap();
    // Queued before, read after: a stop overtakes them.
    let starts = (0..200).map(|n| {
        let (supervisor, spec) = (supervisor.downgrade(), world.spec(&format!("late{n}")));
        tokio::spawn(async move { supervisor.start_child(spec).await })
    });
    let starts: Vec<_> = starts.collect();
    supervisor.request_shutdown(Cause::Requested(None));
    let begun = Instant::now();
    for start in starts {
        assert!(matches!(start.await.unwrap(), Err(StartChildError::Closed)));
    }
    assert_eq!(begun.elapsed(), ms(0));
    assert_eq!(supervisor.which_children().await.unwrap()[0].state, ChildState::Stopping, "ST-17");
    supervisor.wait().await;
    assert!(!world.take().iter().any(|line| line.contains("late")));
}

/// TM-20 when a stop returns no child's value, future or name is left.
#[tokio::test(start_paused = true)]
async fn nothing_is_left() {
    let counted = Arc::new(());
    let spec = |n: usize| {
        let counted = counted.clone();
        ChildSpec::task(format!("c{n}"), move |cx| {
            let counted = counted.clone();
            async move {
                cx.lease().tie(counted.clone());
                cx.stopped().await;
                drop(counted);
            }
        })
    };
    let supervisor = Supervisor::builder().children((0..20).map(spec)).start().await.unwrap();
    let dynamic = DynamicSupervisor::builder().start().await.unwrap();
    for n in 0..20 {
        let _ = dynamic.start_child(spec(n)).await.unwrap();
    }
    dynamic.shutdown().await.unwrap();
    supervisor.shutdown().await.unwrap();
    assert_eq!(Arc::strong_count(&counted), 1);
}

/// A shutdown whose future is dropped goes on.
#[tokio::test(start_paused = true)]
async fn a_dropped_shutdown_goes_on() {
    let world = World::new();
    let supervisor = Supervisor::builder()
        .child(world.kid("a").terminate(Does::Sleeps(100)).spec())
        .start()
        .await
        .unwrap();
    let begun = Instant::now();
    assert!(tokio::time::timeout(ms(10), supervisor.shutdown()).await.is_err());
    supervisor.wait().await;
    assert_eq!(begun.elapsed(), ms(100));
}

/// The whole stop's deadline: all that are left are killed side by side.
#[tokio::test(start_paused = true)]
async fn the_whole_stop_is_bounded() {
    let world = World::new();
    let kid = |name: String| world.kid(&name).terminate(Does::Hangs).spec().shutdown(Shutdown::Infinity);
    let supervisor = Supervisor::builder()
        .children((0..10).map(|n| kid(format!("c{n}"))))
        .shutdown_timeout(ms(700))
        .start()
        .await
        .unwrap();
    let begun = Instant::now();
    supervisor.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), ms(700));
    let terminated = world.take().iter().filter(|line| line.starts_with("terminate ")).count();
    assert_eq!(terminated, 1, "only the last had been told");
}

/// A kill of the supervisor runs no terminate.
#[tokio::test(start_paused = true)]
async fn kill() {
    let world = World::new();
    let supervisor =
        Supervisor::builder().children([world.spec("a"), world.spec("b")]).start().await.unwrap();
    world.seen_times(2, "run").await;
    world.take();
    supervisor.kill(Cause::Revoked);
    assert!(matches!(supervisor.wait().await, ExitReason::Shutdown(Cause::Revoked)));
    let mut log = world.take();
    log.sort();
    assert_eq!(log, ["drop a", "drop b"]);
}

/// `terminate` runs after a self-end of any kind but where the spec says no, bounded by the child's own deadline; never after
/// an init that failed.
#[tokio::test(start_paused = true)]
async fn when_terminate_runs() {
    let cases = [
        (Does::Well, "terminate a: normal"),
        (Does::Declines, "terminate a: shutdown"),
        (Does::Fails, "terminate a: failed: run failed"),
        (Does::Panics, "terminate a: panicked: run panicked"),
    ];
    for (does, line) in cases {
        for shutdown in [timeout(5000), Shutdown::BrutalKill, Shutdown::Infinity] {
            let world = World::new();
            let supervisor = Supervisor::builder().start().await.unwrap();
            let spec = world.spec("a").restart(Restart::Temporary).shutdown(shutdown);
            let _ = supervisor.start_child(spec).await.unwrap();
            world.order("a", does);
            world.seen("drop a").await;
            assert!(world.take().contains(&line.into()), "{does:?} {shutdown:?}");
        }
    }
    let world = World::new();
    let supervisor = Supervisor::builder().start().await.unwrap();
    let spec = world.spec("a").restart(Restart::Temporary).terminate_after_panic(false);
    let _ = supervisor.start_child(spec).await.unwrap();
    world.order("a", Does::Panics);
    world.seen("drop a").await;
    let spec = world.kid("b").init(Does::Fails).spec();
    assert!(supervisor.start_child(spec).await.is_err());
    assert!(!world.take().iter().any(|line| line.starts_with("terminate")));
}

/// A terminate after a self-end is cut short at the child's own deadline, by default after 5 seconds, and what it ended with stands; it is
/// not if the child may take as long as it likes.
#[tokio::test(start_paused = true)]
async fn terminate_is_bounded() {
    let cases = [
        (Some(timeout(100)), Some(ms(100))),
        (None, Some(ms(5000))),
        (Some(Shutdown::BrutalKill), Some(ms(5000))),
        (Some(Shutdown::Infinity), None),
    ];
    for (shutdown, bound) in cases {
        let world = World::new();
        let mut spec = world.kid("a").terminate(Does::Hangs).spec().restart(Restart::Temporary);
        if let Some(shutdown) = shutdown {
            spec = spec.shutdown(shutdown);
        }
        let logged = world.clone();
        let observer = move |note: &Note| {
            if let Note::Exited { reason, .. } = note {
                logged.log(format!("exited {reason}"));
            }
        };
        let supervisor =
            Supervisor::builder().observer(Arc::new(observer)).child(spec).start().await.unwrap();
        let begun = Instant::now();
        world.order("a", Does::Fails);
        let exited = tokio::time::timeout(ms(3_600_000), world.seen("exited failed: run failed")).await;
        assert_eq!(exited.ok().map(|()| begun.elapsed()), bound, "{shutdown:?}");
        supervisor.kill(Cause::Revoked);
        supervisor.wait().await;
    }
}

/// A nested supervisor whose init never came to make its loop: those who hold its handle are told that it has ended.
#[tokio::test(start_paused = true)]
async fn a_nested_supervisor_that_never_began() {
    let nested = NestedSupervisor::new(Supervisor::builder());
    let handle = nested.handle();
    let waiting = {
        let handle = handle.clone();
        tokio::spawn(async move { (handle.which_children().await.is_err(), handle.wait().await) })
    };
    tokio::task::yield_now().await;
    drop(nested);
    let (closed, reason) = tokio::time::timeout(ms(1000), waiting).await.expect("it has ended").unwrap();
    assert!(closed && matches!(reason, ExitReason::Killed));
    handle.shutdown().await.unwrap();

    let zero = RestartIntensity::new(1, ms(0));
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    let spec = ChildSpec::new("bad", move || {
        let nested = NestedSupervisor::new(Supervisor::builder().intensity(zero));
        if let Some(sender) = sender.lock().unwrap().take() {
            let _ = sender.send(nested.handle());
        }
        nested
    });
    assert!(Supervisor::builder().child(spec).start().await.is_err());
    let handle = receiver.await.unwrap();
    tokio::time::timeout(ms(1000), handle.shutdown()).await.expect("it has ended").unwrap();
}

/// A supervisor under which two factories panic when dropped: the children are gone all the same, with their supervisor.
#[tokio::test(start_paused = true)]
async fn factories_that_panic_when_dropped() {
    struct Quiet(World);
    #[async_trait]
    impl Child for Quiet {
        async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
            let _guard = Guard(self.0.clone(), "gone");
            cx.stopped().await;
            Ok(Exit::Normal)
        }
    }
    let world = World::new();
    let inner = {
        let world = world.clone();
        move || {
            let spec = |id: &str| {
                let (world, bomb) = (world.clone(), support::Bomb);
                ChildSpec::new(id, move || {
                    let _ = &bomb;
                    Quiet(world.clone())
                })
            };
            Supervisor::builder().children([spec("x"), spec("y"), spec("z")])
        }
    };
    let nested = ChildSpec::supervisor("inner", inner).shutdown(Shutdown::BrutalKill);
    let supervisor = Supervisor::builder().child(nested).start().await.unwrap();
    tokio::time::sleep(ms(1)).await;
    supervisor.shutdown().await.unwrap();
    assert_eq!(world.take(), ["gone", "gone", "gone"]);
}
