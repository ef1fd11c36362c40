//! What the guards of all registries are made of: the life of a [`Guard`] is its entry's life.
//!
//! It holds whoever has the shard, and the entry's id, so what it does to its entry needs no key, and can hit no other entry: the key is
//! kept once, in the table. Of the registry it holds no more than that shard: two threads that register at the same time then do not fight
//! over one reference count.

use crate::{hub::Delivery, shard::Shard, slot::Slot};

/// Whoever has a shard, always the same.
pub(crate) trait Home {
    type Key;
    type Value;
    type Slot: Slot<Self::Key, Self::Value>;

    fn shard(&self) -> &Shard<Self::Key, Self::Value, Self::Slot>;
}

/// The ownership of one entry.
pub(crate) struct Guard<H: Home> {
    home: H,
    hash: u64,
    pub(crate) id: u64,
}

impl<H: Home> Guard<H> {
    /// For an entry that has just been put in, with what is to be told of it.
    #[inline]
    pub(crate) fn of(home: H, hash: u64, id: u64, delivery: Option<Delivery<H::Key, H::Value>>) -> Self {
        // The guard first: should a waker or an event's drop panic, the guard takes the entry out.
        let guard = Self { home, hash, id };
        if let Some(delivery) = delivery {
            delivery.finish();
        }
        guard
    }

    pub(crate) fn home(&self) -> &H {
        &self.home
    }

    pub(crate) fn key(&self) -> H::Key
    where
        H::Key: Clone,
    {
        self.home.shard().key(self.hash, self.id)
    }

    pub(crate) fn value(&self) -> H::Value
    where
        H::Value: Clone,
    {
        self.home.shard().value(self.hash, self.id)
    }

    pub(crate) fn update(&self, value: H::Value) -> H::Value
    where
        H::Key: Clone,
        H::Value: Clone,
    {
        self.home.shard().update(self.hash, self.id, value)
    }
}

impl<H: Home> Drop for Guard<H> {
    fn drop(&mut self) {
        self.home.shard().unregister(self.hash, self.id);
    }
}
