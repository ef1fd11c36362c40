//! What a child is given of the world: its name, the request to stop, its lease, its supervisor.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{self, Poll};

use crate::control::Control;
use crate::handle::SupervisorRef;
use crate::lease::{Hold, Lease};
use crate::lineage::CURRENT;
use crate::machine::ChildRef;
use crate::message::Message;
use crate::policy::StopMode;
use crate::ports::Published;
use crate::reason::{Cause, ExitReason};
use crate::scope;
use crate::spec::ChildId;
use crate::stop_request::StopRequest;

/// A child's view of its own incarnation. Cheap to clone.
///
/// It holds the incarnation's [lease](Lease): a clone that is kept beyond the child's end keeps it from ending. Hand other
/// tasks what they need of it, not the context.
#[derive(Clone)]
pub struct Context(Hold);

impl Context {
    pub(crate) fn new(hold: Hold) -> Self {
        Self(hold)
    }

    /// The child's id.
    pub fn id(&self) -> &ChildId {
        &self.control().child.id
    }

    /// The child: its id, its place, which run of it this is.
    pub fn child(&self) -> &ChildRef {
        &self.control().child
    }

    /// Resolves when the child is asked to stop, with the reason; at once if it has been. Cancel safe.
    ///
    /// A child whose [`StopMode`](crate::StopMode) is `Drop` rarely needs it: its `run` is dropped then.
    pub async fn stopped(&self) -> ExitReason {
        ExitReason::Shutdown(self.control().stop.wait().await)
    }

    /// As [`stopped`](Self::stopped), for a future that is written by hand and polled by the child's own task: nothing is held for the
    /// wait. Every waker that it is polled with is kept and woken, so it is not for tasks that come and go.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use ipa_supervisor::{ChildSpec, StopMode, Supervisor};
    /// use std::future::poll_fn;
    ///
    /// let waits = |cx: ipa_supervisor::Context| async move {
    ///     let reason = poll_fn(|task| cx.poll_stopped(task)).await;
    ///     assert_eq!(reason.to_string(), "shutdown");
    /// };
    /// let spec = ChildSpec::task("waits", waits).stop_mode(StopMode::Cooperative);
    /// let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
    /// supervisor.shutdown().await.unwrap();
    /// # });
    /// ```
    pub fn poll_stopped(&self, task: &task::Context<'_>) -> Poll<ExitReason> {
        self.control().stop.poll(task).map(ExitReason::Shutdown)
    }

    /// Whether the child has been asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.control().stop.is_made()
    }

    /// The incarnation's lease: to be held by whatever works for this child outside its task.
    pub fn lease(&self) -> Lease {
        self.0.clone().into()
    }

    /// Runs a closure that blocks on tokio's pool for such, holding the incarnation's lease until it returns.
    ///
    /// A blocking closure cannot be aborted (RT-05). If the child is stopped or killed meanwhile, the closure runs on to its end, and
    /// its effects may land after the kill; but the incarnation has not ended before it has, so no stop is answered and no
    /// successor started while it runs. One that outlives the kill grace makes the child stuck. Calls that it makes, by
    /// [`Handle::block_on`](tokio::runtime::Handle::block_on), are the child's: those that would wait for it are refused.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime. A panic in the closure is in the [`JoinError`](tokio::task::JoinError).
    pub fn spawn_blocking<R: Send + 'static>(
        &self,
        closure: impl FnOnce() -> R + Send + 'static,
    ) -> tokio::task::JoinHandle<R> {
        // One struct, so that a closure that is dropped unrun (the runtime is shutting down) goes before the lease.
        let work = Blocking { closure, lease: self.lease() };
        let within = self.control().within();
        tokio::task::spawn_blocking(move || {
            let Blocking { closure, lease } = work;
            let result = CURRENT.sync_scope(within, closure);
            drop(lease);
            result
        })
    }

    /// Spawns a task that works for this child: it holds the incarnation's lease, and is aborted when the incarnation is over,
    /// after `terminate`. So the child has not ended before the task has, and the task does not outlive the child.
    ///
    /// A task that is spawned by bare `tokio::spawn` does neither: it is nobody's, and goes on when the child has ended (RT-26).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime. A panic in the task is in the [`JoinError`](tokio::task::JoinError); it does not end the child.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        scope::spawn(self.0.clone(), future)
    }

    /// Says that the child is alive and works on something. See [`ChildSpec::max_silence`](crate::ChildSpec::max_silence);
    /// without that, this does nothing.
    pub fn working(&self) {
        self.report_alive(true);
    }

    /// Says that the child is alive and waits for something to do, which may take as long as it likes.
    pub fn waiting(&self) {
        self.report_alive(false);
    }

    /// Whether anybody wants to know whether the child is alive.
    pub(crate) fn is_watched(&self) -> bool {
        self.control().pulse.is_some()
    }

    /// Answers whether the supervisor was woken for it.
    pub(crate) fn report_alive(&self, working: bool) -> bool {
        let wakes = self.control().pulse.as_ref().is_some_and(|pulse| pulse.beat(working));
        if wakes {
            self.send_alive();
        }
        wakes
    }

    /// From here on the child is taken to wait, whatever it says: its `run` is over.
    pub(crate) fn end_of_run(&self) {
        if self.control().pulse.as_ref().is_some_and(|pulse| pulse.end()) {
            self.send_alive();
        }
    }

    fn send_alive(&self) {
        let ChildRef { slot, incarnation, .. } = self.control().child;
        self.control().report(Message::Alive { slot, incarnation });
    }

    /// The supervisor that this child is under; weak, so that it keeps no tree alive.
    ///
    /// If that is a [`DynamicSupervisor`](crate::DynamicSupervisor), no child is found by an id there, not this one either: a child of one that is
    /// to end [returns](crate::Child::run), and what is about its siblings goes by a [`DynamicRef`](crate::DynamicRef) that it is given.
    pub fn supervisor(&self) -> SupervisorRef {
        SupervisorRef::new(self.control().port.clone())
    }

    /// Publishes an address in the supervisor's [`Directory`](crate::Directory), under the child's id, until this incarnation
    /// is over. Without a directory it does nothing.
    pub fn publish<T: Any + Send + Sync>(&self, address: T) {
        if let Some(entry) = self.control().entry() {
            entry.publish(Published::new(address));
        }
    }

    /// Tells the supervisor that this child, asked to stop, cannot: something under it is stuck. Whoever waits for its end gets
    /// an error at once, instead of waiting for as long as its shutdown policy allows.
    pub fn report_stuck(&self) {
        let ChildRef { slot, incarnation, .. } = self.control().child;
        self.control().report(Message::Lingers { slot, incarnation });
    }

    pub(crate) fn hold(&self) -> &Hold {
        &self.0
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        self.0.control()
    }

    /// For a `run` that looks for a stop before each of its steps. One that is dropped at a stop leaves no waker for it: whoever drops it has.
    pub(crate) fn look_for_stop(&self, task: &task::Context<'_>) -> Poll<Cause> {
        let stop = self.stop_request();
        match self.control().manner.stop_mode {
            StopMode::Drop => stop.get().map_or(Poll::Pending, Poll::Ready),
            StopMode::Cooperative | StopMode::CooperativeInit => stop.poll(task),
        }
    }

    pub(crate) fn stop_request(&self) -> &StopRequest {
        &self.control().stop
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("child", &self.control().child).finish_non_exhaustive()
    }
}

struct Blocking<F> {
    closure: F,
    lease: Lease,
}
