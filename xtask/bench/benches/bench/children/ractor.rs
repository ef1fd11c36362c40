//! ractor: an actor that starts linked children and makes those again that end.

use std::collections::HashMap;
use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent, call};

use super::{Child, Children};

/// Told to crash.
pub struct Crash;

/// The child, idle if there is none to tell of its runs.
pub struct Actress(pub Option<Arc<Child>>);

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

enum Ask {
    Start(Option<Arc<Child>>, RpcReplyPort<ActorCell>),
    /// Not to make it again.
    Forget(ActorId, RpcReplyPort<()>),
}

async fn start(
    child: Option<Arc<Child>>,
    supervisor: ActorCell,
    running: &mut Running,
) -> Result<ActorCell, ActorProcessingErr> {
    let (started, _) = Actress::spawn_linked(None, Actress(child.clone()), (), supervisor).await?;
    running.insert(started.get_id(), child);
    Ok(started.get_cell())
}

impl Actor for Supervisor {
    type Msg = Ask;
    type State = Running;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Ask>, (): ()) -> Result<Running, ActorProcessingErr> {
        Ok(Running::new())
    }

    async fn handle(
        &self,
        myself: ActorRef<Ask>,
        ask: Ask,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        match ask {
            Ask::Start(child, reply) => reply.send(start(child, myself.get_cell(), running).await?)?,
            Ask::Forget(child, reply) => {
                running.remove(&child);
                reply.send(())?;
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Ask>,
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
pub struct Ractor(ActorRef<Ask>);

impl Children for Ractor {
    const STARTS: usize = 30_000;
    type Handle = ActorCell;

    async fn new() -> Self {
        let (supervisor, _) = Supervisor::spawn(None, Supervisor, ()).await.expect("a supervisor starts");
        Self(supervisor)
    }

    async fn start_idle(&self) -> ActorCell {
        call!(self.0, |reply| Ask::Start(None, reply)).expect("the child comes up")
    }

    async fn start(&self, child: Arc<Child>) -> ActorCell {
        call!(self.0, |reply| Ask::Start(Some(child), reply)).expect("the child comes up")
    }

    async fn stop(&self, child: ActorCell) -> bool {
        call!(self.0, |reply| Ask::Forget(child.get_id(), reply)).expect("the supervisor answers");
        child.stop_and_wait(None, None).await.is_ok()
    }
}
