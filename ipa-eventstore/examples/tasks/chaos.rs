//! Panics on purpose: `--chaos P` has each child of each pod roll the dice once per attempt at a step.
//!
//! Apart, because nothing else should know when. Its one trick is that a roll depends on the seed, on who rolls and at which
//! attempt, and on nothing else: pods run side by side in any order, and the same seed still gives each child the same luck. A child
//! that has been struck and does the same again is not struck twice.

use std::collections::HashSet;

use ipa_supervisor::{Cause, ExitReason};
use parking_lot::Mutex;

use crate::digest::Digest;

/// How such a panic begins, so that it is known for what it is in logs and in the reasons of exits.
const WORD: &str = "chaos";

/// The dice of one run.
pub struct Chaos {
    probability: f64,
    seed: u64,
    struck: Mutex<HashSet<String>>,
}

impl Chaos {
    /// Dice that come up with this probability; 0 is never.
    pub fn new(probability: f64, seed: u64) -> Chaos {
        Chaos { probability, seed, struck: Mutex::default() }
    }

    /// Rolls the dice for a child of a task's pod, at an attempt: whether it is to panic now.
    pub fn strikes(&self, task: &str, child: &str, attempt: &str) -> bool {
        if self.probability == 0.0 {
            return false;
        }
        let roll = format!("{task}/{child}/{attempt}");
        let bits = Digest::of(&self.seed.to_le_bytes()).and(roll.as_bytes()).bits();
        unit(bits) < self.probability && self.struck.lock().insert(roll)
    }

    /// Rolls the dice, and panics.
    pub fn maybe_panic(&self, task: &str, child: &str, attempt: &str) {
        if self.strikes(task, child, attempt) {
            panic(child);
        }
    }
}

/// Panics in the name of chaos.
pub fn panic(child: &str) -> ! {
    panic!("{WORD} struck {child}")
}

/// Whether chaos brought a pod down: its supervisor gave up, and the last straw was a panic of ours.
pub fn is_to_blame(reason: &ExitReason) -> bool {
    match reason {
        ExitReason::Shutdown(Cause::Intensity(crash)) => is_to_blame(&crash.reason),
        ExitReason::Panicked(text) => text.starts_with(WORD),
        _ => false,
    }
}

/// Keeps chaos's panics out of stderr, where each would print a message and a hint at a backtrace. Others are printed as ever.
pub fn hush() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.payload_as_str().is_some_and(|text| text.starts_with(WORD)) {
            print(info);
        }
    }));
}

/// A number from 0 to 1 (exclusive), evenly, from bits that are mixed once more (murmur's finish): those of FNV are not even.
fn unit(bits: u64) -> f64 {
    let mut bits = bits;
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        bits = (bits ^ (bits >> 33)).wrapping_mul(factor);
    }
    bits ^= bits >> 33;
    // The 53 bits that a double holds exactly.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ipa_supervisor::LastCrash;

    use super::*;

    fn rolls(chaos: &Chaos, child: &str, count: usize) -> Vec<bool> {
        (0..count).map(|nth| chaos.strikes("task", child, &format!("step {nth}"))).collect()
    }

    #[test]
    fn it_strikes_as_often_as_it_should() {
        for probability in [0.05, 0.2, 0.5, 0.9] {
            let hits =
                rolls(&Chaos::new(probability, 7), "state", 20_000).into_iter().filter(|hit| *hit).count();
            let rate = hits as f64 / 20_000.0;
            assert!((rate - probability).abs() < 0.015, "{rate} for {probability}");
        }
        assert_eq!(rolls(&Chaos::new(0.0, 7), "state", 1000), [false; 1000]);
    }

    #[test]
    fn a_seed_gives_each_child_the_same_luck_in_whatever_order() {
        let (one, two) = (Chaos::new(0.5, 42), Chaos::new(0.5, 42));
        let (state, sync) = (rolls(&one, "state", 64), rolls(&one, "sync", 64));
        assert_eq!(rolls(&two, "sync", 64), sync);
        assert_eq!(rolls(&two, "state", 64), state);
        assert_ne!(state, sync);
        assert_ne!(rolls(&Chaos::new(0.5, 43), "state", 64), state);
    }

    #[test]
    fn nobody_is_struck_twice_at_one_attempt() {
        let chaos = Chaos::new(0.999_999, 1);
        assert!(chaos.strikes("task", "state", "a 1"));
        assert!(!chaos.strikes("task", "state", "a 1"));
        assert!(chaos.strikes("task", "state", "a 2"));
    }

    #[test]
    fn its_work_is_known_for_what_it_is() {
        let payload = std::panic::catch_unwind(|| panic("sync")).unwrap_err();
        let panicked = ExitReason::panicked(payload);
        assert!(is_to_blame(&panicked));
        let gave_up =
            |last: ExitReason| ExitReason::Shutdown(Cause::Intensity(Arc::new(LastCrash::new("sync", last))));
        assert!(is_to_blame(&gave_up(panicked)));
        assert!(!is_to_blame(&gave_up(ExitReason::failed("disk full"))));
        assert!(!is_to_blame(&ExitReason::Normal));
    }
}
