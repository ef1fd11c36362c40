//! What subscribers are told.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
};

use ipa_registry::{DEFAULT_SUBSCRIPTION_CAPACITY, Event, RecvError, Registry, Subscription, TryRecvError};

fn registered(key: &str, value: u32) -> Event<&str, u32> {
    Event::Registered { key, value }
}

fn updated(key: &str, value: u32) -> Event<&str, u32> {
    Event::Updated { key, value }
}

fn unregistered(key: &str, value: u32) -> Event<&str, u32> {
    Event::Unregistered { key, value }
}

fn waiting<'a>(events: &mut Subscription<&'a str, u32>) -> Vec<Event<&'a str, u32>> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

/// RG-47 subscribers get registered, updated and unregistered, in order, with the values; each all of them.
#[test]
fn subscribers_get_every_change_in_order() {
    let registry = Registry::new();
    let mut one = registry.subscribe();
    let mut two = registry.subscribe();
    let owner = registry.register("a", 1).unwrap();
    owner.update(2);
    let mut late = registry.subscribe();
    owner.update(3);
    drop(owner);
    drop(registry.register("a", 4).unwrap());

    let last = [updated("a", 3), unregistered("a", 3), registered("a", 4), unregistered("a", 4)];
    let all: Vec<_> = [registered("a", 1), updated("a", 2)].into_iter().chain(last.clone()).collect();
    assert_eq!(waiting(&mut one), all);
    assert_eq!(waiting(&mut two), all);
    assert_eq!(waiting(&mut late), last);
    assert_eq!(one.try_recv(), Err(TryRecvError::Empty));
}

/// RG-22 an update is an event, with the new value, also if the value is the same.
#[test]
fn an_update_is_an_event() {
    let registry = Registry::new();
    let owner = registry.register("a", 1).unwrap();
    let mut events = registry.subscribe();
    owner.update(2);
    owner.update(2);
    assert_eq!(waiting(&mut events), [updated("a", 2), updated("a", 2)]);
    let event = updated("a", 2);
    assert_eq!((event.key(), event.value()), (&"a", &2));
}

/// RG-47 in order, crash or not: an owner that panics or is aborted is unregistered like any other.
#[tokio::test]
async fn a_crash_is_an_event() {
    let registry = Registry::new();
    let mut events = registry.subscribe();
    let owner = registry.register("a", 1).unwrap();
    let crashed = tokio::spawn(async move {
        owner.update(2);
        panic!("as intended");
    });
    assert!(crashed.await.is_err());
    let owner = registry.register("a", 3).unwrap();
    let aborted = tokio::spawn(async move {
        let _owner = owner;
        pending::<()>().await
    });
    aborted.abort();
    assert!(aborted.await.is_err());

    let expected =
        [registered("a", 1), updated("a", 2), unregistered("a", 2), registered("a", 3), unregistered("a", 3)];
    assert_eq!(waiting(&mut events), expected);
}

/// RG-47 a slow subscriber is told how many events it lost, and goes on with the oldest that is left.
#[tokio::test]
async fn a_slow_subscriber_is_told_what_it_lost() {
    let registry = Registry::new();
    let mut slow = registry.subscribe_with_capacity(3);
    let mut quick = registry.subscribe();
    let owner = registry.register("a", 0).unwrap();
    for value in 1..=10 {
        owner.update(value);
    }
    assert_eq!(slow.recv().await, Err(RecvError::Lagged(8)));
    assert_eq!(slow.recv().await, Ok(updated("a", 8)));
    owner.update(11);
    owner.update(12);
    assert_eq!(slow.recv().await, Err(RecvError::Lagged(1)));
    assert_eq!(waiting(&mut slow), [updated("a", 10), updated("a", 11), updated("a", 12)]);
    assert_eq!(waiting(&mut quick).len(), 13, "no other subscriber notices");
}

/// RG-47 a full queue is no loss yet; one more event is.
#[test]
fn a_queue_holds_as_much_as_its_capacity() {
    for (capacity, room) in [(0, 1), (1, 1), (2, 2), (7, 7)] {
        let registry = Registry::new();
        let mut events = registry.subscribe_with_capacity(capacity);
        assert_eq!(events.capacity(), room);
        let owner = registry.register("a", 0).unwrap();
        for value in 1..room as u32 {
            owner.update(value);
        }
        assert_eq!(waiting(&mut events).len(), room);
        for value in 0..=room as u32 {
            owner.update(value);
        }
        assert_eq!(events.try_recv(), Err(TryRecvError::Lagged(1)));
        assert_eq!(waiting(&mut events).len(), room);
    }
    assert_eq!(Registry::<u8, u8>::new().subscribe().capacity(), DEFAULT_SUBSCRIPTION_CAPACITY);
}

/// RG-47 a subscriber that never reads, or is gone, neither blocks nor fails a register.
#[test]
fn a_subscriber_that_does_not_read_hinders_nobody() {
    let registry = Registry::new();
    let mut never_read = registry.subscribe_with_capacity(4);
    drop(registry.subscribe());
    for value in 0..10_000 {
        drop(registry.register("a", value).unwrap());
    }
    assert_eq!(never_read.try_recv(), Err(TryRecvError::Lagged(20_000 - 4)));
    assert_eq!(waiting(&mut never_read).len(), 4);
}

/// RG-47 a subscription that is dropped keeps nothing alive: neither the events nor the values in them.
#[test]
fn a_gone_subscriber_keeps_nothing() {
    let registry = Registry::new();
    let value = Arc::new(());
    let (one, two) = (registry.subscribe(), registry.subscribe());
    drop(registry.register("a", Arc::clone(&value)).unwrap());
    assert!(Arc::strong_count(&value) > 1, "the events hold it");
    drop(one);
    assert!(Arc::strong_count(&value) > 1, "the other subscriber's events hold it");
    drop(two);
    assert_eq!(Arc::strong_count(&value), 1);
    drop(registry.register("a", Arc::clone(&value)).unwrap());
    assert_eq!(Arc::strong_count(&value), 1);
}

/// RG-47 a subscriber that waits is woken by the next change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_subscriber_is_woken() {
    let registry = Registry::new();
    let mut events = registry.subscribe();
    let (tell, told) = std::sync::mpsc::channel();
    let subscriber = tokio::spawn(async move {
        let mut count = 0;
        while let Ok(event) = events.recv().await {
            count += 1;
            tell.send(event).unwrap();
        }
        count
    });
    // In step: each change is made only when the one before has been received.
    tokio::task::spawn_blocking(move || {
        for value in 0..1000 {
            let owner = registry.register("a", value).unwrap();
            assert_eq!(told.recv().unwrap(), registered("a", value));
            drop(owner);
            assert_eq!(told.recv().unwrap(), unregistered("a", value));
        }
    })
    .await
    .unwrap();
    assert_eq!(subscriber.await.unwrap(), 2000);
}

/// RG-47 when an event can be received, its change is visible.
#[test]
fn a_change_is_visible_before_its_event() {
    let registry = Registry::new();
    let mut events = registry.subscribe_with_capacity(1 << 20);
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for value in 1..=20_000_u32 {
                // Never dropped before the next one stands, so the count only ever grows by what is announced.
                std::mem::forget(registry.register(value, value).unwrap());
            }
        });
        let mut received = 0;
        while received < 20_000 {
            match events.try_recv() {
                Ok(event) => {
                    received += 1;
                    assert!(registry.count() >= received, "{} < {received}", registry.count());
                    assert_eq!(registry.lookup(event.key()), Some(*event.value()));
                }
                Err(TryRecvError::Empty) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        changes.join().unwrap();
    });
}

/// RG-47 a call of recv that is dropped takes no event, whether it was woken or not.
#[tokio::test]
async fn recv_is_cancel_safe() {
    let registry = Registry::new();
    let mut events = registry.subscribe();
    let mut context = Context::from_waker(Waker::noop());
    {
        let mut dropped = pin!(events.recv());
        assert!(dropped.as_mut().poll(&mut context).is_pending());
    }
    let owner = registry.register("a", 1).unwrap();
    assert_eq!(events.recv().await, Ok(registered("a", 1)));
    {
        let mut dropped = pin!(events.recv());
        assert!(dropped.as_mut().poll(&mut context).is_pending());
        owner.update(2);
    }
    owner.update(3);
    assert_eq!(events.recv().await, Ok(updated("a", 2)));
    assert_eq!(events.recv().await, Ok(updated("a", 3)));
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
}

/// RG-47 the end: when the last handle and the last registration are gone, after what was queued, and for good.
#[tokio::test]
async fn the_end_of_the_registry_is_told_last() {
    let registry = Registry::new();
    let mut events = registry.subscribe();
    let mut waiting = registry.subscribe();
    let waiter = tokio::spawn(async move {
        let mut received = Vec::new();
        loop {
            match waiting.recv().await {
                Ok(event) => received.push(event),
                Err(error) => return (received, error),
            }
        }
    });
    let owner = registry.register("a", 1).unwrap();
    let clone = registry.clone();
    drop(registry);
    drop(clone);
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished(), "a registration is left, and may still be updated");
    owner.update(2);
    drop(owner);

    let all = [registered("a", 1), updated("a", 2), unregistered("a", 2)];
    assert_eq!(waiter.await.unwrap(), (all.to_vec(), RecvError::Closed));
    for event in all {
        assert_eq!(events.recv().await, Ok(event));
    }
    assert_eq!(events.recv().await, Err(RecvError::Closed));
    assert_eq!(events.recv().await, Err(RecvError::Closed));
    assert_eq!(events.try_recv(), Err(TryRecvError::Closed));
}

/// A subscriber that always has a next event lets other tasks run.
#[tokio::test(flavor = "current_thread")]
async fn a_busy_subscriber_lets_others_run() {
    let registry = Registry::new();
    let mut events = registry.subscribe_with_capacity(10_000);
    let owner = registry.register("a", 0).unwrap();
    for value in 1..10_000 {
        owner.update(value);
    }
    let other_ran = Arc::new(AtomicBool::new(false));
    let seen_by_reader = Arc::clone(&other_ran);
    let reader = tokio::spawn(async move {
        for read in 0..10_000 {
            events.recv().await.unwrap();
            if seen_by_reader.load(Ordering::SeqCst) {
                return read;
            }
        }
        panic!("all events were read before the other task ran");
    });
    let other = tokio::spawn(async move { other_ran.store(true, Ordering::SeqCst) });
    assert!(reader.await.unwrap() < 1000);
    other.await.unwrap();
}
