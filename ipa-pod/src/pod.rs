//! One incarnation of a pod, as others see it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use ipa_supervisor::{
    Address, Cause, ChildCounts, ChildId, ChildInfo, ChildSpec, Closed, DeleteChildError, ExitReason,
    RestartChildError, StartChildError, Started, SupervisorRef, TerminateChildError,
};
use serde::{Deserialize, Serialize};

use crate::error::StopPodError;
use crate::registry::published;
use crate::scope::LookupError;
use crate::shared::Shared;
use crate::task::TaskId;

/// What a pod is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PodStatus {
    /// Its key is reserved; it is being admitted, or its children are starting.
    Starting,
    /// All its children came up.
    Active,
    /// It was told to stop, gave up, or its significant children have ended.
    Stopping,
    /// It was to stop, and some of it was killed and has not ended.
    Stuck,
}

impl fmt::Display for PodStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Stopping => "stopping",
            Self::Stuck => "stuck",
        })
    }
}

/// A row of [`list_pods`](crate::PodSupervisorRef::list_pods).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PodInfo {
    /// The task.
    pub task: TaskId,
    /// The pod.
    pub pod: PodRef,
    /// What it is doing.
    pub status: PodStatus,
    /// Since when it exists, by the wall clock.
    pub started_at: SystemTime,
    /// How often its children were restarted.
    pub restarts: u64,
}

/// A pod with its children as plain data, apart from the live ones.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PodSnapshot {
    /// The task.
    pub task: TaskId,
    /// What the pod was doing.
    pub status: PodStatus,
    /// Since when it exists, by the wall clock.
    pub started_at: SystemTime,
    /// How often its children were restarted.
    pub restarts: u64,
    /// The labels that its spec gave it.
    pub labels: Vec<String>,
    /// The user's own metadata.
    pub metadata: BTreeMap<String, String>,
    /// Its children, in order of start.
    pub children: Vec<ChildInfo>,
}

/// One incarnation of a task's pod. Cheap to clone, and weak: it keeps nothing alive.
///
/// Two refs are equal if they are of the same incarnation. A restarted pod has a new one.
///
/// The operations on children are those of [`SupervisorRef`], and its rules on errors, cancel safety and calls that would wait
/// for themselves hold here. While the pod is being admitted it has no children yet: listings are empty, and a `start_child`
/// waits for the initial start, or for its failure.
#[derive(Clone)]
pub struct PodRef(pub(crate) Arc<Shared>);

impl PodRef {
    /// The task.
    pub fn task(&self) -> &TaskId {
        &self.0.task
    }

    /// What the pod is doing. Its last status if it has ended.
    pub fn status(&self) -> PodStatus {
        *self.0.status.lock()
    }

    /// Since when it exists, by the wall clock.
    pub fn started_at(&self) -> SystemTime {
        self.0.started_at
    }

    /// For how long it has existed, by tokio's clock.
    pub fn age(&self) -> std::time::Duration {
        self.0.created.elapsed()
    }

    /// How often its children were restarted.
    pub fn restarts(&self) -> u64 {
        self.0.restarts.load(Ordering::Relaxed)
    }

    /// All of that in one row.
    pub fn info(&self) -> PodInfo {
        PodInfo {
            task: self.task().clone(),
            pod: self.clone(),
            status: self.status(),
            started_at: self.started_at(),
            restarts: self.restarts(),
        }
    }

    /// The user's own metadata. It ends with this incarnation.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.0.extra(|extra| extra.metadata.clone())
    }

    /// Sets a piece of the user's own metadata; answers what was there.
    pub fn set_metadata(&self, key: impl Into<String>, value: impl Into<String>) -> Option<String> {
        let (key, value) = (key.into(), value.into());
        self.0.extra(|extra| extra.metadata.insert(key, value))
    }

    /// The labels that its [spec](crate::PodSpec::label) gave it.
    pub fn labels(&self) -> Vec<Arc<str>> {
        self.0.extra(|extra| extra.labels.iter().cloned().collect())
    }

    /// Waits until the pod and all under it have ended and its key is free; answers why it did. At once if it has. Cancel safe.
    pub async fn wait(&self) -> ExitReason {
        self.0.until(|pod| pod.ended().cloned()).await
    }

    /// Whether the pod and all under it have ended.
    pub fn has_ended(&self) -> bool {
        self.0.ended().is_some()
    }

    /// Asks the pod to stop, without waiting: what its own children may ask for.
    pub fn request_stop(&self, reason: impl Into<Arc<str>>) {
        self.want_stop(Some(reason.into()));
    }

    /// Its status shows it at once; the pod's own task, which sees it wherever it is in its life, does the rest.
    pub(crate) fn want_stop(&self, reason: Option<Arc<str>>) {
        self.want_stop_for(Cause::Requested(reason));
    }

    pub(crate) fn want_stop_for(&self, cause: Cause) {
        self.enter(PodStatus::Stopping);
        self.0.stop_wanted.set(cause);
    }

    /// Stops the pod, or joins the stop that is under way.
    pub(crate) async fn stop(&self, reason: Option<Arc<str>>) -> Result<(), StopPodError> {
        self.want_stop(reason);
        self.stopped().await
    }

    /// Waits until the pod has ended, or it is clear that it does not.
    pub(crate) async fn stopped(&self) -> Result<(), StopPodError> {
        self.0
            .until(|pod| match pod.ended() {
                Some(_) => Some(Ok(())),
                None => pod
                    .is_stuck
                    .load(Ordering::Acquire)
                    .then(|| Err(StopPodError::Stuck { task: pod.task.clone(), children: pod.stuck() })),
            })
            .await
    }

    /// Waits until the pod has become active.
    pub(crate) async fn active(&self) {
        self.0.until(|pod| pod.up.load(Ordering::Acquire).then_some(())).await;
    }

    /// Whether the current task works for this pod, so that it must not wait for its end.
    pub(crate) fn contains_caller(&self) -> bool {
        let as_child = self.0.child.get().is_some_and(|(supervisor, child)| supervisor.is_within(child));
        let within = |supervisor: &Option<SupervisorRef>| {
            supervisor.as_ref().is_some_and(SupervisorRef::contains_caller)
        };
        as_child || self.0.supervisor.get().is_some_and(within)
    }

    /// The address of a mailbox server among the pod's children.
    ///
    /// # Errors
    ///
    /// [`LookupError`]: no such child is up now, or its messages are of another type.
    pub fn address<M: Send + 'static>(&self, child: impl Into<ChildId>) -> Result<Address<M>, LookupError> {
        self.find(child)
    }

    /// Whatever a child of the pod has published, if it is a `T`.
    ///
    /// # Errors
    ///
    /// As [`address`](Self::address).
    pub fn find<T: Clone + Send + Sync + 'static>(
        &self,
        child: impl Into<ChildId>,
    ) -> Result<T, LookupError> {
        // Among its own: what stands under the task's id may be its successor's by now.
        let key = (self.task().clone(), child.into());
        let entry = self.0.names.lookup(&key);
        published(key, entry)
    }

    /// The pod's children, in order of start.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the pod has ended.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, Closed> {
        match self.supervisor_now()? {
            Some(supervisor) => supervisor.which_children().await,
            None => Ok(Vec::new()),
        }
    }

    /// How many children the pod has.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the pod has ended.
    pub async fn count_children(&self) -> Result<ChildCounts, Closed> {
        match self.supervisor_now()? {
            Some(supervisor) => supervisor.count_children().await,
            None => Ok(ChildCounts::default()),
        }
    }

    /// Adds a child to the pod; see [`SupervisorRef::start_child`].
    ///
    /// # Errors
    ///
    /// See [`StartChildError`].
    pub async fn start_child(&self, spec: impl Into<ChildSpec>) -> Result<Started, StartChildError> {
        if self.is_admission_of_caller() {
            return Err(StartChildError::WouldDeadlock);
        }
        self.supervisor().await.ok_or(StartChildError::Closed)?.start_child(spec).await
    }

    /// Stops a child of the pod; see [`SupervisorRef::terminate_child`].
    ///
    /// # Errors
    ///
    /// See [`TerminateChildError`].
    pub async fn terminate_child(&self, id: impl Into<ChildId>) -> Result<(), TerminateChildError> {
        if self.is_admission_of_caller() {
            return Err(TerminateChildError::WouldDeadlock);
        }
        self.supervisor().await.ok_or(TerminateChildError::Closed)?.terminate_child(id).await
    }

    /// Starts a child of the pod again that is not running; see [`SupervisorRef::restart_child`].
    ///
    /// # Errors
    ///
    /// See [`RestartChildError`].
    pub async fn restart_child(&self, id: impl Into<ChildId>) -> Result<Started, RestartChildError> {
        if self.is_admission_of_caller() {
            return Err(RestartChildError::WouldDeadlock);
        }
        self.supervisor().await.ok_or(RestartChildError::Closed)?.restart_child(id).await
    }

    /// Forgets a child of the pod that is not running; see [`SupervisorRef::delete_child`].
    ///
    /// # Errors
    ///
    /// See [`DeleteChildError`].
    pub async fn delete_child(&self, id: impl Into<ChildId>) -> Result<(), DeleteChildError> {
        if self.is_admission_of_caller() {
            return Err(DeleteChildError::WouldDeadlock);
        }
        self.supervisor().await.ok_or(DeleteChildError::Closed)?.delete_child(id).await
    }

    /// The pod and its children as plain data. A pod that is stuck though its own supervisor is gone has none to show.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the pod has ended.
    pub async fn snapshot(&self) -> Result<PodSnapshot, Closed> {
        let children = match self.which_children().await {
            Err(Closed) if self.has_ended() => return Err(Closed),
            children => children.unwrap_or_default(),
        };
        Ok(PodSnapshot {
            task: self.task().clone(),
            status: self.status(),
            started_at: self.started_at(),
            restarts: self.restarts(),
            labels: self.labels().iter().map(ToString::to_string).collect(),
            metadata: self.metadata(),
            children,
        })
    }

    /// Whether the pod has no supervisor yet, and the current task is what it waits for.
    fn is_admission_of_caller(&self) -> bool {
        self.0.supervisor.get().is_none() && self.contains_caller()
    }

    /// The pod's supervisor, waited for if need be; `None` if the pod ended before it had one.
    async fn supervisor(&self) -> Option<SupervisorRef> {
        self.0.until(|pod| pod.supervisor.get().cloned()).await
    }

    fn supervisor_now(&self) -> Result<Option<SupervisorRef>, Closed> {
        match self.0.supervisor.get() {
            None => Ok(None),
            Some(None) => Err(Closed),
            Some(Some(supervisor)) => Ok(Some(supervisor.clone())),
        }
    }

    /// Moves to a status, if that is a step forward and the pod's end is not being told; answers whether it was.
    pub(crate) fn enter(&self, next: PodStatus) -> bool {
        let mut status = self.0.status.lock();
        if self.0.over.load(Ordering::Relaxed) {
            return false;
        }
        let forward = matches!(
            (*status, next),
            (PodStatus::Starting, _)
                | (PodStatus::Active, PodStatus::Stopping | PodStatus::Stuck)
                | (PodStatus::Stopping, PodStatus::Stuck)
        );
        if forward && *status != next {
            *status = next;
            return true;
        }
        false
    }
}

impl PartialEq for PodRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for PodRef {}

impl fmt::Debug for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodRef")
            .field("task", &self.0.task)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
