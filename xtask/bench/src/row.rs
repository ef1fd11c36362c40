//! What is compared, and which marks are to be met.

use serde::Serialize;

/// What is measured in one go, because it needs the same beginning: several rows, by the same contenders.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Its name: how a process is told what to measure.
    pub name: &'static str,
    /// The group whose plot its rows are in.
    pub group: &'static str,
    /// Who is compared: ours first, the limit written by hand second.
    pub contenders: &'static [Contender],
    /// What comes out, in the order of the numbers.
    pub rows: &'static [Row],
    /// When it takes part.
    pub when: When,
}

/// When a run takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// Not if it is to be quick.
    Full,
    /// Only if it is asked for by name.
    Asked,
}

/// One comparison.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name, such as `pod-start`; what `--only` looks for.
    pub name: &'static str,
    /// What is measured, for people.
    pub what: &'static str,
    /// The unit of the measurements.
    pub unit: Unit,
    /// What is to be met.
    pub marks: &'static [Mark],
}

/// What came out of a measurement: a number for each row, not a number where the contender cannot do it; or why it is not there at all.
pub type Numbers = std::result::Result<Vec<f64>, String>;

/// Who is measured.
#[derive(Debug, Clone, Copy)]
pub struct Contender {
    /// `ours`, `bare`, or the crate's name.
    pub name: &'static str,
    /// Whether it counts among the peers that a mark speaks of. Ours and the limit do not; one that does less than the others is shown
    /// and does not count.
    pub peer: bool,
    /// Measures it once; in the rows' units.
    pub measure: fn() -> Numbers,
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
    /// Seconds: less is better.
    Seconds,
    /// Gigabytes, of 10^9 bytes: less is better.
    Gigabytes,
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
            Self::Seconds => "s",
            Self::Gigabytes => "GB",
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
