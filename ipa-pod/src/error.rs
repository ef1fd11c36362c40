//! Errors of the lifecycle calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipa_supervisor::{BoxError, ChildId, ChildRef, ExitReason, StartFailure};
use thiserror::Error;

use crate::pod::{PodRef, PodStatus};
use crate::task::{InvalidTaskId, TaskId};

/// Why a pod was not started. Nothing of it runs, and its key is free, unless the error says otherwise.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StartPodError {
    /// The id is blank.
    #[error(transparent)]
    InvalidTaskId(#[from] InvalidTaskId),
    /// The task has a pod, which is left as it is.
    #[error("task `{}` has a pod already, which is {status}", .pod.task())]
    AlreadyStarted {
        /// That pod.
        pod: PodRef,
        /// Its status at the time.
        status: PodStatus,
    },
    /// The task has no event stream.
    #[error("task `{0}` has no event stream: create it first")]
    StreamNotFound(TaskId),
    /// Another machine owns the task.
    #[error("task `{task}` is owned elsewhere ({owner})")]
    OwnedElsewhere {
        /// The task.
        task: TaskId,
        /// Where, as far as the store knows.
        owner: String,
    },
    /// It could not be found out whether the task may run.
    #[error("whether task `{task}` may run could not be found out")]
    Unavailable {
        /// The task.
        task: TaskId,
        /// What the store said.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The pod's factory failed or panicked, or made what is no supervisor: with two children of one id, say.
    #[error("the factory of the pod of task `{task}` failed")]
    Factory {
        /// The task.
        task: TaskId,
        /// How.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The start took longer than it may, and has been rolled back: the admission longer than the admission timeout, or the children longer
    /// than the start timeout.
    #[error("the pod of task `{task}` {}", late(.timeout, .child))]
    TimedOut {
        /// The task.
        task: TaskId,
        /// The timeout: the start's, if a child is named, else the admission's.
        timeout: Duration,
        /// The child that was starting, if it came that far.
        child: Option<ChildId>,
    },
    /// A child failed to start; those before it have been stopped, in reverse.
    #[error("the pod of task `{task}` did not start")]
    ChildFailed {
        /// The task.
        task: TaskId,
        /// Which child, and how.
        #[source]
        failure: Arc<StartFailure>,
    },
    /// The pod ended before all its children were up: stopped by somebody, revoked, or its children crashed too often.
    #[error("the pod of task `{task}` ended before it was up: {reason}")]
    Ended {
        /// The task.
        task: TaskId,
        /// Why.
        reason: ExitReason,
    },
    /// The start failed, and of what it had started these children were killed and have not ended. The key is kept until they
    /// have.
    #[error("the pod of task `{task}` did not start, and of its children {} have not ended", names(.children))]
    Stuck {
        /// The task.
        task: TaskId,
        /// The children.
        children: Vec<ChildRef>,
    },
    /// The pod supervisor is being drained, is shutting down, or has ended.
    #[error("no pods are started any more: the pod supervisor is draining or has ended")]
    Draining,
    /// There are as many pods as there may be.
    #[error("there are {0} pods, the maximum")]
    AtCapacity(usize),
}

/// Why a pod could not be stopped.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StopPodError {
    /// The task has no pod.
    #[error("task `{0}` has no pod")]
    NotRunning(String),
    /// Of the pod's children these were killed and have not ended. The pod keeps its key until they have.
    #[error("the pod of task `{task}` did not end: {} were killed but have not ended", names(.children))]
    Stuck {
        /// The task.
        task: TaskId,
        /// The children.
        children: Vec<ChildRef>,
    },
    /// A pod's child asked for the end of its own pod; [`PodRef::request_stop`](crate::PodRef::request_stop) does not wait.
    #[error("this call would wait for its own caller")]
    WouldDeadlock,
}

/// Why a pod was not restarted.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RestartPodError {
    /// The old pod did not end, and keeps its key.
    #[error("the old pod did not stop")]
    Stop(#[source] StopPodError),
    /// The pod is a child of another supervisor: of one of the user's own, or of another pod supervisor that shares the registry.
    #[error("the pod of task `{0}` is under another supervisor: restart it there")]
    NotOurs(TaskId),
    /// The old pod has ended, and the new one did not start.
    #[error("the new pod did not start")]
    Start(#[source] StartPodError),
}

/// There is no such pod.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("task `{0}` has no pod")]
pub struct PodNotFound(pub String);

pub(crate) fn names(children: &[ChildRef]) -> String {
    if children.is_empty() {
        return "some".into();
    }
    children.iter().map(|child| format!("`{child}`")).collect::<Vec<_>>().join(", ")
}

fn late(timeout: &Duration, child: &Option<ChildId>) -> String {
    match child {
        Some(child) => format!("did not start within {timeout:?}: child `{child}` was starting"),
        None => format!("was not admitted within {timeout:?}"),
    }
}

/// A panic, where an error is wanted.
pub(crate) fn panicked(reason: &ExitReason) -> Arc<dyn std::error::Error + Send + Sync> {
    Arc::from(BoxError::from(reason.to_string()))
}

/// Why a shutdown of all pods could not be finished.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ShutdownPodsError {
    /// These pods have not ended; all others have. They keep their keys until they do.
    #[error("{} did not end", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Stuck(Vec<StuckPod>),
    /// A pod's child asked for it; [`request_shutdown`](crate::PodSupervisorRef::request_shutdown) does not wait.
    #[error("this call would wait for its own caller")]
    WouldDeadlock,
}

/// A pod that did not end, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StuckPod {
    /// The task.
    pub task: TaskId,
    /// Its children that were killed and have not ended.
    pub children: Vec<ChildRef>,
}

impl fmt::Display for StuckPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the pod of task `{}` (children {})", self.task, names(&self.children))
    }
}
