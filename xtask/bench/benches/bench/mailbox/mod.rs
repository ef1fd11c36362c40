//! A mailbox: the round trip of a question, and how many statements a second get through.

mod bare;
mod kameo;
mod ours;
mod ractor;

use std::future::Future;
use std::time::Instant;

use crate::tool::{block_on, some};

pub use bare::Bare;
pub use kameo::Kameo;
pub use ours::Ours;
pub use ractor::Ractor;

/// Whoever has a child with a mailbox.
pub trait Mail: Clone + Send + Sync + 'static {
    fn new() -> impl Future<Output = Self> + Send;
    /// Asks for the number back.
    fn call(&self, number: u64) -> impl Future<Output = u64> + Send;
    /// Adds one to a count, without an answer.
    fn cast(&self) -> impl Future<Output = ()> + Send;
    /// The count, asked for behind all casts.
    fn count(&self) -> impl Future<Output = u64> + Send;
}

/// Microseconds of a question and its answer; statements a second.
pub fn mail<M: Mail>() -> Vec<f64> {
    vec![call::<M>(), cast::<M>()]
}

/// Microseconds of a question and its answer.
fn call<M: Mail>() -> f64 {
    let calls = some(100_000) as u64;
    block_on(async {
        let mail = M::new().await;
        // On a task of its own, as callers are.
        let asking = tokio::spawn(async move {
            let begun = Instant::now();
            for n in 0..calls {
                assert_eq!(mail.call(n).await, n);
            }
            begun.elapsed()
        });
        asking.await.expect("the caller does not panic").as_secs_f64() * 1e6 / calls as f64
    })
}

/// Statements a second.
fn cast<M: Mail>() -> f64 {
    let casts = some(1_000_000) as u64;
    block_on(async {
        let mail = M::new().await;
        let telling = tokio::spawn(async move {
            let begun = Instant::now();
            for _ in 0..casts {
                mail.cast().await;
            }
            assert_eq!(mail.count().await, casts);
            begun.elapsed()
        });
        casts as f64 / telling.await.expect("the caller does not panic").as_secs_f64()
    })
}
