//! When to kill: a small seeded generator, and the moments of a round drawn from it.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The most kills in a round.
const MAX_KILLS: u64 = 3;

/// SplitMix64: small, and the same everywhere for the same seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed that nobody has used, short enough to be typed.
    pub fn seed() -> u64 {
        RandomState::new().hash_one(std::process::id()) % 1_000_000
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end` (0 for an `end` of 0). The bias of the remainder is far below what matters here.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// How long each of the 1 to 3 runs to be killed may live: the gaps between moments spread evenly over the usual time, so
/// that together they stay within it.
pub fn gaps(random: &mut Random, usual: Duration) -> Vec<Duration> {
    let usual = u64::try_from(usual.as_micros()).unwrap_or(u64::MAX);
    let kills = 1 + random.below(MAX_KILLS);
    let mut moments: Vec<u64> = (0..kills).map(|_| random.below(usual)).collect();
    moments.sort_unstable();
    let mut last = 0;
    moments
        .into_iter()
        .map(|moment| Duration::from_micros(moment - std::mem::replace(&mut last, moment)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_seed_gives_the_same_moments_again_within_the_usual_time() {
        let usual = Duration::from_millis(800);
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..200).map(|_| gaps(&mut random, usual)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let rounds = draw(7);
        assert!(rounds.iter().all(|round| round.iter().sum::<Duration>() < usual));
        for kills in 1..=3 {
            assert!(rounds.iter().any(|round| round.len() == kills), "{kills}");
        }
        // Spread over all of it: the first tenth and the last are hit as well.
        assert!(rounds.iter().any(|round| round.iter().sum::<Duration>() > usual * 9 / 10));
        assert!(rounds.iter().any(|round| round[0] < usual / 10));
    }

    #[test]
    fn a_run_that_takes_no_time_is_killed_at_once() {
        assert!(gaps(&mut Random::new(1), Duration::ZERO).iter().all(Duration::is_zero));
    }
}
