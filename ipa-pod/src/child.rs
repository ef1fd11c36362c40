//! A pod as a child: a nested supervisor, plus key, permit and status.
//!
//! There is no loop here. What makes a pod more than a supervisor hangs on its lease, in this order of dropping: the permit, the
//! task's key, the word that it has ended. So each of them outlasts the last child, process or closure that works for the pod.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{self, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use ipa_supervisor::{
    BoxError, Cause, Child, Context, Exit, ExitReason, Init, Kind, NestedSupervisor, Restart, Settings,
    StartError, StopMode,
};
use tokio::runtime::Handle;
use tokio::sync::SetOnce;

use crate::admission::{AdmitError, Permit};
use crate::error::{StartPodError, StopPodError, panicked};
use crate::foreign::Caught;
use crate::host::{Host, KILL_GRACE, Predecessor, Reservation};
use crate::link::Link;
use crate::pod::{PodRef, PodStatus};
use crate::scope::PodScope;
use crate::spec::PodSpec;
use crate::task::TaskId;

pub(crate) struct PodChild {
    host: Arc<Host>,
    plan: Plan,
    /// From `init` on.
    pod: Option<PodRef>,
    running: Option<RunningPod>,
}

/// Where the pod's key comes from.
pub(crate) enum Plan {
    /// It was reserved by the call that starts the pod; if that is a restart, once the predecessor has ended.
    Reserved { reservation: Option<Reservation>, predecessor: Option<Predecessor> },
    /// It is reserved by the pod itself: it is a child of a supervisor of the user's.
    Own(TaskId),
}

impl Drop for PodChild {
    fn drop(&mut self) {
        self.cut_off();
    }
}

struct RunningPod {
    pod: PodRef,
    nested: NestedSupervisor,
    signals: Signals,
}

impl PodChild {
    pub(crate) fn new(host: Arc<Host>, plan: Plan) -> Self {
        Self { host, plan, pod: None, running: None }
    }

    /// Sees to it that a pod which was cut off, killed from without, is called stuck if something of it does not end: it cannot say so itself.
    fn cut_off(&self) {
        let Some(pod) = self.pod.as_ref().filter(|pod| pod.0.reason.get().is_none()) else { return };
        pod.enter(PodStatus::Stopping);
        // Of its own pods the pod supervisor hears it.
        if pod.0.parent.is_none()
            && let Ok(runtime) = Handle::try_current()
        {
            let (host, pod) = (self.host.clone(), pod.clone());
            runtime.spawn(async move {
                if tokio::time::timeout(KILL_GRACE, pod.wait()).await.is_err() {
                    host.stuck(&pod);
                }
            });
        }
    }

    fn reservation(&mut self) -> Result<(Reservation, Option<Predecessor>), StartPodError> {
        match &mut self.plan {
            Plan::Reserved { reservation, predecessor } => match reservation.take() {
                Some(reservation) => Ok((reservation, predecessor.take())),
                None => Err(StartPodError::Draining),
            },
            Plan::Own(task) => {
                let reservation = self.host.reserve(task.clone(), self.host.factory.clone(), None)?;
                Ok((reservation, None))
            }
        }
    }

    /// Everything up to the moment at which the pod is active.
    async fn start(
        &mut self,
        cx: &mut Context,
        pod: &PodRef,
        predecessor: Option<Predecessor>,
    ) -> Result<(), StartPodError> {
        let (permit, _place) = self.admitted(cx, pod, predecessor).await?;
        let (timeout, idle_stop, made) = self.made(cx, pod, permit)?;
        let running = self.running.insert(made);
        pod.0.set_supervisor(Some(running.nested.handle()));
        let up = {
            let RunningPod { nested, signals, .. } = &mut *running;
            let mut begun = false;
            let up = poll_fn(|task| {
                if !std::mem::replace(&mut begun, true) {
                    signals.poll(cx, &self.host, pod, nested, task);
                    return nested.poll_init(cx, task);
                }
                // First: it may have come up since the last look, and then what has come since is for its life.
                let up = nested.poll_init(cx, task);
                if up.is_pending() {
                    signals.poll(cx, &self.host, pod, nested, task);
                }
                up
            });
            up.await
        };
        let task = pod.task().clone();
        match up {
            // Another worker has brought up the last child just when this one said that the pod stops. So it does, and has never been
            // active.
            Ok(_) if pod.0.stop_announced.load(Ordering::Acquire) => {
                // Boxed, as this is rare.
                let life = Box::pin(poll_fn(|task| running.poll_life(cx, &self.host, task)));
                let reason = match life.await {
                    Ok(exit) => exit.into(),
                    Err(error) => ExitReason::failed(error),
                };
                Err(StartPodError::Ended { task, reason })
            }
            Ok(_) => {
                running.signals.idle = idle_stop.map(|time| idle(pod.clone(), time));
                Ok(())
            }
            Err(error) => Err(match error.downcast::<StartError>().map(|error| *error) {
                Ok(StartError::ChildFailed(failure)) if failure.with_supervisor => {
                    StartPodError::TimedOut { task, timeout, child: Some(failure.child.clone()) }
                }
                Ok(StartError::ChildFailed(failure)) => StartPodError::ChildFailed { task, failure },
                Ok(StartError::Ended(reason)) => StartPodError::Ended { task, reason },
                Ok(StartError::Stuck(children)) => {
                    let children = children.into_iter().map(|stuck| stuck.0).collect();
                    StartPodError::Stuck { task, children }
                }
                Ok(error) => StartPodError::Factory { task, source: Arc::new(error) },
                Err(source) => StartPodError::Factory { task, source: Arc::from(source) },
            }),
        }
    }

    /// Makes the supervisor that the pod is, to be started; answers how long that may take, and how long the pod may be idle then. The permit
    /// is kept until the pod has ended.
    // Apart from `start`, whose future would have room for a spec in it, twice, and be a block so large that the allocator tidies up for it.
    fn made(
        &self,
        cx: &Context,
        pod: &PodRef,
        permit: Permit,
    ) -> Result<(Duration, Option<Duration>, RunningPod), StartPodError> {
        let Permit { guard, revoked } = permit;
        if let Some(guard) = guard {
            cx.lease().tie(guard);
        }
        let scope = PodScope::of(pod);
        // There until the pod has ended.
        let Some(factory) = pod.0.factory.lock().clone() else { return Err(StartPodError::Draining) };
        let spec = match catch_unwind(AssertUnwindSafe(move || factory.make(&scope))) {
            Ok(made) => made.map_err(Arc::from),
            Err(payload) => Err(panicked(&ExitReason::panicked(payload))),
        };
        let spec = spec.map_err(|source| StartPodError::Factory { task: pod.task().clone(), source })?;
        let (timeout, idle_stop) = (spec.start_timeout, spec.idle_stop);
        self.label(cx, pod, &spec);
        let link = Arc::new(Link::new(&self.host, pod));
        let nested = NestedSupervisor::new(spec.supervisor().directory(link.clone()).observer(link));
        let signals = Signals { revoked: revoked.map(revocation), ..Signals::default() };
        Ok((timeout, idle_stop, RunningPod { pod: pod.clone(), nested, signals }))
    }

    /// Waits for the predecessor's end, a place to start and the permit, unless the pod is told to stop.
    async fn admitted(
        &self,
        cx: &Context,
        pod: &PodRef,
        predecessor: Option<Predecessor>,
    ) -> Result<(Permit, Option<tokio::sync::OwnedSemaphorePermit>), StartPodError> {
        let task = pod.task().clone();
        let way_clear = async {
            if let Some(predecessor) = &predecessor {
                // Asked here rather than by the caller: a restart whose caller goes away before this runs has done nothing.
                let old = &predecessor.0;
                old.want_stop(Some("restart".into()));
                if let Err(StopPodError::Stuck { children, .. }) = old.stopped().await {
                    return Err(StartPodError::Stuck { task: task.clone(), children });
                }
                // The key leads to this pod by now. A drain that listed the pods before has stopped the old one alone.
                if self.host.draining.load(Ordering::Acquire) {
                    return Err(StartPodError::Draining);
                }
            }
            self.host.starting(pod);
            let place = match &self.host.starting {
                None => None,
                // The semaphore is never closed.
                Some(starting) => starting.clone().acquire_owned().await.ok(),
            };
            let timeout = self.host.admission_timeout;
            let admit = Caught::new(|| self.host.admission.admit(&task));
            let asked = tokio::time::timeout(timeout, admit).await;
            match asked {
                Err(_) => Err(StartPodError::TimedOut { task: task.clone(), timeout, child: None }),
                Ok(Ok(Ok(permit))) => Ok((permit, place)),
                Ok(Ok(Err(error))) => Err(refused(task.clone(), error)),
                Ok(Err(panic)) => {
                    Err(StartPodError::Unavailable { task: task.clone(), source: panicked(&panic) })
                }
            }
        };
        let mut way_clear = pin!(way_clear);
        let clear = poll_fn(|task| {
            if let Poll::Ready(reason) = cx.poll_stopped(task) {
                return Poll::Ready(Err(reason));
            }
            if let Poll::Ready(cause) = pod.0.stop_wanted.poll(task) {
                let waited = predecessor.is_some() && !pod.0.announced.load(Ordering::Acquire);
                if waited && self.host.draining.load(Ordering::Acquire) {
                    // A drain came upon this pod before this pod had looked. Whichever is first, the answer is the same.
                    return Poll::Ready(Ok(Err(StartPodError::Draining)));
                }
                return Poll::Ready(Err(ExitReason::Shutdown(cause.clone())));
            }
            way_clear.as_mut().poll(task).map(Ok)
        });
        let reason = match clear.await {
            Ok(result) => return result,
            Err(reason) => reason,
        };
        if pod.0.announced.load(Ordering::Acquire) {
            self.host.stopping(pod, said(&reason));
        }
        Err(StartPodError::Ended { task: pod.task().clone(), reason })
    }

    /// Lives until the supervisor that it is has ended, and says what it has ended with.
    fn poll_life(&mut self, cx: &Context, task: &mut task::Context<'_>) -> Poll<Result<Exit, BoxError>> {
        let Some(running) = self.running.as_mut() else {
            return Poll::Ready(Err("a pod's run was called before its init".into()));
        };
        let ended = ready!(running.poll_life(cx, &self.host, task));
        // Nobody has said it before, unless this has.
        let _ = running.pod.0.reason.set(match &ended {
            Ok(exit) => exit.clone().into(),
            Err(error) => ExitReason::failed(error.to_string()),
        });
        Poll::Ready(ended)
    }

    /// Enters the pod under its labels, until it has ended.
    fn label(&self, cx: &Context, pod: &PodRef, spec: &PodSpec) {
        let labels: BTreeSet<Arc<str>> = spec.labels.iter().cloned().collect();
        if labels.is_empty() {
            return;
        }
        pod.0.set_labels(labels.clone());
        let groups = self.host.registry.labels();
        let entered: Vec<_> = labels.into_iter().map(|label| groups.join(label, pod.clone())).collect();
        cx.lease().tie(entered);
    }
}

impl RunningPod {
    /// Lives until the supervisor that it is has ended.
    fn poll_life(
        &mut self,
        cx: &Context,
        host: &Host,
        task: &mut task::Context<'_>,
    ) -> Poll<Result<Exit, BoxError>> {
        // Not once more when it has ended: what came after that has ended nothing.
        if self.pod.0.reason.get().is_none() {
            self.signals.poll(cx, host, &self.pod, &self.nested, task);
        }
        self.nested.poll_run(cx, task)
    }
}

/// Something that few pods wait for; boxed, as all pods have room for it.
type Signal = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// What may end a pod, passed on to its supervisor: its parent, a stop of the pod, the loss of its permit, being idle.
#[derive(Default)]
struct Signals {
    revoked: Option<Signal>,
    /// From when the pod is active.
    idle: Option<Signal>,
    parent_spoke: bool,
    stop_seen: bool,
}

impl Signals {
    fn poll(
        &mut self,
        cx: &Context,
        host: &Host,
        pod: &PodRef,
        nested: &NestedSupervisor,
        task: &mut task::Context<'_>,
    ) {
        if came(&mut self.revoked, task) {
            host.stopping(pod, Some("the permit to run was revoked".into()));
            nested.handle().kill(Cause::Revoked);
        }
        if !self.parent_spoke
            && let Poll::Ready(reason) = cx.poll_stopped(task)
        {
            self.parent_spoke = true;
            host.stopping(pod, said(&reason));
            if pod.0.is_stuck.load(Ordering::Acquire) {
                cx.report_stuck();
            }
        }
        let going = self.parent_spoke || self.stop_seen;
        let waits = !going && self.idle.is_some() && pod.0.stop_wanted.poll(task).is_pending();
        if waits && came(&mut self.idle, task) {
            pod.want_stop_for(Cause::Idle);
        }
        if !self.stop_seen
            && let Poll::Ready(cause) = pod.0.stop_wanted.poll(task)
        {
            self.stop_seen = true;
            host.stopping(pod, said(&ExitReason::Shutdown(cause.clone())));
            nested.handle().request_shutdown(cause.clone());
        }
    }
}

/// The loss of the permit.
fn revocation(revoked: Arc<SetOnce<()>>) -> Signal {
    Box::pin(async move {
        revoked.wait().await;
    })
}

/// That the pod has been idle for so long.
fn idle(pod: PodRef, time: Duration) -> Signal {
    Box::pin(async move {
        // By its status whoever declares activity sees whether that came in time.
        let end = || {
            pod.enter(PodStatus::Stopping);
        };
        pod.0.activity().idle_for(time, end).await;
    })
}

/// Whether a signal has come; it is told once.
fn came(signal: &mut Option<Signal>, task: &mut task::Context<'_>) -> bool {
    let has_come = signal.as_mut().is_some_and(|signal| signal.as_mut().poll(task).is_ready());
    if has_come {
        *signal = None;
    }
    has_come
}

/// What was said of why a pod is to stop.
fn said(reason: &ExitReason) -> Option<Arc<str>> {
    match reason {
        ExitReason::Shutdown(Cause::Requested(text)) => text.clone(),
        reason => Some(reason.to_string().into()),
    }
}

fn refused(task: TaskId, error: AdmitError) -> StartPodError {
    match error {
        AdmitError::StreamNotFound => StartPodError::StreamNotFound(task),
        AdmitError::OwnedElsewhere(owner) => StartPodError::OwnedElsewhere { task, owner },
        AdmitError::Unavailable(source) => StartPodError::Unavailable { task, source: Arc::from(source) },
    }
}

#[async_trait]
impl Child for PodChild {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let (reservation, predecessor) = self.reservation()?;
        let pod = reservation.end.pod.clone();
        cx.lease().tie(reservation);
        // Set here alone: an incarnation's init is called once.
        let _ = pod.0.child.set((cx.supervisor(), cx.child().clone()));
        self.pod = Some(pod.clone());
        match self.start(cx, &pod, predecessor).await {
            Ok(()) => {
                self.host.active(&pod);
                Ok(Init::Ready)
            }
            Err(error) => {
                // The first to say: here and after `run` alone.
                let _ = pod.0.reason.set(match &error {
                    StartPodError::Ended { reason, .. } => reason.clone(),
                    StartPodError::ChildFailed { failure, .. } => {
                        ExitReason::Shutdown(Cause::FailedToStart(failure.clone()))
                    }
                    error => ExitReason::failed(error.clone()),
                });
                Err(error.into())
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context, task: &mut task::Context<'_>) -> Poll<()> {
        // It lives its life here; `run` asks once more how that has ended.
        self.poll_life(cx, task).map(drop)
    }

    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        poll_fn(|task| self.poll_life(cx, task)).await
    }

    fn defaults() -> Settings {
        Settings {
            restart: Some(Restart::Temporary),
            kind: Some(Kind::Supervisor),
            stop_mode: Some(StopMode::CooperativeInit),
            ..Settings::default()
        }
    }
}
