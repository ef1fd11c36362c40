//! task-supervisor: a supervisor of four tasks for each pod. It has no registry, so a map of the user's own keeps the pods; children
//! have no names but those within their supervisor, and start and stop in no order. Its supervisor calls a task running before it is, so
//! each says itself when it is up. Beside it the same with what a pod has more: names for the children as well, and an order.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use task_supervisor::{CancellationToken, SupervisedTask, SupervisorBuilder, SupervisorHandle, TaskResult};
use tokio::sync::{Notify, oneshot};

use super::bare::{Name, Names};
use super::{CHILDREN, Pods};

/// A mailbox that costs nothing while it is empty, as the one written by hand has.
#[derive(Clone)]
struct Echo(Arc<Mailbox>);

struct Mailbox {
    /// Told when the task is up for the first time.
    up: Mutex<Option<oneshot::Sender<()>>>,
    queue: Mutex<Vec<(u64, oneshot::Sender<u64>)>>,
    wake: Notify,
}

impl Echo {
    fn new(up: oneshot::Sender<()>) -> Self {
        let (queue, wake) = (Mutex::default(), Notify::new());
        Self(Arc::new(Mailbox { up: Mutex::new(Some(up)), queue, wake }))
    }
}

impl SupervisedTask for Echo {
    async fn run(self, cancel: CancellationToken) -> TaskResult {
        if let Some(up) = self.0.up.lock().take() {
            let _ = up.send(());
        }
        loop {
            for (number, reply) in std::mem::take(&mut *self.0.queue.lock()) {
                let _ = reply.send(number);
            }
            if cancel.run_until_cancelled(self.0.wake.notified()).await.is_none() {
                return Ok(());
            }
        }
    }
}

#[derive(Clone)]
pub struct TaskSupervisor(Arc<Mutex<HashMap<String, SupervisorHandle>>>);

impl Pods for TaskSupervisor {
    async fn new() -> Self {
        Self(Arc::default())
    }

    async fn start(&self, id: String) {
        let (mut tasks, mut all_up) = (SupervisorBuilder::new(), Vec::with_capacity(CHILDREN.len()));
        for child in CHILDREN {
            let (up, is_up) = oneshot::channel();
            tasks = tasks.with_task(child, Echo::new(up));
            all_up.push(is_up);
        }
        let pod = tasks.spawn();
        for is_up in all_up {
            is_up.await.expect("the child comes up");
        }
        self.0.lock().insert(id, pod);
    }

    async fn stop(&self, id: String) {
        let pod = self.0.lock().remove(&id).expect("the pod runs");
        pod.shutdown().await.expect("the pod stops");
    }

    fn runs(&self, id: &str) -> bool {
        self.0.lock().contains_key(id)
    }

    fn count(&self) -> usize {
        self.0.lock().len()
    }
}

/// With names for the children, too, as the limit has them, started one after the other and stopped in reverse, each awaited.
#[derive(Clone)]
pub struct TaskSupervisorInOrder {
    pods: Arc<Names<Arc<str>, Arc<InOrder>>>,
    children: Arc<Names<ChildName, Arc<Mailbox>>>,
}

/// The pod's, and the child's in it.
type ChildName = (Arc<str>, &'static str);

struct InOrder {
    handle: SupervisorHandle,
    /// The pod's and its children's, from when all are up until it is stopped.
    names: Mutex<Option<(PodName, Vec<TakenName>)>>,
}

type PodName = Name<Arc<str>, Arc<InOrder>>;
type TakenName = Name<ChildName, Arc<Mailbox>>;

impl Pods for TaskSupervisorInOrder {
    async fn new() -> Self {
        Self { pods: Arc::new(Names::new()), children: Arc::new(Names::new()) }
    }

    async fn start(&self, id: String) {
        let id: Arc<str> = id.into();
        let pod = Arc::new(InOrder { handle: SupervisorBuilder::new().spawn(), names: Mutex::default() });
        let name = self.pods.take(id.clone(), pod.clone()).expect("the name is free");
        let mut names = Vec::with_capacity(CHILDREN.len());
        for child in CHILDREN {
            let (up, is_up) = oneshot::channel();
            let echo = Echo::new(up);
            names.push(self.children.take((id.clone(), child), echo.0.clone()).expect("the name is free"));
            pod.handle.add_task(child, echo).await.expect("the pod runs");
            is_up.await.expect("the child comes up");
        }
        *pod.names.lock() = Some((name, names));
    }

    async fn stop(&self, id: String) {
        let pod = self.pods.get(&*id).expect("the pod runs");
        let (name, mut names) = pod.names.lock().take().expect("all its children are up");
        for child in CHILDREN.into_iter().rev() {
            pod.handle.kill_task(child).await.expect("the child stops");
            drop(names.pop());
        }
        pod.handle.shutdown().await.expect("the pod stops");
        drop(name);
    }

    fn runs(&self, id: &str) -> bool {
        self.pods.get(id).is_some()
    }

    fn count(&self) -> usize {
        self.pods.count()
    }
}
