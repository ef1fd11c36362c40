//! The two registries: pods by task id, children by task id and child id. The latter is in parts, one with each pod: to enter four children
//! in a table of all took a sixth of a pod's start, most of it for memory that no cache had.
//!
//! They are the only truth about who runs. A pod's key is reserved before anything of it starts and free after the last of it
//! has ended; a child's entry stands from before its `init` until its incarnation is over.

use std::sync::Arc;

use ipa_registry::{DEFAULT_SUBSCRIPTION_CAPACITY, Groups, Part, Parts, Registry, Subscription};

use ipa_supervisor::machine::SlotId;
use ipa_supervisor::{ChildId, Incarnation, Published};

use crate::pod::PodRef;
use crate::scope::LookupError;
use crate::task::TaskId;

/// Who runs: pods by task id and by label, and their children by task id and child id. Cheap to clone.
// One pointer, which every pod has: the count behind each is changed by all workers.
#[derive(Clone, Debug)]
pub struct PodRegistry(Arc<Registries>);

#[derive(Debug)]
struct Registries {
    pods: Registry<TaskId, PodRef>,
    children: ChildRegistry,
    labels: Groups<Arc<str>, PodRef>,
}

impl PodRegistry {
    /// An empty registry.
    pub fn new() -> Self {
        let pods = Registry::new();
        let children = ChildRegistry { pods: pods.clone(), parts: Parts::new() };
        Self(Arc::new(Registries { pods, children, labels: Groups::new() }))
    }

    /// The pods, by task id.
    pub fn pods(&self) -> &Registry<TaskId, PodRef> {
        &self.0.pods
    }

    /// The running incarnations of pods' children, by task id and child id.
    pub fn children(&self) -> &ChildRegistry {
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
        let key = (task.clone(), child.clone());
        let entry = self.children().lookup(&key);
        published(key, entry)
    }
}

/// What a child has published, if it is a `T`.
pub(crate) fn published<T: Clone + Send + Sync + 'static>(
    (task, child): ChildKey,
    entry: Option<ChildEntry>,
) -> Result<T, LookupError> {
    let Some(published) = entry.and_then(|entry| entry.published) else {
        return Err(LookupError::NotFound { task, child });
    };
    published.get().ok_or_else(|| LookupError::WrongType {
        task,
        child,
        expected: std::any::type_name::<T>(),
        found: published.type_name(),
    })
}

impl Default for PodRegistry {
    fn default() -> Self {
        Self::new()
    }
}

/// The names of a pod's children: a part of the registry of all.
pub(crate) type Names = Part<ChildKey, ChildEntry>;

/// A child by the task of its pod and its id there.
pub(crate) type ChildKey = (TaskId, ChildId);

/// The running incarnations of pods' children, by task id and child id: what a [`Registry`] is, with one part for each pod.
///
/// A child's entry lies with its pod, so whoever looks for it looks for the pod first, whose key stands from before the first child's entry
/// until after the last one's.
#[derive(Clone, Debug)]
pub struct ChildRegistry {
    pods: Registry<TaskId, PodRef>,
    parts: Parts<ChildKey, ChildEntry>,
}

impl ChildRegistry {
    /// For a pod that is to come.
    pub(crate) fn names(&self) -> Names {
        self.parts.part()
    }

    /// The child's running incarnation, or `None`.
    pub fn lookup(&self, key: &(TaskId, ChildId)) -> Option<ChildEntry> {
        self.pods.lookup(&key.0)?.0.names.lookup(key)
    }

    /// Whether the child runs; as [`lookup`](Self::lookup).
    pub fn contains(&self, key: &(TaskId, ChildId)) -> bool {
        self.pods.lookup(&key.0).is_some_and(|pod| pod.0.names.contains(key))
    }

    /// How many children run, of all pods. O(1) and exact, as [`Registry::count`].
    pub fn count(&self) -> usize {
        self.parts.count()
    }

    /// Whether no child runs; as [`count`](Self::count).
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// All children that run, of all pods, those of one pod after one another.
    ///
    /// As [`Registry::list`]: one that runs throughout the call is listed, and one that does not at any moment of it is not. The pods are read
    /// one after the other, and none is kept from anything meanwhile but for the time that it takes to clone its entries.
    pub fn list(&self) -> Vec<((TaskId, ChildId), ChildEntry)> {
        self.pods.list().into_iter().flat_map(|(_, pod)| pod.0.names.list()).collect()
    }

    /// The keys of all children that run; as [`list`](Self::list).
    pub fn keys(&self) -> Vec<(TaskId, ChildId)> {
        self.list().into_iter().map(|(key, _)| key).collect()
    }

    /// The children that the predicate accepts; as [`list`](Self::list). It is called without a lock.
    pub fn select(
        &self,
        mut predicate: impl FnMut(&(TaskId, ChildId), &ChildEntry) -> bool,
    ) -> Vec<((TaskId, ChildId), ChildEntry)> {
        self.list().into_iter().filter(|(key, entry)| predicate(key, entry)).collect()
    }

    /// What is registered, updated and unregistered from now on, with room for [`DEFAULT_SUBSCRIPTION_CAPACITY`] events; as
    /// [`Registry::subscribe`]. It is closed when the registry is gone, and every [`PodRef`], which has a part of it.
    pub fn subscribe(&self) -> Subscription<(TaskId, ChildId), ChildEntry> {
        self.subscribe_with_capacity(DEFAULT_SUBSCRIPTION_CAPACITY)
    }

    /// The same with room for `capacity` events.
    pub fn subscribe_with_capacity(&self, capacity: usize) -> Subscription<(TaskId, ChildId), ChildEntry> {
        self.parts.subscribe_with_capacity(capacity)
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
