//! One shard: a lock over a hash table, and every change of an entry. Apart, because a lookup's time is spent here, and
//! because here is where it shows that nothing foreign runs under the lock.
//!
//! The trick: a key is hashed once, before the lock is taken, and its hash is kept in the entry. So neither a resize nor
//! a removal calls the key's `Hash`, and a removal needs no key at all: the entry's id tells it from a later one under
//! the same key. That is why the table is hashbrown's `HashTable`, which takes hashes instead of computing them.
//!
//! Whatever is dropped is moved out of the table first and dropped after the lock is released.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash},
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hashbrown::{HashTable, hash_table};
use parking_lot::RwLock;
use rustc_hash::FxBuildHasher;

use crate::{
    error::AlreadyRegistered,
    hub::{Event, Hub},
    registration::Registration,
};

/// How many shards a registry has: fixed, and a power of two. Two lookups at the same time meet in one shard
/// once in 64 times.
pub(crate) const SHARDS: usize = 64;

/// A key's hash; the same for all borrowed forms of the key.
#[inline]
pub(crate) fn hash_of<Q: Hash + ?Sized>(key: &Q) -> u64 {
    FxBuildHasher.hash_one(key)
}

/// The shard of a hash.
///
/// A table takes its bucket from the low bits of the hash and its tag from the highest seven. If the shard came from
/// those, the keys of a shard would share them and collide; and any other few bits may be poor ones (those of numbers
/// with many trailing zeros are). The top bits of one more multiplication depend on all of them.
#[inline]
pub(crate) fn shard_of(hash: u64) -> usize {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    (hash.wrapping_mul(GOLDEN_RATIO) >> (u64::BITS - SHARDS.ilog2())) as usize
}

/// What stands under a key.
pub(crate) struct Entry<K, V> {
    hash: u64,
    /// Unique among all entries that the shard ever held.
    id: u64,
    pub(crate) key: K,
    pub(crate) value: V,
}

/// A lock over a table. It has cache lines of its own, so that the locks of two shards do not slow each other down.
#[repr(align(64))]
pub(crate) struct Shard<K, V> {
    table: RwLock<Table<K, V>>,
    common: Arc<Common<K, V>>,
}

struct Table<K, V> {
    entries: HashTable<Entry<K, V>>,
    next_id: u64,
}

/// What the shards of a registry share, on separate cache lines: the count changes often, the hub seldom.
///
/// It is dropped with the last handle and the last registration, and its hub tells the subscribers.
pub(crate) struct Common<K, V> {
    count: Count,
    pub(crate) hub: Hub<K, V>,
}

/// How many entries there are, in all shards.
///
/// Changed under the lock of the shard that changes, so that whoever has seen an entry, or has seen it gone, finds it
/// counted accordingly; `Relaxed` is enough, because that lock is what told them.
#[repr(align(64))]
struct Count(AtomicUsize);

impl<K, V> Common<K, V> {
    pub(crate) fn new() -> Self {
        Self { count: Count(AtomicUsize::new(0)), hub: Hub::new() }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.0.load(Ordering::Relaxed)
    }
}

impl<K, V> Shard<K, V> {
    pub(crate) fn new(common: Arc<Common<K, V>>) -> Self {
        let table = Table { entries: HashTable::new(), next_id: 0 };
        Self { table: RwLock::new(table), common }
    }

    /// What `read` takes from the entry under this key, if there is one.
    #[inline]
    pub(crate) fn find<Q, T>(&self, hash: u64, key: &Q, read: impl FnOnce(&Entry<K, V>) -> T) -> Option<T>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let table = self.table.read();
        table.entries.find(hash, |entry| entry.key.borrow() == key).map(read)
    }

    /// Appends what `copy` takes from each entry.
    pub(crate) fn copy_into<T>(&self, copies: &mut Vec<T>, copy: impl Fn(&Entry<K, V>) -> T) {
        let table = self.table.read();
        copies.extend(table.entries.iter().map(copy));
    }

    /// Takes the entry with this id out, queues the event, and then, without the lock, drops what the entry held.
    pub(crate) fn unregister(&self, hash: u64, id: u64) {
        let mut table = self.table.write();
        // By id: should the entry be gone, what stands under its key is somebody else's.
        let Ok(occupied) = table.entries.find_entry(hash, |entry| entry.id == id) else {
            return;
        };
        let (Entry { key, value, .. }, _) = occupied.remove();
        self.common.count.0.fetch_sub(1, Ordering::Relaxed);
        if self.common.hub.is_active() {
            let delivery = self.common.hub.queue(Event::Unregistered { key, value });
            drop(table);
            delivery.finish();
        } else {
            drop(table);
            drop((key, value));
        }
    }
}

impl<K: Clone, V: Clone> Shard<K, V> {
    /// A clone of the value of the entry with this id.
    pub(crate) fn value(&self, hash: u64, id: u64) -> V {
        let table = self.table.read();
        let entry = table.entries.find(hash, |entry| entry.id == id);
        // Only a registration asks, and nothing but its drop removes its entry.
        entry.expect("an entry stands while its registration lives").value.clone()
    }

    /// Replaces the value of the entry with this id.
    pub(crate) fn update(&self, hash: u64, id: u64, value: V) -> V {
        let mut table = self.table.write();
        let entry = table.entries.find_mut(hash, |entry| entry.id == id);
        // Only a registration asks, and nothing but its drop removes its entry.
        let entry = entry.expect("an entry stands while its registration lives");
        // Cloned before anything is changed: should a clone panic, nothing was.
        let event = self
            .common
            .hub
            .is_active()
            .then(|| Event::Updated { key: entry.key.clone(), value: value.clone() });
        let replaced = mem::replace(&mut entry.value, value);
        let delivery = event.map(|event| self.common.hub.queue(event));
        drop(table);
        if let Some(delivery) = delivery {
            delivery.finish();
        }
        replaced
    }
}

impl<K: Eq + Clone, V: Clone> Shard<K, V> {
    /// Puts an entry under the key, if there is none.
    pub(crate) fn register(
        self: &Arc<Self>,
        hash: u64,
        key: K,
        value: V,
    ) -> Result<Registration<K, V>, AlreadyRegistered<K, V>> {
        let owners_key = key.clone();
        let mut table = self.table.write();
        let id = table.next_id;
        let same_key = |entry: &Entry<K, V>| entry.hash == hash && entry.key == key;
        let vacant = match table.entries.entry(hash, same_key, |entry| entry.hash) {
            hash_table::Entry::Vacant(vacant) => vacant,
            hash_table::Entry::Occupied(occupied) => {
                let standing = occupied.get().value.clone();
                drop(table);
                return Err(AlreadyRegistered { key, refused: value, standing });
            }
        };
        // Cloned before anything is changed: should a clone panic, nothing was.
        let event =
            self.common.hub.is_active().then(|| Event::Registered { key: key.clone(), value: value.clone() });
        vacant.insert(Entry { hash, id, key, value });
        table.next_id += 1;
        self.common.count.0.fetch_add(1, Ordering::Relaxed);
        let delivery = event.map(|event| self.common.hub.queue(event));
        drop(table);
        // The guard first: should a waker or an event's drop panic, the guard frees the key.
        let registration = Registration { shard: Arc::clone(self), key: owners_key, hash, id };
        if let Some(delivery) = delivery {
            delivery.finish();
        }
        Ok(registration)
    }
}

#[cfg(test)]
mod tests;
