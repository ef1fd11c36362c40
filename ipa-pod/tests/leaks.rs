//! 100,000 pods come and go, and leave nothing. A process of its own, with one test, so that nobody else allocates in it.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::*;
use ipa_pod::{Admission, AdmitError, Permit, PodScope, PodSpec, PodSupervisor, TaskId};
use ipa_supervisor::{BoxError, ChildSpec, Flow, Reply, Server, ServerContext, async_trait};
use tokio::runtime::Handle;

const PODS: usize = 100_000;
/// After so many, tables, queues and the allocator have found their sizes.
const WARM_UP: usize = 10_000;
const AT_ONCE: usize = 1_000;

/// By how much the resident memory may have grown. Measured, it wavers by half a MiB, and a leak of 42 bytes a pod is more than
/// this: a log of one short line for each pod is found.
const TOLERANCE: usize = 4 << 20;

/// Every task has a stream. (That of the other tests keeps a log, which grows.)
struct Everything;

#[async_trait]
impl Admission for Everything {
    async fn admit(&self, _task: &TaskId) -> Result<Permit, AdmitError> {
        Ok(Permit::new())
    }
}

struct Greeter;

#[async_trait]
impl Server for Greeter {
    type Message = Reply<()>;
    async fn handle(
        &mut self,
        reply: Reply<()>,
        _cx: &mut ServerContext<Reply<()>>,
    ) -> Result<Flow, BoxError> {
        reply.send(());
        Ok(Flow::Continue)
    }
}

fn pod(_scope: &PodScope) -> PodSpec {
    PodSpec::new().child(ChildSpec::server("server", || Greeter).0).child(idle("idle")).label("all")
}

/// Starts and stops so many pods, each of a task that there was never before, `AT_ONCE` at a time.
async fn pods_come_and_go(pods: &PodSupervisor, next: &Arc<AtomicUsize>, until: usize) {
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (pods, next) = (pods.clone(), next.clone());
        callers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= until {
                    return;
                }
                let task = format!("task {number}");
                let pod = pods.start_pod(task.as_str()).await.unwrap();
                pod.address::<Reply<()>>("server").unwrap().call(|reply| reply).await.unwrap();
                pods.stop_pod(&task).await.unwrap();
            }
        });
    }
    callers.join_all().await;
    next.store(until, Ordering::Relaxed);
}

/// The resident memory in bytes, where the system tells.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().unwrap() * 1024)
}

#[tokio::test]
async fn many_pods_leave_nothing() {
    let pods = PodSupervisor::builder(Everything, |scope: &PodScope| Ok(pod(scope))).start().await.unwrap();
    let next = Arc::default();
    pods_come_and_go(&pods, &next, WARM_UP).await;
    let (tasks, before) = (Handle::current().metrics().num_alive_tasks(), resident());

    pods_come_and_go(&pods, &next, WARM_UP + PODS).await;

    assert_eq!(pods.stats().ended_total as usize, WARM_UP + PODS);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks);
    assert_eq!(pods.count_pods(), 0);
    assert_eq!(pods.registry().children().count(), 0);
    assert_eq!(pods.registry().labels().count_members("all"), 0);
    if let (Some(before), Some(after)) = (before, resident()) {
        let grown = after.saturating_sub(before);
        assert!(grown <= TOLERANCE, "{} bytes a pod: from {before} to {after}", grown / PODS);
    }
    pods.shutdown().await.unwrap();
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

/// What a pod was made with goes with it, whoever still has a handle to it.
#[tokio::test]
async fn a_handle_keeps_no_factory() {
    let pods = PodSupervisor::builder(Everything, |scope: &PodScope| Ok(pod(scope))).start().await.unwrap();
    let captured = Arc::new(());
    let factory = {
        let captured = captured.clone();
        move |scope: &PodScope| {
            let _ = &captured;
            Ok(pod(scope))
        }
    };
    let first = pods.start_pod_with("t", factory).await.unwrap();
    let scope = PodScope::of(&first);
    let second = pods.restart_pod("t").await.unwrap();
    assert_eq!(
        (first.has_ended(), Arc::strong_count(&captured)),
        (true, 2),
        "the second is made with it, too"
    );
    pods.stop_pod("t").await.unwrap();
    assert_eq!((second.has_ended(), Arc::strong_count(&captured)), (true, 1));
    drop(scope);
}
