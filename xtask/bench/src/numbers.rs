//! From measurements to ratios.

use crate::row::{Mark, Unit};

/// A median and its range.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The smallest.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The largest.
    pub high: f64,
}

impl Spread {
    /// Of these numbers; `None` of none.
    pub fn of(numbers: &[f64]) -> Option<Self> {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        Some(Self { low, median, high })
    }
}

/// Ours over another's, round by round.
pub fn ratios(ours: &[f64], other: &[f64]) -> Vec<f64> {
    ours.iter().zip(other).map(|(ours, other)| ours / other).collect()
}

/// How a mark came out.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Outcome {
    /// What was asked, for people.
    pub asked: String,
    /// What came out; `None` if what it speaks of was not measured.
    pub found: Option<Spread>,
    /// Whether it is met. `None`: it speaks of others than the limit, who were not there; without the limit, or ours, it is not met.
    pub met: Option<bool>,
}

/// The measurements of a contender, one a round.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Its name.
    pub name: &'static str,
    /// Whether it counts among the peers.
    pub peer: bool,
    /// The rounds.
    pub rounds: Vec<f64>,
}

/// Judges a mark. The first of the measured is ours, the second the limit.
pub fn judge(mark: Mark, unit: Unit, measured: &[Measured]) -> Outcome {
    let ours = measured.first().map_or(&[][..], |ours| &ours.rounds);
    let limit = measured.get(1).map_or(&[][..], |limit| &limit.rounds);
    // How many times better ours is.
    let better = |other: &[f64]| match unit.more_is_better() {
        true => ratios(ours, other),
        false => ratios(other, ours),
    };
    let outcome = |asked: String, found: Option<Spread>, met: fn(f64, f64) -> bool, bound: f64| Outcome {
        asked,
        found,
        met: found.map(|found| met(found.median, bound)),
    };
    let needed = |asked: String, found: Option<Spread>, met: fn(f64, f64) -> bool, bound: f64| {
        let outcome = outcome(asked, found, met, bound);
        Outcome { met: Some(outcome.met == Some(true)), ..outcome }
    };
    // Of a bound such as 1 / 1.05 nobody wants to read all digits.
    let times = |bound: f64| (bound * 100.0).round() / 100.0;
    match mark {
        Mark::AtMost(bound) => {
            let found = Spread::of(&ratios(ours, limit));
            needed(format!("at most {bound} x the limit"), found, |found, bound| found <= bound, bound)
        }
        Mark::AtLeast(bound) => {
            let found = Spread::of(&ratios(ours, limit));
            needed(format!("at least {bound} x the limit"), found, |found, bound| found >= bound, bound)
        }
        Mark::Under(bound) => {
            let asked = format!("under {bound} {}", unit.sign());
            needed(asked, Spread::of(ours), |found, bound| found < bound, bound)
        }
        Mark::Peers(bound) => {
            let peers = measured.iter().filter(|contender| contender.peer);
            let nearest = peers
                .filter_map(|peer| Spread::of(&better(&peer.rounds)).map(|spread| (peer.name, spread)))
                .min_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
            let asked = match nearest {
                Some((name, _)) => format!("{} x every peer (nearest: {name})", times(bound)),
                None => format!("{} x every peer", times(bound)),
            };
            outcome(asked, nearest.map(|(_, spread)| spread), |found, bound| found >= bound, bound)
        }
        Mark::Against(name, bound) => {
            let other = measured.iter().find(|contender| contender.name == name);
            let found = other.and_then(|other| Spread::of(&better(&other.rounds)));
            outcome(format!("{bound} x {name}"), found, |found, bound| found >= bound, bound)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &'static str, peer: bool, rounds: &[f64]) -> Measured {
        Measured { name, peer, rounds: rounds.to_vec() }
    }

    #[test]
    fn medians_of_odd_and_even() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { low: 1.0, median: 2.0, high: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(Spread::of(&[]), None);
    }

    /// The median of the ratios, and not the ratio of the medians: a slow round is slow for both.
    #[test]
    fn ratios_are_made_round_by_round() {
        let all = [measured("ours", false, &[1.0, 20.0, 3.0]), measured("bare", false, &[1.0, 10.0, 1.0])];
        let outcome = judge(Mark::AtMost(2.0), Unit::Micros, &all);
        assert_eq!(outcome.found, Some(Spread { low: 1.0, median: 2.0, high: 3.0 }));
        assert_eq!(outcome.met, Some(true));
        assert_eq!(judge(Mark::AtMost(1.9), Unit::Micros, &all).met, Some(false));
        assert_eq!(judge(Mark::Under(3.0), Unit::Micros, &all).met, Some(false));
    }

    #[test]
    fn the_nearest_peer_decides_whichever_way_is_better() {
        let all = [
            measured("ours", false, &[10.0]),
            measured("bare", false, &[5.0]),
            measured("slow", true, &[40.0]),
            measured("quick", true, &[12.0]),
            measured("shown", false, &[1.0]),
        ];
        let times = judge(Mark::Peers(1.1), Unit::Micros, &all);
        assert!(times.asked.contains("quick") && times.met == Some(true), "{times:?}");
        let rates = judge(Mark::Peers(1.0), Unit::PerSecond, &all);
        assert!(rates.asked.contains("slow") && rates.met == Some(false), "{rates:?}");
        assert_eq!(judge(Mark::Against("slow", 3.0), Unit::Micros, &all).met, Some(true));
        assert_eq!(judge(Mark::Against("nobody", 3.0), Unit::Micros, &all).met, None);
    }
}
