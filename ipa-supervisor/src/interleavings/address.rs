//! An address while its server's mailbox is taken down and the next one put up: every call is answered, or told, once.
//!
//! The mailboxes are the real ones, put up and taken down as `server.rs` does it; the servers are a few lines, here.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use shuttle::future::{block_on, spawn};

use super::{every, many};
use crate::address::{Address, CallError, CastError, Mailbox, Reader, Reply, WhenFull};

enum Msg {
    /// Answered with the number of the incarnation.
    Get(Reply<u64>),
    Cast,
}

/// What a server's incarnations handled, together.
#[derive(Default)]
struct Handled {
    calls: AtomicU64,
    casts: AtomicU64,
}

impl Handled {
    /// One incarnation: handles so many messages, and ends. Before each of them others are let go first.
    async fn serve(&self, open: Reader<Msg>, incarnation: u64, messages: usize) {
        for _ in 0..messages {
            match poll_fn(|cx| open.poll_next(cx, Some(|_| true))).await {
                Msg::Get(reply) => {
                    self.calls.fetch_add(1, Ordering::SeqCst);
                    reply.send(incarnation);
                }
                Msg::Cast => {
                    self.casts.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    }
}

fn address(capacity: usize) -> Address<Msg> {
    Address::new(Mailbox { capacity, when_full: WhenFull::Wait })
}

/// The next incarnation's mailbox.
fn opened(address: &Address<Msg>) -> Reader<Msg> {
    let reader = Reader::new(address);
    reader.open(false);
    reader
}

/// The same of one that lets others go before its first message, whoever is woken.
fn stepping_back(address: &Address<Msg>) -> Reader<Msg> {
    let reader = Reader::new(address);
    reader.open(true);
    reader
}

/// A call as its mailbox is taken down: told that the server is gone, at once and not at its deadline.
#[test]
fn a_call_into_a_mailbox_that_goes_is_told() {
    every(1_000_000, || {
        block_on(async {
            let address = address(1);
            let open = opened(&address);
            let call = spawn({
                let address = address.clone();
                async move { address.call(Msg::Get).await }
            });
            drop(open);
            assert_eq!(call.await.unwrap(), Err(CallError::Gone));
            assert!(!address.is_up());
        });
    });
}

/// A cast as its mailbox is taken down: handed back, or counted.
#[test]
fn a_cast_into_a_mailbox_that_goes_is_counted() {
    every(1_000_000, || {
        block_on(async {
            let address = address(1);
            let open = opened(&address);
            let cast = spawn({
                let address = address.clone();
                async move { address.cast(Msg::Cast).await }
            });
            drop(open);
            match cast.await.unwrap() {
                Ok(()) => assert_eq!(address.dropped_casts(), 1),
                Err(CastError::Gone(Msg::Cast)) => assert_eq!(address.dropped_casts(), 0),
                Err(_) => panic!("the message comes back"),
            }
        });
    });
}

/// Who waits for a place in the old mailbox is told, and does not slip into the new one.
#[test]
fn a_waiter_for_a_place_is_told() {
    many(|| {
        block_on(async {
            let address = address(1);
            let open = opened(&address);
            address.cast(Msg::Cast).await.unwrap();
            let waiters = [(); 2].map(|()| {
                let address = address.clone();
                spawn(async move { address.call(Msg::Get).await })
            });
            drop(open);
            let handled = Handled::default();
            let next = opened(&address);
            let mut answered = 0;
            // Who came before the change is told; who came after it is answered by the next.
            let serving = async { handled.serve(next, 2, 2).await };
            let calls = async {
                for waiter in waiters {
                    match waiter.await.unwrap() {
                        Ok(incarnation) => {
                            assert_eq!(incarnation, 2);
                            answered += 1;
                        }
                        Err(error) => assert_eq!(error, CallError::Gone),
                    }
                }
            };
            // The calls end, answered or told; then so does the serving, which may wait for more.
            tokio::select! {
                biased;
                () = calls => {}
                () = async { serving.await; std::future::pending::<()>().await } => {}
            }
            assert_eq!(handled.calls.load(Ordering::SeqCst), answered);
            assert_eq!(address.dropped_casts(), 1, "the cast was in the old mailbox");
        });
    });
}

/// Who has just got a place in the old mailbox does not come into the new one with it: that would hold one more than it may.
#[test]
fn a_place_is_not_carried_over() {
    many(|| {
        block_on(async {
            let address = address(1);
            let open = opened(&address);
            address.cast(Msg::Cast).await.unwrap();
            let waiter = spawn({
                let address = address.clone();
                async move { address.cast(Msg::Cast).await.is_ok() }
            });
            let taken = poll_fn(|cx| Poll::Ready(open.poll_next(cx, None::<fn(bool) -> bool>))).await;
            assert!(matches!(taken, Poll::Ready(Msg::Cast)));
            drop(open);
            let next = opened(&address);
            let queued = waiter.await.unwrap();
            let mut more = pin!(address.cast(Msg::Cast));
            let another = poll_fn(|cx| Poll::Ready(more.as_mut().poll(cx).is_ready())).await;
            let into_this_one = u64::from(queued) - address.dropped_casts();
            assert_eq!(another, into_this_one == 0, "there is one place");
            drop(next);
        });
    });
}

/// Three incarnations in a row, with callers and casters all the while: each call has one outcome, each cast is handled or counted,
/// and nobody is answered by an incarnation that has ended.
#[test]
fn calls_and_casts_across_restarts() {
    many(|| {
        block_on(async {
            let address = address(1);
            let handled = Arc::new(Handled::default());
            let ended = Arc::new(AtomicU64::new(0));
            let server = spawn({
                let (address, handled, ended) = (address.clone(), handled.clone(), ended.clone());
                async move {
                    for incarnation in 1..=3 {
                        let open = stepping_back(&address);
                        // The last one serves whoever is left.
                        let messages = if incarnation == 3 { usize::MAX } else { 1 };
                        handled.serve(open, incarnation, messages).await;
                        ended.store(incarnation, Ordering::SeqCst);
                    }
                }
            });
            let callers = [(); 3].map(|()| {
                let (address, ended) = (address.clone(), ended.clone());
                spawn(async move {
                    let mut answered = 0;
                    for _ in 0..2 {
                        let before = ended.load(Ordering::SeqCst);
                        match address.call(Msg::Get).await {
                            Ok(incarnation) => {
                                assert!(incarnation > before, "answered by one that had ended");
                                answered += 1;
                            }
                            Err(error) => assert_eq!(error, CallError::Gone),
                        }
                    }
                    answered
                })
            });
            let caster = spawn({
                let address = address.clone();
                async move {
                    let mut queued = 0;
                    for _ in 0..3 {
                        match address.cast(Msg::Cast).await {
                            Ok(()) => queued += 1,
                            Err(CastError::Gone(Msg::Cast)) => {}
                            Err(_) => panic!("the message comes back"),
                        }
                    }
                    queued
                }
            });
            let mut answered = 0;
            for caller in callers {
                answered += caller.await.unwrap();
            }
            let queued: u64 = caster.await.unwrap();
            server.abort();
            let _ = server.await;
            assert_eq!(handled.calls.load(Ordering::SeqCst), answered, "a call is answered once");
            assert_eq!(handled.casts.load(Ordering::SeqCst) + address.dropped_casts(), queued);
            assert!(!address.is_up());
        });
    });
}
