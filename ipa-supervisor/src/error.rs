//! Errors, one enum per caller's point of view.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::machine::{ChildRef, Refusal};
use crate::reason::{ExitReason, StartFailure};
use crate::spec::ChildId;

/// Options or specs that make no sense. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Two children of the initial list have the same id.
    #[error("two children have the id `{0}`: ids are unique within a supervisor")]
    DuplicateChild(ChildId),
    /// A significant child is permanent: it has no end by itself.
    #[error("child `{0}` is significant and permanent: it has no end by itself that could count")]
    PermanentSignificant(ChildId),
    /// A significant child where nothing shuts down.
    #[error("child `{0}` is significant, but its supervisor's auto_shutdown is never")]
    UselessSignificant(ChildId),
    /// A child's `max_silence` has no length.
    #[error("the `max_silence` of child `{0}` is zero: it would be killed at once")]
    ZeroSilence(ChildId),
    /// The restart intensity's window has no length.
    #[error("the restart intensity's window `within` is zero: it needs a length")]
    ZeroWindow,
}

/// A child that was killed and has not ended within the kill grace.
///
/// It may still run. It keeps its place and its id, nothing is started in its stead, and it is reaped when it ends at last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckChild(pub ChildRef);

impl fmt::Display for StuckChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

fn names(stuck: &[StuckChild]) -> String {
    stuck.iter().map(|child| format!("`{child}`")).collect::<Vec<_>>().join(", ")
}

/// Why a supervisor did not come up. What had been started has been stopped again, in reverse.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Options or specs that make no sense.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A child of the initial list failed to start.
    #[error("the supervisor did not start")]
    ChildFailed(#[source] Arc<StartFailure>),
    /// It was stopped, or gave up, before all its children were up.
    #[error("the supervisor ended before all its children were up: {0}")]
    Ended(ExitReason),
    /// It is being rolled back, and these children were killed and have not ended. They may still run.
    #[error("the supervisor did not start, and of its children {} were killed but have not ended", names(.0))]
    Stuck(Vec<StuckChild>),
}

/// Why `start_child` did not start a child. The spec is gone.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StartChildError {
    /// A child of this id is running.
    #[error("child `{}` is running already", .0.id)]
    AlreadyStarted(ChildRef),
    /// A child of this id is kept, and not running: restart it, or delete it first.
    #[error("child `{0}` is present already, though not running: restart it, or delete it first")]
    AlreadyPresent(ChildId),
    /// The dynamic supervisor has as many children as it may.
    #[error("the supervisor has {0} children, its maximum")]
    MaxChildren(usize),
    /// The spec makes no sense in this supervisor.
    #[error(transparent)]
    Spec(SpecError),
    /// Its start failed.
    #[error(transparent)]
    Failed(Arc<StartFailure>),
    /// Somebody stopped it while it was starting.
    #[error("the start was cancelled: the child was stopped meanwhile")]
    Cancelled,
    /// A child of this id was killed and has not ended, or one that the restart of a group waits for, behind which this would queue.
    #[error("{} was killed but has not ended", names(.0))]
    Stuck(Vec<StuckChild>),
    /// The start would wait for the caller: asked from within a start, or a stop by a group restart, that it would queue behind.
    #[error("this call would wait for its own caller")]
    WouldDeadlock,
    /// The supervisor has ended, or is shutting down.
    #[error("the supervisor has ended or is shutting down")]
    Closed,
}

/// Why `restart_child` did not start a child. Its spec is kept.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RestartChildError {
    /// There is no such child.
    #[error("there is no such child")]
    NotFound,
    /// It is running.
    #[error("the child is running")]
    Running,
    /// Its supervisor is restarting it.
    #[error("the child is being restarted")]
    Restarting,
    /// Its start failed.
    #[error(transparent)]
    Failed(Arc<StartFailure>),
    /// Somebody stopped it while it was starting.
    #[error("the start was cancelled: the child was stopped meanwhile")]
    Cancelled,
    /// It was killed and has not ended, or one that the restart of its group waits for.
    #[error("{} was killed but has not ended", names(.0))]
    Stuck(Vec<StuckChild>),
    /// The call would wait for its own caller.
    #[error("this call would wait for its own caller")]
    WouldDeadlock,
    /// The supervisor has ended, or is shutting down.
    #[error("the supervisor has ended or is shutting down")]
    Closed,
}

/// Why `terminate_child` could not say that the child is gone.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum TerminateChildError {
    /// There is no such child.
    #[error("there is no such child")]
    NotFound,
    /// It was killed and has not ended. It may still run.
    #[error("{} was killed but has not ended", names(.0))]
    Stuck(Vec<StuckChild>),
    /// A child asked for its own end; [`request_terminate_child`](crate::SupervisorRef::request_terminate_child) does not wait.
    #[error("this call would wait for its own caller")]
    WouldDeadlock,
    /// The supervisor has ended, or is shutting down.
    #[error("the supervisor has ended or is shutting down")]
    Closed,
}

/// Why `delete_child` did not delete a child.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum DeleteChildError {
    /// There is no such child.
    #[error("there is no such child")]
    NotFound,
    /// It is running: terminate it first.
    #[error("the child is running: terminate it first")]
    Running,
    /// Its supervisor is restarting it: terminate it first.
    #[error("the child is being restarted: terminate it first")]
    Restarting,
    /// It was killed and has not ended, or one that the restart of its group waits for.
    #[error("{} was killed but has not ended", names(.0))]
    Stuck(Vec<StuckChild>),
    /// The call would wait for its own caller.
    #[error("this call would wait for its own caller")]
    WouldDeadlock,
    /// The supervisor has ended, or is shutting down.
    #[error("the supervisor has ended or is shutting down")]
    Closed,
}

/// Why a supervisor's shutdown could not be finished.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ShutdownError {
    /// These children were killed and have not ended; all others have. The supervisor ends when they do.
    #[error("{} were killed but have not ended", names(.0))]
    Stuck(Vec<StuckChild>),
    /// A child asked for the end of its own supervisor; `request_shutdown` does not wait.
    #[error("this call would wait for its own caller")]
    WouldDeadlock,
}

/// The supervisor has ended: there is nobody to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the supervisor has ended")]
pub struct Closed;

impl StartChildError {
    pub(crate) fn from_refusal(refusal: Refusal, id: ChildId) -> Self {
        match refusal {
            Refusal::AlreadyStarted(slot, incarnation) => {
                Self::AlreadyStarted(ChildRef { id, slot, incarnation })
            }
            Refusal::AlreadyPresent(_) | Refusal::Running | Refusal::Restarting | Refusal::NotFound => {
                Self::AlreadyPresent(id)
            }
            Refusal::MaxChildren(max) => Self::MaxChildren(max),
            Refusal::Spec(error) => Self::Spec(error),
            Refusal::Failed(failure) => Self::Failed(failure),
            Refusal::Cancelled => Self::Cancelled,
            Refusal::Stuck(stuck) => Self::Stuck(stuck),
            Refusal::WouldDeadlock => Self::WouldDeadlock,
            Refusal::ShuttingDown => Self::Closed,
        }
    }
}

/// The refusals that these three share; the rest a machine does not give to them.
macro_rules! from_refusal {
    ($error:ty, $($more:ident $(($value:ident))?),*) => {
        impl From<Refusal> for $error {
            fn from(refusal: Refusal) -> Self {
                match refusal {
                    Refusal::NotFound => Self::NotFound,
                    Refusal::Stuck(stuck) => Self::Stuck(stuck),
                    Refusal::WouldDeadlock => Self::WouldDeadlock,
                    $(Refusal::$more $(($value))? => Self::$more $(($value))?,)*
                    _ => Self::Closed,
                }
            }
        }
    };
}

from_refusal!(RestartChildError, Running, Restarting, Failed(failure), Cancelled);
from_refusal!(TerminateChildError,);
from_refusal!(DeleteChildError, Running, Restarting);
