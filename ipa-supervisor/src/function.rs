//! The simplest child type: an async function.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use pin_project_lite::pin_project;
use thiserror::Error;

use crate::child::{Child, IntoExit, panic_text};
use crate::context::Context;
use crate::reason::{BoxError, Exit, ExitReason};

/// An async function as a child; see [`ChildSpec::task`](crate::ChildSpec::task). Called once: every incarnation is a new value.
pub(crate) struct Function<F>(Option<F>);

impl<F> Function<F> {
    pub(crate) fn new(function: F) -> Self {
        Self(Some(function))
    }
}

impl<F, Fut> Child for Function<F>
where
    F: FnOnce(Context) -> Fut + Send + 'static,
    Fut: Future<Output: IntoExit> + Send + 'static,
{
    // By hand: all that its future keeps is what the function waits for. A panic in the function itself, before there is a future, is caught
    // by whoever calls this.
    fn run<'this, 'cx, 'run>(
        &'this mut self,
        cx: &'cx mut Context,
    ) -> Pin<Box<dyn Future<Output = Result<Exit, BoxError>> + Send + 'run>>
    where
        'this: 'run,
        'cx: 'run,
        Self: 'run,
    {
        match self.0.take() {
            Some(function) => Box::pin(Running { future: function(cx.clone()) }),
            None => Box::pin(std::future::ready(Ok(Exit::Normal))),
        }
    }
}

/// What a function panicked with, on its way to the incarnation.
#[derive(Debug, Error)]
#[error("panicked: {0}")]
struct Panicked(Arc<str>);

/// Why a child ended that returned this error.
pub(crate) fn reason_of(error: BoxError) -> ExitReason {
    match error.downcast::<Panicked>() {
        Ok(panicked) => ExitReason::Panicked(panicked.0),
        Err(error) => ExitReason::failed(error),
    }
}

pin_project! {
    struct Running<Fut> {
        #[pin]
        future: Fut,
    }
}

impl<Fut: Future<Output: IntoExit>> Future for Running<Fut> {
    type Output = Result<Exit, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future;
        // Caught here, though it would be by whoever polls this: each frame in between that has something to drop is a stop of the
        // unwinding, and one of them was a sixth of a restart.
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(polled) => polled.map(IntoExit::into_exit),
            Err(payload) => Poll::Ready(Err(Panicked(panic_text(payload)).into())),
        }
    }
}
