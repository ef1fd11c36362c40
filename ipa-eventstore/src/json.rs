//! JSON that stays text until somebody asks for a type.
//!
//! Most events that are read are passed on or skipped; parsing them into a tree first would cost
//! three times as much as handing on the bytes.

use std::fmt;
use std::sync::Arc;

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::StoreError;

/// A JSON text, kept to the byte. Clones share it; it is parsed when [`decode`](Json::decode) asks.
///
/// ```
/// use ipa_eventstore::Json;
///
/// let json = Json::parse(r#"{"n":  1.0, "n2": 12345678901234567890123}"#)?;
/// assert_eq!(json.get(), r#"{"n":  1.0, "n2": 12345678901234567890123}"#);
/// assert_eq!(Json::of(&[1, 2])?.decode::<Vec<u8>>().unwrap(), [1, 2]);
/// assert!(Json::parse("{").is_err());
/// # Ok::<(), ipa_eventstore::StoreError>(())
/// ```
#[derive(Clone)]
pub struct Json(Arc<str>);

impl Json {
    /// Writes a value as JSON.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`] if the value has no JSON form (a map with keys that are not text).
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, StoreError> {
        match serde_json::value::to_raw_value(value) {
            Ok(raw) => Ok(Self::trusted(&raw)),
            Err(error) => Err(StoreError::invalid(format!("no JSON form: {error}"))),
        }
    }

    /// Takes a JSON text as it is, without the white space around it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`] if it is not JSON.
    pub fn parse(text: impl AsRef<str>) -> Result<Self, StoreError> {
        Self::check(text.as_ref()).map_err(|error| StoreError::invalid(format!("not JSON: {error}")))
    }

    pub(crate) fn check(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text).map(Self::trusted)
    }

    /// The text of a raw value, which is JSON. Kept as text, which takes one allocation; there is no shared raw value without two.
    fn trusted(raw: &RawValue) -> Self {
        Self(raw.get().into())
    }

    /// The text.
    pub fn get(&self) -> &str {
        &self.0
    }

    /// Parses the text into a type, which may borrow from it.
    ///
    /// # Errors
    ///
    /// What serde_json says if the text is not of that type.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(self.get())
    }
}

/// The same text; two ways to write one value are not equal.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Json {}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // As it is: a serializer is told so by a raw value alone, and only a look at the text makes one.
        let raw: &RawValue = serde_json::from_str(self.get()).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|raw| Self::trusted(&raw))
    }
}
