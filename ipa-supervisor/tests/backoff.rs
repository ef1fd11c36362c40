//! Backoff, through the real supervisor.

mod stage;

use std::time::Duration;

use ipa_supervisor::{
    Backoff, ChildCounts, ChildState, RestartIntensity, StartChildError, Strategy, Supervisor,
};
use stage::{How, Stage, settle};
use tokio::time::Instant;

fn backoff() -> Backoff {
    Backoff {
        initial: Duration::from_secs(1),
        jitter: 0.0,
        reset_after: Duration::from_secs(10),
        ..Backoff::default()
    }
}

/// A child with a backoff waits longer each time, up to the cap, and begins anew after a healthy run.
#[tokio::test(start_paused = true)]
async fn backoff_grows_and_is_forgotten() {
    let stage = Stage::default();
    let _supervisor = Supervisor::builder()
        .child(stage.puppet("b").backoff(backoff()))
        .intensity(RestartIntensity::new(100, Duration::from_secs(5)))
        .start()
        .await
        .unwrap();
    let mut waits = Vec::new();
    for healthy in [false, false, false, true, false] {
        if healthy {
            tokio::time::sleep(Duration::from_secs(11)).await;
        }
        stage.take();
        stage.tell("b", How::Error);
        let begun = Instant::now();
        while !stage.take().contains('+') {
            settle().await;
        }
        waits.push(begun.elapsed().as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 1, 2]);
}

/// TM-11 DO-09 DO-18 DO-20 a child in backoff is restarting, holds its place, and is cancelled by a stop of it or of all.
#[tokio::test(start_paused = true)]
async fn a_child_in_backoff_is_restarting_and_can_be_stopped() {
    let stage = Stage::default();
    let supervisor = Supervisor::builder()
        .child(stage.puppet("b").backoff(backoff()))
        .child(stage.puppet("c").backoff(backoff()))
        .start()
        .await
        .unwrap();
    stage.end("b", How::Error).await;
    stage.end("c", How::Error).await;
    stage.take();
    assert_eq!(supervisor.which_child("b").await.unwrap().unwrap().state, ChildState::Restarting);
    assert_eq!(
        supervisor.count_children().await.unwrap(),
        ChildCounts { specs: 2, active: 0, supervisors: 0, workers: 2 }
    );
    assert!(matches!(
        supervisor.start_child(stage.puppet("b")).await,
        Err(StartChildError::AlreadyPresent(_))
    ));
    supervisor.terminate_child("b").await.unwrap();
    assert_eq!(supervisor.which_child("b").await.unwrap().unwrap().state, ChildState::Undefined);
    let _ = supervisor.restart_child("b").await.unwrap();
    let begun = Instant::now();
    supervisor.shutdown().await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(stage.take(), "+b#2 -b");
}

/// A group waits for the backoff of the child that brought its restart about.
#[tokio::test(start_paused = true)]
async fn a_group_waits_for_the_backoff() {
    let stage = Stage::default();
    let _supervisor = Supervisor::builder()
        .strategy(Strategy::OneForAll)
        .child(stage.puppet("a"))
        .child(stage.puppet("b").backoff(backoff()))
        .start()
        .await
        .unwrap();
    stage.take();
    stage.end("b", How::Error).await;
    assert_eq!(stage.take(), "-b -a");
    tokio::time::sleep(Duration::from_millis(990)).await;
    assert_eq!(stage.take(), "");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(stage.take(), "+a#2 +b#2");
}

/// A group waits for the longest of the backoffs that it is asked to wait for.
#[tokio::test(start_paused = true)]
async fn a_group_waits_for_the_longest_backoff() {
    let stage = Stage::default();
    let _supervisor = Supervisor::builder()
        .strategy(Strategy::RestForOne)
        .child(stage.puppet("a"))
        .child(stage.puppet("c").backoff(Backoff { initial: Duration::from_secs(30), ..backoff() }))
        .start()
        .await
        .unwrap();
    stage.take();
    stage.end("c", How::Error).await;
    stage.end("a", How::Error).await;
    assert_eq!(stage.take(), "-c -a");
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(stage.take(), "");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stage.take(), "+a#2 +c#2");
}
