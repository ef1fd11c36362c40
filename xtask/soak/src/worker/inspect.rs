//! Quiet moments: nobody acts, what was begun has come to its end, and all that is known of who lives is compared.
//!
//! While things are under way no two of these numbers can be read at one moment, so they are compared when they stand still: if they do not
//! agree at once, again until they do, or until [`SETTLE`] is over, and then what differs is a check that does not hold. Things that are
//! left behind, which is what this looks for, do not go away by waiting.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ipa_pod::{PodRef, PodStatus, PodSupervisorRef};
use ipa_supervisor::ChildState;
use tokio::runtime::Handle;

use super::follow::{self, Followed};
use super::world::World;

/// Names of the checks.
const COUNTED: &str = "count = list = registry = who lives";
const LISTED: &str = "listed children = registered children";
const TASKS: &str = "every task of the runtime has an owner";
const REAPED: &str = "who was stuck is reaped";
const FOLLOWED: &str = "followers catch up";

/// How long things may take to stand still: the longest that a child holds a thread, a stop, and a slow machine.
const SETTLE: Duration = Duration::from_secs(60);

/// How long to wait before the next look.
const LOOK: Duration = Duration::from_millis(20);

/// See the module.
pub struct Inspector {
    pub world: Arc<World>,
    pub pods: PodSupervisorRef,
    pub followed: Arc<Followed>,
    /// The tasks of the runtime that belong to no pod: the soak's own.
    pub own_tasks: usize,
}

/// What was seen at a quiet moment, or what is not quiet yet.
struct Look {
    count: usize,
    listed: usize,
    alive: i64,
    /// Pods that became active and have not ended, by the totals.
    active: u64,
    unsettled: Option<String>,
    /// A pod that has a token and no key, or a key and no token.
    odd: Option<String>,
    /// A pod whose listed and registered children are not the same.
    children: Option<String>,
    registered: usize,
    tasks: usize,
    expected: i64,
    followed: bool,
}

impl Look {
    fn holds(&self) -> bool {
        self.unsettled.is_none()
            && self.is_counted()
            && self.children.is_none()
            && self.has_owners()
            && self.followed
    }

    fn is_counted(&self) -> bool {
        let count = self.count as u64;
        self.odd.is_none()
            && self.count == self.listed
            && count == self.active
            && i64::try_from(count) == Ok(self.alive)
    }

    fn has_owners(&self) -> bool {
        i64::try_from(self.tasks) == Ok(self.expected)
    }
}

impl Inspector {
    /// Compares. Nobody may act meanwhile.
    pub async fn inspect(&self) {
        let begun = Instant::now();
        let look = loop {
            let look = self.look().await;
            if look.holds() || begun.elapsed() > SETTLE {
                break look;
            }
            tokio::time::sleep(LOOK).await;
        };
        let world = &self.world;
        world.tally.took("settle", begun.elapsed());
        world.check(REAPED, look.unsettled.is_none(), || look.unsettled.clone().unwrap_or_default());
        world.check(COUNTED, look.is_counted(), || {
            format!(
                "{} counted, {} listed, {} active, {} live; {:?}",
                look.count, look.listed, look.active, look.alive, look.odd
            )
        });
        world.check(LISTED, look.children.is_none(), || look.children.clone().unwrap_or_default());
        world.check(TASKS, look.has_owners(), || {
            format!(
                "{} tasks are alive; {} pods with {} children and the soak's own {} make {}",
                look.tasks, look.count, look.registered, self.own_tasks, look.expected
            )
        });
        world.check(FOLLOWED, look.followed, || "the store's follower has not come to its end".into());
    }

    async fn look(&self) -> Look {
        let listed = self.pods.list_pods();
        let odd = self.world.tasks.iter().find_map(|task| {
            let (has_key, lives) = (self.pods.get_pod(&task.id).is_ok(), task.witness.pod() != 0);
            (has_key != lives).then(|| format!("{}: key {has_key}, alive {lives}", task.id))
        });
        let (mut unsettled, mut children) = (None, None);
        for info in &listed {
            unsettled = unsettled.or(self.unsettled(&info.pod));
            match self.children(&info.pod).await {
                Ok(()) => {}
                Err(Differ::Moving(what)) => unsettled = unsettled.or(Some(what)),
                Err(Differ::Odd(what)) => children = children.or(Some(what)),
            }
        }
        let blocking = self.world.blocking.load(Ordering::SeqCst);
        if blocking != 0 {
            unsettled = unsettled.or(Some(format!("{blocking} children hold a thread")));
        }
        let stats = self.pods.stats();
        let alive = self.world.pods_alive.load(Ordering::SeqCst);
        let registered = self.pods.registry().children().count();
        // A nested child has a task, and has spawned another.
        let leaves = 2 * self.world.leaves_alive.load(Ordering::SeqCst);
        let of = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let followed = match follow::last(&self.world).await {
            Ok(last) => last.is_none_or(|last| self.followed.has_seen(last)),
            Err(_) => false,
        };
        Look {
            count: self.pods.count_pods(),
            listed: listed.len(),
            alive,
            active: stats.started_total - stats.ended_total,
            unsettled,
            odd,
            children,
            registered,
            tasks: Handle::current().metrics().num_alive_tasks(),
            expected: of(self.own_tasks) + alive + of(registered) + leaves,
            followed,
        }
    }

    fn unsettled(&self, pod: &PodRef) -> Option<String> {
        let status = pod.status();
        (status != PodStatus::Active).then(|| format!("the pod of {} is {status}", pod.task()))
    }

    /// Whether those of a pod's children that it says are running are those that are registered.
    async fn children(&self, pod: &PodRef) -> Result<(), Differ> {
        let Ok(children) = pod.which_children().await else {
            return Err(Differ::Moving(format!("the pod of {} is ending", pod.task())));
        };
        for info in children {
            let key = (pod.task().clone(), info.child.id.clone());
            let entry = self.pods.registry().children().lookup(&key);
            let registered = entry.map(|entry| (entry.slot, entry.incarnation));
            let what = || {
                format!(
                    "{}: {} is {:?}, and registered as {registered:?}",
                    pod.task(),
                    info.child,
                    info.state
                )
            };
            match info.state {
                ChildState::Running if registered == Some((info.child.slot, info.child.incarnation)) => {}
                ChildState::Undefined if registered.is_none() => {}
                ChildState::Running | ChildState::Undefined => return Err(Differ::Odd(what())),
                _ => return Err(Differ::Moving(what())),
            }
        }
        Ok(())
    }
}

enum Differ {
    /// Something is under way.
    Moving(String),
    /// Nothing is, and it does not agree.
    Odd(String),
}
