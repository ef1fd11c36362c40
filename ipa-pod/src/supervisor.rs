//! The lifecycle of pods by task id: start, stop, restart, find, list, drain.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ipa_supervisor::{
    BoxError, Cause, ChildRef, ChildSpec, DynamicRef, DynamicSupervisor, ShutdownError, StartChildError,
    StartError, Started, StuckChild,
};
use thiserror::Error;
use tokio::sync::{Semaphore, broadcast};

use crate::admission::Admission;
use crate::child::{Plan, PodChild};
use crate::error::{PodNotFound, RestartPodError, StartPodError, StopPodError, panicked};
use crate::event::{EVENTS, PodEvents};
use crate::host::{Host, Predecessor, Reservation, Totals};
use crate::pod::{PodInfo, PodRef, PodSnapshot, PodStatus};
use crate::registry::PodRegistry;
use crate::scope::PodScope;
use crate::spec::{PodFactory, PodSpec};
use crate::stats::PodStats;
use crate::task::{InvalidTaskId, TaskId};

/// The supervisor of pods, one per task.
///
/// Clones are strong: when the last is dropped, all pods are stopped gracefully, in the background. All operations are those of
/// [`PodSupervisorRef`], to which it derefs.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ipa_pod::{Admission, AdmitError, Permit, PodSpec, PodSupervisor, TaskId, async_trait};
/// use ipa_supervisor::ChildSpec;
///
/// struct Everything; // has an event stream
/// #[async_trait]
/// impl Admission for Everything {
///     async fn admit(&self, _task: &TaskId) -> Result<Permit, AdmitError> { Ok(Permit::new()) }
/// }
///
/// let pods = PodSupervisor::builder(Everything, |_scope: &_| {
///     Ok(PodSpec::new().child(ChildSpec::task("worker", |cx| async move { cx.stopped().await; })))
/// })
/// .start()
/// .await?;
/// let pod = pods.start_pod("agent-7").await?; // all its children are up
/// assert!(pods.start_pod("agent-7").await.is_err()); // never a second one
/// assert_eq!(pod.count_children().await?.active, 1);
/// pods.stop_pod("agent-7").await?; // all of it is gone, and the key is free
/// pods.shutdown().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "dropping the last handle stops all pods"]
pub struct PodSupervisor {
    handle: PodSupervisorRef,
    _host: Arc<Host>,
    _dynamic: DynamicSupervisor,
}

impl PodSupervisor {
    /// Begins to describe a pod supervisor: who says which tasks may run, and what a pod consists of.
    ///
    /// A pod's factory captures what the children depend on.
    pub fn builder<F>(admission: impl Admission, factory: F) -> PodSupervisorBuilder
    where
        F: Fn(&PodScope) -> Result<PodSpec, BoxError> + Send + Sync + 'static,
    {
        PodSupervisorBuilder {
            admission: Arc::new(admission),
            factory: Arc::new(factory),
            registry: PodRegistry::new(),
            max_pods: None,
            max_starting: None,
            admission_timeout: Duration::from_secs(30),
            shutdown_timeout: None,
        }
    }

    /// A handle that keeps nothing alive: for whoever is kept alive by the pods.
    pub fn downgrade(&self) -> PodSupervisorRef {
        self.handle.clone()
    }
}

impl Deref for PodSupervisor {
    type Target = PodSupervisorRef;

    fn deref(&self) -> &PodSupervisorRef {
        &self.handle
    }
}

impl fmt::Debug for PodSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodSupervisor").field("pods", &self.count_pods()).finish_non_exhaustive()
    }
}

/// A description of a [`PodSupervisor`].
///
/// | option | default | effect |
/// |---|---|---|
/// | [`max_pods`](Self::max_pods) | no limit | a start beyond it is refused |
/// | [`max_starting`](Self::max_starting) | no limit | how many pods start at once; further starts wait |
/// | [`admission_timeout`](Self::admission_timeout) | 30 s | how long the store may take to admit a task |
/// | [`shutdown_timeout`](Self::shutdown_timeout) | none | when, in a shutdown, pods that are left are killed |
#[must_use = "a builder does nothing until it is started"]
pub struct PodSupervisorBuilder {
    admission: Arc<dyn Admission>,
    factory: Arc<dyn PodFactory>,
    registry: PodRegistry,
    max_pods: Option<usize>,
    max_starting: Option<usize>,
    admission_timeout: Duration,
    shutdown_timeout: Option<Duration>,
}

impl PodSupervisorBuilder {
    /// How many pods there may be, starting and stopping ones included. Default: no limit.
    pub fn max_pods(mut self, max: usize) -> Self {
        self.max_pods = Some(max);
        self
    }

    /// How many pods may start at once; further starts wait their turn. Default: no limit. Zero is taken for one.
    ///
    /// A pod whose start waits for the start of another takes up two places: with too few, both wait until a timeout.
    pub fn max_starting(mut self, max: usize) -> Self {
        self.max_starting = Some(max.max(1));
        self
    }

    /// How long the [`Admission`] may take. Default: 30 seconds.
    pub fn admission_timeout(mut self, timeout: Duration) -> Self {
        self.admission_timeout = timeout;
        self
    }

    /// How long a shutdown of all pods may take before those that are left are killed. Default: no limit but the pods' own,
    /// which is 11 seconds for each, side by side, unless their specs say otherwise.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = Some(timeout);
        self
    }

    /// The registry that the pods are entered in: one that others look things up in, say. Default: one of its own.
    pub fn registry(mut self, registry: PodRegistry) -> Self {
        self.registry = registry;
        self
    }

    /// Starts the pod supervisor, without pods, on a task of its own.
    ///
    /// # Errors
    ///
    /// None at present but those of a supervisor that is ended while it starts.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn start(self) -> Result<PodSupervisor, StartError> {
        let places = |max: usize| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        let host = Arc::new(Host {
            registry: self.registry,
            admission: self.admission,
            factory: self.factory,
            events: broadcast::Sender::new(EVENTS),
            admission_timeout: self.admission_timeout,
            places: self.max_pods.map(|max| (max, places(max))),
            starting: self.max_starting.map(places),
            draining: AtomicBool::new(false),
            totals: Totals::default(),
        });
        let mut builder = DynamicSupervisor::builder();
        if let Some(timeout) = self.shutdown_timeout {
            builder = builder.shutdown_timeout(timeout);
        }
        let stuck = Arc::downgrade(&host);
        let dynamic = builder.observer(Arc::new(move |note: &_| note_stuck(&stuck, note))).start().await?;
        let handle = PodSupervisorRef {
            host: Arc::downgrade(&host),
            registry: host.registry.clone(),
            dynamic: dynamic.downgrade(),
        };
        Ok(PodSupervisor { handle, _host: host, _dynamic: dynamic })
    }
}

/// A pod that was killed whole could not say of itself that something of it does not end.
fn note_stuck(host: &Weak<Host>, note: &ipa_supervisor::Note) {
    if let (Some(host), ipa_supervisor::Note::Stuck(child)) = (host.upgrade(), note)
        && let Some(pod) = host.registry.pods.lookup(child.id.as_str())
        // Its successor, if a restart has got that far, is another child.
        && pod.0.child.get() == Some(child)
    {
        host.stuck(&pod);
    }
}

impl fmt::Debug for PodSupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodSupervisorBuilder").field("max_pods", &self.max_pods).finish_non_exhaustive()
    }
}

/// A handle to a pod supervisor that does not keep it alive. Cheap to clone.
///
/// # Guarantees
///
/// - There is never more than one pod per task. A task's key is reserved before anything of its pod starts, and free only after
///   the last of it has ended: before the stop call returns, before `Ended` is published, before a [`PodRef::wait`] resolves.
/// - Nothing that happens to one pod delays another, or a listing.
/// - A call never answers `Ok` for work that failed; when it returns, its effect is there to be seen.
///
/// # Cancel safety
///
/// Dropping the future of a start, stop or restart leaves it running to its end: the pod comes up, or nothing of it stays.
///
/// # A call that would wait for itself
///
/// From within a pod, stopping or restarting that pod, or shutting all down, is refused with `WouldDeadlock`;
/// [`PodRef::request_stop`] does not wait.
#[derive(Clone)]
pub struct PodSupervisorRef {
    host: Weak<Host>,
    registry: PodRegistry,
    dynamic: DynamicRef,
}

impl PodSupervisorRef {
    /// Starts the task's pod; `Ok` when all its children are up.
    ///
    /// The order of checks is: is the id valid, is there a pod, is there room, may the task run (asked of the [`Admission`] with
    /// the key reserved), do the children start.
    ///
    /// # Errors
    ///
    /// See [`StartPodError`].
    pub async fn start_pod<T>(&self, task: T) -> Result<PodRef, StartPodError>
    where
        T: TryInto<TaskId>,
        InvalidTaskId: From<T::Error>,
    {
        let host = self.host.upgrade().ok_or(StartPodError::Draining)?;
        let factory = host.factory.clone();
        self.start(&host, task.try_into().map_err(InvalidTaskId::from)?, factory).await
    }

    /// As [`start_pod`](Self::start_pod), with a spec of its own for this pod; a restart of the pod uses it too.
    ///
    /// # Errors
    ///
    /// See [`StartPodError`].
    pub async fn start_pod_with<T>(
        &self,
        task: T,
        factory: impl Fn(&PodScope) -> Result<PodSpec, BoxError> + Send + Sync + 'static,
    ) -> Result<PodRef, StartPodError>
    where
        T: TryInto<TaskId>,
        InvalidTaskId: From<T::Error>,
    {
        let host = self.host.upgrade().ok_or(StartPodError::Draining)?;
        self.start(&host, task.try_into().map_err(InvalidTaskId::from)?, Arc::new(factory)).await
    }

    async fn start(
        &self,
        host: &Arc<Host>,
        task: TaskId,
        factory: Arc<dyn PodFactory>,
    ) -> Result<PodRef, StartPodError> {
        let reservation = host.reserve(task, factory, Some(self.dynamic.clone()))?;
        self.start_reserved(host, reservation, None).await
    }

    async fn start_reserved(
        &self,
        host: &Arc<Host>,
        reservation: Reservation,
        predecessor: Option<Predecessor>,
    ) -> Result<PodRef, StartPodError> {
        let pod = reservation.end.pod.clone();
        let plan = Plan::Reserved { reservation: Some(reservation), predecessor };
        let host = host.clone();
        let spec = ChildSpec::once_with(pod.task().as_str(), move || PodChild::new(host, plan));
        let task = pod.task().clone();
        match self.dynamic.start_child(spec).await {
            Ok(Started::Child(_)) => Ok(pod),
            Ok(Started::Ignored) | Err(StartChildError::Closed) => Err(StartPodError::Draining),
            Err(StartChildError::Failed(failure)) => {
                let error = failure.reason.source().and_then(|error| error.downcast_ref::<StartPodError>());
                Err(error
                    .cloned()
                    .unwrap_or_else(|| StartPodError::Factory { task, source: panicked(&failure.reason) }))
            }
            Err(StartChildError::Stuck(_)) => {
                let children = pod.0.stuck.lock().clone();
                Err(StartPodError::Stuck { task, children })
            }
            Err(_) => Err(StartPodError::Ended { task, reason: pod.wait().await }),
        }
    }

    /// The task's pod, started if it has none: waits for one that is starting to be active, and for one that is stopping to
    /// have ended, so that a request is never lost to a pod on its way out.
    ///
    /// # Errors
    ///
    /// See [`StartPodError`]. [`AlreadyStarted`](StartPodError::AlreadyStarted) here means that the pod is stuck, or that the call
    /// comes from within it and would wait for itself.
    pub async fn get_or_start<T>(&self, task: T) -> Result<PodRef, StartPodError>
    where
        T: TryInto<TaskId>,
        InvalidTaskId: From<T::Error>,
    {
        let task: TaskId = task.try_into().map_err(InvalidTaskId::from)?;
        loop {
            let host = self.host.upgrade().ok_or(StartPodError::Draining)?;
            let factory = host.factory.clone();
            let (pod, status) = match self.start(&host, task.clone(), factory).await {
                Err(StartPodError::AlreadyStarted { pod, status }) => (pod, status),
                other => return other,
            };
            if status == PodStatus::Active {
                return Ok(pod);
            }
            if status == PodStatus::Stuck || pod.contains_caller() {
                return Err(StartPodError::AlreadyStarted { pod, status });
            }
            tokio::select! {
                biased;
                // Ended, or stuck: the next start says which.
                _ = pod.stopped() => {}
                // Active, unless it is stopping already.
                () = pod.active(), if status == PodStatus::Starting => {}
            }
        }
    }

    /// The pods that carry a label, in order of start.
    pub fn list_pods_labelled(&self, label: &str) -> Vec<PodInfo> {
        self.registry.labels.members(label).iter().map(PodRef::info).collect()
    }

    /// How many pods carry a label.
    pub fn count_pods_labelled(&self, label: &str) -> usize {
        self.registry.labels.count_members(label)
    }

    /// Stops the pods that carry a label, side by side; answers how many there were, when all are gone.
    ///
    /// # Errors
    ///
    /// See [`ShutdownPodsError`].
    pub async fn stop_pods_labelled(&self, label: &str) -> Result<usize, ShutdownPodsError> {
        let pods = self.registry.labels.members(label);
        if pods.iter().any(PodRef::contains_caller) {
            return Err(ShutdownPodsError::WouldDeadlock);
        }
        for pod in &pods {
            pod.want_stop(Some(format!("label {label}").into()));
        }
        let mut stuck = Vec::new();
        for pod in &pods {
            if let Err(StopPodError::Stuck { task, children }) = pod.stopped().await {
                stuck.push(StuckPod { task, children });
            }
        }
        if stuck.is_empty() { Ok(pods.len()) } else { Err(ShutdownPodsError::Stuck(stuck)) }
    }

    /// Stops the task's pod, its children in reverse; `Ok` when all of it is gone and the key is free.
    ///
    /// A pod that is still starting is rolled back. A second stop joins the first. A stop during a restart is answered when the old
    /// pod has ended; the new one comes up all the same. It takes at most the pod's shutdown timeout
    /// plus its kill grace: 11 seconds by default.
    ///
    /// # Errors
    ///
    /// See [`StopPodError`].
    pub async fn stop_pod(&self, task: impl AsRef<str>) -> Result<(), StopPodError> {
        self.stop(task.as_ref(), None).await
    }

    /// As [`stop_pod`](Self::stop_pod), with a word on why, for the log and the [`Stopping`](crate::PodEvent::Stopping) event.
    /// To the children it is a shutdown like any other.
    ///
    /// # Errors
    ///
    /// See [`StopPodError`].
    pub async fn stop_pod_with(
        &self,
        task: impl AsRef<str>,
        reason: impl Into<Arc<str>>,
    ) -> Result<(), StopPodError> {
        self.stop(task.as_ref(), Some(reason.into())).await
    }

    async fn stop(&self, task: &str, reason: Option<Arc<str>>) -> Result<(), StopPodError> {
        let not_running = || StopPodError::NotRunning(task.to_owned());
        let pod = self.registry.pods.lookup(task).ok_or_else(not_running)?;
        if pod.contains_caller() {
            return Err(StopPodError::WouldDeadlock);
        }
        pod.stop(reason).await
    }

    /// Stops the task's pod, if it has one, and starts it again with the spec it was started with. Its key is held throughout: a
    /// rival start is told that the pod is already started.
    ///
    /// # Errors
    ///
    /// See [`RestartPodError`]. If the new pod does not start, the task has none.
    pub async fn restart_pod<T>(&self, task: T) -> Result<PodRef, RestartPodError>
    where
        T: TryInto<TaskId>,
        InvalidTaskId: From<T::Error>,
    {
        let start = RestartPodError::Start;
        let task: TaskId = task.try_into().map_err(|error| start(InvalidTaskId::from(error).into()))?;
        let host = self.host.upgrade().ok_or(start(StartPodError::Draining))?;
        let Some(old) = self.registry.pods.lookup(&task) else {
            return self.start(&host, task, host.factory.clone()).await.map_err(start);
        };
        if !self.is_ours(&old) {
            return Err(RestartPodError::NotOurs(task));
        }
        if old.contains_caller() {
            return Err(RestartPodError::Stop(StopPodError::WouldDeadlock));
        }
        let Some((reservation, predecessor)) = host.succeed(&old, self.dynamic.clone()).map_err(start)?
        else {
            // It is at its very end, by itself.
            old.wait().await;
            return self.start(&host, task, old.0.factory.clone()).await.map_err(start);
        };
        self.start_reserved(&host, reservation, Some(predecessor)).await.map_err(|error| match error {
            StartPodError::Stuck { task, children } => {
                RestartPodError::Stop(StopPodError::Stuck { task, children })
            }
            error => start(error),
        })
    }

    /// The task's pod.
    ///
    /// # Errors
    ///
    /// [`PodNotFound`].
    pub fn get_pod(&self, task: impl AsRef<str>) -> Result<PodRef, PodNotFound> {
        let task = task.as_ref();
        self.registry.pods.lookup(task).ok_or_else(|| PodNotFound(task.to_owned()))
    }

    /// Whether the task has a pod that is starting or active.
    pub fn pod_running(&self, task: impl AsRef<str>) -> bool {
        let running = |pod: PodRef| matches!(pod.status(), PodStatus::Starting | PodStatus::Active);
        self.registry.pods.lookup(task.as_ref()).is_some_and(running)
    }

    /// All pods, in no particular order.
    pub fn list_pods(&self) -> Vec<PodInfo> {
        self.registry.pods.list().into_iter().map(|(_, pod)| pod.info()).collect()
    }

    /// How many pods there are, whatever their status.
    pub fn count_pods(&self) -> usize {
        self.registry.pods.count()
    }

    /// The registry that the pods and their children are entered in.
    pub fn registry(&self) -> &PodRegistry {
        &self.registry
    }

    /// Lifecycle events of all pods from now on.
    pub fn subscribe(&self) -> PodEvents {
        match self.host.upgrade() {
            Some(host) => PodEvents(host.events.subscribe()),
            // All senders are gone, so this one is closed as well.
            None => PodEvents(broadcast::channel(1).1),
        }
    }

    /// How the pods are doing, in numbers.
    pub fn stats(&self) -> PodStats {
        let mut stats = PodStats::default();
        for (_, pod) in self.registry.pods.list() {
            match pod.status() {
                PodStatus::Starting => stats.starting += 1,
                PodStatus::Active => stats.active += 1,
                PodStatus::Stopping => stats.stopping += 1,
                PodStatus::Stuck => stats.stuck += 1,
            }
        }
        if let Some(host) = self.host.upgrade() {
            let totals = &host.totals;
            stats.started_total = totals.started.load(Ordering::Relaxed);
            stats.start_failures_total = totals.start_failures.load(Ordering::Relaxed);
            stats.ended_total = totals.ended.load(Ordering::Relaxed);
            stats.child_restarts_total = totals.child_restarts.load(Ordering::Relaxed);
            stats.stuck_total = totals.stuck.load(Ordering::Relaxed);
        }
        stats
    }

    /// All pods with their children, as plain data, in order of task id.
    pub async fn snapshot(&self) -> Vec<PodSnapshot> {
        let mut snapshots = Vec::new();
        for (_, pod) in self.registry.pods.list() {
            // One that has ended meanwhile is no pod any more.
            snapshots.extend(pod.snapshot().await);
        }
        snapshots.sort_by(|a, b| a.task.cmp(&b.task));
        snapshots
    }

    /// The task's pod as a child of any supervisor: it reserves the task's key when it starts, and is temporary unless the
    /// caller says otherwise.
    ///
    /// `None` if the pod supervisor, whose admission, factory and registry it uses, has ended.
    pub fn child_spec(&self, task: TaskId) -> Option<ChildSpec> {
        let host = self.host.upgrade()?;
        let id = ipa_supervisor::ChildId::from(task.as_str());
        Some(ChildSpec::new(id, move || PodChild::new(host.clone(), Plan::Own(task.clone()))))
    }

    /// Whether a pod was started here, and not as a child of another supervisor.
    fn is_ours(&self, pod: &PodRef) -> bool {
        pod.0.parent.as_ref() == Some(&self.dynamic)
    }

    /// Refuses starts from now on, and stops all pods that were started here, side by side; `Ok` when all are gone. Listings and
    /// lookups go on. Pods that are children of other supervisors ([`child_spec`](Self::child_spec)) are left to those.
    ///
    /// # Errors
    ///
    /// See [`ShutdownPodsError`].
    pub async fn drain(&self) -> Result<(), ShutdownPodsError> {
        if self.dynamic.contains_caller() {
            return Err(ShutdownPodsError::WouldDeadlock);
        }
        let Some(host) = self.host.upgrade() else { return Ok(()) };
        host.draining.store(true, Ordering::Release);
        let reason: Arc<str> = "drain".into();
        let (mut asked, mut stuck) = (HashMap::new(), Vec::new());
        loop {
            let mut pods = self.registry.pods.list();
            pods.retain(|(_, pod)| self.is_ours(pod));
            // Not always all in one round: a restart hands the key of a pod that was listed on to another.
            pods.retain(|(task, pod)| asked.insert(task.clone(), pod.clone()).as_ref() != Some(pod));
            if pods.is_empty() {
                break;
            }
            for (_, pod) in &pods {
                pod.want_stop(Some(reason.clone()));
            }
            for (_, pod) in pods {
                if let Err(StopPodError::Stuck { task, children }) = pod.stopped().await {
                    stuck.push(StuckPod { task, children });
                }
            }
        }
        if stuck.is_empty() { Ok(()) } else { Err(ShutdownPodsError::Stuck(stuck)) }
    }

    /// Stops all pods that were started here, side by side, and ends the pod supervisor; `Ok` when all are gone. Pods that are
    /// children of other supervisors ([`child_spec`](Self::child_spec)) are left to those.
    ///
    /// # Errors
    ///
    /// See [`ShutdownPodsError`].
    pub async fn shutdown(&self) -> Result<(), ShutdownPodsError> {
        if let Some(host) = self.host.upgrade()
            && !self.dynamic.contains_caller()
        {
            host.draining.store(true, Ordering::Release);
        }
        match self.dynamic.shutdown().await {
            Ok(()) => Ok(()),
            Err(ShutdownError::WouldDeadlock) => Err(ShutdownPodsError::WouldDeadlock),
            Err(ShutdownError::Stuck(left)) => {
                let of_pod = |StuckChild(child)| {
                    let pod = self.registry.pods.lookup(child.id.as_str())?;
                    (pod.0.child.get() == Some(&child)).then_some(pod)
                };
                let stuck: Vec<_> = left
                    .into_iter()
                    .filter_map(of_pod)
                    .map(|pod| StuckPod { task: pod.task().clone(), children: pod.0.stuck.lock().clone() })
                    .collect();
                if stuck.is_empty() {
                    // They have ended meanwhile, and the pod supervisor is about to hear of it.
                    self.dynamic.wait().await;
                    return Ok(());
                }
                Err(ShutdownPodsError::Stuck(stuck))
            }
            // There is no other.
            Err(_) => Ok(()),
        }
    }

    /// As [`shutdown`](Self::shutdown), without waiting: what a pod's child may ask for.
    pub fn request_shutdown(&self) {
        self.dynamic.request_shutdown(Cause::Requested(None));
    }
}

impl fmt::Debug for PodSupervisorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodSupervisorRef").field("pods", &self.count_pods()).finish_non_exhaustive()
    }
}

/// Why a shutdown of all pods could not be finished.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ShutdownPodsError {
    /// These pods have not ended; all others have. They keep their keys until they do.
    #[error("{} did not end", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Stuck(Vec<StuckPod>),
    /// A pod's child asked for it; [`PodSupervisorRef::request_shutdown`] does not wait.
    #[error("this call would wait for its own caller")]
    WouldDeadlock,
}

/// A pod that did not end, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StuckPod {
    /// The task.
    pub task: TaskId,
    /// Its children that were killed and have not ended.
    pub children: Vec<ChildRef>,
}

impl fmt::Display for StuckPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the pod of task `{}` (children {})", self.task, crate::error::names(&self.children))
    }
}
