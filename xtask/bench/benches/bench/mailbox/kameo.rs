//! kameo: its bounded mailbox, of the capacity of ours.

use kameo::Actor;
use kameo::actor::{ActorRef, Spawn};
use kameo::error::Infallible;
use kameo::mailbox;
use kameo::message::{Context, Message};

use super::Mail;

struct Count(u64);

impl Actor for Count {
    type Args = ();
    type Error = Infallible;
    async fn on_start((): (), _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(Self(0))
    }
}

struct Call(u64);
struct Cast;
struct Counted;

impl Message<Call> for Count {
    type Reply = u64;
    async fn handle(&mut self, Call(number): Call, _: &mut Context<Self, u64>) -> u64 {
        number
    }
}

impl Message<Cast> for Count {
    type Reply = ();
    async fn handle(&mut self, _: Cast, _: &mut Context<Self, ()>) {
        self.0 += 1;
    }
}

impl Message<Counted> for Count {
    type Reply = u64;
    async fn handle(&mut self, _: Counted, _: &mut Context<Self, u64>) -> u64 {
        self.0
    }
}

#[derive(Clone)]
pub struct Kameo(ActorRef<Count>);

impl Mail for Kameo {
    async fn new() -> Self {
        Self(Count::spawn_with_mailbox((), mailbox::bounded(1024)))
    }
    async fn call(&self, number: u64) -> u64 {
        self.0.ask(Call(number)).await.expect("an answer")
    }
    async fn cast(&self) {
        self.0.tell(Cast).await.expect("it runs");
    }
    async fn count(&self) -> u64 {
        self.0.ask(Counted).await.expect("an answer")
    }
}
