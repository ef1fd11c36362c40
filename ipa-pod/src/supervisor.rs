//! The strong handle to all pods, and how it is built.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use ipa_supervisor::{BoxError, DynamicSupervisor, StartError};
use tokio::sync::Semaphore;

use crate::admission::Admission;
use crate::handle::PodSupervisorRef;
use crate::host::{Host, Totals};
use crate::registry::PodRegistry;
use crate::scope::PodScope;
use crate::spec::{PodFactory, PodSpec};

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
    /// Outside a tokio runtime, and in one without timers (`enable_time`).
    pub async fn start(self) -> Result<PodSupervisor, StartError> {
        let places = |max: usize| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        let host = Arc::new(Host {
            registry: self.registry,
            admission: self.admission,
            factory: self.factory,
            events: OnceLock::new(),
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
        && let Some(pod) = host.registry.pods().lookup(child.id.as_str())
        // Its successor, if a restart has got that far, is another child.
        && pod.0.is_child(child)
    {
        host.stuck(&pod);
    }
}

impl fmt::Debug for PodSupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodSupervisorBuilder").field("max_pods", &self.max_pods).finish_non_exhaustive()
    }
}
