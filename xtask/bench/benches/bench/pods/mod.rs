//! Pods: a supervisor, four children with mailboxes, a name for each and for the pod, a status.

mod actix;
pub mod bare;
mod kameo;
mod ours;
mod ractor;
mod ractor_supervisor;
mod task_supervisor;

use std::future::Future;
use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

use ipa_bench::numbers::Spread;

use crate::tool::{block_on, each, name, resident, some};

pub use actix::{Actix, arbiters};
pub use bare::Bare;
pub use kameo::Kameo;
pub use ours::{OurSupervisor, Ours};
pub use ractor::Ractor;
pub use ractor_supervisor::RactorSupervisor;
pub use task_supervisor::{TaskSupervisor, TaskSupervisorInOrder};

/// The names of a pod's children.
pub const CHILDREN: [&str; 4] = ["state", "work", "sync", "ui"];

/// Whoever can run pods.
pub trait Pods: Clone + Send + Sync + 'static {
    /// How many are started; fewer, but at least 10,000, where each takes long.
    const STARTS: usize = 40_000;
    /// How many of them are stopped; fewer where each takes long.
    const STOPS: usize = Self::STARTS;
    /// With no pod.
    fn new() -> impl Future<Output = Self> + Send;
    /// Returns when all children of the pod are up.
    fn start(&self, id: String) -> impl Future<Output = ()> + Send;
    /// Returns when all of the pod is gone and its names are free.
    fn stop(&self, id: String) -> impl Future<Output = ()> + Send;
    /// Makes sure that it does what it says and what is not measured; with no pod, before and after.
    fn check(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
    /// Whether the pod runs, by its name.
    fn runs(&self, id: &str) -> bool;
    /// How many pods there are.
    fn count(&self) -> usize;
}

const PODS: usize = 10_000;
const IN_FLIGHT: usize = 64;

/// Starts those pods, so many at a time; microseconds for each.
async fn started<P: Pods>(pods: &P, which: Range<usize>, in_flight: usize) -> f64 {
    let (all, before, count) = (pods.clone(), pods.count(), which.len());
    let (time, _) = each(which, in_flight, move |n| {
        let pods = all.clone();
        async move { pods.start(name(n)).await }
    })
    .await;
    assert_eq!(pods.count() - before, count);
    time
}

/// Stops those pods, so many at a time; microseconds for each.
async fn stopped<P: Pods>(pods: &P, which: Range<usize>, in_flight: usize) -> f64 {
    let (all, before, count) = (pods.clone(), pods.count(), which.len());
    let (time, _) = each(which, in_flight, move |n| {
        let pods = all.clone();
        async move { pods.stop(name(n)).await }
    })
    .await;
    assert_eq!(before - pods.count(), count);
    time
}

/// Microseconds to start a pod, 64 at once, by one caller, by two; resident bytes of each; microseconds to stop one, 64 at once, by one
/// caller, by two.
pub fn life<P: Pods>() -> Vec<f64> {
    let starts = some(P::STARTS).max(PODS);
    let stops = P::STOPS.min(starts);
    block_on(async {
        let before = resident();
        let pods = P::new().await;
        pods.check().await;
        let first = started(&pods, 0..PODS, IN_FLIGHT).await;
        let bytes = (resident() - before) / PODS as f64;
        // The quick ones are not done when that many are up.
        let more = starts - PODS;
        let rest = if more > 0 { started(&pods, PODS..starts, IN_FLIGHT).await } else { 0.0 };
        let start = (first * PODS as f64 + rest * more as f64) / starts as f64;
        let (one, two) = (starts + starts / 5, starts + starts / 5 * 2);
        let start_alone = started(&pods, starts..one, 1).await;
        let start_two = started(&pods, one..two, 2).await;
        let stop = stopped(&pods, 0..stops, IN_FLIGHT).await;
        let stop_alone = stopped(&pods, starts..starts + stops / 5, 1).await;
        let stop_two = stopped(&pods, one..one + stops / 5, 2).await;
        vec![start, start_alone, start_two, bytes, stop, stop_alone, stop_two]
    })
}

/// Microseconds to start and to stop a pod, nanoseconds to find one, among so many that run: medians of several turns, in each of which
/// a thousand more come and go. The first turns are not counted, so that at every size memory is used again that was in use before.
async fn among<P: Pods>(pods: &P, count: usize) -> [f64; 3] {
    const MORE: usize = 1_000;
    const WARM_UP: usize = 3;
    const TURNS: usize = 10;
    const LOOKUPS: usize = 20_000;
    let names: Vec<String> = (0..count).map(name).collect();
    let mut at = 0;
    let mut turns = [const { Vec::new() }; 3];
    for turn in 0..WARM_UP + TURNS {
        let start = started(pods, count..count + MORE, IN_FLIGHT).await;
        let begun = Instant::now();
        for _ in 0..LOOKUPS {
            at = (at + 7_919) % count;
            assert!(black_box(pods.runs(&names[at])));
        }
        let lookup = begun.elapsed().as_secs_f64() * 1e9 / LOOKUPS as f64;
        let stop = stopped(pods, count..count + MORE, IN_FLIGHT).await;
        if turn >= WARM_UP {
            turns.iter_mut().zip([start, stop, lookup]).for_each(|(all, time)| all.push(time));
        }
    }
    turns.map(|times| Spread::of(&times).expect("there were turns").median)
}

/// How many times longer start, stop and lookup take among 10,000 and 100,000 pods than among 1,000; bytes of 100,000.
pub fn growth<P: Pods>() -> Vec<f64> {
    const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
    block_on(async {
        let before = resident();
        let pods = P::new().await;
        let (mut times, mut running, mut bytes) = (Vec::new(), 0, 0.0);
        for size in SIZES {
            started(&pods, running..size, IN_FLIGHT).await;
            running = size;
            bytes = (resident() - before) / size as f64;
            times.push(among(&pods, size).await);
        }
        let grown = |n: usize| [times[1][n] / times[0][n], times[2][n] / times[0][n]];
        [0, 1, 2].into_iter().flat_map(grown).chain([bytes]).collect()
    })
}

/// A million pods: how many times longer start, stop and lookup take than among 1,000; seconds until all are up, gigabytes, seconds
/// until all are gone.
pub fn million<P: Pods>() -> Vec<f64> {
    const FEW: usize = 1_000;
    const MILLION: usize = 1_000_000;
    block_on(async {
        let before = resident();
        let pods = P::new().await;
        started(&pods, 0..FEW, IN_FLIGHT).await;
        let few = among(&pods, FEW).await;
        // Microseconds for each of a million are seconds for all.
        let up = started(&pods, FEW..MILLION, IN_FLIGHT).await;
        let memory = resident() - before;
        let many = among(&pods, MILLION).await;
        let down = stopped(&pods, 0..MILLION, IN_FLIGHT).await;
        let grown = [0, 1, 2].map(|n| many[n] / few[n]);
        grown.into_iter().chain([up, memory / 1e9, down]).collect()
    })
}
