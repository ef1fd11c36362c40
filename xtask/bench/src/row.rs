//! What is compared, and which marks are to be met.

use serde::Serialize;

/// One comparison.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name, such as `pod-start`; what `--only` looks for.
    pub name: &'static str,
    /// The group whose plot it is in.
    pub group: &'static str,
    /// What is measured, for people.
    pub what: &'static str,
    /// The unit of the measurements.
    pub unit: Unit,
    /// Who is compared: ours first, the limit written by hand second.
    pub contenders: &'static [Contender],
    /// What is to be met.
    pub marks: &'static [Mark],
    /// Left out of a quick run.
    pub long: bool,
}

/// Who is measured.
#[derive(Debug, Clone, Copy)]
pub struct Contender {
    /// `ours`, `bare`, or the crate's name.
    pub name: &'static str,
    /// Whether it counts among the peers that a mark speaks of. Ours and the limit do not; one that does less than the others is shown
    /// and does not count.
    pub peer: bool,
    /// Measures it once; in the row's unit.
    pub measure: fn() -> f64,
}

/// The unit of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Microseconds: less is better.
    Micros,
    /// Nanoseconds: less is better.
    Nanos,
    /// Milliseconds: less is better.
    Millis,
    /// Bytes: less is better.
    Bytes,
    /// A ratio: less is better.
    Times,
    /// So many a second: more is better.
    PerSecond,
}

impl Unit {
    /// Its sign.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Micros => "us",
            Self::Nanos => "ns",
            Self::Millis => "ms",
            Self::Bytes => "B",
            Self::Times => "x",
            Self::PerSecond => "/s",
        }
    }

    /// Whether more is better.
    pub fn more_is_better(self) -> bool {
        self == Self::PerSecond
    }
}

/// What is to be met, by the median of the rounds' ratios.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mark {
    /// Ours is at most so many times the limit's: of a time or of bytes.
    AtMost(f64),
    /// Ours is at least this share of the limit's: of a rate.
    AtLeast(f64),
    /// Ours is less than this, in the row's unit.
    Under(f64),
    /// Ours is so many times better than every peer that was measured: 1.0 is not worse than any.
    Peers(f64),
    /// Ours is so many times better than this contender.
    Against(&'static str, f64),
}
