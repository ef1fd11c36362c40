//! Pods: a supervisor, four children with mailboxes, a name for each and for the pod, a status.

pub mod bare;
mod ours;

use std::future::Future;

use crate::tool::{block_on, each, name, resident};

pub use bare::Bare;
pub use ours::Ours;

/// The names of a pod's children.
pub const CHILDREN: [&str; 4] = ["state", "work", "sync", "ui"];

/// Whoever can run pods.
pub trait Pods: Clone + Send + Sync + 'static {
    /// With no pod.
    fn new() -> impl Future<Output = Self> + Send;
    /// Returns when all children of the pod are up.
    fn start(&self, id: String) -> impl Future<Output = ()> + Send;
    /// Returns when all of the pod is gone and its names are free.
    fn stop(&self, id: String) -> impl Future<Output = ()> + Send;
    /// How many pods there are.
    fn count(&self) -> usize;
}

const PODS: usize = 10_000;
const IN_FLIGHT: usize = 64;

async fn started<P: Pods>(count: usize, in_flight: usize) -> (P, f64) {
    let pods = P::new().await;
    let all = pods.clone();
    let time = each(count, in_flight, move |n| {
        let pods = all.clone();
        async move { pods.start(name(n)).await }
    })
    .await;
    assert_eq!(pods.count(), count);
    (pods, time)
}

async fn stopped<P: Pods>(pods: &P, count: usize, in_flight: usize) -> f64 {
    let all = pods.clone();
    let time = each(count, in_flight, move |n| {
        let pods = all.clone();
        async move { pods.stop(name(n)).await }
    })
    .await;
    assert_eq!(pods.count(), 0);
    time
}

/// Microseconds to start a pod, 64 at once.
pub fn start<P: Pods>() -> f64 {
    block_on(async { started::<P>(PODS, IN_FLIGHT).await.1 })
}

/// Microseconds to start a pod, one after the other.
pub fn start_alone<P: Pods>() -> f64 {
    block_on(async { started::<P>(PODS, 1).await.1 })
}

/// Microseconds to stop a pod, 64 at once.
pub fn stop<P: Pods>() -> f64 {
    block_on(async {
        let (pods, _) = started::<P>(PODS, IN_FLIGHT).await;
        stopped(&pods, PODS, IN_FLIGHT).await
    })
}

fn bytes_of<P: Pods>(count: usize) -> f64 {
    block_on(async {
        let before = resident();
        let (_pods, _) = started::<P>(count, IN_FLIGHT).await;
        (resident() - before) / count as f64
    })
}

/// Resident bytes for each of 10,000 pods.
pub fn bytes<P: Pods>() -> f64 {
    bytes_of::<P>(PODS)
}

/// Resident bytes for each of 100,000 pods.
pub fn bytes_of_many<P: Pods>() -> f64 {
    bytes_of::<P>(100_000)
}
