//! What the guards of both registries are made of: the life of a [`Guard`] is its entry's life.
//!
//! It holds its shard and the entry's id, so what it does to its entry needs no key, and can hit no other entry: the key is
//! kept once, in the table. Of the registry it holds no more than that shard: two threads that register at the same time then do not fight over one
//! reference count.

use std::sync::Arc;

use crate::{shard::Shard, slot::Slot};

/// The ownership of one entry.
pub(crate) struct Guard<K, V, S: Slot<K, V>> {
    pub(crate) shard: Arc<Shard<K, V, S>>,
    pub(crate) hash: u64,
    pub(crate) id: u64,
}

impl<K: Clone, V, S: Slot<K, V>> Guard<K, V, S> {
    pub(crate) fn key(&self) -> K {
        self.shard.key(self.hash, self.id)
    }
}

impl<K: Clone, V: Clone, S: Slot<K, V>> Guard<K, V, S> {
    pub(crate) fn value(&self) -> V {
        self.shard.value(self.hash, self.id)
    }

    pub(crate) fn update(&self, value: V) -> V {
        self.shard.update(self.hash, self.id, value)
    }
}

impl<K, V, S: Slot<K, V>> Drop for Guard<K, V, S> {
    fn drop(&mut self) {
        self.shard.unregister(self.hash, self.id);
    }
}
