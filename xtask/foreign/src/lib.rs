//! A [kameo](https://docs.rs/kameo) actor as a child of a pod: a child type of somebody else's making, to copy from.
//!
//! The chapter [`ipa_supervisor::custom`] says how a child type is written; this is one that is in use, around a framework with a
//! life cycle of its own. Its four questions, answered for kameo:
//!
//! - *When is it up?* When `on_start` has returned: [`ActorRef::wait_for_startup`] and its kin. An actor that is killed as it
//!   starts never says so, hence the wait for its end beside it.
//! - *How does one learn that it ended?* By the future that is the actor ([`PreparedActor::run`](kameo::actor::PreparedActor::run)),
//!   and by nothing else: `wait_for_shutdown` resolves *before* `on_stop` has run.
//! - *How is it asked to stop?* [`ActorRef::stop_gracefully`]: it handles what is in its mailbox, then comes `on_stop`.
//! - *What if nobody gets to ask?* The future is run by [`Context::spawn`], which drops it when the incarnation is over, and
//!   holds the incarnation's lease until it is gone. kameo's own `kill` would not do: it calls `on_stop`, however long that takes.
//!
//! What is given up for that: a message that an actor sends to itself in `on_start` is not handled before those of others, for kameo
//! knows the sender by a task-local value that only its own `spawn` sets.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use foreign_actor::ActorChild;
//! use ipa_supervisor::Supervisor;
//! use kameo::actor::{Actor, ActorRef};
//! use kameo::error::Infallible;
//!
//! struct Greeter(&'static str);
//! impl Actor for Greeter {
//!     type Args = &'static str;
//!     type Error = Infallible;
//!     async fn on_start(greeting: &'static str, _: ActorRef<Self>) -> Result<Self, Infallible> {
//!         Ok(Self(greeting))
//!     }
//! }
//!
//! let greeter = ActorChild::<Greeter>::new(|| "hello").mailbox(16);
//! let supervisor = Supervisor::builder().child(greeter.spec("greeter")).start().await?; // the actor has started
//! supervisor.shutdown().await?; // the actor has stopped, `on_stop` included
//! # Ok(()) }
//! ```

use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;

use ipa_pod::{LookupError, PodScope};
use ipa_supervisor::{
    BoxError, Child, ChildId, ChildSpec, Context, Exit, ExitReason, Init, Settings, StopMode, async_trait,
};
use kameo::actor::{Actor, ActorRef, Spawn};
use kameo::error::{ActorStopReason, PanicError};
use kameo::mailbox;
use thiserror::Error;
use tokio::task::{JoinError, JoinHandle};

/// An actor as a [`Child`]: started anew, with new arguments, at each start.
///
/// | the actor | the child |
/// |---|---|
/// | `on_start` returns an error, or panics | its start fails |
/// | stops by itself | [`Exit::Normal`] |
/// | panics, or a message's handler or a hook fails | a failure, whose error is kameo's [`PanicError`] |
/// | is killed, or a linked actor dies | a failure, whose error is [`ActorEnded`] |
/// | panics when its state is dropped | a panic |
///
/// A stop is graceful: the actor handles what is in its mailbox, then its `on_stop` runs, all within the spec's
/// [`Shutdown`](ipa_supervisor::Shutdown). At that deadline, and by a brutal kill, its future is dropped when it next waits for
/// something: `on_stop` is cut short, or does not run. In each case the child has ended when the actor has, its state dropped. One
/// that blocks its thread makes the child *stuck*.
///
/// Once up, it publishes its [`ActorRef`]; see [`ActorAddress`]. Supervise it here or in kameo, not in both: a kameo supervisor
/// would restart an actor that this child does not know.
///
/// Defaults: [`StopMode::Drop`], which must stay, for `run` does not look for a stop. All else is the supervisor's.
#[must_use = "an actor child does nothing until a supervisor is given its spec"]
pub struct ActorChild<A: Actor> {
    args: Arc<dyn Fn() -> A::Args + Send + Sync>,
    capacity: usize,
    running: Option<Running<A>>,
}

/// An actor that is up. Dropped by a kill, it leaves the rest to [`Context::spawn`].
struct Running<A: Actor> {
    actor: ActorRef<A>,
    task: JoinHandle<Ended>,
}

/// Without the actor's state, which is dropped on the actor's own task, before the lease is.
type Ended = Result<ActorStopReason, PanicError>;

impl<A: Actor> ActorChild<A> {
    /// An actor that `args` makes the arguments for, at each start.
    pub fn new(args: impl Fn() -> A::Args + Send + Sync + 'static) -> Self {
        Self { args: Arc::new(args), capacity: 64, running: None }
    }

    /// How many messages may wait in its mailbox; senders wait beyond that. Default: 64, as kameo has it. Zero is taken for one.
    pub fn mailbox(mut self, capacity: usize) -> Self {
        self.capacity = capacity.max(1);
        self
    }

    /// The spec of the child. What differs from the defaults is set on it.
    pub fn spec(self, id: impl Into<ChildId>) -> ChildSpec {
        ChildSpec::new(id, move || Self { args: self.args.clone(), capacity: self.capacity, running: None })
    }
}

impl<A: Actor> fmt::Debug for ActorChild<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorChild")
            .field("actor", &A::name())
            .field("mailbox", &self.capacity)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl<A: Actor> Child for ActorChild<A> {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let prepared = A::prepare_with_mailbox(mailbox::bounded(self.capacity));
        let actor = prepared.actor_ref().clone();
        let args = (self.args)();
        // Holds the lease. If this start is cancelled, it is aborted as in a kill.
        let mut task = cx.spawn(async move { prepared.run(args).await.map(|(_state, reason)| reason) });
        tokio::select! {
            true = actor.wait_for_startup_with_result(|started| started.is_ok()) => {}
            ended = &mut task => {
                exit(ended)?;
                return Err("the actor stopped before it had started".into());
            }
        }
        cx.publish(actor.clone());
        self.running = Some(Running { actor, task });
        Ok(Init::Ready)
    }

    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        let Some(running) = self.running.as_mut() else {
            return Err("an actor's run was called before its init".into());
        };
        let ended = (&mut running.task).await;
        // It has ended by itself: nothing is left for `terminate`, which comes next.
        self.running = None;
        exit(ended)
    }

    async fn terminate(&mut self, _cx: &mut Context, _reason: &ExitReason) {
        let Some(running) = self.running.take() else { return };
        // Refused only by an actor that is ending already.
        let _ = running.actor.stop_gracefully().await;
        if let Err(error) = exit(running.task.await) {
            // A crash on the way out is what the child ended with, as in OTP.
            resume_unwind(Box::new(error.to_string()));
        }
    }

    fn defaults() -> Settings {
        Settings { stop_mode: Some(StopMode::Drop), ..Settings::default() }
    }
}

/// What the child ends with, from what the actor ended with.
fn exit(ended: Result<Ended, JoinError>) -> Result<Exit, BoxError> {
    match ended {
        Ok(Ok(ActorStopReason::Normal)) => Ok(Exit::Normal),
        Ok(Ok(ActorStopReason::Panicked(error)) | Err(error)) => Err(error.into()),
        Ok(Ok(reason)) => Err(ActorEnded(reason).into()),
        // kameo catches panics of hooks and handlers, but not of the state's Drop.
        Err(error) => match error.try_into_panic() {
            Ok(payload) => resume_unwind(payload),
            Err(aborted) => Err(aborted.into()),
        },
    }
}

/// An actor ended by itself, and neither normally nor by a panic.
#[derive(Debug, Error)]
#[error("the actor ended: {0}")]
pub struct ActorEnded(pub ActorStopReason);

/// The way to an actor that is a child of the same pod, across its restarts. Cheap to clone, and weak.
///
/// ```
/// # use foreign_actor::ActorAddress;
/// # use ipa_pod::PodScope;
/// # use ipa_supervisor::BoxError;
/// # use kameo::{Actor, message::Message};
/// # async fn example<Ledger: Actor + Message<u64, Reply = ()>>(scope: &PodScope) -> Result<(), BoxError> {
/// let ledger = ActorAddress::<Ledger>::new(scope, "ledger");
/// ledger.actor()?.tell(10).await.map_err(|error| error.map_msg(|_| ()))?; // whoever that is by then
/// # Ok(()) }
/// ```
pub struct ActorAddress<A: Actor> {
    scope: PodScope,
    child: ChildId,
    actor: std::marker::PhantomData<fn() -> A>,
}

impl<A: Actor> ActorAddress<A> {
    /// The way to this child of the pod, which need not be there yet.
    pub fn new(scope: &PodScope, child: impl Into<ChildId>) -> Self {
        Self { scope: scope.clone(), child: child.into(), actor: std::marker::PhantomData }
    }

    /// The actor that is the child now. To be asked for anew for each use: after a restart it is another.
    ///
    /// # Errors
    ///
    /// [`LookupError`]: the child is not up now, or is an actor of another type.
    pub fn actor(&self) -> Result<ActorRef<A>, LookupError> {
        self.scope.find(self.child.clone())
    }
}

impl<A: Actor> Clone for ActorAddress<A> {
    fn clone(&self) -> Self {
        Self::new(&self.scope, self.child.clone())
    }
}

impl<A: Actor> fmt::Debug for ActorAddress<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActorAddress")
            .field("child", &self.child)
            .field("actor", &A::name())
            .finish_non_exhaustive()
    }
}
