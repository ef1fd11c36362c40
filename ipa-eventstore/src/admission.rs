//! The port of `ipa-pod` to its store: a task's pod may start if the task's stream exists.
//!
//! A task's stream is the stream of the task's name. On one machine that is all there is to ownership, so the permit
//! holds nothing: a store has one writer process, and that process never has two pods of one task.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ipa_pod::{Admission, AdmitError, Permit, TaskId};

use crate::{EventStore, InMemoryEventStore, SqliteEventStore, StreamId};

/// Any [`EventStore`] as an [`Admission`]: a task is admitted if its stream, the one of its name, exists.
///
/// [`SqliteEventStore`] and [`InMemoryEventStore`] are admissions themselves; this is for an `Arc<dyn EventStore>`
/// and for stores from elsewhere.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use ipa_eventstore::{EventStore, InMemoryEventStore, StoreAdmission, StreamId, StreamType};
/// use ipa_pod::{PodSpec, PodSupervisor, StartPodError};
///
/// let store: Arc<dyn EventStore> = Arc::new(InMemoryEventStore::new());
/// let pods =
///     PodSupervisor::builder(StoreAdmission::new(store.clone()), |_scope: &_| Ok(PodSpec::new())).start().await?;
/// assert!(matches!(pods.start_pod("agent-7").await, Err(StartPodError::StreamNotFound(_))));
///
/// store.start_stream(&StreamType::new("agent")?, Some(StreamId::new("agent-7")?), vec![]).await?;
/// pods.start_pod("agent-7").await?;
/// pods.shutdown().await?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`AdmitError::StreamNotFound`] if there is no such stream; so too if the task's id cannot be a stream's (it
/// contains a NUL). Whatever else the store answers, closed included, is [`AdmitError::Unavailable`] with the
/// [`StoreError`](crate::StoreError) as its source: nobody is told that a stream is missing by a store that could not look.
///
/// # Cancel safety
///
/// Cancel safe: it only reads.
#[derive(Clone)]
pub struct StoreAdmission(Arc<dyn EventStore>);

impl StoreAdmission {
    /// The tasks of this store.
    pub fn new(store: Arc<dyn EventStore>) -> Self {
        Self(store)
    }
}

impl fmt::Debug for StoreAdmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreAdmission").finish_non_exhaustive()
    }
}

#[async_trait]
impl Admission for StoreAdmission {
    async fn admit(&self, task: &TaskId) -> Result<Permit, AdmitError> {
        admit(&*self.0, task).await
    }
}

/// As [`StoreAdmission`].
#[async_trait]
impl Admission for SqliteEventStore {
    async fn admit(&self, task: &TaskId) -> Result<Permit, AdmitError> {
        admit(self, task).await
    }
}

/// As [`StoreAdmission`].
#[async_trait]
impl Admission for InMemoryEventStore {
    async fn admit(&self, task: &TaskId) -> Result<Permit, AdmitError> {
        admit(self, task).await
    }
}

async fn admit(store: &dyn EventStore, task: &TaskId) -> Result<Permit, AdmitError> {
    // No stream can have such a name, so none has it.
    let stream = StreamId::new(task.as_str()).map_err(|_| AdmitError::StreamNotFound)?;
    match store.stream_exists(&stream).await {
        Ok(true) => Ok(Permit::new()),
        Ok(false) => Err(AdmitError::StreamNotFound),
        Err(error) => Err(AdmitError::Unavailable(error.into())),
    }
}
