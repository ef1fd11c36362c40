//! A supervisor as a child of another.
//!
//! It runs on its child's task, not on one of its own: its loop is polled by `init` until its children are up, then by
//! `poll_ready`, and by `run` from a stop on, or from its end. It asks to be told of a stop in all, so that what it has started is stopped in
//! order.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{self, Poll, ready};

use async_trait::async_trait;

use crate::blueprint::Blueprint;
use crate::child::{Child, Init};
use crate::context::Context;
use crate::dynamic::DynamicSupervisorBuilder;
use crate::error::StartError;
use crate::handle::{DynamicRef, SupervisorRef};
use crate::message::Port;
use crate::policy::{Kind, Settings, StopMode};
use crate::reason::{BoxError, Cause, Exit, ExitReason};
use crate::seat::Owner;
use crate::spec::ChildSpec;
use crate::supervisor::SupervisorBuilder;

/// A [`Supervisor`](crate::Supervisor) or [`DynamicSupervisor`](crate::DynamicSupervisor) as a [`Child`].
///
/// Most uses need only [`ChildSpec::supervisor`] and [`ChildSpec::dynamic_supervisor`]. This type is for child types that are a
/// supervisor and something more: they hold one and pass `init`, `poll_ready` and `run` on to it, or [poll](Self::poll_run) it.
///
/// Its `init` is done when all its children are up, so a start is depth-first, and a leaf that fails to start fails the starts
/// above it, each naming its child. A restart begins with the children of its builder; those that were added later are lost. It
/// publishes its [`SupervisorRef`] (or [`DynamicRef`]) in the [`Directory`](crate::Directory) of the supervisor it is under.
///
/// Defaults: [`Kind::Supervisor`], so its shutdown is [`Infinity`](crate::Shutdown::Infinity); [`StopMode::CooperativeInit`].
pub struct NestedSupervisor {
    /// Boxed, as is the loop that comes of it: there is only ever one of them, and neither before and after.
    blueprint: Option<Box<Blueprint>>,
    driver: Option<Owner>,
    port: Arc<Port>,
    dynamic: bool,
    /// Whether its children are being started, or were.
    begun: bool,
    /// Whether its parent was told that its stop cannot be finished for now.
    told: bool,
}

impl fmt::Debug for NestedSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NestedSupervisor").field("dynamic", &self.dynamic).finish_non_exhaustive()
    }
}

impl NestedSupervisor {
    /// A supervisor to be started by [`init`](Child::init).
    pub fn new(builder: SupervisorBuilder) -> Self {
        Self::from_blueprint(builder.0)
    }

    /// A dynamic supervisor to be started by [`init`](Child::init).
    pub fn dynamic(builder: DynamicSupervisorBuilder) -> Self {
        Self::from_blueprint(builder.0)
    }

    fn from_blueprint(blueprint: Box<Blueprint>) -> Self {
        let dynamic = blueprint.dynamic;
        let port = Port::new(blueprint.directory.clone());
        Self { blueprint: Some(blueprint), driver: None, port, dynamic, begun: false, told: false }
    }

    /// A handle to the supervisor. Calls that are made before `init` are answered when it begins.
    pub fn handle(&self) -> SupervisorRef {
        SupervisorRef::new(self.port.clone())
    }

    /// As [`init`](Child::init), for a child type that has other things to look at while it waits: nothing is allocated for the wait. To be
    /// polled by the child's own task, until it is ready. Dropping `self` kills what was started; for a stop in order, the child type's
    /// stop mode is to be that of [`NestedSupervisor`], [`StopMode::CooperativeInit`], so that it is polled on.
    ///
    /// # Errors
    ///
    /// A [`StartError`]: the supervisor's children are not up, and none of them runs, but for those of [`StartError::Stuck`]. Polled again
    /// after one, it says that there was one.
    pub fn poll_init(&mut self, cx: &Context, task: &mut task::Context<'_>) -> Poll<Result<Init, BoxError>> {
        if let Some(blueprint) = self.blueprint.take() {
            // The only one to set it, once: a blueprint is taken once.
            let _ = self.port.within.set(cx.control().within());
            let driver = blueprint.nested(self.port.clone(), cx.lease()).map_err(StartError::Spec)?;
            self.driver = Some(Owner::new(driver));
            match self.dynamic {
                true => cx.publish(DynamicRef::new(self.port.clone())),
                false => cx.publish(SupervisorRef::new(self.port.clone())),
            }
        }
        let Some(driver) = self.driver.as_mut() else {
            return Poll::Ready(Err("a nested supervisor's start has failed already".into()));
        };
        let begun = &mut self.begun;
        let up = ready!(driver.poll(task, |driver, task| {
            if !std::mem::replace(begun, true) {
                driver.begin();
            }
            driver.heed(cx.stop_request(), task);
            driver.poll_up(task)
        }));
        if let Err(StartError::Stuck(_)) = &up {
            cx.report_stuck();
        }
        up?;
        Poll::Ready(Ok(Init::Ready))
    }

    /// As [`run`](Child::run), for a child type that has other things to look at while it waits; as [`poll_init`](Self::poll_init).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::future::poll_fn;
    /// use std::task::{Context as Task, Poll};
    /// use ipa_supervisor::{
    ///     BoxError, Child, ChildSpec, Context, Exit, Init, NestedSupervisor, Settings, Supervisor, async_trait,
    /// };
    ///
    /// /// A supervisor that says when it looks for news.
    /// struct Wakeful(NestedSupervisor);
    ///
    /// #[async_trait]
    /// impl Child for Wakeful {
    ///     async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
    ///         poll_fn(|task| self.0.poll_init(cx, task)).await
    ///     }
    ///     fn poll_ready(&mut self, cx: &mut Context, task: &mut Task<'_>) -> Poll<()> {
    ///         println!("awake");
    ///         self.0.poll_ready(cx, task)
    ///     }
    ///     async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
    ///         poll_fn(|task| self.0.poll_run(cx, task)).await
    ///     }
    ///     fn defaults() -> Settings {
    ///         NestedSupervisor::defaults()
    ///     }
    /// }
    ///
    /// let leaf = || ChildSpec::task("leaf", |cx| async move { cx.stopped().await; });
    /// let inner = move || Wakeful(NestedSupervisor::new(Supervisor::builder().child(leaf())));
    /// let outer = Supervisor::builder().child(ChildSpec::new("inner", inner)).start().await?;
    /// assert_eq!(outer.count_children().await?.supervisors, 1);
    /// outer.shutdown().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// If it was never started by [`poll_init`](Self::poll_init) or [`init`](Child::init). After a start that failed it ends at once, for the
    /// reason of that.
    pub fn poll_run(&mut self, cx: &Context, task: &mut task::Context<'_>) -> Poll<Result<Exit, BoxError>> {
        let Some(driver) = self.driver.as_mut() else {
            return Poll::Ready(Err("a nested supervisor's run was called before its init".into()));
        };
        let told = &mut self.told;
        let reason = ready!(driver.poll(task, |driver, task| {
            // To a stop it is news that the supervisor cannot end, though that was told before.
            *told &= !driver.heed(cx.stop_request(), task);
            driver.poll_end(task, told, || cx.report_stuck())
        }));
        Poll::Ready(Ok(Self::ended(reason)))
    }

    fn ended(reason: ExitReason) -> Exit {
        match reason {
            ExitReason::Shutdown(cause) => Exit::Shutdown(cause),
            // A supervisor ends by a shutdown, of whatever cause.
            other => Exit::Shutdown(Cause::Own(Some(other.to_string().into()))),
        }
    }
}

impl Drop for NestedSupervisor {
    fn drop(&mut self) {
        // If `init` never came so far as to make the loop, nobody else answers those who called, or says that it has ended.
        if self.driver.is_none() {
            drop(self.port.inbox.close());
            self.port.set_ended();
        }
    }
}

#[async_trait]
impl Child for NestedSupervisor {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        if self.begun {
            return Err("a nested supervisor's init was called twice".into());
        }
        poll_fn(|task| self.poll_init(cx, task)).await
    }

    fn poll_ready(&mut self, cx: &mut Context, task: &mut task::Context<'_>) -> Poll<()> {
        // It lives its life here; `run` asks once more how that has ended.
        self.poll_run(cx, task).map(drop)
    }

    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        poll_fn(|task| self.poll_run(cx, task)).await
    }

    fn defaults() -> Settings {
        Settings {
            kind: Some(Kind::Supervisor),
            stop_mode: Some(StopMode::CooperativeInit),
            ..Settings::default()
        }
    }
}

impl ChildSpec {
    /// A nested supervisor, built anew by `builder` at each start.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ipa_supervisor::{ChildSpec, Supervisor};
    ///
    /// let inner = || Supervisor::builder().child(ChildSpec::task("leaf", |cx| async move { cx.stopped().await; }));
    /// let outer = Supervisor::builder().child(ChildSpec::supervisor("inner", inner)).start().await?;
    /// assert_eq!(outer.count_children().await?.supervisors, 1);
    /// outer.shutdown().await?;
    /// # Ok(()) }
    /// ```
    pub fn supervisor(
        id: impl Into<crate::ChildId>,
        builder: impl Fn() -> SupervisorBuilder + Send + Sync + 'static,
    ) -> Self {
        Self::new(id, move || NestedSupervisor::new(builder()))
    }

    /// A nested dynamic supervisor, built anew, and empty, at each start.
    pub fn dynamic_supervisor(
        id: impl Into<crate::ChildId>,
        builder: impl Fn() -> DynamicSupervisorBuilder + Send + Sync + 'static,
    ) -> Self {
        Self::new(id, move || NestedSupervisor::dynamic(builder()))
    }
}
