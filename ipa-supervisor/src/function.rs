//! The simplest child type: an async function.

use std::future::Future;
use std::pin::Pin;

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
    // As async_trait would have it, but for the arguments, which it keeps while it waits: the function has a context of its own, and all
    // that is left to keep is what the function waits for.
    fn run<'this, 'cx, 'run>(
        &'this mut self,
        cx: &'cx mut Context,
    ) -> Pin<Box<dyn Future<Output = Result<Exit, BoxError>> + Send + 'run>>
    where
        'this: 'run,
        'cx: 'run,
        Self: 'run,
    {
        Box::pin(async move {
            match self.0.take() {
                Some(function) => function(cx.clone()).await.into_exit(),
                None => Ok(Exit::Normal),
            }
        })
    }
}
