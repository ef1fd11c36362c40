//! A stream's state at a version, so that its reader need not begin at its first event.

use serde::{Deserialize, Serialize};

use crate::{Json, StoreError};

/// The state that a stream's events up to a version amount to. A stream has one at most.
///
/// A snapshot is only ever a shortcut: a reader that does not know its schema ignores it and reads
/// the events.
///
/// ```
/// use ipa_eventstore::Snapshot;
///
/// let snapshot = Snapshot::json(12, 1, &vec![3, 4])?;
/// assert_eq!(snapshot.state::<Vec<u32>>()?, [3, 4]);
/// # Ok::<(), ipa_eventstore::StoreError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The version of the last event that the state contains.
    pub version: u64,
    /// The version of the state's own form; unknown to a reader, the snapshot is to be ignored.
    pub schema: u32,
    /// The state, as JSON; [`state`](Self::state) parses it.
    pub data: Json,
}

impl Snapshot {
    /// A snapshot whose state is JSON already.
    pub fn new(version: u64, schema: u32, data: Json) -> Self {
        Self { version, schema, data }
    }

    /// A snapshot of a value.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`] if the value has no JSON form.
    pub fn json<T: Serialize + ?Sized>(version: u64, schema: u32, state: &T) -> Result<Self, StoreError> {
        Ok(Self::new(version, schema, Json::of(state)?))
    }

    /// Parses the state into a type, which may borrow from it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Decode`] if it is not of that type.
    pub fn state<'a, T: Deserialize<'a>>(&'a self) -> Result<T, StoreError> {
        self.data.decode().map_err(|error| StoreError::Decode {
            what: format!("snapshot at version {}", self.version),
            source: std::sync::Arc::new(error),
        })
    }
}
