//! Tasks that a child spawns and that end with it.

use std::future::Future;

use tokio::task::{AbortHandle, JoinHandle};

use crate::lease::Hold;
use crate::lineage::CURRENT;

/// The tasks of one incarnation, beside its own.
///
/// Boxed, as most have none.
#[derive(Default)]
#[expect(
    clippy::box_collection,
    reason = "one word instead of three in every child, for a list that few have"
)]
pub(crate) struct Tasks(Option<Box<Vec<AbortHandle>>>);

impl Tasks {
    pub(crate) fn take(&mut self) -> Vec<AbortHandle> {
        self.0.take().map_or_else(Vec::new, |running| *running)
    }

    pub(crate) fn add(&mut self, task: AbortHandle) {
        let running = self.0.get_or_insert_default();
        // Instead of growing, if that is enough: those that are done are taken out, and half of the room is then free, or it is doubled.
        // So a task is looked at a bounded number of times.
        if running.len() == running.capacity() {
            running.retain(|task| !task.is_finished());
            running.reserve(running.len().max(4));
        }
        running.push(task);
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
    let task = tokio::spawn(CURRENT.scope(control.within(), async move {
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
