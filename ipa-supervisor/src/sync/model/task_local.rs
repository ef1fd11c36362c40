//! A task-local value, kept in shuttle's storage of the task: tokio swaps a thread's, and shuttle's tasks share one thread.

use std::cell::RefCell;
use std::future::Future;

use shuttle::thread::LocalKey;

pub(crate) struct TaskLocal<T: 'static>(pub(crate) &'static LocalKey<RefCell<Option<T>>>);

impl<T> TaskLocal<T> {
    /// Sets the value for as long as `future`, a task's whole, runs.
    pub(crate) async fn scope<F: Future>(&'static self, value: T, future: F) -> F::Output {
        let before = self.0.with(|cell| cell.replace(Some(value)));
        let output = future.await;
        self.0.with(|cell| cell.replace(before));
        output
    }

    /// The same for a closure.
    pub(crate) fn sync_scope<R>(&'static self, value: T, call: impl FnOnce() -> R) -> R {
        let before = self.0.with(|cell| cell.replace(Some(value)));
        let result = call();
        self.0.with(|cell| cell.replace(before));
        result
    }

    pub(crate) fn try_with<R>(&'static self, read: impl FnOnce(&T) -> R) -> Result<R, ()> {
        self.0.try_with(|cell| cell.borrow().as_ref().map(read)).ok().flatten().ok_or(())
    }
}

/// As `tokio::task_local`.
macro_rules! task_local {
    ($visibility:vis static $name:ident: $type:ty;) => {
        $visibility static $name: $crate::sync::model::task_local::TaskLocal<$type> = {
            shuttle::thread_local! {
                static VALUE: std::cell::RefCell<Option<$type>> = std::cell::RefCell::new(None);
            }
            $crate::sync::model::task_local::TaskLocal(&VALUE)
        };
    };
}

pub(crate) use task_local;
