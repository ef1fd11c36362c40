//! The reader's side of a registry's events.
//!
//! A subscription does not keep its registry alive: its end is how a subscriber learns that the registry is gone.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use crate::{
    error::{RecvError, TryRecvError},
    hub::{Event, Queue},
    shard::Common,
};

/// How many events a subscription keeps for a subscriber that does not read, unless
/// [`subscribe_with_capacity`](crate::Registry::subscribe_with_capacity) says otherwise: 1024.
pub const DEFAULT_SUBSCRIPTION_CAPACITY: usize = 1024;

/// A stream of a registry's [`Event`]s, from [`Registry::subscribe`](crate::Registry::subscribe),
/// [`Groups::subscribe`](crate::Groups::subscribe) or [`Parts::subscribe`](crate::Parts::subscribe) on.
///
/// # Guarantees
///
/// - The events of one key come in the order of its changes, whatever ended its owners. Events of different keys may
///   come in another order than their changes, and in another one for each subscriber.
/// - Every change that is not yet visible when `subscribe` returns has its event here, or is counted in a
///   [`Lagged`](RecvError::Lagged).
/// - The registry never waits for a subscriber. A full queue loses its oldest event for each new one.
/// - After the last handle *and* the last registration (or membership) of the registry are gone, and what was queued is
///   read, the answer is [`Closed`](RecvError::Closed). A subscriber that holds a handle itself, to list the registry,
///   thus never sees it closed.
///
/// Dropping the subscription ends it, and drops the events that were not read.
///
/// Compared with `tokio::sync::broadcast`: the same manners when a reader lags, but each subscription has a capacity and
/// memory of its own, and an idle one takes next to none.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use ipa_registry::{Event, RecvError, Registry};
///
/// let registry = Registry::new();
/// let mut events = registry.subscribe();
///
/// let owner = registry.register("a", 1).unwrap();
/// drop(owner);
/// drop(registry);
///
/// assert_eq!(events.recv().await, Ok(Event::Registered { key: "a", value: 1 }));
/// assert_eq!(events.recv().await, Ok(Event::Unregistered { key: "a", value: 1 }));
/// assert_eq!(events.recv().await, Err(RecvError::Closed));
/// # }
/// ```
#[must_use = "a subscription that is dropped receives nothing"]
pub struct Subscription<K, V> {
    common: Weak<Common<K, V>>,
    queue: Arc<Queue<K, V>>,
}

impl<K, V> Subscription<K, V> {
    pub(crate) fn new(common: &Arc<Common<K, V>>, capacity: usize) -> Self {
        let queue = Arc::new(Queue::new(capacity));
        common.hub.add(&queue);
        Self { common: Arc::downgrade(common), queue }
    }

    /// How many events can wait to be read before the oldest is lost.
    pub fn capacity(&self) -> usize {
        self.queue.capacity
    }
}

impl<K: Clone, V: Clone> Subscription<K, V> {
    /// The next event; waits until there is one.
    ///
    /// # Errors
    ///
    /// [`RecvError::Lagged`] if events were lost: the next call goes on with the oldest that is left.
    /// [`RecvError::Closed`] if no event will come any more; so it stays.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped, in a `select!` say, has taken no event.
    ///
    /// Within a tokio runtime it takes part in cooperative scheduling: a loop over `recv` lets other tasks run even if
    /// there is always a next event.
    pub async fn recv(&mut self) -> Result<Event<K, V>, RecvError> {
        // Before anything is taken, so that nothing is lost if the call is dropped here.
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
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if none is, or else as [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Event<K, V>, TryRecvError> {
        // Cloned here, if other subscribers have the event still, and so without a lock.
        self.queue.pop().map(Arc::unwrap_or_clone)
    }
}

impl<K, V> Drop for Subscription<K, V> {
    fn drop(&mut self) {
        if let Some(common) = self.common.upgrade() {
            common.hub.remove(&self.queue);
        }
    }
}

impl<K, V> fmt::Debug for Subscription<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("capacity", &self.queue.capacity).finish_non_exhaustive()
    }
}
