//! The request to stop: said once by the supervisor's loop, heard by the incarnation's own task and by whoever else asks.
//!
//! The trick: the incarnation's own task leaves a waker here instead of a place in a list of waiters. That is all an idle child holds
//! for the wait in which it spends its life, and it is there for every child.

use std::task::{Context, Poll, Waker};

use crate::reason::Cause;
use crate::sync::{Mutex, SetOnce};

/// Shared by an incarnation and its supervisor's loop.
pub(crate) struct StopRequest {
    cause: SetOnce<Cause>,
    /// The incarnation's own task, while it waits.
    own: Mutex<Option<Waker>>,
}

impl StopRequest {
    pub(crate) fn new() -> Self {
        Self { cause: SetOnce::new(), own: Mutex::new(None) }
    }

    /// Asks. The first request stands.
    pub(crate) fn make(&self, cause: Cause) {
        if self.cause.set(cause).is_ok() {
            let own = self.own.lock().take();
            if let Some(own) = own {
                own.wake();
            }
        }
    }

    /// What was asked, if anything.
    pub(crate) fn get(&self) -> Option<&Cause> {
        self.cause.get()
    }

    /// Whether it was made.
    pub(crate) fn is_made(&self) -> bool {
        self.cause.initialized()
    }

    /// Resolves when it is made; at once if it has been. Cancel safe.
    pub(crate) async fn wait(&self) -> &Cause {
        self.cause.wait().await
    }

    /// The same for the incarnation's own task, which is to poll it with the task's own waker: there is room for one.
    pub(crate) fn poll_own(&self, cx: &Context<'_>) -> Poll<&Cause> {
        if let Some(cause) = self.cause.get() {
            return Poll::Ready(cause);
        }
        let waits = self.own.lock().as_ref().is_some_and(|own| own.will_wake(cx.waker()));
        if !waits {
            // Cloned before, and dropped after: no waker's code runs under the lock.
            let before = self.own.lock().replace(cx.waker().clone());
            drop(before);
        }
        // Again: a request that was made before the waker was there has woken nobody.
        self.cause.get().map_or(Poll::Pending, Poll::Ready)
    }
}
