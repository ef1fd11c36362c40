//! The request to stop: said once by the supervisor's loop, heard by the incarnation's own task and by whoever else asks.
//!
//! The trick: the incarnation's own task leaves its waker here instead of a place in a list of waiters. That is all an idle child holds
//! for the wait in which it spends its life, and it is there for every child.

use std::task::{Context, Poll, Waker};

use crate::reason::Cause;
use crate::sync::{Mutex, SetOnce};

/// Shared by an incarnation and its supervisor's loop.
pub(crate) struct StopRequest {
    cause: SetOnce<Cause>,
    /// Who has polled: as a rule the incarnation's own task alone.
    wakers: Mutex<Wakers>,
}

impl StopRequest {
    pub(crate) fn new() -> Self {
        Self { cause: SetOnce::new(), wakers: Mutex::new(Wakers::None) }
    }

    /// Asks. The first request stands.
    pub(crate) fn make(&self, cause: Cause) {
        if self.cause.set(cause).is_ok() {
            let wakers = std::mem::take(&mut *self.wakers.lock());
            match wakers {
                Wakers::None => {}
                Wakers::One(waker) => waker.wake(),
                Wakers::Many(wakers) => wakers.into_iter().for_each(Waker::wake),
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

    /// The same for the incarnation's own task. Whatever waker it was ever polled with is woken, so it is not for those that come and go.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<&Cause> {
        if let Some(cause) = self.cause.get() {
            return Poll::Ready(cause);
        }
        if !self.wakers.lock().contains(cx.waker()) {
            // Cloned before, and dropped after: no waker's code runs under the lock.
            let waker = cx.waker().clone();
            self.wakers.lock().add(waker);
        }
        // Again: a request that was made before the waker was there has woken nobody.
        self.cause.get().map_or(Poll::Pending, Poll::Ready)
    }
}

#[derive(Default)]
enum Wakers {
    #[default]
    None,
    One(Waker),
    Many(Vec<Waker>),
}

impl Wakers {
    fn contains(&self, waker: &Waker) -> bool {
        match self {
            Self::None => false,
            Self::One(one) => one.will_wake(waker),
            Self::Many(many) => many.iter().any(|one| one.will_wake(waker)),
        }
    }

    fn add(&mut self, waker: Waker) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(waker),
            Self::One(one) => Self::Many(vec![one, waker]),
            Self::Many(mut many) => {
                many.push(waker);
                Self::Many(many)
            }
        };
    }
}
