//! actix: its supervisor, on two arbiters' threads. It starts again what stopped by itself, with the same value; a panic ends the
//! thread with all that runs on it, so that and the storm cannot be had.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor, ActorContext, Addr, ArbiterHandle, Context, Handler, Message, Supervised, Supervisor};

use super::{Child, Children};
use crate::pods::arbiters;

pub struct Actress(Option<Arc<Child>>);

impl Actor for Actress {
    type Context = Context<Self>;
    fn started(&mut self, _: &mut Self::Context) {
        if let Some(child) = &self.0 {
            child.ran();
        }
    }
}

impl Supervised for Actress {}

#[derive(Message)]
#[rtype(result = "()")]
struct Crash;

impl Handler<Crash> for Actress {
    type Result = ();
    fn handle(&mut self, _: Crash, context: &mut Context<Self>) {
        if let Some(child) = &self.0
            && child.end().is_err()
        {
            context.terminate();
        }
    }
}

#[derive(Clone)]
pub struct Actix {
    arbiters: [ArbiterHandle; 2],
    next: Arc<AtomicUsize>,
}

impl Actix {
    fn spawn(&self, child: Option<Arc<Child>>) -> Addr<Actress> {
        let arbiter = &self.arbiters[self.next.fetch_add(1, Ordering::Relaxed) % 2];
        Supervisor::start_in_arbiter(arbiter, move |_| Actress(child))
    }
}

impl Children for Actix {
    const PANICS: bool = false;
    const STORM: usize = 0;

    /// A child ends with its last address.
    type Handle = Addr<Actress>;

    async fn new() -> Self {
        Self { arbiters: arbiters(), next: Arc::default() }
    }

    async fn start_idle(&self) -> Addr<Actress> {
        self.spawn(None)
    }

    async fn start(&self, child: Arc<Child>) -> Addr<Actress> {
        let started = self.spawn(Some(child.clone()));
        let to_itself = started.clone();
        child.crashed_by(move || to_itself.do_send(Crash));
        started
    }

    async fn stop(&self, _: Addr<Actress>) -> bool {
        false
    }
}
