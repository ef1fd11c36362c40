//! The simplest child type: an async function.

use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;

use crate::child::{Child, IntoExit};
use crate::context::Context;
use crate::reason::{BoxError, Exit};

type Running = Pin<Box<dyn Future<Output = Result<Exit, BoxError>> + Send>>;

/// An async function as a child; see [`ChildSpec::task`](crate::ChildSpec::task).
pub(crate) struct Function {
    call: Option<Box<dyn FnOnce(Context) -> Running + Send>>,
}

impl Function {
    pub(crate) fn new<F, Fut>(function: std::sync::Arc<F>) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        Self::once(move |cx| function(cx))
    }

    pub(crate) fn once<F, Fut>(function: F) -> Self
    where
        F: FnOnce(Context) -> Fut + Send + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        Self {
            call: Some(Box::new(move |cx| {
                let future = function(cx);
                Box::pin(async move { future.await.into_exit() })
            })),
        }
    }
}

#[async_trait]
impl Child for Function {
    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        match self.call.take() {
            Some(call) => call(cx.clone()).await,
            // `run` is called once per value, and every incarnation is a new value.
            None => Ok(Exit::Normal),
        }
    }
}
