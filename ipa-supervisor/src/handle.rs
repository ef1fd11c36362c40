//! Weak handles: how anybody talks to a supervisor's loop.

use std::fmt;
use std::sync::Arc;

use crate::error::{
    Closed, DeleteChildError, RestartChildError, ShutdownError, StartChildError, TerminateChildError,
};
use crate::lineage;
use crate::machine::{ChildCounts, ChildInfo, ChildRef, Command, Op, Outcome, Refusal, Target};
use crate::message::{COMMANDS, Message, Port, Request, STOPS, StartChild};
use crate::policy::Policy;
use crate::reason::{Cause, ExitReason};
use crate::spec::{ChildId, ChildSpec};
use crate::sync::oneshot;

/// What a start came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a child that declined to start is not running"]
pub enum Started {
    /// The child is up.
    Child(ChildRef),
    /// The child's `init` answered [`Init::Ignore`](crate::Init::Ignore): it is not running, and that is no error.
    Ignored,
}

impl Started {
    /// The child, unless it declined.
    pub fn child(self) -> Option<ChildRef> {
        match self {
            Self::Child(child) => Some(child),
            Self::Ignored => None,
        }
    }
}

/// A handle to one run of an ordered supervisor that does not keep it alive. Cheap to clone.
///
/// This is what children are given ([`Context::supervisor`](crate::Context::supervisor)), and what a
/// [`Supervisor`](crate::Supervisor) derefs to.
///
/// Every call here is answered in the time that it takes the loop to get to it, whatever children are doing, except those that
/// wait for a child by their nature: `start_child`, `restart_child`, `terminate_child`, `shutdown`, and `delete_child`
/// while something is being done with the child or its group.
///
/// # Errors
///
/// Calls to a supervisor that has ended, and calls that were queued when it did, are answered with `Closed` at once.
///
/// # Cancel safety
///
/// Dropping the future of a call leaves what was asked for running to its end: a child whose `start_child` was dropped comes up
/// all the same, or fails and leaves nothing behind. A call that is dropped while it waits for a place in the loop's queue (64
/// requests) has not been made.
///
/// # A call that would wait for itself
///
/// From within a child (its own task, those of [`Context::spawn`](crate::Context::spawn), its blocking code), a call that would wait for
/// that child's end is refused with `WouldDeadlock`; so is one that would queue behind what waits for the child itself: the initial start
/// that its `init` is part of, a group restart that stops or starts it. The `request_` forms do not wait.
#[derive(Clone)]
pub struct SupervisorRef(pub(crate) Handle);

impl SupervisorRef {
    pub(crate) fn new(port: Arc<Port>) -> Self {
        Self(Handle(port))
    }

    /// Adds a child at the end of the order and starts it; `Ok` when its `init` is done.
    ///
    /// During the initial start of the supervisor, or a restart of a group, it queues behind that; if the group waits for a stuck member, the
    /// answer is [`Stuck`](StartChildError::Stuck) of that one. Operations on one id keep their order: of two
    /// concurrent starts of one id, one starts it and the other is told that it is running.
    ///
    /// # Errors
    ///
    /// See [`StartChildError`]; after any of them the spec is gone, and nothing of the child runs.
    pub async fn start_child(&self, spec: impl Into<ChildSpec>) -> Result<Started, StartChildError> {
        self.0.start_child(spec.into()).await
    }

    /// Starts a child again that is not running, at its place in the order. During a restart of its group, it queues behind that.
    ///
    /// # Errors
    ///
    /// See [`RestartChildError`]; after a failed start the spec is kept, not running, and nothing tries again by itself.
    pub async fn restart_child(&self, id: impl Into<ChildId>) -> Result<Started, RestartChildError> {
        let id = id.into();
        let target = Target::Id(id.clone());
        let (tag, reply) = oneshot::channel();
        let command = Command { tag: Some(tag), caller: self.0.caller(), op: Op::Restart(target) };
        let request = Request::Command(command);
        match self.0.call(COMMANDS, request, reply).await.ok_or(RestartChildError::Closed)?? {
            Outcome::Started(slot, incarnation) => Ok(Started::Child(ChildRef { id, slot, incarnation })),
            Outcome::Ignored | Outcome::Done => Ok(Started::Ignored),
        }
    }

    /// Stops a child, as its shutdown policy says; `Ok` when it is gone. Its spec is kept, not running; a temporary
    /// child's is forgotten. A child that is not running is left as it is, and that is `Ok`.
    ///
    /// # Errors
    ///
    /// See [`TerminateChildError`].
    pub async fn terminate_child(&self, id: impl Into<ChildId>) -> Result<(), TerminateChildError> {
        self.0.terminate(Target::Id(id.into())).await
    }

    /// As [`terminate_child`](Self::terminate_child), without waiting for the child's end: what a child may ask for itself. If there is no
    /// such child, nothing happens.
    pub fn request_terminate_child(&self, id: impl Into<ChildId>) {
        self.0.request_terminate(Target::Id(id.into()));
    }

    /// Forgets a child that is not running; its id is free. During a restart of its group, it queues behind that.
    ///
    /// # Errors
    ///
    /// See [`DeleteChildError`].
    pub async fn delete_child(&self, id: impl Into<ChildId>) -> Result<(), DeleteChildError> {
        let target = Target::Id(id.into());
        let (tag, reply) = oneshot::channel();
        let command = Command { tag: Some(tag), caller: self.0.caller(), op: Op::Delete(target) };
        let request = Request::Command(command);
        self.0.call(COMMANDS, request, reply).await.ok_or(DeleteChildError::Closed)??;
        Ok(())
    }

    /// All children, in order of start.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the supervisor has ended.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, Closed> {
        self.0.which_children().await
    }

    /// One child; `None` if there is no such child.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the supervisor has ended.
    pub async fn which_child(&self, id: impl Into<ChildId>) -> Result<Option<ChildInfo>, Closed> {
        self.0.which_child(Target::Id(id.into())).await
    }

    /// How many children there are.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the supervisor has ended.
    pub async fn count_children(&self) -> Result<ChildCounts, Closed> {
        self.0.count_children().await
    }

    /// What is kept of a child's spec, every default filled in (OTP's `get_childspec`); `None` if there is no such child.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the supervisor has ended.
    pub async fn get_childspec(&self, id: impl Into<ChildId>) -> Result<Option<Policy>, Closed> {
        self.0.get_childspec(Target::Id(id.into())).await
    }

    /// Stops all children, one at a time, the last first; `Ok` when the supervisor and all under it have ended.
    ///
    /// A second stop joins the first. A supervisor that has ended is `Ok`. One that was itself killed, by its own supervisor or with its
    /// runtime, cannot say any more what of it does not end: then this waits for that, as [`wait`](Self::wait) does.
    ///
    /// # Errors
    ///
    /// See [`ShutdownError`].
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        self.0.shutdown(Cause::Requested(None)).await
    }

    /// As [`shutdown`](Self::shutdown), with a cause, which becomes the supervisor's exit reason and the reason that the
    /// children's `terminate` sees.
    ///
    /// # Errors
    ///
    /// See [`ShutdownError`].
    pub async fn shutdown_with(&self, cause: Cause) -> Result<(), ShutdownError> {
        self.0.shutdown(cause).await
    }

    /// As [`shutdown_with`](Self::shutdown_with), without waiting: what a child may ask for.
    pub fn request_shutdown(&self, cause: Cause) {
        self.0.request_shutdown(cause);
    }

    /// Kills all children side by side, without their `terminate`, and ends for this cause. Does not wait.
    ///
    /// For a supervisor whose permit to run is lost, so that nothing is done after the loss.
    pub fn kill(&self, cause: Cause) {
        self.0.kill(cause);
    }

    /// Waits until the supervisor and all under it have ended; answers why it did. At once if it has. Cancel safe.
    ///
    /// [`ExitReason::Killed`] if it got no chance to say: its task was aborted, or its runtime shut down. From within a child this is not
    /// refused: it waits for as long as the supervisor lets its children take to stop.
    pub async fn wait(&self) -> ExitReason {
        self.0.wait().await
    }

    /// Whether the supervisor's loop has ended, so that every call here is answered with `Closed`.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Whether the current task belongs to this child of the supervisor, or to anything under it.
    pub fn is_within(&self, child: &ChildRef) -> bool {
        self.0.caller() == Some(child.slot)
    }

    /// Whether the current task belongs to a child of this supervisor, at whatever depth. A call from there that would wait for
    /// the supervisor's end is refused.
    pub fn contains_caller(&self) -> bool {
        self.0.caller().is_some()
    }
}

/// Two handles are equal if they are of the same run of the same supervisor.
impl PartialEq for SupervisorRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0.0, &other.0.0)
    }
}

impl Eq for SupervisorRef {}

impl fmt::Debug for SupervisorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorRef").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// A handle to one run of a dynamic supervisor that does not keep it alive. Cheap to clone.
///
/// What a [`DynamicSupervisor`](crate::DynamicSupervisor) derefs to. What is said of [`SupervisorRef`] of errors and cancel safety holds here too.
#[derive(Clone)]
pub struct DynamicRef(pub(crate) Handle);

impl DynamicRef {
    pub(crate) fn new(port: Arc<Port>) -> Self {
        Self(Handle(port))
    }

    /// Starts a child; `Ok` when its `init` is done. Starts run side by side.
    ///
    /// # Errors
    ///
    /// See [`StartChildError`]; after any of them nothing of the child runs or is kept.
    pub async fn start_child(&self, spec: impl Into<ChildSpec>) -> Result<Started, StartChildError> {
        self.0.start_child(spec.into()).await
    }

    /// Stops a child, as its shutdown policy says, whatever its incarnation is by now; `Ok` when it is gone, and forgotten.
    ///
    /// # Errors
    ///
    /// See [`TerminateChildError`].
    pub async fn terminate_child(&self, child: &ChildRef) -> Result<(), TerminateChildError> {
        self.0.terminate(Target::Slot(child.slot)).await
    }

    /// As [`terminate_child`](Self::terminate_child), without waiting for the child's end.
    pub fn request_terminate_child(&self, child: &ChildRef) {
        self.0.request_terminate(Target::Slot(child.slot));
    }

    /// All children, in order of start.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the supervisor has ended.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, Closed> {
        self.0.which_children().await
    }

    /// One child; `None` if it is gone.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the supervisor has ended.
    pub async fn which_child(&self, child: &ChildRef) -> Result<Option<ChildInfo>, Closed> {
        self.0.which_child(Target::Slot(child.slot)).await
    }

    /// How many children there are.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the supervisor has ended.
    pub async fn count_children(&self) -> Result<ChildCounts, Closed> {
        self.0.count_children().await
    }

    /// Stops all children side by side, each within its own deadline; `Ok` when the supervisor and all under it have ended.
    ///
    /// # Errors
    ///
    /// See [`ShutdownError`].
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        self.0.shutdown(Cause::Requested(None)).await
    }

    /// As [`shutdown`](Self::shutdown), with a cause.
    ///
    /// # Errors
    ///
    /// See [`ShutdownError`].
    pub async fn shutdown_with(&self, cause: Cause) -> Result<(), ShutdownError> {
        self.0.shutdown(cause).await
    }

    /// As [`shutdown_with`](Self::shutdown_with), without waiting.
    pub fn request_shutdown(&self, cause: Cause) {
        self.0.request_shutdown(cause);
    }

    /// Kills all children side by side, without their `terminate`. Does not wait.
    pub fn kill(&self, cause: Cause) {
        self.0.kill(cause);
    }

    /// Waits until the supervisor and all under it have ended; answers why it did. At once if it has. Cancel safe.
    pub async fn wait(&self) -> ExitReason {
        self.0.wait().await
    }

    /// Whether the supervisor's loop has ended.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Whether the current task belongs to this child of the supervisor, or to anything under it.
    pub fn is_within(&self, child: &ChildRef) -> bool {
        self.0.caller() == Some(child.slot)
    }

    /// Whether the current task belongs to any child of this supervisor, at whatever depth.
    pub fn contains_caller(&self) -> bool {
        self.0.caller().is_some()
    }
}

/// Two handles are equal if they are of the same run of the same supervisor.
impl PartialEq for DynamicRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0.0, &other.0.0)
    }
}

impl Eq for DynamicRef {}

impl fmt::Debug for DynamicRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicRef").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// What both kinds of handle share.
#[derive(Clone)]
pub(crate) struct Handle(pub(crate) Arc<Port>);

type Answer = Result<Outcome, Refusal>;

impl Handle {
    fn caller(&self) -> Option<crate::machine::SlotId> {
        lineage::caller(&self.0)
    }

    /// Sends a request and waits for its answer. `None`: the loop has ended, or ends before it answers.
    async fn call<T>(
        &self,
        lane: usize,
        request: impl Into<Message>,
        reply: oneshot::Receiver<T>,
    ) -> Option<T> {
        self.0.inbox.push_bounded(lane, request.into()).await.ok()?;
        reply.await.ok()
    }

    async fn start_child(&self, spec: ChildSpec) -> Result<Started, StartChildError> {
        let (tag, reply) = oneshot::channel();
        let ChildSpec { id, factory, settings } = spec;
        let request = StartChild { tag, caller: self.caller(), id: id.clone(), factory, settings };
        let answer: Answer = self.call(COMMANDS, request, reply).await.ok_or(StartChildError::Closed)?;
        match answer {
            Ok(Outcome::Started(slot, incarnation)) => Ok(Started::Child(ChildRef { id, slot, incarnation })),
            Ok(Outcome::Ignored | Outcome::Done) => Ok(Started::Ignored),
            Err(refusal) => Err(StartChildError::from_refusal(refusal, id)),
        }
    }

    async fn terminate(&self, target: Target) -> Result<(), TerminateChildError> {
        let (tag, reply) = oneshot::channel();
        let request = Request::Terminate { tag: Some(tag), caller: self.caller(), target, again: false };
        self.call(STOPS, request, reply).await.ok_or(TerminateChildError::Closed)??;
        Ok(())
    }

    fn request_terminate(&self, target: Target) {
        let request = Request::Terminate { tag: None, caller: None, target, again: false };
        // Refused only when the supervisor has ended, and with it the child.
        let _ = self.0.inbox.push(STOPS, request.into());
    }

    async fn which_children(&self) -> Result<Vec<ChildInfo>, Closed> {
        let (tag, reply) = oneshot::channel();
        self.call(COMMANDS, Request::WhichChildren(tag), reply).await.ok_or(Closed)
    }

    async fn which_child(&self, target: Target) -> Result<Option<ChildInfo>, Closed> {
        let (tag, reply) = oneshot::channel();
        self.call(COMMANDS, Request::WhichChild(target, tag), reply).await.ok_or(Closed)
    }

    async fn count_children(&self) -> Result<ChildCounts, Closed> {
        let (tag, reply) = oneshot::channel();
        self.call(COMMANDS, Request::CountChildren(tag), reply).await.ok_or(Closed)
    }

    async fn get_childspec(&self, target: Target) -> Result<Option<Policy>, Closed> {
        let (tag, reply) = oneshot::channel();
        self.call(COMMANDS, Request::GetChildSpec(target, tag), reply).await.ok_or(Closed)
    }

    async fn shutdown(&self, cause: Cause) -> Result<(), ShutdownError> {
        let (tag, reply) = oneshot::channel();
        let request = Request::Shutdown { tag: Some(tag), caller: self.caller(), cause };
        match self.call(STOPS, request, reply).await {
            Some(Err(Refusal::Stuck(stuck))) => return Err(ShutdownError::Stuck(stuck)),
            Some(Err(Refusal::WouldDeadlock)) => return Err(ShutdownError::WouldDeadlock),
            // Done, or the loop has ended already.
            Some(_) | None => {}
        }
        self.wait().await;
        Ok(())
    }

    pub(crate) fn request_shutdown(&self, cause: Cause) {
        // Refused only when the supervisor has ended, which is what was wanted.
        let _ = self.0.inbox.push(STOPS, Request::Shutdown { tag: None, caller: None, cause }.into());
    }

    fn kill(&self, cause: Cause) {
        let _ = self.0.inbox.push(STOPS, Request::Kill { cause }.into());
    }

    async fn wait(&self) -> ExitReason {
        self.0.ended().await
    }

    fn is_closed(&self) -> bool {
        self.0.inbox.is_closed()
    }
}

/// Shuts a root supervisor down, in the background, when the last strong handle to it is dropped.
pub(crate) struct StopOnDrop(pub(crate) Handle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.request_shutdown(Cause::Requested(None));
    }
}
