//! ractor-supervisor: its dynamic supervisor. It sleeps 10 ms before it makes a child again, one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ractor::{ActorRef, registry};
use ractor_supervisor::dynamic::{DynamicSupervisorMsg, DynamicSupervisorOptions};
use ractor_supervisor::{ChildSpec, DynamicSupervisor, Restart, SpawnFn};

use super::ractor::Actress;
use super::{Child, Children};

#[derive(Clone)]
pub struct RactorSupervisor {
    supervisor: ActorRef<DynamicSupervisorMsg>,
    next: Arc<AtomicUsize>,
}

impl RactorSupervisor {
    /// The child's name.
    async fn spawn(&self, child: Option<Arc<Child>>) -> String {
        let name = self.supervisor.get_name().expect("it has one");
        let id = format!("{name}/{}", self.next.fetch_add(1, Ordering::Relaxed));
        let spec = ChildSpec {
            id: id.clone(),
            restart: Restart::Permanent,
            spawn_fn: SpawnFn::new(move |supervisor, id| {
                let child = child.clone();
                async move {
                    let (started, _) =
                        DynamicSupervisor::spawn_linked(id, Actress(child), (), supervisor).await?;
                    Ok(started.get_cell())
                }
            }),
            backoff_fn: None,
            reset_after: None,
        };
        DynamicSupervisor::spawn_child(self.supervisor.clone(), spec).await.expect("the child comes up");
        id
    }
}

impl Children for RactorSupervisor {
    const STARTS: usize = 30_000;
    const RESTARTS: usize = 20;
    const STORM: usize = 0;

    type Handle = String;

    async fn new() -> Self {
        let options = DynamicSupervisorOptions {
            max_children: None,
            max_restarts: usize::MAX,
            max_window: Duration::from_secs(1),
            reset_after: None,
        };
        // Names are the process's, so each supervisor needs one of its own.
        let name = format!("supervisor-{}", uuid::Uuid::now_v7());
        let (supervisor, _) = DynamicSupervisor::spawn(name, options).await.expect("a supervisor starts");
        Self { supervisor, next: Arc::default() }
    }

    async fn start_idle(&self) -> String {
        self.spawn(None).await
    }

    async fn start(&self, child: Arc<Child>) -> String {
        self.spawn(Some(child)).await
    }

    /// The supervisor answers when it has killed the child, and does not wait for its end.
    async fn stop(&self, child: String) -> bool {
        let running = registry::where_is(&child).expect("the child runs");
        let stopped = DynamicSupervisor::terminate_child(self.supervisor.clone(), child).await;
        stopped.is_ok() && running.wait(None).await.is_ok()
    }
}
