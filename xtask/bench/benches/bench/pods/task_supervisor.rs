//! task-supervisor: a supervisor of four tasks for each pod. It has no registry, so a map of the user's own keeps the pods; children
//! have no names but those within their supervisor, and start and stop in no order.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use task_supervisor::{
    CancellationToken, SupervisedTask, SupervisorBuilder, SupervisorHandle, TaskResult, TaskStatus,
};
use tokio::sync::{Notify, oneshot};

use super::{CHILDREN, Pods};

/// A mailbox that costs nothing while it is empty, as the one written by hand has.
#[derive(Clone, Default)]
struct Echo(Arc<(Mutex<Questions>, Notify)>);

type Questions = Vec<(u64, oneshot::Sender<u64>)>;

impl SupervisedTask for Echo {
    async fn run(self, cancel: CancellationToken) -> TaskResult {
        let (queue, wake) = &*self.0;
        loop {
            for (number, reply) in std::mem::take(&mut *queue.lock()) {
                let _ = reply.send(number);
            }
            if cancel.run_until_cancelled(wake.notified()).await.is_none() {
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
        let tasks = CHILDREN
            .iter()
            .fold(SupervisorBuilder::new(), |all, child| all.with_task(child, Echo::default()));
        let pod = tasks.spawn();
        let statuses = pod.task_statuses().await.expect("the supervisor answers");
        assert!(statuses.values().all(|status| *status == TaskStatus::Running));
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
