//! What a child is given of the world: its name, the request to stop, its lease, its supervisor.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};

use crate::handle::SupervisorRef;
use crate::lease::Lease;
use crate::log;
use crate::machine::ChildRef;
use crate::message::{Message, Port, REPORTS};
use crate::ports::{Entry, Published};
use crate::pulse::Pulse;
use crate::reason::{Cause, ExitReason};
use crate::scope::Scope;
use crate::spec::ChildId;
use crate::sync::SetOnce;

/// A child's view of its own incarnation. Cheap to clone.
///
/// It holds the incarnation's [lease](Lease): a clone that is kept beyond the child's end keeps it from ending. Hand other
/// tasks what they need of it, not the context.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

/// The entry in the directory goes first, before the lease does.
struct Inner {
    child: ChildRef,
    stop: Arc<SetOnce<Cause>>,
    port: Arc<Port>,
    scope: Arc<Scope>,
    /// Where it is said that the child is alive, if anybody wants to know.
    pulse: Option<Arc<Pulse>>,
    entry: OnceLock<Box<dyn Entry>>,
    lease: Lease,
}

impl Context {
    pub(crate) fn new(
        child: ChildRef,
        stop: Arc<SetOnce<Cause>>,
        port: Arc<Port>,
        scope: Arc<Scope>,
        pulse: Option<Arc<Pulse>>,
        lease: Lease,
    ) -> Self {
        Self(Arc::new(Inner { child, stop, port, scope, pulse, entry: OnceLock::new(), lease }))
    }

    /// The child's id.
    pub fn id(&self) -> &ChildId {
        &self.0.child.id
    }

    /// The child: its id, its place, which run of it this is.
    pub fn child(&self) -> &ChildRef {
        &self.0.child
    }

    /// Resolves when the child is asked to stop, with the reason; at once if it has been. Cancel safe.
    ///
    /// A child whose [`StopMode`](crate::StopMode) is `Drop` rarely needs it: its `run` is dropped then.
    pub async fn stopped(&self) -> ExitReason {
        ExitReason::Shutdown(self.stop_cause().await)
    }

    /// Whether the child has been asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.0.stop.initialized()
    }

    /// The incarnation's lease: to be held by whatever works for this child outside its task.
    pub fn lease(&self) -> Lease {
        self.0.lease.clone()
    }

    /// Runs a closure that blocks on tokio's pool for such, holding the incarnation's lease until it returns.
    ///
    /// A blocking closure cannot be aborted (RT-05). If the child is stopped or killed meanwhile, the closure runs on to its end, and
    /// its effects may land after the kill; but the incarnation has not ended before it has, so no stop is answered and no
    /// successor started while it runs. One that outlives the kill grace makes the child stuck.
    ///
    /// # Panics
    ///
    /// A panic in the closure is in the [`JoinError`](tokio::task::JoinError).
    pub fn spawn_blocking<R: Send + 'static>(
        &self,
        closure: impl FnOnce() -> R + Send + 'static,
    ) -> tokio::task::JoinHandle<R> {
        // One struct, so that a closure that is dropped unrun (the runtime is shutting down) goes before the lease.
        let work = Blocking { closure, lease: self.lease() };
        tokio::task::spawn_blocking(move || {
            let Blocking { closure, lease } = work;
            let result = closure();
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
    /// A panic in the task is in the [`JoinError`](tokio::task::JoinError); it does not end the child.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.0.scope.spawn(self.lease(), future)
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

    fn report_alive(&self, working: bool) {
        if self.0.pulse.as_ref().is_some_and(|pulse| pulse.beat(working)) {
            self.send_alive();
        }
    }

    /// From here on the child is taken to wait, whatever it says: its `run` is over.
    pub(crate) fn end_of_run(&self) {
        if self.0.pulse.as_ref().is_some_and(|pulse| pulse.end()) {
            self.send_alive();
        }
    }

    fn send_alive(&self) {
        let ChildRef { slot, incarnation, .. } = self.0.child;
        // Refused only when the supervisor is gone.
        let _ = self.0.port.inbox.push(REPORTS, Message::Alive { slot, incarnation });
    }

    /// The supervisor that this child is under; weak, so that it keeps no tree alive.
    pub fn supervisor(&self) -> SupervisorRef {
        SupervisorRef::new(self.0.port.clone())
    }

    /// Publishes an address in the supervisor's [`Directory`](crate::Directory), under the child's id, until this incarnation
    /// is over. Without a directory it does nothing.
    pub fn publish<T: Any + Send + Sync>(&self, address: T) {
        if let Some(entry) = self.0.entry.get() {
            entry.publish(Published::new(address));
        }
    }

    /// Tells the supervisor that this child, asked to stop, cannot: something under it is stuck. Whoever waits for its end gets
    /// an error at once, instead of waiting for as long as its shutdown policy allows.
    pub fn report_stuck(&self) {
        let message = Message::Lingers { slot: self.0.child.slot, incarnation: self.0.child.incarnation };
        // Refused only when the supervisor is gone, and with it whoever waited.
        let _ = self.0.port.inbox.push(REPORTS, message);
    }

    pub(crate) fn port(&self) -> &Arc<Port> {
        &self.0.port
    }

    pub(crate) fn stop_requested(&self) -> Option<Cause> {
        self.0.stop.get().cloned()
    }

    pub(crate) async fn stop_cause(&self) -> Cause {
        self.0.stop.wait().await.clone()
    }

    pub(crate) fn set_entry(&self, entry: Box<dyn Entry>) {
        // An incarnation is entered once, before its factory is called.
        let _ = self.0.entry.set(entry);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Foreign, and so is its Drop; before the lease, which is a field.
        let entry = self.entry.take();
        log::caught("a directory's entry, when dropped", || drop(entry));
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("child", &self.0.child).finish_non_exhaustive()
    }
}

struct Blocking<F> {
    closure: F,
    lease: Lease,
}
