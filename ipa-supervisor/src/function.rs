//! The simplest child type: an async function.

use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

use pin_project_lite::pin_project;

use crate::child::{Child, IntoExit};
use crate::context::Context;
use crate::reason::{BoxError, Exit};

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
    // Written by hand, as it is the future of every task: what it keeps is what the function waits for, and nothing has to be put in order
    // when a panic comes through, which would be a fifth of what one costs.
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

pin_project! {
    struct Running<Fut> {
        #[pin]
        future: Fut,
    }
}

impl<Fut: Future<Output: IntoExit>> Future for Running<Fut> {
    type Output = Result<Exit, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map(IntoExit::into_exit)
    }
}
