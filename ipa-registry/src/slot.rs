//! What stands under one key: an owner's entry, or the entries of a group. Apart, so that everything else (the shards
//! and their locks, the count, the events, the guards) is written once for both.
//!
//! The trick: each entry carries its own key, a group's member too. So an entry that goes brings along all that its
//! event needs, and a guard's `Drop` neither clones nor compares a key. A slot does not know of locks, counts or events.

use std::{collections::BTreeMap, iter};

use crate::buckets::Buckets;

/// A key and its value, as somebody registered them.
pub(crate) struct Entry<K, V> {
    pub(crate) key: K,
    pub(crate) value: V,
}

/// A slot in a shard's table, beside the hash of its key.
pub(crate) struct Bucket<S> {
    pub(crate) hash: u64,
    pub(crate) slot: S,
}

/// The entries of one key, at least one. Each has an id, unique among all entries that its shard ever held.
pub(crate) trait Slot<K, V>: Sized {
    fn key(&self) -> &K;

    /// All entries, in the order of their ids, which is the order in which they came.
    fn entries<'a>(&'a self) -> impl Iterator<Item = &'a Entry<K, V>>
    where
        K: 'a,
        V: 'a;

    fn get(&self, id: u64) -> Option<&Entry<K, V>>;

    fn get_mut(&mut self, id: u64) -> Option<&mut Entry<K, V>>;

    /// Takes the entry with this id out, and with the last one of its key the bucket.
    fn take(buckets: &mut Buckets<Self>, hash: u64, id: u64) -> Option<Entry<K, V>>;
}

/// The one entry of a unique key.
pub(crate) struct Single<K, V> {
    pub(crate) id: u64,
    pub(crate) entry: Entry<K, V>,
}

impl<K, V> Slot<K, V> for Single<K, V> {
    #[inline]
    fn key(&self) -> &K {
        &self.entry.key
    }

    #[inline]
    fn entries<'a>(&'a self) -> impl Iterator<Item = &'a Entry<K, V>>
    where
        K: 'a,
        V: 'a,
    {
        iter::once(&self.entry)
    }

    #[inline]
    fn get(&self, id: u64) -> Option<&Entry<K, V>> {
        (self.id == id).then_some(&self.entry)
    }

    #[inline]
    fn get_mut(&mut self, id: u64) -> Option<&mut Entry<K, V>> {
        (self.id == id).then_some(&mut self.entry)
    }

    #[inline]
    fn take(buckets: &mut Buckets<Self>, hash: u64, id: u64) -> Option<Entry<K, V>> {
        buckets.remove(hash, |bucket| bucket.slot.id == id).map(|bucket| bucket.slot.entry)
    }
}

/// The members of a group, by id. A tree, so that of 100,000 members each can leave in no time; a `Vec` would move all
/// that joined later, under the lock.
pub(crate) struct Group<K, V>(BTreeMap<u64, Entry<K, V>>);

impl<K, V> Group<K, V> {
    /// A group without a member, to be given one before the lock is released.
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(crate) fn add(&mut self, id: u64, entry: Entry<K, V>) {
        self.0.insert(id, entry);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<K, V> Slot<K, V> for Group<K, V> {
    fn key(&self) -> &K {
        let first = self.0.first_key_value();
        // `take` removes the bucket with the last member.
        &first.expect("a group has a member").1.key
    }

    fn entries<'a>(&'a self) -> impl Iterator<Item = &'a Entry<K, V>>
    where
        K: 'a,
        V: 'a,
    {
        self.0.values()
    }

    fn get(&self, id: u64) -> Option<&Entry<K, V>> {
        self.0.get(&id)
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Entry<K, V>> {
        self.0.get_mut(&id)
    }

    fn take(buckets: &mut Buckets<Self>, hash: u64, id: u64) -> Option<Entry<K, V>> {
        let is_in = |bucket: &Bucket<Self>| bucket.slot.0.contains_key(&id);
        let members = &mut buckets.find_mut(hash, is_in)?.slot.0;
        if members.len() > 1 {
            return members.remove(&id);
        }
        buckets.remove(hash, is_in)?.slot.0.remove(&id)
    }
}
