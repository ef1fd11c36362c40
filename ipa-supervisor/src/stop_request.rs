//! The request to stop: said once by the supervisor's loop, heard by the incarnation's own task and by whoever else asks.
//!
//! The trick: the incarnation's own task leaves its waker here instead of a place in a list of waiters. That is all an idle child holds
//! for the wait in which it spends its life, and it is there for every child.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use crate::reason::Cause;
use crate::sync::{Mutex, Notify};

/// Shared by an incarnation and its supervisor's loop.
pub(crate) struct StopRequest {
    /// Whether it is made, for those who look and do not wait. Set under the lock: who finds it so finds what was asked.
    made: AtomicBool,
    /// Whether somebody has left a waker.
    polled: AtomicBool,
    state: Mutex<State>,
}

enum State {
    Awaited(Waiters),
    Made(Cause),
}

#[derive(Default)]
struct Waiters {
    /// Who has polled first: mostly the incarnation's own task.
    first: Option<Waker>,
    /// Boxed, as most have none.
    more: Option<Box<More>>,
}

#[derive(Default)]
struct More {
    /// Who else has polled. They stay.
    wakers: Vec<Waker>,
    /// For those who come and go.
    line: Arc<Notify>,
}

impl Waiters {
    fn knows(&self, waker: &Waker) -> bool {
        let more = self.more.iter().flat_map(|more| &more.wakers);
        self.first.iter().chain(more).any(|known| known.will_wake(waker))
    }

    fn add(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.more.get_or_insert_default().wakers.push(waker),
        }
    }

    fn wake(self) {
        if let Some(waker) = self.first {
            waker.wake();
        }
        if let Some(more) = self.more {
            more.wakers.into_iter().for_each(Waker::wake);
            more.line.notify_waiters();
        }
    }
}

impl StopRequest {
    pub(crate) fn new() -> Self {
        let (made, polled) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { made, polled, state: Mutex::new(State::Awaited(Waiters::default())) }
    }

    /// Asks. The first request stands.
    pub(crate) fn make(&self, cause: Cause) {
        let before = {
            let mut state = self.state.lock();
            match *state {
                State::Made(_) => return,
                State::Awaited(_) => {
                    self.made.store(true, Ordering::Release);
                    std::mem::replace(&mut *state, State::Made(cause))
                }
            }
        };
        if let State::Awaited(waiters) = before {
            waiters.wake();
        }
    }

    /// What was asked, if anything.
    pub(crate) fn get(&self) -> Option<Cause> {
        if !self.is_made() {
            return None;
        }
        match &*self.state.lock() {
            State::Awaited(_) => None,
            State::Made(cause) => Some(cause.clone()),
        }
    }

    /// Whether it was made.
    pub(crate) fn is_made(&self) -> bool {
        self.made.load(Ordering::Acquire)
    }

    /// Resolves when it is made; at once if it has been. Cancel safe.
    pub(crate) async fn wait(&self) -> Cause {
        loop {
            let line = match &mut *self.state.lock() {
                State::Awaited(waiters) => waiters.more.get_or_insert_default().line.clone(),
                State::Made(cause) => return cause.clone(),
            };
            // In line from here on, so before the look: a request between the two is not missed.
            let made = line.notified();
            if let Some(cause) = self.get() {
                return cause;
            }
            made.await;
        }
    }

    /// The same for the incarnation's own task. Whatever waker it was ever polled with is woken, so it is not for those that come and go.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Cause> {
        // Cloned before, and dropped after: no waker's code runs under the lock. At once, where it is likely to be the first one.
        let mut waker = (!self.polled.load(Ordering::Relaxed)).then(|| cx.waker().clone());
        loop {
            match &mut *self.state.lock() {
                State::Made(cause) => return Poll::Ready(cause.clone()),
                State::Awaited(waiters) if waiters.knows(cx.waker()) => return Poll::Pending,
                State::Awaited(waiters) => {
                    if let Some(waker) = waker.take() {
                        waiters.add(waker);
                        self.polled.store(true, Ordering::Relaxed);
                        return Poll::Pending;
                    }
                }
            }
            waker = Some(cx.waker().clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    struct Polls;

    impl Wake for Polls {
        fn wake(self: Arc<Self>) {}
    }

    /// How many wakers are kept: in place, and in the list.
    fn kept(stop: &StopRequest) -> (usize, usize) {
        match &*stop.state.lock() {
            State::Awaited(Waiters { first, more }) => {
                (first.iter().count(), more.iter().flat_map(|more| &more.wakers).count())
            }
            State::Made(_) => panic!("nobody has made it"),
        }
    }

    /// A child polls with one waker all its life: that is kept once.
    #[test]
    fn a_waker_is_kept_once() {
        let stop = StopRequest::new();
        for wakers in [(1, 0), (1, 1)] {
            let waker = Waker::from(Arc::new(Polls));
            for _ in 0..3 {
                assert!(stop.poll(&Context::from_waker(&waker)).is_pending());
                assert_eq!(kept(&stop), wakers);
            }
        }
    }
}
