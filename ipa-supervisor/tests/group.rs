//! Group restarts, through the real supervisor.

mod stage;

use std::time::Duration;

use ipa_supervisor::{
    BoxError, Cause, Child, ChildSpec, ChildState, Context, DeleteChildError, Exit, ExitReason, Restart,
    RestartChildError, RestartIntensity, Shutdown, StartChildError, StartError, StopMode, Strategy,
    Supervisor, SupervisorBuilder, async_trait,
};
use stage::{How, Stage, settle};
use tokio::sync::mpsc;
use tokio::time::Instant;

fn builder(stage: &Stage, strategy: Strategy, ids: &[&str]) -> SupervisorBuilder {
    Supervisor::builder().strategy(strategy).children(ids.iter().map(|id| stage.puppet(id)))
}

async fn started(stage: &Stage, strategy: Strategy, ids: &[&str]) -> Supervisor {
    let supervisor = builder(stage, strategy, ids).start().await.unwrap();
    stage.take();
    supervisor
}

/// SG-01 one_for_one: only the one that died is replaced.
#[tokio::test(start_paused = true)]
async fn one_for_one_restarts_one() {
    let stage = Stage::default();
    let _supervisor = started(&stage, Strategy::OneForOne, &["a", "b", "c"]).await;
    stage.end("b", How::Panic).await;
    assert_eq!(stage.take(), "-b +b#2");
}

/// SG-02 one_for_all: the others stop in reverse, skipping the dead one, then all start in order.
#[tokio::test(start_paused = true)]
async fn one_for_all_restarts_all() {
    let stage = Stage::default();
    let supervisor = started(&stage, Strategy::OneForAll, &["a", "b", "c", "d"]).await;
    stage.end("b", How::Error).await;
    assert_eq!(stage.take(), "-b -d -c -a +a#2 +b#2 +c#2 +d#2");
    let children = supervisor.which_children().await.unwrap();
    assert!(
        children.iter().all(|child| child.child.incarnation.0 == 2 && child.state == ChildState::Running)
    );
}

/// SG-03 rest_for_one: those after the dead one stop in reverse, then it and they start; those before are untouched.
#[tokio::test(start_paused = true)]
async fn rest_for_one_restarts_the_rest() {
    let stage = Stage::default();
    let _supervisor = started(&stage, Strategy::RestForOne, &["a", "b", "c", "d"]).await;
    stage.end("b", How::Error).await;
    assert_eq!(stage.take(), "-b -d -c +b#2 +c#2 +d#2");
}

/// SG-04 rest_for_one: of the last, only it; of the first, all.
#[tokio::test(start_paused = true)]
async fn rest_for_one_at_the_ends() {
    let stage = Stage::default();
    let _supervisor = started(&stage, Strategy::RestForOne, &["a", "b", "c"]).await;
    stage.end("c", How::Error).await;
    assert_eq!(stage.take(), "-c +c#2");
    stage.end("a", How::Error).await;
    assert_eq!(stage.take(), "-a -c -b +a#2 +b#2 +c#3");
}

/// SG-05 each sibling is given the time of its own shutdown policy, one after the other.
#[tokio::test(start_paused = true)]
async fn a_group_stops_by_each_ones_policy() {
    let stage = Stage::default();
    for id in ["a", "b", "c"] {
        stage.slow_terminate(id, Duration::from_secs(3));
    }
    let _supervisor = Supervisor::builder()
        .strategy(Strategy::OneForAll)
        .child(stage.puppet("a").shutdown(Shutdown::Timeout(Duration::from_secs(2))))
        .child(stage.puppet("b").shutdown(Shutdown::Infinity))
        .child(stage.puppet("c").shutdown(Shutdown::BrutalKill))
        .child(stage.puppet("d"))
        .start()
        .await
        .unwrap();
    stage.take();
    let begun = Instant::now();
    stage.end("d", How::Error).await;
    while !stage.take().ends_with("+d#2") {
        settle().await;
        assert!(begun.elapsed() < Duration::from_secs(6));
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(5), "c at once, b 3 s, a cut at 2 s: {took:?}");
}

/// SG-06 a temporary sibling that a group restart stops is not started again, and its spec is gone.
#[tokio::test(start_paused = true)]
async fn a_temporary_sibling_is_stopped_for_good() {
    let stage = Stage::default();
    let supervisor = builder(&stage, Strategy::OneForAll, &["a"])
        .child(stage.puppet("t").restart(Restart::Temporary))
        .child(stage.puppet("z"))
        .start()
        .await
        .unwrap();
    stage.take();
    stage.end("a", How::Error).await;
    assert_eq!(stage.take(), "-a -z -t +a#2 +z#2");
    assert!(supervisor.which_child("t").await.unwrap().is_none());
}

/// CR-06 the end of a temporary child, or a transient one's normal end, restarts no group.
#[tokio::test(start_paused = true)]
async fn ends_that_are_no_failure_restart_no_group() {
    let stage = Stage::default();
    let _supervisor = builder(&stage, Strategy::OneForAll, &["a"])
        .child(stage.puppet("t").restart(Restart::Temporary))
        .child(stage.puppet("n").restart(Restart::Transient))
        .start()
        .await
        .unwrap();
    stage.take();
    stage.end("t", How::Panic).await;
    stage.end("n", How::Normal).await;
    assert_eq!(stage.take(), "-t -n");
}

/// SG-07 SG-08 siblings that were stopped, or had finished, are started again with their group.
#[tokio::test(start_paused = true)]
async fn a_group_starts_those_too_that_were_down() {
    for (strategy, expected) in [
        (Strategy::OneForAll, "-b -d +a#2 +b#2 +c#2 +d#2 +n#2"),
        (Strategy::RestForOne, "-b -d +b#2 +c#2 +d#2 +n#2"),
    ] {
        let stage = Stage::default();
        let supervisor = builder(&stage, strategy, &["a", "b", "c", "d"])
            .child(stage.puppet("n").restart(Restart::Transient))
            .start()
            .await
            .unwrap();
        supervisor.terminate_child("a").await.unwrap();
        supervisor.terminate_child("c").await.unwrap();
        stage.end("n", How::Normal).await;
        stage.take();
        stage.end("b", How::Error).await;
        assert_eq!(stage.take(), expected, "{strategy:?}");
    }
}

/// SG-09 a transient sibling that runs normally is stopped and started with its group.
#[tokio::test(start_paused = true)]
async fn a_transient_sibling_takes_part() {
    let stage = Stage::default();
    let _supervisor = builder(&stage, Strategy::OneForAll, &["a"])
        .child(stage.puppet("n").restart(Restart::Transient))
        .start()
        .await
        .unwrap();
    stage.take();
    stage.end("a", How::Error).await;
    assert_eq!(stage.take(), "-a -n +a#2 +n#2");
}

/// SG-10 a child that was added later takes part, at the end of the order.
#[tokio::test(start_paused = true)]
async fn added_children_take_part() {
    let stage = Stage::default();
    let supervisor = started(&stage, Strategy::OneForAll, &["m", "n"]).await;
    let _ = supervisor.start_child(stage.puppet("a")).await.unwrap();
    stage.take();
    stage.end("n", How::Error).await;
    assert_eq!(stage.take(), "-n -a -m +m#2 +n#2 +a#2");
}

/// SG-11 RI-06 one_for_all: a start that fails is counted, takes down those that had come up, and all begin again from the first.
#[tokio::test(start_paused = true)]
async fn a_failed_group_start_begins_again() {
    let stage = Stage::default();
    let supervisor = builder(&stage, Strategy::OneForAll, &["a", "b", "c"])
        .intensity(RestartIntensity::new(2, Duration::from_secs(5)))
        .start()
        .await
        .unwrap();
    stage.take();
    stage.fail("b", 1);
    stage.end("c", How::Error).await;
    assert_eq!(stage.take(), "-c -b -a +a#2 !b -a +a#3 +b#3 +c#2");
    stage.end("c", How::Error).await;
    assert!(matches!(supervisor.wait().await, ExitReason::Shutdown(Cause::Intensity(_))));
    assert_eq!(
        stage.take(),
        "-c -b -a",
        "the third within the window: one for the first, one for the failed start"
    );
}

/// SG-11 rest_for_one: a start that fails leaves those before it up, and it and the rest begin again.
#[tokio::test(start_paused = true)]
async fn a_failed_start_of_the_rest_begins_again_from_there() {
    let stage = Stage::default();
    let _supervisor = started(&stage, Strategy::RestForOne, &["a", "b", "c", "d"]).await;
    stage.fail("c", 1);
    stage.end("b", How::Error).await;
    assert_eq!(stage.take(), "-b -d -c +b#2 !c +c#3 +d#2");
}

/// SG-15 a sibling that ends abnormally while it is stopped for the group does not stop the restart.
#[tokio::test(start_paused = true)]
async fn a_sibling_that_crashes_meanwhile_is_no_matter() {
    let stage = Stage::default();
    stage.slow_terminate("c", Duration::from_millis(100));
    // That one is no restart of its own: a second one would be too many.
    let supervisor = builder(&stage, Strategy::OneForAll, &["a", "b", "c"])
        .intensity(RestartIntensity::new(1, Duration::from_secs(5)))
        .start()
        .await
        .unwrap();
    stage.take();
    stage.tell("a", How::Error);
    settle().await;
    stage.tell("b", How::Panic); // while c is being stopped
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(stage.take(), "-a -b -c +a#2 +b#2 +c#2");
    assert_eq!(supervisor.which_child("b").await.unwrap().unwrap().restarts, 1);
}

/// SG-16 in each strategy, a restart that keeps failing ends the supervisor, the others stopped in reverse.
#[tokio::test(start_paused = true)]
async fn a_restart_that_keeps_failing_escalates() {
    for (strategy, expected) in [
        (Strategy::OneForOne, "-b !b !b !b -c -a"),
        (Strategy::RestForOne, "-b -c !b !b !b -a"),
        (Strategy::OneForAll, "-b -c -a +a#2 !b -a +a#3 !b -a +a#4 !b -a"),
    ] {
        let stage = Stage::default();
        let supervisor = started(&stage, strategy, &["a", "b", "c"]).await;
        stage.fail("b", 100);
        stage.tell("b", How::Error);
        let reason = supervisor.wait().await;
        assert!(
            matches!(reason, ExitReason::Shutdown(Cause::Intensity(crash)) if crash.child.as_str() == "b")
        );
        assert_eq!(stage.take(), expected, "{strategy:?}");
    }
}

/// SG-17 order is order of start, never of ids.
#[tokio::test(start_paused = true)]
async fn order_is_order_of_start() {
    let stage = Stage::default();
    let _supervisor = started(&stage, Strategy::OneForAll, &["ch7", "ch3", "ch10", "ch2", "ch5"]).await;
    stage.end("ch3", How::Error).await;
    assert_eq!(stage.take(), "-ch3 -ch5 -ch2 -ch10 -ch7 +ch7#2 +ch3#2 +ch10#2 +ch2#2 +ch5#2");
}

/// RI-08 RI-16 a group of many is one restart, counted when it is decided, before the siblings are stopped.
#[tokio::test(start_paused = true)]
async fn a_group_restart_counts_once_and_when_it_is_decided() {
    let stage = Stage::default();
    for id in ["a", "b"] {
        stage.slow_terminate(id, Duration::from_millis(600));
    }
    let supervisor = builder(&stage, Strategy::OneForAll, &["a", "b", "c"])
        .intensity(RestartIntensity::new(1, Duration::from_secs(1)))
        .start()
        .await
        .unwrap();
    for _ in 0..10 {
        stage.tell("c", How::Error);
        tokio::time::sleep(Duration::from_millis(1300)).await;
    }
    assert!(!supervisor.is_closed(), "stopping the siblings takes longer than the window: it never fills");
}

/// CR-09 a group member that declines stays down, and the group goes on.
#[tokio::test(start_paused = true)]
async fn a_member_that_declines_stays_down() {
    let stage = Stage::default();
    let supervisor = started(&stage, Strategy::OneForAll, &["a", "b", "c"]).await;
    stage.ignore("b", 1);
    stage.end("c", How::Error).await;
    assert_eq!(stage.take(), "-c -b -a +a#2 ~b +c#2");
    assert_eq!(supervisor.which_child("b").await.unwrap().unwrap().state, ChildState::Undefined);
}

/// ST-17 while a group is restarted, listings are answered, a further start queues, and a stop goes through.
#[tokio::test(start_paused = true)]
async fn a_group_restart_blocks_nobody() {
    let stage = Stage::default();
    let supervisor = started(&stage, Strategy::OneForAll, &["a", "b"]).await;
    stage.slow_init("a", Duration::from_secs(60));
    stage.end("b", How::Error).await;
    assert_eq!(stage.take(), "-b -a");
    let states: Vec<_> = supervisor.which_children().await.unwrap().iter().map(|child| child.state).collect();
    assert_eq!(states, [ChildState::Restarting, ChildState::Restarting]);
    let begun = Instant::now();
    let start = tokio::spawn({
        let supervisor = supervisor.downgrade();
        let spec = stage.puppet("c");
        async move { supervisor.start_child(spec).await }
    });
    settle().await;
    assert_eq!(stage.take(), "", "it queues");
    supervisor.terminate_child("b").await.unwrap();
    supervisor.shutdown().await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(10));
    assert!(matches!(start.await.unwrap(), Err(StartChildError::Closed)));
    assert_eq!(stage.take(), "", "nothing of the group was up");
}

/// DO-09 a member that is stopped while its group is restarted stays down, and the group goes on without it.
#[tokio::test(start_paused = true)]
async fn a_member_that_is_stopped_meanwhile_stays_down() {
    let stage = Stage::default();
    let supervisor = started(&stage, Strategy::OneForAll, &["a", "b", "c"]).await;
    stage.slow_init("a", Duration::from_secs(1));
    stage.end("c", How::Error).await;
    supervisor.terminate_child("b").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stage.take(), "-c -b -a +a#2 +c#2");
    assert_eq!(supervisor.which_child("b").await.unwrap().unwrap().state, ChildState::Undefined);
    let _ = supervisor.restart_child("b").await.unwrap();
    assert_eq!(stage.take(), "+b#2");
}

/// DO-06 SG-07 a member that is stopped while its group is still being stopped stays down as well.
#[tokio::test(start_paused = true)]
async fn a_member_that_is_stopped_before_its_turn_stays_down() {
    let stage = Stage::default();
    stage.slow_terminate("c", Duration::from_millis(100));
    let supervisor = started(&stage, Strategy::OneForAll, &["a", "b", "c"]).await;
    stage.end("a", How::Error).await;
    supervisor.terminate_child("b").await.unwrap();
    assert_eq!(stage.take(), "-a -b", "at once, while c takes its time");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(stage.take(), "-c +a#2 +c#2");
    assert_eq!(supervisor.which_child("b").await.unwrap().unwrap().state, ChildState::Undefined);
}

/// ST-01 ST-02 a crash during the initial start restarts its group when all are up, as in OTP, and never in the middle of it.
#[tokio::test(start_paused = true)]
async fn a_crash_during_the_initial_start_waits_for_its_end() {
    for (strategy, expected) in [
        (Strategy::OneForOne, "+a#1 -a +a#2 +b#1 +c#1"),
        (Strategy::RestForOne, "+a#1 -a +b#1 +c#1 -c -b +a#2 +b#2 +c#2"),
        (Strategy::OneForAll, "+a#1 -a +b#1 +c#1 -c -b +a#2 +b#2 +c#2"),
    ] {
        let stage = Stage::default();
        stage.slow_init("b", Duration::from_millis(100));
        let start = tokio::spawn(builder(&stage, strategy, &["a", "b", "c"]).start());
        tokio::time::sleep(Duration::from_millis(50)).await;
        stage.tell("a", How::Error);
        let supervisor = start.await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(stage.take(), expected, "{strategy:?}");
        assert_eq!(supervisor.count_children().await.unwrap().active, 3);
    }
}

/// ST-04 ST-06 after a crash during the initial start, a child that fails to start still rolls it back.
#[tokio::test(start_paused = true)]
async fn a_crash_during_the_initial_start_does_not_hide_a_failure() {
    for strategy in [Strategy::RestForOne, Strategy::OneForAll] {
        let stage = Stage::default();
        stage.slow_init("b", Duration::from_millis(100));
        stage.fail("c", 1);
        let start = tokio::spawn(builder(&stage, strategy, &["a", "b", "c"]).start());
        tokio::time::sleep(Duration::from_millis(50)).await;
        stage.tell("a", How::Error);
        let error = start.await.unwrap().unwrap_err();
        assert!(
            matches!(&error, StartError::ChildFailed(failure) if failure.child.as_str() == "c"),
            "{error}"
        );
        assert_eq!(stage.take(), "+a#1 -a +b#1 !c -b", "{strategy:?}");
    }
}

/// What a member of a group asks of its supervisor, in its `run` once it is told to stop, and in its `terminate`.
struct Asks(Stage);

impl Asks {
    async fn ask(&self, cx: &Context) {
        let supervisor = cx.supervisor();
        let started = supervisor.start_child(self.0.puppet("new")).await;
        let restarted = supervisor.restart_child("off").await;
        let deleted = supervisor.delete_child("off").await;
        assert!(matches!(started, Err(StartChildError::WouldDeadlock)), "{started:?}");
        assert!(matches!(restarted, Err(RestartChildError::WouldDeadlock)), "{restarted:?}");
        assert!(matches!(deleted, Err(DeleteChildError::WouldDeadlock)), "{deleted:?}");
        self.0.log("refused".into());
    }
}

#[async_trait]
impl Child for Asks {
    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        cx.stopped().await;
        if cx.child().incarnation.0 == 1 {
            self.ask(cx).await;
        }
        Ok(Exit::shutdown())
    }
    async fn terminate(&mut self, cx: &mut Context, _reason: &ExitReason) {
        if cx.child().incarnation.0 == 1 {
            self.ask(cx).await;
        }
    }
}

/// ST-17 RT-20 a member that its group restart stops is refused what would wait for the end of that; nobody is killed for it.
#[tokio::test(start_paused = true)]
async fn a_member_cannot_wait_for_its_own_group() {
    let stage = Stage::default();
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let asks = stage.clone();
        let asks = ChildSpec::new("asks", move || Asks(asks.clone())).stop_mode(StopMode::Cooperative);
        let supervisor = builder(&stage, strategy, &["a", "off"]).child(asks).start().await.unwrap();
        supervisor.terminate_child("off").await.unwrap();
        stage.take();
        let begun = Instant::now();
        stage.tell("a", How::Error);
        settle().await;
        assert_eq!(stage.take(), "-a refused refused +a#2 +off#2");
        assert!(begun.elapsed() < Duration::from_millis(10));
        drop(supervisor);
        settle().await;
        stage.take();
    }
}

/// In its second incarnation it asks for something that queues behind the group restart that it was started by.
struct AsksLater(Stage);

#[async_trait]
impl Child for AsksLater {
    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        if cx.child().incarnation.0 == 2 {
            let answer = cx.supervisor().start_child(self.0.puppet("new")).await;
            assert!(matches!(answer, Err(StartChildError::WouldDeadlock)), "{answer:?}");
            self.0.log("refused".into());
        }
        cx.stopped().await;
        Ok(Exit::shutdown())
    }
}

/// SG-11 RT-20 a member that is up again may wait for the rest of its group, until that begins anew and stops it.
#[tokio::test(start_paused = true)]
async fn a_group_that_begins_anew_refuses_its_members() {
    let stage = Stage::default();
    let asks = stage.clone();
    let asks = ChildSpec::new("asks", move || AsksLater(asks.clone())).stop_mode(StopMode::Cooperative);
    let supervisor = Supervisor::builder().strategy(Strategy::OneForAll);
    let supervisor = supervisor.child(asks).child(stage.puppet("b")).start().await.unwrap();
    stage.take();
    stage.slow_init("b", Duration::from_millis(100));
    stage.fail("b", 1);
    let begun = Instant::now();
    stage.end("b", How::Error).await;
    assert_eq!(stage.take(), "-b", "it waits, as anybody would");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(stage.take(), "!b refused +b#3");
    assert!(begun.elapsed() < Duration::from_millis(250));
    supervisor.shutdown().await.unwrap();
}

/// RT-04 ST-17 whoever waits for a group restart that waits for a stuck member is told so, and the group goes on when that has ended.
#[tokio::test(start_paused = true)]
async fn a_group_with_a_stuck_member_makes_nobody_wait() {
    let stage = Stage::default();
    let (give, mut leases) = mpsc::unbounded_channel();
    let keeps = ChildSpec::task("keeps", move |cx| {
        let _ = give.send(cx.lease());
        std::future::pending::<()>()
    });
    let keeps = keeps.shutdown(Shutdown::Timeout(Duration::from_millis(100)));
    let supervisor = builder(&stage, Strategy::OneForAll, &["a", "off"]).child(keeps).start().await.unwrap();
    supervisor.terminate_child("off").await.unwrap();
    let lease = leases.recv().await.unwrap();
    stage.take();
    stage.tell("a", How::Error);
    settle().await;
    // Asked while the member is still being stopped, and once it is stuck.
    for round in ["before", "after"] {
        let (started, restarted) =
            tokio::join!(supervisor.start_child(stage.puppet("new")), supervisor.restart_child("off"));
        let deleted = supervisor.delete_child("off").await;
        let Err(StartChildError::Stuck(stuck)) = started else { panic!("{round}: {started:?}") };
        assert_eq!(stuck[0].to_string(), "keeps#1");
        assert!(matches!(restarted, Err(RestartChildError::Stuck(_))), "{round}: {restarted:?}");
        assert!(matches!(deleted, Err(DeleteChildError::Stuck(_))), "{round}: {deleted:?}");
    }
    // The next one's as well.
    drop((lease, leases));
    settle().await;
    assert_eq!(stage.take(), "-a +a#2 +off#2");
    let _ = supervisor.start_child(stage.puppet("new")).await.unwrap();
    assert_eq!(stage.take(), "+new#1");
    supervisor.shutdown().await.unwrap();
}
