//! A mailbox: the round trip of a question, and how many statements a second get through.

use std::future::Future;
use std::time::Instant;

use crate::tool::block_on;

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

/// Microseconds of a question and its answer.
pub fn call<M: Mail>() -> f64 {
    const CALLS: u64 = 100_000;
    block_on(async {
        let mail = M::new().await;
        // On a task of its own, as callers are.
        let asking = tokio::spawn(async move {
            let begun = Instant::now();
            for n in 0..CALLS {
                assert_eq!(mail.call(n).await, n);
            }
            begun.elapsed()
        });
        asking.await.expect("the caller does not panic").as_secs_f64() * 1e6 / CALLS as f64
    })
}

/// Statements a second.
pub fn cast<M: Mail>() -> f64 {
    const CASTS: u64 = 1_000_000;
    block_on(async {
        let mail = M::new().await;
        let telling = tokio::spawn(async move {
            let begun = Instant::now();
            for _ in 0..CASTS {
                mail.cast().await;
            }
            assert_eq!(mail.count().await, CASTS);
            begun.elapsed()
        });
        CASTS as f64 / telling.await.expect("the caller does not panic").as_secs_f64()
    })
}

mod ours {
    use std::sync::Arc;

    use ipa_supervisor::{
        Address, BoxError, ChildSpec, Flow, Reply, Server, ServerContext, Supervisor, async_trait,
    };

    use super::*;

    enum Message {
        Call(u64, Reply<u64>),
        Cast,
        Count(Reply<u64>),
    }

    struct Count(u64);

    #[async_trait]
    impl Server for Count {
        type Message = Message;
        async fn handle(
            &mut self,
            message: Message,
            _: &mut ServerContext<Message>,
        ) -> Result<Flow, BoxError> {
            match message {
                Message::Call(number, reply) => reply.send(number),
                Message::Cast => self.0 += 1,
                Message::Count(reply) => reply.send(self.0),
            }
            Ok(Flow::Continue)
        }
    }

    #[derive(Clone)]
    pub struct Ours(Address<Message>, #[expect(dead_code, reason = "keeps the tree alive")] Arc<Supervisor>);

    impl Mail for Ours {
        async fn new() -> Self {
            let (spec, address) = ChildSpec::server("count", || Count(0));
            let supervisor = Supervisor::builder().child(spec).start().await.expect("a supervisor starts");
            Self(address, Arc::new(supervisor))
        }
        async fn call(&self, number: u64) -> u64 {
            self.0.call(|reply| Message::Call(number, reply)).await.expect("an answer")
        }
        async fn cast(&self) {
            assert!(self.0.cast(Message::Cast).await.is_ok());
        }
        async fn count(&self) -> u64 {
            self.0.call(Message::Count).await.expect("an answer")
        }
    }
}

mod bare {
    //! The limit: tokio's bounded channel of the same capacity to a task, and a oneshot for an answer. It knows no restart, no deadline.

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    enum Message {
        Call(u64, oneshot::Sender<u64>),
        Cast,
        Count(oneshot::Sender<u64>),
    }

    #[derive(Clone)]
    pub struct Bare(mpsc::Sender<Message>);

    impl Mail for Bare {
        async fn new() -> Self {
            let (sender, mut messages) = mpsc::channel(1024);
            tokio::spawn(async move {
                let mut count = 0;
                while let Some(message) = messages.recv().await {
                    match message {
                        Message::Call(number, reply) => drop(reply.send(number)),
                        Message::Cast => count += 1,
                        Message::Count(reply) => drop(reply.send(count)),
                    }
                }
            });
            Self(sender)
        }
        async fn call(&self, number: u64) -> u64 {
            let (reply, answer) = oneshot::channel();
            assert!(self.0.send(Message::Call(number, reply)).await.is_ok());
            answer.await.expect("an answer")
        }
        async fn cast(&self) {
            assert!(self.0.send(Message::Cast).await.is_ok());
        }
        async fn count(&self) -> u64 {
            let (reply, answer) = oneshot::channel();
            assert!(self.0.send(Message::Count(reply)).await.is_ok());
            answer.await.expect("an answer")
        }
    }
}

pub use bare::Bare;
pub use ours::Ours;
