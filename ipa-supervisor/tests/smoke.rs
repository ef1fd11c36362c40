//! The shortest way through every layer of this crate.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipa_supervisor::{
    BoxError, Cause, Child, ChildSpec, ChildState, Context, Exit, ExitReason, Init, StartError, Supervisor,
    async_trait,
};

type Log = Arc<Mutex<Vec<String>>>;

struct Logged {
    name: &'static str,
    log: Log,
    fail: bool,
}

#[async_trait]
impl Child for Logged {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        self.log.lock().unwrap().push(format!("init {}{}", self.name, cx.child().incarnation));
        tokio::time::sleep(Duration::from_millis(10)).await;
        if self.fail { Err("no".into()) } else { Ok(Init::Ready) }
    }
    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        std::future::pending().await
    }
    async fn terminate(&mut self, _cx: &mut Context, reason: &ExitReason) {
        self.log.lock().unwrap().push(format!("terminate {} {reason}", self.name));
    }
}

fn logged(name: &'static str, log: &Log, fail: bool) -> ChildSpec {
    let log = log.clone();
    ChildSpec::new(name, move || Logged { name, log: log.clone(), fail })
}

#[tokio::test(start_paused = true)]
async fn children_start_in_order_and_stop_in_reverse() {
    let log = Log::default();
    let supervisor = Supervisor::builder()
        .child(logged("a", &log, false))
        .child(logged("b", &log, false))
        .start()
        .await
        .unwrap();
    supervisor.shutdown().await.unwrap();
    let log = log.lock().unwrap().clone();
    assert_eq!(log, ["init a#1", "init b#1", "terminate b shutdown", "terminate a shutdown"]);
    assert!(matches!(supervisor.wait().await, ExitReason::Shutdown(Cause::Requested(None))));
    assert!(supervisor.which_children().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_is_rolled_back() {
    let log = Log::default();
    let error = Supervisor::builder()
        .child(logged("a", &log, false))
        .child(logged("b", &log, true))
        .child(logged("c", &log, false))
        .start()
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::ChildFailed(failure) if failure.child.as_str() == "b"));
    let log = log.lock().unwrap().clone();
    assert!(log[2].starts_with("terminate a shutdown"), "{log:?}");
    assert_eq!(log.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn nested_supervisors_stop_depth_first() {
    let log = Log::default();
    let inner_log = log.clone();
    let supervisor = Supervisor::builder()
        .child(logged("a", &log, false))
        .child(ChildSpec::supervisor("inner", move || {
            Supervisor::builder().child(logged("x", &inner_log, false)).child(logged("y", &inner_log, false))
        }))
        .child(logged("b", &log, false))
        .start()
        .await
        .unwrap();
    let children = supervisor.which_children().await.unwrap();
    assert!(children.iter().all(|child| child.state == ChildState::Running));
    supervisor.shutdown().await.unwrap();
    let stops: Vec<String> = log
        .lock()
        .unwrap()
        .iter()
        .filter_map(|line| line.strip_prefix("terminate ").map(String::from))
        .collect();
    assert_eq!(stops, ["b shutdown", "y shutdown", "x shutdown", "a shutdown"]);
}
