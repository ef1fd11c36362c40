//! The stack's own pods, with nothing left out: admission, registries, status, events, restart policy. Beside them a supervisor of the
//! stack's alone, which is what task-supervisor's are.

use std::collections::HashMap;
use std::sync::Arc;

use ipa_pod::{Admission, AdmitError, Permit, PodScope, PodSpec, PodSupervisor, TaskId};
use ipa_supervisor::{BoxError, ChildSpec, Flow, Reply, Server, ServerContext, Supervisor, async_trait};
use parking_lot::Mutex;

use super::{CHILDREN, Pods};

struct Everything;

#[async_trait]
impl Admission for Everything {
    async fn admit(&self, _task: &TaskId) -> Result<Permit, AdmitError> {
        Ok(Permit::new())
    }
}

struct Echo;

#[async_trait]
impl Server for Echo {
    type Message = (u64, Reply<u64>);
    async fn handle(
        &mut self,
        (number, reply): Self::Message,
        _cx: &mut ServerContext<Self::Message>,
    ) -> Result<Flow, BoxError> {
        reply.send(number);
        Ok(Flow::Continue)
    }
}

#[derive(Clone)]
pub struct Ours(Arc<PodSupervisor>);

impl Pods for Ours {
    async fn new() -> Self {
        let factory = |_: &PodScope| {
            let children = CHILDREN.map(|id| ChildSpec::server(id, || Echo).0);
            Ok(PodSpec::new().children(children))
        };
        let pods = PodSupervisor::builder(Everything, factory).start().await;
        Self(Arc::new(pods.expect("a pod supervisor starts")))
    }

    async fn start(&self, id: String) {
        self.0.start_pod(id).await.expect("a pod starts");
    }

    async fn stop(&self, id: String) {
        self.0.stop_pod(id).await.expect("a pod stops");
    }

    fn runs(&self, id: &str) -> bool {
        self.0.get_pod(id).is_ok()
    }

    fn count(&self) -> usize {
        self.0.count_pods()
    }
}

/// A supervisor of four children for each pod, kept in a map of the user's: without names for children, admission, status, events.
#[derive(Clone)]
pub struct OurSupervisor(Arc<Mutex<HashMap<String, Supervisor>>>);

impl Pods for OurSupervisor {
    async fn new() -> Self {
        Self(Arc::default())
    }

    async fn start(&self, id: String) {
        let children = CHILDREN.map(|id| ChildSpec::server(id, || Echo).0);
        let pod = Supervisor::builder().children(children).start().await.expect("a supervisor starts");
        self.0.lock().insert(id, pod);
    }

    async fn stop(&self, id: String) {
        let pod = self.0.lock().remove(&id).expect("the supervisor runs");
        pod.shutdown().await.expect("the supervisor stops");
    }

    fn runs(&self, id: &str) -> bool {
        self.0.lock().contains_key(id)
    }

    fn count(&self) -> usize {
        self.0.lock().len()
    }
}
