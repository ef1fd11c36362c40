//! Witnesses: who lives, as told by those who do, and not by the stack that is being watched.
//!
//! Each task has one token for its pod and one for each child of it. A pod takes the token when it is admitted and gives it back with its
//! permit; a child takes its own when its factory is called and gives it back when its value, its closure or its thread is gone. Whoever
//! finds a token taken has found two of what there may be one of. The order is checked as well: a child lives within its pod's life, and
//! a pod within the time for which its task's key is registered.
//!
//! Tokens are numbers that are never used twice, so that "what lived then is gone" can be asked of a moment after.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use ipa_eventstore::{EventStore, StoreAdmission};
use ipa_pod::{Admission, AdmitError, Permit, Revoker, TaskId};
use parking_lot::Mutex;

use super::world::{Task, World, index_of};

pub const ONE_POD: &str = "one pod per task";
pub const ONE_CHILD: &str = "one incarnation per child";
pub const WITHIN: &str = "children live within their pod";
pub const OWNER_HAS_KEY: &str = "no owner without a key";

/// The children that have a token, by their place.
pub const CHILDREN: [&str; 9] =
    ["worker", "server", "thread", "left", "right", "extra-0", "extra-1", "extra-2", "extra-3"];

/// The tokens of one task. 0 is free.
#[derive(Default)]
pub struct Witness {
    pod: AtomicU64,
    children: [AtomicU64; CHILDREN.len()],
    /// By which the pod that lives can be killed.
    revoker: Mutex<Option<Revoker>>,
}

impl Witness {
    /// The pod that lives now; 0 is none.
    pub fn pod(&self) -> u64 {
        self.pod.load(Ordering::SeqCst)
    }

    /// The child that lives now in this place.
    pub fn child(&self, place: usize) -> u64 {
        self.children[place].load(Ordering::SeqCst)
    }

    /// Takes the permit of the pod that lives away; answers whether there was one.
    pub fn revoke(&self) -> bool {
        let revoker = self.revoker.lock().take();
        revoker.map(|revoker| revoker.revoke()).is_some()
    }
}

/// Admits the tasks that have a stream, and sees that there is one pod of each.
pub struct Witnessed {
    world: Arc<World>,
    admission: StoreAdmission,
}

impl Witnessed {
    pub fn new(world: Arc<World>, store: Arc<dyn EventStore>) -> Self {
        Self { world, admission: StoreAdmission::new(store) }
    }
}

#[async_trait]
impl Admission for Witnessed {
    async fn admit(&self, id: &TaskId) -> Result<Permit, AdmitError> {
        let permit = self.admission.admit(id).await?;
        let Some(index) = index_of(id.as_str()) else { return Ok(permit) };
        let (permit, revoker) = Permit::holding(PodToken::take(self.world.clone(), index)).with_revoker();
        *self.world.tasks[index].witness.revoker.lock() = Some(revoker);
        Ok(permit)
    }
}

/// A pod's token, held by its permit.
struct PodToken {
    world: Arc<World>,
    index: usize,
    serial: u64,
}

impl PodToken {
    fn take(world: Arc<World>, index: usize) -> Self {
        let serial = world.next_serial();
        let task = &world.tasks[index];
        let before = task.witness.pod.swap(serial, Ordering::SeqCst);
        world.check(ONE_POD, before == 0, || {
            format!("{}: pod {serial} is admitted while pod {before} lives", task.id)
        });
        has_key(&world, task, "is admitted");
        world.pods_alive.fetch_add(1, Ordering::SeqCst);
        Self { world, index, serial }
    }
}

impl Drop for PodToken {
    fn drop(&mut self) {
        let (world, task) = (&self.world, &self.world.tasks[self.index]);
        for (place, name) in CHILDREN.iter().enumerate() {
            let left = task.witness.child(place);
            world.check(WITHIN, left == 0, || {
                format!("{}: its permit is given back while {name} {left} lives", task.id)
            });
        }
        has_key(world, task, "gives its permit back");
        let now = task.witness.pod.compare_exchange(self.serial, 0, Ordering::SeqCst, Ordering::SeqCst);
        world.check(ONE_POD, now.is_ok(), || {
            format!("{}: pod {now:?} lives where pod {} does", task.id, self.serial)
        });
        world.pods_alive.fetch_sub(1, Ordering::SeqCst);
    }
}

fn has_key(world: &World, task: &Task, when: &str) {
    let stands = world.registry.pods().contains(&task.id);
    world.check(OWNER_HAS_KEY, stands, || {
        format!("{}: its pod {when} and its key is not registered", task.id)
    });
}

/// A child's token.
pub struct ChildToken {
    world: Arc<World>,
    index: usize,
    place: usize,
    serial: u64,
    /// The pod within which it lives.
    pod: u64,
}

impl ChildToken {
    /// Takes the token of the child in this place.
    pub fn take(world: &Arc<World>, index: usize, place: usize) -> Self {
        let (world, serial) = (world.clone(), world.next_serial());
        let (task, name) = (&world.tasks[index], CHILDREN[place]);
        let before = task.witness.children[place].swap(serial, Ordering::SeqCst);
        world.check(ONE_CHILD, before == 0, || {
            format!("{}: {name} {serial} is made while {name} {before} lives", task.id)
        });
        let pod = task.witness.pod();
        world
            .check(WITHIN, pod != 0, || format!("{}: {name} {serial} is made, and there is no pod", task.id));
        if is_leaf(place) {
            world.leaves_alive.fetch_add(1, Ordering::SeqCst);
        }
        Self { world, index, place, serial, pod }
    }
}

impl ChildToken {
    /// The number that it is.
    pub fn serial(&self) -> u64 {
        self.serial
    }
}

impl Drop for ChildToken {
    fn drop(&mut self) {
        let (world, task, name) = (&self.world, &self.world.tasks[self.index], CHILDREN[self.place]);
        let pod = task.witness.pod();
        world.check(WITHIN, pod == self.pod, || {
            format!(
                "{}: {name} {} of pod {} ends, and the pod that lives is {pod}",
                task.id, self.serial, self.pod
            )
        });
        let token = &task.witness.children[self.place];
        let now = token.compare_exchange(self.serial, 0, Ordering::SeqCst, Ordering::SeqCst);
        world.check(ONE_CHILD, now.is_ok(), || {
            format!("{}: {name} {now:?} lives where {} does", task.id, self.serial)
        });
        if is_leaf(self.place) {
            world.leaves_alive.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn is_leaf(place: usize) -> bool {
    matches!(CHILDREN[place], "left" | "right")
}
