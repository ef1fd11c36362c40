//! What a task's pod consists of.
//!
//! | child | what it is | found as |
//! |---|---|---|
//! | `state` | the state manager, over the task's events | [`StateHandle<TaskState>`](ipa_eventstore::StateHandle) |
//! | `workspace` | makes a directory for the steps, and removes it | [`WorkspaceHandle`](crate::workspace::WorkspaceHandle) |
//! | `scheduler` | starts the steps, records how they end | |
//! | `sync` | writes to a file how the task gets on | |
//! | `step:...` | a step that runs: a temporary child, added by the scheduler | |
//!
//! They start in this order and stop in reverse: the steps first, the one that remembers last.

use std::sync::Arc;

use ipa_eventstore::{EventStore, StateManager, StreamId};
use ipa_pod::{PodRegistry, PodScope, PodSpec};
use ipa_supervisor::BoxError;

use crate::chaos::Chaos;
use crate::folders::Folders;
use crate::peers::{Peers, child};
use crate::scheduler;
use crate::state::TaskState;
use crate::sync::Sync;
use crate::workspace::Workspace;

/// What all pods of a run depend on.
pub struct Shared {
    /// Where the tasks' events are.
    pub store: Arc<dyn EventStore>,
    /// Where the pods and their children are entered.
    pub registry: PodRegistry,
    /// Where files go.
    pub folders: Folders,
    /// The dice.
    pub chaos: Arc<Chaos>,
}

/// The pods' factory: called anew for each start of a pod.
pub fn factory(
    shared: Arc<Shared>,
) -> impl Fn(&PodScope) -> Result<PodSpec, BoxError> + Send + std::marker::Sync + 'static {
    move |scope| {
        let task = scope.task().as_str();
        let peers = Peers::new(scope.clone(), shared.registry.clone());
        let stream = StreamId::new(task)?;
        // Its handle is not handed on: the others find it as they find any child.
        let (state, _) = StateManager::<TaskState>::new(shared.store.clone(), stream).child(child::STATE);
        let progress = shared.folders.progress(task);
        Ok(PodSpec::new()
            .child(state)
            .child(Workspace::spec(task, shared.folders.scratch(), shared.chaos.clone()))
            .child(scheduler::spec(peers.clone(), shared.clone()))
            .child(Sync::spec(peers, progress, shared.chaos.clone())))
    }
}
