//! Names: lookup, list, and an entry that comes and goes.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use ipa_registry::{Registration, Registry};

use crate::pods::bare::{Name, Names};
use crate::tool::name;

type Value = Arc<u64>;

/// Whoever keeps names.
pub trait Keeper: Sync + Sized {
    /// What an entry lives by.
    type Guard;
    fn new() -> Self;
    fn enter(&self, name: &Arc<str>, value: &Value) -> Self::Guard;
    fn lookup(&self, name: &str) -> Option<Value>;
    fn list(&self) -> Vec<(Arc<str>, Value)>;
}

pub struct Ours(Registry<Arc<str>, Value>);

impl Keeper for Ours {
    type Guard = Registration<Arc<str>, Value>;
    fn new() -> Self {
        Self(Registry::new())
    }
    fn enter(&self, name: &Arc<str>, value: &Value) -> Self::Guard {
        self.0.register(name.clone(), value.clone()).expect("the name is free")
    }
    fn lookup(&self, name: &str) -> Option<Value> {
        self.0.lookup(name)
    }
    fn list(&self) -> Vec<(Arc<str>, Value)> {
        self.0.list()
    }
}

pub struct Bare(Arc<Names<Value>>);

impl Keeper for Bare {
    type Guard = Name<Value>;
    fn new() -> Self {
        Self(Arc::new(Names::new()))
    }
    fn enter(&self, name: &Arc<str>, value: &Value) -> Self::Guard {
        self.0.take(name.clone(), value.clone()).expect("the name is free")
    }
    fn lookup(&self, name: &str) -> Option<Value> {
        self.0.get(name)
    }
    fn list(&self) -> Vec<(Arc<str>, Value)> {
        self.0.list()
    }
}

fn filled<K: Keeper>(count: usize) -> (K, Vec<Arc<str>>, Vec<K::Guard>) {
    let keeper = K::new();
    let names: Vec<Arc<str>> = (0..count).map(|n| name(n).into()).collect();
    let value = Arc::new(7);
    let guards = names.iter().map(|name| keeper.enter(name, &value)).collect();
    (keeper, names, guards)
}

/// Nanoseconds of a lookup among so many names, by so many threads at once.
fn lookup<K: Keeper>(count: usize, threads: usize) -> f64 {
    const LOOKUPS: usize = 1_000_000;
    let (keeper, names, _guards) = filled::<K>(count);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (keeper, names) = (&keeper, &names);
            scope.spawn(move || {
                // A stride that is prime to the count: no order that a cache could guess.
                let mut at = thread * 17;
                for _ in 0..LOOKUPS {
                    at = (at + 7_919) % names.len();
                    black_box(keeper.lookup(&names[at]));
                }
            });
        }
    });
    begun.elapsed().as_secs_f64() * 1e9 / LOOKUPS as f64
}

pub fn lookup_100<K: Keeper>() -> f64 {
    lookup::<K>(100, 1)
}

pub fn lookup_100k<K: Keeper>() -> f64 {
    lookup::<K>(100_000, 1)
}

pub fn lookup_100k_2<K: Keeper>() -> f64 {
    lookup::<K>(100_000, 2)
}

pub fn lookup_1m<K: Keeper>() -> f64 {
    lookup::<K>(1_000_000, 1)
}

/// Milliseconds to list 100,000 names with their values.
pub fn list<K: Keeper>() -> f64 {
    const LISTS: usize = 20;
    let (keeper, _, _guards) = filled::<K>(100_000);
    let begun = Instant::now();
    for _ in 0..LISTS {
        assert_eq!(black_box(keeper.list()).len(), 100_000);
    }
    begun.elapsed().as_secs_f64() * 1e3 / LISTS as f64
}

/// Nanoseconds for a name to come and go, among 100,000.
pub fn cycle<K: Keeper>() -> f64 {
    const CYCLES: usize = 500_000;
    let (keeper, _, _guards) = filled::<K>(100_000);
    let fresh: Vec<Arc<str>> = (0..1_000).map(|n| name(10_000_000 + n).into()).collect();
    let value = Arc::new(7);
    let begun = Instant::now();
    for n in 0..CYCLES {
        drop(black_box(keeper.enter(&fresh[n % fresh.len()], &value)));
    }
    begun.elapsed().as_secs_f64() * 1e9 / CYCLES as f64
}
