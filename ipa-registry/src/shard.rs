//! One shard: a lock over a hash table, and every change of an entry. Apart, because a lookup's time is spent here, and
//! because here is where it shows that nothing foreign runs under the lock.
//!
//! The trick: a key is hashed once, before the lock is taken, and its hash is kept in the table. So neither a resize nor
//! a removal calls the key's `Hash`, and a removal needs no key at all: the entry's id tells it from all others under
//! the same key, later ones too. That is why a large table is hashbrown's `HashTable`, which takes hashes instead of computing
//! them.
//!
//! Whatever is dropped is moved out of the table first and dropped after the lock is released.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash},
    mem,
    sync::{Arc, atomic::Ordering},
};

use rustc_hash::FxBuildHasher;

use crate::{
    buckets::Buckets,
    error::AlreadyRegistered,
    guard::{Guard, Home},
    hub::{Delivery, Event, Hub},
    slot::{Bucket, Entry, Group, Single, Slot},
    sync::{AtomicUsize, RwLock, RwLockWriteGuard},
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

/// A lock over a table.
pub(crate) struct Shard<K, V, S> {
    table: RwLock<Table<S>>,
    common: Arc<Common<K, V>>,
}

struct Table<S> {
    buckets: Buckets<S>,
    next_id: u64,
}

/// What the shards of a registry share, on separate cache lines: the count changes often, the hub seldom.
///
/// It is dropped with the last handle and the last guard, and its hub tells the subscribers.
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

impl<K, V, S: Slot<K, V>> Shard<K, V, S> {
    pub(crate) fn new(common: Arc<Common<K, V>>) -> Self {
        let table = Table { buckets: Buckets::new(), next_id: 0 };
        Self { table: RwLock::new(table), common }
    }

    /// What `read` takes from what stands under this key, if anything does.
    #[inline]
    pub(crate) fn find<Q, T>(&self, hash: u64, key: &Q, read: impl FnOnce(&S) -> T) -> Option<T>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let table = self.table.read();
        let bucket = table.buckets.find(hash, |bucket| bucket.slot.key().borrow() == key);
        bucket.map(|bucket| read(&bucket.slot))
    }

    /// Appends what `copy` takes from what stands under each key.
    pub(crate) fn copy_keys_into<T>(&self, copies: &mut Vec<T>, copy: impl Fn(&K) -> T) {
        let table = self.table.read();
        copies.reserve(table.buckets.len());
        table.buckets.each(|bucket| copies.push(copy(bucket.slot.key())));
    }

    /// Appends what `copy` takes from each entry; those of one key follow each other, in the order in which they came.
    pub(crate) fn copy_into<T>(&self, copies: &mut Vec<T>, copy: impl Fn(&Entry<K, V>) -> T) {
        let table = self.table.read();
        copies.reserve(table.buckets.len());
        table.buckets.each(|bucket| copies.extend(bucket.slot.entries().map(&copy)));
    }

    /// Takes the entry with this id out, queues the event, and then, without the lock, drops what the entry held.
    pub(crate) fn unregister(&self, hash: u64, id: u64) {
        let mut table = self.table.write();
        // By id: should the entry be gone, what stands under its key is somebody else's.
        let Some(Entry { key, value }) = S::take(&mut table.buckets, hash, id) else { return };
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

    /// The last part of putting an entry in: its id is used up, it is counted, its event is queued, and the lock is released. To be
    /// [guarded](Guard::of) then.
    #[inline]
    fn registered(
        &self,
        mut table: RwLockWriteGuard<'_, Table<S>>,
        event: Option<Event<K, V>>,
    ) -> (u64, Option<Delivery<K, V>>) {
        let id = table.next_id;
        table.next_id += 1;
        self.common.count.0.fetch_add(1, Ordering::Relaxed);
        (id, event.map(|event| self.common.hub.queue(event)))
    }

    /// What `read` takes from the entry with this id, for its guard.
    fn own<T>(&self, hash: u64, id: u64, read: impl FnOnce(&Entry<K, V>) -> T) -> T {
        let table = self.table.read();
        let bucket = table.buckets.find(hash, |bucket| bucket.slot.get(id).is_some());
        let entry = bucket.and_then(|bucket| bucket.slot.get(id));
        // Only a guard asks, and nothing but its drop removes its entry.
        read(entry.expect("an entry stands while its guard lives"))
    }

    /// A clone of the key of the entry with this id, for its guard.
    pub(crate) fn key(&self, hash: u64, id: u64) -> K
    where
        K: Clone,
    {
        self.own(hash, id, |entry| entry.key.clone())
    }

    /// A clone of the value of the entry with this id, for its guard.
    pub(crate) fn value(&self, hash: u64, id: u64) -> V
    where
        V: Clone,
    {
        self.own(hash, id, |entry| entry.value.clone())
    }
}

impl<K: Clone, V: Clone, S: Slot<K, V>> Shard<K, V, S> {
    /// Replaces the value of the entry with this id.
    pub(crate) fn update(&self, hash: u64, id: u64, value: V) -> V {
        let mut table = self.table.write();
        let bucket = table.buckets.find_mut(hash, |bucket| bucket.slot.get(id).is_some());
        let entry = bucket.and_then(|bucket| bucket.slot.get_mut(id));
        // Only a guard asks, and nothing but its drop removes its entry.
        let entry = entry.expect("an entry stands while its guard lives");
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

    /// The event of an entry that is about to be put in, if somebody listens. Cloned before anything is changed: should
    /// a clone panic, nothing was.
    #[inline]
    fn registering(&self, key: &K, value: &V) -> Option<Event<K, V>> {
        self.common.hub.is_active().then(|| Event::Registered { key: key.clone(), value: value.clone() })
    }
}

/// Puts an entry under the key, if there is none, in the shard that `home` has.
// Part of its two callers: to hand its result on would be a third of what it takes.
#[inline(always)]
pub(crate) fn register<K, V, H>(
    home: H,
    hash: u64,
    key: K,
    value: V,
) -> Result<Guard<H>, AlreadyRegistered<K, V>>
where
    K: Eq + Clone,
    V: Clone,
    H: Home<Key = K, Value = V, Slot = Single<K, V>>,
{
    let shard = home.shard();
    let mut table = shard.table.write();
    let id = table.next_id;
    let free = match table.buckets.place(hash, |bucket| bucket.slot.entry.key == key) {
        Err(free) => free,
        Ok(bucket) => {
            let standing = bucket.slot.entry.value.clone();
            drop(table);
            return Err(AlreadyRegistered { key, refused: value, standing });
        }
    };
    let event = shard.registering(&key, &value);
    free.insert(Bucket { hash, slot: Single { id, entry: Entry { key, value } } });
    let (id, delivery) = shard.registered(table, event);
    Ok(Guard::of(home, hash, id, delivery))
}

/// Puts an entry under the key, after those that are there, in the shard that `home` has.
pub(crate) fn join<K, V, H>(home: H, hash: u64, key: K, value: V) -> Guard<H>
where
    K: Eq + Clone,
    V: Clone,
    H: Home<Key = K, Value = V, Slot = Group<K, V>>,
{
    let shard = home.shard();
    let mut table = shard.table.write();
    let id = table.next_id;
    let place = table.buckets.place(hash, |bucket| *bucket.slot.key() == key);
    let event = shard.registering(&key, &value);
    match place {
        Ok(bucket) => bucket.slot.add(id, Entry { key, value }),
        Err(free) => {
            let mut slot = Group::new();
            slot.add(id, Entry { key, value });
            free.insert(Bucket { hash, slot });
        }
    }
    let (id, delivery) = shard.registered(table, event);
    Guard::of(home, hash, id, delivery)
}

#[cfg(test)]
mod tests;
