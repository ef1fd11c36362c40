//! Children that come and go: operations on an ordered supervisor, the dynamic one, and very many children.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipa_supervisor::{
    BoxError, Cause, Child, ChildSpec, ChildState, Context, DeleteChildError, DynamicSupervisor, Exit,
    ExitReason, Restart, RestartChildError, RestartIntensity, Shutdown, StartChildError, Started, Supervisor,
    TerminateChildError, async_trait,
};
use support::{Does, World, ms, states};
use tokio::time::Instant;

fn idle(id: impl Into<ipa_supervisor::ChildId>) -> ChildSpec {
    ChildSpec::task(id, |cx| async move {
        cx.stopped().await;
    })
}

struct Idle;

#[async_trait]
impl Child for Idle {
    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        std::future::pending().await
    }
}

/// DO-01 DO-02 DO-06 DO-07 DO-08 DO-12 DO-14 DO-15 one child through all operations.
#[tokio::test(start_paused = true)]
async fn one_child_through_all_operations() {
    let supervisor = Supervisor::builder().child(idle("z")).start().await.unwrap();
    let first = supervisor.start_child(idle("a")).await.unwrap().child().unwrap();
    let Err(StartChildError::AlreadyStarted(standing)) = supervisor.start_child(idle("a")).await else {
        panic!()
    };
    assert_eq!(standing, first);
    assert!(matches!(supervisor.restart_child("a").await, Err(RestartChildError::Running)));
    assert!(matches!(supervisor.delete_child("a").await, Err(DeleteChildError::Running)));
    supervisor.terminate_child("a").await.unwrap();
    supervisor.terminate_child("a").await.unwrap();
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["z#1 Running", "a#1 Undefined"]);
    let second = supervisor.restart_child("a").await.unwrap().child().unwrap();
    assert_eq!((second.slot, second.incarnation.0), (first.slot, 2));
    supervisor.terminate_child("z").await.unwrap();
    supervisor.delete_child("z").await.unwrap();
    assert!(matches!(supervisor.terminate_child("z").await, Err(TerminateChildError::NotFound)));
    assert!(matches!(supervisor.restart_child("z").await, Err(RestartChildError::NotFound)));
    assert!(matches!(supervisor.delete_child("z").await, Err(DeleteChildError::NotFound)));
    let _ = supervisor.start_child(idle("z")).await.unwrap();
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#2 Running", "z#1 Running"]);
    assert_eq!(supervisor.which_child("z").await.unwrap().unwrap().state, ChildState::Running, "DO-17");
}

/// DS-01 a reference to a child of another supervisor, or of an earlier run of this one, finds nobody: whoever has the same id, and whoever
/// came as the first there, too, goes on.
#[tokio::test(start_paused = true)]
async fn a_reference_is_to_one_supervisors_child() {
    let one = DynamicSupervisor::builder().start().await.unwrap();
    let other = DynamicSupervisor::builder().start().await.unwrap();
    let foreign = one.start_child(idle("a")).await.unwrap().child().unwrap();
    let own = other.start_child(idle("a")).await.unwrap().child().unwrap();
    assert_ne!(own, foreign);
    assert!([own.slot.0, foreign.slot.0].iter().all(|place| *place < 1 << 53), "a number of any JSON");
    assert_eq!(other.which_child(&foreign).await.unwrap(), None);
    assert!(matches!(other.terminate_child(&foreign).await, Err(TerminateChildError::NotFound)));
    other.request_terminate_child(&foreign);
    let state = other.which_child(&own).await.unwrap().map(|info| info.state);
    assert_eq!(state, Some(ChildState::Running));
    one.terminate_child(&foreign).await.unwrap();
}

/// DO-10 a temporary child that is terminated is gone, and its id is free.
#[tokio::test(start_paused = true)]
async fn temporary_children_go() {
    let supervisor = Supervisor::builder().start().await.unwrap();
    for _ in 0..3 {
        let _ = supervisor.start_child(idle("a").restart(Restart::Temporary)).await.unwrap();
        supervisor.terminate_child("a").await.unwrap();
        assert!(matches!(supervisor.restart_child("a").await, Err(RestartChildError::NotFound)));
    }
}

/// DO-13 RI-11 a restart_child that fails keeps the spec, is not tried again and not counted.
#[tokio::test(start_paused = true)]
async fn a_failed_restart_child() {
    let world = World::new();
    let made = AtomicUsize::new(0);
    let inner = world.clone();
    let spec = ChildSpec::supervisor("a", move || {
        let init = if made.fetch_add(1, Ordering::Relaxed) == 0 { Does::Well } else { Does::Fails };
        Supervisor::builder().child(inner.kid("x").init(init).spec())
    });
    let supervisor = Supervisor::builder()
        .child(spec)
        .intensity(RestartIntensity::new(0, ms(1000)))
        .start()
        .await
        .unwrap();
    supervisor.terminate_child("a").await.unwrap();
    for incarnation in 2..6 {
        let result = supervisor.restart_child("a").await;
        assert!(matches!(result, Err(RestartChildError::Failed(_))), "{result:?}");
        let states = states(&supervisor.which_children().await.unwrap());
        assert_eq!(states, [format!("a#{incarnation} Undefined")]);
    }
}

/// DO-21 of many starts of one id at once one starts it, and all others are told of that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_starts_of_one_id() {
    let supervisor = Supervisor::builder().start().await.unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let starts: Vec<_> = (0..100)
        .map(|_| {
            let (supervisor, made) = (supervisor.clone(), made.clone());
            // Counted when it is made: the stop at the end may come before the one that is up has been called to run.
            let spec = ChildSpec::new("a", move || {
                made.fetch_add(1, Ordering::Relaxed);
                Idle
            });
            tokio::spawn(async move { supervisor.start_child(spec).await })
        })
        .collect();
    let mut up = 0;
    for start in starts {
        match start.await.unwrap() {
            Ok(started) => up += started.child().map_or(0, |_| 1),
            Err(StartChildError::AlreadyStarted(child)) => assert_eq!(child.incarnation.0, 1),
            Err(other) => panic!("{other}"),
        }
    }
    supervisor.shutdown().await.unwrap();
    assert_eq!((up, made.load(Ordering::Relaxed)), (1, 1));
}

/// DO-21 a start that waits behind a stop has its turn, though other children are added meanwhile.
#[tokio::test(start_paused = true)]
async fn a_start_behind_a_stop() {
    let world = World::new();
    let slow = || world.kid("a").terminate(Does::Sleeps(100)).spec().restart(Restart::Temporary);
    let supervisor = Supervisor::builder().child(slow()).start().await.unwrap();
    let other = async {
        tokio::time::sleep(ms(10)).await;
        supervisor.start_child(idle("b")).await
    };
    let again = async {
        tokio::time::sleep(ms(5)).await;
        supervisor.start_child(slow()).await
    };
    let (stopped, again, other) = tokio::join!(supervisor.terminate_child("a"), again, other);
    stopped.unwrap();
    assert_eq!(again.unwrap().child().unwrap().incarnation.0, 1);
    assert!(other.unwrap().child().is_some());
    assert_eq!(supervisor.count_children().await.unwrap().active, 2);
}

/// DS-01 DS-02 ids are labels: two children of one label are two, each with its ref, which survives restarts.
#[tokio::test(start_paused = true)]
async fn labels() {
    let world = World::new();
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let one = supervisor.start_child(world.spec("x")).await.unwrap().child().unwrap();
    let other = supervisor.start_child(idle("x")).await.unwrap().child().unwrap();
    assert_ne!(one, other);
    world.order("x", Does::Panics);
    world.seen("run x#2").await;
    let now = supervisor.which_child(&one).await.unwrap().unwrap();
    assert_eq!((now.child.slot, now.child.incarnation.0), (one.slot, 2));
    supervisor.terminate_child(&one).await.unwrap();
    assert!(matches!(supervisor.terminate_child(&one).await, Err(TerminateChildError::NotFound)));
    assert_eq!(supervisor.which_children().await.unwrap().len(), 1);
    let declines = world.kid("y").init(Does::Declines).spec();
    assert_eq!(supervisor.start_child(declines).await.unwrap(), Started::Ignored);
    let Err(StartChildError::Failed(failure)) =
        supervisor.start_child(world.kid("z").init(Does::Fails).spec()).await
    else {
        panic!()
    };
    assert_eq!(std::error::Error::source(&*failure).unwrap().to_string(), "init failed");
    let panics = world.kid("z").init(Does::Panics).spec();
    assert!(matches!(supervisor.start_child(panics).await, Err(StartChildError::Failed(_))), "DS-03");
    assert_eq!(supervisor.count_children().await.unwrap().specs, 1);
}

/// DS-05 DS-06 DS-20 starts run side by side, and the limit stays exact among them.
#[tokio::test(start_paused = true)]
async fn starts_side_by_side() {
    let world = World::new();
    let supervisor = DynamicSupervisor::builder().max_children(100).start().await.unwrap();
    let begun = Instant::now();
    let starts: Vec<_> = (0..150)
        .map(|_| {
            let (supervisor, spec) =
                (supervisor.clone(), world.kid("a").quiet().init(Does::Sleeps(100)).spec());
            tokio::spawn(async move { supervisor.start_child(spec.restart(Restart::Temporary)).await })
        })
        .collect();
    let mut refused = 0;
    let mut children = Vec::new();
    for start in starts {
        match start.await.unwrap() {
            Ok(started) => children.extend(started.child()),
            Err(StartChildError::MaxChildren(100)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(begun.elapsed(), ms(100));
    assert_eq!((children.len(), refused), (100, 50));
    let inits = world.take().iter().filter(|line| line.starts_with("init")).count();
    assert_eq!(inits, 100, "beyond the limit no factory is called");
    assert!(matches!(supervisor.start_child(idle("b")).await, Err(StartChildError::MaxChildren(100))));
    supervisor.terminate_child(&children[7]).await.unwrap();
    let _ = supervisor.start_child(idle("b")).await.unwrap();
    let none = DynamicSupervisor::builder().max_children(0).start().await.unwrap();
    assert!(matches!(none.start_child(idle("c")).await, Err(StartChildError::MaxChildren(0))));
}

/// DS-07 DS-08 DS-15 a child that fails to restart keeps its place and its count.
#[tokio::test(start_paused = true)]
async fn a_restarting_child_keeps_its_place() {
    let made = AtomicUsize::new(0);
    let spec = ChildSpec::supervisor("a", move || {
        if made.fetch_add(1, Ordering::Relaxed) == 0 {
            let over = ChildSpec::task("over", |_cx| async { Exit::Normal });
            return Supervisor::builder().child(over).intensity(RestartIntensity::new(0, ms(1000)));
        }
        let hangs = World::new().kid("hangs").init(Does::Hangs).spec();
        Supervisor::builder().child(hangs)
    });
    let supervisor = DynamicSupervisor::builder().max_children(1).start().await.unwrap();
    let child = match supervisor.start_child(spec).await {
        Ok(started) => started.child().unwrap(),
        Err(other) => panic!("{other}"),
    };
    tokio::time::sleep(ms(1)).await;
    let info = supervisor.which_child(&child).await.unwrap().unwrap();
    assert_eq!(info.state, ChildState::Restarting);
    let counts = supervisor.count_children().await.unwrap();
    assert_eq!((counts.specs, counts.active, counts.supervisors, counts.workers), (1, 0, 1, 0));
    assert!(matches!(supervisor.start_child(idle("b")).await, Err(StartChildError::MaxChildren(1))));
    supervisor.terminate_child(&child).await.unwrap();
    let _ = supervisor.start_child(idle("b")).await.unwrap();
}

/// DS-17 one bad permanent child takes all down with it.
#[tokio::test(start_paused = true)]
async fn a_meltdown() {
    let world = World::new();
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    for n in 0..10 {
        let _ = supervisor.start_child(world.spec(&format!("good{n}"))).await.unwrap();
    }
    world.seen_times(10, "run").await;
    let _ = supervisor.start_child(ChildSpec::task("bad", |_cx| async { Exit::Normal })).await;
    assert!(matches!(supervisor.wait().await, ExitReason::Shutdown(Cause::Intensity(_))));
    assert_eq!(world.take().iter().filter(|line| line.starts_with("terminated good")).count(), 10);
}

/// DS-23 a dynamic supervisor that its parent restarts starts empty.
#[tokio::test(start_paused = true)]
async fn a_restarted_dynamic_supervisor_is_empty() {
    let world = World::new();
    let (handles, mut handle) = tokio::sync::mpsc::unbounded_channel();
    let spec = ChildSpec::new("pool", move || {
        let nested = ipa_supervisor::NestedSupervisor::dynamic(
            DynamicSupervisor::builder().intensity(RestartIntensity::new(0, ms(1000))),
        );
        let _ = handles.send(nested.handle());
        nested
    });
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    let first = handle.recv().await.unwrap();
    let _ = first.start_child(world.spec("a")).await.unwrap();
    let _ = first.start_child(world.spec("b")).await.unwrap();
    world.order("a", Does::Fails);
    first.wait().await;
    let second = handle.recv().await.unwrap();
    assert_eq!(second.count_children().await.unwrap().specs, 0);
    assert!(first.count_children().await.is_err());
    supervisor.shutdown().await.unwrap();
}

/// DS-18 10,000 temporary children come, are counted, and go: some by themselves, some told, the rest with the supervisor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_children() {
    let world = World::new();
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let alive = Arc::new(());
    let finish = Arc::new(tokio::sync::Semaphore::new(0));
    let mut children = Vec::new();
    for n in 0..10_000 {
        let (alive, finish) = (alive.clone(), finish.clone());
        let spec = ChildSpec::once(format!("c{n}"), move |cx| async move {
            cx.lease().tie(alive);
            if n < 1000 {
                // Closed when these are to end.
                let _ = finish.acquire().await;
            } else {
                cx.stopped().await;
            }
        });
        children.push(supervisor.start_child(spec).await.unwrap().child().unwrap());
    }
    assert_eq!(supervisor.count_children().await.unwrap().active, 10_000);
    finish.close();
    for child in &children[1000..3000] {
        supervisor.terminate_child(child).await.unwrap();
    }
    while supervisor.count_children().await.unwrap().specs > 7000 {
        tokio::task::yield_now().await;
    }
    supervisor.shutdown().await.unwrap();
    assert_eq!(Arc::strong_count(&alive), 1);
    drop(world);
}

/// DO-23 20,000 starts and stops of one ordered supervisor: the later cost what the earlier did, not ten times as much.
#[tokio::test(flavor = "current_thread")]
async fn the_table_does_not_grow_slow() {
    let supervisor = Supervisor::builder().child(idle("stays")).start().await.unwrap();
    let mut rounds = Vec::new();
    for _ in 0..10 {
        let begun = std::time::Instant::now();
        for _ in 0..2_000 {
            let spec = idle("a").restart(Restart::Temporary).shutdown(Shutdown::BrutalKill);
            let _ = supervisor.start_child(spec).await.unwrap();
            supervisor.terminate_child("a").await.unwrap();
        }
        rounds.push(begun.elapsed());
    }
    let best = |rounds: &[std::time::Duration]| *rounds.iter().min().unwrap();
    assert!(best(&rounds[5..]) < best(&rounds[..5]) * 10, "{rounds:?}");
    assert_eq!(supervisor.count_children().await.unwrap().specs, 1);
}
