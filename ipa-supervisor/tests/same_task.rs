//! Restarts that go on on the task of the incarnation before, and what must not; whose task runs the supervisor's loop meanwhile.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{self, Wake, Waker};

use ipa_supervisor::{
    BoxError, Cause, Child, ChildRef, ChildSpec, Context, Exit, ExitReason, Incarnation, NestedSupervisor,
    Note, RestartIntensity, Shutdown, Strategy, Supervisor, SupervisorRef, async_trait,
};
use support::{ms, states};
use tokio::sync::{Notify, mpsc};

fn often() -> RestartIntensity {
    RestartIntensity::new(1000, ms(1000))
}

/// A child that is told when to crash, and notes the task that each of its incarnations runs on.
fn crashes(
    id: &'static str,
    crash: &Arc<Notify>,
    tasks: &mpsc::UnboundedSender<(ChildRef, tokio::task::Id)>,
) -> ChildSpec {
    let (crash, tasks) = (crash.clone(), tasks.clone());
    ChildSpec::task(id, move |cx| {
        let (crash, tasks) = (crash.clone(), tasks.clone());
        async move {
            let _ = tasks.send((cx.child().clone(), tokio::task::id()));
            crash.notified().await;
            Err::<(), _>(std::io::Error::other("told to"))
        }
    })
}

/// A crash whose supervisor has nothing else to do is followed by the next incarnation on the same task: no other is woken or made.
/// Not where the last one is still held elsewhere, or has awaited nothing and would never let its worker go.
#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_on_its_task() {
    let (crash, (tasks, mut on)) = (Arc::new(Notify::new()), mpsc::unbounded_channel());
    let held = Arc::new(Mutex::new(None));
    let keeps = ChildSpec::task("keeps", {
        let (crash, tasks, held) = (crash.clone(), tasks.clone(), held.clone());
        move |cx| {
            let (crash, tasks, held) = (crash.clone(), tasks.clone(), held.clone());
            async move {
                let _ = tasks.send((cx.child().clone(), tokio::task::id()));
                if cx.child().incarnation == Incarnation(1) {
                    *held.lock().unwrap() = Some(cx.lease());
                }
                crash.notified().await;
            }
        }
    });
    let (never, at_once) = (Arc::new(AtomicUsize::new(0)), tasks.clone());
    let hastes = ChildSpec::task("hastes", move |cx| {
        let _ = at_once.send((cx.child().clone(), tokio::task::id()));
        let last = never.fetch_add(1, Ordering::Relaxed) == 1;
        async move {
            if last {
                std::future::pending::<()>().await;
            }
        }
    });
    let supervisor = Supervisor::builder().intensity(often()).start().await.unwrap();
    let mut ran = async |number: u64| {
        let (child, task) = on.recv().await.unwrap();
        assert_eq!(child.incarnation, Incarnation(number), "{child}");
        task
    };

    let _ = supervisor.start_child(crashes("crashes", &crash, &tasks)).await.unwrap();
    let first = ran(1).await;
    for number in 2..5 {
        crash.notify_one();
        assert_eq!(ran(number).await, first);
    }
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["crashes#4 Running"]);
    supervisor.terminate_child("crashes").await.unwrap();

    let _ = supervisor.start_child(keeps).await.unwrap();
    let first = ran(1).await;
    crash.notify_one();
    // The clock goes on when nobody has anything to do.
    tokio::time::sleep(ms(1)).await;
    drop(held.lock().unwrap().take());
    assert_ne!(ran(2).await, first);

    let _ = supervisor.start_child(hastes).await.unwrap();
    let first = ran(1).await;
    assert_ne!(ran(2).await, first);
    supervisor.shutdown().await.unwrap();
}

/// Of a group that is restarted, a child may be killed just as it ends by itself, by its own report: it is started again on a task that
/// nobody has aborted.
#[tokio::test(start_paused = true)]
async fn a_child_that_is_killed_as_it_ends_is_restarted() {
    let (crash, (tasks, mut on)) = (Arc::new(Notify::new()), mpsc::unbounded_channel());
    let held = Arc::new(Mutex::new(None));
    let first = ChildSpec::task("first", {
        let (crash, tasks, held) = (crash.clone(), tasks.clone(), held.clone());
        move |cx| {
            let (crash, tasks, held) = (crash.clone(), tasks.clone(), held.clone());
            async move {
                let _ = tasks.send(cx.child().to_string());
                crash.notified().await;
                // The other has ended, and its end is told now: what follows from it is seen to when this one has ended, a moment later.
                drop(held.lock().unwrap().take());
                Err::<(), _>(std::io::Error::other("told to"))
            }
        }
    });
    let second = ChildSpec::task("second", {
        let held = held.clone();
        move |cx| {
            let (tasks, held) = (tasks.clone(), held.clone());
            async move {
                let _ = tasks.send(cx.child().to_string());
                if cx.child().incarnation == Incarnation(1) {
                    *held.lock().unwrap() = Some(cx.lease());
                    return Exit::Normal;
                }
                std::future::pending().await
            }
        }
    });
    let supervisor = Supervisor::builder()
        .children([first.shutdown(Shutdown::BrutalKill), second])
        .strategy(Strategy::OneForAll)
        .intensity(RestartIntensity::new(1, ms(1000)))
        .start()
        .await
        .unwrap();
    tokio::time::sleep(ms(1)).await;
    crash.notify_one();
    let mut ran = Vec::new();
    for _ in 0..4 {
        ran.push(on.recv().await.unwrap());
    }
    assert_eq!(ran, ["first#1", "second#1", "first#2", "second#2"]);
    tokio::time::sleep(ms(1)).await;
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["first#2 Running", "second#2 Running"]);
    supervisor.shutdown().await.unwrap();
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

/// A caller's waker that panics takes the supervisor with it that was about to answer, whichever task ran its loop: the parent hears of it.
#[tokio::test(start_paused = true)]
async fn a_waker_that_panics() {
    let (handles, mut handle) = mpsc::unbounded_channel();
    let inner = ChildSpec::new("inner", move || {
        let inner = NestedSupervisor::new(Supervisor::builder());
        let _ = handles.send(inner.handle());
        inner
    });
    let supervisor = Supervisor::builder().child(inner).start().await.unwrap();
    let first = handle.recv().await.unwrap();
    let child = ChildSpec::task("child", |_cx| std::future::pending::<()>());
    let mut start = Box::pin(first.start_child(child));
    let waker = Waker::from(Arc::new(Panics));
    assert!(start.as_mut().poll(&mut task::Context::from_waker(&waker)).is_pending());
    assert!(matches!(first.wait().await, ExitReason::Killed));
    let second = handle.recv().await.unwrap();
    tokio::time::sleep(ms(1)).await;
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["inner#2 Running"]);
    assert_eq!((second.count_children().await.unwrap().specs, first.is_closed()), (0, true));
    supervisor.shutdown().await.unwrap();
}

struct Crashes(Arc<Notify>);

#[async_trait]
impl Child for Crashes {
    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        self.0.notified().await;
        Err("told to".into())
    }
}

/// A child that is killed before its next incarnation has begun does not begin, though it would on the task that runs the loop.
#[tokio::test(start_paused = true)]
async fn a_child_that_is_killed_before_it_begins() {
    let (crash, made) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let child = ChildSpec::new("a", {
        let (crash, made) = (crash.clone(), made.clone());
        move || {
            made.fetch_add(1, Ordering::Relaxed);
            Crashes(crash.clone())
        }
    });
    let kills = Arc::new(OnceLock::<SupervisorRef>::new());
    let observer = {
        let kills = kills.clone();
        move |note: &Note| {
            if let Note::Restarting { child, .. } = note {
                kills.get().unwrap().request_terminate_child(child.id.clone());
            }
        }
    };
    let supervisor = Supervisor::builder()
        .child(child.shutdown(Shutdown::BrutalKill))
        .observer(Arc::new(observer))
        .start()
        .await
        .unwrap();
    kills.set(supervisor.downgrade()).unwrap();
    tokio::time::sleep(ms(1)).await;
    crash.notify_one();
    tokio::time::sleep(ms(1)).await;
    assert_eq!(states(&supervisor.which_children().await.unwrap()), ["a#2 Undefined"]);
    assert_eq!(made.load(Ordering::Relaxed), 1);
    supervisor.shutdown().await.unwrap();
}

/// A child that is asked to stop by what its own start led to is not called to run.
#[tokio::test(start_paused = true)]
async fn a_stop_before_the_run_is_before_the_call() {
    let called = Arc::new(AtomicUsize::new(0));
    let own: Arc<OnceLock<SupervisorRef>> = Arc::default();
    let stops = own.clone();
    let observer = move |note: &Note| {
        if let (Note::Started(_), Some(supervisor)) = (note, stops.get()) {
            supervisor.request_shutdown(Cause::Requested(None));
        }
    };
    let supervisor = Supervisor::builder().observer(Arc::new(observer)).start().await.unwrap();
    let _ = own.set(supervisor.downgrade());
    let calls = called.clone();
    let child = ChildSpec::task("child", move |_cx| {
        calls.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<()>()
    });
    let _ = supervisor.start_child(child).await;
    supervisor.wait().await;
    assert_eq!(called.load(Ordering::Relaxed), 0);
}
