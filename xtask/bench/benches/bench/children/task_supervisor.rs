//! task-supervisor: tasks that are added to a running supervisor, with no delay before a restart. One says itself when
//! it is up, as its supervisor answers before that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use task_supervisor::{CancellationToken, SupervisedTask, SupervisorBuilder, SupervisorHandle, TaskResult};
use tokio::sync::oneshot;

use super::{Child, Children};

#[derive(Clone)]
struct Task {
    child: Option<Arc<Child>>,
    /// Told when it is up for the first time.
    up: Arc<Mutex<Option<oneshot::Sender<()>>>>,
}

impl SupervisedTask for Task {
    async fn run(self, cancel: CancellationToken) -> TaskResult {
        if let Some(up) = self.up.lock().take() {
            let _ = up.send(());
        }
        match self.child {
            Some(child) => match cancel.run_until_cancelled(child.run()).await {
                Some(ended) => Ok(ended?),
                None => Ok(()),
            },
            None => {
                cancel.cancelled().await;
                Ok(())
            }
        }
    }
}

#[derive(Clone)]
pub struct TaskSupervisor {
    supervisor: SupervisorHandle,
    next: Arc<AtomicUsize>,
}

impl TaskSupervisor {
    /// The child's name.
    async fn spawn(&self, child: Option<Arc<Child>>) -> String {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let (up, is_up) = oneshot::channel();
        let task = Task { child, up: Arc::new(Mutex::new(Some(up))) };
        self.supervisor.add_task(&name, task).await.expect("the child is taken");
        is_up.await.expect("the child comes up");
        name
    }
}

impl Children for TaskSupervisor {
    const RESTARTS: usize = 200;

    type Handle = String;

    async fn new() -> Self {
        let supervisor = SupervisorBuilder::new()
            .with_unlimited_restarts()
            .with_base_restart_delay(Duration::ZERO)
            .with_restart_jitter(0.0)
            .spawn();
        Self { supervisor, next: Arc::default() }
    }

    async fn start_idle(&self) -> String {
        self.spawn(None).await
    }

    async fn start(&self, child: Arc<Child>) -> String {
        self.spawn(Some(child)).await
    }

    async fn stop(&self, child: String) -> bool {
        self.supervisor.kill_task(&child).await.is_ok()
    }
}
