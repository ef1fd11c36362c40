//! What stands in for clocks and task-locals does what it stands in for, and points let others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::future::{block_on, spawn};
use shuttle::thread;

use super::{every, point};
use crate::sync::time::{self, Instant};
use crate::sync::{SetOnce, task_local};

const SECOND: Duration = Duration::from_secs(1);

/// Without interleavings at the points, no scenario would fail for the right reason.
#[test]
fn another_task_may_go_on_at_a_point() {
    let most = Arc::new(AtomicUsize::new(0));
    let least = Arc::new(AtomicUsize::new(usize::MAX));
    every(1_000, {
        let (most, least) = (most.clone(), least.clone());
        move || {
            let count = Arc::new(AtomicUsize::new(0));
            let add = |count: &AtomicUsize| {
                let before = count.load(Ordering::SeqCst);
                point();
                count.store(before + 1, Ordering::SeqCst);
            };
            let other = thread::spawn({
                let count = count.clone();
                move || add(&count)
            });
            add(&count);
            other.join().unwrap();
            most.fetch_max(count.load(Ordering::SeqCst), Ordering::SeqCst);
            least.fetch_min(count.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    });
    assert_eq!(
        (least.load(Ordering::SeqCst), most.load(Ordering::SeqCst)),
        (1, 2),
        "one addition may get lost"
    );
}

/// A timer fires when the clock has got there, and never before; all who sleep are woken.
#[test]
fn the_clock_wakes_who_sleeps() {
    every(100_000, || {
        block_on(async {
            let deadline = Instant::now().checked_add(SECOND).unwrap();
            let sleepers = [(); 2].map(|()| {
                spawn(async move {
                    time::sleep_until(deadline).await;
                    assert!(Instant::now() >= deadline);
                })
            });
            time::advance(SECOND / 2);
            time::advance(SECOND / 2);
            for sleeper in sleepers {
                sleeper.await.unwrap();
            }
        });
    });
}

/// What comes in time counts, and what does not is given up.
#[test]
fn a_timeout_is_late_or_not() {
    every(100_000, || {
        block_on(async {
            let value = Arc::new(SetOnce::new());
            let setter = spawn({
                let value = value.clone();
                async move { value.set(1).unwrap() }
            });
            let clock = spawn(async { time::advance(SECOND) });
            let start = Instant::now();
            match time::timeout(SECOND, value.wait()).await {
                Ok(value) => assert_eq!(*value, 1),
                Err(time::Elapsed) => assert!(start.elapsed() >= SECOND),
            }
            setter.await.unwrap();
            clock.await.unwrap();
            assert!(time::timeout(SECOND, value.wait()).await.is_ok(), "it is there");
        });
    });
}

task_local! {
    static NUMBER: usize;
}

/// A task-local value is its own task's, whoever runs in between.
#[test]
fn a_task_local_is_the_tasks() {
    every(100_000, || {
        block_on(async {
            let tasks = [1, 2].map(|number| {
                spawn(NUMBER.scope(number, async move {
                    point();
                    assert_eq!(NUMBER.try_with(|seen| *seen), Ok(number));
                }))
            });
            assert_eq!(NUMBER.try_with(|seen| *seen), Err(()), "nobody set it here");
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
}
