//! The guard of a unique key's entry.

use std::fmt;

use crate::{guard::Guard, shards::SharedShard, slot::Single};

/// The ownership of one entry: while this value lives, the key is taken; its `Drop` frees it.
///
/// Got from [`Registry::register`](crate::Registry::register); to be moved into whatever the key names. Not `Clone`:
/// there is one owner. `Send` and `Sync` as the key and the value are; it may be dropped anywhere, within and without a
/// runtime.
///
/// # Guarantees
///
/// - The entry stands as long as the registration, handles of the registry or none.
/// - When the drop has returned, no reader finds the entry, it is not counted, and the key can be registered again.
/// - The drop removes exactly this entry, never a later one under the same key.
/// - If the registration is leaked, the entry stays for ever, and the registry with it.
///
/// ```
/// use ipa_registry::Registry;
///
/// let registry = Registry::new();
/// let owner = registry.register("a", "old").unwrap();
/// assert_eq!(owner.update("new"), "old");
/// assert_eq!(registry.lookup("a"), Some("new"));
///
/// drop(owner);
/// assert_eq!(registry.lookup("a"), None);
/// ```
///
/// # Panics
///
/// If the value's own `Drop` panics, dropping the registration does, after the entry is gone.
#[must_use = "the entry is unregistered when the registration is dropped"]
pub struct Registration<K, V> {
    pub(crate) guard: Guard<SharedShard<K, V, Single<K, V>>>,
}

impl<K: Clone, V> Registration<K, V> {
    /// A clone of the key.
    pub fn key(&self) -> K {
        self.guard.key()
    }
}

impl<K: Clone, V: Clone> Registration<K, V> {
    /// A clone of the value that stands now.
    pub fn value(&self) -> V {
        self.guard.value()
    }

    /// Replaces the value, and hands back the one that stood.
    ///
    /// The new value is visible to every reader when this returns; subscribers get an
    /// [`Updated`](crate::Event::Updated), also if the new value equals the old one. Updates of one registration from
    /// several threads at once happen one after the other; each gets what the one before it put there.
    pub fn update(&self, value: V) -> V {
        self.guard.update(value)
    }
}

impl<K: Clone + fmt::Debug, V> fmt::Debug for Registration<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("key", &self.key()).finish_non_exhaustive()
    }
}
