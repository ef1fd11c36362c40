//! The port to whoever says which tasks exist, and where they may run.
//!
//! A pod may start only if its task's event stream exists. This crate does not know stores; it asks this port, once per start,
//! and holds what it is given for as long as the pod lives. On one machine that is nothing but "the stream exists"; a store that
//! many machines share hands out ownership through the same port.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ipa_supervisor::BoxError;
use thiserror::Error;
use tokio::sync::SetOnce;

use crate::task::TaskId;

/// May this task's pod run here, now?
///
/// Asked once, inside the start, on the pod's own task, after the task's key is reserved: so never twice at once for one task
/// by one [`PodSupervisor`](crate::PodSupervisor). A stop that arrives meanwhile drops the call. A panic in it fails the start.
///
/// ```
/// use ipa_pod::{Admission, AdmitError, Permit, TaskId, async_trait};
///
/// /// Knows its tasks by heart.
/// struct Fixed(Vec<TaskId>);
///
/// #[async_trait]
/// impl Admission for Fixed {
///     async fn admit(&self, task: &TaskId) -> Result<Permit, AdmitError> {
///         if self.0.contains(task) { Ok(Permit::new()) } else { Err(AdmitError::StreamNotFound) }
///     }
/// }
/// ```
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// Answers with a permit, or says why not.
    async fn admit(&self, task: &TaskId) -> Result<Permit, AdmitError>;
}

#[async_trait]
impl<A: Admission + ?Sized> Admission for Arc<A> {
    async fn admit(&self, task: &TaskId) -> Result<Permit, AdmitError> {
        (**self).admit(task).await
    }
}

/// Why a task's pod may not run here, now.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdmitError {
    /// The task has no event stream.
    #[error("the task has no event stream")]
    StreamNotFound,
    /// Another machine owns the task; the text says which, if that is known.
    #[error("the task is owned elsewhere ({0})")]
    OwnedElsewhere(String),
    /// It could not be found out.
    #[error("the store is unavailable")]
    Unavailable(#[source] BoxError),
}

/// The right to run a task's pod, held for as long as the pod lives.
///
/// It is given back by the synchronous `Drop` of what it [holds](Self::holding), when the last that worked for the pod has
/// ended, and before the task's key is free.
#[must_use = "dropping a permit gives the right to run back"]
pub struct Permit {
    /// What the pod keeps to the end.
    pub(crate) guard: Option<Box<dyn Any + Send>>,
    /// What it listens to.
    pub(crate) revoked: Option<Arc<SetOnce<()>>>,
}

impl Permit {
    /// A permit that holds nothing.
    pub fn new() -> Self {
        Self { guard: None, revoked: None }
    }

    /// A permit whose end is `guard`'s `Drop`.
    pub fn holding(guard: impl Any + Send) -> Self {
        Self { guard: Some(Box::new(guard)), revoked: None }
    }

    /// A permit that can be lost: the lease of the task went to another machine, say.
    ///
    /// A pod whose permit is revoked is killed, without its children's `terminate`, so that nothing is written after the loss.
    pub fn revocable() -> (Self, Revoker) {
        Self::new().with_revoker()
    }

    /// This permit, made revocable.
    pub fn with_revoker(mut self) -> (Self, Revoker) {
        let revoked = self.revoked.get_or_insert_with(|| Arc::new(SetOnce::new())).clone();
        (self, Revoker(revoked))
    }
}

impl Default for Permit {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("revocable", &self.revoked.is_some()).finish_non_exhaustive()
    }
}

/// Revokes a [`Permit`]. Dropping it revokes nothing.
#[derive(Clone)]
pub struct Revoker(Arc<SetOnce<()>>);

impl Revoker {
    /// Takes the permit away: the pod, starting or running, is killed. A second time does nothing.
    pub fn revoke(&self) {
        let _ = self.0.set(());
    }
}

impl fmt::Debug for Revoker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revoker").field("revoked", &self.0.initialized()).finish()
    }
}
