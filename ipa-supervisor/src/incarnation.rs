//! One run of a child, on its own task: factory, `init`, `run`, `terminate`, and the end.
//!
//! Every call of foreign code is made here, with panics caught, and never by the loop. The one trick is [`Body`]: whatever
//! becomes of the task (it returns, it is aborted, even before its first poll), the child's value goes first, then the tasks it spawned,
//! then its context with its entry in the directory, and the lease, whose end is the exit report, last.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use crate::child::{Child, End, Init, panic_text};
use crate::context::Context;
use crate::log;
use crate::message::Message;
use crate::policy::{DEFAULT_SHUTDOWN, Shutdown, StopMode};
use crate::ports::Directory;
use crate::machine::ChildRef;
use crate::reason::{BoxError, Cause, Exit, ExitReason};
use crate::spec::Factory;
use crate::stop_request::StopRequest;
use crate::sync::runtime::{Handle, RuntimeFlavor};
use crate::sync::task::yield_now;
use crate::sync::time;

/// What an incarnation consists of. It drops in this order; that order is the guarantee.
pub(crate) struct Body {
    pub(crate) child: Option<Box<dyn Child>>,
    pub(crate) factory: Option<Factory>,
    /// With the lease.
    pub(crate) cx: Context,
    pub(crate) manner: Manner,
}

/// How the spec wants the calls made.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) stop_mode: StopMode,
    pub(crate) shutdown: Shutdown,
    pub(crate) terminate_after_panic: bool,
}

impl Body {
    /// Lives the incarnation to its end.
    // Not an `async fn`: that would keep what it is given twice, once as it was handed over, in the task of every child.
    pub(crate) fn live(mut self, directory: Option<Arc<dyn Directory>>) -> impl Future<Output = ()> + Send {
        async move {
            let end = match self.start(&directory).await {
                Ok(()) => End::Exited(self.run().await),
                Err(end) => end,
            };
            self.over(end);
        }
    }

    fn over(&mut self, mut end: End) {
        // A panic in the value's own Drop is the child's as well.
        let child = self.child.take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(child)))
            && !matches!(&end, End::Exited(reason) if reason.is_abnormal())
        {
            end = End::Exited(ExitReason::Panicked(panic_text(payload)));
        }
        self.cx.own_lease().set_end(end);
    }

    /// Everything up to the moment at which the child is up.
    async fn start(&mut self, directory: &Option<Arc<dyn Directory>>) -> Result<(), End> {
        if let Some(cause) = self.cx.stop_request().get() {
            return Err(End::Exited(ExitReason::Shutdown(cause.clone())));
        }
        if let Some(directory) = directory {
            match sync_caught(|| directory.enter(self.cx.child())) {
                Ok(Ok(entry)) => self.cx.control().set_entry(entry),
                Ok(Err(error)) => return Err(End::Exited(ExitReason::failed(error))),
                Err(reason) => return Err(End::Exited(reason)),
            }
        }
        let factory = self.factory.take();
        let made = sync_caught(move || factory.as_ref().and_then(Factory::make)).map_err(End::Exited)?;
        // A one-shot that has been used is not started again: the machine forgets temporary children.
        let child = made.ok_or_else(|| {
            End::Exited(ExitReason::failed("the child's one-shot factory has been used already"))
        })?;
        let child = self.child.insert(child);
        let mut cx = self.cx.clone();
        let ended = {
            let mut init = Call::new(child.init(&mut cx));
            match self.manner.stop_mode {
                StopMode::CooperativeInit => Either::Done(init.finish().await),
                StopMode::Drop | StopMode::Cooperative => init.finish_or_stop(self.cx.stop_request()).await,
            }
        };
        match ended {
            Either::Done(Ok(Ok(Init::Ready))) => {}
            Either::Done(Ok(Ok(Init::Ignore))) => return Err(End::Declined),
            Either::Done(Ok(Err(error))) => return Err(End::Exited(ExitReason::failed(error))),
            Either::Done(Err(reason)) => return Err(End::Exited(reason)),
            Either::Stopped(cause) => return Err(End::Exited(ExitReason::Shutdown(cause))),
        }
        let ChildRef { slot, incarnation, .. } = *self.cx.child();
        self.cx.control().report(Message::Up { slot, incarnation });
        // The push has woken the supervisor into this worker's LIFO slot, where no other worker takes it from: a `run` that blocks at
        // once would hold up the answer to its own start. So the worker is let go once, where there are others to go on.
        if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            yield_now().await;
        }
        Ok(())
    }

    async fn run(&mut self) -> ExitReason {
        let Some(child) = self.child.as_mut() else { return ExitReason::Killed };
        let mut cx = self.cx.clone();
        let ended = {
            let mut run = Call::new(child.run(&mut cx));
            match self.manner.stop_mode {
                StopMode::Drop => run.finish_or_stop(self.cx.stop_request()).await,
                StopMode::Cooperative | StopMode::CooperativeInit => Either::Done(run.finish().await),
            }
        };
        let (reason, stopped) = match ended {
            Either::Done(result) => (reason_of(result), self.cx.is_stopped()),
            Either::Stopped(cause) => (ExitReason::Shutdown(cause), true),
        };
        self.cx.end_of_run();
        if matches!(reason, ExitReason::Panicked(_)) && !self.manner.terminate_after_panic {
            return reason;
        }
        let bound = match (stopped, self.manner.shutdown) {
            // On a stop the supervisor keeps the deadline.
            (true, _) | (false, Shutdown::Infinity) => None,
            (false, Shutdown::Timeout(timeout)) => Some(timeout),
            (false, Shutdown::BrutalKill) => Some(DEFAULT_SHUTDOWN),
        };
        self.terminate(reason, bound).await
    }

    async fn terminate(&mut self, reason: ExitReason, bound: Option<Duration>) -> ExitReason {
        let Some(child) = self.child.as_mut() else { return reason };
        let mut cx = self.cx.clone();
        let mut terminate = Call::new(child.terminate(&mut cx, &reason));
        let ended = match bound {
            None => Some(terminate.finish().await),
            // Boxed: a timer that few will need would otherwise have its room in the task of every child.
            Some(bound) => match Box::pin(time::timeout(bound, terminate.finish())).await {
                Ok(ended) => Some(ended),
                Err(_late) => terminate.cancel().err().map(Err),
            },
        };
        drop(terminate);
        match ended {
            Some(Ok(())) => reason,
            // As in OTP, a crash in terminate is what the child ended with.
            Some(Err(panicked)) => panicked,
            None => {
                tracing::warn!(child = %self.cx.child(), ?bound, "terminate was cut short: it took longer than the child may");
                reason
            }
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // The task was aborted, else these are gone. Each by itself: a panic in one Drop while that of another unwinds would
        // abort the process.
        let (child, factory) = (self.child.take(), self.factory.take());
        log::caught("a child's value, when dropped", || drop(child));
        log::caught("a child's factory, when dropped", || drop(factory));
        self.cx.control().task_ended();
    }
}

fn reason_of(result: Result<Result<Exit, BoxError>, ExitReason>) -> ExitReason {
    match result {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(error)) => ExitReason::failed(error),
        Err(reason) => reason,
    }
}

fn sync_caught<T>(call: impl FnOnce() -> T) -> Result<T, ExitReason> {
    catch_unwind(AssertUnwindSafe(call)).map_err(panicked)
}

fn panicked(payload: Box<dyn Any + Send>) -> ExitReason {
    ExitReason::Panicked(panic_text(payload))
}

enum Either<T> {
    Done(Result<T, ExitReason>),
    Stopped(Cause),
}

/// A call of a child's code under way: polled, and dropped, with panics caught.
struct Call<'a, T>(Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>);

impl<'a, T> Call<'a, T> {
    fn new(future: Pin<Box<dyn Future<Output = T> + Send + 'a>>) -> Self {
        Self(Some(future))
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<T, ExitReason>> {
        let Some(future) = self.0.as_mut() else { return Poll::Pending };
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(payload) => Poll::Ready(Err(panicked(payload))),
        }
    }

    /// Runs the call to its end.
    async fn finish(&mut self) -> Result<T, ExitReason> {
        let result = poll_fn(|cx| self.poll(cx)).await;
        self.cancel().and(result)
    }

    /// Runs the call to its end, or drops it as soon as the child is asked to stop. For the incarnation's own task.
    async fn finish_or_stop(&mut self, stop: &StopRequest) -> Either<T> {
        let ended = poll_fn(|cx| match stop.poll_own(cx) {
            Poll::Ready(cause) => Poll::Ready(Either::Stopped(cause.clone())),
            Poll::Pending => self.poll(cx).map(Either::Done),
        })
        .await;
        match (self.cancel(), ended) {
            (Ok(()), ended) => ended,
            (Err(reason), _) => Either::Done(Err(reason)),
        }
    }

    /// Drops what is left of the call.
    fn cancel(&mut self) -> Result<(), ExitReason> {
        let future = self.0.take();
        sync_caught(move || drop(future))
    }
}

impl<T> Drop for Call<'_, T> {
    fn drop(&mut self) {
        // Only an aborted task leaves one that was neither finished nor cancelled. See the Drop of `Body`.
        let future = self.0.take();
        log::caught("a child's future, when dropped", || drop(future));
    }
}
