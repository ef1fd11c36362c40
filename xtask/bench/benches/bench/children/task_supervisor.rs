//! task-supervisor: tasks that are added to a running supervisor, with no delay before a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use task_supervisor::{CancellationToken, SupervisedTask, SupervisorBuilder, SupervisorHandle, TaskResult};

use super::{Child, Children};

#[derive(Clone)]
struct Task(Option<Arc<Child>>);

impl SupervisedTask for Task {
    async fn run(self, cancel: CancellationToken) -> TaskResult {
        match self.0 {
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
    async fn spawn(&self, child: Option<Arc<Child>>) {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        self.supervisor.add_task(&name, Task(child)).await.expect("the child comes up");
    }
}

impl Children for TaskSupervisor {
    const RESTARTS: usize = 200;

    async fn new() -> Self {
        let supervisor = SupervisorBuilder::new()
            .with_unlimited_restarts()
            .with_base_restart_delay(Duration::ZERO)
            .with_restart_jitter(0.0)
            .spawn();
        Self { supervisor, next: Arc::default() }
    }

    async fn start_idle(&self) {
        self.spawn(None).await;
    }

    async fn start(&self, child: Arc<Child>) {
        self.spawn(Some(child)).await;
    }
}
