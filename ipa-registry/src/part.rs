//! A registry whose entries lie with whoever they belong to, not in a table of all.
//!
//! The trick: a part is one shard of a registry, without the others. So all that is true of an entry of a [`Registry`](crate::Registry) is
//! true of one here, but that it is found by way of its part. To register one of a family then touches the memory of that family, where a
//! table of a million entries would touch memory that no cache has.

use std::{borrow::Borrow, fmt, hash::Hash, sync::Arc};

use crate::{
    error::AlreadyRegistered,
    guard::{Guard, Home},
    shard::{self, Common, Shard, hash_of},
    slot::Single,
    subscription::{DEFAULT_SUBSCRIPTION_CAPACITY, Subscription},
};

/// A registry of unique keys in parts, each of which is kept by somebody: the whole, which counts the entries of all parts and tells of
/// them.
///
/// A clone is another handle to the same whole, and costs one reference count. `Hash`, `Eq` and `Clone` of keys and values are under the same
/// terms as those of a [`Registry`](crate::Registry).
///
/// That a key is unique is seen to within each part: what tells the parts apart should be in the key.
///
/// ```
/// use std::sync::Arc;
/// use ipa_registry::{HasPart, Part, Parts};
///
/// #[derive(Clone)]
/// struct House(Arc<Part<(u32, &'static str), u16>>);
///
/// impl HasPart for House {
///     type Key = (u32, &'static str);
///     type Value = u16;
///
///     fn part(&self) -> &Part<(u32, &'static str), u16> {
///         &self.0
///     }
/// }
///
/// let rooms = Parts::new();
/// let house = House(Arc::new(rooms.part()));
/// let kitchen = Part::register(house.clone(), (7, "kitchen"), 4001)?;
/// assert_eq!(house.part().lookup(&(7, "kitchen")), Some(4001));
/// assert_eq!(rooms.count(), 1);
///
/// drop(kitchen);
/// assert_eq!(house.part().lookup(&(7, "kitchen")), None);
/// # Ok::<(), ipa_registry::AlreadyRegistered<(u32, &'static str), u16>>(())
/// ```
pub struct Parts<K, V> {
    common: Arc<Common<K, V>>,
}

impl<K, V> Parts<K, V> {
    /// A whole that has no part yet.
    pub fn new() -> Self {
        Self { common: Arc::new(Common::new()) }
    }

    /// A new part, without an entry. It takes no memory beside its own before there is one.
    pub fn part(&self) -> Part<K, V> {
        Part(Shard::new(Arc::clone(&self.common)))
    }

    /// How many entries all parts have. O(1), exact, and takes no lock; as [`Registry::count`](crate::Registry::count).
    pub fn count(&self) -> usize {
        self.common.count()
    }

    /// Whether no part has an entry; as [`count`](Self::count).
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The events of all parts from now on, with room for [`DEFAULT_SUBSCRIPTION_CAPACITY`] of them; as
    /// [`Registry::subscribe`](crate::Registry::subscribe). It is [closed](crate::RecvError::Closed) when whole and parts are gone.
    pub fn subscribe(&self) -> Subscription<K, V> {
        self.subscribe_with_capacity(DEFAULT_SUBSCRIPTION_CAPACITY)
    }

    /// The same with room for `capacity` of them (at least 1, whatever is asked for).
    pub fn subscribe_with_capacity(&self, capacity: usize) -> Subscription<K, V> {
        Subscription::new(&self.common, capacity)
    }
}

impl<K, V> Clone for Parts<K, V> {
    fn clone(&self) -> Self {
        Self { common: Arc::clone(&self.common) }
    }
}

impl<K, V> Default for Parts<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> fmt::Debug for Parts<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// One part of [`Parts`]: some entries under a lock of their own. Of a few each is looked at in turn, more are hashed.
///
/// As large as seven pointers.
pub struct Part<K, V>(Shard<K, V, Single<K, V>>);

impl<K: Hash + Eq + Clone, V: Clone> Part<K, V> {
    /// Takes the key in the part that `owner` has, if it is free there. The entry stands, and `owner` with it, until the registration is dropped.
    ///
    /// # Errors
    ///
    /// [`AlreadyRegistered`] if the key is taken; as [`Registry::register`](crate::Registry::register).
    pub fn register<O>(owner: O, key: K, value: V) -> Result<PartRegistration<O>, AlreadyRegistered<K, V>>
    where
        // Not borrowed: an owner that goes while its registration is leaked would take the entry along, and leave it counted.
        O: HasPart<Key = K, Value = V> + 'static,
    {
        let hash = hash_of(&key);
        shard::register(Owned(owner), hash, key, value).map(|guard| PartRegistration { guard })
    }

    /// A clone of the value under the key, or `None`.
    pub fn lookup<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.find(hash_of(key), key, |slot| slot.entry.value.clone())
    }

    /// Whether there is an entry under the key.
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.find(hash_of(key), key, |_| ()).is_some()
    }

    /// Clones of all entries of this part, as they were at one moment, in no order.
    pub fn list(&self) -> Vec<(K, V)> {
        let mut all = Vec::new();
        self.0.copy_into(&mut all, |entry| (entry.key.clone(), entry.value.clone()));
        all
    }
}

impl<K, V> fmt::Debug for Part<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}

/// Whoever has a [`Part`]: a type around the `Arc` of what the entries belong to.
///
/// To answer always the same part is the implementor's duty: a [`PartRegistration`] looks for its entry there.
pub trait HasPart {
    /// What the entries are found by.
    type Key;
    /// What they lead to.
    type Value;

    /// The part.
    fn part(&self) -> &Part<Self::Key, Self::Value>;
}

struct Owned<O>(O);

impl<O: HasPart> Home for Owned<O> {
    type Key = O::Key;
    type Value = O::Value;
    type Slot = Single<O::Key, O::Value>;

    fn shard(&self) -> &Shard<Self::Key, Self::Value, Self::Slot> {
        &self.0.part().0
    }
}

/// The ownership of one entry of a part: what a [`Registration`](crate::Registration) is to a registry, with the same guarantees. It also keeps
/// whoever has the part.
///
/// # Panics
///
/// If the value's own `Drop` panics, dropping the registration does, after the entry is gone.
#[must_use = "the entry is unregistered when the registration is dropped"]
pub struct PartRegistration<O: HasPart> {
    guard: Guard<Owned<O>>,
}

impl<O: HasPart> PartRegistration<O> {
    /// Whoever has the part.
    pub fn owner(&self) -> &O {
        &self.guard.home().0
    }

    /// A clone of the key.
    pub fn key(&self) -> O::Key
    where
        O::Key: Clone,
    {
        self.guard.key()
    }

    /// A clone of the value that stands now.
    pub fn value(&self) -> O::Value
    where
        O::Value: Clone,
    {
        self.guard.value()
    }

    /// Replaces the value, and hands back the one that stood; as [`Registration::update`](crate::Registration::update).
    pub fn update(&self, value: O::Value) -> O::Value
    where
        O::Key: Clone,
        O::Value: Clone,
    {
        self.guard.update(value)
    }
}

impl<O: HasPart<Key: Clone + fmt::Debug>> fmt::Debug for PartRegistration<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartRegistration").field("key", &self.key()).finish_non_exhaustive()
    }
}
