//! What can be refused, and what a subscriber can be told instead of an event.

use std::fmt;

use thiserror::Error;

/// The key has an owner already: [`Registry::register`](crate::Registry::register) refused.
///
/// Nothing was changed and nothing is lost: the key and the value that were offered come back, beside a clone of the
/// value that stands. Whether the owner still stands when this error is read is another matter; the error says what was
/// true while the registry looked.
///
/// `Debug` and `Display` show the key only, so values need no `Debug`.
///
/// ```
/// use ipa_registry::Registry;
///
/// let registry = Registry::new();
/// let _owner = registry.register("lobby", 1)?;
/// let refused = registry.register("lobby", 2).unwrap_err();
/// assert_eq!((refused.key, refused.refused, refused.standing), ("lobby", 2, 1));
/// assert_eq!(refused.to_string(), r#"the key "lobby" is already registered"#);
/// # Ok::<(), ipa_registry::AlreadyRegistered<&str, i32>>(())
/// ```
#[derive(Error)]
#[error("the key {key:?} is already registered")]
#[non_exhaustive]
pub struct AlreadyRegistered<K, V> {
    /// The key, handed back.
    pub key: K,
    /// The value that was offered and not taken, handed back.
    pub refused: V,
    /// A clone of the value that stands under the key.
    pub standing: V,
}

impl<K: fmt::Debug, V> fmt::Debug for AlreadyRegistered<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlreadyRegistered").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Why [`Subscription::recv`](crate::Subscription::recv) gave no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The subscriber was too slow: this many events, the oldest it had not read, were dropped. The next call goes on
    /// with the oldest event that was kept; list the registry again to know where it stands.
    #[error("the subscriber lagged behind and lost {0} events; list the registry again")]
    Lagged(u64),
    /// Every handle of the registry and every registration (or membership) is gone; no event will come any more.
    #[error("the registry is gone: no handle and no entry of it is left")]
    Closed,
}

/// Why [`Subscription::try_recv`](crate::Subscription::try_recv) gave no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// No event is waiting; more may come.
    #[error("no event is waiting")]
    Empty,
    /// As [`RecvError::Lagged`].
    #[error("the subscriber lagged behind and lost {0} events; list the registry again")]
    Lagged(u64),
    /// As [`RecvError::Closed`].
    #[error("the registry is gone: no handle and no entry of it is left")]
    Closed,
}
