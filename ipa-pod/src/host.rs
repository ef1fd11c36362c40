//! What the pods of one pod supervisor share, and how a task's key is reserved.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ipa_registry::Registration;
use ipa_supervisor::{ChildRef, DynamicRef, ExitReason};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use crate::admission::Admission;
use crate::error::StartPodError;
use crate::event::{EVENTS, PodEvent};
use crate::foreign::{logged, shielded};
use crate::pod::{PodRef, PodStatus};
use crate::registry::PodRegistry;
use crate::shared::Shared;
use crate::spec::PodFactory;
use crate::task::TaskId;

/// How long a pod that was killed whole may take to be gone before it is called stuck: as supervisors have it by default.
pub(crate) const KILL_GRACE: Duration = Duration::from_secs(1);

pub(crate) struct Host {
    pub(crate) registry: PodRegistry,
    pub(crate) admission: Arc<dyn Admission>,
    pub(crate) factory: Arc<dyn PodFactory>,
    /// Made when somebody first listens: to see that nobody does takes a lock that all pods would share.
    pub(crate) events: OnceLock<broadcast::Sender<PodEvent>>,
    pub(crate) admission_timeout: Duration,
    /// How many pods there may be: a place each, held with the key.
    pub(crate) places: Option<(usize, Arc<Semaphore>)>,
    /// How many pods may start at once: a place each, held during the start.
    pub(crate) starting: Option<Arc<Semaphore>>,
    pub(crate) draining: AtomicBool,
    pub(crate) totals: Totals,
}

/// What only ever grows.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) started: AtomicU64,
    pub(crate) start_failures: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) child_restarts: AtomicU64,
    pub(crate) stuck: AtomicU64,
}

/// What holds a task's key. Held by the pod's lease, and by a restart until the successor's lease has it.
pub(crate) struct KeyHold {
    pub(crate) registration: Registration<TaskId, PodRef>,
    _place: Option<OwnedSemaphorePermit>,
}

/// A reserved key and the pod that is to come, to be tied to its lease. Dropped, the pod has ended: its key is free, and after that
/// `Ended` is published.
pub(crate) struct Reservation {
    /// There until this drops.
    key: Option<Arc<KeyHold>>,
    pub(crate) end: PodEnd,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let key = self.key.take();
        // A subscriber's waker may panic, and so may whoever waits for the end: two panics at once would abort the process.
        shielded("whoever was told that a pod's key is free", || drop(key));
    }
}

impl Host {
    /// Reserves a task's key, atomically, for a pod that is to come.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        task: TaskId,
        factory: Arc<dyn PodFactory>,
        parent: Option<DynamicRef>,
    ) -> Result<Reservation, StartPodError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(StartPodError::Draining);
        }
        let place = match &self.places {
            None => None,
            Some((max, places)) => {
                // Running is answered before full; the registration below is what decides.
                if let Some(pod) = self.registry.pods().lookup(&task) {
                    return Err(already_started(pod));
                }
                match places.clone().try_acquire_owned() {
                    Ok(place) => Some(place),
                    Err(_) => return Err(StartPodError::AtCapacity(*max)),
                }
            }
        };
        let pod = self.new_pod(task.clone(), factory, parent);
        let registration = match self.registry.pods().register(task, pod.clone()) {
            Ok(registration) => registration,
            Err(refused) => return Err(already_started(refused.standing)),
        };
        let key = Arc::new(KeyHold { registration, _place: place });
        // At once, so that a restart can take hold of the key however early it comes.
        *pod.0.key.lock() = Arc::downgrade(&key);
        let reservation = Reservation { key: Some(key), end: self.end(pod) };
        // Again, now that a drain finds the pod: one that listed the pods before this has set the flag before that.
        if self.draining.load(Ordering::Acquire) {
            return Err(StartPodError::Draining);
        }
        Ok(reservation)
    }

    /// Takes hold of a pod's key for its successor. `None`: its key is free, or about to be.
    pub(crate) fn succeed(
        self: &Arc<Self>,
        old: &PodRef,
        parent: DynamicRef,
    ) -> Result<Option<(Reservation, Predecessor)>, StartPodError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(StartPodError::Draining);
        }
        // Before the lock, and so let go of after it: with the last hold of the key those are told who follow the registry.
        let key = old.0.key.lock().upgrade();
        let mut succession = old.0.succession.lock();
        match *succession {
            Succession::Open => {}
            Succession::Taken(_) => return Err(already_started(old.clone())),
            // The key may stand, held by a successor: it is no longer this pod's to give.
            Succession::Over => return Ok(None),
        }
        let Some(key) = key else { return Ok(None) };
        let Some(factory) = old.0.factory.lock().clone() else { return Ok(None) };
        let pod = self.new_pod(old.task().clone(), factory, Some(parent));
        *pod.0.key.lock() = Arc::downgrade(&key);
        *succession = Succession::Taken(pod.clone());
        Ok(Some((Reservation { key: Some(key), end: self.end(pod) }, Predecessor(old.clone()))))
    }

    fn new_pod(&self, task: TaskId, factory: Arc<dyn PodFactory>, parent: Option<DynamicRef>) -> PodRef {
        PodRef(Arc::new(Shared::new(task, &self.registry, factory, parent)))
    }

    fn end(self: &Arc<Self>, pod: PodRef) -> PodEnd {
        PodEnd { pod, host: self.clone() }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<PodEvent> {
        self.events.get_or_init(|| broadcast::Sender::new(EVENTS)).subscribe()
    }

    pub(crate) fn publish(&self, event: impl FnOnce() -> PodEvent) {
        let Some(events) = self.events.get() else { return };
        shielded("a subscriber to pods' events", || {
            // An error says only that nobody listens any more.
            let _ = events.send(event());
        });
    }

    pub(crate) fn starting(&self, pod: &PodRef) {
        pod.0.announced.store(true, Ordering::Release);
        logged(|| tracing::debug!(task = %pod.task(), "pod is starting"));
        self.publish(|| PodEvent::Starting(pod.clone()));
    }

    pub(crate) fn active(&self, pod: &PodRef) {
        self.totals.started.fetch_add(1, Ordering::Relaxed);
        // A stop that comes at this very moment has moved the status on already; the pod was active all the same.
        pod.enter(PodStatus::Active);
        pod.0.touch();
        pod.0.raise(&pod.0.up);
        logged(|| tracing::info!(task = %pod.task(), "pod is active"));
        self.publish(|| PodEvent::Active(pod.clone()));
    }

    /// Called on the pod's own task, or in a turn of its loop, as all that publishes an event of a pod which is alive, but for
    /// [`stuck`](Self::stuck) of one that was killed whole: hence their order. No turn comes between the last child's start and `Active`.
    pub(crate) fn stopping(&self, pod: &PodRef, reason: Option<Arc<str>>) {
        pod.enter(PodStatus::Stopping);
        if !pod.0.stop_announced.swap(true, Ordering::AcqRel) {
            logged(|| tracing::info!(task = %pod.task(), reason = reason.as_deref(), "pod is stopping"));
            self.publish(|| PodEvent::Stopping { pod: pod.clone(), reason });
        }
    }

    pub(crate) fn stuck(&self, pod: &PodRef) {
        if pod.enter(PodStatus::Stuck) {
            let children = pod.0.stuck();
            self.totals.stuck.fetch_add(1, Ordering::Relaxed);
            // First, as the pod may end at any moment, which is published after it.
            self.publish(|| PodEvent::Stuck { pod: pod.clone(), children: children.clone() });
            logged(
                || tracing::error!(task = %pod.task(), ?children, "pod was to stop, but some of it does not end"),
            );
            // Last, so that whoever waited finds all of it published.
            pod.0.raise(&pod.0.is_stuck);
        }
    }

    pub(crate) fn child_restarted(&self, pod: &PodRef, child: &ChildRef, reason: &ExitReason) {
        pod.0.restarts.fetch_add(1, Ordering::Relaxed);
        self.totals.child_restarts.fetch_add(1, Ordering::Relaxed);
        self.publish(|| PodEvent::ChildRestarted {
            pod: pod.clone(),
            child: child.clone(),
            reason: reason.clone(),
        });
    }
}

fn already_started(pod: PodRef) -> StartPodError {
    let status = pod.status();
    StartPodError::AlreadyStarted { pod, status }
}

/// Who has the key after a pod.
pub(crate) enum Succession {
    /// Nobody so far.
    Open,
    /// A restart has taken hold of the key: there is one successor, not two.
    Taken(PodRef),
    /// The pod has ended.
    Over,
}

/// The pod whose key a restart has taken hold of. Dropped before that pod's end, the restart has come to nothing.
pub(crate) struct Predecessor(pub(crate) PodRef);

impl Drop for Predecessor {
    fn drop(&mut self) {
        let mut succession = self.0.0.succession.lock();
        let before = match *succession {
            Succession::Taken(_) => std::mem::replace(&mut *succession, Succession::Open),
            Succession::Open | Succession::Over => return,
        };
        drop(succession);
        drop(before);
    }
}

/// Says, when dropped, that a pod has ended.
pub(crate) struct PodEnd {
    pub(crate) pod: PodRef,
    host: Arc<Host>,
}

impl Drop for PodEnd {
    fn drop(&mut self) {
        let shared = &self.pod.0;
        shared.set_over();
        let factory = shared.factory.lock().take();
        // What it captured is foreign.
        shielded("a pod's factory, when dropped", || drop(factory));
        // Whoever waited for a supervisor that never came to be is told so.
        shared.set_supervisor(None);
        let succession = std::mem::replace(&mut *shared.succession.lock(), Succession::Over);
        let key = shared.key.lock().upgrade();
        if let (Succession::Taken(successor), Some(key)) = (succession, key) {
            // From here on the key leads to the successor.
            key.registration.update(successor);
        }
        let reason = shared.reason.get_or_init(|| ExitReason::Killed);
        let was_active = shared.up.load(Ordering::Acquire);
        let total = if was_active { &self.host.totals.ended } else { &self.host.totals.start_failures };
        total.fetch_add(1, Ordering::Relaxed);
        logged(|| tracing::info!(task = %self.pod.task(), %reason, was_active, "pod has ended"));
        if shared.announced.load(Ordering::Acquire) {
            let (pod, reason) = (&self.pod, reason);
            self.host.publish(|| PodEvent::Ended { pod: pod.clone(), reason: reason.clone(), was_active });
        }
        // Last, so that whoever waited, a successor too, finds all of it published.
        shared.set_ended();
    }
}
