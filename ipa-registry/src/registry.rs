//! The registry: shards, a count, and the subscribers' hub.

use std::{
    array,
    borrow::Borrow,
    fmt,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hashbrown::hash_table;

use crate::{
    error::AlreadyRegistered,
    registration::Registration,
    shard::{Entry, SHARDS, Shard, hash_of, shard_of},
    subscription::{DEFAULT_CAPACITY, Event, Hub, Subscription},
};

/// A concurrent map of unique keys to values whose entries are owned by [`Registration`] guards.
pub struct Registry<K, V> {
    inner: Arc<Inner<K, V>>,
}

/// What the handles and the registrations of one registry share.
pub(crate) struct Inner<K, V> {
    shards: [Shard<K, V>; SHARDS],
    /// Changed under the lock of the shard that changes, so that whoever sees an entry, or its absence, finds it counted.
    count: AtomicUsize,
    pub(crate) hub: Hub<K, V>,
}

impl<K, V> Inner<K, V> {
    #[inline]
    pub(crate) fn shard(&self, hash: u64) -> &Shard<K, V> {
        &self.shards[shard_of(hash)]
    }

    /// Takes the entry with this id out, tells the subscribers, and drops what it held, in that order.
    pub(crate) fn unregister(&self, hash: u64, id: u64) {
        let mut table = self.shard(hash).write();
        let Some(Entry { key, value, .. }) = table.remove(hash, id) else {
            return;
        };
        self.count.fetch_sub(1, Ordering::Relaxed);
        if self.hub.is_active() {
            let delivery = self.hub.queue(Event::Unregistered { key, value });
            drop(table);
            delivery.finish();
        } else {
            drop(table);
            drop((key, value));
        }
    }
}

impl<K, V> Registry<K, V> {
    /// An empty registry.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                shards: array::from_fn(|_| Shard::new()),
                count: AtomicUsize::new(0),
                hub: Hub::new(),
            }),
        }
    }

    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.inner.count.load(Ordering::Relaxed)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The events from now on.
    pub fn subscribe(&self) -> Subscription<K, V> {
        self.subscribe_with_capacity(DEFAULT_CAPACITY)
    }

    /// As [`subscribe`](Self::subscribe), with a capacity of the caller's choice.
    pub fn subscribe_with_capacity(&self, capacity: usize) -> Subscription<K, V> {
        Subscription::new(&self.inner, capacity)
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Registry<K, V> {
    /// Takes the key, if it is free.
    pub fn register(&self, key: K, value: V) -> Result<Registration<K, V>, AlreadyRegistered<K, V>> {
        let inner = &*self.inner;
        let hash = hash_of(&key);
        let own_key = key.clone();
        let mut table = inner.shard(hash).write();
        let id = table.fresh_id();
        let slot =
            table.entries.entry(hash, |entry| entry.hash == hash && entry.key == key, |entry| entry.hash);
        let vacant = match slot {
            hash_table::Entry::Vacant(vacant) => vacant,
            hash_table::Entry::Occupied(occupied) => {
                let standing = occupied.get().value.clone();
                drop(table);
                return Err(AlreadyRegistered { key, refused: value, standing });
            }
        };
        // Cloned before anything is changed: should a clone panic, nothing was.
        let event =
            inner.hub.is_active().then(|| Event::Registered { key: key.clone(), value: value.clone() });
        vacant.insert(Entry { hash, id, key, value });
        inner.count.fetch_add(1, Ordering::Relaxed);
        let delivery = event.map(|event| inner.hub.queue(event));
        drop(table);
        // The guard before anything foreign runs: should that panic, the guard frees the key.
        let registration = Registration { inner: Arc::clone(&self.inner), key: own_key, hash, id };
        if let Some(delivery) = delivery {
            delivery.finish();
        }
        Ok(registration)
    }

    /// A clone of the value under the key, if there is one.
    #[inline]
    pub fn lookup<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = hash_of(key);
        let table = self.inner.shard(hash).read();
        let found = table.entries.find(hash, |entry| entry.key.borrow() == key);
        found.map(|entry| entry.value.clone())
    }

    /// Whether there is an entry under the key.
    #[inline]
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = hash_of(key);
        let table = self.inner.shard(hash).read();
        table.entries.find(hash, |entry| entry.key.borrow() == key).is_some()
    }

    /// All keys, in no order.
    pub fn keys(&self) -> Vec<K> {
        self.collect(|entry| entry.key.clone())
    }

    /// All entries, in no order.
    pub fn list(&self) -> Vec<(K, V)> {
        self.collect(|entry| (entry.key.clone(), entry.value.clone()))
    }

    /// The entries that the predicate accepts, in no order.
    pub fn select(&self, mut predicate: impl FnMut(&K, &V) -> bool) -> Vec<(K, V)> {
        let mut selected = Vec::new();
        let mut copied = Vec::new();
        for shard in &self.inner.shards {
            let table = shard.read();
            copied.extend(table.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())));
            drop(table);
            selected.extend(copied.drain(..).filter(|(key, value)| predicate(key, value)));
        }
        selected
    }

    fn collect<T>(&self, each: impl Fn(&Entry<K, V>) -> T) -> Vec<T> {
        let mut all = Vec::with_capacity(self.count());
        for shard in &self.inner.shards {
            all.extend(shard.read().entries.iter().map(&each));
        }
        all
    }
}

impl<K, V> Clone for Registry<K, V> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
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
