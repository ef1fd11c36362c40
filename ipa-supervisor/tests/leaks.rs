//! 100,000 children come and go, and leave nothing. A process of its own, with one test, so that nobody else allocates in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipa_supervisor::{ChildSpec, DynamicSupervisor};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

const CHILDREN: usize = 100_000;
/// After so many, tables, queues and the allocator have found their sizes.
const WARM_UP: usize = 10_000;
const AT_ONCE: usize = 1_000;

/// By how much the resident memory may have grown. Measured, it wavers by half a MiB, and a leak of 42 bytes a child is more than
/// this.
const TOLERANCE: usize = 4 << 20;

/// Starts and terminates children up to the `until`th, `AT_ONCE` at a time.
async fn children_come_and_go(supervisor: &DynamicSupervisor, next: &Arc<AtomicUsize>, until: usize) {
    let mut callers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (supervisor, next) = (supervisor.clone(), next.clone());
        callers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= until {
                    return;
                }
                let spec = ChildSpec::task(format!("child {number}"), |cx| async move {
                    cx.stopped().await;
                });
                let child = supervisor.start_child(spec).await.unwrap().child().unwrap();
                supervisor.terminate_child(&child).await.unwrap();
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
async fn many_children_leave_nothing() {
    let supervisor = DynamicSupervisor::builder().start().await.unwrap();
    let next = Arc::default();
    children_come_and_go(&supervisor, &next, WARM_UP).await;
    let (tasks, before) = (Handle::current().metrics().num_alive_tasks(), resident());

    children_come_and_go(&supervisor, &next, WARM_UP + CHILDREN).await;

    assert_eq!(supervisor.count_children().await.unwrap().specs, 0);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks);
    if let (Some(before), Some(after)) = (before, resident()) {
        let grown = after.saturating_sub(before);
        assert!(grown <= TOLERANCE, "{} bytes a child: from {before} to {after}", grown / CHILDREN);
    }
    supervisor.shutdown().await.unwrap();
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}
