//! One shard: a lock over a hash table. Apart, because it is what a lookup's time goes into.
//!
//! The trick: a key is hashed once, before any lock is taken, and its hash is kept in the entry. So neither a resize nor
//! a removal calls the key's `Hash`, a removal needs no key at all (the entry's id tells it from a later one under the
//! same key), and the table is hashbrown's raw `HashTable`, which takes a hash instead of computing one.
//!
//! It knows nothing of counts, subscribers or guards.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use rustc_hash::FxBuildHasher;

/// How many shards a registry has: a power of two, fixed. Two threads meet in one shard once in this many times.
pub(crate) const SHARDS: usize = 64;

/// A key's hash, for the table.
#[inline]
pub(crate) fn hash_of<Q: Hash + ?Sized>(key: &Q) -> u64 {
    FxBuildHasher.hash_one(key)
}

/// The shard of a hash.
///
/// The table takes its bucket from the low bits of the hash and its tag from the highest seven, so the shard must come
/// from neither, or the keys of one shard would share them. The top bits of one more multiplication depend on all bits.
#[inline]
pub(crate) fn shard_of(hash: u64) -> usize {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    (hash.wrapping_mul(GOLDEN_RATIO) >> (u64::BITS - SHARDS.ilog2())) as usize
}

/// What stands under a key.
pub(crate) struct Entry<K, V> {
    pub(crate) hash: u64,
    /// Unique among all entries that this shard ever held.
    pub(crate) id: u64,
    pub(crate) key: K,
    pub(crate) value: V,
}

/// A shard's entries.
pub(crate) struct Table<K, V> {
    pub(crate) entries: HashTable<Entry<K, V>>,
    next_id: u64,
}

impl<K, V> Table<K, V> {
    /// An id that no entry of this shard ever had.
    pub(crate) fn fresh_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// The entry with this id.
    pub(crate) fn by_id(&self, hash: u64, id: u64) -> Option<&Entry<K, V>> {
        self.entries.find(hash, |entry| entry.id == id)
    }

    /// The entry with this id, to be changed.
    pub(crate) fn by_id_mut(&mut self, hash: u64, id: u64) -> Option<&mut Entry<K, V>> {
        self.entries.find_mut(hash, |entry| entry.id == id)
    }

    /// Takes the entry with this id out; an entry of the same key with another id stays.
    pub(crate) fn remove(&mut self, hash: u64, id: u64) -> Option<Entry<K, V>> {
        let found = self.entries.find_entry(hash, |entry| entry.id == id).ok()?;
        Some(found.remove().0)
    }
}

/// A lock over a table, on cache lines of its own, so that the locks of two shards do not slow each other down.
#[repr(align(128))]
pub(crate) struct Shard<K, V>(RwLock<Table<K, V>>);

impl<K, V> Shard<K, V> {
    pub(crate) const fn new() -> Self {
        Self(RwLock::new(Table { entries: HashTable::new(), next_id: 0 }))
    }

    #[inline]
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Table<K, V>> {
        self.0.read()
    }

    #[inline]
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Table<K, V>> {
        self.0.write()
    }
}
