//! A small seeded generator: who does what when follows from the seed, as far as the scheduler lets it.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// SplitMix64: small, and the same everywhere for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator of its own for each `part` of what one seed decides.
    pub fn of(seed: u64, part: u64) -> Self {
        Self(mix(seed ^ mix(part)))
    }

    /// A seed that nobody has used, short enough to be typed.
    pub fn seed() -> u64 {
        RandomState::new().hash_one(std::process::id()) % 1_000_000
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `end` (0 for an `end` of 0). The bias of the remainder is far below what matters here.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A time between two, in microseconds.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(micros(from) + self.below(micros(to).saturating_sub(micros(from))))
    }
}

/// SplitMix64's finish.
pub fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn times_stay_within_their_bounds() {
        let (from, to) = (Duration::from_millis(3), Duration::from_millis(5));
        let mut random = Random::of(7, 1);
        assert!((0..1000).all(|_| (from..to).contains(&random.between(from, to))));
        assert_eq!(random.between(to, from), to);
    }
}
