//! Calls that would wait for their own caller, in every form: refused at once. Those beside them that are no such thing: done.

mod support;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};

use ipa_supervisor::{
    BoxError, Cause, Child, ChildSpec, Context, DeleteChildError, DynamicSupervisor, Exit, Init,
    NestedSupervisor, RestartChildError, Shutdown, ShutdownError, StartChildError, StopMode, Supervisor,
    SupervisorRef, TerminateChildError, async_trait,
};
use support::ms;
use tokio::sync::oneshot;
use tokio::time::Instant;

type Job = Box<dyn FnOnce(Context) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A child that does one job in its `init`, `run` or `terminate`, once in all its incarnations, and then waits for its stop.
struct Doing {
    at: At,
    job: Arc<Mutex<Option<Job>>>,
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    Init,
    Run,
    Terminate,
}

impl Doing {
    async fn at(&self, at: At, cx: &Context) {
        let job = (self.at == at).then(|| self.job.lock().unwrap().take()).flatten();
        if let Some(job) = job {
            job(cx.clone()).await;
        }
    }
}

#[async_trait]
impl Child for Doing {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        self.at(At::Init, cx).await;
        Ok(Init::Ready)
    }
    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        self.at(At::Run, cx).await;
        std::future::pending().await
    }
    async fn terminate(&mut self, cx: &mut Context, _reason: &ipa_supervisor::ExitReason) {
        self.at(At::Terminate, cx).await;
    }
}

fn doing<F, Fut>(id: &'static str, at: At, job: F) -> (ChildSpec, oneshot::Receiver<()>)
where
    F: FnOnce(Context) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (done, is_done) = oneshot::channel();
    let job: Job = Box::new(move |cx| {
        Box::pin(async move {
            job(cx).await;
            let _ = done.send(());
        })
    });
    let job = Arc::new(Mutex::new(Some(job)));
    (ChildSpec::new(id, move || Doing { at, job: job.clone() }), is_done)
}

fn idle(id: &'static str) -> ChildSpec {
    ChildSpec::task(id, |cx| async move {
        cx.stopped().await;
    })
}

/// RT-20 a running child that stops itself or its supervisor is refused; what it asks of others is done.
#[tokio::test(start_paused = true)]
async fn from_run() {
    let (spec, done) = doing("a", At::Run, |cx| async move {
        let supervisor = cx.supervisor();
        assert!(supervisor.contains_caller());
        assert!(matches!(supervisor.terminate_child("a").await, Err(TerminateChildError::WouldDeadlock)));
        assert!(matches!(supervisor.shutdown().await, Err(ShutdownError::WouldDeadlock)));
        assert!(matches!(supervisor.restart_child("a").await, Err(RestartChildError::Running)));
        assert!(matches!(supervisor.delete_child("a").await, Err(DeleteChildError::Running)));
        let again = supervisor.start_child(idle("a")).await;
        assert!(matches!(again, Err(StartChildError::AlreadyStarted(_))));
        supervisor.terminate_child("sibling").await.unwrap();
        supervisor.delete_child("sibling").await.unwrap();
        assert!(supervisor.start_child(idle("new")).await.unwrap().child().is_some());
    });
    let supervisor = Supervisor::builder().children([idle("sibling"), spec]).start().await.unwrap();
    done.await.unwrap();
    assert!(!supervisor.contains_caller());
    supervisor.shutdown().await.unwrap();
}

/// RT-20 from an init of the initial start, what would queue behind that start is refused; a stop of who is up is not.
#[tokio::test(start_paused = true)]
async fn from_an_initial_init() {
    let (spec, done) = doing("b", At::Init, |cx| async move {
        let supervisor = cx.supervisor();
        let start = supervisor.start_child(idle("new")).await;
        assert!(matches!(start, Err(StartChildError::WouldDeadlock)));
        assert!(matches!(supervisor.restart_child("a").await, Err(RestartChildError::WouldDeadlock)));
        assert!(matches!(supervisor.delete_child("a").await, Err(DeleteChildError::WouldDeadlock)));
        assert!(matches!(supervisor.terminate_child("b").await, Err(TerminateChildError::WouldDeadlock)));
        assert!(matches!(supervisor.terminate_child("later").await, Err(TerminateChildError::WouldDeadlock)));
        assert!(matches!(supervisor.shutdown().await, Err(ShutdownError::WouldDeadlock)));
        assert_eq!(supervisor.count_children().await.unwrap().active, 1);
        supervisor.terminate_child("a").await.unwrap();
    });
    let supervisor = Supervisor::builder().children([idle("a"), spec, idle("later")]).start().await.unwrap();
    done.await.unwrap();
    supervisor.shutdown().await.unwrap();
}

/// RT-20 from an init that a caller asked for, further starts are done; what concerns itself is refused.
#[tokio::test(start_paused = true)]
async fn from_a_callers_init() {
    let (spec, done) = doing("a", At::Init, |cx| async move {
        let supervisor = cx.supervisor();
        assert!(supervisor.start_child(idle("new")).await.unwrap().child().is_some());
        assert!(matches!(supervisor.start_child(idle("a")).await, Err(StartChildError::WouldDeadlock)));
        assert!(matches!(supervisor.restart_child("a").await, Err(RestartChildError::WouldDeadlock)));
        assert!(matches!(supervisor.delete_child("a").await, Err(DeleteChildError::WouldDeadlock)));
        assert!(matches!(supervisor.terminate_child("a").await, Err(TerminateChildError::WouldDeadlock)));
    });
    let supervisor = Supervisor::builder().start().await.unwrap();
    assert!(supervisor.start_child(spec).await.unwrap().child().is_some());
    done.await.unwrap();
}

/// RT-20 from terminate: its own end, and that of its supervisor, are under way.
#[tokio::test(start_paused = true)]
async fn from_terminate() {
    let (spec, done) = doing("a", At::Terminate, |cx| async move {
        let supervisor = cx.supervisor();
        assert!(matches!(supervisor.terminate_child("a").await, Err(TerminateChildError::WouldDeadlock)));
        assert!(matches!(supervisor.restart_child("a").await, Err(RestartChildError::WouldDeadlock)));
        assert!(matches!(supervisor.start_child(idle("a")).await, Err(StartChildError::WouldDeadlock)));
        assert!(matches!(supervisor.shutdown().await, Err(ShutdownError::WouldDeadlock)));
    });
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    tokio::time::sleep(ms(1)).await;
    let begun = Instant::now();
    supervisor.terminate_child("a").await.unwrap();
    done.await.unwrap();
    assert_eq!(begun.elapsed(), ms(0));
}

/// RT-20 from deeper down: a leaf that stops the branch it is on, or the root, by their handles.
#[tokio::test(start_paused = true)]
async fn from_deeper_down() {
    let (outer_sent, outer) = oneshot::channel::<SupervisorRef>();
    let (leaf, done) = doing("leaf", At::Run, |cx| async move {
        let outer = outer.await.unwrap();
        assert!(outer.contains_caller());
        assert!(matches!(outer.shutdown().await, Err(ShutdownError::WouldDeadlock)));
        assert!(matches!(outer.terminate_child("inner").await, Err(TerminateChildError::WouldDeadlock)));
        assert!(matches!(cx.supervisor().shutdown().await, Err(ShutdownError::WouldDeadlock)));
        outer.terminate_child("beside").await.unwrap();
        assert!(outer.start_child(idle("new")).await.unwrap().child().is_some());
    });
    let leaf = Mutex::new(Some(leaf));
    let inner = ChildSpec::supervisor("inner", move || {
        Supervisor::builder().child(leaf.lock().unwrap().take().expect("started once"))
    });
    let supervisor = Supervisor::builder().children([idle("beside"), inner]).start().await.unwrap();
    let _ = outer_sent.send(supervisor.downgrade());
    done.await.unwrap();
    supervisor.shutdown().await.unwrap();
}

/// RT-20 a child may stop a branch that it is not on, and wait for it.
#[tokio::test(start_paused = true)]
async fn beside_is_not_within() {
    let nested = Arc::new(Mutex::new(None::<SupervisorRef>));
    let seen = nested.clone();
    let inner = ChildSpec::new("inner", move || {
        let inner = NestedSupervisor::new(Supervisor::builder().child(idle("x")));
        *seen.lock().unwrap() = Some(inner.handle());
        inner
    });
    let (spec, done) = doing("a", At::Run, move |_cx| async move {
        let inner = nested.lock().unwrap().clone().unwrap();
        assert!(!inner.contains_caller());
        inner.terminate_child("x").await.unwrap();
        inner.shutdown().await.unwrap();
    });
    let inner = inner.restart(ipa_supervisor::Restart::Transient);
    let supervisor = Supervisor::builder().children([inner, spec]).start().await.unwrap();
    done.await.unwrap();
    supervisor.shutdown().await.unwrap();
}

/// RT-20 of a dynamic supervisor: a child's own ref is refused, a sibling's is not.
#[tokio::test(start_paused = true)]
async fn in_a_dynamic_supervisor() {
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let weak = supervisor.downgrade();
    let sibling = supervisor.start_child(idle("sibling")).await.unwrap().child().unwrap();
    let (spec, done) = doing("a", At::Run, move |cx| async move {
        assert!(weak.is_within(cx.child()) && !weak.is_within(&sibling));
        let own = weak.terminate_child(cx.child()).await;
        assert!(matches!(own, Err(TerminateChildError::WouldDeadlock)));
        assert!(matches!(weak.shutdown().await, Err(ShutdownError::WouldDeadlock)));
        weak.terminate_child(&sibling).await.unwrap();
        weak.request_terminate_child(cx.child());
    });
    let _ = supervisor.start_child(spec).await.unwrap();
    done.await.unwrap();
    tokio::time::sleep(ms(1)).await;
    assert_eq!(supervisor.count_children().await.unwrap().specs, 0);
}

/// RT-20 what does not wait is carried out: a child asks for its own stop, and for that of its supervisor.
#[tokio::test(start_paused = true)]
async fn requests_do_not_wait() {
    let (spec, done) = doing("a", At::Run, |cx| async move {
        cx.supervisor().request_terminate_child("a");
    });
    let (other, other_done) = doing("b", At::Run, |cx| async move {
        tokio::time::sleep(ms(10)).await;
        cx.supervisor().request_shutdown(Cause::Own(Some("enough".into())));
    });
    let supervisor = Supervisor::builder().children([spec, other]).start().await.unwrap();
    done.await.unwrap();
    tokio::time::sleep(ms(1)).await;
    assert_eq!(supervisor.count_children().await.unwrap().active, 1);
    other_done.await.unwrap();
    assert_eq!(supervisor.wait().await.to_string(), "shutdown: enough");
}

/// RT-20 a task that a child spawned is nobody's: its call waits, and is bounded by the child's deadline all the same.
#[tokio::test(start_paused = true)]
async fn a_task_that_is_nobodys() {
    let spec = ChildSpec::task("a", |cx| async move {
        let supervisor = cx.supervisor();
        let task = tokio::spawn(async move {
            assert!(!supervisor.contains_caller());
            supervisor.terminate_child("a").await
        });
        // It waits for its own end by a detour, and would not stop by itself.
        let _ = task.await;
    })
    .stop_mode(StopMode::Cooperative)
    .shutdown(Shutdown::Timeout(ms(300)));
    let begun = Instant::now();
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    tokio::time::sleep(ms(1)).await;
    supervisor.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), ms(300));
}

/// RT-20 RT-05 what a child's blocking closure asks for is asked for by the child, and so is what a blocking child asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_code_that_blocks() {
    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let runtime = tokio::runtime::Handle::current();
    let spawns = ChildSpec::task("a", {
        let (answers, runtime) = (answers.clone(), runtime.clone());
        move |cx| {
            let (answers, runtime, supervisor) = (answers.clone(), runtime.clone(), cx.supervisor());
            async move {
                let asks = move || {
                    let _ = answers.send(runtime.block_on(supervisor.terminate_child("a")));
                };
                cx.spawn_blocking(asks).await.unwrap();
                cx.stopped().await;
            }
        }
    });
    let blocks = ChildSpec::blocking("b", move |cx| {
        let supervisor = cx.context().supervisor();
        let _ = answers.send(runtime.block_on(supervisor.terminate_child("b")));
        cx.stopped();
    });
    let supervisor = Supervisor::builder().child(spawns).child(blocks).start().await.unwrap();
    for _ in 0..2 {
        let answer = answered.recv().await.unwrap();
        assert!(matches!(answer, Err(TerminateChildError::WouldDeadlock)), "{answer:?}");
    }
    supervisor.shutdown().await.unwrap();
}

/// RT-20 an incarnation that goes on on the task of the one before it is within the same supervisors.
#[tokio::test(start_paused = true)]
async fn from_an_incarnation_on_the_same_task() {
    let outer = Arc::new(OnceLock::<SupervisorRef>::new());
    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    let leaf = ChildSpec::task("leaf", {
        let outer = outer.clone();
        move |cx| {
            let (outer, answers) = (outer.clone(), answers.clone());
            async move {
                tokio::task::yield_now().await;
                if cx.child().incarnation.0 < 3 {
                    return Err::<(), _>(std::io::Error::other("told to"));
                }
                let inner = cx.supervisor();
                let outer = outer.get().unwrap();
                assert!(inner.contains_caller() && outer.contains_caller());
                let of_inner = inner.terminate_child("leaf").await;
                let of_outer = outer.terminate_child("inner").await;
                let _ = answers.send((of_inner, of_outer));
                std::future::pending().await
            }
        }
    });
    let leaf = Arc::new(Mutex::new(Some(leaf)));
    let inner = ChildSpec::supervisor("inner", move || {
        Supervisor::builder().child(leaf.lock().unwrap().take().unwrap())
    });
    let supervisor = Supervisor::builder().child(inner).start().await.unwrap();
    outer.set(supervisor.downgrade()).unwrap();
    let (of_inner, of_outer) = answered.recv().await.unwrap();
    assert!(matches!(of_inner, Err(TerminateChildError::WouldDeadlock)), "{of_inner:?}");
    assert!(matches!(of_outer, Err(TerminateChildError::WouldDeadlock)), "{of_outer:?}");
    supervisor.shutdown().await.unwrap();
}

/// A handle knows which of its supervisor's children the current task belongs to.
#[tokio::test(start_paused = true)]
async fn a_handle_knows_whose_call_it_is() {
    let (tell, told) = oneshot::channel();
    let asks = ChildSpec::once("a", move |cx| async move {
        let supervisor = cx.supervisor();
        let sibling = supervisor.which_child("b").await.unwrap().unwrap().child;
        let _ = tell.send([cx.child(), &sibling].map(|child| supervisor.is_within(child)));
        cx.stopped().await;
    });
    let other = ChildSpec::task("b", |_cx| std::future::pending::<()>());
    let supervisor = Supervisor::builder().child(other).child(asks).start().await.unwrap();
    assert_eq!(told.await.unwrap(), [true, false]);
    let children = supervisor.which_children().await.unwrap();
    assert!(!children.iter().any(|row| supervisor.is_within(&row.child)), "nobody's");
    supervisor.shutdown().await.unwrap();
}
