//! The guard of a group's member.

use std::fmt;

use crate::{guard::Guard, shards::SharedShard, slot::Group};

/// One membership in a group: while this value lives, its value is among the group's; its `Drop` leaves.
///
/// Got from [`Groups::join`](crate::Groups::join); to be moved into whatever the member is. Not `Clone`: to be in a
/// group twice is to join twice. `Send` and `Sync` as the key and the value are; it may be dropped anywhere, within and
/// without a runtime.
///
/// # Guarantees
///
/// - The member is in its group as long as the membership, handles of the groups or none.
/// - When the drop has returned, no reader finds the member, and it is not counted. A
///   [`dispatch`](crate::Groups::dispatch) that began before may still call its callback with the value.
/// - The drop takes out exactly this member, never another one with an equal value.
/// - If the membership is leaked, the member stays for ever, and all the groups with it.
///
/// ```
/// use ipa_registry::Groups;
///
/// let groups = Groups::new();
/// let first = groups.join("a", "old");
/// let second = groups.join("a", "other");
/// assert_eq!(first.update("new"), "old");
/// assert_eq!(groups.members("a"), ["new", "other"]);
///
/// drop(first);
/// assert_eq!(groups.members("a"), ["other"]);
/// # drop(second);
/// ```
///
/// # Panics
///
/// If the value's own `Drop` panics, dropping the membership does, after the member is out.
#[must_use = "the member leaves its group when the membership is dropped"]
pub struct Membership<K, V> {
    pub(crate) guard: Guard<SharedShard<K, V, Group<K, V>>>,
}

impl<K: Clone, V> Membership<K, V> {
    /// A clone of the group's key, as this member gave it.
    pub fn key(&self) -> K {
        self.guard.key()
    }
}

impl<K: Clone, V: Clone> Membership<K, V> {
    /// A clone of the value that stands now.
    pub fn value(&self) -> V {
        self.guard.value()
    }

    /// Replaces this member's value, and hands back the one that stood. The member keeps its place in the order.
    ///
    /// The new value is visible to every reader when this returns; subscribers get an
    /// [`Updated`](crate::Event::Updated), also if the new value equals the old one. Updates of one membership from
    /// several threads at once happen one after the other; each gets what the one before it put there.
    pub fn update(&self, value: V) -> V {
        self.guard.update(value)
    }
}

impl<K: Clone + fmt::Debug, V> fmt::Debug for Membership<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("key", &self.key()).finish_non_exhaustive()
    }
}
