//! How soon others are answered while 10,000 pods start whose children take a second to come up.
//!
//! `cargo bench -p ipa-pod --bench responsive`. Prints medians and worst cases; exits with 1 if a median is over 5 ms.
#![allow(missing_docs)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ipa_pod::{Admission, AdmitError, Permit, PodScope, PodSpec, PodSupervisor, TaskId, async_trait};
use ipa_supervisor::{BoxError, Child, ChildSpec, Context, Exit, Init};

const PODS: usize = 10_000;
const LIMIT: Duration = Duration::from_millis(5);

struct Everything;

#[async_trait]
impl Admission for Everything {
    async fn admit(&self, _task: &TaskId) -> Result<Permit, AdmitError> {
        Ok(Permit::new())
    }
}

struct Slow(Duration);

#[async_trait]
impl Child for Slow {
    async fn init(&mut self, _cx: &mut Context) -> Result<Init, BoxError> {
        tokio::time::sleep(self.0).await;
        Ok(Init::Ready)
    }
    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        std::future::pending().await
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let pods = PodSupervisor::builder(Everything, |scope: &PodScope| {
        let time =
            if scope.task().as_str().starts_with("slow") { Duration::from_secs(1) } else { Duration::ZERO };
        Ok(PodSpec::new().child(ChildSpec::new("child", move || Slow(time))))
    })
    .start()
    .await
    .expect("a pod supervisor starts");

    let (mut lists, mut stops, mut starts, mut rounds) = (Vec::new(), Vec::new(), Vec::new(), 0);
    // Each round starts them all and asks as long as they are starting.
    while starts.len() < 200 {
        let starting: Vec<_> = (0..PODS)
            .map(|n| {
                let pods = pods.downgrade();
                tokio::spawn(async move { pods.start_pod(format!("slow-{n}")).await.map(drop) })
            })
            .collect();
        while pods.count_pods() < PODS {
            tokio::task::yield_now().await;
        }
        while pods.stats().starting > PODS / 2 {
            let begun = Instant::now();
            pods.start_pod("other").await.expect("another pod starts");
            starts.push(begun.elapsed());
            let begun = Instant::now();
            assert!(pods.list_pods().len() > PODS);
            lists.push(begun.elapsed());
            let begun = Instant::now();
            pods.stop_pod("other").await.expect("another pod stops");
            stops.push(begun.elapsed());
        }
        for start in starting {
            start.await.expect("no panic").expect("it starts");
        }
        for info in pods.list_pods() {
            info.pod.request_stop("next round");
        }
        for info in pods.list_pods() {
            info.pod.wait().await;
        }
        rounds += 1;
    }

    println!("while {PODS} pods start, {} times in {rounds} rounds:", starts.len());
    println!("| what              | median      | worst       |");
    println!("|-------------------|-------------|-------------|");
    let mut met = true;
    for (what, mut times) in [("list_pods", lists), ("start of another", starts), ("stop of another", stops)]
    {
        times.sort();
        let median = times[times.len() / 2];
        met &= median < LIMIT;
        println!("| {what:17} | {median:>11.2?} | {:>11.2?} |", times[times.len() - 1]);
    }
    pods.shutdown().await.expect("all stop");
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
