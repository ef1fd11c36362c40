//! Tasks that a child spawns and that end with it.

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinHandle};

use crate::control::Control;
use crate::lease::Lease;
use crate::lineage::CURRENT;

/// The tasks of one incarnation, beside its own. `None`: it is over.
pub(crate) struct Tasks(Mutex<Option<Vec<AbortHandle>>>);

impl Default for Tasks {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}

impl Tasks {
    /// Aborts all, and every one that is added from now on.
    pub(crate) fn abort(&self) {
        let running = self.0.lock().take();
        for task in running.into_iter().flatten() {
            task.abort();
        }
    }

    fn add(&self, task: AbortHandle) {
        let refused = match &mut *self.0.lock() {
            None => Some(task),
            Some(running) => {
                // Instead of growing, if that is enough: those that are done are taken out, and half of the room is then free, or
                // it is doubled. So a task is looked at a bounded number of times.
                if running.len() == running.capacity() {
                    running.retain(|task| !task.is_finished());
                    running.reserve(running.len().max(4));
                }
                running.push(task);
                None
            }
        };
        if let Some(task) = refused {
            task.abort();
        }
    }
}

/// Spawns a task that holds the lease and is aborted when the incarnation is over.
pub(crate) fn spawn<F>(control: &Arc<Control>, lease: Lease, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    // One struct, so that a task that is aborted before its first poll drops the future before the lease.
    let scoped = Scoped { future, lease };
    let task = tokio::spawn(CURRENT.scope(control.clone(), async move {
        let Scoped { future, lease } = scoped;
        let output = future.await;
        drop(lease);
        output
    }));
    control.tasks.add(task.abort_handle());
    task
}

struct Scoped<F> {
    future: F,
    lease: Lease,
}
