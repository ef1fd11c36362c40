//! The two registries: pods by task id, children by task id and child id.
//!
//! They are the only truth about who runs. A pod's key is reserved before anything of it starts and free after the last of it
//! has ended; a child's entry stands from before its `init` until its incarnation is over.

use std::sync::Arc;

use ipa_registry::{Groups, Registry};

use ipa_supervisor::machine::SlotId;
use ipa_supervisor::{ChildId, Incarnation, Published};

use crate::pod::PodRef;
use crate::scope::LookupError;
use crate::task::TaskId;

/// Who runs: pods by task id and by label, and their children by task id and child id. Cheap to clone.
// One pointer, which every pod has: the count behind each is changed by all workers.
#[derive(Clone, Debug, Default)]
pub struct PodRegistry(Arc<Registries>);

#[derive(Debug, Default)]
struct Registries {
    pods: Registry<TaskId, PodRef>,
    children: Registry<(TaskId, ChildId), ChildEntry>,
    labels: Groups<Arc<str>, PodRef>,
}

impl PodRegistry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// The pods, by task id.
    pub fn pods(&self) -> &Registry<TaskId, PodRef> {
        &self.0.pods
    }

    /// The running incarnations of pods' children, by task id and child id.
    pub fn children(&self) -> &Registry<(TaskId, ChildId), ChildEntry> {
        &self.0.children
    }

    /// The pods that carry labels, by label: from when their factory has been called until they have ended.
    pub fn labels(&self) -> &Groups<Arc<str>, PodRef> {
        &self.0.labels
    }

    /// What a child of a task's pod has published, if it is a `T`.
    ///
    /// # Errors
    ///
    /// [`LookupError`]: there is no such child now, it has published nothing, or something of another type.
    pub fn find<T: Clone + Send + Sync + 'static>(
        &self,
        task: &TaskId,
        child: &ChildId,
    ) -> Result<T, LookupError> {
        let entry = self.children().lookup(&(task.clone(), child.clone()));
        let Some(published) = entry.and_then(|entry| entry.published) else {
            return Err(LookupError::NotFound { task: task.clone(), child: child.clone() });
        };
        published.get().ok_or_else(|| LookupError::WrongType {
            task: task.clone(),
            child: child.clone(),
            expected: std::any::type_name::<T>(),
            found: published.type_name(),
        })
    }
}

/// A running incarnation of a pod's child. Whose it is says the key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChildEntry {
    /// The child's place among its siblings.
    pub slot: SlotId,
    /// Which run of it.
    pub incarnation: Incarnation,
    /// What it has published, usually an address.
    pub published: Option<Published>,
}
