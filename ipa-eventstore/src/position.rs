//! The place of an event in the order of the whole store.
//!
//! A position is an opaque ordered token of twenty bytes from the first day, so that an engine whose
//! order is not one integer fits later without migrating what subscribers have stored.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::StoreError;

/// The place of an event in the order of the whole store: compare it, store it, hand it back, and
/// read nothing else into it.
///
/// Positions rise strictly in the order of commit and are never used twice, not even after a
/// delete. They need not be dense. As text (and in serde) a position is forty hexadecimal digits,
/// whose alphabetical order is the order of the positions.
///
/// ```
/// use ipa_eventstore::Position;
///
/// let position = Position::from_parts(0, 0, 7);
/// assert!(position > Position::START);
/// assert_eq!(position.to_string().parse::<Position>()?, position);
/// assert_eq!(Position::from_bytes(position.to_bytes()), position);
/// # Ok::<(), ipa_eventstore::StoreError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    // The derived order compares in this order, as do the big-endian bytes.
    generation: u32,
    high: u64,
    low: u64,
}

impl Position {
    /// Before the first event of any store.
    pub const START: Self = Self::from_parts(0, 0, 0);

    /// Builds a position. For implementations of a store; everyone else gets positions from one.
    pub const fn from_parts(generation: u32, high: u64, low: u64) -> Self {
        Self { generation, high, low }
    }

    /// Generation, high and low part, for implementations of a store.
    pub const fn parts(self) -> (u32, u64, u64) {
        (self.generation, self.high, self.low)
    }

    /// The token: twenty bytes that compare as the position does.
    pub fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&self.generation.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.high.to_be_bytes());
        bytes[12..].copy_from_slice(&self.low.to_be_bytes());
        bytes
    }

    /// The position whose token this is.
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        let part = |range: std::ops::Range<usize>| {
            bytes[range].iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
        };
        let [a, b, c, d, ..] = bytes;
        Self { generation: u32::from_be_bytes([a, b, c, d]), high: part(4..12), low: part(12..20) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}{:016x}{:016x}", self.generation, self.high, self.low)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({}/{}/{})", self.generation, self.high, self.low)
    }
}

impl FromStr for Position {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        // Checked first: from_str_radix would also take a sign, and slicing needs ASCII.
        if text.len() != 40 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(StoreError::invalid(format!("{text:?} is not a position: forty hexadecimal digits")));
        }
        let part = |digits: &str| {
            u64::from_str_radix(digits, 16).map_err(|error| StoreError::invalid(error.to_string()))
        };
        Ok(Self {
            generation: u32::from_str_radix(&text[..8], 16)
                .map_err(|error| StoreError::invalid(error.to_string()))?,
            high: part(&text[8..24])?,
            low: part(&text[24..])?,
        })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        let part = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()];
        (prop_oneof![Just(0), any::<u32>()], part.clone(), part)
            .prop_map(|(generation, high, low)| Position::from_parts(generation, high, low))
    }

    proptest! {
        #[test]
        fn every_form_keeps_value_and_order(a in position(), b in position()) {
            prop_assert_eq!(Position::from_bytes(a.to_bytes()), a);
            prop_assert_eq!(a.to_string().parse::<Position>().unwrap(), a);
            let json = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), a);
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in ["", "0", &"+".repeat(40), &"g".repeat(40), &"é".repeat(20), &"0".repeat(41)] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
