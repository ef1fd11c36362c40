//! The supervisor of children that come and go, as a root.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::blueprint::Blueprint;
use crate::error::StartError;
use crate::handle::{DynamicRef, StopOnDrop};
use crate::intensity::RestartIntensity;
use crate::policy::Settings;
use crate::ports::{Directory, Observer};

/// A supervisor of children that are added one by one and have no order: they start side by side and are stopped side by side.
///
/// Elixir's `DynamicSupervisor`. It starts empty; ids are labels, and what [`start_child`](DynamicRef::start_child) returns
/// is the identity. Nothing is kept of a child that has ended and is not restarted. Where Elixir's waits in each child's
/// `init`, this one does not: 100 children with an `init` of 100 ms are up after 100 ms.
///
/// Clones are strong handles: when the last is dropped, it shuts down gracefully in the background. All operations are those
/// of [`DynamicRef`], to which it derefs.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ipa_supervisor::{ChildSpec, DynamicSupervisor};
///
/// let supervisor = DynamicSupervisor::builder().max_children(1000).start().await?;
/// let spec = ChildSpec::task("connection", |cx| async move { cx.stopped().await; });
/// let child = supervisor.start_child(spec).await?.child().unwrap();
/// assert_eq!(supervisor.count_children().await?.active, 1);
/// supervisor.terminate_child(&child).await?;
/// assert_eq!(supervisor.count_children().await?.specs, 0);
/// supervisor.shutdown().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "dropping the last handle shuts the supervisor down"]
pub struct DynamicSupervisor {
    handle: DynamicRef,
    _strong: Arc<StopOnDrop>,
}

impl DynamicSupervisor {
    /// Begins to describe a dynamic supervisor.
    pub fn builder() -> DynamicSupervisorBuilder {
        DynamicSupervisorBuilder::default()
    }

    /// A handle that does not keep the supervisor alive.
    pub fn downgrade(&self) -> DynamicRef {
        self.handle.clone()
    }
}

impl Deref for DynamicSupervisor {
    type Target = DynamicRef;

    fn deref(&self) -> &DynamicRef {
        &self.handle
    }
}

impl fmt::Debug for DynamicSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSupervisor").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// A description of a [`DynamicSupervisor`].
///
/// | option | default | effect |
/// |---|---|---|
/// | [`max_children`](Self::max_children) | no limit | a start beyond it is refused, and the child's factory not called |
/// | [`intensity`](Self::intensity) | 3 in 5 s | more restarts than that and the supervisor gives up |
/// | [`kill_grace`](Self::kill_grace) | 1 s | how long a killed child may take to be gone before it is called stuck |
/// | [`shutdown_timeout`](Self::shutdown_timeout) | none | when all children that are left are killed |
/// | [`child_defaults`](Self::child_defaults) | permanent, 5 s | for what specs and child types leave open |
///
/// It restarts one for one, and knows no other strategy:
///
/// ```compile_fail,E0599
/// use ipa_supervisor::{DynamicSupervisor, Strategy};
/// let builder = DynamicSupervisor::builder().strategy(Strategy::OneForAll);
/// ```
///
/// ```
/// use ipa_supervisor::{Strategy, Supervisor};
/// let builder = Supervisor::builder().strategy(Strategy::OneForAll);
/// ```
#[must_use = "a builder does nothing until it is started"]
pub struct DynamicSupervisorBuilder(pub(crate) Box<Blueprint>);

impl Default for DynamicSupervisorBuilder {
    fn default() -> Self {
        Self(Box::new(Blueprint { dynamic: true, ..Blueprint::default() }))
    }
}

impl DynamicSupervisorBuilder {
    /// How many children there may be, starting and restarting ones included. Default: no limit.
    pub fn max_children(mut self, max: usize) -> Self {
        self.0.options.max_children = Some(max);
        self
    }

    /// How many restarts are too many, of all children together. Default: more than 3 in 5 seconds. Temporary children are
    /// never counted.
    pub fn intensity(mut self, intensity: RestartIntensity) -> Self {
        self.0.options.intensity = intensity;
        self
    }

    /// How long a killed child may take to be gone before it is called stuck. Default: 1 second. With zero, every
    /// child that is killed is called stuck first, and reaped at once.
    pub fn kill_grace(mut self, grace: Duration) -> Self {
        self.0.options.kill_grace = grace;
        self
    }

    /// How long a stop of the whole supervisor may take before all children that are left are killed. Default: no limit but
    /// the children's own.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.0.options.shutdown_timeout = Some(timeout);
        self
    }

    /// What children get where neither their specs nor their types say anything. Default: permanent, 5 seconds to stop.
    pub fn child_defaults(mut self, defaults: Settings) -> Self {
        self.0.defaults = defaults.into();
        self
    }

    /// Where the children are listed and publish their addresses. Default: nowhere.
    pub fn directory(mut self, directory: Arc<dyn Directory>) -> Self {
        self.0.directory = Some(directory);
        self
    }

    /// Who is told of starts, exits and stuck children. Default: `tracing` only.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.0.observer = Some(observer);
        self
    }

    /// Starts the supervisor, empty, on a task of its own.
    ///
    /// # Errors
    ///
    /// [`StartError::Spec`] for options that make no sense.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, and in one without timers (`enable_time`).
    pub async fn start(self) -> Result<DynamicSupervisor, StartError> {
        let (handle, strong) = self.0.start().await?;
        Ok(DynamicSupervisor { handle: DynamicRef(handle), _strong: strong })
    }
}

impl fmt::Debug for DynamicSupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSupervisorBuilder").finish_non_exhaustive()
    }
}
