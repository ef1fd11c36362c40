//! What measurements share: a runtime, many at once, resident memory.

use std::future::Future;
use std::ops::Range;
use std::time::{Duration, Instant};

use ipa_bench::numbers::Spread;
use ipa_bench::round::QUICK;

/// A runtime as everybody here gets it: two workers.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built")
        .block_on(future)
}

/// Does something with each of a range, so many at a time, each on a task of the callers': microseconds for each,
/// and what came of them, caller by caller.
pub async fn each<F, R>(
    range: Range<usize>,
    in_flight: usize,
    make: impl Fn(usize) -> F + Clone + Send + 'static,
) -> (f64, Vec<Vec<R>>)
where
    F: Future<Output = R> + Send,
    R: Send + 'static,
{
    let count = range.len();
    let begun = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..in_flight.min(count) {
        let (make, range) = (make.clone(), range.clone());
        callers.spawn(async move {
            let mut results = Vec::with_capacity(count.div_ceil(in_flight));
            for n in range.skip(caller).step_by(in_flight) {
                results.push(make(n).await);
            }
            results
        });
    }
    let results = callers.join_all().await;
    let time = begun.elapsed().as_secs_f64() * 1e6 / count as f64;
    (time, results)
}

/// Whether this measurement is to be a short one.
pub fn quick() -> bool {
    std::env::args().any(|argument| argument == QUICK)
}

/// So many, or a quarter of them where this measurement is to be a short one.
pub fn some(count: usize) -> usize {
    if quick() { count / 4 } else { count }
}

/// Does something over and over, for so long: seconds for each time, the median. To be a few milliseconds each time: a machine that has its
/// processors from another one is slow for a while every now and then, often for a tenth of a second.
pub fn repeated(mut once: impl FnMut()) -> f64 {
    let long_enough = Duration::from_millis(if quick() { 50 } else { 200 });
    let (begun, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || begun.elapsed() < long_enough {
        let this = Instant::now();
        once();
        times.push(this.elapsed().as_secs_f64());
    }
    median(&times)
}

/// The median; of nothing, nothing that is a number.
pub fn median(numbers: &[f64]) -> f64 {
    Spread::of(numbers).map_or(CANNOT, |spread| spread.median)
}

/// Resident memory of this process, in bytes.
pub fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is there");
    let pages: f64 =
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("statm has its form");
    pages * 4096.0
}

/// The id of the n-th task: 36 characters, as a UUID has.
pub fn name(n: usize) -> String {
    format!("{n:08x}-7c1b-4e7e-9f0e-8d3a7c1b4e7e")
}

/// What a contender that cannot do something measures.
pub const CANNOT: f64 = f64::NAN;
