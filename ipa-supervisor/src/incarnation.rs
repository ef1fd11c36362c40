//! One run of a child, on its own task: factory, `init`, `run`, `terminate`, and the end.
//!
//! Every call of foreign code is made here, with panics caught, and never by the loop. The one trick is [`Body`]: whatever
//! becomes of the task (it returns, it is aborted, even before its first poll), the child's value goes first, then the tasks it spawned,
//! then its context with its entry in the directory, and the lease, whose end is the exit report, last.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{self, Poll};

use crate::child::{Child, End, Init, panic_text};
use crate::context::Context;
use crate::log;
use crate::machine::ChildRef;
use crate::message::Message;
use crate::policy::{DEFAULT_SHUTDOWN, Shutdown, StopMode};
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
    /// Whether the child lets its worker go once before it runs: its last run, if there was one, has not awaited anything.
    pub(crate) steps_back: bool,
}

impl Body {
    /// Lives the incarnation to its end.
    // Here and below no `async fn` that is given anything by value: that would keep it twice, once as it was handed over, in the task
    // of every child. Nor is anything kept from one wait to the next that a plain function can deal with between them.
    #[expect(clippy::manual_async_fn)]
    pub(crate) fn live(mut self) -> impl Future<Output = ()> + Send {
        async move {
            if self.start().await {
                let (reason, stopped) = self.run().await;
                let end = match self.after_run(&reason, stopped) {
                    None => reason,
                    Some(bound) => self.terminate(reason, bound).await,
                };
                self.over(End::Exited(end));
            }
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

    /// Everything up to the moment at which the child is up. Answers whether it is; if not, it is over.
    async fn start(&mut self) -> bool {
        let started = match self.make() {
            Ok(()) => self.init().await,
            Err(end) => Err(end),
        };
        if !self.is_up(started) {
            return false;
        }
        // The report has woken the supervisor into this worker's LIFO slot, where no other worker takes it from: a `run` that blocks at
        // once would hold up the answer to its own start, and the supervisor. So the worker is let go once, where there are others to go
        // on. Not by a child whose last run is known to have awaited something: it would be a quarter of its restart.
        if self.manner.steps_back && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            yield_now().await;
        }
        true
    }

    /// Enters the child in the directory and makes its value.
    fn make(&mut self) -> Result<(), End> {
        let control = self.cx.control();
        if let Some(cause) = control.stop.get() {
            return Err(End::Exited(ExitReason::Shutdown(cause.clone())));
        }
        if let Some(directory) = &control.port.directory {
            match sync_caught(|| directory.enter(&control.child)) {
                Ok(Ok(entry)) => control.set_entry(entry),
                Ok(Err(error)) => return Err(End::Exited(ExitReason::failed(error))),
                Err(reason) => return Err(End::Exited(reason)),
            }
        }
        let factory = self.factory.take();
        let made = sync_caught(move || factory.as_ref().and_then(|make| make())).map_err(End::Exited)?;
        // A one-shot that has been used is not started again: the machine forgets temporary children.
        self.child = Some(made.ok_or_else(|| {
            End::Exited(ExitReason::failed("the child's one-shot factory has been used already"))
        })?);
        Ok(())
    }

    async fn init(&mut self) -> Result<(), End> {
        // `make` has made it.
        let Some(child) = self.child.as_mut() else { return Err(End::Exited(ExitReason::Killed)) };
        let mut cx = self.cx.clone();
        let mut init = Call::new(child.init(&mut cx));
        let ended = match self.manner.stop_mode {
            StopMode::CooperativeInit => Either::Done(init.finish().await),
            StopMode::Drop | StopMode::Cooperative => init.finish_or_stop(self.cx.stop_request()).await,
        };
        match ended {
            Either::Done(Ok(Ok(Init::Ready))) => Ok(()),
            Either::Done(Ok(Ok(Init::Ignore))) => Err(End::Declined),
            Either::Done(Ok(Err(error))) => Err(End::Exited(ExitReason::failed(error))),
            Either::Done(Err(reason)) => Err(End::Exited(reason)),
            Either::Stopped(cause) => Err(End::Exited(ExitReason::Shutdown(cause))),
        }
    }

    /// Reports the child up, if it is; else it is over.
    fn is_up(&mut self, started: Result<(), End>) -> bool {
        match started {
            Ok(()) => {
                let ChildRef { slot, incarnation, .. } = *self.cx.child();
                self.cx.control().report(Message::Up { slot, incarnation });
                true
            }
            Err(end) => {
                self.over(end);
                false
            }
        }
    }

    /// Answers why `run` ended, and whether the child was asked to stop by then.
    async fn run(&mut self) -> (ExitReason, bool) {
        // There is none only if `start` said so.
        let Some(child) = self.child.as_mut() else { return (ExitReason::Killed, true) };
        let mut cx = self.cx.clone();
        let mut run = Call::new(child.run(&mut cx));
        let ended = match self.manner.stop_mode {
            StopMode::Drop => run.finish_or_stop(self.cx.stop_request()).await,
            StopMode::Cooperative | StopMode::CooperativeInit => Either::Done(run.finish().await),
        };
        if run.has_waited {
            self.cx.control().set_has_waited();
        }
        match ended {
            Either::Done(result) => (reason_of(result), self.cx.is_stopped()),
            Either::Stopped(cause) => (ExitReason::Shutdown(cause), true),
        }
    }

    /// The run is over: says so, and answers how long `terminate` may take; `None`: it is not called.
    fn after_run(&self, reason: &ExitReason, stopped: bool) -> Option<Shutdown> {
        self.cx.end_of_run();
        if matches!(reason, ExitReason::Panicked(_)) && !self.manner.terminate_after_panic {
            return None;
        }
        Some(match (stopped, self.manner.shutdown) {
            // On a stop the supervisor keeps the deadline.
            (true, _) => Shutdown::Infinity,
            (false, Shutdown::BrutalKill) => Shutdown::Timeout(DEFAULT_SHUTDOWN),
            (false, shutdown) => shutdown,
        })
    }

    #[expect(clippy::manual_async_fn)]
    fn terminate(&mut self, reason: ExitReason, bound: Shutdown) -> impl Future<Output = ExitReason> + Send {
        async move {
            let Some(child) = self.child.as_mut() else { return reason };
            let mut cx = self.cx.clone();
            let mut terminate = Call::new(child.terminate(&mut cx, &reason));
            let ended = match bound {
                // Boxed: a timer that few will need would otherwise have its room in the task of every child.
                Shutdown::Timeout(bound) => match Box::pin(time::timeout(bound, terminate.finish())).await {
                    Ok(ended) => Some(ended),
                    Err(_late) => terminate.cancel().err().map(Err),
                },
                Shutdown::Infinity | Shutdown::BrutalKill => Some(terminate.finish().await),
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
struct Call<'a, T> {
    future: Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>,
    /// Whether it has awaited anything.
    has_waited: bool,
}

impl<'a, T> Call<'a, T> {
    fn new(future: Pin<Box<dyn Future<Output = T> + Send + 'a>>) -> Self {
        Self { future: Some(future), has_waited: false }
    }

    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<T, ExitReason>> {
        let Some(future) = self.future.as_mut() else { return Poll::Pending };
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => {
                self.has_waited = true;
                Poll::Pending
            }
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
        let ended = poll_fn(|cx| match stop.poll(cx) {
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
        let future = self.future.take();
        sync_caught(move || drop(future))
    }
}

impl<T> Drop for Call<'_, T> {
    fn drop(&mut self) {
        // Only an aborted task leaves one that was neither finished nor cancelled. See the Drop of `Body`.
        let future = self.future.take();
        log::caught("a child's future, when dropped", || drop(future));
    }
}
