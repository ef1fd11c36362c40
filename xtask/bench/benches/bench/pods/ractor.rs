//! ractor: an actor for the pod, linked to its children, which it makes again when they end. Names are ractor's own, of the process.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ractor::concurrency::JoinHandle;
use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent, registry,
};

use super::{CHILDREN, Pods};

pub enum Ask {
    #[expect(dead_code, reason = "a child has a mailbox, used or not")]
    Echo(u64, RpcReplyPort<u64>),
}

pub struct Echo;

impl Actor for Echo {
    type Msg = Ask;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Ask>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Ask>, ask: Ask, (): &mut ()) -> Result<(), ActorProcessingErr> {
        let Ask::Echo(number, reply) = ask;
        Ok(reply.send(number)?)
    }
}

struct Pod;

struct Children {
    id: String,
    running: Vec<(ActorId, ActorCell)>,
}

async fn child(id: &str, child: &str, pod: ActorCell) -> Result<(ActorId, ActorCell), ActorProcessingErr> {
    let (started, _) = Echo::spawn_linked(Some(format!("{id}/{child}")), Echo, (), pod).await?;
    Ok((started.get_id(), started.get_cell()))
}

impl Actor for Pod {
    type Msg = ();
    type State = Children;
    type Arguments = String;

    async fn pre_start(&self, myself: ActorRef<()>, id: String) -> Result<Children, ActorProcessingErr> {
        let mut running = Vec::with_capacity(CHILDREN.len());
        for name in CHILDREN {
            running.push(child(&id, name, myself.get_cell()).await?);
        }
        Ok(Children { id, running })
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<()>,
        event: SupervisionEvent,
        state: &mut Children,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorTerminated(ended, ..) | SupervisionEvent::ActorFailed(ended, _) = event
            && let Some(at) = state.running.iter().position(|(id, _)| *id == ended.get_id())
        {
            state.running[at] = child(&state.id, CHILDREN[at], myself.get_cell()).await?;
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<()>, state: &mut Children) -> Result<(), ActorProcessingErr> {
        while let Some((_, child)) = state.running.pop() {
            child.stop_and_wait(None, None).await?;
        }
        Ok(())
    }
}

/// Their join handles, to await their end.
#[derive(Clone)]
pub struct Ractor(Arc<Mutex<Running>>);

/// The pods, by their names: what stops one, and what ends with it.
pub type Running = HashMap<String, (ActorCell, JoinHandle<()>)>;

impl Pods for Ractor {
    const STARTS: usize = 10_000;

    async fn new() -> Self {
        Self(Arc::default())
    }

    async fn start(&self, id: String) {
        let (pod, joined) = Pod::spawn(Some(id.clone()), Pod, id.clone()).await.expect("a pod starts");
        self.0.lock().insert(id, (pod.get_cell(), joined));
    }

    async fn stop(&self, id: String) {
        let (pod, joined) = self.0.lock().remove(&id).expect("the pod runs");
        pod.stop(None);
        joined.await.expect("the pod stops");
    }

    fn runs(&self, id: &str) -> bool {
        registry::where_is(id).is_some()
    }

    fn count(&self) -> usize {
        registry::registered().len() / (1 + CHILDREN.len())
    }
}
