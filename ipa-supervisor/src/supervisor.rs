//! The supervisor of ordered children, as a root.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::blueprint::Blueprint;
use crate::error::StartError;
use crate::handle::{StopOnDrop, SupervisorRef};
use crate::intensity::RestartIntensity;
use crate::policy::{AutoShutdown, Settings, Strategy};
use crate::ports::{Directory, Observer};
use crate::spec::ChildSpec;

/// A supervisor of children in order: started one after the other, restarted when they end as the [`Strategy`] says, stopped in
/// reverse.
///
/// OTP's `supervisor`, with one difference that is felt: its loop never waits for a child. While a child's `init` takes its
/// time, listings, stops and starts of others are answered at once.
///
/// Clones are strong handles: when the last is dropped, the supervisor shuts down gracefully in the background. Everything
/// handed to children is weak. All operations are those of [`SupervisorRef`], to which it derefs.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ipa_supervisor::{ChildSpec, ChildState, Supervisor};
///
/// let supervisor = Supervisor::builder()
///     .child(ChildSpec::task("first", |cx| async move { cx.stopped().await; }))
///     .child(ChildSpec::task("second", |cx| async move { cx.stopped().await; }))
///     .start()
///     .await?; // all children are up
/// let children = supervisor.which_children().await?;
/// assert_eq!(children.len(), 2);
/// assert_eq!(children[0].child.id.as_str(), "first");
/// assert_eq!(children[0].state, ChildState::Running);
/// supervisor.shutdown().await?; // all children are gone
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "dropping the last handle shuts the supervisor down"]
pub struct Supervisor {
    handle: SupervisorRef,
    _strong: Arc<StopOnDrop>,
}

impl Supervisor {
    /// Begins to describe a supervisor.
    pub fn builder() -> SupervisorBuilder {
        SupervisorBuilder::default()
    }

    /// A handle that does not keep the supervisor alive.
    pub fn downgrade(&self) -> SupervisorRef {
        self.handle.clone()
    }
}

impl Deref for Supervisor {
    type Target = SupervisorRef;

    fn deref(&self) -> &SupervisorRef {
        &self.handle
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// A description of a [`Supervisor`]: its children and its options.
///
/// | option | default | effect |
/// |---|---|---|
/// | [`strategy`](Self::strategy) | one_for_one | who is restarted when a child ends that is to be |
/// | [`auto_shutdown`](Self::auto_shutdown) | never | whether significant children that end shut the supervisor down |
/// | [`intensity`](Self::intensity) | 3 in 5 s | more restarts than that and the supervisor gives up |
/// | [`kill_grace`](Self::kill_grace) | 1 s | how long a killed child may take to be gone before it is called stuck |
/// | [`start_timeout`](Self::start_timeout) | none | when a start that is not done is rolled back |
/// | [`shutdown_timeout`](Self::shutdown_timeout) | none | when all children that are left are killed side by side |
/// | [`child_defaults`](Self::child_defaults) | permanent, 5 s | for what specs and child types leave open |
#[derive(Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct SupervisorBuilder(pub(crate) Box<Blueprint>);

impl SupervisorBuilder {
    /// Adds a child, after those that were added before.
    pub fn child(mut self, spec: impl Into<ChildSpec>) -> Self {
        self.0.children.push(spec.into());
        self
    }

    /// Adds children, in this order.
    pub fn children<S: Into<ChildSpec>>(mut self, specs: impl IntoIterator<Item = S>) -> Self {
        let specs = specs.into_iter().map(Into::into);
        if self.0.children.is_empty() {
            // A vector is taken as it is.
            self.0.children = specs.collect();
        } else {
            self.0.children.extend(specs);
        }
        self
    }

    /// Who is restarted when a child ends that is to be: that child alone, it and those after it, or all. Default: that child
    /// alone.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.0.options.strategy = strategy;
        self
    }

    /// Whether [significant](ChildSpec::significant) children that end by themselves shut the supervisor down. Default: never.
    ///
    /// It then stops the others in reverse and ends, for [`Cause::Significant`](crate::Cause::Significant), which is a shutdown
    /// and no restart is counted for. A nested supervisor that shuts down so and is a *permanent* child is restarted by its
    /// parent at once, which may exhaust the parent's intensity (SC-11): make it transient.
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.0.options.auto_shutdown = auto_shutdown;
        self
    }

    /// How many restarts are too many. Default: more than 3 in 5 seconds.
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

    /// How long the start of all children together may take before it is given up and rolled back, the child that was starting
    /// then first. Default: no limit but the children's own [`start_timeout`](ChildSpec::start_timeout).
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.0.options.start_timeout = Some(timeout);
        self
    }

    /// How long a stop of the whole supervisor may take before all children that are left are killed side by side, whatever
    /// their own deadlines add up to. Default: no limit but the children's own.
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

    /// Starts the supervisor on a task of its own, and its children in order; `Ok` when all are up.
    ///
    /// # Errors
    ///
    /// [`StartError`]: nothing was started, or what was started has been stopped again, in reverse.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future shuts down what was started, in the background.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, and in one without timers (`enable_time`).
    pub async fn start(self) -> Result<Supervisor, StartError> {
        let (handle, strong) = self.0.start().await?;
        Ok(Supervisor { handle: SupervisorRef(handle), _strong: strong })
    }
}

impl fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorBuilder").field("children", &self.0.children).finish_non_exhaustive()
    }
}
