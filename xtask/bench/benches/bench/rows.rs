//! The rows: who is compared in what, and which marks are to be met.

use ipa_bench::row::Mark::{Against, AtLeast, AtMost, Under};
use ipa_bench::row::{Contender, Row, Unit};

use crate::{children, mailbox, names, pods, store};

/// A row of ours and of the limit written by hand.
macro_rules! row {
    ($name:literal, $group:literal, $what:literal, $unit:ident, $module:ident :: $measure:ident, [$($mark:expr),*]) => {
        row!(@ $name, $group, $what, $unit, $module::$measure, [$($mark),*], false, [])
    };
    ($name:literal, $group:literal, $what:literal, $unit:ident, $module:ident :: $measure:ident, [$($mark:expr),*], long) => {
        row!(@ $name, $group, $what, $unit, $module::$measure, [$($mark),*], true, [])
    };
    ($name:literal, $group:literal, $what:literal, $unit:ident, $module:ident :: $measure:ident, [$($mark:expr),*], with $($other:expr),*) => {
        row!(@ $name, $group, $what, $unit, $module::$measure, [$($mark),*], false, [$($other),*])
    };
    (@ $name:literal, $group:literal, $what:literal, $unit:ident, $module:ident :: $measure:ident, [$($mark:expr),*], $long:literal, [$($other:expr),*]) => {
        Row {
            name: $name,
            group: $group,
            what: $what,
            unit: Unit::$unit,
            contenders: &[
                Contender { name: "ours", peer: false, measure: $module::$measure::<$module::Ours> },
                Contender { name: "bare", peer: false, measure: $module::$measure::<$module::Bare> },
                $($other),*
            ],
            marks: &[$($mark),*],
            long: $long,
        }
    };
}

const DISK: Contender = Contender { name: "disk", peer: false, measure: store::disk };

pub const ROWS: &[Row] = &[
    row!(
        "pod-start",
        "pods",
        "start of a pod of four children, 64 in flight",
        Micros,
        pods::start,
        [AtMost(1.3)]
    ),
    row!("pod-start-alone", "pods", "the same, one caller", Micros, pods::start_alone, []),
    row!(
        "pod-stop",
        "pods",
        "stop of a pod of four children, 64 in flight",
        Micros,
        pods::stop,
        [AtMost(1.5)]
    ),
    row!(
        "pod-bytes",
        "pods",
        "resident bytes of a pod, of 10,000",
        Bytes,
        pods::bytes,
        [AtMost(1.2), Under(4000.0)]
    ),
    row!(
        "pod-bytes-100k",
        "pods",
        "resident bytes of a pod, of 100,000",
        Bytes,
        pods::bytes_of_many,
        [AtMost(1.2), Under(4000.0)],
        long
    ),
    row!(
        "child-start",
        "children",
        "start of a supervised child, 64 in flight",
        Micros,
        children::start,
        [AtMost(1.2)]
    ),
    row!(
        "child-bytes",
        "children",
        "resident bytes of a supervised child",
        Bytes,
        children::bytes,
        [AtMost(1.2)]
    ),
    row!(
        "restart-err",
        "children",
        "from an Err to the next run, median",
        Micros,
        children::restart_by_err,
        [AtMost(1.3)]
    ),
    row!(
        "restart-panic",
        "children",
        "from a panic to the next run, median",
        Micros,
        children::restart_by_panic,
        [AtMost(1.3)]
    ),
    row!(
        "restart-tail",
        "children",
        "99th percentile over the median, by Err",
        Times,
        children::restart_tail,
        [Under(3.0)]
    ),
    row!(
        "storm",
        "children",
        "10,000 panics at once until all run again",
        Millis,
        children::storm,
        [AtMost(1.3)]
    ),
    row!("lookup-100", "registry", "lookup among 100 names", Nanos, names::lookup_100, [AtMost(1.1)]),
    row!("lookup-100k", "registry", "lookup among 100,000 names", Nanos, names::lookup_100k, [AtMost(1.1)]),
    row!("lookup-100k-2", "registry", "the same, two threads", Nanos, names::lookup_100k_2, [AtMost(1.1)]),
    row!(
        "lookup-1m",
        "registry",
        "lookup among 1,000,000 names",
        Nanos,
        names::lookup_1m,
        [AtMost(1.1)],
        long
    ),
    row!("list", "registry", "list of 100,000 names", Millis, names::list, [AtMost(1.3)]),
    row!("register", "registry", "a name that comes and goes", Nanos, names::cycle, [AtMost(1.3)]),
    row!("call", "mailbox", "round trip of a question", Micros, mailbox::call, []),
    row!("cast", "mailbox", "statements", PerSecond, mailbox::cast, []),
    row!("append-1", "store", "events appended by 1 appender", PerSecond, store::append_1, [AtLeast(0.9)], with DISK),
    row!("append-16", "store", "events appended by 16 appenders", PerSecond, store::append_16, [AtLeast(0.85), Against("disk", 2.5)], with DISK),
    row!("append-256", "store", "events appended by 256 appenders", PerSecond, store::append_256, [AtLeast(0.85), Against("disk", 5.0)], with DISK),
    row!(
        "append-batches",
        "store",
        "events appended by 16 appenders, 100 an append",
        PerSecond,
        store::append_batches,
        [AtLeast(0.85)]
    ),
    row!("read", "store", "events read of a stream of 100,000", PerSecond, store::read, [AtLeast(0.9)]),
    row!("exists", "store", "whether a stream exists", Micros, store::exists, []),
];
