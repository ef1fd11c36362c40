//! What a store counts of its own work: counters and histograms, for whoever exports them.
//!
//! Plain values that are read when somebody asks, and no exporter: a process may have several stores, and a global registry of
//! metrics would mix them up. Counting is one atomic addition on the writer's thread; nothing is allocated and nothing is locked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a store has done since it was opened; see [`SqliteEventStore::stats`](crate::SqliteEventStore::stats).
///
/// Each number is exact; they are read one after the other, so while writes go on one may be a little ahead of another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoreStats {
    /// Appends that stored events.
    pub appends: u64,
    /// The events that they stored.
    pub events: u64,
    /// Appends that were found stored already.
    pub duplicates: u64,
    /// Writes that lost against another: `Conflict` and `AlreadyExists`.
    pub conflicts: u64,
    /// Writes that were refused for another reason.
    pub refused: u64,
    /// Writes answered with `Indeterminate`.
    pub indeterminate: u64,
    /// Writes answered with `Unavailable` because their commit failed, or could not be begun.
    pub unavailable: u64,
    /// Transactions that were committed.
    pub commits: u64,
    /// Transactions that failed as a whole.
    pub failed_commits: u64,
    /// Times that the idle writer carried the log over. (Under load SQLite does so within a commit, which is not counted here.)
    pub idle_checkpoints: u64,
    /// How many writes a commit took in.
    pub group_size: Histogram,
    /// How many events a commit stored.
    pub group_events: Histogram,
    /// How long a commit took from its beginning to its sync, in microseconds.
    pub commit_time: Histogram,
    /// How long the oldest event of a page had been stored when a subscriber that was up to date got it, in microseconds.
    /// What a subscriber reads while it catches up is not counted.
    pub subscriber_lag: Histogram,
}

/// How values are spread, in buckets of powers of two: exact in count, sum and extremes, within a factor of two in between.
///
/// ```
/// use ipa_eventstore::Histogram;
///
/// let mut sizes = Histogram::default();
/// for size in [1, 2, 3, 100] {
///     sizes.record(size);
/// }
/// assert_eq!((sizes.count, sizes.max, sizes.mean()), (4, 100, Some(26.5)));
/// assert_eq!(sizes.quantile(0.5), Some(3)); // at most: 2 and 3 share a bucket
/// assert_eq!(sizes.quantile(1.0), Some(100));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Histogram {
    /// How many values there were.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The largest; 0 if there is none.
    pub max: u64,
    /// How many there were of 0, of 1, of 2 to 3, of 4 to 7, and so on; empty buckets at the end are left out.
    pub buckets: Vec<u64>,
}

impl Histogram {
    /// Adds a value.
    pub fn record(&mut self, value: u64) {
        let bucket = bucket(value);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
    }

    /// The mean; `None` without values.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// A value that this share of the values (0 to 1) does not exceed, at most twice as large as need be; `None` without values.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let wanted = (share.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0);
        let mut seen = 0;
        let within = self.buckets.iter().position(|count| {
            seen += count;
            seen as f64 >= wanted
        });
        within.map(|bucket| largest(bucket).min(self.max))
    }
}

/// Buckets for every `u64`.
const BUCKETS: usize = 65;

/// Bucket 0 is for 0, bucket n for values of n bits.
fn bucket(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()) as usize
}

/// The largest value of a bucket.
fn largest(bucket: usize) -> u64 {
    match bucket {
        0 => 0,
        1..64 => (1 << bucket) - 1,
        _ => u64::MAX,
    }
}

/// A counter that many may add to.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram that many may record in.
#[derive(Debug)]
pub(crate) struct Recorder {
    sum: AtomicU64,
    max: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Recorder {
    pub(crate) fn record(&self, value: u64) {
        self.buckets[bucket(value)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
        self.max.fetch_max(value, Ordering::Relaxed);
    }

    /// Records a time in microseconds.
    pub(crate) fn time(&self, time: Duration) {
        self.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn snapshot(&self) -> Histogram {
        let mut buckets: Vec<u64> =
            self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let used = buckets.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        buckets.truncate(used);
        Histogram {
            count: buckets.iter().sum(),
            sum: self.sum.load(Ordering::Relaxed),
            max: self.max.load(Ordering::Relaxed),
            buckets,
        }
    }
}

/// What a store counts while it is open.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) appends: Counter,
    pub(crate) events: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) refused: Counter,
    pub(crate) indeterminate: Counter,
    pub(crate) unavailable: Counter,
    pub(crate) commits: Counter,
    pub(crate) failed_commits: Counter,
    pub(crate) idle_checkpoints: Counter,
    pub(crate) group_size: Recorder,
    pub(crate) group_events: Recorder,
    pub(crate) commit_time: Recorder,
    pub(crate) subscriber_lag: Recorder,
}

impl Counts {
    pub(crate) fn snapshot(&self) -> StoreStats {
        StoreStats {
            appends: self.appends.get(),
            events: self.events.get(),
            duplicates: self.duplicates.get(),
            conflicts: self.conflicts.get(),
            refused: self.refused.get(),
            indeterminate: self.indeterminate.get(),
            unavailable: self.unavailable.get(),
            commits: self.commits.get(),
            failed_commits: self.failed_commits.get(),
            idle_checkpoints: self.idle_checkpoints.get(),
            group_size: self.group_size.snapshot(),
            group_events: self.group_events.snapshot(),
            commit_time: self.commit_time.snapshot(),
            subscriber_lag: self.subscriber_lag.snapshot(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_have_no_gap() {
        assert_eq!([0, 1, 2, 3, 4, 7, 8, u64::MAX].map(bucket), [0, 1, 2, 2, 3, 3, 4, 64]);
        for n in 0..BUCKETS - 1 {
            assert_eq!(bucket(largest(n)), n);
            assert_eq!(bucket(largest(n) + 1), n + 1);
        }
    }

    proptest! {
        #[test]
        fn quantiles_are_bounds(mut values in proptest::collection::vec(0_u64..100_000, 1..200), share in 0.0_f64..=1.0) {
            let recorder = Recorder::default();
            let mut histogram = Histogram::default();
            for value in &values {
                recorder.record(*value);
                histogram.record(*value);
            }
            prop_assert_eq!(&recorder.snapshot(), &histogram);
            values.sort_unstable();
            let exact = values[((share * values.len() as f64).ceil() as usize).clamp(1, values.len()) - 1];
            let bound = histogram.quantile(share).unwrap();
            prop_assert!(exact <= bound && bound <= exact.saturating_mul(2), "{} {}", exact, bound);
            prop_assert_eq!(histogram.quantile(1.0), values.last().copied());
        }
    }

    #[test]
    fn nothing_has_no_mean_and_no_quantile() {
        let nothing = Recorder::default().snapshot();
        assert_eq!((nothing.mean(), nothing.quantile(0.5)), (None, None));
        assert_eq!(nothing, Histogram::default());
    }
}
