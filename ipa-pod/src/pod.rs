//! One incarnation of a pod, as others see it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{self, Poll, Waker};
use std::time::SystemTime;

use ipa_supervisor::{
    Address, Cause, ChildCounts, ChildId, ChildInfo, ChildRef, ChildSpec, Closed, DeleteChildError,
    DynamicRef, ExitReason, RestartChildError, StartChildError, Started, SupervisorRef, TerminateChildError,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::activity::Activity;
use crate::error::StopPodError;
use crate::host::{KeyHold, Succession};
use crate::registry::PodRegistry;
use crate::scope::LookupError;
use crate::spec::PodFactory;
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

pub(crate) struct Shared {
    pub(crate) task: TaskId,
    pub(crate) status: Mutex<PodStatus>,
    pub(crate) created: Instant,
    pub(crate) started_at: SystemTime,
    pub(crate) restarts: AtomicU64,
    pub(crate) registry: PodRegistry,
    /// What a restart makes the successor with.
    pub(crate) factory: Arc<dyn PodFactory>,
    /// The supervisor that the pod is; `None` if it ended before it came to one.
    pub(crate) supervisor: OnceLock<Option<SupervisorRef>>,
    /// The supervisor that the pod is a child of, if it is a pod supervisor's.
    pub(crate) parent: Option<DynamicRef>,
    /// The pod as a child of that one.
    pub(crate) child: OnceLock<ChildRef>,
    /// What holds the task's key while this incarnation lives.
    pub(crate) key: Mutex<Weak<KeyHold>>,
    pub(crate) succession: Mutex<Succession>,
    /// Set by whoever wants the pod to stop; the pod sees it wherever it is in its life.
    pub(crate) stop_wanted: StopWanted,
    pub(crate) is_stuck: AtomicBool,
    /// Whether `Starting` was published: if not, `Ended` is not either.
    pub(crate) announced: AtomicBool,
    pub(crate) stop_announced: AtomicBool,
    /// Set when the pod becomes active.
    pub(crate) up: AtomicBool,
    /// Made when somebody asks for it.
    activity: OnceLock<Arc<Activity>>,
    /// Told whenever a child has published something, and when the pod becomes active, stuck, has a supervisor, has ended.
    pub(crate) changed: Arc<Notify>,
    /// What few pods have.
    extra: Mutex<Option<Box<Extra>>>,
    pub(crate) reason: Mutex<Option<ExitReason>>,
    pub(crate) ended: OnceLock<ExitReason>,
}

#[derive(Default)]
struct Extra {
    metadata: BTreeMap<String, String>,
    labels: BTreeSet<Arc<str>>,
    /// The children that were killed and have not ended.
    stuck: Vec<ChildRef>,
}

impl Shared {
    pub(crate) fn new(
        task: TaskId,
        registry: PodRegistry,
        factory: Arc<dyn PodFactory>,
        parent: Option<DynamicRef>,
    ) -> Self {
        Self {
            task,
            status: Mutex::new(PodStatus::Starting),
            created: Instant::now(),
            started_at: SystemTime::now(),
            restarts: AtomicU64::new(0),
            registry,
            factory,
            supervisor: OnceLock::new(),
            parent,
            child: OnceLock::new(),
            key: Mutex::new(Weak::new()),
            succession: Mutex::new(Succession::Open),
            stop_wanted: StopWanted::default(),
            is_stuck: AtomicBool::new(false),
            announced: AtomicBool::new(false),
            stop_announced: AtomicBool::new(false),
            up: AtomicBool::new(false),
            activity: OnceLock::new(),
            changed: Arc::default(),
            extra: Mutex::new(None),
            reason: Mutex::new(None),
            ended: OnceLock::new(),
        }
    }

    fn extra<T>(&self, of: impl FnOnce(&mut Extra) -> T) -> T {
        of(self.extra.lock().get_or_insert_default())
    }

    pub(crate) fn set_labels(&self, labels: BTreeSet<Arc<str>>) {
        self.extra(|extra| extra.labels = labels);
    }

    pub(crate) fn stuck(&self) -> Vec<ChildRef> {
        self.extra(|extra| extra.stuck.clone())
    }

    pub(crate) fn add_stuck(&self, child: ChildRef) {
        self.extra(|extra| extra.stuck.push(child));
    }

    pub(crate) fn remove_stuck(&self, child: &ChildRef) {
        self.extra(|extra| extra.stuck.retain(|stuck| stuck != child));
    }

    pub(crate) fn activity(&self) -> &Arc<Activity> {
        self.activity.get_or_init(Activity::new)
    }

    /// Counts as activity, if anybody wants to know of it.
    pub(crate) fn touch(&self) {
        if let Some(activity) = self.activity.get() {
            activity.touch();
        }
    }

    /// The supervisor that the pod is, or that there will be none. The first word stands.
    pub(crate) fn set_supervisor(&self, supervisor: Option<SupervisorRef>) {
        if self.supervisor.set(supervisor).is_ok() {
            self.changed.notify_waiters();
        }
    }

    /// Sets a flag, and tells whoever waits for it.
    pub(crate) fn raise(&self, flag: &AtomicBool) {
        flag.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Set once, at the pod's very end.
    pub(crate) fn set_ended(&self, reason: ExitReason) {
        if self.ended.set(reason).is_ok() {
            self.changed.notify_waiters();
        }
    }

    /// Waits until `look` finds something.
    async fn until<T>(&self, look: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            // Enlisted before the look, so that no change between the look and the wait is missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = look(self) {
                return found;
            }
            changed.await;
        }
    }
}

/// The wish that a pod stop. The pod's own task leaves its waker here rather than a place in a list: it waits for this all its life.
#[derive(Default)]
pub(crate) struct StopWanted {
    cause: OnceLock<Cause>,
    task: Mutex<Option<Waker>>,
}

impl StopWanted {
    /// The first wish stands.
    pub(crate) fn set(&self, cause: Cause) {
        if self.cause.set(cause).is_ok() {
            let task = self.task.lock().take();
            if let Some(task) = task {
                task.wake();
            }
        }
    }

    /// For the pod's own task.
    pub(crate) fn poll(&self, cx: &task::Context<'_>) -> Poll<&Cause> {
        if let Some(cause) = self.cause.get() {
            return Poll::Ready(cause);
        }
        let waits = self.task.lock().as_ref().is_some_and(|task| task.will_wake(cx.waker()));
        if !waits {
            // Cloned before, and dropped after: no waker's code runs under the lock.
            let task = cx.waker().clone();
            let before = self.task.lock().replace(task);
            drop(before);
        }
        // Again: what was wanted before the waker was there has woken nobody.
        self.cause.get().map_or(Poll::Pending, Poll::Ready)
    }
}

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
        self.0.until(|pod| pod.ended.get().cloned()).await
    }

    /// Whether the pod and all under it have ended.
    pub fn has_ended(&self) -> bool {
        self.0.ended.get().is_some()
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
            .until(|pod| match pod.ended.get() {
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
        let as_child = match (&self.0.parent, self.0.child.get()) {
            (Some(parent), Some(child)) => parent.is_within(child),
            _ => false,
        };
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
        let child = child.into();
        if self.has_ended() {
            // What stands under the task's id by now is its successor's.
            return Err(LookupError::NotFound { task: self.task().clone(), child });
        }
        self.0.registry.find(self.task(), &child)
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
        self.supervisor().await.ok_or(StartChildError::Closed)?.start_child(spec).await
    }

    /// Stops a child of the pod; see [`SupervisorRef::terminate_child`].
    ///
    /// # Errors
    ///
    /// See [`TerminateChildError`].
    pub async fn terminate_child(&self, id: impl Into<ChildId>) -> Result<(), TerminateChildError> {
        self.supervisor().await.ok_or(TerminateChildError::Closed)?.terminate_child(id).await
    }

    /// Starts a child of the pod again that is not running; see [`SupervisorRef::restart_child`].
    ///
    /// # Errors
    ///
    /// See [`RestartChildError`].
    pub async fn restart_child(&self, id: impl Into<ChildId>) -> Result<Started, RestartChildError> {
        self.supervisor().await.ok_or(RestartChildError::Closed)?.restart_child(id).await
    }

    /// Forgets a child of the pod that is not running; see [`SupervisorRef::delete_child`].
    ///
    /// # Errors
    ///
    /// See [`DeleteChildError`].
    pub async fn delete_child(&self, id: impl Into<ChildId>) -> Result<(), DeleteChildError> {
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

    /// Moves to a status, if that is a step forward; answers whether it was.
    pub(crate) fn enter(&self, next: PodStatus) -> bool {
        let mut status = self.0.status.lock();
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
