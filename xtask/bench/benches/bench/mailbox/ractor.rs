//! ractor: its unbounded mailbox.

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call, cast};

use super::Mail;

enum Ask {
    Call(u64, RpcReplyPort<u64>),
    Cast,
    Count(RpcReplyPort<u64>),
}

struct Count;

impl Actor for Count {
    type Msg = Ask;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Ask>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(&self, _: ActorRef<Ask>, ask: Ask, count: &mut u64) -> Result<(), ActorProcessingErr> {
        match ask {
            Ask::Call(number, reply) => reply.send(number)?,
            Ask::Cast => *count += 1,
            Ask::Count(reply) => reply.send(*count)?,
        }
        Ok(())
    }
}

#[derive(Clone)]
pub struct Ractor(ActorRef<Ask>);

impl Mail for Ractor {
    async fn new() -> Self {
        Self(Count::spawn(None, Count, ()).await.expect("an actor starts").0)
    }
    async fn call(&self, number: u64) -> u64 {
        call!(self.0, |reply| Ask::Call(number, reply)).expect("an answer")
    }
    async fn cast(&self) {
        cast!(self.0, Ask::Cast).expect("it runs");
    }
    async fn count(&self) -> u64 {
        call!(self.0, Ask::Count).expect("an answer")
    }
}
