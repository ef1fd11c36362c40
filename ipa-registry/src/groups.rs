//! Many members to a key: the handle that everybody shares.
//!
//! It does not know how members are found, kept or told of; see `shards`, `shard` and `hub`.

use std::{borrow::Borrow, fmt, hash::Hash, sync::Arc};

use crate::{
    membership::Membership,
    shard::{self, hash_of},
    shards::Shards,
    slot::{Group, Slot},
    subscription::{DEFAULT_SUBSCRIPTION_CAPACITY, Subscription},
};

/// A concurrent map of keys to groups of values, whose members are owned by [`Membership`] guards.
///
/// Whoever is interested in a topic joins its group; whoever has news for them [`dispatch`](Self::dispatch)es over the
/// group. A group is there as long as it has a member; nobody makes it, and nobody has to remove it.
///
/// A clone is another handle to the same groups, and costs one reference count. They live as long as there is a handle
/// or a membership.
///
/// Keys are compared by `Eq`, nothing is coerced. Values are cloned out to readers, so join with something cheap to
/// clone: a sender, an `Arc`. `Hash`, `Eq` and `Clone` must not use the groups and should not panic: all but `Hash` run
/// under a lock. If one does panic, the groups are unharmed and as they were before.
///
/// The [crate's documentation](crate#groups) tells how it compares with a duplicate-key `Registry` of Elixir's.
///
/// ```
/// use ipa_registry::Groups;
/// use tokio::sync::mpsc;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let topics: Groups<String, mpsc::Sender<u32>> = Groups::new();
///
/// let (sender, mut inbox) = mpsc::channel(8);
/// let member = topics.join("weather".to_owned(), sender);
/// let listener = tokio::spawn(async move {
///     let _member = member;
///     inbox.recv().await
/// });
///
/// // A full inbox is this listener's affair, and nobody else's.
/// let told = topics.dispatch("weather", |inbox| drop(inbox.try_send(21)));
/// assert_eq!(told, 1);
///
/// assert_eq!(listener.await.unwrap(), Some(21));
/// assert!(topics.is_empty());
/// # }
/// ```
pub struct Groups<K, V> {
    shards: Arc<Shards<K, V, Group<K, V>>>,
}

impl<K, V> Groups<K, V> {
    /// No group yet.
    pub fn new() -> Self {
        Self { shards: Arc::new(Shards::new()) }
    }

    /// How many members all groups have together. O(1), and takes no lock.
    ///
    /// Exact: it is their number at one moment within the call. A member counts from before its `join` returns until
    /// before the drop of its membership returns.
    ///
    /// ```
    /// let groups = ipa_registry::Groups::new();
    /// let _members = [groups.join("a", 1), groups.join("a", 1), groups.join("b", 1)];
    /// assert_eq!(groups.count(), 3);
    /// assert_eq!(groups.count_members("a"), 2);
    /// ```
    pub fn count(&self) -> usize {
        self.shards.count()
    }

    /// Whether no group has a member; as [`count`](Self::count).
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The events from now on, with room for [`DEFAULT_SUBSCRIPTION_CAPACITY`] of them.
    ///
    /// Each member that joins is an [`Event::Registered`](crate::Event::Registered), each that leaves an
    /// [`Event::Unregistered`](crate::Event::Unregistered), in order per key. To follow a group, read its
    /// [`members`](Self::members) again for every event of its key; see the [crate's documentation](crate#groups).
    /// [`Subscription`] has an example.
    pub fn subscribe(&self) -> Subscription<K, V> {
        self.subscribe_with_capacity(DEFAULT_SUBSCRIPTION_CAPACITY)
    }

    /// The events from now on, with room for `capacity` of them (at least 1, whatever is asked for); as
    /// [`Registry::subscribe_with_capacity`](crate::Registry::subscribe_with_capacity).
    pub fn subscribe_with_capacity(&self, capacity: usize) -> Subscription<K, V> {
        self.shards.subscribe(capacity)
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Groups<K, V> {
    /// Adds a member to the group of this key, after those that are in it.
    ///
    /// When this returns every reader finds the member, and does so until the membership is dropped. Nothing is refused:
    /// whoever joins twice is in the group twice, with equal values or not, and leaves twice.
    pub fn join(&self, key: K, value: V) -> Membership<K, V> {
        let hash = hash_of(&key);
        let home = Arc::clone(self.shards.shard(hash));
        Membership { guard: shard::join(home, hash, key, value) }
    }

    /// Clones of the values of the group's members, in the order in which they joined: empty if there is no such group.
    ///
    /// They are the members at one moment within the call. The key may be any borrowed form of `K`: a `&str` for a
    /// `String`.
    ///
    /// ```
    /// let groups = ipa_registry::Groups::new();
    /// let _members = ["one", "two", "one"].map(|value| groups.join(7, value));
    /// assert_eq!(groups.members(&7), ["one", "two", "one"]);
    /// assert!(groups.members(&8).is_empty());
    /// ```
    pub fn members<Q>(&self, key: &Q) -> Vec<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        // Out here, so that what was cloned before a clone panics is dropped without the lock.
        let mut members = Vec::new();
        self.shards.find(key, |group| {
            members.reserve_exact(group.len());
            members.extend(group.entries().map(|entry| entry.value.clone()));
        });
        members
    }

    /// How many members the group of this key has: 0 if there is no such group. As [`members`](Self::members), without
    /// the clones.
    pub fn count_members<Q>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shards.find(key, Group::len).unwrap_or_default()
    }

    /// Calls the callback with the value of each of the group's members, one after the other in the order in which they
    /// joined, on the caller's own thread. Answers how many that were: 0, without a call, if there is no such group.
    ///
    /// The members are those of one moment at the beginning of the call, each of them exactly once. Who joins later, be
    /// it within the callback, is not called for; who leaves later may still be, with the value it had.
    ///
    /// The callback is called without a lock, so it may use the groups in every way: join, leave, update and dispatch,
    /// on the same key too. It is synchronous and keeps the caller until it is done: let it send and not wait. To await
    /// something for each member, loop over [`members`](Self::members).
    ///
    /// ```
    /// let groups = ipa_registry::Groups::new();
    /// let members = ["first", "second"].map(|value| groups.join("a", value));
    /// let _other = groups.join("b", "other");
    ///
    /// let mut called = Vec::new();
    /// assert_eq!(groups.dispatch("a", |value| called.push(*value)), 2);
    /// assert_eq!(called, ["first", "second"]);
    ///
    /// drop(members);
    /// assert_eq!(groups.dispatch("a", |_| unreachable!("there is no member")), 0);
    /// ```
    ///
    /// # Panics
    ///
    /// If the callback panics, the panic is the caller's, and it ends the dispatch as it would end a loop: the members
    /// after that one are not called for. The groups are unharmed, and nobody's membership is touched. A callback that
    /// may panic for one member and must be called for the others catches the panic itself.
    pub fn dispatch<Q>(&self, key: &Q, callback: impl FnMut(&V)) -> usize
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let members = self.members(key);
        members.iter().for_each(callback);
        members.len()
    }

    /// The keys of all groups, each once, in no order; otherwise as [`list`](Self::list).
    ///
    /// Of keys that are equal and look different it is the one of the longest-standing member.
    pub fn keys(&self) -> Vec<K> {
        self.shards.keys()
    }

    /// Clones of all members, each with its key: the groups in no order, the members of one group next to each other in
    /// the order in which they joined.
    ///
    /// Each group is listed as it is at one moment within the call. A member that is in throughout the call is listed,
    /// and one that is not in at any moment of it is not. What comes or goes meanwhile may be listed or not, because one
    /// shard is read after the other and none of them is locked for longer than it takes to clone its own members.
    ///
    /// ```
    /// let groups = ipa_registry::Groups::new();
    /// let _members = [("b", 1), ("a", 3), ("b", 2)].map(|(key, value)| groups.join(key, value));
    /// let mut all = groups.list();
    /// all.sort_by_key(|(key, _)| *key);
    /// assert_eq!(all, [("a", 3), ("b", 1), ("b", 2)]);
    /// ```
    pub fn list(&self) -> Vec<(K, V)> {
        self.shards.list()
    }

    /// Clones of the members that the predicate accepts, each with its key; otherwise as [`list`](Self::list).
    ///
    /// The predicate is called once for each member, without a lock, so it may use the groups in every way, on the same
    /// key too. The price is that all members are cloned, one shard at a time, not only the accepted ones; and that a
    /// member may have left, or been updated, when the predicate sees it.
    ///
    /// ```
    /// let groups = ipa_registry::Groups::new();
    /// let _members = [("a", 1), ("a", 2), ("a", 3)].map(|(key, value)| groups.join(key, value));
    /// assert_eq!(groups.select(|_, value| *value > 1), [("a", 2), ("a", 3)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the predicate panics, the panic is the caller's; the groups are unharmed.
    pub fn select(&self, predicate: impl FnMut(&K, &V) -> bool) -> Vec<(K, V)> {
        self.shards.select(predicate)
    }
}

impl<K, V> Clone for Groups<K, V> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards) }
    }
}

impl<K, V> Default for Groups<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> fmt::Debug for Groups<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("count", &self.count()).finish_non_exhaustive()
    }
}
