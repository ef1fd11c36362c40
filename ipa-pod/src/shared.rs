//! What all handles of one pod share with the pod itself.
//!
//! Apart from `pod.rs`, which says what of this anybody may see. There is one for each pod, so what few pods have is a pointer until it
//! is there, and all that others wait for (that it is up, stuck, ended, has a supervisor) is told through one `Notify`.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{self, Poll, Waker};
use std::time::SystemTime;

use ipa_supervisor::{Cause, ChildRef, DynamicRef, ExitReason, SupervisorRef};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::activity::Activity;
use crate::host::{KeyHold, Succession};
use crate::pod::PodStatus;
use crate::registry::{Names, PodRegistry};
use crate::spec::PodFactory;
use crate::task::TaskId;

pub(crate) struct Shared {
    pub(crate) task: TaskId,
    pub(crate) status: Mutex<PodStatus>,
    /// Whether its end is being told, after which nothing else is. Set under the lock of its status.
    pub(crate) over: AtomicBool,
    pub(crate) created: Instant,
    pub(crate) started_at: SystemTime,
    pub(crate) restarts: AtomicU64,
    /// Its children's.
    pub(crate) names: Names,
    /// What it is made with, and its successor; until it has ended, as handles are to keep nothing alive, and a factory captures what it likes.
    pub(crate) factory: Mutex<Option<Arc<dyn PodFactory>>>,
    /// The supervisor that the pod is; `None` if it ended before it came to one.
    pub(crate) supervisor: OnceLock<Option<SupervisorRef>>,
    /// The supervisor that the pod is a child of, if it is a pod supervisor's.
    pub(crate) parent: Option<DynamicRef>,
    /// The supervisor that it is a child of in any case, and which of those.
    pub(crate) child: OnceLock<(SupervisorRef, ChildRef)>,
    /// What holds the task's key while this incarnation lives.
    pub(crate) key: Mutex<Weak<KeyHold>>,
    pub(crate) succession: Mutex<Succession>,
    /// Set by whoever wants the pod to stop; the pod sees it wherever it is in its life.
    pub(crate) stop_wanted: StopWanted,
    pub(crate) is_stuck: AtomicBool,
    /// Whether `Starting` was published: if not, `Ended` is not either.
    pub(crate) announced: AtomicBool,
    pub(crate) stop_announced: AtomicBool,
    /// Set when the pod becomes active.
    pub(crate) up: AtomicBool,
    /// Made when somebody asks for it.
    activity: OnceLock<Arc<Activity>>,
    /// Told whenever a child has published something, and when the pod becomes active, stuck, has a supervisor, has ended.
    pub(crate) changed: Notify,
    /// What few pods have.
    extra: Mutex<Option<Box<Extra>>>,
    /// Why it ends: known when its own task is done, at its very end at the latest.
    pub(crate) reason: OnceLock<ExitReason>,
    /// Whether all of its end is told.
    ended: AtomicBool,
}

#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) labels: BTreeSet<Arc<str>>,
    /// The children that were killed and have not ended.
    stuck: Vec<ChildRef>,
}

impl Shared {
    pub(crate) fn new(
        task: TaskId,
        registry: &PodRegistry,
        factory: Arc<dyn PodFactory>,
        parent: Option<DynamicRef>,
    ) -> Self {
        Self {
            task,
            status: Mutex::new(PodStatus::Starting),
            over: AtomicBool::new(false),
            created: Instant::now(),
            started_at: SystemTime::now(),
            restarts: AtomicU64::new(0),
            names: registry.children().names(),
            factory: Mutex::new(Some(factory)),
            supervisor: OnceLock::new(),
            parent,
            child: OnceLock::new(),
            key: Mutex::new(Weak::new()),
            succession: Mutex::new(Succession::Open),
            stop_wanted: StopWanted::default(),
            is_stuck: AtomicBool::new(false),
            announced: AtomicBool::new(false),
            stop_announced: AtomicBool::new(false),
            up: AtomicBool::new(false),
            activity: OnceLock::new(),
            changed: Notify::new(),
            extra: Mutex::new(None),
            reason: OnceLock::new(),
            ended: AtomicBool::new(false),
        }
    }

    pub(crate) fn extra<T>(&self, of: impl FnOnce(&mut Extra) -> T) -> T {
        of(self.extra.lock().get_or_insert_default())
    }

    pub(crate) fn set_labels(&self, labels: BTreeSet<Arc<str>>) {
        self.extra(|extra| extra.labels = labels);
    }

    pub(crate) fn stuck(&self) -> Vec<ChildRef> {
        self.extra(|extra| extra.stuck.clone())
    }

    pub(crate) fn add_stuck(&self, child: ChildRef) {
        self.extra(|extra| extra.stuck.push(child));
    }

    pub(crate) fn remove_stuck(&self, child: &ChildRef) {
        self.extra(|extra| extra.stuck.retain(|stuck| stuck != child));
    }

    /// Whether the pod is this child of its supervisor.
    pub(crate) fn is_child(&self, child: &ChildRef) -> bool {
        self.child.get().is_some_and(|(_, own)| own == child)
    }

    pub(crate) fn activity(&self) -> &Arc<Activity> {
        self.activity.get_or_init(Activity::new)
    }

    /// Counts as activity, if anybody wants to know of it.
    pub(crate) fn touch(&self) {
        if let Some(activity) = self.activity.get() {
            activity.touch();
        }
    }

    /// The supervisor that the pod is, or that there will be none. The first word stands.
    pub(crate) fn set_supervisor(&self, supervisor: Option<SupervisorRef>) {
        if self.supervisor.set(supervisor).is_ok() {
            self.changed.notify_waiters();
        }
    }

    /// From here on its end is told, and nothing else of it.
    pub(crate) fn set_over(&self) {
        let _status = self.status.lock();
        self.over.store(true, Ordering::Relaxed);
    }

    /// Sets a flag, and tells whoever waits for it.
    pub(crate) fn raise(&self, flag: &AtomicBool) {
        flag.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Why it has ended, once it has.
    pub(crate) fn ended(&self) -> Option<&ExitReason> {
        self.ended.load(Ordering::Acquire).then(|| self.reason.get())?
    }

    /// At the pod's very end, when its reason is there.
    pub(crate) fn set_ended(&self) {
        // A handle that is kept beyond the end should not keep what is left of the pod's task.
        self.stop_wanted.forget_task();
        self.raise(&self.ended);
    }

    /// Waits until `look` finds something.
    pub(crate) async fn until<T>(&self, look: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            // Enlisted before the look, so that no change between the look and the wait is missed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = look(self) {
                return found;
            }
            changed.await;
        }
    }
}

/// The wish that a pod stop. The pod's own task leaves its waker here rather than a place in a list: it waits for this all its life.
#[derive(Default)]
pub(crate) struct StopWanted {
    cause: OnceLock<Cause>,
    task: Mutex<Option<Waker>>,
}

impl StopWanted {
    /// The first wish stands.
    pub(crate) fn set(&self, cause: Cause) {
        if self.cause.set(cause).is_ok() {
            let task = self.task.lock().take();
            if let Some(task) = task {
                task.wake();
            }
        }
    }

    /// Nobody waits for it any more.
    fn forget_task(&self) {
        let task = self.task.lock().take();
        drop(task);
    }

    /// For the pod's own task.
    pub(crate) fn poll(&self, cx: &task::Context<'_>) -> Poll<&Cause> {
        if let Some(cause) = self.cause.get() {
            return Poll::Ready(cause);
        }
        let waits = self.task.lock().as_ref().is_some_and(|task| task.will_wake(cx.waker()));
        if !waits {
            // Cloned before, and dropped after: no waker's code runs under the lock.
            let task = cx.waker().clone();
            let before = self.task.lock().replace(task);
            drop(before);
        }
        // Again: what was wanted before the waker was there has woken nobody.
        self.cause.get().map_or(Poll::Pending, Poll::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::PodRef;
    use crate::scope::PodScope;
    use crate::spec::PodSpec;

    /// Of a pod whose end is being told nothing is told that comes before it.
    #[tokio::test(start_paused = true)]
    async fn nothing_follows_the_end() {
        let factory = Arc::new(|_: &PodScope| Ok(PodSpec::new()));
        let pod = || {
            let task = "t".try_into().unwrap();
            PodRef(Arc::new(Shared::new(task, &PodRegistry::new(), factory.clone(), None)))
        };
        let (alive, over) = (pod(), pod());
        over.0.set_over();
        assert_eq!([&alive, &over].map(|pod| pod.enter(PodStatus::Stuck)), [true, false]);
        assert_eq!([alive, over].map(|pod| pod.status()), [PodStatus::Stuck, PodStatus::Starting]);
    }
}
