//! Waiting before a restart: exponential, with a cap and jitter, forgotten after a healthy run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::millis;

/// How long to wait before each restart of a child: `initial`, then each time `factor` times as long, up to `max`.
///
/// A run of at least `reset_after` is healthy: the next restart waits `initial` again. `jitter` spreads the wait, so that many
/// children that crashed together do not come back together: 0.2 takes it anywhere between 80 % and 120 % of its length.
///
/// A restart counts towards the [intensity](crate::RestartIntensity) when it is decided, before the wait. A supervisor whose
/// window is shorter than the waits never gives up on the child.
///
/// ```
/// use std::time::Duration;
/// use ipa_supervisor::Backoff;
///
/// let backoff = Backoff { initial: Duration::from_millis(50), ..Backoff::default() };
/// assert_eq!(backoff.max, Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backoff {
    /// The first wait. Default: 100 ms.
    #[serde(rename = "initial_ms", with = "millis")]
    pub initial: Duration,
    /// The longest wait, before jitter. Default: 30 s.
    #[serde(rename = "max_ms", with = "millis")]
    pub max: Duration,
    /// What each wait is multiplied by for the next. Default: 2. Less than 1 is taken for 1.
    pub factor: f64,
    /// How far a wait may be off, as a part of its length. Default: 0.2. Taken to lie between 0 and 1.
    pub jitter: f64,
    /// How long a run must be for the waits to begin anew. Default: 60 s.
    #[serde(rename = "reset_after_ms", with = "millis")]
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(30),
            factor: 2.0,
            jitter: 0.2,
            reset_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// The wait before the restart that follows `failures` earlier ones; `random` lies between 0 and 1.
    pub(crate) fn wait(&self, failures: u32, random: f64) -> Duration {
        let max = self.max.as_secs_f64();
        if self.initial.is_zero() {
            return Duration::ZERO;
        }
        let growth = self.factor.max(1.0).powi(failures.min(1000) as i32);
        let wait = (self.initial.as_secs_f64() * growth).min(max);
        let jitter = if self.jitter.is_nan() { 0.0 } else { self.jitter.clamp(0.0, 1.0) };
        // Never negative; and no NaN, as nothing here is zero times infinity.
        Duration::try_from_secs_f64(wait * (1.0 + jitter * (2.0 * random - 1.0))).unwrap_or(self.max)
    }
}

/// A source of jitter that a test can repeat: xorshift, from a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self((seed ^ 0x9e37_79b9_7f4a_7c15).max(1))
    }

    /// The next number between 0 and 1.
    pub(crate) fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_jitter_stays_within_its_bounds() {
        let backoff = Backoff { jitter: 0.0, ..Backoff::default() };
        let waits: Vec<u128> = (0..10).map(|n| backoff.wait(n, 0.7).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]);
        assert_eq!(backoff.wait(u32::MAX, 0.5), Duration::from_secs(30));
        let backoff = Backoff::default();
        let mut jitter = Jitter::new(7);
        for _ in 0..1000 {
            let wait = backoff.wait(0, jitter.next()).as_secs_f64();
            assert!((0.08..=0.12).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn jitter_goes_both_ways_by_its_share() {
        let backoff = Backoff { initial: Duration::from_secs(1), jitter: 0.25, ..Backoff::default() };
        let waits = [0.0, 0.25, 0.5, 1.0].map(|random| backoff.wait(0, random).as_millis());
        assert_eq!(waits, [750, 875, 1000, 1250]);
    }

    /// The numbers are those of Marsaglia's xorshift (13, 7, 17), so that a seed gives the same waits on every machine.
    #[test]
    fn jitter_can_be_repeated_and_is_spread_evenly() {
        let mut jitter = Jitter::new(7);
        let first = [(); 3].map(|()| (jitter.next() * (1_u64 << 53) as f64) as u64);
        assert_eq!(first, [7_744_336_967_569_333, 736_832_600_198_625, 6_557_462_286_991_519]);
        let mut quarters = [0; 4];
        for _ in 0..10_000 {
            quarters[(jitter.next() * 4.0) as usize] += 1;
        }
        assert!(quarters.iter().all(|count| (2_300..2_700).contains(count)), "{quarters:?}");
    }

    #[test]
    fn nonsense_is_taken_for_the_nearest_sense() {
        let backoff = Backoff { factor: f64::NAN, jitter: 9.0, ..Backoff::default() };
        for random in [0.0, 0.5, 1.0] {
            assert!(backoff.wait(3, random) <= Duration::from_secs(60));
        }
    }
}
