//! task-supervisor: a supervisor of four tasks for each pod. It has no registry, so a map of the user's own keeps the pods; children
//! have no names but those within their supervisor, and start and stop in no order. Its supervisor calls a task running before it is, so
//! each says itself when it is up. Beside it the same with what a pod has more: names for the children as well, and an order.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use task_supervisor::{CancellationToken, SupervisedTask, SupervisorBuilder, SupervisorHandle, TaskResult};
use tokio::sync::{Notify, oneshot};

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

/// With names for the children, too, started one after the other and stopped in reverse, each awaited.
#[derive(Clone, Default)]
pub struct TaskSupervisorInOrder(Arc<InOrder>);

/// The pod's, and the child's in it.
type Name = (Arc<str>, &'static str);

#[derive(Default)]
struct InOrder {
    pods: Mutex<HashMap<String, SupervisorHandle>>,
    children: Mutex<HashMap<Name, Arc<Mailbox>>>,
}

impl Pods for TaskSupervisorInOrder {
    async fn new() -> Self {
        Self::default()
    }

    async fn start(&self, id: String) {
        let (pod, pod_id) = (SupervisorBuilder::new().spawn(), Arc::<str>::from(id.as_str()));
        for child in CHILDREN {
            let (up, is_up) = oneshot::channel();
            let echo = Echo::new(up);
            let address = echo.0.clone();
            pod.add_task(child, echo).await.expect("the pod runs");
            is_up.await.expect("the child comes up");
            self.0.children.lock().insert((pod_id.clone(), child), address);
        }
        self.0.pods.lock().insert(id, pod);
    }

    async fn stop(&self, id: String) {
        let (pod, pod_id) = (self.0.pods.lock().remove(&id), Arc::<str>::from(id));
        let pod = pod.expect("the pod runs");
        for child in CHILDREN.into_iter().rev() {
            pod.kill_task(child).await.expect("the child stops");
            self.0.children.lock().remove(&(pod_id.clone(), child));
        }
        pod.shutdown().await.expect("the pod stops");
    }

    fn runs(&self, id: &str) -> bool {
        self.0.pods.lock().contains_key(id)
    }

    fn count(&self) -> usize {
        self.0.pods.lock().len()
    }
}
