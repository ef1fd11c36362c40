//! A value that is set once and can be waited for: a request to stop, the reason of an end.

use std::pin::pin;
use std::sync::OnceLock;

use tokio::sync::Notify;

/// A value that is set once and can be waited for.
pub(crate) struct Once<T> {
    value: OnceLock<T>,
    set: Notify,
}

impl<T: Clone> Once<T> {
    pub(crate) fn new() -> Self {
        Self { value: OnceLock::new(), set: Notify::new() }
    }

    /// Sets the value; the first one stands.
    pub(crate) fn set(&self, value: T) {
        if self.value.set(value).is_ok() {
            self.set.notify_waiters();
        }
    }

    pub(crate) fn get(&self) -> Option<T> {
        self.value.get().cloned()
    }

    /// Waits until the value is set. Cancel safe.
    pub(crate) async fn wait(&self) -> T {
        loop {
            // Enlisted before the look, so that a `set` between the look and the wait is not missed.
            let mut set = pin!(self.set.notified());
            set.as_mut().enable();
            if let Some(value) = self.get() {
                return value;
            }
            set.await;
        }
    }
}
