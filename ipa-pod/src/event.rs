//! Lifecycle events: enough for a central manager to notice and act.

use std::sync::Arc;

use ipa_supervisor::{ChildRef, ExitReason};
use tokio::sync::broadcast;

use crate::pod::PodRef;

/// Something happened to a pod.
///
/// The events of one pod come in this order, each of them once at most: `Starting`, `Active` (unless the start fails),
/// `Stopping`, `Stuck`, `Ended`; and any number of `ChildRestarted` between the first and the last, before `Active` too.
///
/// `Ended` is published when the last of the pod has ended and its key is free (in a restart, the key stays held for the
/// successor): a start of the same task from the handler of it finds the way clear. It is published before a stop or a
/// [`wait`](PodRef::wait) is answered, so it comes before `Starting` of a pod that was started afterwards. One that somebody
/// started without waiting, in the moment when the key had become free, may have its `Starting` before it: tell the pods of a
/// task apart by their [`PodRef`], not by its id.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PodEvent {
    /// The task's key is reserved; the pod is about to start.
    Starting(PodRef),
    /// All children are up.
    Active(PodRef),
    /// A child ended and is being restarted by its supervisor.
    ChildRestarted {
        /// The pod.
        pod: PodRef,
        /// The child, as it ended.
        child: ChildRef,
        /// How it ended.
        reason: ExitReason,
    },
    /// The pod stops: it was told to, gives up, or its significant children have ended.
    Stopping {
        /// The pod.
        pod: PodRef,
        /// What was said of why.
        reason: Option<Arc<str>>,
    },
    /// The pod was to stop, and these of its children were killed and have not ended.
    Stuck {
        /// The pod.
        pod: PodRef,
        /// The children.
        children: Vec<ChildRef>,
    },
    /// The pod and all under it have ended; its key is free. For a start that failed this comes as well as the error of
    /// [`start_pod`](crate::PodSupervisorRef::start_pod), and before it.
    Ended {
        /// The pod.
        pod: PodRef,
        /// Why. For a start that failed, the reason of the failure.
        reason: ExitReason,
        /// Whether it had been active.
        was_active: bool,
    },
}

impl PodEvent {
    /// The pod that it happened to.
    pub fn pod(&self) -> &PodRef {
        match self {
            Self::Starting(pod)
            | Self::Active(pod)
            | Self::ChildRestarted { pod, .. }
            | Self::Stopping { pod, .. }
            | Self::Stuck { pod, .. }
            | Self::Ended { pod, .. } => pod,
        }
    }
}

/// A subscription to the lifecycle events of all pods, from the moment it was made.
///
/// It holds the last 4096 events: a subscriber that falls further behind never slows a pod down, but is told that it lagged, and
/// should list the pods to see where things stand.
#[derive(Debug)]
#[must_use = "events are lost to who does not receive them"]
pub struct PodEvents(pub(crate) broadcast::Receiver<PodEvent>);

/// How many events a subscriber may lag behind.
pub(crate) const EVENTS: usize = 4096;

impl PodEvents {
    /// The next event. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`PodEventsError::Lagged`] once after falling behind, [`PodEventsError::Closed`] when all was read and there will
    /// be no more: the last strong handle to the pod supervisor is gone, with its last pod and the last
    /// [`child_spec`](crate::PodSupervisorRef::child_spec) of one. After a [`shutdown`](crate::PodSupervisorRef::shutdown) alone it waits.
    pub async fn recv(&mut self) -> Result<PodEvent, PodEventsError> {
        self.0.recv().await.map_err(|error| match error {
            broadcast::error::RecvError::Lagged(missed) => PodEventsError::Lagged(missed),
            broadcast::error::RecvError::Closed => PodEventsError::Closed,
        })
    }

    /// The next event, if there is one now.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Option<PodEvent>, PodEventsError> {
        match self.0.try_recv() {
            Ok(event) => Ok(Some(event)),
            Err(broadcast::error::TryRecvError::Empty) => Ok(None),
            Err(broadcast::error::TryRecvError::Lagged(missed)) => Err(PodEventsError::Lagged(missed)),
            Err(broadcast::error::TryRecvError::Closed) => Err(PodEventsError::Closed),
        }
    }
}

/// Why there is no next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PodEventsError {
    /// This many events were missed. The next call goes on with the oldest that is left.
    #[error("{0} events were missed: list the pods to see where things stand")]
    Lagged(u64),
    /// There will be no more.
    #[error("the pod supervisor has ended")]
    Closed,
}
