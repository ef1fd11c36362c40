//! Events of a registry, and the subscriptions that receive them.
//!
//! Each subscriber has a bounded queue of its own. The trick: an event is *queued* while the shard's lock is held, which
//! orders events per key, and everything foreign comes after that lock is released: the wakers are woken, and the events
//! that a full queue pushed out are dropped, by [`Delivery::finish`]. A `tokio::sync::broadcast` would do both inside
//! `send`, so under the lock.
//!
//! It does not know what an entry is; the order of its locks is shard, list of queues, queue.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::{
    error::{RecvError, TryRecvError},
    registry::Inner,
};

/// How many events a subscription keeps for a subscriber that does not read, unless
/// [`subscribe_with_capacity`](crate::Registry::subscribe_with_capacity) says otherwise.
pub const DEFAULT_CAPACITY: usize = 1024;

/// A change of a registry, as its subscribers see it.
///
/// An event carries clones of the key and of the value, so a value lives on in the queues of subscribers that have yet
/// to read of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event<K, V> {
    /// The key was free and has an owner now.
    Registered {
        /// The entry's key.
        key: K,
        /// The value it was registered with.
        value: V,
    },
    /// The owner replaced its value.
    Updated {
        /// The entry's key.
        key: K,
        /// The new value.
        value: V,
    },
    /// The owner dropped its registration; the key is free.
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

    /// The value that the event carries: the new one, or the last one.
    pub fn value(&self) -> &V {
        match self {
            Self::Registered { value, .. }
            | Self::Updated { value, .. }
            | Self::Unregistered { value, .. } => value,
        }
    }
}

/// One subscriber's events, waiting to be read.
struct Queue<K, V> {
    state: Mutex<QueueState<K, V>>,
    capacity: usize,
    ready: Notify,
}

struct QueueState<K, V> {
    /// Shared between the queues, so that queueing clones no key and no value.
    events: VecDeque<Arc<Event<K, V>>>,
    lost: u64,
    closed: bool,
}

impl<K, V> Queue<K, V> {
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

    fn pop(&self) -> Result<Arc<Event<K, V>>, TryRecvError> {
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

/// Where a registry's events go: the queues of its subscribers.
pub(crate) struct Hub<K, V> {
    /// Whether there is a queue at all. Read under a shard's lock, by every change: all that a registry without
    /// subscribers pays.
    active: AtomicBool,
    /// Copied on write, so that a publisher takes all queues along with one count and wakes them without a lock.
    queues: RwLock<Queues<K, V>>,
}

impl<K, V> Hub<K, V> {
    pub(crate) fn new() -> Self {
        Self { active: AtomicBool::new(false), queues: RwLock::new(Arc::from([])) }
    }

    /// Whether somebody listens. To be asked while the shard's lock is held: whoever subscribes and then looks at the
    /// shard (to list it, say) either sees a change there or will get its event, because the lock that made the look
    /// come before the change also makes the subscription visible to it. So `Relaxed` is enough.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Queues an event for all subscribers. To be called while the shard's lock is held, after the change is visible to
    /// those who take no lock (the count); the rest is [`Delivery::finish`].
    pub(crate) fn queue(&self, event: Event<K, V>) -> Delivery<K, V> {
        let event = Arc::new(event);
        let queues = Arc::clone(&self.queues.read());
        let evicted = queues.iter().filter_map(|queue| queue.push(Arc::clone(&event))).collect();
        Delivery { queues, _event: event, _evicted: evicted }
    }

    fn change(&self, change: impl FnOnce(&[Arc<Queue<K, V>>]) -> Queues<K, V>) {
        let mut queues = self.queues.write();
        let new = change(&queues);
        self.active.store(!new.is_empty(), Ordering::Relaxed);
        let old = mem::replace(&mut *queues, new);
        drop(queues);
        // Without the lock: it may hold the last count of a queue, and so of events.
        drop(old);
    }

    fn add(&self, queue: &Arc<Queue<K, V>>) {
        self.change(|queues| queues.iter().chain([queue]).cloned().collect());
    }

    fn remove(&self, queue: &Arc<Queue<K, V>>) {
        self.change(|queues| queues.iter().filter(|other| !Arc::ptr_eq(other, queue)).cloned().collect());
    }
}

impl<K, V> Drop for Hub<K, V> {
    fn drop(&mut self) {
        for queue in self.queues.get_mut().iter() {
            queue.close();
        }
    }
}

/// What is left to do of an event when the shard's lock is released.
#[must_use = "the subscribers are woken by `finish`"]
pub(crate) struct Delivery<K, V> {
    queues: Queues<K, V>,
    /// Held, so that a quick reader that is done with the event does not make the publisher drop the last of it under
    /// the shard's lock.
    _event: Arc<Event<K, V>>,
    /// Held, so that they are dropped here and not under the shard's lock.
    _evicted: Vec<Arc<Event<K, V>>>,
}

impl<K, V> Delivery<K, V> {
    /// Wakes the subscribers and drops what was lost. Runs foreign code: no lock may be held.
    pub(crate) fn finish(self) {
        for queue in self.queues.iter() {
            queue.ready.notify_one();
        }
    }
}

/// A stream of a registry's [`Event`]s, from [`Registry::subscribe`](crate::Registry::subscribe) on.
#[must_use = "the events are lost when the subscription is dropped"]
pub struct Subscription<K, V> {
    registry: Weak<Inner<K, V>>,
    queue: Arc<Queue<K, V>>,
}

impl<K, V> Subscription<K, V> {
    pub(crate) fn new(inner: &Arc<Inner<K, V>>, capacity: usize) -> Self {
        let queue = Arc::new(Queue {
            state: Mutex::new(QueueState { events: VecDeque::new(), lost: 0, closed: false }),
            capacity: capacity.max(1),
            ready: Notify::new(),
        });
        inner.hub.add(&queue);
        Self { registry: Arc::downgrade(inner), queue }
    }

    /// How many events wait at most before the oldest is lost.
    pub fn capacity(&self) -> usize {
        self.queue.capacity
    }
}

impl<K: Clone, V: Clone> Subscription<K, V> {
    /// The next event, waiting for it if need be.
    pub async fn recv(&mut self) -> Result<Event<K, V>, RecvError> {
        // Before anything is taken, so that a reader that never has to wait still yields now and then.
        tokio::task::consume_budget().await;
        loop {
            match self.try_recv() {
                Ok(event) => return Ok(event),
                Err(TryRecvError::Lagged(lost)) => return Err(RecvError::Lagged(lost)),
                Err(TryRecvError::Closed) => return Err(RecvError::Closed),
                // An event that is queued from here on leaves a permit with `ready`, and the wait is none.
                Err(TryRecvError::Empty) => self.queue.ready.notified().await,
            }
        }
    }

    /// The next event, if one is waiting.
    pub fn try_recv(&mut self) -> Result<Event<K, V>, TryRecvError> {
        self.queue.pop().map(Arc::unwrap_or_clone)
    }
}

impl<K, V> Drop for Subscription<K, V> {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.hub.remove(&self.queue);
        }
    }
}

impl<K, V> fmt::Debug for Subscription<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("capacity", &self.queue.capacity).finish_non_exhaustive()
    }
}
