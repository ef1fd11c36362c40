//! Is a line flat? The judgement on memory and tasks over the last life.
//!
//! A leak grows with time; everything else wavers. So a straight line is laid through what was measured after the warm-up (least squares),
//! and what it rises by, over all of that time, has to stay within a tolerance that is wider than the wavering.

/// How long a life is left to warm up: tables, caches and the allocator find their sizes.
const WARM_UP_SECONDS: f64 = 60.0;

/// Less than this after the warm-up is not judged: the wavering would be.
const LEAST_SECONDS: f64 = 60.0;

/// A line, and what it was laid through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// From when to when, in seconds.
    pub from: f64,
    pub to: f64,
    /// The value in the middle.
    pub mean: f64,
    /// What the line rises by between the two; negative if it falls.
    pub rise: f64,
}

impl Trend {
    /// The line through what comes after the warm-up; `None` if that is too short to say anything.
    pub fn after_warm_up(points: &[(f64, f64)]) -> Option<Self> {
        let (first, last) = (points.first()?.0, points.last()?.0);
        let from = first + WARM_UP_SECONDS.max((last - first) / 4.0);
        if last - from < LEAST_SECONDS {
            return None;
        }
        let judged: Vec<_> = points.iter().filter(|(at, _)| *at >= from).collect();
        let many = judged.len() as f64;
        let mean_of = |of: fn(&(f64, f64)) -> f64| judged.iter().map(|point| of(point)).sum::<f64>() / many;
        let (at, mean) = (mean_of(|point| point.0), mean_of(|point| point.1));
        let spread: f64 = judged.iter().map(|point| (point.0 - at).powi(2)).sum();
        let slope = judged.iter().map(|point| (point.0 - at) * (point.1 - mean)).sum::<f64>() / spread;
        Some(Self { from, to: last, mean, rise: slope * (last - from) })
    }

    /// The line's value at a time.
    pub fn at(&self, time: f64) -> f64 {
        self.mean + self.rise * ((time - self.from) / (self.to - self.from) - 0.5)
    }

    /// Whether the rise is within `part` of the mean and `more`.
    pub fn is_flat(&self, part: f64, more: f64) -> bool {
        self.rise <= part * self.mean + more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..=400).map(|second| (f64::from(second), value(f64::from(second)))).collect()
    }

    #[test]
    fn a_leak_is_seen_among_the_wavering_and_the_warm_up_is_not_one() {
        let wavering = |second: f64| 100.0 + 5.0 * (second * 1.7).sin() - 80.0 * (-second / 10.0).exp();
        let flat = Trend::after_warm_up(&points(wavering)).unwrap();
        assert!(flat.rise.abs() < 1.0 && (flat.mean - 100.0).abs() < 1.0, "{flat:?}");
        assert!(flat.is_flat(0.05, 0.0));
        let leak = Trend::after_warm_up(&points(|second| wavering(second) + second / 10.0)).unwrap();
        assert!((leak.rise - 30.0).abs() < 1.0, "{leak:?}");
        assert!(!leak.is_flat(0.05, 0.0));
        assert!((leak.at(250.0) - 125.0).abs() < 1.5, "{}", leak.at(250.0));
    }

    #[test]
    fn too_short_a_time_is_not_judged() {
        assert_eq!(Trend::after_warm_up(&points(|_| 1.0)[..110]), None);
        assert_eq!(Trend::after_warm_up(&[]), None);
    }
}
