//! actix: a supervised actor for each child, on two arbiters' threads. It is shown and carries no mark: a start is not awaited, a panic
//! is not caught, a supervisor starts again what stopped by itself, and names are kept in a map of the user's own.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{
    Actor, ActorContext, Addr, Arbiter, ArbiterHandle, Context, Handler, Message, Supervised, Supervisor,
    System,
};
use parking_lot::Mutex;

use super::{CHILDREN, Pods};

struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Supervised for Echo {}

#[derive(Message)]
#[rtype(result = "u64")]
struct Ask(u64);

impl Handler<Ask> for Echo {
    type Result = u64;
    fn handle(&mut self, Ask(number): Ask, _: &mut Context<Self>) -> u64 {
        number
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

impl Handler<Stop> for Echo {
    type Result = ();
    fn handle(&mut self, _: Stop, context: &mut Context<Self>) {
        context.terminate();
    }
}

/// Two threads that run actors.
pub fn arbiters() -> [ArbiterHandle; 2] {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let system = System::new();
        let arbiters =
            system.block_on(async { [Arbiter::new(), Arbiter::new()].map(|arbiter| arbiter.handle()) });
        send.send(arbiters).expect("somebody waits for them");
        system.run().expect("the system runs");
    });
    receive.recv().expect("the system starts")
}

#[derive(Clone)]
pub struct Actix {
    arbiters: [ArbiterHandle; 2],
    pods: Arc<Mutex<HashMap<String, [Addr<Echo>; 4]>>>,
}

impl Pods for Actix {
    async fn new() -> Self {
        Self { arbiters: arbiters(), pods: Arc::default() }
    }

    async fn start(&self, id: String) {
        let arbiter = &self.arbiters[usize::from(id.as_bytes()[7] % 2)];
        let children = CHILDREN.map(|_| Supervisor::start_in_arbiter(arbiter, |_| Echo));
        self.pods.lock().insert(id, children);
    }

    /// A supervisor ends with the last address of an actor that has stopped.
    async fn stop(&self, id: String) {
        let children = self.pods.lock().remove(&id).expect("the pod runs");
        for child in children.into_iter().rev() {
            child.send(Stop).await.expect("the child stops");
        }
    }

    fn runs(&self, id: &str) -> bool {
        self.pods.lock().contains_key(id)
    }

    fn count(&self) -> usize {
        self.pods.lock().len()
    }
}
