//! What a pod's factory is given, and hands on to the children.

use std::pin::pin;

use ipa_supervisor::{Address, ChildId};
use thiserror::Error;

use crate::activity::Busy;
use crate::pod::PodRef;
use crate::task::TaskId;

/// A pod from the inside: which task it is for, and how its children find each other. Cheap to clone, and weak: it keeps
/// nothing alive.
///
/// ```
/// # use ipa_pod::{PodScope, PodSpec};
/// # use ipa_supervisor::{BoxError, ChildSpec, Reply};
/// # enum StateMsg { Get(Reply<u64>) }
/// fn pod(scope: &PodScope) -> Result<PodSpec, BoxError> {
///     let scope = scope.clone();
///     Ok(PodSpec::new().child(ChildSpec::task("reader", move |_cx| {
///         let scope = scope.clone();
///         async move {
///             let state = scope.address::<StateMsg>("state")?; // whoever that is by then
///             println!("{}: {}", scope.task(), state.call(StateMsg::Get).await?);
///             Ok::<(), BoxError>(())
///         }
///     })))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct PodScope {
    pod: PodRef,
}

impl PodScope {
    /// The inside of a pod, for whoever has the pod.
    pub fn of(pod: &PodRef) -> Self {
        Self { pod: pod.clone() }
    }

    /// The task that the pod is for.
    pub fn task(&self) -> &TaskId {
        self.pod.task()
    }

    /// The pod.
    pub fn pod(&self) -> &PodRef {
        &self.pod
    }

    /// Declares activity: the pod's [idle time](crate::PodSpec::idle_stop) begins anew. Without one, this does nothing.
    pub fn touch(&self) {
        self.pod.0.touch();
    }

    /// Declares activity for as long as the guard lives, and touches when it is dropped.
    pub fn busy(&self) -> Busy {
        self.pod.0.activity().busy()
    }

    /// The address of a mailbox server among the pod's children. It leads to whoever is the child, across its restarts.
    ///
    /// # Errors
    ///
    /// [`LookupError`]: no such child is up now, or its messages are of another type.
    pub fn address<M: Send + 'static>(&self, child: impl Into<ChildId>) -> Result<Address<M>, LookupError> {
        self.find(child)
    }

    /// As [`find`](Self::find), but waits for a child that is not up: not yet, or not again.
    ///
    /// In an `init`, wait only for children that come before: those after it start when it is done. A child that the pod does
    /// not have is waited for as long as the pod lives.
    ///
    /// # Errors
    ///
    /// [`LookupError::WrongType`], and [`LookupError::NotFound`] when the pod has ended.
    ///
    /// # Cancel safety
    ///
    /// It is.
    pub async fn wait_for<T: Clone + Send + Sync + 'static>(
        &self,
        child: impl Into<ChildId>,
    ) -> Result<T, LookupError> {
        let child = child.into();
        loop {
            // Enlisted before the look, so that what is published between the look and the wait is not missed.
            let mut published = pin!(self.pod.0.changed.notified());
            published.as_mut().enable();
            match self.find(child.clone()) {
                Err(LookupError::NotFound { .. }) if !self.pod.has_ended() => {}
                found => return found,
            }
            tokio::select! {
                () = published => {}
                _ = self.pod.wait() => {}
            }
        }
    }

    /// Whatever a child of the pod has published, if it is a `T`.
    ///
    /// A child stays published through its `terminate`: what is found may lead to one that takes no more messages, and says so.
    ///
    /// # Errors
    ///
    /// As [`address`](Self::address).
    pub fn find<T: Clone + Send + Sync + 'static>(
        &self,
        child: impl Into<ChildId>,
    ) -> Result<T, LookupError> {
        self.pod.find(child)
    }
}

/// Why a child's address was not to be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The pod has no such child now, or it has published no address yet.
    #[error("task `{task}` has no child `{child}` with an address now")]
    NotFound {
        /// The task.
        task: TaskId,
        /// The child.
        child: ChildId,
    },
    /// The child's address is of another type.
    #[error("child `{child}` of task `{task}` has published a {found}, not a {expected}")]
    WrongType {
        /// The task.
        task: TaskId,
        /// The child.
        child: ChildId,
        /// The type that was asked for.
        expected: &'static str,
        /// The type that is there.
        found: &'static str,
    },
}
