//! Calls that would wait for their own caller.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use ipa_pod::{PodSpec, PodStatus, PodSupervisor, PodSupervisorRef};
use ipa_supervisor::ChildSpec;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// PL-14 from within a pod, a call that would wait for that pod is refused, at whatever depth; the pod goes on.
#[tokio::test(start_paused = true)]
async fn a_call_that_would_wait_for_its_own_caller_is_refused() {
    async fn attempts(pods: PodSupervisorRef) -> Vec<String> {
        let pod = pods.get_pod("t").unwrap();
        vec![
            format!("{:?}", pods.stop_pod("t").await),
            format!("{:?}", pods.restart_pod("t").await.map(|_| ())),
            format!("{:?}", pods.drain().await),
            format!("{:?}", pods.shutdown().await),
            format!("{:?}", pod.terminate_child("inner").await),
            // No harm in what does not wait for the caller.
            format!("{:?}", pods.stop_pod("other").await),
            format!("{:?}", pods.restart_pod("third").await.map(|_| ())),
        ]
    }
    let slot: Arc<Mutex<Option<PodSupervisorRef>>> = Arc::default();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let pods = start(&Streams::any(), {
        let slot = slot.clone();
        move |scope| {
            if scope.task().as_str() != "t" {
                return PodSpec::new().child(idle("a"));
            }
            let (slot, tell) = (slot.clone(), tell.clone());
            let leaf = move || {
                let (slot, tell) = (slot.clone(), tell.clone());
                ipa_supervisor::Supervisor::builder().child(ChildSpec::task("leaf", move |_cx| {
                    let (pods, tell) = (slot.lock().unwrap().clone().unwrap(), tell.clone());
                    async move {
                        tell.send(attempts(pods).await).unwrap();
                        std::future::pending::<()>().await
                    }
                }))
            };
            PodSpec::new().child(ChildSpec::supervisor("inner", leaf))
        }
    })
    .await;
    *slot.lock().unwrap() = Some(pods.downgrade());
    pods.start_pod("other").await.unwrap();
    pods.start_pod("third").await.unwrap();
    let begun = Instant::now();
    let pod = pods.start_pod("t").await.unwrap();
    let answers = told.recv().await.unwrap();
    assert_eq!(
        answers,
        [
            "Err(WouldDeadlock)",
            "Err(Stop(WouldDeadlock))",
            "Err(WouldDeadlock)",
            "Err(WouldDeadlock)",
            "Err(WouldDeadlock)",
            "Ok(())",
            "Ok(())",
        ]
    );
    assert_eq!((begun.elapsed(), pod.status()), (Duration::ZERO, PodStatus::Active));
    pods.start_pod("new").await.expect("the refused drain and shutdown have done nothing");
}

/// PL-14 the same from an init, where start_child would wait for the start that it is part of.
#[tokio::test(start_paused = true)]
async fn an_init_cannot_wait_for_its_own_start() {
    struct Asks(ipa_pod::PodScope, Log);
    #[ipa_pod::async_trait]
    impl ipa_supervisor::Child for Asks {
        async fn init(
            &mut self,
            _cx: &mut ipa_supervisor::Context,
        ) -> Result<ipa_supervisor::Init, ipa_supervisor::BoxError> {
            let pod = self.0.pod();
            self.1.push(format!("{:?}", pod.start_child(idle("x")).await));
            self.1.push(format!("{:?}", pod.terminate_child("a").await));
            Ok(ipa_supervisor::Init::Ready)
        }
        async fn run(
            &mut self,
            _: &mut ipa_supervisor::Context,
        ) -> Result<ipa_supervisor::Exit, ipa_supervisor::BoxError> {
            let started = self.0.pod().start_child(idle("x")).await?;
            self.1.push(started.child().unwrap().to_string());
            std::future::pending().await
        }
    }
    let log = Log::default();
    let pods = start(&Streams::any(), {
        let log = log.clone();
        move |scope| {
            let (scope, log) = (scope.clone(), log.clone());
            PodSpec::new().child(ChildSpec::new("a", move || Asks(scope.clone(), log.clone())))
        }
    })
    .await;
    pods.start_pod("t").await.unwrap();
    settle().await;
    assert_eq!(log.take(), ["Err(WouldDeadlock)", "Err(WouldDeadlock)", "x#1"]);
}

/// PL-14 an admission that asks for its own pod's end is refused too; a pod's child may ask without waiting.
#[tokio::test(start_paused = true)]
async fn an_admission_cannot_wait_for_its_own_pod() {
    let slot: Arc<Mutex<Option<PodSupervisorRef>>> = Arc::default();
    let log = Log::default();
    let admission = {
        let (slot, log) = (slot.clone(), log.clone());
        Admit::by(move |task| {
            let (pods, log) = (slot.lock().unwrap().clone().unwrap(), log.clone());
            async move {
                log.push(format!("{:?}", pods.stop_pod(&task).await));
                log.push(format!("{:?}", pods.restart_pod(&task).await.map(|_| ())));
                log.push(format!("{:?}", pods.drain().await));
                Ok(ipa_pod::Permit::new())
            }
        })
    };
    let (done, asked) = oneshot::channel();
    let done = Mutex::new(Some(done));
    let pods = PodSupervisor::builder(admission, move |scope: &ipa_pod::PodScope| {
        let (scope, done) = (scope.clone(), done.lock().unwrap().take());
        Ok(PodSpec::new().child(ChildSpec::once("a", move |_cx| async move {
            tokio::time::sleep(MS).await; // the start is over
            scope.pod().request_stop("by myself");
            let _ = done.unwrap().send(());
            std::future::pending::<()>().await
        })))
    })
    .start()
    .await
    .unwrap();
    *slot.lock().unwrap() = Some(pods.downgrade());
    let pod = pods.start_pod("t").await.unwrap();
    asked.await.unwrap();
    assert_eq!(pod.wait().await.to_string(), "shutdown: by myself");
    assert_eq!(log.take(), ["Err(WouldDeadlock)", "Err(Stop(WouldDeadlock))", "Err(WouldDeadlock)"]);
}

/// PL-14 nor for what the pod is to do when it is admitted; and a pod that is a child of a supervisor of the user's is its own, too.
#[tokio::test(start_paused = true)]
async fn an_admission_cannot_wait_for_what_comes_after_it() {
    let slot: Arc<Mutex<Option<PodSupervisorRef>>> = Arc::default();
    let log = Log::default();
    let admission = {
        let (slot, log) = (slot.clone(), log.clone());
        Admit::by(move |task| {
            let (pods, log) = (slot.lock().unwrap().clone().unwrap(), log.clone());
            async move {
                let pod = pods.get_pod(&task).unwrap();
                log.push(format!("{:?}", pod.start_child(idle("b")).await));
                log.push(format!("{:?}", pod.terminate_child("a").await));
                log.push(format!("{:?}", pod.restart_child("a").await));
                log.push(format!("{:?}", pod.delete_child("a").await));
                log.push(format!("{:?}", pods.stop_pod(&task).await));
                let started = pods.get_or_start(&task).await;
                log.push(started.map_err(|error| error.to_string()).map(|_| ()).unwrap_err());
                Ok(ipa_pod::Permit::new())
            }
        })
    };
    let pods = PodSupervisor::builder(admission, |_: &_| Ok(PodSpec::new().child(idle("a"))));
    let pods = pods.start().await.unwrap();
    *slot.lock().unwrap() = Some(pods.downgrade());
    let before = tokio::time::Instant::now();
    pods.start_pod("t").await.unwrap();
    let mut expected = vec!["Err(WouldDeadlock)"; 5];
    expected.push("task `t` has a pod already, which is starting");
    assert_eq!(log.take(), expected);
    let own = pods.child_spec("u".try_into().unwrap()).unwrap();
    let own = ipa_supervisor::Supervisor::builder().child(own).start().await.unwrap();
    expected[5] = "task `u` has a pod already, which is starting";
    assert_eq!(log.take(), expected);
    assert_eq!(before.elapsed(), std::time::Duration::ZERO);
    own.shutdown().await.unwrap();
}
