//! However an owner ends, its entries are gone by the time its end can be seen.

use std::{future::pending, io};

use ipa_registry::{Registration, Registry};
use tokio::{runtime, sync::oneshot, task};

type Guards = [Registration<String, u32>; 3];

fn three(registry: &Registry<String, u32>) -> Guards {
    ["a", "b", "c"].map(|key| registry.register(key.to_owned(), 1).expect("the keys are free"))
}

/// RG-30 the owner's task returned.
#[tokio::test]
async fn the_owner_returned() {
    let registry = Registry::new();
    let guards = three(&registry);
    let task = tokio::spawn(async move {
        let _guards = guards;
        7
    });
    assert_eq!(registry.count(), 3);
    assert_eq!(task.await.unwrap(), 7);
    assert!(registry.is_empty());
}

/// RG-30 the owner's task failed.
#[tokio::test]
async fn the_owner_failed() {
    let registry = Registry::new();
    let guards = three(&registry);
    let task = tokio::spawn(async move {
        let _guards = guards;
        task::yield_now().await;
        Err::<(), _>(io::Error::other("no more"))?;
        Ok::<_, io::Error>(())
    });
    assert!(task.await.unwrap().is_err());
    assert!(registry.is_empty());
}

/// RG-30 the owner's task panicked.
#[tokio::test]
async fn the_owner_panicked() {
    let registry = Registry::new();
    let guards = three(&registry);
    let task = tokio::spawn(async move {
        let guards = guards;
        task::yield_now().await;
        guards[0].update(2);
        panic!("as intended");
    });
    assert!(task.await.unwrap_err().is_panic());
    assert!(registry.is_empty());
}

/// RG-30 the owner's task was aborted while it waited.
#[tokio::test]
async fn the_owner_was_aborted() {
    let registry = Registry::new();
    let guards = three(&registry);
    let (started, has_started) = oneshot::channel();
    let task = tokio::spawn(async move {
        let _guards = guards;
        started.send(()).unwrap();
        pending::<()>().await
    });
    has_started.await.unwrap();
    assert_eq!(registry.count(), 3);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(registry.is_empty());
}

/// RG-30 the owner's task was aborted before its first poll.
#[tokio::test(flavor = "current_thread")]
async fn the_owner_was_aborted_before_its_first_poll() {
    let registry = Registry::new();
    let guards = three(&registry);
    let task = tokio::spawn(async move {
        let _guards = guards;
        unreachable!("it is aborted before it runs");
    });
    // Nothing is awaited between the spawn and this, so the task cannot have run.
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(registry.is_empty());
}

/// RG-30 the runtime is gone, and with it tasks that ran, tasks that waited and tasks that never began.
#[test]
fn the_runtime_was_dropped() {
    let builders = [runtime::Builder::new_current_thread(), runtime::Builder::new_multi_thread()];
    for mut builder in builders {
        let registry = Registry::new();
        let runtime = builder.build().unwrap();
        let waiting = registry.register("waiting".to_owned(), 1).unwrap();
        let (started, has_started) = oneshot::channel();
        runtime.spawn(async move {
            let _waiting = waiting;
            started.send(()).unwrap();
            pending::<()>().await
        });
        runtime.block_on(has_started).unwrap();
        let guards = three(&registry);
        runtime.spawn(async move {
            let _guards = guards;
            pending::<()>().await
        });
        assert_eq!(registry.count(), 4);
        drop(runtime);
        assert!(registry.is_empty());
    }
}

/// RG-30 the owner is a thread, and it panicked.
#[test]
fn the_owner_is_a_thread() {
    let registry = Registry::new();
    let guards = three(&registry);
    let thread = std::thread::spawn(move || {
        let _guards = guards;
        panic!("as intended");
    });
    assert!(thread.join().is_err());
    assert!(registry.is_empty());
}

/// RG-32 by the time a stop returns the key is free, every time, on several workers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_key_is_free_when_the_stop_returns() {
    let registry = Registry::new();
    for incarnation in 0..2_000_u32 {
        let owner = registry.register("a", incarnation);
        let owner = owner.expect("the one before has been joined, so the key is free");
        let task = tokio::spawn(async move {
            let _owner = owner;
            pending::<()>().await
        });
        // Now before its first poll and now after it.
        if incarnation % 2 == 0 {
            task::yield_now().await;
        }
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(registry.lookup("a"), None);
    }
}

/// RG-32 a name passes on from one incarnation to the next without a gap in which two own it, or a wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_finds_the_key_free() {
    let registry = Registry::new();
    for incarnation in 0..500_u32 {
        let registry = registry.clone();
        let task = tokio::spawn(async move {
            let owner = registry.register("a", incarnation).expect("the one before has ended");
            task::yield_now().await;
            assert_eq!(registry.lookup("a"), Some(incarnation));
            assert!(incarnation % 3 > 0, "every third crashes");
            drop(owner);
        });
        assert_eq!(task.await.is_err(), incarnation % 3 == 0);
    }
    assert!(registry.is_empty());
}
