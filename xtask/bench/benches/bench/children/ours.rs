//! The stack's dynamic supervisor.

use ipa_supervisor::{ChildSpec, DynamicSupervisor, RestartIntensity};

use super::*;

#[derive(Clone)]
pub struct Ours(Arc<DynamicSupervisor>);

impl Children for Ours {
    async fn new() -> Self {
        let intensity = RestartIntensity::new(u32::MAX, std::time::Duration::from_secs(1));
        let supervisor = DynamicSupervisor::builder().intensity(intensity).start().await;
        Self(Arc::new(supervisor.expect("a supervisor starts")))
    }

    async fn start_idle(&self) {
        let spec = ChildSpec::task("child", |_| std::future::pending::<()>());
        let started = self.0.start_child(spec).await.expect("the child comes up");
        assert!(started.child().is_some());
    }

    async fn start(&self, child: Arc<Child>) {
        let spec = ChildSpec::task("child", move |_| child.clone().run());
        let started = self.0.start_child(spec).await.expect("the child comes up");
        assert!(started.child().is_some());
    }
}
