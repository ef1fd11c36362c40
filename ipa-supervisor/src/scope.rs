//! Tasks that a child spawns and that end with it.

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinHandle};

use crate::lease::Lease;
use crate::lineage::{CURRENT, Lineage};

/// The tasks of one incarnation, beside its own.
pub(crate) struct Scope {
    lineage: Arc<Lineage>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    running: Vec<AbortHandle>,
    /// At this many, those that are done are taken out.
    sweep: usize,
    over: bool,
}

impl Scope {
    pub(crate) fn new(lineage: Arc<Lineage>) -> Arc<Self> {
        Arc::new(Self { lineage, tasks: Mutex::default() })
    }

    /// Spawns a task that holds the lease and is aborted when the incarnation is over.
    pub(crate) fn spawn<F>(&self, lease: Lease, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        // One struct, so that a task that is aborted before its first poll drops the future before the lease.
        let scoped = Scoped { future, lease };
        let task = tokio::spawn(CURRENT.scope(self.lineage.clone(), async move {
            let Scoped { future, lease } = scoped;
            let output = future.await;
            drop(lease);
            output
        }));
        let mut tasks = self.tasks.lock();
        if tasks.over {
            task.abort();
        } else {
            if tasks.running.len() >= tasks.sweep {
                tasks.running.retain(|task| !task.is_finished());
                tasks.sweep = (2 * tasks.running.len()).max(8);
            }
            tasks.running.push(task.abort_handle());
        }
        task
    }
}

struct Scoped<F> {
    future: F,
    lease: Lease,
}

/// Aborts the tasks of an incarnation when it is over.
pub(crate) struct ScopeEnd(pub(crate) Arc<Scope>);

impl Drop for ScopeEnd {
    fn drop(&mut self) {
        let running = {
            let mut tasks = self.0.tasks.lock();
            tasks.over = true;
            std::mem::take(&mut tasks.running)
        };
        for task in running {
            task.abort();
        }
    }
}
