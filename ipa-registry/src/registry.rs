//! Unique keys: the handle that everybody shares.
//!
//! It does not know how entries are found, kept or told of; see `shards`, `shard` and `hub`.

use std::{borrow::Borrow, fmt, hash::Hash, sync::Arc};

use crate::{
    error::AlreadyRegistered,
    registration::Registration,
    shard::{self, hash_of},
    shards::Shards,
    slot::Single,
    subscription::{DEFAULT_SUBSCRIPTION_CAPACITY, Subscription},
};

/// A concurrent map of unique keys to values, whose entries are owned by [`Registration`] guards.
///
/// A clone is another handle to the same registry, and costs one reference count. The registry lives as long as there is
/// a handle or a registration.
///
/// Keys are compared by `Eq`, nothing is coerced. Values are cloned out to readers, so register something cheap to clone:
/// an `Arc`, an address. `Hash`, `Eq` and `Clone` must not use the registry and should not panic: all but `Hash` run
/// under a lock. If one does panic, the registry is unharmed and as it was before.
///
/// The [crate's documentation](crate) tells how it compares with Elixir's `Registry` and with a `DashMap`.
///
/// ```
/// use std::sync::Arc;
/// use ipa_registry::Registry;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let workers: Registry<u64, Arc<str>> = Registry::new();
///
/// let owner = workers.register(7, "seventh".into()).unwrap();
/// let task = tokio::spawn(async move {
///     let _owner = owner;
///     std::future::pending::<()>().await
/// });
/// assert_eq!(workers.lookup(&7).as_deref(), Some("seventh"));
///
/// task.abort();
/// assert!(task.await.unwrap_err().is_cancelled());
/// assert!(workers.is_empty());
/// # }
/// ```
pub struct Registry<K, V> {
    shards: Arc<Shards<K, V, Single<K, V>>>,
}

impl<K, V> Registry<K, V> {
    /// An empty registry.
    pub fn new() -> Self {
        Self { shards: Arc::new(Shards::new()) }
    }

    /// How many entries there are. O(1), and takes no lock.
    ///
    /// Exact: it is the number of entries at one moment within the call. An entry counts from before its `register`
    /// returns until before the drop of its registration returns.
    ///
    /// ```
    /// let registry = ipa_registry::Registry::new();
    /// let owner = registry.register("a", 1).unwrap();
    /// assert_eq!(registry.count(), 1);
    /// drop(owner);
    /// assert_eq!(registry.count(), 0);
    /// ```
    pub fn count(&self) -> usize {
        self.shards.count()
    }

    /// Whether there is no entry; as [`count`](Self::count).
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The events from now on, with room for [`DEFAULT_SUBSCRIPTION_CAPACITY`] of them.
    ///
    /// To know the state as well, [`list`](Self::list) after this returned, not before; see the
    /// [crate's documentation](crate#events). [`Subscription`] has an example.
    pub fn subscribe(&self) -> Subscription<K, V> {
        self.subscribe_with_capacity(DEFAULT_SUBSCRIPTION_CAPACITY)
    }

    /// The events from now on, with room for `capacity` of them (at least 1, whatever is asked for).
    ///
    /// Room is not taken before it is needed.
    ///
    /// ```
    /// use ipa_registry::{Event, Registry, TryRecvError};
    ///
    /// let registry = Registry::new();
    /// let mut events = registry.subscribe_with_capacity(2);
    /// let _owners = [1, 2, 3].map(|key| registry.register(key, ()).unwrap());
    ///
    /// assert_eq!(events.try_recv(), Err(TryRecvError::Lagged(1)));
    /// assert_eq!(events.try_recv(), Ok(Event::Registered { key: 2, value: () }));
    /// ```
    pub fn subscribe_with_capacity(&self, capacity: usize) -> Subscription<K, V> {
        self.shards.subscribe(capacity)
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Registry<K, V> {
    /// Takes the key, if it is free.
    ///
    /// When this returns `Ok`, every reader finds the entry, and does so until the registration is dropped. Of any
    /// number of calls with one key at the same time exactly one is `Ok`.
    ///
    /// # Errors
    ///
    /// [`AlreadyRegistered`] if the key is taken, by whomever, the caller included. It hands the key and the value back,
    /// beside a clone of the value that stands. The standing entry is unchanged, and there is no event.
    pub fn register(&self, key: K, value: V) -> Result<Registration<K, V>, AlreadyRegistered<K, V>> {
        let hash = hash_of(&key);
        let home = Arc::clone(self.shards.shard(hash));
        shard::register(home, hash, key, value).map(|guard| Registration { guard })
    }

    /// A clone of the value under the key, or `None`.
    ///
    /// The key may be any borrowed form of `K`: a `&str` for a `String`.
    #[inline]
    pub fn lookup<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shards.find(key, |slot| slot.entry.value.clone())
    }

    /// Whether there is an entry under the key. As [`lookup`](Self::lookup), without the clone.
    #[inline]
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shards.find(key, |_| ()).is_some()
    }

    /// The keys of all entries, in no order; as [`list`](Self::list).
    pub fn keys(&self) -> Vec<K> {
        self.shards.keys()
    }

    /// Clones of all entries, in no order.
    ///
    /// An entry that stands throughout the call is listed, and one that does not stand at any moment of it is not. What
    /// comes or goes meanwhile may be listed or not, because one shard is read after the other and none of them is
    /// locked for longer than it takes to clone its own entries. No key is listed twice.
    ///
    /// ```
    /// let registry = ipa_registry::Registry::new();
    /// let _owners = [(2, "two"), (1, "one")].map(|(key, value)| registry.register(key, value).unwrap());
    /// let mut all = registry.list();
    /// all.sort();
    /// assert_eq!(all, [(1, "one"), (2, "two")]);
    /// ```
    pub fn list(&self) -> Vec<(K, V)> {
        self.shards.list()
    }

    /// Clones of the entries that the predicate accepts, in no order; otherwise as [`list`](Self::list).
    ///
    /// The predicate is called once for each entry, without a lock, so it may use the registry in every way: look up,
    /// register, drop a registration, on the same key too. The price is that all entries are cloned, one shard at a
    /// time, not only the accepted ones; and that an entry may be gone, or updated, when the predicate sees it.
    ///
    /// ```
    /// let registry = ipa_registry::Registry::new();
    /// let _owners = [1, 2, 3].map(|key| registry.register(key, key * 10).unwrap());
    /// assert_eq!(registry.select(|_, value| *value > 20), [(3, 30)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the predicate panics, the panic is the caller's; the registry is unharmed.
    pub fn select(&self, predicate: impl FnMut(&K, &V) -> bool) -> Vec<(K, V)> {
        self.shards.select(predicate)
    }
}

impl<K, V> Clone for Registry<K, V> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards) }
    }
}

impl<K, V> Default for Registry<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> fmt::Debug for Registry<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("count", &self.count()).finish_non_exhaustive()
    }
}
