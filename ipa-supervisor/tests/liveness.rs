//! Health checks, scoped tasks, and children on threads of their own.

mod stage;

use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

use ipa_supervisor::{
    BoxError, Cause, ChildSpec, ChildState, Context, Flow, Note, Reply, Restart, RestartIntensity, Server,
    ServerContext, Shutdown, ShutdownError, StopMode, Supervisor, TerminateChildError, async_trait,
};
use stage::settle;
use tokio::time::{Instant, sleep};

/// A child that works and is silent for longer than it may is killed and restarted, as after a crash.
#[tokio::test(start_paused = true)]
async fn a_silent_worker_is_killed_and_restarted() {
    let runs = Arc::new(Mutex::new(Vec::new()));
    let spec = ChildSpec::task("w", {
        let runs = runs.clone();
        move |cx| {
            let runs = runs.clone();
            async move {
                runs.lock().unwrap().push(Instant::now());
                for _ in 0..5 {
                    sleep(Duration::from_millis(900)).await;
                    cx.working();
                }
                std::future::pending::<()>().await;
            }
        }
    });
    let supervisor = Supervisor::builder()
        .child(spec.restart(Restart::Transient).max_silence(Duration::from_secs(1)))
        .start()
        .await
        .unwrap();
    sleep(Duration::from_secs(6)).await;
    let child = supervisor.which_child("w").await.unwrap().unwrap();
    assert_eq!((child.state, child.restarts), (ChildState::Running, 1));
    let runs = runs.lock().unwrap().clone();
    assert_eq!(runs[1] - runs[0], Duration::from_millis(5500), "a second after it was last heard of");
}

/// Waiting is never silence, and where the spec asks for nothing, nothing is checked.
#[tokio::test(start_paused = true)]
async fn waiting_is_no_silence() {
    let waits = ChildSpec::task("waits", |cx| async move {
        cx.waiting();
        std::future::pending::<()>().await;
    });
    let unwatched = ChildSpec::task("unwatched", |_cx| std::future::pending::<()>());
    let mute = ChildSpec::task("mute", |_cx| std::future::pending::<()>());
    let supervisor = Supervisor::builder()
        .child(waits.max_silence(Duration::from_secs(1)))
        .child(unwatched)
        .child(mute.max_silence(Duration::from_secs(1000)))
        .start()
        .await
        .unwrap();
    sleep(Duration::from_secs(900)).await;
    assert!(supervisor.which_children().await.unwrap().iter().all(|child| child.restarts == 0));
    sleep(Duration::from_secs(101)).await;
    let restarts: Vec<u64> =
        supervisor.which_children().await.unwrap().iter().map(|child| child.restarts).collect();
    assert_eq!(restarts, [0, 0, 1], "one that says nothing is taken to be working");
}

/// A server works while it handles a message, and waits in between, without saying so itself.
#[tokio::test(start_paused = true)]
async fn a_server_is_watched_while_it_handles_a_message() {
    struct Sleeper;
    #[async_trait]
    impl Server for Sleeper {
        type Message = (Duration, Reply<()>);
        async fn handle(
            &mut self,
            (time, reply): Self::Message,
            _cx: &mut ServerContext<Self::Message>,
        ) -> Result<Flow, BoxError> {
            sleep(time).await;
            reply.send(());
            Ok(Flow::Continue)
        }
    }
    let (spec, address) = ChildSpec::server("s", || Sleeper);
    let supervisor =
        Supervisor::builder().child(spec.max_silence(Duration::from_secs(2))).start().await.unwrap();
    sleep(Duration::from_secs(60)).await;
    address.call(|reply| (Duration::from_secs(1), reply)).await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(supervisor.which_child("s").await.unwrap().unwrap().restarts, 0);
    let begun = Instant::now();
    address.call(|reply| (Duration::from_secs(4), reply)).await.unwrap_err();
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    settle().await;
    assert_eq!(supervisor.which_child("s").await.unwrap().unwrap().restarts, 1);
}

/// A silent child that is being stopped is not restarted when the kill for its silence comes through.
#[tokio::test(start_paused = true)]
async fn a_stop_beats_silence() {
    let spec = ChildSpec::task("w", |_cx| std::future::pending::<()>()).max_silence(Duration::from_secs(1));
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    sleep(Duration::from_millis(999)).await;
    supervisor.terminate_child("w").await.unwrap();
    sleep(Duration::from_secs(10)).await;
    let child = supervisor.which_child("w").await.unwrap().unwrap();
    assert_eq!((child.state, child.restarts), (ChildState::Undefined, 0));
}

/// RT-26 a scoped task ends with its child, and the child not before it.
#[tokio::test(start_paused = true)]
async fn a_scoped_task_ends_with_its_child() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let say = |log: &Arc<Mutex<Vec<&'static str>>>, line| log.lock().unwrap().push(line);
    struct OnDrop(Arc<Mutex<Vec<&'static str>>>, &'static str);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(self.1);
        }
    }
    let spec = ChildSpec::task("c", {
        let log = log.clone();
        move |cx| {
            let log = log.clone();
            async move {
                cx.lease().tie(OnDrop(log.clone(), "lease"));
                let dropped = OnDrop(log.clone(), "scoped task");
                cx.spawn(async move {
                    let _dropped = dropped;
                    std::future::pending::<()>().await;
                });
                let done = cx.spawn(async { 7 }).await.unwrap();
                assert_eq!(done, 7);
                let _child = OnDrop(log, "child");
                std::future::pending::<()>().await;
            }
        }
    });
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    settle().await;
    supervisor.shutdown().await.unwrap();
    say(&log, "stopped");
    assert_eq!(*log.lock().unwrap(), ["child", "scoped task", "lease", "stopped"]);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

/// RT-20 a scoped task belongs to its child: a stop of that child from there is refused rather than left to hang.
#[tokio::test(start_paused = true)]
async fn a_scoped_task_must_not_wait_for_its_own_child() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = Mutex::new(Some(tell));
    let spec = ChildSpec::task("c", move |cx| {
        let tell = tell.lock().unwrap().take();
        async move {
            let supervisor = cx.supervisor();
            cx.spawn(async move { tell.unwrap().send(supervisor.shutdown().await) });
            std::future::pending::<()>().await;
        }
    });
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    assert!(matches!(told.await.unwrap(), Err(ShutdownError::WouldDeadlock)));
    supervisor.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_child_stops_when_told_and_its_panic_is_a_crash() {
    let (tell, told) = mpsc::channel();
    let spec = ChildSpec::blocking("b", move |cx| {
        tell.send(cx.context().child().incarnation.0).unwrap();
        if cx.context().child().incarnation.0 == 1 {
            panic!("the first run fails");
        }
        cx.stopped();
        assert!(cx.is_stopped());
        tell.send(0).unwrap();
    });
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    let told = tokio::task::spawn_blocking(move || {
        assert_eq!((told.recv(), told.recv()), (Ok(1), Ok(2)));
        told
    });
    let told = told.await.unwrap();
    supervisor.shutdown().await.unwrap();
    assert_eq!(told.recv(), Ok(0), "the stop has waited for the thread");
}

/// RT-01 RT-04 a thread that does not stop makes its child stuck: it keeps its place, and is reaped when it ends at last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_child_that_does_not_stop_is_stuck() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let spec = ChildSpec::blocking("b", move |_cx| {
        let _ = released.lock().unwrap().recv();
    });
    let supervisor = Supervisor::builder()
        .child(spec.shutdown(Shutdown::Timeout(Duration::from_millis(20))))
        .kill_grace(Duration::from_millis(20))
        .start()
        .await
        .unwrap();
    let error = supervisor.terminate_child("b").await.unwrap_err();
    assert!(matches!(&error, TerminateChildError::Stuck(stuck) if stuck[0].0.id.as_str() == "b"), "{error}");
    assert_eq!(supervisor.which_child("b").await.unwrap().unwrap().state, ChildState::Stuck);
    assert!(supervisor.restart_child("b").await.is_err(), "never replaced while it may still run");
    assert!(matches!(supervisor.shutdown().await, Err(ShutdownError::Stuck(_))));
    drop(release);
    supervisor.wait().await;
}

/// RT-01 a child that blocks its thread as soon as it runs does not hold up the answer to its own start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_blocks_at_once_has_started() {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let spec = ChildSpec::task("b", move |_cx| {
        let released = released.clone();
        async move {
            let _ = released.lock().unwrap().recv();
        }
    });
    let start = Supervisor::builder().child(spec.restart(Restart::Transient)).start();
    let supervisor = tokio::spawn(start).await.unwrap().unwrap();
    assert_eq!(supervisor.count_children().await.unwrap().active, 1);
    drop(release);
    supervisor.shutdown().await.unwrap();
}

/// RT-01 nor does it hold up its supervisor when it is restarted and does the same again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_blocks_at_once_again_holds_up_nobody() {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let (runs, mut ran) = tokio::sync::mpsc::unbounded_channel();
    let spec = ChildSpec::task("b", move |_cx| {
        let (released, runs) = (released.clone(), runs.clone());
        async move {
            runs.send(()).unwrap();
            match released.lock().unwrap().recv() {
                Ok(()) => Err(BoxError::from("to be run again")),
                Err(_) => Ok(()),
            }
        }
    });
    let supervisor = tokio::spawn(Supervisor::builder().child(spec.restart(Restart::Transient)).start())
        .await
        .unwrap()
        .unwrap();
    ran.recv().await.unwrap();
    release.send(()).unwrap();
    ran.recv().await.unwrap();
    let child = supervisor.which_child("b").await.unwrap().unwrap();
    assert_eq!((child.state, child.restarts), (ChildState::Running, 1));
    drop(release);
    supervisor.shutdown().await.unwrap();
}

/// RT-01 nor does one that is to see to a stop by itself, is stopped as soon as it is up, and blocks before it looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_stopped_at_once_and_blocks_holds_up_nobody() {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let handle = Arc::new(std::sync::OnceLock::<ipa_supervisor::SupervisorRef>::new());
    let stop = {
        let handle = handle.clone();
        move |note: &Note| {
            if let (Note::Started(_), Some(handle)) = (note, handle.get()) {
                handle.request_shutdown(Cause::Requested(None));
            }
        }
    };
    let supervisor = Supervisor::builder().observer(Arc::new(stop)).start().await.unwrap();
    handle.set(supervisor.downgrade()).unwrap();
    let blocks = ChildSpec::task("b", move |cx| {
        let released = released.clone();
        async move {
            assert!(cx.is_stopped());
            let _ = released.lock().unwrap().recv();
        }
    });
    let blocks = blocks.stop_mode(StopMode::Cooperative);
    let start = supervisor.downgrade();
    let started = tokio::spawn(async move { start.start_child(blocks).await.map(|started| started.child()) });
    // By a worker that blocks it would never be.
    let started = tokio::time::timeout(Duration::from_secs(20), started).await;
    drop(release);
    assert!(started.unwrap().unwrap().unwrap().is_some());
    supervisor.wait().await;
}

/// RT-01 nor does a server that finds a message as soon as it runs, and blocks on it: it holds up neither its start nor, restarted again
/// and again, its supervisor; not either if it has awaited further messages before it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_blocks_on_its_first_message_holds_up_nobody() {
    struct Blocks(tokio::sync::mpsc::UnboundedSender<()>, Arc<Mutex<mpsc::Receiver<bool>>>);
    #[async_trait]
    impl Server for Blocks {
        type Message = ();
        async fn handle(&mut self, (): (), _cx: &mut ServerContext<()>) -> Result<Flow, BoxError> {
            self.0.send(()).unwrap();
            match self.1.lock().unwrap().recv() {
                Ok(true) => Err("to be run again".into()),
                Ok(false) | Err(_) => Ok(Flow::Continue),
            }
        }
    }
    let (release, released) = mpsc::channel::<bool>();
    let released = Arc::new(Mutex::new(released));
    let (runs, mut ran) = tokio::sync::mpsc::unbounded_channel();
    let (spec, address) = ChildSpec::server("b", move || Blocks(runs.clone(), released.clone()));
    // A deadline of each start wakes the supervisor's task, on the child's own worker.
    let spec = spec.restart(Restart::Transient).start_timeout(Duration::from_secs(30));
    // Its mailbox is open before its start is reported.
    let further = address.clone();
    let first = move |note: &Note| {
        if matches!(note, Note::Started(_)) {
            address.info(()).unwrap();
        }
    };
    let start = Supervisor::builder()
        .child(spec)
        .intensity(RestartIntensity::new(9, Duration::from_secs(1)))
        .observer(Arc::new(first))
        .start();
    let supervisor = tokio::spawn(start).await.unwrap().unwrap();
    for restarts in 0..6 {
        ran.recv().await.unwrap();
        let child = supervisor.which_child("b").await.unwrap().unwrap();
        assert_eq!((child.state, child.restarts), (ChildState::Running, restarts));
        for _ in 0..restarts {
            release.send(false).unwrap();
            // Answered while the server, in all likelihood, comes to wait for this.
            assert_eq!(supervisor.count_children().await.unwrap().active, 1);
            further.cast(()).await.unwrap();
            ran.recv().await.unwrap();
        }
        if restarts < 5 {
            release.send(true).unwrap();
        }
    }
    drop(release);
    supervisor.shutdown().await.unwrap();
}

/// RT-01 nor does one that is watched, whose word that it works wakes its supervisor on its own worker: it is found silent while it blocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_server_that_blocks_is_found_silent() {
    struct Blocks(Arc<Mutex<mpsc::Receiver<()>>>);
    #[async_trait]
    impl Server for Blocks {
        type Message = ();
        async fn handle(&mut self, (): (), _cx: &mut ServerContext<()>) -> Result<Flow, BoxError> {
            let _ = self.0.lock().unwrap().recv();
            Ok(Flow::Continue)
        }
    }
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let (spec, address) = ChildSpec::server("b", move || Blocks(released.clone()));
    let (silent, mut is_silent) = tokio::sync::mpsc::unbounded_channel();
    let notes = move |note: &Note| {
        if let Note::Silent(child) = note {
            silent.send(child.clone()).unwrap();
        }
    };
    let supervisor = Supervisor::builder()
        .child(spec.max_silence(Duration::from_millis(30)))
        .observer(Arc::new(notes))
        .start()
        .await
        .unwrap();
    address.cast(()).await.unwrap();
    assert_eq!(is_silent.recv().await.unwrap().to_string(), "b#1");
    assert_eq!(supervisor.count_children().await.unwrap().specs, 1);
    drop(release);
    supervisor.shutdown().await.unwrap();
}

/// RT-01 a child is polled when it is up until it is ready, and runs then; what panics, or stops it, in that wait ends it as it would in `run`.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_child_runs_when_it_is_ready() {
    type Log = Arc<Mutex<Vec<&'static str>>>;
    struct Waits(Log, tokio::sync::mpsc::UnboundedReceiver<bool>);
    #[async_trait]
    impl ipa_supervisor::Child for Waits {
        fn poll_ready(&mut self, _cx: &mut Context, task: &mut std::task::Context<'_>) -> Poll<()> {
            self.0.lock().unwrap().push("asked");
            match self.1.poll_recv(task) {
                Poll::Ready(Some(true)) => panic!("no answer"),
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            }
        }
        async fn run(&mut self, _cx: &mut Context) -> Result<ipa_supervisor::Exit, BoxError> {
            self.0.lock().unwrap().push("run");
            Ok(ipa_supervisor::Exit::Normal)
        }
        async fn terminate(&mut self, _cx: &mut Context, _reason: &ipa_supervisor::ExitReason) {
            self.0.lock().unwrap().push("terminate");
        }
    }
    let log = Log::default();
    let (notes, mut noted) = tokio::sync::mpsc::unbounded_channel();
    let exits = move |note: &Note| {
        if let Note::Exited { reason, .. } = note {
            notes.send(reason.to_string()).unwrap();
        }
    };
    let supervisor = Supervisor::builder().observer(Arc::new(exits)).start().await.unwrap();
    for (id, ends, calls) in [
        ("at once", Some((false, "normal")), vec!["asked", "run", "terminate"]),
        ("panics", Some((true, "panicked: no answer")), vec!["asked", "terminate"]),
        ("dropped", None, vec!["asked", "terminate"]),
        ("cooperative", None, vec!["asked", "run", "terminate"]),
    ] {
        let (say, said) = tokio::sync::mpsc::unbounded_channel();
        ends.iter().for_each(|(panics, _)| say.send(*panics).unwrap());
        let stop_mode = if id == "cooperative" { StopMode::Cooperative } else { StopMode::Drop };
        let waits = {
            let log = log.clone();
            ChildSpec::once_with(id, move || Waits(log, said)).stop_mode(stop_mode)
        };
        assert!(supervisor.start_child(waits).await.unwrap().child().is_some());
        match ends {
            Some((_, reason)) => assert_eq!(noted.recv().await.unwrap(), reason, "{id}"),
            None => {
                while log.lock().unwrap().is_empty() {
                    tokio::task::yield_now().await;
                }
                supervisor.terminate_child(id).await.unwrap();
            }
        }
        assert_eq!(std::mem::take(&mut *log.lock().unwrap()), calls, "{id}");
    }
    supervisor.shutdown().await.unwrap();
}

/// CR-02 silence is not looked at any more when `run` is over: `terminate` has its own time, and what has finished stays finished.
#[tokio::test(start_paused = true)]
async fn a_long_terminate_is_no_silence() {
    struct Slow(Arc<Mutex<Vec<&'static str>>>);
    #[async_trait]
    impl ipa_supervisor::Child for Slow {
        async fn run(&mut self, _cx: &mut ipa_supervisor::Context) -> Result<ipa_supervisor::Exit, BoxError> {
            self.0.lock().unwrap().push("run");
            Ok(ipa_supervisor::Exit::Normal)
        }
        async fn terminate(
            &mut self,
            cx: &mut ipa_supervisor::Context,
            _reason: &ipa_supervisor::ExitReason,
        ) {
            cx.working();
            sleep(Duration::from_secs(3)).await;
            self.0.lock().unwrap().push("terminated");
        }
    }
    let log = Arc::new(Mutex::new(Vec::new()));
    let spec = ChildSpec::new("s", {
        let log = log.clone();
        move || Slow(log.clone())
    });
    let spec = spec.restart(Restart::Transient).max_silence(Duration::from_secs(1));
    let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(*log.lock().unwrap(), ["run", "terminated"]);
    assert_eq!(supervisor.which_child("s").await.unwrap().unwrap().restarts, 0);
}

/// RT-16 a child that says in a tight loop that it is alive holds up no deadline of anybody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_never_stops_reporting_delays_nobody() {
    let talks = ChildSpec::blocking("talks", |cx| {
        while !cx.is_stopped() {
            cx.context().working();
        }
    });
    let deaf = ChildSpec::task("deaf", |cx| async move {
        cx.stopped().await;
        std::future::pending::<()>().await;
    });
    let deaf = deaf.stop_mode(ipa_supervisor::StopMode::Cooperative);
    let supervisor = Supervisor::builder()
        .child(talks.max_silence(Duration::from_secs(60)))
        .child(deaf.shutdown(Shutdown::Timeout(Duration::from_millis(50))))
        .start()
        .await
        .unwrap();
    let stopped = tokio::time::timeout(Duration::from_secs(20), supervisor.terminate_child("deaf")).await;
    stopped.expect("its deadline comes").unwrap();
    supervisor.shutdown().await.unwrap();
}

/// RT-16 however many requests are queued, a deadline that has come is seen before them.
#[tokio::test(start_paused = true)]
async fn a_long_queue_holds_up_no_deadline() {
    let noted = Arc::new(Mutex::new(Vec::new()));
    let mute = ChildSpec::task("mute", |_cx| std::future::pending::<()>());
    let supervisor = Supervisor::builder()
        .child(mute.restart(Restart::Temporary).max_silence(Duration::from_secs(1)))
        .observer({
            let noted = noted.clone();
            Arc::new(move |note: &Note| noted.lock().unwrap().push(note.clone()))
        })
        .start()
        .await
        .unwrap();
    // Many more than the loop takes in one turn.
    for _ in 0..10_000 {
        supervisor.request_terminate_child("nobody");
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    let noted = noted.lock().unwrap();
    assert!(matches!(noted.last(), Some(Note::Silent(_))), "{noted:?}");
}

/// However many requests are queued, the loop lets others have their turn.
#[tokio::test]
async fn a_long_queue_lets_others_run() {
    let supervisor = Supervisor::builder().start().await.unwrap();
    for _ in 0..10_000 {
        supervisor.request_terminate_child("nobody");
    }
    supervisor.request_shutdown(Cause::Requested(None));
    let handle = supervisor.downgrade();
    let closed_by_then = tokio::spawn(async move { handle.is_closed() });
    assert!(!closed_by_then.await.unwrap(), "the loop took all of it in one turn");
    supervisor.wait().await;
}

/// CS-10 a silence of no length is refused before anything starts.
#[tokio::test(start_paused = true)]
async fn a_silence_of_no_length_is_refused() {
    let spec = ChildSpec::task("s", |_cx| async {}).max_silence(Duration::ZERO);
    let error = Supervisor::builder().child(spec).start().await.unwrap_err();
    assert!(error.to_string().contains("`max_silence` of child `s` is zero"), "{error}");
}
