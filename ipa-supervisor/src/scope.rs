//! Tasks that a child spawns and that end with it.

use std::future::Future;

use tokio::task::{AbortHandle, JoinHandle};

use crate::lease::Hold;
use crate::lineage::CURRENT;

/// The tasks of one incarnation, beside its own.
#[derive(Default)]
pub(crate) struct Tasks {
    /// Boxed, as most have none.
    running: Option<Box<Vec<AbortHandle>>>,
    /// Its own task has ended.
    ended: bool,
}

impl Tasks {
    /// Its own task has ended. Answers all that are to be aborted for it; every one that is added from now on is refused.
    pub(crate) fn end(&mut self) -> Vec<AbortHandle> {
        self.ended = true;
        self.running.take().map_or_else(Vec::new, |running| *running)
    }

    /// Answers the task if it is refused, for the caller to abort.
    pub(crate) fn add(&mut self, task: AbortHandle) -> Option<AbortHandle> {
        if self.ended {
            return Some(task);
        }
        let running = self.running.get_or_insert_default();
        // Instead of growing, if that is enough: those that are done are taken out, and half of the room is then free, or it is doubled.
        // So a task is looked at a bounded number of times.
        if running.len() == running.capacity() {
            running.retain(|task| !task.is_finished());
            running.reserve(running.len().max(4));
        }
        running.push(task);
        None
    }
}

/// Spawns a task that holds the lease and is aborted when the incarnation is over.
pub(crate) fn spawn<F>(hold: Hold, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let control = hold.control().clone();
    // One struct, so that a task that is aborted before its first poll drops the future before the lease.
    let scoped = Scoped { future, hold };
    let task = tokio::spawn(CURRENT.scope(control.clone(), async move {
        let Scoped { future, hold } = scoped;
        let output = future.await;
        drop(hold);
        output
    }));
    control.add_task(task.abort_handle());
    task
}

struct Scoped<F> {
    future: F,
    hold: Hold,
}
