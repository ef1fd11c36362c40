//! The rows: who is compared in what, and which marks are to be met.

use ipa_bench::row::Mark::{Against, AtLeast, AtMost, Peers, Under};
use ipa_bench::row::Unit::{Bytes, Gigabytes, Micros, Millis, Nanos, PerSecond, Seconds, Times};
use ipa_bench::row::When::{Always, Asked, Full};
use ipa_bench::row::{Contender, Mark, Row, Run, Unit};

use crate::{children, elixir, mailbox, names, pods, store};

/// A contender, by the name of the type that does it.
macro_rules! contender {
    (Ours, $measure:expr) => {
        shown("ours", || Ok($measure))
    };
    (OurSupervisor, $measure:expr) => {
        shown("ours-supervisor", || Ok($measure))
    };
    (Bare, $measure:expr) => {
        shown("bare", || Ok($measure))
    };
    (Respawn, $measure:expr) => {
        shown("bare-respawn", || Ok($measure))
    };
    (Ractor, $measure:expr) => {
        peer("ractor", || Ok($measure))
    };
    (RactorSupervisor, $measure:expr) => {
        peer("ractor-supervisor", || Ok($measure))
    };
    (Kameo, $measure:expr) => {
        peer("kameo", || Ok($measure))
    };
    (TaskSupervisor, $measure:expr) => {
        peer("task-supervisor", || Ok($measure))
    };
    (TaskSupervisorInOrder, $measure:expr) => {
        shown("task-supervisor-ordered", || Ok($measure))
    };
    (Actix, $measure:expr) => {
        shown("actix", || Ok($measure))
    };
}

/// Who takes part in a measurement: those of one module, and the others after the semicolon.
macro_rules! contenders {
    ($module:ident::$measure:ident: $($who:ident)*; $($other:expr),*) => {
        &[$(contender!($who, $module::$measure::<$module::$who>()),)* $($other),*]
    };
}

type Measure = fn() -> ipa_bench::row::Numbers;

const fn peer(name: &'static str, measure: Measure) -> Contender {
    Contender { name, peer: true, measure }
}

/// One that is not among the peers that a mark speaks of.
const fn shown(name: &'static str, measure: Measure) -> Contender {
    Contender { name, peer: false, measure }
}

const fn row(name: &'static str, what: &'static str, unit: Unit, marks: &'static [Mark]) -> Row {
    Row { name, what, unit, marks }
}

/// Not slower than any, within what cannot be told apart.
const NOT_SLOWER: Mark = Peers(1.0 / 1.05);

pub const RUNS: &[Run] = &[
    Run {
        name: "pods",
        group: "pods",
        contenders: contenders!(
            pods::life: Ours Bare OurSupervisor Ractor RactorSupervisor Kameo TaskSupervisor TaskSupervisorInOrder Actix; shown("elixir", elixir::pods)
        ),
        rows: &[
            row(
                "pod-start",
                "start of a pod of four children, 64 in flight",
                Micros,
                &[AtMost(1.3), Peers(1.0), Against("elixir", 6.0)],
            ),
            row("pod-start-alone", "the same, one caller", Micros, &[]),
            row("pod-start-two", "the same, two callers", Micros, &[]),
            row(
                "pod-bytes",
                "resident bytes of a pod, of 10,000",
                Bytes,
                // Of the peers those that have a policy and names, as a pod has.
                &[
                    AtMost(1.2),
                    Under(4000.0),
                    Against("ractor", 1.0),
                    Against("ractor-supervisor", 1.0),
                    Against("kameo", 1.0),
                ],
            ),
            row(
                "pod-stop",
                "stop of a pod of four children, 64 in flight",
                Micros,
                &[AtMost(1.5), Peers(1.0)],
            ),
            row("pod-stop-alone", "the same, one caller", Micros, &[]),
            row("pod-stop-two", "the same, two callers", Micros, &[]),
        ],
        when: Always,
    },
    Run {
        name: "growth",
        group: "growth",
        contenders: contenders!(pods::growth: Ours Bare;),
        rows: &[
            row("growth-start-10k", "start among 10,000 pods over start among 1,000", Times, &[]),
            row(
                "growth-start-100k",
                "start among 100,000 pods over start among 1,000",
                Times,
                &[AtMost(1.2)],
            ),
            row("growth-stop-10k", "stop among 10,000 pods over stop among 1,000", Times, &[]),
            row("growth-stop-100k", "stop among 100,000 pods over stop among 1,000", Times, &[AtMost(1.2)]),
            row("growth-lookup-10k", "lookup among 10,000 pods over lookup among 1,000", Times, &[]),
            row(
                "growth-lookup-100k",
                "lookup among 100,000 pods over lookup among 1,000",
                Times,
                &[AtMost(1.2)],
            ),
            row(
                "pod-bytes-100k",
                "resident bytes of a pod, of 100,000",
                Bytes,
                &[AtMost(1.2), Under(4000.0)],
            ),
        ],
        when: Full,
    },
    Run {
        name: "million",
        group: "million",
        contenders: contenders!(pods::million: Ours Bare;),
        rows: &[
            row(
                "million-growth-start",
                "start among 1,000,000 pods over start among 1,000",
                Times,
                &[AtMost(1.2)],
            ),
            row(
                "million-growth-stop",
                "stop among 1,000,000 pods over stop among 1,000",
                Times,
                &[AtMost(1.2)],
            ),
            row(
                "million-growth-lookup",
                "lookup among 1,000,000 pods over lookup among 1,000",
                Times,
                &[AtMost(1.2)],
            ),
            row("million-up", "until 1,000,000 pods of four children are up", Seconds, &[Under(8.0)]),
            row("million-memory", "resident memory of 1,000,000 pods", Gigabytes, &[Under(4.0)]),
            row("million-down", "until 1,000,000 pods are gone", Seconds, &[]),
        ],
        when: Asked,
    },
    Run {
        name: "children",
        group: "children",
        contenders: contenders!(children::starts: Ours Bare Ractor RactorSupervisor Kameo TaskSupervisor Actix; shown("elixir", elixir::children)),
        rows: &[
            row(
                "child-start",
                "start of a supervised child, 64 in flight",
                Micros,
                &[AtMost(1.2), NOT_SLOWER],
            ),
            row("child-start-alone", "the same, one caller", Micros, &[]),
            row("child-start-two", "the same, two callers", Micros, &[]),
            row("child-bytes", "resident bytes of a supervised child", Bytes, &[AtMost(1.2), NOT_SLOWER]),
            row("child-stop", "stop of a supervised child, 64 in flight", Micros, &[]),
        ],
        when: Always,
    },
    Run {
        name: "restarts",
        group: "restarts",
        contenders: contenders!(children::restarts: Ours Bare Respawn Ractor RactorSupervisor Kameo TaskSupervisor Actix; shown("elixir", elixir::restarts)),
        rows: &[
            row("restart-err", "from an Err to the next run, median", Micros, &[AtMost(1.3), Peers(1.0)]),
            row("restart-err-99", "the same, 99th percentile", Micros, &[]),
            row("restart-err-tail", "the same, 99th percentile over the median", Times, &[Under(3.0)]),
            row("restart-panic", "from a panic to the next run, median", Micros, &[AtMost(1.3), Peers(1.0)]),
            row("restart-panic-99", "the same, 99th percentile", Micros, &[]),
            row("restart-panic-tail", "the same, 99th percentile over the median", Times, &[Under(3.0)]),
            row(
                "storm",
                "10,000 panics at once until all run again",
                Millis,
                &[AtMost(1.3), Peers(1.0), Against("elixir", 1.0)],
            ),
        ],
        when: Always,
    },
    Run {
        name: "names-100",
        group: "registry",
        contenders: contenders!(names::hundred: Ours Bare Ractor Kameo; shown("elixir", elixir::names_100)),
        rows: &[
            row("lookup-100", "lookup among 100 names", Nanos, &[AtMost(1.1), Peers(1.0)]),
            row("lookup-100-2", "the same, two threads, each as many", Nanos, &[AtMost(1.1), Peers(1.0)]),
        ],
        when: Always,
    },
    Run {
        name: "names-100k",
        group: "registry",
        contenders: contenders!(names::hundred_thousand: Ours Bare Ractor Kameo; shown("elixir", elixir::names_100k)),
        rows: &[
            row("lookup-100k", "lookup among 100,000 names", Nanos, &[AtMost(1.1), Peers(1.0)]),
            row("lookup-100k-2", "the same, two threads, each as many", Nanos, &[AtMost(1.1), Peers(1.0)]),
            row("list", "list of 100,000 names", Millis, &[AtMost(1.3), Peers(3.0)]),
            row("register", "a name that comes and goes, among 100,000", Nanos, &[AtMost(1.3), Peers(1.0)]),
            row("count", "count of 100,000 names", Nanos, &[Peers(1.0)]),
            row("count-growth", "the same, over count of 100", Times, &[Under(2.0)]),
        ],
        when: Always,
    },
    Run {
        name: "names-1m",
        group: "registry",
        contenders: contenders!(names::million: Ours Bare Kameo;),
        rows: &[
            row("lookup-1m", "lookup among 1,000,000 names", Nanos, &[AtMost(1.1)]),
            row("lookup-1m-2", "the same, two threads, each as many", Nanos, &[AtMost(1.1)]),
        ],
        when: Full,
    },
    Run {
        name: "mailbox",
        group: "mailbox",
        contenders: contenders!(mailbox::mail: Ours Bare Ractor Kameo;),
        rows: &[
            row("call", "round trip of a question", Micros, &[]),
            row("cast", "statements", PerSecond, &[]),
        ],
        when: Always,
    },
    Run {
        name: "appends",
        group: "store",
        contenders: contenders!(store::appends: Ours Bare; shown("disk", || Ok(store::disk())), shown("sqlite-es", store::sqlite_es_appends)),
        rows: &[
            row("append-1", "events appended by 1 appender", PerSecond, &[AtLeast(0.9)]),
            row(
                "append-16",
                "events appended by 16 appenders",
                PerSecond,
                &[AtLeast(0.85), Against("disk", 2.5), Against("sqlite-es", 2.0)],
            ),
            row(
                "append-256",
                "events appended by 256 appenders",
                PerSecond,
                &[AtLeast(0.85), Against("disk", 5.0), Against("sqlite-es", 4.0)],
            ),
            row("append-batches", "events appended by 16 appenders, 100 an append", PerSecond, &[]),
        ],
        when: Always,
    },
    Run {
        name: "reads",
        group: "store",
        contenders: contenders!(store::reads: Ours Bare; shown("sqlite-es", store::sqlite_es_reads)),
        rows: &[
            row(
                "read",
                "events read of a stream of 100,000",
                PerSecond,
                &[AtLeast(0.9), Against("sqlite-es", 5.0)],
            ),
            row("read-decoded", "the same, the data of each as a serde_json::Value", PerSecond, &[]),
            row("exists", "whether a stream exists, of 1,000", Micros, &[]),
            row("state-start", "start and stop of a state manager over 1,000 events", Micros, &[]),
        ],
        when: Always,
    },
    Run {
        name: "pods-stored",
        group: "store",
        contenders: contenders!(store::pods: Ours Bare;),
        rows: &[row(
            "pod-start-stored",
            "start of a pod whose stream exists, with a durable event, 256 in flight",
            PerSecond,
            &[AtLeast(0.8)],
        )],
        when: Always,
    },
];
