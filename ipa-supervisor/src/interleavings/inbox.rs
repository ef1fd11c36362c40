//! The queue in front of a loop: nothing is lost, nobody sleeps on.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use shuttle::future::block_on;
use shuttle::thread;

use super::{every, many};
use crate::inbox::{Closed, Inbox, Refused};

type Box2 = Arc<Inbox<u32, 2>>;

fn inbox(places: usize) -> Box2 {
    Arc::new(Inbox::new(places))
}

/// Polls once and drops the future, as a `select!` does whose other branch was ready.
async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A reader that waits is woken by each push.
#[test]
fn push_wakes_pop() {
    every(1_000_000, || {
        let inbox = inbox(1);
        let pushers: Vec<_> = [1, 2]
            .into_iter()
            .map(|value| {
                let inbox = inbox.clone();
                thread::spawn(move || inbox.push(1, value).unwrap())
            })
            .collect();
        let mut read = block_on(async { [inbox.pop().await, inbox.pop().await] });
        read.sort_unstable();
        assert_eq!(read, [1, 2]);
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
    });
}

/// A reader that is dropped while it waits takes no item and no wake-up along.
#[test]
fn a_dropped_pop_loses_nothing() {
    every(1_000_000, || {
        let inbox = inbox(1);
        let pusher = thread::spawn({
            let inbox = inbox.clone();
            move || inbox.push(1, 1).unwrap()
        });
        block_on(async {
            let value = match poll_once(inbox.pop()).await {
                Some(value) => value,
                None => inbox.pop().await,
            };
            assert_eq!(value, 1);
        });
        pusher.join().unwrap();
    });
}

/// A stop that is queued is read before every report that is queued.
#[test]
fn stops_come_before_all_else() {
    every(1_000_000, || {
        let inbox = inbox(1);
        let queued = Arc::new(AtomicBool::new(false));
        let reporter = thread::spawn({
            let inbox = inbox.clone();
            move || inbox.push(1, 1).unwrap()
        });
        let stopper = thread::spawn({
            let (inbox, queued) = (inbox.clone(), queued.clone());
            move || {
                inbox.push(0, 0).unwrap();
                queued.store(true, Ordering::SeqCst);
            }
        });
        let stop_was_queued = queued.load(Ordering::SeqCst);
        let first = block_on(inbox.pop());
        assert!(first == 0 || !stop_was_queued, "a report overtook the stop");
        assert_eq!(first + block_on(inbox.pop()), 1);
        reporter.join().unwrap();
        stopper.join().unwrap();
    });
}

/// What is pushed while the inbox is closed is refused, handed back by the close, or was read: one of them, once.
#[test]
fn close_loses_nothing() {
    every(1_000_000, || {
        let inbox = inbox(1);
        let found = Arc::new(Mutex::new(Vec::new()));
        let pushers: Vec<_> = [1, 2]
            .into_iter()
            .map(|value| {
                let (inbox, found) = (inbox.clone(), found.clone());
                thread::spawn(move || {
                    if let Err(Closed(refused)) = inbox.push(value as usize - 1, value) {
                        found.lock().unwrap().push(refused);
                    }
                })
            })
            .collect();
        let read = inbox.try_pop();
        let left = inbox.close();
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        assert_eq!(inbox.try_pop(), None, "nothing gets in after the close");
        let mut all = found.lock().unwrap().clone();
        all.extend(read.into_iter().chain(left));
        all.sort_unstable();
        assert_eq!(all, [1, 2]);
    });
}

/// Who waits for a place is woken when there is one.
#[test]
fn a_place_wakes_who_waits() {
    every(1_000_000, || {
        let inbox = inbox(1);
        inbox.try_push_bounded(1, 0, None).unwrap();
        let waiter = thread::spawn({
            let inbox = inbox.clone();
            move || block_on(inbox.push_bounded(1, 1)).unwrap()
        });
        assert_eq!(block_on(async { [inbox.pop().await, inbox.pop().await] }), [0, 1]);
        waiter.join().unwrap();
        assert!(inbox.try_push_bounded(1, 2, None).is_ok(), "the place is free again");
    });
}

/// Of several who wait each gets a place in its turn, and places are neither lost nor made.
#[test]
fn each_place_wakes_a_waiter() {
    many(|| {
        let inbox = inbox(1);
        inbox.try_push_bounded(1, 0, None).unwrap();
        let waiters: Vec<_> = [1, 2]
            .into_iter()
            .map(|value| {
                let inbox = inbox.clone();
                thread::spawn(move || block_on(inbox.push_bounded(1, value)).unwrap())
            })
            .collect();
        let mut read = block_on(async { [inbox.pop().await, inbox.pop().await, inbox.pop().await] });
        read.sort_unstable();
        assert_eq!(read, [0, 1, 2]);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert!(inbox.try_push_bounded(1, 3, None).is_ok(), "the place is free again");
        assert!(matches!(inbox.try_push_bounded(1, 4, None), Err(Refused::Full(4))), "and it is one");
    });
}

/// A caller that gives up while it waits for a place, or as it gets one, takes none along.
#[test]
fn a_dropped_push_keeps_no_place() {
    every(1_000_000, || {
        let inbox = inbox(1);
        inbox.try_push_bounded(1, 0, None).unwrap();
        let gives_up = thread::spawn({
            let inbox = inbox.clone();
            move || block_on(poll_once(inbox.push_bounded(1, 1))).is_some()
        });
        assert_eq!(inbox.try_pop(), Some(0));
        let pushed = gives_up.join().unwrap();
        assert_eq!(inbox.try_pop(), pushed.then_some(1), "what was not pushed is not there");
        block_on(inbox.push_bounded(1, 2)).unwrap();
        assert!(matches!(inbox.try_push_bounded(1, 3, None), Err(Refused::Full(3))));
    });
}

fn close_tells(waiters: &[u32]) {
    let inbox = inbox(1);
    inbox.try_push_bounded(1, 0, None).unwrap();
    let waiters: Vec<_> = waiters
        .iter()
        .map(|&value| {
            let inbox = inbox.clone();
            thread::spawn(move || {
                let Err(Closed(back)) = block_on(inbox.push_bounded(1, value)) else {
                    panic!("there was no place")
                };
                assert_eq!(back, value);
            })
        })
        .collect();
    assert_eq!(inbox.close(), [0]);
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
}

/// A close tells who waits for a place, and hands the item back.
#[test]
fn close_tells_who_waits_for_a_place() {
    every(1_000_000, || close_tells(&[1]));
}

/// The same of all who wait.
#[test]
fn close_tells_all_who_wait_for_a_place() {
    many(|| close_tells(&[1, 2]));
}

/// All of it at once.
#[test]
fn many_writers_one_reader_and_a_close() {
    many(|| {
        let inbox = inbox(2);
        let back = Arc::new(Mutex::new(Vec::new()));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (inbox, back) = (inbox.clone(), back.clone());
                thread::spawn(move || {
                    for value in [10 * writer, 10 * writer + 1] {
                        let pushed = match writer % 2 {
                            0 => inbox.push(value as usize % 2, value),
                            _ => block_on(inbox.push_bounded(1, value)),
                        };
                        if let Err(Closed(value)) = pushed {
                            back.lock().unwrap().push(value);
                        }
                    }
                })
            })
            .collect();
        let mut all: Vec<u32> =
            block_on(async { [inbox.pop().await, inbox.pop().await, inbox.pop().await] }).into();
        all.extend(inbox.close());
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        all.extend(back.lock().unwrap().iter());
        all.sort_unstable();
        assert_eq!(all, [0, 1, 10, 11, 20, 21, 30, 31]);
    });
}
