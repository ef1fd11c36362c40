//! Names of streams, their types and events: checked once, where they are made.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StoreError;

/// A name that is not blank and has no NUL, in which SQLite's text functions would end.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), StoreError> {
    if name.trim().is_empty() {
        return Err(StoreError::invalid(format!("{what} is blank")));
    }
    if name.contains('\0') {
        return Err(StoreError::invalid(format!("{what} {name:?} contains a NUL")));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Takes a ", $what, ".")]
            ///
            /// # Errors
            ///
            /// [`StoreError::Invalid`] if it is blank or contains a NUL character.
            pub fn new(name: impl Into<Arc<str>>) -> Result<Self, StoreError> {
                let name = name.into();
                check_name($what, &name)?;
                Ok(Self(name))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = StoreError;

            fn from_str(name: &str) -> Result<Self, StoreError> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = StoreError;

            fn try_from(name: String) -> Result<Self, StoreError> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        // Sound for maps: order, equality and hash are those of the text.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The name of a stream: any text that is not blank. Clones share the text.
    ///
    /// ```
    /// use ipa_eventstore::StreamId;
    ///
    /// let stream = StreamId::new("agent-7")?;
    /// assert_eq!(stream.as_str(), "agent-7");
    /// assert!(StreamId::new("  ").is_err());
    /// # Ok::<(), ipa_eventstore::StoreError>(())
    /// ```
    StreamId, "stream id"
}

name! {
    /// What kind of thing a stream is about ("agent", "tenant"): fixed when the stream is created.
    ///
    /// ```
    /// use ipa_eventstore::StreamType;
    ///
    /// assert_eq!(StreamType::new("agent")?.as_str(), "agent");
    /// assert!(StreamType::new("").is_err());
    /// # Ok::<(), ipa_eventstore::StoreError>(())
    /// ```
    StreamType, "stream type"
}

impl StreamId {
    /// A new name that no other stream has: a UUID, version 7.
    pub fn generate() -> Self {
        Self(Uuid::now_v7().to_string().into())
    }
}

/// The identity of an event, by which a repeated append is recognised: a UUID, unique in the store.
///
/// ```
/// use ipa_eventstore::EventId;
///
/// let id = EventId::generate();
/// assert_eq!(id.to_string().parse::<EventId>()?, id);
/// assert_ne!(id, EventId::generate());
/// # Ok::<(), ipa_eventstore::StoreError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    /// A new id: a UUID, version 7.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id that is this UUID, of whatever version.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for EventId {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|error| StoreError::invalid(format!("{text:?} is not an event id: {error}")))
    }
}

impl From<Uuid> for EventId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}
