//! kameo: an actor for the pod, which supervises its children. Names are kameo's own, of the process.

use kameo::Actor;
use kameo::actor::{ActorRef, Spawn, WeakActorRef};
use kameo::error::{ActorStopReason, Infallible};
use kameo::message::{Context, Message};
use kameo::registry::ACTOR_REGISTRY;

use super::{CHILDREN, Pods};

#[derive(Clone)]
struct Echo;

impl Actor for Echo {
    type Args = ();
    type Error = Infallible;

    async fn on_start((): (), _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(Self)
    }
}

impl Message<u64> for Echo {
    type Reply = u64;

    async fn handle(&mut self, number: u64, _: &mut Context<Self, u64>) -> u64 {
        number
    }
}

struct Pod(Vec<ActorRef<Echo>>);

impl Actor for Pod {
    type Args = String;
    type Error = Infallible;

    async fn on_start(id: String, myself: ActorRef<Self>) -> Result<Self, Infallible> {
        myself.register(id.clone()).expect("the name is free");
        let mut children = Vec::with_capacity(CHILDREN.len());
        for child in CHILDREN {
            let started = Echo::supervise(&myself, ()).spawn().await;
            started.wait_for_startup().await;
            // The reference leads to whoever is the child, across restarts.
            started.register(format!("{id}/{child}")).expect("the name is free");
            children.push(started);
        }
        Ok(Self(children))
    }

    /// Its children are told to stop by kameo, all at once, before this.
    async fn on_stop(&mut self, _: WeakActorRef<Self>, _: ActorStopReason) -> Result<(), Infallible> {
        for child in self.0.iter().rev() {
            child.wait_for_shutdown().await;
        }
        Ok(())
    }
}

#[derive(Clone)]
pub struct Kameo;

impl Pods for Kameo {
    const STARTS: usize = 10_000;
    /// Each end goes through all names.
    const STOPS: usize = 100;

    async fn new() -> Self {
        Self
    }

    async fn start(&self, id: String) {
        let pod = Pod::spawn(id);
        pod.wait_for_startup().await;
    }

    async fn stop(&self, id: String) {
        let pod = ActorRef::<Pod>::lookup(id.as_str()).expect("it is a pod").expect("the pod runs");
        pod.stop_gracefully().await.expect("the pod can be told");
        pod.wait_for_shutdown().await;
    }

    fn runs(&self, id: &str) -> bool {
        ActorRef::<Pod>::lookup(id).is_ok_and(|pod| pod.is_some())
    }

    fn count(&self) -> usize {
        ACTOR_REGISTRY.lock().expect("nobody panics with it").len() / (1 + CHILDREN.len())
    }
}
