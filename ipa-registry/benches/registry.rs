//! The registry against a bare map: `RwLock<HashMap<_, _, FxBuildHasher>>`, in the same run.
//!
//! A ratio is what can be compared between machines, so that is what this prints: the registry's time over the bare
//! map's, below 1 where the registry is faster. The two are measured in turns, in several rounds, each first in every
//! other round; a ratio is the median of the rounds' ratios, a time the median of the rounds' times. Times are
//! nanoseconds of wall clock per operation of one thread, so with two threads twice as many operations were done in it.
//!
//! `cargo bench -p ipa-registry [-- --quick] [-- --json] [-- NAME]`, where NAME is a part of the rows' names.

use std::{
    collections::HashMap,
    env,
    hint::black_box,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use ipa_registry::{Registration, Registry};
use parking_lot::RwLock;
use rustc_hash::FxBuildHasher;

type Value = Arc<u64>;

/// What is compared: the registry, or the bare map in its place.
trait Subject: Sync + Sized {
    /// Whatever keeps the entries.
    type Guard;

    fn filled(keys: &[String]) -> (Self, Vec<Self::Guard>);
    fn lookup(&self, key: &str) -> Option<Value>;
    /// Puts an entry in and takes it out again.
    fn cycle(&self, key: &str, value: &Value);
    fn list(&self) -> Vec<(String, Value)>;
}

#[derive(Default)]
struct Bare(RwLock<HashMap<String, Value, FxBuildHasher>>);

impl Subject for Bare {
    type Guard = ();

    fn filled(keys: &[String]) -> (Self, Vec<()>) {
        let bare = Self::default();
        let values = (0..).map(Arc::new);
        bare.0.write().extend(keys.iter().cloned().zip(values));
        (bare, Vec::new())
    }

    fn lookup(&self, key: &str) -> Option<Value> {
        self.0.read().get(key).cloned()
    }

    fn cycle(&self, key: &str, value: &Value) {
        self.0.write().insert(key.to_owned(), Arc::clone(value));
        let removed = self.0.write().remove(key);
        drop(removed);
    }

    fn list(&self) -> Vec<(String, Value)> {
        let map = self.0.read();
        map.iter().map(|(key, value)| (key.clone(), Arc::clone(value))).collect()
    }
}

impl Subject for Registry<String, Value> {
    type Guard = Registration<String, Value>;

    fn filled(keys: &[String]) -> (Self, Vec<Self::Guard>) {
        let registry = Self::new();
        let register = |(key, value): (&String, u64)| registry.register(key.clone(), Arc::new(value));
        let guards = keys.iter().zip(0..).map(register).collect::<Result<_, _>>();
        let guards = guards.expect("the keys differ");
        (registry, guards)
    }

    fn lookup(&self, key: &str) -> Option<Value> {
        self.lookup(key)
    }

    fn cycle(&self, key: &str, value: &Value) {
        let registration = self.register(key.to_owned(), Arc::clone(value));
        drop(registration.expect("no other thread uses the key"));
    }

    fn list(&self) -> Vec<(String, Value)> {
        self.list()
    }
}

#[derive(Clone, Copy)]
enum Operation {
    Lookup,
    Cycle,
    List,
}

struct Case {
    operation: Operation,
    entries: usize,
    threads: usize,
}

impl Case {
    fn name(&self) -> String {
        let operation = match self.operation {
            Operation::Lookup => "lookup",
            Operation::Cycle => "register+drop",
            Operation::List => "list",
        };
        let threads = if self.threads == 1 { "1 thread" } else { "2 threads" };
        format!("{operation}, {} entries, {threads}", self.entries)
    }

    /// How many operations a thread does in one round.
    fn operations(&self, quick: bool) -> usize {
        let operations = match self.operation {
            Operation::Lookup => 1_000_000,
            Operation::Cycle => 300_000,
            Operation::List => 600_000 / self.entries,
        };
        if quick { (operations / 5).max(1) } else { operations }
    }

    /// Nanoseconds per operation.
    fn time<S: Subject>(&self, subject: &S, inputs: &Inputs, operations: usize) -> f64 {
        let barrier = Barrier::new(self.threads);
        let run = |thread: usize| {
            barrier.wait();
            let start = Instant::now();
            match self.operation {
                Operation::Lookup => {
                    for key in inputs.probes[thread].iter().cycle().take(operations) {
                        black_box(subject.lookup(key));
                    }
                }
                Operation::Cycle => {
                    let value = Arc::new(0);
                    for key in inputs.fresh[thread].iter().cycle().take(operations) {
                        subject.cycle(key, &value);
                    }
                }
                Operation::List => {
                    for _ in 0..operations {
                        black_box(subject.list());
                    }
                }
            }
            start.elapsed()
        };
        let slowest: Duration = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|thread| scope.spawn(move || run(thread))).collect();
            let times = threads.into_iter().map(|thread| thread.join().expect("no operation panics"));
            times.max().unwrap_or_default()
        });
        slowest.as_nanos() as f64 / operations as f64
    }

    fn run(&self, quick: bool) -> Row {
        let inputs = Inputs::new(self.entries);
        let (bare, _) = Bare::filled(&inputs.keys);
        let (registry, _guards) = Registry::filled(&inputs.keys);
        let operations = self.operations(quick);
        let rounds = if quick { 5 } else { 11 };
        let mut times = Vec::new();
        // The first round warms up and is not counted.
        for round in 0..=rounds {
            let first = (round % 2 == 0).then(|| self.time(&bare, &inputs, operations));
            let ours = self.time(&registry, &inputs, operations);
            let theirs = first.unwrap_or_else(|| self.time(&bare, &inputs, operations));
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
    fn new(entries: usize) -> Self {
        let mut random = Random(0x5eed);
        let keys: Vec<String> = (0..entries).map(|_| random.key()).collect();
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

    let kinds = [
        (Operation::Lookup, 100),
        (Operation::Lookup, 100_000),
        (Operation::Cycle, 100),
        (Operation::Cycle, 100_000),
        (Operation::List, 100_000),
    ];
    let cases = kinds
        .into_iter()
        .flat_map(|(operation, entries)| [1, 2].map(|threads| Case { operation, entries, threads }));
    let cases =
        cases.filter(|case| chosen.is_empty() || chosen.iter().any(|part| case.name().contains(*part)));

    if !json {
        println!(
            "{:<38} {:>13} {:>13} {:>7}  range",
            "nanoseconds an operation", "bare map", "registry", "ratio"
        );
    }
    let mut rows = Vec::new();
    for case in cases {
        let row = case.run(quick);
        if !json {
            println!(
                "{:<38} {:>13.1} {:>13.1} {:>7.2}  {:.2} to {:.2}",
                row.name, row.bare, row.registry, row.ratio, row.least, row.most
            );
        }
        rows.push(row);
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
