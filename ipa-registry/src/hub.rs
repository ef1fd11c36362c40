//! Events, and how they get from a change to the queues of the subscribers.
//!
//! Each subscriber has a bounded queue of its own. The trick: an event is *queued* while the shard's lock is held, which
//! orders events per key, and everything foreign comes after that lock is released, in [`Delivery::finish`]: the wakers
//! are woken, and the events that a full queue pushed out are dropped. A `tokio::sync::broadcast` would do both inside
//! `send`, so under the lock.
//!
//! The order of locks is shard, list of queues, queue. The hub does not know what an entry is.

use std::{
    collections::VecDeque,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, atomic::Ordering},
    thread,
};

use crate::{
    error::TryRecvError,
    sync::{AtomicBool, Mutex, Notify, RwLock},
};

/// A change of a [`Registry`](crate::Registry) or of [`Groups`](crate::Groups), as subscribers see it.
///
/// An event carries the key and the value themselves (clones of them), so a value lives on in the queue of a subscriber
/// that has not read of it yet. Where that matters, register something weak.
///
/// When an event can be received, the change is visible: a lookup, a list and the count show it, or a later one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event<K, V> {
    /// The key was free and has an owner now; or its group has a member more.
    Registered {
        /// The entry's key.
        key: K,
        /// The value it was registered with.
        value: V,
    },
    /// The owner, or a member, replaced its value.
    Updated {
        /// The entry's key.
        key: K,
        /// The new value.
        value: V,
    },
    /// The owner dropped its registration, and the key is free; or a member left its group.
    Unregistered {
        /// The entry's key.
        key: K,
        /// The last value it had.
        value: V,
    },
}

impl<K, V> Event<K, V> {
    /// The key that the event is about.
    pub fn key(&self) -> &K {
        match self {
            Self::Registered { key, .. } | Self::Updated { key, .. } | Self::Unregistered { key, .. } => key,
        }
    }

    /// The value that the event carries: the new one, or the last one of an entry that is gone.
    pub fn value(&self) -> &V {
        match self {
            Self::Registered { value, .. }
            | Self::Updated { value, .. }
            | Self::Unregistered { value, .. } => value,
        }
    }
}

/// One subscriber's events, waiting to be read.
pub(crate) struct Queue<K, V> {
    pub(crate) capacity: usize,
    pub(crate) ready: Notify,
    state: Mutex<QueueState<K, V>>,
}

struct QueueState<K, V> {
    /// Shared between the queues, so that queueing clones no key and no value. Grows with need, up to the capacity.
    events: VecDeque<Arc<Event<K, V>>>,
    /// How many events were pushed out since the subscriber was last told.
    lost: u64,
    closed: bool,
}

impl<K, V> Queue<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            ready: Notify::new(),
            state: Mutex::new(QueueState { events: VecDeque::new(), lost: 0, closed: false }),
        }
    }

    /// Queues the event; answers with the oldest one if there was no room, for the caller to drop without a lock.
    fn push(&self, event: Arc<Event<K, V>>) -> Option<Arc<Event<K, V>>> {
        let mut state = self.state.lock();
        let evicted = if state.events.len() == self.capacity {
            state.lost += 1;
            state.events.pop_front()
        } else {
            None
        };
        state.events.push_back(event);
        evicted
    }

    /// What comes next: news of a loss first, because what was lost is older than what is left.
    pub(crate) fn pop(&self) -> Result<Arc<Event<K, V>>, TryRecvError> {
        let mut state = self.state.lock();
        match mem::take(&mut state.lost) {
            0 => match state.events.pop_front() {
                Some(event) => Ok(event),
                None if state.closed => Err(TryRecvError::Closed),
                None => Err(TryRecvError::Empty),
            },
            lost => Err(TryRecvError::Lagged(lost)),
        }
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_one();
    }
}

type Queues<K, V> = Arc<[Arc<Queue<K, V>>]>;

/// Where a registry's events go: the queues of its subscribers. Its drop closes them.
pub(crate) struct Hub<K, V> {
    /// Whether there is a queue at all: all that a change pays for when nobody listens.
    active: AtomicBool,
    /// Copied on write, so that a publisher takes all queues along with one count and wakes them without a lock.
    queues: RwLock<Queues<K, V>>,
}

impl<K, V> Hub<K, V> {
    pub(crate) fn new() -> Self {
        Self { active: AtomicBool::new(false), queues: RwLock::new(Arc::from([])) }
    }

    /// Whether somebody listens. To be asked while the shard's lock is held.
    ///
    /// Then `Relaxed` is enough: whoever subscribes and looks at the shard afterwards either finds the change there, or
    /// held the shard's lock before the change did, and that lock made the subscription visible to it.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Queues an event for all subscribers. To be called while the shard's lock is held, and after the change is visible
    /// to those who take no lock (the count).
    pub(crate) fn queue(&self, event: Event<K, V>) -> Delivery<K, V> {
        let event = Arc::new(event);
        let queues = Arc::clone(&self.queues.read());
        let evicted = queues.iter().filter_map(|queue| queue.push(Arc::clone(&event)));
        Delivery { evicted: evicted.collect(), event, queues }
    }

    pub(crate) fn add(&self, queue: &Arc<Queue<K, V>>) {
        self.change(|queues| queues.iter().chain([queue]).cloned().collect());
    }

    pub(crate) fn remove(&self, queue: &Arc<Queue<K, V>>) {
        let others = |other: &&Arc<Queue<K, V>>| !Arc::ptr_eq(other, queue);
        self.change(|queues| queues.iter().filter(others).cloned().collect());
    }

    fn change(&self, change: impl FnOnce(&[Arc<Queue<K, V>>]) -> Queues<K, V>) {
        let mut queues = self.queues.write();
        let changed = change(&queues);
        self.active.store(!changed.is_empty(), Ordering::Relaxed);
        let old = mem::replace(&mut *queues, changed);
        drop(queues);
        // Without the lock: with it go a queue's events, should this be the last count of one.
        drop(old);
    }
}

impl<K, V> Drop for Hub<K, V> {
    fn drop(&mut self) {
        each(self.queues.get_mut(), Queue::close);
    }
}

/// Does something with each queue that wakes its subscriber. A waker that panics keeps no other from being woken; its panic goes on after that.
fn each<K, V>(queues: &Queues<K, V>, wake: impl Fn(&Queue<K, V>)) {
    let mut panic = None;
    for queue in queues.iter() {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| wake(queue))) {
            panic.get_or_insert(payload);
        }
    }
    // Two at once would abort the process.
    if let Some(payload) = panic.filter(|_| !thread::panicking()) {
        resume_unwind(payload);
    }
}

/// What is left to do for an event once the shard's lock is released.
///
/// It holds whatever might otherwise be dropped for the last time under that lock: the events that were pushed out, the
/// queues of subscribers that left meanwhile, and the event itself, which a quick reader may be done with already.
#[must_use = "the subscribers are woken by `finish`"]
pub(crate) struct Delivery<K, V> {
    queues: Queues<K, V>,
    event: Arc<Event<K, V>>,
    evicted: Vec<Arc<Event<K, V>>>,
}

impl<K, V> Delivery<K, V> {
    /// Wakes the subscribers, then drops what was held. Runs foreign code: no lock may be held.
    pub(crate) fn finish(self) {
        let Self { queues, event, evicted } = self;
        each(&queues, |queue| queue.ready.notify_one());
        drop((evicted, event, queues));
    }
}
