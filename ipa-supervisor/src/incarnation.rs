//! One run of a child, on its own task: factory, `init`, `run`, `terminate`, and the end. Then another, if that is what follows from it.
//!
//! Every call of foreign code is made here, with panics caught, and never by the loop. The one trick is the order in which the parts
//! of a task drop: whatever becomes of it (it returns, it is aborted, even before its first poll), the call under way goes first, then
//! the child's value, then, with [`Body`], the tasks it spawned, its entry in the directory, and the lease, whose end is the exit report,
//! last.
//!
//! There is such a task for every child, so what it keeps from one wait to the next is counted: it is one async block, in which the parts
//! that are needed one after the other share their room, and whose waits are plain futures.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;

use crate::child::{Child, End, Init, panic_text};
use crate::context::Context;
use crate::function;
use crate::log;
use crate::machine::{ChildRef, KeptPolicy};
use crate::message::Message;
use crate::policy::{DEFAULT_SHUTDOWN, Restart, Shutdown, StopMode};
use crate::reason::{BoxError, Cause, Exit, ExitReason};
use crate::seat;
use crate::spec::Factory;
use crate::stop_request::StopRequest;
use crate::sync::task::yield_now;
use crate::sync::time::{self, Instant};

/// What an incarnation's task begins with. It drops in this order.
pub(crate) struct Body {
    pub(crate) factory: Option<Factory>,
    /// With the incarnation's lease.
    pub(crate) cx: Context,
    pub(crate) bound: Bound,
}

/// How the spec wants the calls made. In two bytes: with a third, each incarnation would cost sixteen more.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) stop_mode: StopMode,
    marks: u8,
}

impl Manner {
    const TERMINATE_AFTER_PANIC: u8 = 1;
    const TAKES_ITS_TIME: u8 = 1 << 1;
    const STEPS_BACK: u8 = 1 << 2;
    const COMES_AGAIN: u8 = 1 << 3;

    pub(crate) fn of(policy: &KeptPolicy, steps_back: bool) -> Self {
        let &KeptPolicy { stop_mode, terminate_after_panic, .. } = policy;
        let marks = [
            (Self::TERMINATE_AFTER_PANIC, terminate_after_panic),
            (Self::TAKES_ITS_TIME, policy.shutdown() == Shutdown::Infinity),
            (Self::STEPS_BACK, steps_back),
            (Self::COMES_AGAIN, policy.restart != Restart::Temporary),
        ];
        let marks = marks.into_iter().map(|(mark, set)| mark * u8::from(set)).sum();
        Self { stop_mode, marks }
    }

    fn terminate_after_panic(self) -> bool {
        self.marks & Self::TERMINATE_AFTER_PANIC != 0
    }

    /// Whether it may take as long as it likes to stop.
    fn takes_its_time(self) -> bool {
        self.marks & Self::TAKES_ITS_TIME != 0
    }

    /// Whether it may be started again.
    pub(crate) fn comes_again(self) -> bool {
        self.marks & Self::COMES_AGAIN != 0
    }

    /// Whether the child is to let its worker go once before it runs, where there are others to go on: its last run, if there was one, has not
    /// awaited anything.
    pub(crate) fn steps_back(self) -> bool {
        self.marks & Self::STEPS_BACK != 0
    }
}

/// The spec's shutdown, if that is neither the default nor infinity, as supervisors' is.
pub(crate) struct Bound(Option<Box<Shutdown>>);

impl Bound {
    pub(crate) fn of(policy: &KeptPolicy) -> Self {
        let shutdown = policy.shutdown();
        let usual = [Shutdown::Timeout(DEFAULT_SHUTDOWN), Shutdown::Infinity].contains(&shutdown);
        Self((!usual).then(|| Box::new(shutdown)))
    }
}

impl Body {
    /// Lives the incarnation to its end.
    // Not an `async fn`, which would keep `self` twice, once as it was handed over.
    #[expect(clippy::manual_async_fn)]
    pub(crate) fn live(mut self) -> impl Future<Output = ()> + Send {
        async move {
            loop {
                let end = 'incarnation: {
                    let mut value = match self.make() {
                        Ok(value) => value,
                        Err(end) => break 'incarnation end,
                    };
                    // The child's: what it does with it is no concern of the waits here.
                    let mut cx = self.cx.clone();
                    let started = {
                        let mut init = Call::new(|| value.0.init(&mut cx), self.stop_of_init());
                        (&mut init).await
                    };
                    if let Err(end) = self.is_up(started) {
                        break 'incarnation value.over(end);
                    }
                    let ended = 'run: {
                        self.restore(&mut cx);
                        // In a block, so that nothing of it is kept beyond.
                        let steps_back = {
                            let ready = Readiness { value: &mut value, cx: &mut cx };
                            let mut ready = Call::of(ready, Some(self.cx.stop_request()));
                            let ended = (&mut ready).await;
                            match self.is_ready(ended, ready.has_waited) {
                                Ok(steps_back) => steps_back,
                                Err(ended) => break 'run ended,
                            }
                        };
                        if steps_back {
                            yield_now().await;
                        }
                        self.restore(&mut cx);
                        let mut run = Call::new(|| value.0.run(&mut cx), self.stop_of_run());
                        let ended = (&mut run).await;
                        if run.has_waited {
                            self.cx.control().set_has_waited();
                        }
                        ended
                    };
                    let (mut reason, bound) = self.after_run(ended);
                    if let Some(bound) = bound {
                        self.restore(&mut cx);
                        let ended = Terminate::new(|| value.0.terminate(&mut cx, &reason), bound).await;
                        // As in OTP, a crash in terminate is what the child ended with.
                        match ended {
                            Some(Ok(())) => {}
                            Some(Err(panicked)) => reason = panicked,
                            None => self.was_cut_short(),
                        }
                    }
                    value.over(End::Exited(reason))
                };
                match self.end(end) {
                    Some(next) => self = next,
                    None => return,
                }
            }
        }
    }

    /// Gives the child its own context again, should it have put another's there in an earlier call.
    fn restore(&self, cx: &mut Context) {
        if !Arc::ptr_eq(cx.control(), self.cx.control()) {
            *cx = self.cx.clone();
        }
    }

    /// Ends the incarnation, and sees to what follows from it if nothing else holds its lease. Answers what the task is to go on as.
    fn end(&mut self, end: End) -> Option<Self> {
        let (hold, control) = (self.cx.hold(), self.cx.control());
        if hold.let_go() {
            return control.ended_here(end);
        }
        // Others hold it, tasks that it has spawned perhaps. If they still do after this, it ends when the last of them lets go, wherever that
        // is. How it has ended is said, and stands.
        control.task_ended(end);
        if hold.let_go() {
            return control.ended_here(End::Exited(ExitReason::Killed));
        }
        // For whoever wonders why it is still listed as running.
        log::said(
            || tracing::debug!(child = %control.child, "child has ended, but its lease is held: it counts as running until that is let go"),
        );
        None
    }

    /// Enters the child in the directory and makes its value.
    fn make(&mut self) -> Result<Value, End> {
        let control = self.cx.control();
        // What the factory captured is foreign, and so is its Drop: it goes within this, made use of or not.
        let factory = self.factory.take();
        let make = move || {
            // As it can be that early where its task is that of the one before it.
            if control.is_killed() {
                return Err(End::Exited(ExitReason::Killed));
            }
            if let Some(cause) = control.stop.get() {
                return Err(End::Exited(ExitReason::Shutdown(cause)));
            }
            if let Some(directory) = &control.port.directory {
                let entry = directory.enter(&control.child);
                control.set_entry(entry.map_err(|error| End::Exited(ExitReason::failed(error)))?);
            }
            // A one-shot that has been used is not started again: the machine forgets temporary children.
            let used = "the child's one-shot factory has been used already";
            let made = factory.as_ref().and_then(|make| make());
            made.map(Value).ok_or_else(|| End::Exited(ExitReason::failed(used)))
        };
        caught(make).map_err(End::Exited)?
    }

    /// How long `terminate` may take after the child has ended by itself.
    fn bound(&self) -> Shutdown {
        match self.bound.0.as_deref() {
            None if self.cx.control().manner.takes_its_time() => Shutdown::Infinity,
            Some(Shutdown::BrutalKill) | None => Shutdown::Timeout(DEFAULT_SHUTDOWN),
            Some(shutdown) => *shutdown,
        }
    }

    /// The request to stop, if it ends a call of `init`.
    fn stop_of_init(&self) -> Option<&StopRequest> {
        let ends = matches!(self.cx.control().manner.stop_mode, StopMode::Drop | StopMode::Cooperative);
        ends.then(|| self.cx.stop_request())
    }

    /// The request to stop, if it ends a call of `run`.
    fn stop_of_run(&self) -> Option<&StopRequest> {
        (self.cx.control().manner.stop_mode == StopMode::Drop).then(|| self.cx.stop_request())
    }

    /// Reports the child up, if it is; else answers how it has ended.
    fn is_up(&self, started: Either<Result<Init, BoxError>>) -> Result<(), End> {
        match started {
            Either::Done(Ok(Ok(Init::Ready))) => {
                let ChildRef { slot, incarnation, .. } = *self.cx.child();
                let control = self.cx.control();
                seat::report(&control.port, Message::Up { slot, incarnation }, None);
                // By what followed from it, here: a task that is aborted while it runs would go on to its next await.
                if control.is_killed() { Err(End::Exited(ExitReason::Killed)) } else { Ok(()) }
            }
            Either::Done(Ok(Ok(Init::Ignore))) => Err(End::Declined),
            Either::Done(Ok(Err(error))) => Err(End::Exited(ExitReason::failed(error))),
            Either::Done(Err(reason)) => Err(End::Exited(reason)),
            Either::Stopped(cause) => Err(End::Exited(ExitReason::Shutdown(cause))),
        }
    }

    /// The child is ready to run, or else is not to: answers how its `run` has ended then.
    ///
    /// If it is, whether the worker is to be let go first. What the report has led to may have woken the caller or the supervisor into this
    /// worker's LIFO slot, where no other worker takes them from: a `run` that blocks at once would hold up the answer to its own start. Not by a
    /// child whose last run is known to have awaited something: it would be a quarter of its restart. Nor by one that has waited to be ready: it
    /// would be a tenth of its start.
    fn is_ready<T>(&self, ended: Either<()>, has_waited: bool) -> Result<bool, Either<T>> {
        let control = self.cx.control();
        if has_waited {
            control.set_waits_first();
        }
        match ended {
            Either::Done(Err(reason)) => Err(Either::Done(Err(reason))),
            Either::Stopped(cause) if self.stop_of_run().is_some() => Err(Either::Stopped(cause)),
            // If it is stopped, it sees to that by itself, in its `run`.
            Either::Done(Ok(())) | Either::Stopped(_) => Ok(control.manner.steps_back() && !has_waited),
        }
    }

    /// The run is over: answers why, and how long `terminate` may take; `None`: it is not called.
    fn after_run(&self, ended: Either<Result<Exit, BoxError>>) -> (ExitReason, Option<Shutdown>) {
        let (reason, stopped) = match ended {
            Either::Done(result) => (reason_of(result), self.cx.is_stopped()),
            Either::Stopped(cause) => (ExitReason::Shutdown(cause), true),
        };
        self.cx.end_of_run();
        let bound = match (&reason, stopped) {
            (ExitReason::Panicked(_), _) if !self.cx.control().manner.terminate_after_panic() => None,
            // On a stop the supervisor keeps the deadline.
            (_, true) => Some(Shutdown::Infinity),
            (_, false) => Some(self.bound()),
        };
        (reason, bound)
    }

    fn was_cut_short(&self) {
        let bound = self.bound();
        log::said(
            || tracing::warn!(child = %self.cx.child(), ?bound, "terminate was cut short: it took longer than the child may"),
        );
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // There if the task was aborted before its first poll.
        if let Some(factory) = self.factory.take() {
            log::caught("a child's factory, when dropped", || drop(factory));
        }
        // What is not said by now is a kill: the task was aborted.
        if !self.cx.hold().is_over() {
            self.cx.control().task_ended(End::Exited(ExitReason::Killed));
        }
    }
}

/// A child's value.
struct Value(Box<dyn Child>);

impl Value {
    /// Drops it; answers how the child has ended. A panic in the value's own Drop is the child's as well.
    fn over(mut self, end: End) -> End {
        let child = self.take();
        match caught(|| drop(child)) {
            Err(panicked) if !matches!(&end, End::Exited(reason) if reason.is_abnormal()) => {
                End::Exited(panicked)
            }
            _ => end,
        }
    }

    fn take(&mut self) -> Box<dyn Child> {
        std::mem::replace(&mut self.0, Box::new(Gone))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // The task was aborted, else it is gone. Caught, as the other parts that drop are, each by itself: a panic in one Drop while that
        // of another unwinds would abort the process.
        let value = self.take();
        log::caught("a child's value, when dropped", || drop(value));
    }
}

/// What is left in the place of a child's value. It takes no memory.
struct Gone;

#[async_trait]
impl Child for Gone {
    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        Ok(Exit::Normal)
    }
}

fn reason_of(result: Result<Result<Exit, BoxError>, ExitReason>) -> ExitReason {
    match result {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(error)) => function::reason_of(error),
        Err(reason) => reason,
    }
}

fn caught<T>(call: impl FnOnce() -> T) -> Result<T, ExitReason> {
    catch_unwind(AssertUnwindSafe(call)).map_err(panicked)
}

fn panicked(payload: Box<dyn Any + Send>) -> ExitReason {
    ExitReason::Panicked(panic_text(payload))
}

type Foreign<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A call of a child's code: polled, and dropped, with panics caught. It is dropped as soon as it is done.
struct Guarded<'a, T>(Option<Foreign<'a, T>>);

impl<'a, T> Guarded<'a, T> {
    /// Calls; a panic in that is as one of the future's.
    fn new(call: impl FnOnce() -> Foreign<'a, T>) -> Self {
        Self(Some(catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
            let mut payload = Some(payload);
            Box::pin(poll_fn(move |_| match payload.take() {
                Some(payload) => resume_unwind(payload),
                None => Poll::Pending,
            }))
        })))
    }
}

impl<T> Future for Guarded<'_, T> {
    type Output = Result<T, ExitReason>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.0.as_mut() else { return Poll::Pending };
        let result = match caught(|| future.as_mut().poll(cx)) {
            Ok(poll) => Ok(ready!(poll)),
            Err(reason) => Err(reason),
        };
        Poll::Ready(self.cancel().and(result))
    }
}

impl<T> Drop for Guarded<'_, T> {
    fn drop(&mut self) {
        // Only an aborted task leaves one that was neither finished nor cancelled. See the Drop of `Value`.
        let future = self.0.take();
        log::caught("a child's future, when dropped", || drop(future));
    }
}

enum Either<T> {
    Done(Result<T, ExitReason>),
    Stopped(Cause),
}

/// What a child is asked, with panics caught.
trait Asked: Future<Output = Result<Self::Answer, ExitReason>> + Unpin {
    type Answer;

    /// Drops what is left of it.
    fn cancel(&mut self) -> Result<(), ExitReason>;
}

impl<T> Asked for Guarded<'_, T> {
    type Answer = T;

    fn cancel(&mut self) -> Result<(), ExitReason> {
        let future = self.0.take();
        caught(move || drop(future))
    }
}

/// Asks a child until it is ready to run.
struct Readiness<'a> {
    value: &'a mut Value,
    cx: &'a mut Context,
}

impl Asked for Readiness<'_> {
    type Answer = ();

    fn cancel(&mut self) -> Result<(), ExitReason> {
        Ok(())
    }
}

impl Future for Readiness<'_> {
    type Output = Result<(), ExitReason>;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let Self { value, cx } = self.get_mut();
        match caught(|| value.0.poll_ready(cx, task)) {
            Ok(polled) => polled.map(Ok),
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }
}

/// A call of a child's code that may be dropped as soon as the child is asked to stop.
struct Call<'a, C> {
    call: C,
    stop: Option<&'a StopRequest>,
    /// Whether it has awaited anything, and let its worker go for that.
    has_waited: bool,
}

impl<'a, T> Call<'a, Guarded<'a, T>> {
    fn new(call: impl FnOnce() -> Foreign<'a, T>, stop: Option<&'a StopRequest>) -> Self {
        // Not called at all if it has been: what it does before it has a future would be done in vain.
        let stopped = stop.is_some_and(StopRequest::is_made);
        Self::of(if stopped { Guarded(None) } else { Guarded::new(call) }, stop)
    }
}

impl<'a, C: Asked> Call<'a, C> {
    fn of(call: C, stop: Option<&'a StopRequest>) -> Self {
        Self { call, stop, has_waited: false }
    }

    /// Drops the call if the child is asked to stop.
    fn poll_stop(&mut self, cx: &task::Context<'_>) -> Poll<Either<C::Answer>> {
        let Some(stop) = self.stop else { return Poll::Pending };
        let cause = ready!(stop.poll(cx));
        Poll::Ready(match self.call.cancel() {
            Ok(()) => Either::Stopped(cause),
            Err(reason) => Either::Done(Err(reason)),
        })
    }
}

impl<C: Asked> Future for Call<'_, C> {
    type Output = Either<C::Answer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        // Looked at first, as that takes no lock.
        if self.stop.is_some_and(StopRequest::is_made)
            && let stopped @ Poll::Ready(_) = self.poll_stop(cx)
        {
            return stopped;
        }
        if let Poll::Ready(result) = Pin::new(&mut self.call).poll(cx) {
            return Poll::Ready(Either::Done(result));
        }
        // Not before: a call that does not wait needs nobody to wake it.
        let stopped = self.poll_stop(cx);
        // Only now does it let its worker go.
        self.has_waited |= stopped.is_pending();
        stopped
    }
}

/// A call of `terminate`, which may have a limit.
struct Terminate<'a> {
    call: Guarded<'a, ()>,
    limit: Limit,
}

enum Limit {
    /// From when the call first waits, when a timer is made for it: most have nothing to wait for, and to read the clock is a good part of a
    /// restart. What it does before it waits could not be cut short.
    After(Duration),
    /// Boxed: a timer that few will need would otherwise have its room in the task of every child.
    At(Pin<Box<time::Sleep>>),
    None,
}

impl<'a> Terminate<'a> {
    fn new(call: impl FnOnce() -> Foreign<'a, ()>, bound: Shutdown) -> Self {
        let limit = match bound {
            Shutdown::Timeout(bound) => Limit::After(bound),
            Shutdown::Infinity | Shutdown::BrutalKill => Limit::None,
        };
        Self { call: Guarded::new(call), limit }
    }
}

impl Limit {
    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        if let &mut Self::After(bound) = self {
            // One too far off to be a moment is none.
            let deadline = Instant::now().checked_add(bound);
            *self = deadline.map_or(Self::None, |deadline| Self::At(Box::pin(time::sleep_until(deadline))));
        }
        match self {
            Self::At(deadline) => deadline.as_mut().poll(cx),
            Self::After(_) | Self::None => Poll::Pending,
        }
    }
}

/// `None`: it took too long.
impl Future for Terminate<'_> {
    type Output = Option<Result<(), ExitReason>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(ended) = Pin::new(&mut self.call).poll(cx) {
            return Poll::Ready(Some(ended));
        }
        ready!(self.limit.poll(cx));
        Poll::Ready(self.call.cancel().err().map(Err))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_output<A, R>(_: impl Fn(A) -> R) -> usize {
        size_of::<R>()
    }

    /// What a call has waited for decides whether the next incarnation lets its worker go first.
    #[tokio::test]
    async fn a_call_that_is_stopped_at_once_has_awaited_nothing() {
        let stop = StopRequest::new();
        let mut call = Call::new(
            || {
                Box::pin(poll_fn(|_| {
                    stop.make(Cause::Requested(None));
                    Poll::<()>::Pending
                }))
            },
            Some(&stop),
        );
        assert!(matches!((&mut call).await, Either::Stopped(_)), "by what the first poll led to");
        assert!(!call.has_waited && call.call.0.is_none());

        let mut call = Call::new(|| -> Foreign<'_, ()> { panic!("called") }, Some(&stop));
        assert!(matches!((&mut call).await, Either::Stopped(_)));
        assert!(!call.has_waited);
    }

    /// With tokio's own 128 bytes this is a block of 256; one byte more, and every child costs another 128.
    #[test]
    fn the_task_of_a_child_is_small() {
        assert!(size_of_output(Body::live) <= 120);
    }
}
