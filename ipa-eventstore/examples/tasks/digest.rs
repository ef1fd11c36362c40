//! A fingerprint: FNV-1a, 64 bits, as 16 hexadecimal digits.
//!
//! Apart, because two things need one: definitions, and what steps write. It is the same on every machine and in every
//! build; enough to notice a change, no proof against one who means to deceive.

use std::fmt;

/// A fingerprint that grows with what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// That of nothing.
    pub const EMPTY: Digest = Digest(0xcbf2_9ce4_8422_2325);

    /// That of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest::EMPTY.and(bytes)
    }

    /// With these bytes after those before.
    pub fn and(self, bytes: &[u8]) -> Digest {
        Digest(
            bytes.iter().fold(self.0, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
        )
    }

    /// The number itself.
    pub fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_values_of_fnv_1a() {
        assert_eq!(Digest::of(b"").to_string(), "cbf29ce484222325");
        assert_eq!(Digest::of(b"a").to_string(), "af63dc4c8601ec8c");
        assert_eq!(Digest::of(b"foobar").to_string(), "85944171f73967e8");
        assert_eq!(Digest::of(b"foo").and(b"bar"), Digest::of(b"foobar"));
    }
}
