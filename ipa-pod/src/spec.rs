//! What a pod consists of.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipa_supervisor::{
    AutoShutdown, BoxError, ChildSpec, Restart, RestartIntensity, Settings, Shutdown, Strategy, Supervisor,
    SupervisorBuilder,
};

use crate::scope::PodScope;

/// A pod's children, in order, and its options.
///
/// | option | default | effect |
/// |---|---|---|
/// | [`strategy`](Self::strategy) | one_for_one | who is restarted when a child ends that is to be |
/// | [`auto_shutdown`](Self::auto_shutdown) | never | whether significant children that end shut the pod down |
/// | [`intensity`](Self::intensity) | 3 in 5 s | more restarts than that and the pod gives up |
/// | [`start_timeout`](Self::start_timeout) | 30 s | a start of the children that takes longer is rolled back |
/// | [`shutdown_timeout`](Self::shutdown_timeout) | 10 s | when all children that are left are killed side by side |
/// | [`child_shutdown`](Self::child_shutdown) | 5 s | how long a child may take to stop that says nothing else |
/// | [`child_restart`](Self::child_restart) | transient | when a child is restarted that says nothing else |
/// | [`idle_stop`](Self::idle_stop) | never | after how long without activity the pod stops by itself |
/// | [`kill_grace`](Self::kill_grace) | 1 s | how long a killed child may take to be gone before it is called stuck |
///
/// So a stop takes at most `shutdown_timeout` plus `kill_grace`, whatever the children's own deadlines add up to.
///
/// ```
/// use std::time::Duration;
/// use ipa_pod::PodSpec;
/// use ipa_supervisor::ChildSpec;
///
/// let spec = PodSpec::new()
///     .child(ChildSpec::task("state", |cx| async move { cx.stopped().await; }))
///     .child(ChildSpec::task("sync", |cx| async move { cx.stopped().await; }))
///     .shutdown_timeout(Duration::from_secs(3));
/// ```
#[derive(Debug)]
#[must_use = "a spec does nothing until a pod is started with it"]
pub struct PodSpec {
    children: Vec<ChildSpec>,
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    intensity: RestartIntensity,
    pub(crate) start_timeout: Duration,
    shutdown_timeout: Duration,
    kill_grace: Duration,
    child_restart: Restart,
    child_shutdown: Option<Shutdown>,
    pub(crate) idle_stop: Option<Duration>,
    pub(crate) labels: Vec<Arc<str>>,
}

impl Default for PodSpec {
    fn default() -> Self {
        Self {
            children: Vec::new(),
            strategy: Strategy::default(),
            auto_shutdown: AutoShutdown::default(),
            intensity: RestartIntensity::default(),
            start_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
            kill_grace: Duration::from_secs(1),
            child_restart: Restart::Transient,
            // 5 seconds, as of any supervisor.
            child_shutdown: None,
            idle_stop: None,
            labels: Vec::new(),
        }
    }
}

impl PodSpec {
    /// A pod without children, with the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a child, after those that were added before.
    pub fn child(mut self, spec: impl Into<ChildSpec>) -> Self {
        self.children.push(spec.into());
        self
    }

    /// Adds children, in this order.
    pub fn children<S: Into<ChildSpec>>(mut self, specs: impl IntoIterator<Item = S>) -> Self {
        let specs = specs.into_iter().map(Into::into);
        if self.children.is_empty() {
            // A vector is taken as it is.
            self.children = specs.collect();
        } else {
            self.children.extend(specs);
        }
        self
    }

    /// Who is restarted when a child ends that is to be. Default: that child alone.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Whether [significant](ChildSpec::significant) children that end by themselves shut the pod down. Default: never.
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.auto_shutdown = auto_shutdown;
        self
    }

    /// How many restarts of children are too many. Default: more than 3 in 5 seconds. The pod then stops its children, ends, and
    /// is not started again by itself.
    pub fn intensity(mut self, intensity: RestartIntensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// How long the start of all children together may take before it is rolled back. Default: 30 seconds.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// How long the stop may take before all children that are left are killed side by side. Default: 10 seconds.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// How long a killed child may take to be gone before it is called stuck. Default: 1 second.
    pub fn kill_grace(mut self, grace: Duration) -> Self {
        self.kill_grace = grace;
        self
    }

    /// How long a child may take to stop, if neither its spec nor its type says. Default: 5 seconds.
    pub fn child_shutdown(mut self, shutdown: Shutdown) -> Self {
        self.child_shutdown = Some(shutdown);
        self
    }

    /// When a child is restarted, if neither its spec nor its type says. Default: transient.
    pub fn child_restart(mut self, restart: Restart) -> Self {
        self.child_restart = restart;
        self
    }

    /// After how long without activity the pod stops by itself, for [`Cause::Idle`](ipa_supervisor::Cause::Idle) (passivation).
    /// Default: never.
    ///
    /// Activity is what the children declare, with [`PodScope::touch`] and [`PodScope::busy`]; nothing that is asked of the pod
    /// from outside counts by itself. A call that reaches a child while the pod stops gets an error that says so, and whoever
    /// wants the pod whatever its state starts it again with [`get_or_start`](crate::PodSupervisorRef::get_or_start).
    pub fn idle_stop(mut self, after: Duration) -> Self {
        self.idle_stop = Some(after);
        self
    }

    /// Adds a label, by which pods are listed, counted and stopped together. Twice the same is once.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.labels.push(label.into());
        self
    }

    /// The supervisor that this pod is, but for what makes it a pod.
    pub(crate) fn supervisor(self) -> SupervisorBuilder {
        let defaults = Settings {
            restart: Some(self.child_restart),
            shutdown: self.child_shutdown,
            ..Settings::default()
        };
        Supervisor::builder()
            .children(self.children)
            .strategy(self.strategy)
            .auto_shutdown(self.auto_shutdown)
            .intensity(self.intensity)
            .start_timeout(self.start_timeout)
            .shutdown_timeout(self.shutdown_timeout)
            .kill_grace(self.kill_grace)
            .child_defaults(defaults)
    }
}

/// Makes the spec of a task's pod, anew at each start. Any `Fn(&PodScope) -> Result<PodSpec, BoxError>` is one.
///
/// Called on the pod's own task, after the task was admitted; it captures what the children depend on. An error or a panic
/// fails the start. It must not hold a [`PodSupervisor`](crate::PodSupervisor) itself, which would keep all pods alive through
/// themselves; a [`PodSupervisorRef`](crate::PodSupervisorRef) does not.
pub trait PodFactory: Send + Sync + 'static {
    /// Makes the spec.
    fn make(&self, scope: &PodScope) -> Result<PodSpec, BoxError>;
}

impl<F> PodFactory for F
where
    F: Fn(&PodScope) -> Result<PodSpec, BoxError> + Send + Sync + 'static,
{
    fn make(&self, scope: &PodScope) -> Result<PodSpec, BoxError> {
        self(scope)
    }
}

impl fmt::Debug for dyn PodFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PodFactory")
    }
}
