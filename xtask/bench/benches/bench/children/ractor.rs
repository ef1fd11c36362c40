//! ractor: an actor that starts linked children and makes those again that end.

use std::collections::HashMap;
use std::sync::Arc;

use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent, async_trait,
    call,
};

use super::{Child, Children};

/// Told to crash.
pub struct Crash;

/// The child, idle if there is none to tell of its runs.
pub struct Actress(pub Option<Arc<Child>>);

#[async_trait]
impl Actor for Actress {
    type Msg = Crash;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Crash>, (): ()) -> Result<(), ActorProcessingErr> {
        if let Some(child) = &self.0 {
            child.crashed_by(move || myself.cast(Crash).expect("the child runs"));
        }
        Ok(())
    }

    async fn post_start(&self, _: ActorRef<Crash>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        if let Some(child) = &self.0 {
            child.ran();
        }
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Crash>, Crash: Crash, (): &mut ()) -> Result<(), ActorProcessingErr> {
        Ok(self.0.as_ref().map_or(Ok(()), |child| child.end())?)
    }
}

struct Supervisor;

type Running = HashMap<ActorId, Option<Arc<Child>>>;

struct Start(Option<Arc<Child>>, RpcReplyPort<()>);

async fn start(
    child: Option<Arc<Child>>,
    supervisor: ActorCell,
    running: &mut Running,
) -> Result<(), ActorProcessingErr> {
    let (started, _) = Actress::spawn_linked(None, Actress(child.clone()), (), supervisor).await?;
    running.insert(started.get_id(), child);
    Ok(())
}

#[async_trait]
impl Actor for Supervisor {
    type Msg = Start;
    type State = Running;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Start>, (): ()) -> Result<Running, ActorProcessingErr> {
        Ok(Running::new())
    }

    async fn handle(
        &self,
        myself: ActorRef<Start>,
        Start(child, reply): Start,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        start(child, myself.get_cell(), running).await?;
        Ok(reply.send(())?)
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Start>,
        event: SupervisionEvent,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorTerminated(ended, ..) | SupervisionEvent::ActorFailed(ended, _) = event
            && let Some(child) = running.remove(&ended.get_id())
        {
            start(child, myself.get_cell(), running).await?;
        }
        Ok(())
    }
}

#[derive(Clone)]
pub struct Ractor(ActorRef<Start>);

impl Children for Ractor {
    async fn new() -> Self {
        let (supervisor, _) = Supervisor::spawn(None, Supervisor, ()).await.expect("a supervisor starts");
        Self(supervisor)
    }

    async fn start_idle(&self) {
        call!(self.0, |reply| Start(None, reply)).expect("the child comes up");
    }

    async fn start(&self, child: Arc<Child>) {
        call!(self.0, |reply| Start(Some(child), reply)).expect("the child comes up");
    }
}
