//! An actor as a child of a pod: the pod lives by the actor's life, and not by its task's.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use foreign_actor::{ActorAddress, ActorChild, ActorEnded};
use ipa_eventstore::{EventStore, InMemoryEventStore, StreamId, StreamType};
use ipa_pod::{PodEvent, PodScope, PodSpec, PodStatus, PodSupervisor, StartPodError, StopPodError};
use ipa_registry::Event;
use ipa_supervisor::{
    BoxError, ChildRef, ChildSpec, Directory, Entry, ExitReason, Note, Shutdown, Supervisor,
};
use kameo::actor::{Actor, ActorRef, WeakActorRef};
use kameo::error::{ActorStopReason, PanicError, SendError};
use kameo::message::{Context, Message};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

/// What an actor is given: its name, where it says what it does, and the gate that its `on_stop` waits at.
#[derive(Clone)]
struct Stage {
    says: UnboundedSender<String>,
    gate: watch::Sender<bool>,
    /// Whether `on_start` fails.
    fails: bool,
}

struct Puppet {
    name: &'static str,
    stage: Stage,
}

impl Puppet {
    fn say(&self, what: &str) {
        let _ = self.stage.says.send(format!("{} {what}", self.name));
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.say("dropped");
    }
}

impl Actor for Puppet {
    type Args = (&'static str, Stage);
    type Error = String;
    async fn on_start((name, stage): Self::Args, _: ActorRef<Self>) -> Result<Self, String> {
        if stage.fails {
            return Err("no strings".into());
        }
        let puppet = Self { name, stage };
        puppet.say("started");
        Ok(puppet)
    }
    async fn on_stop(&mut self, _: WeakActorRef<Self>, _: ActorStopReason) -> Result<(), String> {
        self.say("stopping");
        let _ = self.stage.gate.subscribe().wait_for(|open| *open).await;
        self.say("stopped");
        Ok(())
    }
}

enum Do {
    Say(&'static str),
    Panic,
    /// Waits until the sender is dropped.
    Wait(oneshot::Receiver<()>),
    /// Blocks the thread until the sender is dropped, saying so first.
    Block(mpsc::Receiver<()>),
}

impl Message<Do> for Puppet {
    type Reply = ();
    async fn handle(&mut self, message: Do, _: &mut Context<Self, ()>) {
        match message {
            Do::Say(what) => self.say(what),
            Do::Panic => panic!("a string broke"),
            Do::Wait(until) => {
                let _ = until.await;
                self.say("waited");
            }
            Do::Block(until) => {
                // In place: whoever waits for its turn on this worker goes on elsewhere.
                tokio::task::block_in_place(|| {
                    self.say("blocking");
                    let _ = until.recv();
                });
            }
        }
    }
}

impl Stage {
    fn new(gate: bool) -> (Self, UnboundedReceiver<String>) {
        let (says, said) = unbounded_channel();
        (Self { says, gate: watch::Sender::new(gate), fails: false }, said)
    }
    fn puppet(&self, name: &'static str) -> ChildSpec {
        let stage = self.clone();
        ActorChild::<Puppet>::new(move || (name, stage.clone())).spec(name)
    }
}

/// Pods over a store that has the stream of task `t`.
async fn pods(
    spec: impl Fn(&PodScope) -> Result<PodSpec, BoxError> + Send + Sync + 'static,
) -> PodSupervisor {
    let store = InMemoryEventStore::new();
    let stream = StreamId::new("t").unwrap();
    store.start_stream(&StreamType::new("test").unwrap(), Some(stream), vec![]).await.unwrap();
    PodSupervisor::builder(store, spec).start().await.unwrap()
}

fn drain(said: &mut UnboundedReceiver<String>) -> Vec<String> {
    std::iter::from_fn(|| said.try_recv().ok()).collect()
}

/// What is said next. An actor that is never heard of fails the test, instead of holding it up.
async fn next(said: &mut UnboundedReceiver<String>) -> String {
    let next = tokio::time::timeout(Duration::from_secs(30), said.recv()).await;
    next.expect("something is said").expect("the stage is there")
}

#[tokio::test]
async fn the_key_is_free_when_the_actor_has_ended() {
    let (stage, mut said) = Stage::new(false);
    let (gate, shutdown) = (stage.gate.clone(), Shutdown::Timeout(Duration::from_secs(60)));
    let pods = pods(move |_: &_| {
        Ok(PodSpec::new()
            .child(stage.puppet("a").shutdown(shutdown))
            .shutdown_timeout(Duration::from_secs(60)))
    })
    .await;
    pods.start_pod("t").await.unwrap();
    let mut stop = Box::pin(pods.stop_pod("t"));
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "a stopping") {
        tokio::select! {
            biased;
            stopped = &mut stop => panic!("the stop was answered before the actor had ended: {stopped:?}"),
            said = next(&mut said) => heard.push(said),
        }
    }
    assert_eq!(heard, ["a started", "a stopping"]);
    let refused = pods.start_pod("t").await;
    assert!(
        matches!(&refused, Err(StartPodError::AlreadyStarted { status: PodStatus::Stopping, .. })),
        "{refused:?}"
    );

    gate.send_replace(true);
    stop.await.unwrap();
    assert_eq!(drain(&mut said), ["a stopped", "a dropped"], "all of it before the stop is answered");
    pods.start_pod("t").await.unwrap();
    pods.shutdown().await.unwrap();
}

/// A crash while it does so is what the child ended with, as in OTP.
#[tokio::test(start_paused = true)]
async fn a_stop_lets_the_actor_handle_what_is_queued() {
    for crash in [false, true] {
        let (stage, mut said) = Stage::new(true);
        let (notes, noted) = mpsc::channel();
        let published = Published::default();
        let supervisor = Supervisor::builder()
            .child(stage.puppet("a"))
            .directory(Arc::new(published.clone()))
            .observer(Arc::new(move |note: &Note| {
                if let Note::ShutdownError(child, reason) = note {
                    notes.send(format!("{}: {reason}", child.id)).unwrap();
                }
            }))
            .start()
            .await
            .unwrap();
        let actor = published.0.lock().unwrap().take().unwrap();
        let (release, until) = oneshot::channel();
        actor.tell(Do::Wait(until)).await.unwrap();
        actor.tell(if crash { Do::Panic } else { Do::Say("last words") }).await.unwrap();
        let mut stop = Box::pin(supervisor.shutdown());
        tokio::select! {
            biased;
            _ = &mut stop => panic!("the stop was answered while the actor had work to do"),
            // The clock is paused: it moves when all has come to rest.
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
        assert!(!actor.is_alive(), "it has been asked to stop, and takes no more");
        drop(release);
        stop.await.unwrap();
        let mut expected =
            vec!["a started", "a waited", "a last words", "a stopping", "a stopped", "a dropped"];
        let mut ends = vec![];
        if crash {
            expected.retain(|line| !line.ends_with("words"));
            ends.push("a: panicked: message handler panicked: a string broke");
        }
        assert_eq!(drain(&mut said), expected);
        assert_eq!(noted.try_iter().collect::<Vec<_>>(), ends);
    }
}

/// What the one child of a plain supervisor has published.
#[derive(Clone, Default)]
struct Published(Arc<Mutex<Option<ActorRef<Puppet>>>>);

impl Directory for Published {
    fn enter(&self, _: &ChildRef) -> Result<Arc<dyn Entry>, BoxError> {
        Ok(Arc::new(self.clone()))
    }
}

impl Entry for Published {
    fn publish(&self, address: ipa_supervisor::Published) {
        *self.0.lock().unwrap() = address.get();
    }
}

#[tokio::test]
async fn a_crash_is_the_child_s_and_the_address_leads_to_the_successor() {
    let (stage, mut said) = Stage::new(true);
    let address = Arc::new(Mutex::new(None));
    let told = address.clone();
    let pods = pods(move |scope: &PodScope| {
        *told.lock().unwrap() = Some(ActorAddress::<Puppet>::new(scope, "a"));
        Ok(PodSpec::new().child(stage.puppet("a")))
    })
    .await;
    let (mut events, mut children) = (pods.subscribe(), pods.registry().children().subscribe());
    let pod = pods.start_pod("t").await.unwrap();
    let address = address.lock().unwrap().take().unwrap();
    let first = address.actor().unwrap();

    assert_eq!(drain(&mut said), ["a started"]);
    for (n, crash) in [(1, true), (2, false)] {
        match crash {
            true => address.actor().unwrap().tell(Do::Panic).await.unwrap(),
            false => address.actor().unwrap().kill(),
        }
        let reason = loop {
            if let PodEvent::ChildRestarted { reason, .. } = events.recv().await.unwrap() {
                break reason;
            }
        };
        let ExitReason::Failed(error) = reason else { panic!("{reason}") };
        match crash {
            true => {
                let error = error.downcast_ref::<PanicError>().unwrap();
                assert_eq!(error.to_string(), "message handler panicked: a string broke");
            }
            false => {
                let ActorEnded(reason) = error.downcast_ref().unwrap();
                assert!(matches!(reason, ActorStopReason::Killed), "{reason}");
            }
        }
        // The successor is up when its address is published.
        loop {
            if let Event::Updated { value, .. } = children.recv().await.unwrap()
                && value.incarnation.0 == n + 1
            {
                break;
            }
        }
        assert_eq!(
            drain(&mut said),
            ["a stopping", "a stopped", "a dropped", "a started"],
            "incarnation {n}"
        );
    }
    assert_ne!(first.id(), address.actor().unwrap().id());
    assert!(matches!(first.tell(Do::Panic).await, Err(SendError::ActorNotRunning(_))));
    assert_eq!(pod.restarts(), 2);
    pods.shutdown().await.unwrap();
    assert!(address.actor().is_err());
}

#[tokio::test]
async fn actors_start_in_order_and_stop_in_reverse() {
    let (stage, mut said) = Stage::new(true);
    let pods =
        pods(move |_: &_| Ok(PodSpec::new().children(["a", "b"].map(|name| stage.puppet(name))))).await;
    pods.start_pod("t").await.unwrap();
    assert_eq!(drain(&mut said), ["a started", "b started"]);
    pods.stop_pod("t").await.unwrap();
    let stop = ["b stopping", "b stopped", "b dropped", "a stopping", "a stopped", "a dropped"];
    assert_eq!(drain(&mut said), stop);
    pods.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_actor_that_does_not_start_fails_the_start_with_its_error() {
    let (mut stage, mut said) = Stage::new(true);
    let good = stage.clone();
    stage.fails = true;
    let pods = pods(move |_: &_| Ok(PodSpec::new().child(good.puppet("a")).child(stage.puppet("b")))).await;
    let Err(StartPodError::ChildFailed { failure, .. }) = pods.start_pod("t").await else {
        panic!("b fails")
    };
    let error = failure.reason.source().and_then(|error| error.downcast_ref::<PanicError>()).unwrap();
    assert_eq!((failure.child.as_str(), error.downcast::<String>().as_deref()), ("b", Some("no strings")));
    assert_eq!(drain(&mut said), ["a started", "a stopping", "a stopped", "a dropped"], "rolled back");
    assert_eq!(pods.count_pods(), 0);
    pods.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_kill_drops_the_actor_without_its_on_stop_and_a_deadline_cuts_it_short() {
    let limit = Duration::from_secs(3);
    let cases = [
        (Shutdown::BrutalKill, Duration::ZERO, vec!["a started", "a dropped"]),
        (Shutdown::Timeout(limit), limit, vec!["a started", "a stopping", "a dropped"]),
    ];
    for (shutdown, takes, expected) in cases {
        let (stage, mut said) = Stage::new(false);
        let pods = pods(move |_: &_| Ok(PodSpec::new().child(stage.puppet("a").shutdown(shutdown)))).await;
        pods.start_pod("t").await.unwrap();
        let began = tokio::time::Instant::now();
        pods.stop_pod("t").await.unwrap();
        assert_eq!(drain(&mut said), expected);
        assert_eq!(began.elapsed().as_secs(), takes.as_secs());
        pods.start_pod("t").await.unwrap();
        pods.shutdown().await.unwrap();
    }
}

/// The child's task is gone at once; the actor, on a thread that it blocks, is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_killed_actor_that_blocks_its_thread_keeps_the_key_until_it_has_ended() {
    let (stage, mut said) = Stage::new(false);
    let pods = pods(move |_: &_| {
        Ok(PodSpec::new()
            .child(stage.puppet("a").shutdown(Shutdown::BrutalKill))
            .kill_grace(Duration::from_millis(1)))
    })
    .await;
    let pod = pods.start_pod("t").await.unwrap();
    let (release, until) = mpsc::channel();
    pod.find::<ActorRef<Puppet>>("a").unwrap().tell(Do::Block(until)).await.unwrap();
    assert_eq!([next(&mut said).await, next(&mut said).await], ["a started", "a blocking"]);

    let Err(StopPodError::Stuck { children, .. }) = pods.stop_pod("t").await else { panic!("it blocks") };
    assert_eq!(children.iter().map(|child| child.id.as_str()).collect::<Vec<_>>(), ["a"]);
    let refused = pods.start_pod("t").await;
    assert!(
        matches!(&refused, Err(StartPodError::AlreadyStarted { status: PodStatus::Stuck, .. })),
        "{refused:?}"
    );
    assert_eq!(drain(&mut said), [""; 0]);

    // It runs on until it waits for something: its mailbox or, if it has found that closed already, the gate in its `on_stop`.
    drop(release);
    pod.wait().await;
    let mut last = drain(&mut said);
    last.retain(|line| line != "a stopping");
    assert_eq!(last, ["a dropped"], "before the pod has ended");
    pods.start_pod("t").await.unwrap();
    pods.shutdown().await.unwrap();
}
