//! The stack's server and its address.

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
    async fn handle(&mut self, message: Message, _: &mut ServerContext<Message>) -> Result<Flow, BoxError> {
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
