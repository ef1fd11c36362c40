//! The stack's dynamic supervisor.

use ipa_supervisor::{ChildRef, ChildSpec, DynamicSupervisor, RestartIntensity};

use super::*;

#[derive(Clone)]
pub struct Ours(Arc<DynamicSupervisor>);

impl Children for Ours {
    type Handle = ChildRef;

    async fn new() -> Self {
        let intensity = RestartIntensity::new(u32::MAX, std::time::Duration::from_secs(1));
        let supervisor = DynamicSupervisor::builder().intensity(intensity).start().await;
        Self(Arc::new(supervisor.expect("a supervisor starts")))
    }

    async fn start_idle(&self) -> ChildRef {
        let spec = ChildSpec::task("child", |_| std::future::pending::<()>());
        let started = self.0.start_child(spec).await.expect("the child comes up");
        started.child().expect("it is not ignored")
    }

    async fn start(&self, child: Arc<Child>) -> ChildRef {
        let spec = ChildSpec::task("child", move |_| child.clone().run());
        let started = self.0.start_child(spec).await.expect("the child comes up");
        started.child().expect("it is not ignored")
    }

    async fn stop(&self, child: ChildRef) -> bool {
        self.0.terminate_child(&child).await.is_ok()
    }
}
