//! Foreign code: an admission, what a factory captured, wakers of those who subscribe, the log's subscriber. A panic of any of them is
//! caught where it is, and keeps nobody from going on.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{self, Poll};

use ipa_supervisor::ExitReason;

/// Calls foreign code whose panic is nobody's: what follows is to be done all the same.
pub(crate) fn shielded(what: &str, call: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
        let reason = ExitReason::panicked(payload);
        logged(|| tracing::error!(%reason, "panic in {what}"));
    }
}

/// Says something to the log, whose subscriber is foreign, too. If that panics, nobody is left to be told.
pub(crate) fn logged(say: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(say));
}

/// Foreign code, called, polled and dropped with panics caught.
pub(crate) struct Caught<F>(Option<Result<F, ExitReason>>);

impl<F> Caught<F> {
    pub(crate) fn new(call: impl FnOnce() -> F) -> Self {
        Self(Some(catch_unwind(AssertUnwindSafe(call)).map_err(ExitReason::panicked)))
    }
}

impl<F: Future + Unpin> Future for Caught<F> {
    type Output = Result<F::Output, ExitReason>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let polled = match &mut self.0 {
            Some(Ok(future)) => catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(cx))),
            Some(Err(reason)) => return Poll::Ready(Err(reason.clone())),
            None => return Poll::Pending,
        };
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(ExitReason::panicked(payload))),
        }
    }
}

impl<F> Drop for Caught<F> {
    fn drop(&mut self) {
        let future = self.0.take();
        shielded("an admission's future, when dropped", || drop(future));
    }
}
