//! ractor-supervisor: its supervisor is the pod. Its start is answered before its children are up, so that is asked for; it does not
//! stop its children in order, so that is done by whoever stops it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ractor::{call, registry};
use ractor_supervisor::{
    ChildSpec, Restart, SpawnFn, Supervisor, SupervisorArguments, SupervisorMsg, SupervisorOptions,
    SupervisorStrategy,
};

use super::ractor::{Echo, Running};
use super::{CHILDREN, Pods};

#[derive(Clone)]
pub struct RactorSupervisor(Arc<Mutex<Running>>);

fn spec(id: &str, child: &str) -> ChildSpec {
    ChildSpec {
        id: format!("{id}/{child}"),
        restart: Restart::Transient,
        spawn_fn: SpawnFn::new(|pod, id| async move {
            let (child, _) = Supervisor::spawn_linked(id, Echo, (), pod).await?;
            Ok(child.get_cell())
        }),
        backoff_fn: None,
        reset_after: None,
    }
}

impl Pods for RactorSupervisor {
    const STARTS: usize = 10_000;

    async fn new() -> Self {
        Self(Arc::default())
    }

    async fn start(&self, id: String) {
        let options = SupervisorOptions {
            strategy: SupervisorStrategy::OneForOne,
            max_restarts: 3,
            max_window: Duration::from_secs(5),
            reset_after: None,
        };
        let child_specs = CHILDREN.map(|child| spec(&id, child)).into();
        let arguments = SupervisorArguments { child_specs, options };
        let (pod, joined) = Supervisor::spawn(id.clone(), arguments).await.expect("a pod starts");
        // Answered when all children have been spawned.
        call!(pod, SupervisorMsg::InspectState).expect("the pod answers");
        self.0.lock().insert(id, (pod.get_cell(), joined));
    }

    async fn stop(&self, id: String) {
        let (pod, joined) = self.0.lock().remove(&id).expect("the pod runs");
        for child in CHILDREN.iter().rev() {
            let child = registry::where_is(format!("{id}/{child}")).expect("the child runs");
            child.stop_and_wait(None, None).await.expect("the child stops");
        }
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
