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
