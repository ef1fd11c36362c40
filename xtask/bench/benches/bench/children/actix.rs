//! actix: its supervisor, on two arbiters' threads. It starts again what stopped by itself, with the same value; a panic ends the
//! thread with all that runs on it, so that and the storm cannot be had.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor, ActorContext, Addr, ArbiterHandle, Context, Handler, Message, Supervised, Supervisor};
use parking_lot::Mutex;

use super::{Child, Children};
use crate::pods::arbiters;

struct Actress(Option<Arc<Child>>);

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
    children: Arc<Mutex<Vec<Addr<Actress>>>>,
}

impl Actix {
    fn spawn(&self, child: Option<Arc<Child>>) -> Addr<Actress> {
        let arbiter = &self.arbiters[self.next.fetch_add(1, Ordering::Relaxed) % 2];
        let started = Supervisor::start_in_arbiter(arbiter, move |_| Actress(child));
        // A child ends with its last address.
        self.children.lock().push(started.clone());
        started
    }
}

impl Children for Actix {
    const PANICS: bool = false;
    const STORM: usize = 0;

    async fn new() -> Self {
        Self { arbiters: arbiters(), next: Arc::default(), children: Arc::default() }
    }

    async fn start_idle(&self) {
        self.spawn(None);
    }

    async fn start(&self, child: Arc<Child>) {
        let started = self.spawn(Some(child.clone()));
        child.crashed_by(move || started.do_send(Crash));
    }
}
