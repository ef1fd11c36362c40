//! The lifecycle of pods by task id: start, stop, restart, find, list, drain.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use ipa_supervisor::{
    BoxError, Cause, ChildSpec, DynamicRef, ShutdownError, StartChildError, Started, StuckChild,
};
use tokio::sync::broadcast;

use crate::child::{Plan, PodChild};
use crate::error::{
    PodNotFound, RestartPodError, ShutdownPodsError, StartPodError, StopPodError, StuckPod, panicked,
};
use crate::event::PodEvents;
use crate::host::{Host, Predecessor, Reservation};
use crate::pod::{PodInfo, PodRef, PodSnapshot, PodStatus};
use crate::registry::PodRegistry;
use crate::scope::PodScope;
use crate::spec::{PodFactory, PodSpec};
use crate::stats::PodStats;
use crate::task::{InvalidTaskId, TaskId};

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
    pub(crate) host: Weak<Host>,
    pub(crate) registry: PodRegistry,
    pub(crate) dynamic: DynamicRef,
}

impl PodSupervisorRef {
    /// Starts the task's pod; `Ok` when all its children are up.
    ///
    /// The order of checks is: is the id valid, is there a pod, is there room, may the task run (asked of the [`Admission`](crate::Admission) with
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
        let spec = ChildSpec::once_with(pod.task().shared(), move || PodChild::new(host, plan));
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
                let children = pod.0.stuck();
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
        self.registry.labels().members(label).iter().map(PodRef::info).collect()
    }

    /// How many pods carry a label.
    pub fn count_pods_labelled(&self, label: &str) -> usize {
        self.registry.labels().count_members(label)
    }

    /// Stops the pods that carry a label, side by side; answers how many there were, when all are gone.
    ///
    /// # Errors
    ///
    /// See [`ShutdownPodsError`].
    pub async fn stop_pods_labelled(&self, label: &str) -> Result<usize, ShutdownPodsError> {
        let pods = self.registry.labels().members(label);
        if pods.iter().any(PodRef::contains_caller) {
            return Err(ShutdownPodsError::WouldDeadlock);
        }
        for pod in &pods {
            pod.want_stop(Some(format!("label {label}").into()));
        }
        let (count, mut stuck) = (pods.len(), Vec::new());
        for pod in pods {
            if pod.stopped().await.is_err() {
                stuck.push(pod);
            }
        }
        still_stuck(stuck).map(|()| count)
    }

    /// Stops the task's pod, its children in reverse; `Ok` when all of it is gone and the key is free.
    ///
    /// A pod that is still starting is rolled back. A second stop joins the first. A stop during a restart is answered when the old
    /// pod has ended; the new one comes up all the same. It takes at most the pod's shutdown timeout
    /// plus its kill grace: 11 seconds by default. If the pod went with its runtime, and only a closure or a thread is left of it, nobody can
    /// say so any more, and this takes as long as that does.
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
        let pod = self.registry.pods().lookup(task).ok_or_else(not_running)?;
        if pod.contains_caller() {
            return Err(StopPodError::WouldDeadlock);
        }
        pod.stop(reason).await
    }

    /// Stops the task's pod, if it has one, and starts it again with the spec it was started with. Its key is held throughout: a
    /// rival start is told that the pod is already started.
    ///
    /// A [`drain`](Self::drain) that comes while the old pod is ending lets nothing of the new one begin: the restart is answered
    /// [`StartPodError::Draining`] when the old one has ended. A [`shutdown`](Self::shutdown) does not let it wait for that: it is
    /// answered [`StartPodError::Ended`] at once.
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
        let Some(old) = self.registry.pods().lookup(&task) else {
            return self.start(&host, task, host.factory.clone()).await.map_err(start);
        };
        if !self.is_ours(&old) {
            return Err(RestartPodError::NotOurs(task));
        }
        if old.contains_caller() {
            return Err(RestartPodError::Stop(StopPodError::WouldDeadlock));
        }
        // None if it has ended since it was looked up.
        let factory = old.0.factory.lock().clone().unwrap_or_else(|| host.factory.clone());
        let Some((reservation, predecessor)) = host.succeed(&old, self.dynamic.clone()).map_err(start)?
        else {
            // It is at its very end, by itself.
            old.wait().await;
            return self.start(&host, task, factory).await.map_err(start);
        };
        let new = reservation.end.pod.clone();
        self.start_reserved(&host, reservation, Some(predecessor)).await.map_err(|error| match error {
            // The new pod is announced when the old one has ended.
            StartPodError::Stuck { task, children } if !new.0.announced.load(Ordering::Acquire) => {
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
        self.registry.pods().lookup(task).ok_or_else(|| PodNotFound(task.to_owned()))
    }

    /// Whether the task has a pod that is starting or active.
    pub fn pod_running(&self, task: impl AsRef<str>) -> bool {
        let running = |pod: PodRef| matches!(pod.status(), PodStatus::Starting | PodStatus::Active);
        self.registry.pods().lookup(task.as_ref()).is_some_and(running)
    }

    /// All pods, in no particular order.
    pub fn list_pods(&self) -> Vec<PodInfo> {
        self.registry.pods().list().into_iter().map(|(_, pod)| pod.info()).collect()
    }

    /// How many pods there are, whatever their status.
    pub fn count_pods(&self) -> usize {
        self.registry.pods().count()
    }

    /// The registry that the pods and their children are entered in.
    pub fn registry(&self) -> &PodRegistry {
        &self.registry
    }

    /// Lifecycle events of all pods from now on.
    pub fn subscribe(&self) -> PodEvents {
        match self.host.upgrade() {
            Some(host) => PodEvents(host.subscribe()),
            // All senders are gone, so this one is closed as well.
            None => PodEvents(broadcast::channel(1).1),
        }
    }

    /// How the pods are doing, in numbers.
    pub fn stats(&self) -> PodStats {
        let mut stats = PodStats::default();
        for (_, pod) in self.registry.pods().list() {
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
        for (_, pod) in self.registry.pods().list() {
            // One that has ended meanwhile is no pod any more.
            snapshots.extend(pod.snapshot().await);
        }
        snapshots.sort_by(|a, b| a.task.cmp(&b.task));
        snapshots
    }

    /// The task's pod as a child of any supervisor: it reserves the task's key when it starts, and is temporary unless the
    /// caller says otherwise. Killed whole by that supervisor, it is called stuck if it has not ended a second later, whatever that one's own
    /// grace after a kill is.
    ///
    /// `None` when nothing is left of the pod supervisor, whose admission, factory and registry it uses: no strong handle, no pod, no such
    /// spec. After a [`drain`](Self::drain) or [`shutdown`](Self::shutdown) its start is refused: one that is permanent is then too much for the
    /// restart intensity of its supervisor when it next ends.
    pub fn child_spec(&self, task: TaskId) -> Option<ChildSpec> {
        let host = self.host.upgrade()?;
        let id = ipa_supervisor::ChildId::from(task.shared());
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
            let mut pods = self.registry.pods().list();
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
                if pod.stopped().await.is_err() {
                    stuck.push(pod);
                }
            }
        }
        still_stuck(stuck)
    }

    /// Stops all pods that were started here, side by side, and ends the pod supervisor; `Ok` when all are gone. Pods that are
    /// children of other supervisors ([`child_spec`](Self::child_spec)) are left to those. A start that comes at the same moment is refused,
    /// but its key may be listed until its caller has been told.
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
                    let pod = self.registry.pods().lookup(child.id.as_str())?;
                    pod.0.is_child(&child).then_some(pod)
                };
                let stuck: Vec<_> = left
                    .into_iter()
                    .filter_map(of_pod)
                    .map(|pod| StuckPod { task: pod.task().clone(), children: pod.0.stuck() })
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

/// Of pods that were stuck when they were looked at, those that are now.
fn still_stuck(mut pods: Vec<PodRef>) -> Result<(), ShutdownPodsError> {
    pods.retain(|pod| !pod.has_ended());
    if pods.is_empty() {
        return Ok(());
    }
    let stuck = |pod: &PodRef| StuckPod { task: pod.task().clone(), children: pod.0.stuck() };
    Err(ShutdownPodsError::Stuck(pods.iter().map(stuck).collect()))
}

impl fmt::Debug for PodSupervisorRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodSupervisorRef").field("pods", &self.count_pods()).finish_non_exhaustive()
    }
}
