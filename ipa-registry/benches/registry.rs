//! The registry against a bare map in the same run: unique keys against `RwLock<HashMap<_, _, FxBuildHasher>>`, groups
//! against such a map of `BTreeMap`s.
//!
//! A ratio is what can be compared between machines, so that is what this prints: the registry's time over the bare
//! map's, below 1 where the registry is faster. The two are measured in turns, in several rounds, each first in every
//! other round; a ratio is the median of the rounds' ratios, a time the median of the rounds' times. Times are
//! nanoseconds of wall clock per operation of one thread, so with two threads twice as many operations were done in it.
//!
//! `cargo bench -p ipa-registry [-- --quick] [-- --json] [-- NAME]`, where NAME is a part of the rows' names.

use std::{
    collections::{BTreeMap, HashMap},
    env,
    hint::black_box,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use ipa_registry::{Groups, Membership, Registration, Registry};
use parking_lot::RwLock;
use rustc_hash::FxBuildHasher;

type Value = Arc<u64>;

/// What is compared: the registry, or the bare map in its place.
trait Subject<O>: Sync + Sized {
    /// Whatever keeps the entries.
    type Guard;

    /// With an entry for each key; in groups, keys come again.
    fn filled(keys: &[String]) -> (Self, Vec<Self::Guard>);

    /// Does it once with each of the keys. Not key by key, so that the choice of what to do is not in what is measured.
    fn perform<'a>(&self, operation: O, keys: impl Iterator<Item = &'a String>, value: &Value);
}

trait Operation: Copy + Sync {
    fn name(self) -> &'static str;

    /// How many times a thread does it in one round, when there are so many entries.
    fn repetitions(self, entries: usize) -> usize;

    /// Whether it is done with keys that no other thread uses and that are not in the map, or with those that are.
    fn with_fresh_keys(self) -> bool;
}

/// What is done with unique keys.
#[derive(Clone, Copy, PartialEq)]
enum Unique {
    Lookup,
    /// An entry is put in and taken out again.
    Cycle,
    List,
}

impl Operation for Unique {
    fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Cycle => "register+drop",
            Self::List => "list",
        }
    }

    fn repetitions(self, entries: usize) -> usize {
        match self {
            Self::Lookup => 1_000_000,
            Self::Cycle => 300_000,
            Self::List => 600_000 / entries,
        }
    }

    fn with_fresh_keys(self) -> bool {
        self == Self::Cycle
    }
}

#[derive(Default)]
struct Bare(RwLock<HashMap<String, Value, FxBuildHasher>>);

impl Subject<Unique> for Bare {
    type Guard = ();

    fn filled(keys: &[String]) -> (Self, Vec<()>) {
        let bare = Self::default();
        let values = (0..).map(Arc::new);
        bare.0.write().extend(keys.iter().cloned().zip(values));
        (bare, Vec::new())
    }

    fn perform<'a>(&self, operation: Unique, keys: impl Iterator<Item = &'a String>, value: &Value) {
        match operation {
            Unique::Lookup => keys.for_each(|key| {
                // Not in one expression: the lock would be held until the value is dropped.
                let found = self.0.read().get(key).cloned();
                black_box(found);
            }),
            Unique::Cycle => keys.for_each(|key| {
                self.0.write().insert(key.clone(), Arc::clone(value));
                let removed = self.0.write().remove(key);
                drop(removed);
            }),
            Unique::List => keys.for_each(|_| {
                let clones = |(key, value): (&String, &Value)| (key.clone(), Arc::clone(value));
                let all: Vec<_> = self.0.read().iter().map(clones).collect();
                black_box(all);
            }),
        }
    }
}

impl Subject<Unique> for Registry<String, Value> {
    type Guard = Registration<String, Value>;

    fn filled(keys: &[String]) -> (Self, Vec<Self::Guard>) {
        let registry = Self::new();
        let register = |(key, value): (&String, u64)| registry.register(key.clone(), Arc::new(value));
        let guards = keys.iter().zip(0..).map(register).collect::<Result<_, _>>();
        let guards = guards.expect("the keys differ");
        (registry, guards)
    }

    fn perform<'a>(&self, operation: Unique, keys: impl Iterator<Item = &'a String>, value: &Value) {
        match operation {
            Unique::Lookup => keys.for_each(|key| {
                black_box(self.lookup(key));
            }),
            Unique::Cycle => keys.for_each(|key| {
                let registration = self.register(key.clone(), Arc::clone(value));
                drop(registration.expect("no other thread uses the key"));
            }),
            Unique::List => keys.for_each(|_| {
                black_box(self.list());
            }),
        }
    }
}

/// What is done with groups.
#[derive(Clone, Copy)]
enum Grouped {
    /// A member joins a group that has others, and leaves it again.
    Cycle,
    Members,
    /// To callbacks that do next to nothing; the bare map calls them under its lock.
    Dispatch,
}

impl Operation for Grouped {
    fn name(self) -> &'static str {
        match self {
            Self::Cycle => "join+leave",
            Self::Members => "members",
            Self::Dispatch => "dispatch",
        }
    }

    fn repetitions(self, _entries: usize) -> usize {
        match self {
            Self::Cycle => 300_000,
            Self::Members | Self::Dispatch => 30_000,
        }
    }

    fn with_fresh_keys(self) -> bool {
        false
    }
}

#[derive(Default)]
struct BareGroups(RwLock<HashMap<String, BTreeMap<u64, Value>, FxBuildHasher>>);

impl BareGroups {
    fn join(&self, key: &str, value: Value) -> u64 {
        let mut map = self.0.write();
        let members = map.entry(key.to_owned()).or_default();
        let id = members.last_key_value().map_or(0, |(last, _)| last + 1);
        members.insert(id, value);
        id
    }
}

impl Subject<Grouped> for BareGroups {
    type Guard = ();

    fn filled(keys: &[String]) -> (Self, Vec<()>) {
        let bare = Self::default();
        for (key, value) in keys.iter().zip(0..) {
            bare.join(key, Arc::new(value));
        }
        (bare, Vec::new())
    }

    fn perform<'a>(&self, operation: Grouped, keys: impl Iterator<Item = &'a String>, value: &Value) {
        match operation {
            Grouped::Cycle => keys.for_each(|key| {
                let id = self.join(key, Arc::clone(value));
                let left = self.0.write().get_mut(key).and_then(|members| members.remove(&id));
                drop(left);
            }),
            Grouped::Members => keys.for_each(|key| {
                let clones = |members: &BTreeMap<_, _>| members.values().cloned().collect::<Vec<_>>();
                let found = self.0.read().get(key).map(clones);
                black_box(found);
            }),
            Grouped::Dispatch => keys.for_each(|key| {
                for value in self.0.read().get(key).into_iter().flat_map(BTreeMap::values) {
                    black_box(value);
                }
            }),
        }
    }
}

impl Subject<Grouped> for Groups<String, Value> {
    type Guard = Membership<String, Value>;

    fn filled(keys: &[String]) -> (Self, Vec<Self::Guard>) {
        let groups = Self::new();
        let join = |(key, value): (&String, u64)| groups.join(key.clone(), Arc::new(value));
        let guards = keys.iter().zip(0..).map(join).collect();
        (groups, guards)
    }

    fn perform<'a>(&self, operation: Grouped, keys: impl Iterator<Item = &'a String>, value: &Value) {
        match operation {
            Grouped::Cycle => keys.for_each(|key| drop(self.join(key.clone(), Arc::clone(value)))),
            Grouped::Members => keys.for_each(|key| {
                black_box(self.members(key));
            }),
            Grouped::Dispatch => keys.for_each(|key| {
                self.dispatch(key, |value| {
                    black_box(value);
                });
            }),
        }
    }
}

struct Case<O> {
    operation: O,
    keys: usize,
    entries_per_key: usize,
    threads: usize,
}

impl<O: Operation> Case<O> {
    fn name(&self) -> String {
        let operation = self.operation.name();
        let size = match (self.keys, self.entries_per_key) {
            (keys, 1) => format!("{keys} entries"),
            (1, members) => format!("1 group of {members}"),
            (keys, members) => format!("{keys} groups of {members}"),
        };
        let threads = if self.threads == 1 { "1 thread" } else { "2 threads" };
        format!("{operation}, {size}, {threads}")
    }

    /// Nanoseconds per operation.
    fn time<S: Subject<O>>(&self, subject: &S, inputs: &Inputs, repetitions: usize) -> f64 {
        let barrier = Barrier::new(self.threads);
        let keys = if self.operation.with_fresh_keys() { &inputs.fresh } else { &inputs.probes };
        let run = |thread: usize| {
            let value = Arc::new(0);
            barrier.wait();
            let start = Instant::now();
            subject.perform(self.operation, keys[thread].iter().cycle().take(repetitions), &value);
            start.elapsed()
        };
        let slowest: Duration = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|thread| scope.spawn(move || run(thread))).collect();
            let times = threads.into_iter().map(|thread| thread.join().expect("no operation panics"));
            times.max().unwrap_or_default()
        });
        slowest.as_nanos() as f64 / repetitions as f64
    }

    fn run<B: Subject<O>, R: Subject<O>>(&self, quick: bool) -> Row {
        let inputs = Inputs::new(self.keys, self.entries_per_key);
        let (bare, _guards) = B::filled(&inputs.keys);
        let (registry, _guards) = R::filled(&inputs.keys);
        let repetitions = self.operation.repetitions(inputs.keys.len());
        let repetitions = if quick { (repetitions / 5).max(1) } else { repetitions };
        let rounds = if quick { 5 } else { 11 };
        let mut times = Vec::new();
        // The first round warms up and is not counted.
        for round in 0..=rounds {
            let first = (round % 2 == 0).then(|| self.time(&bare, &inputs, repetitions));
            let ours = self.time(&registry, &inputs, repetitions);
            let theirs = first.unwrap_or_else(|| self.time(&bare, &inputs, repetitions));
            if round > 0 {
                times.push((theirs, ours));
            }
        }
        let ratios: Vec<f64> = times.iter().map(|(theirs, ours)| ours / theirs).collect();
        Row {
            name: self.name(),
            bare: median(times.iter().map(|(theirs, _)| *theirs)),
            registry: median(times.iter().map(|(_, ours)| *ours)),
            ratio: median(ratios.iter().copied()),
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            most: ratios.iter().copied().fold(0.0, f64::max),
        }
    }
}

struct Row {
    name: String,
    bare: f64,
    registry: f64,
    ratio: f64,
    least: f64,
    most: f64,
}

/// The keys of a case: what is in the map, what each thread looks up, what each thread puts in.
struct Inputs {
    keys: Vec<String>,
    probes: [Vec<String>; 2],
    fresh: [Vec<String>; 2],
}

impl Inputs {
    fn new(keys: usize, entries_per_key: usize) -> Self {
        let mut random = Random(0x5eed);
        let entries = keys * entries_per_key;
        let distinct: Vec<String> = (0..keys).map(|_| random.key()).collect();
        let keys: Vec<String> = distinct.iter().cycle().take(entries).cloned().collect();
        let mut probes = || {
            let chosen = (0..entries.max(1000)).map(|_| keys[random.next() as usize % entries].clone());
            chosen.collect::<Vec<_>>()
        };
        let probes = [probes(), probes()];
        let mut fresh = || (0..1000).map(|_| random.key()).collect::<Vec<_>>();
        let fresh = [fresh(), fresh()];
        Self { keys, probes, fresh }
    }
}

/// SplitMix64: the same keys in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A key in the shape of a UUID: 36 characters.
    fn key(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        let key = format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        );
        assert_eq!(key.len(), 36);
        key
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let json = arguments.iter().any(|argument| argument == "--json");
    // `--bench` comes from cargo; what is no option chooses rows.
    let chosen: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();

    let chosen = |name: &String| chosen.is_empty() || chosen.iter().any(|part| name.contains(*part));

    if !json {
        println!(
            "{:<42} {:>13} {:>13} {:>7}  range",
            "nanoseconds an operation", "bare map", "registry", "ratio"
        );
    }
    let mut rows = Vec::new();
    let mut report = |row: Row| {
        if !json {
            println!(
                "{:<42} {:>13.1} {:>13.1} {:>7.2}  {:.2} to {:.2}",
                row.name, row.bare, row.registry, row.ratio, row.least, row.most
            );
        }
        rows.push(row);
    };

    let unique = [
        (Unique::Lookup, 100),
        (Unique::Lookup, 100_000),
        (Unique::Cycle, 100),
        (Unique::Cycle, 100_000),
        (Unique::List, 100_000),
    ];
    for (operation, keys) in unique {
        for threads in [1, 2] {
            let case = Case { operation, keys, entries_per_key: 1, threads };
            if chosen(&case.name()) {
                report(case.run::<Bare, Registry<_, _>>(quick));
            }
        }
    }
    let grouped = [
        (Grouped::Cycle, 100, 100),
        (Grouped::Cycle, 1, 100_000),
        (Grouped::Members, 100, 100),
        (Grouped::Dispatch, 100, 100),
    ];
    for (operation, keys, entries_per_key) in grouped {
        for threads in [1, 2] {
            let case = Case { operation, keys, entries_per_key, threads };
            if chosen(&case.name()) {
                report(case.run::<BareGroups, Groups<_, _>>(quick));
            }
        }
    }

    if json {
        let objects = rows.iter().map(|row| {
            format!(
                r#"  {{"name": "{}", "bare_ns": {:.1}, "registry_ns": {:.1}, "ratio": {:.3}, "least": {:.3}, "most": {:.3}}}"#,
                row.name, row.bare, row.registry, row.ratio, row.least, row.most
            )
        });
        println!("[\n{}\n]", objects.collect::<Vec<_>>().join(",\n"));
    }
}
