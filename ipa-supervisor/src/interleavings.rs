//! The handshakes of this crate under shuttle, and the pulse under loom. Run by `cargo xtask interleavings`.
//!
//! What is real and what stands in: see `sync/model.rs`. The small scenarios run through every interleaving of their steps, depth
//! first. The large ones run through random ones: half of them uniformly random, half with few changes of priority (PCT), which
//! finds what takes a delay in just the wrong place.
//!
//! What a scenario notes for itself is in types of the standard library, which are no steps.

mod address;
mod handshake;
mod inbox;
mod lease;
mod model;
mod orders;
mod pulse;
mod stop_request;

use std::sync::Arc;

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

use crate::sync::model::point;
use crate::sync::time;

/// How many random interleavings, and from where: set by xtask.
const ITERATIONS: &str = "IPA_INTERLEAVINGS";
const SEED: &str = "IPA_INTERLEAVINGS_SEED";

/// How many times PCT changes priorities at most, plus one.
const DEPTH: usize = 4;

/// Runs the scenario through every interleaving of its steps. There must be fewer than `limit`.
fn every(limit: usize, scenario: impl Fn() + Send + Sync + 'static) {
    let runs = run(DfsScheduler::new(Some(limit), false), Arc::new(scenario));
    println!("{}: all {runs} interleavings", name());
    assert!(runs > 1, "nothing interleaved");
    assert!(runs < limit, "there are more than {limit} interleavings");
}

/// Runs the scenario through many random interleavings.
fn many(scenario: impl Fn() + Send + Sync + 'static) {
    let set = |variable| std::env::var(variable).ok().map(|value| value.parse::<u64>());
    let iterations = set(ITERATIONS).map_or(1_000, |value| value.expect("a number")) as usize;
    let seed = set(SEED).map_or(1, |value| value.expect("a number"));
    // Printed before: a failure is found again from it.
    println!("{}: {iterations} random interleavings, seed {seed}", name());
    let scenario = Arc::new(scenario);
    run(RandomScheduler::new_from_seed(seed, iterations.div_ceil(2)), scenario.clone());
    run(PctScheduler::new_from_seed(seed, DEPTH, iterations / 2), scenario);
}

/// Runs the scenario once, for one that goes through its orders by itself.
fn once(scenario: impl Fn() + Send + Sync + 'static) {
    run(RandomScheduler::new_from_seed(0, 1), Arc::new(scenario));
}

fn run(scheduler: impl Scheduler + 'static, scenario: Arc<impl Fn() + Send + Sync + 'static>) -> usize {
    let mut config = Config::new();
    config.stack_size = 0x4_0000;
    config.max_steps = MaxSteps::FailAfter(10_000_000);
    Runner::new(scheduler, config).run(move || {
        time::restart();
        scenario();
    })
}

fn name() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}
