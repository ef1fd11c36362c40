//! ractor: names of actors, of the whole process. A name comes and goes with its actor alone; there is no count but that of the list.

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, registry};

use super::Keeper;

struct Named;

impl Actor for Named {
    type Msg = ();
    type State = ();
    type Arguments = ();
    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

pub struct Ractor;

impl Keeper for Ractor {
    type Value = ActorCell;
    async fn filled(names: &[Arc<str>]) -> Self {
        for name in names {
            Named::spawn(Some(name.to_string()), Named, ()).await.expect("the name is free");
        }
        Self
    }
    fn lookup(&self, name: &str) -> Option<ActorCell> {
        registry::where_is(name)
    }
    fn list(&self) -> Vec<(impl AsRef<str>, ActorCell)> {
        let names = registry::registered().into_iter();
        names.filter_map(|name| registry::where_is(&name).map(|actor| (name, actor))).collect()
    }
    fn cycle(&self, _: &Arc<str>) -> bool {
        false
    }
    fn count(&self) -> Option<usize> {
        None
    }
}
