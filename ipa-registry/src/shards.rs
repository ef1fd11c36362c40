//! What the handles of one registry share, with unique keys or with groups: it finds the shard of a key, and asks all
//! shards in turn.
//!
//! It does not know how an entry is kept or told of; see `shard` and `hub`.

use std::{array, borrow::Borrow, hash::Hash, sync::Arc};

use crate::{
    guard::Home,
    shard::{Common, SHARDS, Shard, hash_of, shard_of},
    slot::Slot,
    subscription::Subscription,
};

/// One of them. It has cache lines of its own, so that the locks of two shards do not slow each other down.
#[repr(align(64))]
pub(crate) struct Line<T>(T);

/// As the registry and its guards have it.
pub(crate) type SharedShard<K, V, S> = Arc<Line<Shard<K, V, S>>>;

impl<K, V, S: Slot<K, V>> Home for SharedShard<K, V, S> {
    type Key = K;
    type Value = V;
    type Slot = S;

    #[inline]
    fn shard(&self) -> &Shard<K, V, S> {
        &self.0
    }
}

pub(crate) struct Shards<K, V, S> {
    shards: [SharedShard<K, V, S>; SHARDS],
    common: Arc<Common<K, V>>,
}

impl<K, V, S: Slot<K, V>> Shards<K, V, S> {
    pub(crate) fn new() -> Self {
        let common = Arc::new(Common::new());
        let shards = array::from_fn(|_| Arc::new(Line(Shard::new(Arc::clone(&common)))));
        Self { shards, common }
    }

    pub(crate) fn count(&self) -> usize {
        self.common.count()
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> Subscription<K, V> {
        Subscription::new(&self.common, capacity)
    }

    #[inline]
    pub(crate) fn shard(&self, hash: u64) -> &SharedShard<K, V, S> {
        &self.shards[shard_of(hash)]
    }

    /// What `read` takes from what stands under this key, if anything does.
    #[inline]
    pub(crate) fn find<Q, T>(&self, key: &Q, read: impl FnOnce(&S) -> T) -> Option<T>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = hash_of(key);
        self.shard(hash).0.find(hash, key, read)
    }
}

impl<K: Clone, V: Clone, S: Slot<K, V>> Shards<K, V, S> {
    pub(crate) fn keys(&self) -> Vec<K> {
        let mut keys = Vec::new();
        for shard in &self.shards {
            shard.0.copy_keys_into(&mut keys, K::clone);
        }
        keys
    }

    pub(crate) fn list(&self) -> Vec<(K, V)> {
        let mut all = Vec::with_capacity(self.count());
        for shard in &self.shards {
            shard.0.copy_into(&mut all, |entry| (entry.key.clone(), entry.value.clone()));
        }
        all
    }

    pub(crate) fn select(&self, mut predicate: impl FnMut(&K, &V) -> bool) -> Vec<(K, V)> {
        let mut selected = Vec::new();
        let mut copied = Vec::new();
        for shard in &self.shards {
            shard.0.copy_into(&mut copied, |entry| (entry.key.clone(), entry.value.clone()));
            selected.extend(copied.drain(..).filter(|(key, value)| predicate(key, value)));
        }
        selected
    }
}
