//! kameo: names of actors, of the whole process. They lead to 10,000 actors, as it is not actors that are measured.

use std::sync::Arc;

use kameo::Actor;
use kameo::actor::{ActorRef, Spawn};
use kameo::error::Infallible;
use kameo::registry::ACTOR_REGISTRY;

use super::Keeper;

pub struct Named;

impl Actor for Named {
    type Args = ();
    type Error = Infallible;
    async fn on_start((): (), _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(Self)
    }
}

/// How many actors there are at most.
const ACTORS: usize = 10_000;

pub struct Kameo(Vec<ActorRef<Named>>);

impl Keeper for Kameo {
    type Value = ActorRef<Named>;
    async fn filled(names: &[Arc<str>]) -> Self {
        let actors: Vec<_> = (0..names.len().min(ACTORS)).map(|_| Named::spawn(())).collect();
        for actor in &actors {
            actor.wait_for_startup().await;
        }
        for (name, actor) in names.iter().zip(actors.iter().cycle()) {
            actor.register(name.to_string()).expect("the name is free");
        }
        Self(actors)
    }
    fn lookup(&self, name: &str) -> Option<ActorRef<Named>> {
        ActorRef::lookup(name).expect("all are of one type")
    }
    fn list(&self) -> Vec<(impl AsRef<str>, ActorRef<Named>)> {
        let mut registry = ACTOR_REGISTRY.lock().expect("nobody panics with it");
        let names: Vec<_> = registry.names().cloned().collect();
        let entries = names.into_iter().filter_map(|name| {
            let actor = registry.get(&name).expect("all are of one type")?;
            Some((name, actor))
        });
        entries.collect()
    }
    fn cycle(&self, name: &Arc<str>) -> bool {
        self.0[0].register(name.to_string()).is_ok()
            && ACTOR_REGISTRY.lock().expect("nobody panics with it").remove(&**name)
    }
    fn count(&self) -> Option<usize> {
        Some(ACTOR_REGISTRY.lock().expect("nobody panics with it").len())
    }
}
