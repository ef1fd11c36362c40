//! The rows: who is compared in what, and which marks are to be met.

use ipa_bench::row::{Contender, Mark, Row, Unit};

use crate::pods::{self, Bare, Ours};

/// Ours, and the limit written by hand.
const fn pair(ours: fn() -> f64, bare: fn() -> f64) -> [Contender; 2] {
    [
        Contender { name: "ours", peer: false, measure: ours },
        Contender { name: "bare", peer: false, measure: bare },
    ]
}

pub const ROWS: &[Row] = &[
    Row {
        name: "pod-start",
        group: "pods",
        what: "start of a pod of four children, 64 in flight",
        unit: Unit::Micros,
        contenders: &pair(pods::start::<Ours>, pods::start::<Bare>),
        marks: &[Mark::AtMost(1.3)],
        long: false,
    },
    Row {
        name: "pod-start-alone",
        group: "pods",
        what: "the same, one caller",
        unit: Unit::Micros,
        contenders: &pair(pods::start_alone::<Ours>, pods::start_alone::<Bare>),
        marks: &[],
        long: false,
    },
    Row {
        name: "pod-bytes",
        group: "pods",
        what: "resident bytes of a pod of four children, of 10,000",
        unit: Unit::Bytes,
        contenders: &pair(pods::bytes::<Ours>, pods::bytes::<Bare>),
        marks: &[Mark::AtMost(1.2), Mark::Under(4000.0)],
        long: false,
    },
    Row {
        name: "pod-bytes-100k",
        group: "pods",
        what: "resident bytes of a pod of four children, of 100,000",
        unit: Unit::Bytes,
        contenders: &pair(pods::bytes_of_many::<Ours>, pods::bytes_of_many::<Bare>),
        marks: &[Mark::AtMost(1.2), Mark::Under(4000.0)],
        long: true,
    },
    Row {
        name: "pod-stop",
        group: "pods",
        what: "stop of a pod of four children, 64 in flight",
        unit: Unit::Micros,
        contenders: &pair(pods::stop::<Ours>, pods::stop::<Bare>),
        marks: &[Mark::AtMost(1.5)],
        long: false,
    },
];
