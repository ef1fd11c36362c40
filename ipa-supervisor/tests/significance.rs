//! Significant children, through the real supervisor.

mod stage;

use std::time::Duration;

use ipa_supervisor::{
    AutoShutdown, Cause, ChildCounts, ChildSpec, ExitReason, Restart, SignificantRestart, SpecError,
    StartChildError, StartError, Strategy, Supervisor, SupervisorBuilder,
};
use stage::{How, Stage, settle};

fn builder(stage: &Stage, strategy: Strategy, ids: &[&str]) -> SupervisorBuilder {
    Supervisor::builder().strategy(strategy).children(ids.iter().map(|id| stage.puppet(id)))
}

async fn started(stage: &Stage, strategy: Strategy, ids: &[&str]) -> Supervisor {
    let supervisor = builder(stage, strategy, ids).start().await.unwrap();
    stage.take();
    supervisor
}
fn significant(stage: &Stage, id: &str, restart: SignificantRestart) -> ChildSpec {
    stage.puppet(id).significant(restart)
}

async fn with_significant(stage: &Stage, auto: AutoShutdown, restart: SignificantRestart) -> Supervisor {
    let supervisor = builder(stage, Strategy::OneForOne, &["x"])
        .child(significant(stage, "s", restart))
        .child(significant(stage, "t", restart))
        .auto_shutdown(auto)
        .start()
        .await
        .unwrap();
    stage.take();
    supervisor
}

fn is_significant(reason: &ExitReason, child: &str) -> bool {
    matches!(reason, ExitReason::Shutdown(Cause::Significant { child: which }) if which.as_str() == child)
}

/// SC-02 SC-13 any_significant: any end of a temporary one shuts the rest down, in reverse; that is no restart.
#[tokio::test(start_paused = true)]
async fn any_end_of_a_significant_temporary_shuts_down() {
    for how in [How::Normal, How::Shutdown, How::Error, How::Panic] {
        let stage = Stage::default();
        let supervisor =
            with_significant(&stage, AutoShutdown::AnySignificant, SignificantRestart::Temporary).await;
        stage.tell("s", how);
        assert!(is_significant(&supervisor.wait().await, "s"));
        assert_eq!(stage.take(), "-s -t -x");
    }
}

/// SC-03 any_significant: a transient one's normal end shuts down, a crash of it is restarted.
#[tokio::test(start_paused = true)]
async fn a_significant_transient_that_crashes_is_restarted() {
    let stage = Stage::default();
    let supervisor =
        with_significant(&stage, AutoShutdown::AnySignificant, SignificantRestart::Transient).await;
    stage.end("s", How::Panic).await;
    assert_eq!(stage.take(), "-s +s#2");
    stage.tell("s", How::Shutdown);
    assert!(is_significant(&supervisor.wait().await, "s"));
    assert_eq!(stage.take(), "-s -t -x");
}

/// SC-01 SC-04 SC-06 ends of others, and stops by a caller, shut nothing down.
#[tokio::test(start_paused = true)]
async fn what_does_not_shut_down() {
    let stage = Stage::default();
    let supervisor =
        with_significant(&stage, AutoShutdown::AnySignificant, SignificantRestart::Transient).await;
    stage.end("x", How::Normal).await;
    supervisor.terminate_child("s").await.unwrap();
    supervisor.terminate_child("t").await.unwrap();
    settle().await;
    assert!(!supervisor.is_closed());
    assert_eq!(
        supervisor.count_children().await.unwrap(),
        ChildCounts { specs: 3, active: 1, supervisors: 0, workers: 3 }
    );
}

/// SC-05 SC-12 all_significant: only the last active one that ends by itself shuts down; one that declined is not active.
#[tokio::test(start_paused = true)]
async fn only_the_last_of_all_shuts_down() {
    let stage = Stage::default();
    stage.ignore("u", 1);
    let supervisor = builder(&stage, Strategy::OneForOne, &["x"])
        .child(significant(&stage, "s", SignificantRestart::Transient))
        .child(significant(&stage, "t", SignificantRestart::Temporary))
        .child(significant(&stage, "u", SignificantRestart::Transient))
        .auto_shutdown(AutoShutdown::AllSignificant)
        .start()
        .await
        .unwrap();
    stage.end("s", How::Normal).await;
    assert!(!supervisor.is_closed());
    stage.tell("t", How::Normal);
    assert!(is_significant(&supervisor.wait().await, "t"));
}

/// SC-09 a significant sibling that a group restart stops shuts nothing down.
#[tokio::test(start_paused = true)]
async fn a_significant_sibling_of_a_group_shuts_nothing_down() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        for restart in [SignificantRestart::Transient, SignificantRestart::Temporary] {
            for auto in [AutoShutdown::AnySignificant, AutoShutdown::AllSignificant] {
                let stage = Stage::default();
                let supervisor = builder(&stage, strategy, &["a"])
                    .child(significant(&stage, "s", restart))
                    .auto_shutdown(auto)
                    .start()
                    .await
                    .unwrap();
                stage.take();
                stage.end("a", How::Error).await;
                assert!(!supervisor.is_closed());
                let back =
                    if restart == SignificantRestart::Transient { "-a -s +a#2 +s#2" } else { "-a -s +a#2" };
                assert_eq!(stage.take(), back, "{strategy:?} {auto:?}");
            }
        }
    }
}

/// SC-10 a significant leaf shuts its supervisor down, and that one the next, if it is significant there.
#[tokio::test(start_paused = true)]
async fn significance_climbs() {
    for climbs in [true, false] {
        let stage = Stage::default();
        let inner = {
            let stage = stage.clone();
            move || {
                Supervisor::builder()
                    .child(significant(&stage, "leaf", SignificantRestart::Transient))
                    .auto_shutdown(AutoShutdown::AnySignificant)
            }
        };
        let mut spec = ChildSpec::supervisor("inner", inner).restart(Restart::Transient);
        if climbs {
            spec = spec.significant(SignificantRestart::Transient);
        }
        let outer = builder(&stage, Strategy::OneForOne, &["x"])
            .child(spec)
            .auto_shutdown(AutoShutdown::AnySignificant)
            .start()
            .await
            .unwrap();
        stage.end("leaf", How::Normal).await;
        assert_eq!(outer.is_closed(), climbs);
    }
}

/// CS-13 CS-14 a significant child that is permanent, or where nothing shuts down, is an error before anything starts.
#[tokio::test(start_paused = true)]
async fn significance_that_makes_no_sense_is_refused() {
    let stage = Stage::default();
    let permanent = || significant(&stage, "s", SignificantRestart::Transient).restart(Restart::Permanent);
    let transient = || significant(&stage, "s", SignificantRestart::Transient);
    let start = async |spec, auto| {
        builder(&stage, Strategy::OneForOne, &["a"]).child(spec).auto_shutdown(auto).start().await
    };
    for auto in [AutoShutdown::Never, AutoShutdown::AnySignificant, AutoShutdown::AllSignificant] {
        let error = start(permanent(), auto).await.unwrap_err();
        assert!(matches!(error, StartError::Spec(SpecError::PermanentSignificant(_))), "{error}");
    }
    let error = start(transient(), AutoShutdown::Never).await.unwrap_err();
    assert!(matches!(error, StartError::Spec(SpecError::UselessSignificant(_))), "{error}");
    assert_eq!(stage.take(), "", "nothing was started");
    let supervisor = started(&stage, Strategy::OneForOne, &["a"]).await;
    let error = supervisor.start_child(transient()).await.unwrap_err();
    assert!(matches!(error, StartChildError::Spec(SpecError::UselessSignificant(_))), "{error}");
}

/// CS-15 a dynamic supervisor takes no significant children.
#[tokio::test(start_paused = true)]
async fn a_dynamic_supervisor_takes_no_significant_child() {
    let stage = Stage::default();
    let supervisor = ipa_supervisor::DynamicSupervisor::builder().start().await.unwrap();
    let error =
        supervisor.start_child(significant(&stage, "s", SignificantRestart::Temporary)).await.unwrap_err();
    assert!(matches!(error, StartChildError::Spec(SpecError::UselessSignificant(_))), "{error}");
}

/// SC-05 during the initial start, those that are still to come are active.
#[tokio::test(start_paused = true)]
async fn significant_children_to_come_are_active() {
    let stage = Stage::default();
    stage.slow_init("slow", Duration::from_millis(100));
    let start = Supervisor::builder()
        .child(significant(&stage, "s", SignificantRestart::Transient))
        .child(stage.puppet("slow"))
        .child(significant(&stage, "t", SignificantRestart::Transient))
        .auto_shutdown(AutoShutdown::AllSignificant)
        .start();
    let start = tokio::spawn(start);
    tokio::time::sleep(Duration::from_millis(50)).await;
    stage.tell("s", How::Normal);
    let supervisor = start.await.unwrap().unwrap();
    assert!(!supervisor.is_closed());
    stage.tell("t", How::Normal);
    assert!(is_significant(&supervisor.wait().await, "t"));
}
