//! The guard of an entry. The entry lives exactly as long as its registration, so there is no cleaner.

use std::{fmt, mem, sync::Arc};

use crate::{registry::Inner, subscription::Event};

/// The ownership of one entry: while this value lives, the key is taken; its `Drop` frees it.
#[must_use = "the entry is unregistered when the registration is dropped"]
pub struct Registration<K, V> {
    pub(crate) inner: Arc<Inner<K, V>>,
    pub(crate) key: K,
    pub(crate) hash: u64,
    pub(crate) id: u64,
}

impl<K, V> Registration<K, V> {
    /// The key.
    pub fn key(&self) -> &K {
        &self.key
    }
}

impl<K: Clone, V: Clone> Registration<K, V> {
    /// The value that stands now.
    pub fn value(&self) -> V {
        let table = self.inner.shard(self.hash).read();
        let entry = table.by_id(self.hash, self.id);
        // Nothing but this registration's drop removes the entry.
        entry.expect("an entry stands while its registration lives").value.clone()
    }

    /// Replaces the value, and answers with the one that it replaced.
    pub fn update(&self, value: V) -> V {
        let mut table = self.inner.shard(self.hash).write();
        // Cloned before anything is changed: should a clone panic, nothing was.
        let event = self
            .inner
            .hub
            .is_active()
            .then(|| Event::Updated { key: self.key.clone(), value: value.clone() });
        let entry = table.by_id_mut(self.hash, self.id);
        // Nothing but this registration's drop removes the entry.
        let entry = entry.expect("an entry stands while its registration lives");
        let replaced = mem::replace(&mut entry.value, value);
        let delivery = event.map(|event| self.inner.hub.queue(event));
        drop(table);
        if let Some(delivery) = delivery {
            delivery.finish();
        }
        replaced
    }
}

impl<K, V> Drop for Registration<K, V> {
    fn drop(&mut self) {
        self.inner.unregister(self.hash, self.id);
    }
}

impl<K: fmt::Debug, V> fmt::Debug for Registration<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("key", &self.key).finish_non_exhaustive()
    }
}
