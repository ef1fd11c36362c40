//! Names: lookup, list, count, and an entry that comes and goes.

mod kameo;
mod ractor;

use std::future::Future;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;

use ipa_registry::{Registration, Registry};

pub use self::kameo::Kameo;
pub use self::ractor::Ractor;
use crate::pods::bare::{Name, Names};
use crate::tool::{CANNOT, block_on, name, repeated, some};

/// Whoever keeps names.
pub trait Keeper: Sync + Sized {
    /// What a name leads to.
    type Value;
    /// With these names.
    fn filled(names: &[Arc<str>]) -> impl Future<Output = Self> + Send;
    fn lookup(&self, name: &str) -> Option<Self::Value>;
    fn list(&self) -> Vec<(impl AsRef<str>, Self::Value)>;
    /// Enters the name and takes it out again; `false` if that cannot be done without starting something.
    fn cycle(&self, name: &Arc<str>) -> bool;
    /// How many there are, if that can be asked.
    fn count(&self) -> Option<usize>;
}

type Value = Arc<Apart>;

/// What a name leads to: each of its own, and on cache lines of its own. Two threads that count references to one, or to two that are
/// next to each other, wait for each other, and which names' values are next to each other is an accident of the heap.
#[repr(align(128))]
pub struct Apart(#[expect(dead_code, reason = "nobody looks at it")] u64);

fn values() -> impl Iterator<Item = Value> {
    (0..).map(|n| Arc::new(Apart(n)))
}

pub struct Ours(
    Registry<Arc<str>, Value>,
    #[expect(dead_code, reason = "names live by it")] Vec<Registration<Arc<str>, Value>>,
    Value,
);

impl Keeper for Ours {
    type Value = Value;
    async fn filled(names: &[Arc<str>]) -> Self {
        let registry = Registry::new();
        let enter = |(name, value): (&Arc<str>, Value)| {
            registry.register(name.clone(), value).expect("the name is free")
        };
        let entered = names.iter().zip(values()).map(enter).collect();
        Self(registry, entered, Arc::new(Apart(7)))
    }
    fn lookup(&self, name: &str) -> Option<Value> {
        self.0.lookup(name)
    }
    fn list(&self) -> Vec<(impl AsRef<str>, Value)> {
        self.0.list()
    }
    fn cycle(&self, name: &Arc<str>) -> bool {
        self.0.register(name.clone(), self.2.clone()).is_ok()
    }
    fn count(&self) -> Option<usize> {
        Some(self.0.count())
    }
}

pub struct Bare(
    Names<Arc<str>, Value>,
    #[expect(dead_code, reason = "names live by it")] Vec<Name<Arc<str>, Value>>,
    Value,
);

impl Keeper for Bare {
    type Value = Value;
    async fn filled(names: &[Arc<str>]) -> Self {
        let all = Names::new();
        let enter =
            |(name, value): (&Arc<str>, Value)| all.take(name.clone(), value).expect("the name is free");
        let entered = names.iter().zip(values()).map(enter).collect();
        Self(all, entered, Arc::new(Apart(7)))
    }
    fn lookup(&self, name: &str) -> Option<Value> {
        self.0.get(name)
    }
    fn list(&self) -> Vec<(impl AsRef<str>, Value)> {
        self.0.list()
    }
    fn cycle(&self, name: &Arc<str>) -> bool {
        self.0.take(name.clone(), self.2.clone()).is_some()
    }
    fn count(&self) -> Option<usize> {
        Some(self.0.count())
    }
}

/// What is entered.
fn names(which: Range<usize>) -> Vec<Arc<str>> {
    which.map(|n| name(n).into()).collect()
}

/// What is asked for: not the memory that the keeper has, which would be in the cache when it compares.
fn questions(which: Range<usize>) -> Vec<String> {
    which.map(name).collect()
}

/// Nanoseconds of a lookup, by so many threads at once.
fn lookup<K: Keeper>(keeper: &K, names: &[String], threads: usize) -> f64 {
    let lookups = some(60_000);
    let mut at: Vec<usize> = (0..threads).map(|thread| thread * 17).collect();
    let all = || {
        std::thread::scope(|scope| {
            for at in &mut at {
                scope.spawn(move || {
                    // A stride that is prime to the count: no order that a cache could guess. It goes on where it was left.
                    for _ in 0..lookups {
                        *at = (*at + 7_919) % names.len();
                        assert!(black_box(keeper.lookup(&names[*at])).is_some());
                    }
                });
            }
        });
    };
    repeated(all) * 1e9 / lookups as f64
}

/// Nanoseconds of a lookup by one thread, and by two.
fn lookups<K: Keeper>(count: usize) -> Vec<f64> {
    block_on(async {
        let (keeper, asked) = (K::filled(&names(0..count)).await, questions(0..count));
        vec![lookup(&keeper, &asked, 1), lookup(&keeper, &asked, 2)]
    })
}

pub fn hundred<K: Keeper>() -> Vec<f64> {
    lookups::<K>(100)
}

pub fn million<K: Keeper>() -> Vec<f64> {
    lookups::<K>(1_000_000)
}

/// Among 100,000: nanoseconds of a lookup by one thread and by two; milliseconds of a list; nanoseconds for a name to come and go, and
/// of a count; how many times longer that takes than among 100.
pub fn hundred_thousand<K: Keeper>() -> Vec<f64> {
    block_on(async {
        let few = K::filled(&names(0..100)).await;
        let of_few = counting(&few);
        drop(few);
        let which = 100..100_100;
        let (keeper, asked) = (K::filled(&names(which.clone())).await, questions(which));
        let (one, two) = (lookup(&keeper, &asked, 1), lookup(&keeper, &asked, 2));
        let of_many = counting(&keeper);
        vec![one, two, list(&keeper), cycle(&keeper), of_many, of_many / of_few]
    })
}

fn list<K: Keeper>(keeper: &K) -> f64 {
    repeated(|| assert!(black_box(keeper.list()).len() >= 100_000)) * 1e3
}

fn cycle<K: Keeper>(keeper: &K) -> f64 {
    let fresh = names(10_000_000..10_001_000);
    if !keeper.cycle(&fresh[0]) {
        return CANNOT;
    }
    let all = || fresh.iter().for_each(|name| assert!(keeper.cycle(name)));
    repeated(all) * 1e9 / fresh.len() as f64
}

fn counting<K: Keeper>(keeper: &K) -> f64 {
    const COUNTS: usize = 10_000;
    if keeper.count().is_none() {
        return CANNOT;
    }
    let all = || {
        for _ in 0..COUNTS {
            black_box(black_box(keeper).count());
        }
    };
    repeated(all) * 1e9 / COUNTS as f64
}
