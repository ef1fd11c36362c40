//! kameo: an actor whose children are supervised.

use std::sync::Arc;
use std::time::Duration;

use kameo::Actor;
use kameo::actor::{ActorRef, Spawn};
use kameo::error::Infallible;
use kameo::message::{Context, Message};
use kameo::supervision::RestartPolicy;

use super::{Child, Children};

struct Supervisor;

impl Actor for Supervisor {
    type Args = ();
    type Error = Infallible;

    async fn on_start((): (), _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(Self)
    }
}

pub struct Actress(Option<Arc<Child>>);

impl Actor for Actress {
    type Args = Option<Arc<Child>>;
    type Error = Infallible;

    async fn on_start(child: Self::Args, myself: ActorRef<Self>) -> Result<Self, Infallible> {
        if let Some(child) = &child {
            // The reference leads to whoever is the child, across restarts.
            child.crashed_by(move || myself.tell(Crash).try_send().expect("the child runs"));
            child.ran();
        }
        Ok(Self(child))
    }
}

struct Crash;

impl Message<Crash> for Actress {
    type Reply = Result<(), std::io::Error>;

    async fn handle(&mut self, _: Crash, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        self.0.as_ref().map_or(Ok(()), |child| child.end())
    }
}

#[derive(Clone)]
pub struct Kameo(ActorRef<Supervisor>);

impl Kameo {
    async fn spawn(&self, child: Option<Arc<Child>>) -> ActorRef<Actress> {
        let supervised = Actress::supervise(&self.0, child)
            // One that is told to stop stays away.
            .restart_policy(RestartPolicy::Transient)
            .restart_limit(u32::MAX, Duration::from_secs(1));
        let started = supervised.spawn().await;
        started.wait_for_startup().await;
        started
    }
}

impl Children for Kameo {
    const STARTS: usize = 30_000;
    type Handle = ActorRef<Actress>;

    async fn new() -> Self {
        Self(Supervisor::spawn(()))
    }

    async fn start_idle(&self) -> ActorRef<Actress> {
        self.spawn(None).await
    }

    async fn start(&self, child: Arc<Child>) -> ActorRef<Actress> {
        self.spawn(Some(child)).await
    }

    async fn stop(&self, child: ActorRef<Actress>) -> bool {
        child.stop_gracefully().await.expect("the child can be told");
        child.wait_for_shutdown().await;
        true
    }
}
