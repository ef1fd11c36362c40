//! Child specifications: what a supervisor must know of a child before it starts it.
//!
//! A spec has three sources: what the caller sets, what the child's type says of itself
//! ([`Child::defaults`]), and what the supervisor falls back on. The caller beats the type,
//! which beats the supervisor. [`Policy`] is what comes out: complete, plain, and all that the
//! [machine](crate::machine) ever sees of a child.

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arcstr::ArcStr;
use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::child::{Child, IntoExit};
use crate::context::Context;
use crate::function::Function;
use crate::policy::{Kept, Restart, Settings, Shutdown, SignificantRestart, StopMode};

/// The name of a child within its supervisor. Cheap to clone.
///
/// In a [`Supervisor`](crate::Supervisor) ids are unique; in a [`DynamicSupervisor`](crate::DynamicSupervisor) they are
/// labels, and the [`ChildRef`](crate::ChildRef) is the identity.
///
/// From whatever an [`ArcStr`] is made of: `&str`, `String`, `Arc<str>`. One that is given as an `ArcStr` is shared.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChildId(ArcStr);

impl ChildId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<ArcStr>> From<T> for ChildId {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl Borrow<str> for ChildId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// How a spec makes its child: again and again, or once; then it has none to give. Foreign code, which may panic.
pub(crate) type Factory = Arc<dyn Fn() -> Option<Box<dyn Child>> + Send + Sync>;

/// How to start, restart and stop one child.
///
/// Made by the constructors below or by a child type's own builder; then set what differs from the defaults. The factory is
/// called for every start, on the child's own task, so that each incarnation begins with a fresh value; a panic there fails
/// that start and nothing else.
///
/// OTP's `child_spec()`. `modules` has no counterpart.
///
/// ```
/// use std::time::Duration;
/// use ipa_supervisor::{ChildSpec, Exit, Restart, Shutdown};
///
/// let spec = ChildSpec::task("ticker", |cx| async move {
///     cx.stopped().await;
///     Exit::Normal
/// })
/// .restart(Restart::Transient)
/// .shutdown(Shutdown::Timeout(Duration::from_secs(1)));
/// assert_eq!(spec.id().as_str(), "ticker");
/// ```
#[must_use = "a spec does nothing until a supervisor is given it"]
pub struct ChildSpec {
    pub(crate) id: ChildId,
    pub(crate) factory: Factory,
    /// What the caller set over what the child's type says of itself.
    pub(crate) settings: Kept,
}

impl ChildSpec {
    /// A child of type `C`, made anew by `factory` at each start.
    pub fn new<C: Child>(id: impl Into<ChildId>, factory: impl Fn() -> C + Send + Sync + 'static) -> Self {
        Self {
            id: id.into(),
            factory: Arc::new(move || Some(Box::new(factory()))),
            settings: C::defaults().into(),
        }
    }

    /// An async function as a child: called anew at each start with the child's [`Context`].
    ///
    /// It may return `()`, an [`Exit`](crate::Exit), or a `Result` of either; see [`IntoExit`].
    pub fn task<F, Fut>(id: impl Into<ChildId>, function: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        let function = Arc::new(function);
        Self::new(id, move || {
            let function = function.clone();
            Function::new(move |cx| function(cx))
        })
    }

    /// An async closure that can be called once only, and so is [temporary](Restart::Temporary) by its type.
    ///
    /// What it captured is dropped with its one incarnation; nothing of it is kept.
    pub fn once<F, Fut>(id: impl Into<ChildId>, function: F) -> OneShotSpec
    where
        F: FnOnce(Context) -> Fut + Send + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        Self::once_with(id, move || Function::new(function))
    }

    /// As [`new`](Self::new), with a factory that can be called once only.
    pub fn once_with<C: Child>(
        id: impl Into<ChildId>,
        factory: impl FnOnce() -> C + Send + 'static,
    ) -> OneShotSpec {
        let unused = parking_lot::Mutex::new(Some(factory));
        let make = move || -> Option<Box<dyn Child>> {
            // Taken out first: no lock is held while it runs.
            let factory = unused.lock().take()?;
            Some(Box::new(factory()))
        };
        OneShotSpec(Self {
            id: id.into(),
            factory: Arc::new(make),
            settings: Settings { restart: Some(Restart::Temporary), ..C::defaults() }.into(),
        })
    }

    /// The child's id.
    pub fn id(&self) -> &ChildId {
        &self.id
    }

    /// Gives the child another id.
    pub fn with_id(mut self, id: impl Into<ChildId>) -> Self {
        self.id = id.into();
        self
    }

    /// When the child is restarted. Default: the type's, else the supervisor's.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.settings.change(|settings| settings.restart = Some(restart));
        self
    }

    /// How long the child may take to stop. Default: the type's, else 5 seconds, infinity for a supervisor.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.settings.change(|settings| settings.shutdown = Some(shutdown));
        self
    }

    /// What a stop does to the child's `run`. Default: the type's, else [`StopMode::Drop`].
    pub fn stop_mode(mut self, mode: StopMode) -> Self {
        self.settings.change(|settings| settings.stop_mode = Some(mode));
        self
    }

    /// How long the child's start may take before it is killed and the start fails. Default: as long as it likes.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.settings.change(|settings| settings.start_timeout = Some(timeout));
        self
    }

    /// Whether `terminate` runs after a panic, on the value as the panic left it. Default: yes.
    pub fn terminate_after_panic(mut self, yes: bool) -> Self {
        self.settings.change(|settings| settings.terminate_after_panic = Some(yes));
        self
    }

    /// Makes the child significant: its end by itself can shut its supervisor down, as that one's [`AutoShutdown`](crate::AutoShutdown) says.
    ///
    /// A permanent child cannot be significant (it has no end by itself), so this says how it is restarted as well; a later
    /// [`restart(Permanent)`](Self::restart) is an error when the supervisor is given the spec.
    pub fn significant(mut self, restart: SignificantRestart) -> Self {
        self.settings.change(|settings| settings.significant = Some(true));
        self.restart(match restart {
            SignificantRestart::Transient => Restart::Transient,
            SignificantRestart::Temporary => Restart::Temporary,
        })
    }

    /// How long to wait before the child is restarted. Default: not at all.
    ///
    /// While it waits, the child is [`Restarting`](crate::ChildState::Restarting): it holds its place, and a stop of it, or of its
    /// supervisor, cancels the restart.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.settings.change(|settings| settings.backoff = Some(backoff));
        self
    }

    /// How long the child may be silent while it works before it is killed, and restarted as after a crash. Default: nothing is
    /// checked.
    ///
    /// A child says that it is alive with [`Context::working`] and [`Context::waiting`]; waiting is never silence. From the moment
    /// it is up until its `run` is over it is taken to be working, in [`poll_ready`](Child::poll_ready) as well, unless it says that it waits: so
    /// this is for children that do report. The kill skips `terminate`. Reporting often is cheap: there is one message on its way at most. A mailbox [`Server`](crate::Server) says so by itself: it works while it handles a
    /// message, and waits in between; within a message that takes long, it is up to it.
    pub fn max_silence(mut self, silence: Duration) -> Self {
        self.settings.change(|settings| settings.max_silence = Some(silence));
        self
    }

    /// All settings at once, as read from a configuration file, say. Those that are unset leave what stands.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings.or(self.settings.get()).into();
        self
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("settings", &self.settings.get())
            .finish_non_exhaustive()
    }
}

/// The spec of a child that can be started once only: temporary, and without a way to say otherwise.
///
/// Every supervisor takes it wherever it takes a [`ChildSpec`].
///
/// A function that can be called again may be restarted, a closure that can be called once may not:
///
/// ```
/// use ipa_supervisor::{ChildSpec, Exit, Restart};
/// let spec = ChildSpec::task("job", |_cx| async { Exit::Normal }).restart(Restart::Permanent);
/// ```
///
/// ```compile_fail,E0599
/// use ipa_supervisor::{ChildSpec, Exit, Restart};
/// let spec = ChildSpec::once("job", |_cx| async { Exit::Normal }).restart(Restart::Permanent);
/// ```
#[must_use = "a spec does nothing until a supervisor is given it"]
#[derive(Debug)]
pub struct OneShotSpec(ChildSpec);

impl OneShotSpec {
    /// As [`ChildSpec::shutdown`].
    pub fn shutdown(self, shutdown: Shutdown) -> Self {
        Self(self.0.shutdown(shutdown))
    }

    /// As [`ChildSpec::stop_mode`].
    pub fn stop_mode(self, mode: StopMode) -> Self {
        Self(self.0.stop_mode(mode))
    }

    /// As [`ChildSpec::start_timeout`].
    pub fn start_timeout(self, timeout: Duration) -> Self {
        Self(self.0.start_timeout(timeout))
    }

    /// As [`ChildSpec::significant`]; how it is restarted is settled.
    pub fn significant(self) -> Self {
        Self(self.0.significant(SignificantRestart::Temporary))
    }

    /// As [`ChildSpec::terminate_after_panic`].
    pub fn terminate_after_panic(self, yes: bool) -> Self {
        Self(self.0.terminate_after_panic(yes))
    }
}

impl From<OneShotSpec> for ChildSpec {
    fn from(spec: OneShotSpec) -> Self {
        spec.0
    }
}
