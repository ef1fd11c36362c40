//! Those who do everything at random: each a task that picks a pod and something to do with it, again and again.
//!
//! What a call may answer is known: anything that the state of things cannot explain is a check that does not hold. Several of them may
//! be at the same pod at once, and some calls are dropped half way. Only a task's stream comes and goes while nobody else is at it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ipa_eventstore::{ReplayError, StoreError};
use ipa_pod::{PodRef, PodSupervisorRef, RestartPodError, StartPodError, StopPodError};
use ipa_supervisor::{Address, StartFailure};
use tokio::sync::{RwLock, watch};

use super::pod::{Lever, Order};
use super::witness::CHILDREN;
use super::world::{Task, World};
use crate::random::Random;

mod children;
pub mod events;

pub const ANSWERED: &str = "every call is answered";
pub const DONE: &str = "Ok means done";
pub const EXPLAINED: &str = "every error is explained";

/// How long any call may take before it is taken not to be answered at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to think between two actions, on average.
const THINK: Duration = Duration::from_millis(10);

/// How many children block a thread at once, at most.
const BLOCKING: i64 = 6;

/// Whether a child did not start because it could not read its stream.
fn store_failed(failure: &StartFailure) -> bool {
    let source = failure.reason.source().and_then(|source| source.downcast_ref::<ReplayError>());
    matches!(source, Some(ReplayError::Store(StoreError::Unavailable(_))))
}

/// See the module.
pub struct Driver {
    pub world: Arc<World>,
    pub pods: PodSupervisorRef,
    pub random: Random,
    /// Held for reading while something is done; whoever holds it for writing has a quiet moment.
    pub gate: Arc<RwLock<()>>,
}

impl Driver {
    /// Acts until it is told to stop.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let think = self.random.between(Duration::ZERO, 2 * THINK);
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(think) => {}
            }
            let gate = self.gate.clone();
            let _acting = gate.read().await;
            self.act().await;
        }
    }

    /// Has the task's stream made, if there is none, and its pod started.
    pub async fn begin(&mut self, task: &Task) {
        if task.stream_stands.read().await.is_none() {
            self.renew(task).await;
        }
        self.start(task).await;
    }

    async fn act(&mut self) {
        let world = self.world.clone();
        let task = &world.tasks[self.random.index(world.tasks.len())];
        match self.random.below(100) {
            0..=34 => self.command(task).await,
            35..=44 => self.start_another(task).await,
            45..=46 => self.start(task).await,
            47..=51 => self.stop(task).await,
            52..=55 => self.restart(task).await,
            56..=59 => self.get_or_start(task).await,
            60..=68 => self.order(task),
            69 => self.order_again_and_again(task).await,
            70 => self.revoke(task),
            71..=73 => self.start_child(task).await,
            74..=76 => self.terminate_child(task).await,
            77..=79 => self.restart_child(task).await,
            80..=81 => self.delete_child(task).await,
            82..=83 => self.nested(task).await,
            84..=88 => self.drop_a_call(task).await,
            89..=93 => self.replay(task).await,
            94..=95 => self.renew(task).await,
            96 => self.look_around(task).await,
            97 => self.ask(task),
            _ => self.hold_a_thread(task).await,
        }
    }

    /// Starts the pod of a task that has none, if one is found soon: so that there are many.
    async fn start_another(&mut self, task: &Task) {
        let world = self.world.clone();
        let others = (0..8).map(|_| &world.tasks[self.random.index(world.tasks.len())]);
        let without = others.into_iter().find(|task| !self.pods.pod_running(&task.id));
        self.start(without.unwrap_or(task)).await;
    }

    /// Starts the task's pod.
    async fn start(&mut self, task: &Task) {
        let stands = task.stream_stands.read().await;
        let Some(started) = self.answered("start", self.pods.start_pod(&task.id)).await else { return };
        match started {
            Ok(pod) => {
                self.world.tally.count("pods started");
                self.is_of(task, &pod, stands.is_some());
            }
            Err(error) => self.explained(task, stands.is_some(), &error),
        }
    }

    async fn get_or_start(&mut self, task: &Task) {
        let stands = task.stream_stands.read().await;
        let Some(got) = self.answered("get or start", self.pods.get_or_start(&task.id)).await else { return };
        match got {
            Ok(pod) => self.is_of(task, &pod, stands.is_some()),
            Err(error) => self.explained(task, stands.is_some(), &error),
        }
    }

    async fn stop(&mut self, task: &Task) {
        let _stands = task.stream_stands.read().await;
        let before = task.witness.pod();
        let Some(stopped) = self.answered("stop", self.pods.stop_pod_with(&task.id, "the soak")).await else {
            return;
        };
        match stopped {
            Ok(()) => {
                self.world.tally.count("pods stopped");
                self.is_gone(task, before, "stop");
            }
            Err(StopPodError::NotRunning(_)) => {}
            Err(StopPodError::Stuck { .. }) => self.world.tally.count("stops answered with stuck"),
            Err(error) => self.unexplained(task, "stop", &error),
        }
    }

    async fn restart(&mut self, task: &Task) {
        let stands = task.stream_stands.read().await;
        let before = task.witness.pod();
        let Some(restarted) = self.answered("restart", self.pods.restart_pod(&task.id)).await else { return };
        match restarted {
            Ok(pod) => {
                self.world.tally.count("pods restarted");
                self.is_gone(task, before, "restart");
                self.is_of(task, &pod, stands.is_some());
            }
            Err(RestartPodError::Stop(StopPodError::Stuck { .. })) => {
                self.world.tally.count("stops answered with stuck");
            }
            Err(RestartPodError::Start(error)) => self.explained(task, stands.is_some(), &error),
            Err(error) => self.unexplained(task, "restart", &error),
        }
    }

    /// Makes a call and goes away before it is answered; it goes on to one of its proper ends.
    async fn drop_a_call(&mut self, task: &Task) {
        let _stands = task.stream_stands.read().await;
        let patience = self.random.between(Duration::ZERO, Duration::from_millis(3));
        let (pods, id) = (&self.pods, &task.id);
        let answered = match self.random.below(3) {
            0 => tokio::time::timeout(patience, pods.start_pod(id)).await.is_ok(),
            1 => tokio::time::timeout(patience, pods.stop_pod(id)).await.is_ok(),
            _ => tokio::time::timeout(patience, pods.restart_pod(id)).await.is_ok(),
        };
        if !answered {
            self.world.tally.count("calls dropped");
        }
    }

    /// Orders a child to end in some way.
    fn order(&mut self, task: &Task) {
        let (order, name) = match self.random.below(8) {
            0..=2 => (Order::Fail, "crashes by error"),
            3..=5 => (Order::Panic, "crashes by panic"),
            6 => (Order::FallSilent, "crashes by abort"),
            _ => (Order::Finish, "ends without a fault"),
        };
        if self.give(task, order) {
            self.world.tally.count(name);
        }
    }

    /// So often that the pod gives up.
    async fn order_again_and_again(&mut self, task: &Task) {
        let Ok(pod) = self.pods.get_pod(&task.id) else { return };
        for _ in 0..8 {
            if let Ok(lever) = pod.find::<Lever>("worker") {
                lever.pull(Order::Panic);
                self.world.tally.count("crashes by panic");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Has a child hold a thread beyond all deadlines, and then stops its pod.
    async fn hold_a_thread(&mut self, task: &Task) {
        if self.world.blocking.load(Ordering::SeqCst) >= BLOCKING {
            return;
        }
        let order = if self.random.once_in(2) { Order::Block } else { Order::BlockElsewhere };
        if !self.give(task, order) {
            return;
        }
        self.world.tally.count("children told to hold a thread");
        tokio::time::sleep(Duration::from_millis(20)).await;
        match self.random.below(3) {
            0 => self.stop(task).await,
            1 => self.restart(task).await,
            _ => self.terminate_child(task).await,
        }
    }

    /// Gives a child of the pod an order; answers whether it could.
    fn give(&mut self, task: &Task, order: Order) -> bool {
        let Ok(pod) = self.pods.get_pod(&task.id) else { return false };
        // Not every pod has every child.
        (0..4).any(|_| match CHILDREN[self.random.index(CHILDREN.len())] {
            "server" => {
                pod.address::<Order>("server").is_ok_and(|server: Address<Order>| server.info(order).is_ok())
            }
            child => pod.find::<Lever>(child).map(|lever| lever.pull(order)).is_ok(),
        })
    }

    fn revoke(&mut self, task: &Task) {
        if task.witness.revoke() {
            self.world.tally.count("permits revoked");
        }
    }

    fn ask(&mut self, task: &Task) {
        if let Ok(pod) = self.pods.get_pod(&task.id) {
            pod.request_stop("asked without waiting");
            self.world.tally.count("stops requested");
        }
    }

    async fn look_around(&mut self, task: &Task) {
        let count = self.pods.count_pods();
        let most = self.world.tasks.len();
        self.world.check("listings are sound", count <= most, || format!("{count} pods of {most} tasks"));
        let listed = self.pods.list_pods();
        let (listed, mut tasks) = (listed.len(), listed.into_iter().map(|pod| pod.task).collect::<Vec<_>>());
        tasks.sort_unstable();
        tasks.dedup();
        self.world.check("listings are sound", tasks.len() == listed, || "a task is listed twice".into());
        self.leads_to_the_living(task);
    }

    /// A key never leads to a pod that has ended: were the pod that it leads to gone, the next look would find another or none.
    fn leads_to_the_living(&self, task: &Task) {
        if let Ok(pod) = self.pods.get_pod(&task.id)
            && pod.has_ended()
        {
            let again = self.pods.get_pod(&task.id);
            self.world.check("no key without an owner", again != Ok(pod), || {
                format!("{}: its key leads to a pod that has ended", task.id)
            });
        } else {
            self.world.check("no key without an owner", true, String::new);
        }
    }

    fn is_of(&self, task: &Task, pod: &PodRef, stands: bool) {
        self.world.check(EXPLAINED, stands, || format!("{}: its pod was started without a stream", task.id));
        self.world.check(DONE, *pod.task() == task.id, || {
            format!("{}: it was given the pod of {}", task.id, pod.task())
        });
    }

    /// The pod that lived before a stop has gone when the stop is answered.
    fn is_gone(&self, task: &Task, before: u64, call: &str) {
        let now = task.witness.pod();
        self.world.check(DONE, before == 0 || before != now, || {
            format!(
                "{}: a {call} was answered with Ok, and pod {before}, which lived before it, lives on",
                task.id
            )
        });
    }

    /// Whether what became of a start has a reason.
    fn explained(&self, task: &Task, stands: bool, error: &StartPodError) {
        let name = match error {
            StartPodError::AlreadyStarted { .. } => "starts refused: one is there",
            StartPodError::Unavailable { .. } => "starts failed: store",
            StartPodError::Ended { .. } => "starts overtaken by a stop",
            StartPodError::TimedOut { .. } => "starts timed out",
            StartPodError::Stuck { .. } => "starts stuck",
            StartPodError::StreamNotFound(_) if !stands => "starts refused: no stream",
            StartPodError::ChildFailed { failure, .. } if store_failed(failure) => "starts failed: store",
            error => return self.unexplained(task, "start", error),
        };
        self.world.tally.count(name);
        self.world.check(EXPLAINED, true, String::new);
    }

    fn unexplained(&self, task: &Task, call: &str, error: &dyn std::error::Error) {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        self.world.check(EXPLAINED, false, || format!("{}: {call} was answered with: {text}", task.id));
    }

    /// The answer, if there is one in any reasonable time.
    async fn answered<T>(&self, name: &'static str, call: impl Future<Output = T>) -> Option<T> {
        let begun = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, call).await.ok();
        self.world.tally.took(name, begun.elapsed());
        self.world.check(ANSWERED, answer.is_some(), || format!("a {name} has no answer after {PATIENCE:?}"));
        answer
    }
}
