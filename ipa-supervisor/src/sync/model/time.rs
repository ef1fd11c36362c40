//! A clock that stands still until a scenario moves it.
//!
//! Shuttle runs all tasks of a scenario on one thread, so the clock is that thread's, and each run of a scenario starts it anew.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::point;

#[derive(Default)]
struct Clock {
    now: Duration,
    sleepers: Vec<Waker>,
}

thread_local! {
    static CLOCK: RefCell<Clock> = RefCell::default();
}

/// A moment of the scenario's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(Duration);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(CLOCK.with_borrow(|clock| clock.now))
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }

    pub(crate) fn checked_add(&self, duration: Duration) -> Option<Self> {
        self.0.checked_add(duration).map(Self)
    }
}

/// Sets the clock to zero, for the next run of a scenario.
#[cfg(test)]
pub(crate) fn restart() {
    CLOCK.take();
}

/// Moves the clock, and wakes who sleeps.
#[cfg(test)]
pub(crate) fn advance(duration: Duration) {
    point();
    let sleepers = CLOCK.with_borrow_mut(|clock| {
        clock.now += duration;
        std::mem::take(&mut clock.sleepers)
    });
    sleepers.into_iter().for_each(Waker::wake);
}

/// A wait for the clock.
pub(crate) struct Sleep {
    deadline: Instant,
    slept: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl Sleep {
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.slept.as_mut().poll(cx)
    }
}

pub(crate) fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, slept: Box::pin(slept(deadline)) }
}

async fn slept(deadline: Instant) {
    poll_fn(|cx| {
        point();
        CLOCK.with_borrow_mut(|clock| {
            if deadline.0 <= clock.now {
                return Poll::Ready(());
            }
            if !clock.sleepers.iter().any(|sleeper| sleeper.will_wake(cx.waker())) {
                clock.sleepers.push(cx.waker().clone());
            }
            Poll::Pending
        })
    })
    .await;
}

/// Its time is up.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// As `tokio::time::timeout`: what is ready in time counts, even at the last moment.
pub(crate) async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    match Instant::now().checked_add(duration) {
        Some(deadline) => timeout_at(deadline, future).await,
        None => Ok(future.await),
    }
}

/// As `tokio::time::timeout_at`.
pub(crate) async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut late = pin!(sleep_until(deadline));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => late.as_mut().poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}
