//! The stop of the whole supervisor: order, deadlines, kills, and children that survive them.

use super::*;

fn whole(shutdown_timeout: u64) -> MachineOptions {
    MachineOptions { shutdown_timeout: Some(ms(shutdown_timeout)), ..options() }
}

/// TM-01 children stop one at a time, in reverse.
#[test]
fn reverse_and_one_at_a_time() {
    let mut rig = Rig::running(options(), ["a", "b", "c"].map(permanent));
    assert_eq!(rig.shutdown("stop"), ["stop c#1"]);
    assert_eq!(rig.states(), ["a#1 Running", "b#1 Running", "c#1 Stopping"]);
    assert_eq!(rig.stops("c"), ["stop b#1"]);
    assert_eq!(rig.stops("b"), ["stop a#1"]);
    assert_eq!(rig.stops("a"), ["stop: done", "exit shutdown"]);
}

/// TM-04 TM-14 a child that does not obey is killed exactly at its own deadline; the next is told when it is gone.
#[test]
fn deadlines_are_each_childs_own() {
    let timeout = |id, timeout| stops_in(permanent(id), Shutdown::Timeout(ms(timeout)));
    let mut rig = Rig::running(options(), [timeout("a", 300), timeout("b", 200)]);
    rig.shutdown("stop");
    assert_eq!(rig.pass(199), [""; 0]);
    assert_eq!(rig.pass(1), ["kill b#1"]);
    assert_eq!(rig.pass(500), [""; 0], "killed, and within its grace");
    assert_eq!(rig.ends("b", ExitReason::Killed), ["stop a#1"]);
    assert_eq!(rig.pass(299), [""; 0], "counted from when it was told");
    assert_eq!(rig.pass(1), ["kill a#1"]);
    assert_eq!(rig.ends("a", ExitReason::Killed), ["stop: done", "exit shutdown"]);
    assert_eq!(rig.notes(), ["shutdown error b#1 killed", "shutdown error a#1 killed"]);
}

/// TM-04 RT-04 a child that survives its kill is stuck: whoever waits is told, the others stop, and the exit waits for it.
#[test]
fn a_stuck_child_holds_only_the_exit() {
    let mut rig = Rig::running(options(), [permanent("a"), brutal(permanent("b"))]);
    assert_eq!(rig.shutdown("stop"), ["kill b#1"]);
    assert_eq!(rig.pass(999), [""; 0]);
    assert_eq!(rig.pass(1), ["stop a#1"]);
    assert_eq!(rig.notes(), ["stuck b#1"]);
    let lines = rig.stops("a");
    assert_eq!(lines[0], "stop: stuck b#1");
    assert!(lines[1].starts_with("stalled"));
    assert_eq!(rig.notes(), ["stalled b#1"]);
    assert_eq!(rig.shutdown("again"), ["again: stuck b#1"], "a later caller is told at once");
    assert_eq!(rig.machine.poll_timeout(), None);
    assert_eq!(rig.ends("b", ExitReason::Normal), ["exit shutdown"]);
    assert_eq!(rig.notes(), ["reaped b#1"]);
}

/// RT-02 a child that ends well after its kill was killed all the same: no restart, and no other word for it.
#[test]
fn an_end_after_a_kill_is_a_kill() {
    let mut rig = Rig::running(intensity(0, 1000), [stops_in(permanent("a"), Shutdown::Timeout(ms(0)))]);
    assert_eq!(rig.terminate("t", "a"), ["stop a#1", "kill a#1"]);
    assert_eq!(rig.ends("a", ExitReason::Normal), ["t: done"]);
    assert_eq!(rig.notes(), ["shutdown error a#1 killed"]);
}

/// RT-04 a stuck child keeps its id: nothing is started, restarted or deleted in its place; when it ends it is reaped.
#[test]
fn a_stuck_child_keeps_its_place() {
    for policy in [permanent("a"), temporary("a")] {
        let kept = policy.restart == Restart::Permanent;
        let mut rig = Rig::running(options(), [brutal(policy)]);
        assert_eq!(rig.terminate("1", "a"), ["kill a#1"]);
        assert_eq!(rig.start("2", permanent("a")), [""; 0], "behind the stop");
        assert_eq!(rig.pass(1000), ["1: stuck a#1", "forget a", "2: stuck a#1"]);
        assert_eq!(rig.states(), ["a#1 Stuck"]);
        assert_eq!(rig.start("3", permanent("a")), ["forget a", "3: stuck a#1"]);
        assert_eq!(rig.restart("4", "a"), ["4: stuck a#1"]);
        assert_eq!(rig.delete("5", "a"), ["5: stuck a#1"]);
        assert_eq!(rig.terminate("6", "a"), ["6: stuck a#1"]);
        assert_eq!(rig.counts(), (1, 1, 0, 1));
        assert_eq!(rig.ends("a", ExitReason::Normal).is_empty(), kept);
        assert_eq!(rig.notes(), ["stuck a#1", "reaped a#1"]);
        assert_eq!(rig.state("a"), kept.then_some(ChildState::Undefined));
    }
}

/// RT-04 a start that timed out and cannot be killed is an error to its caller; when it ends, nothing of it is kept.
#[test]
fn a_stuck_start() {
    let late = Policy { start_timeout: Some(ms(100)), ..permanent("a") };
    let mut rig = Rig::running(options(), []);
    rig.start("start", late);
    assert_eq!(rig.pass(100), ["kill a#1"]);
    assert_eq!(rig.pass(1000), ["start: stuck a#1"]);
    assert_eq!(rig.crashes("a"), ["forget a"]);
}

/// RT-04 a child that says of itself that it lingers is stuck at once, whatever its deadline.
#[test]
fn a_child_may_say_that_it_lingers() {
    let slow = || stops_in(permanent("a"), Shutdown::Infinity);
    let mut rig = Rig::running(options(), [slow()]);
    assert_eq!(rig.lingers("a"), [""; 0], "nobody waits for its end");
    assert_eq!(rig.state("a"), Some(ChildState::Running));
    rig.terminate("t", "a");
    assert_eq!(rig.lingers("a"), ["t: stuck a#1"]);
    assert_eq!(rig.lingers("a"), [""; 0]);
    rig.stops("a");

    rig.restart("r", "a");
    assert_eq!(rig.lingers("a"), ["r: stuck a#2"], "a start that cannot be rolled back");
    assert_eq!(rig.crashes("a"), [""; 0]);
    assert_eq!(rig.states(), ["a#2 Undefined"]);
}

/// TM-05 CS-07 a brutal kill asks nothing; a deadline of zero asks, then kills at once.
#[test]
fn brutal_kill_and_zero() {
    let mut rig = Rig::running(options(), [brutal(permanent("a"))]);
    assert_eq!(rig.terminate("t", "a"), ["kill a#1"]);
    assert_eq!(rig.ends("a", ExitReason::Killed), ["t: done"]);
    assert_eq!(rig.notes(), [""; 0], "as was wanted: no error");

    let mut rig = Rig::running(options(), [stops_in(permanent("a"), Shutdown::Timeout(ms(0)))]);
    assert_eq!(rig.terminate("t", "a"), ["stop a#1", "kill a#1"]);
    assert_eq!(rig.machine.poll_timeout(), Some(ms(1000)), "the kill's grace");
}

/// TM-06 infinity has no deadline, and there is no hidden one.
#[test]
fn infinity() {
    let mut rig = Rig::running(options(), [stops_in(permanent("a"), Shutdown::Infinity)]);
    rig.shutdown("stop");
    assert_eq!(rig.machine.poll_timeout(), None);
    assert_eq!(rig.pass(1_000_000_000), [""; 0]);
    assert_eq!(rig.stops("a"), ["stop: done", "exit shutdown"]);
}

/// TM-08 an answer of normal or shutdown is clean, any other is reported; the stop goes on either way.
#[test]
fn answers_to_a_stop() {
    for (reason, name) in all_ends() {
        let mut rig = Rig::running(options(), ["a", "b"].map(permanent));
        rig.shutdown("stop");
        let clean = !reason.is_abnormal();
        assert_eq!(rig.ends("b", reason), ["stop a#1"], "{name}");
        assert_eq!(rig.notes().is_empty(), clean, "{name}");
    }
}

/// TM-09 children that end by themselves during a stop are not restarted and not waited for again.
#[test]
fn ends_during_a_stop() {
    for make in [permanent, transient, temporary] {
        for (reason, name) in all_ends() {
            let mut rig = Rig::running(intensity(0, 1000), ["a", "b", "c"].map(make));
            rig.shutdown("stop");
            let lines = rig.ends("a", reason);
            assert!(lines.iter().all(|line| line == "forget a"), "{name}: {lines:?}");
            assert_eq!(rig.stops("c").last().unwrap(), "stop b#1");
            let last = rig.stops("b");
            assert_eq!(last[last.len() - 2..], ["stop: done", "exit shutdown"], "{name}");
        }
    }
}

/// TM-11 a restart that is under way is cancelled, and no other follows.
#[test]
fn a_restarting_child_at_a_stop() {
    let mut rig = Rig::running(options(), ["a", "b"].map(permanent));
    rig.crashes("a");
    assert_eq!(rig.shutdown("stop"), ["stop b#1"]);
    assert_eq!(rig.crashes("a"), [""; 0], "the attempt failed, and that is the last one");
    assert_eq!(rig.stops("b"), ["stop: done", "exit shutdown"]);

    let late = Policy { start_timeout: Some(ms(10)), ..permanent("a") };
    let mut rig = Rig::running(options(), [late]);
    rig.crashes("a");
    rig.pass(10);
    assert_eq!(rig.shutdown("stop"), [""; 0], "killed already");
    assert_eq!(rig.ends("a", ExitReason::Killed), ["stop: done", "exit shutdown"]);
}

/// TM-15 the cause of the stop is the exit reason, and each child's reason to stop.
#[test]
fn the_cause_of_a_stop() {
    let mut rig = Rig::running(options(), [permanent("a")]);
    let cause = Cause::Requested(Some("upgrade".into()));
    rig.machine.handle(rig.now, Event::Shutdown { tag: None, caller: None, cause });
    let Some(Action::Stop { cause, .. }) = rig.machine.poll_action() else { panic!() };
    assert_eq!(cause.to_string(), "upgrade");
    assert_eq!(rig.stops("a"), ["exit shutdown: upgrade"]);
}

/// TM-18 a second stop joins the first, and both are answered at the exit.
#[test]
fn stops_join() {
    let mut rig = Rig::running(options(), [permanent("a")]);
    rig.shutdown("1");
    assert_eq!(rig.shutdown("2"), [""; 0]);
    assert_eq!(rig.stops("a"), ["1: done", "2: done", "exit shutdown"]);
}

/// TM-18 a stop of a supervisor that is giving up joins that; the reason stays.
#[test]
fn a_stop_joins_a_meltdown() {
    let mut rig = Rig::running(intensity(0, 1000), ["a", "b"].map(permanent));
    rig.crashes("b");
    assert_eq!(rig.shutdown("stop"), [""; 0]);
    let lines = rig.stops("a");
    assert_eq!(lines[0], "stop: done");
    assert!(lines[1].starts_with("exit shutdown: too many restarts"));
}

/// TM-19 RT-14 once it is stopping nothing is started: commands are refused, exits restart nothing.
#[test]
fn nothing_is_started_during_a_stop() {
    let mut rig = Rig::running(options(), ["a", "b"].map(permanent));
    rig.terminate("t", "a");
    rig.restart("queued", "a");
    assert_eq!(rig.shutdown("stop"), ["queued: ShuttingDown", "stop b#1"]);
    assert_eq!(rig.start("1", permanent("c")), ["forget c", "1: ShuttingDown"]);
    assert_eq!(rig.restart("2", "a"), ["2: ShuttingDown"]);
    assert_eq!(rig.terminate("3", "b"), ["3: ShuttingDown"]);
    assert_eq!(rig.delete("4", "a"), ["4: ShuttingDown"]);
    assert_eq!(rig.stops("a"), ["t: done"]);
    assert_eq!(rig.crashes("b"), ["stop: done", "exit shutdown"]);
}

/// TM-19 a start that is under way is cancelled when its turn in the stop comes, and its caller told.
#[test]
fn a_start_under_way_at_a_stop() {
    let mut rig = Rig::running(options(), [permanent("a")]);
    rig.start("start", permanent("b"));
    assert_eq!(rig.shutdown("stop"), ["stop b#1"]);
    assert_eq!(rig.stops("b"), ["forget b", "start: Cancelled", "stop a#1"]);
}

/// At the shutdown timeout all that are left are killed side by side, whatever their own deadlines.
#[test]
fn the_whole_stop_has_a_deadline() {
    let slow = |id| stops_in(permanent(id), Shutdown::Infinity);
    let mut rig = Rig::running(whole(500), [slow("a"), slow("b"), slow("c")]);
    rig.shutdown("stop");
    rig.pass(100);
    assert_eq!(rig.stops("c"), ["stop b#1"]);
    assert_eq!(rig.pass(400), ["kill a#1", "kill b#1"]);
    rig.ends("b", ExitReason::Killed);
    assert_eq!(rig.ends("a", ExitReason::Killed), ["stop: done", "exit shutdown"]);
}

/// So a stop takes the shutdown timeout and one kill grace at most, even of children that cannot be killed.
#[test]
fn the_whole_stop_is_bounded() {
    let mut rig = Rig::running(whole(500), ["a", "b", "c", "d"].map(permanent));
    rig.shutdown("stop");
    let lines = rig.pass(1500);
    assert_eq!(lines[..4], ["kill a#1", "kill b#1", "kill c#1", "kill d#1"]);
    assert_eq!(lines[4], "stop: stuck a#1 b#1 c#1 d#1");
    assert!(lines[5].starts_with("stalled"));
    assert_eq!(lines.len(), 6);
}

/// A kill of the supervisor kills all side by side and asks nobody, in the middle of a stop too.
#[test]
fn kill_asks_nobody() {
    let mut rig = Rig::running(options(), ["a", "b", "c"].map(permanent));
    rig.shutdown("stop");
    assert_eq!(rig.kill(), ["kill a#1", "kill b#1", "kill c#1"]);
    assert_eq!(rig.kill(), [""; 0], "once is enough");
    for id in ["a", "b"] {
        assert_eq!(rig.ends(id, ExitReason::Killed), [""; 0]);
    }
    let exit = "exit shutdown: the permit to run was revoked";
    assert_eq!(rig.ends("c", ExitReason::Killed), ["stop: done", exit], "the kill's reason, not the stop's");

    let mut rig = Rig::running(options(), [permanent("a")]);
    rig.kill();
    assert_eq!(rig.ends("a", ExitReason::Killed), ["exit shutdown: the permit to run was revoked"]);
}

/// A kill during the initial start: nothing more is started.
#[test]
fn kill_during_the_start() {
    let mut rig = Rig::ordered(options(), ["a", "b", "c"].map(permanent));
    rig.begin();
    rig.up("a");
    assert_eq!(rig.kill(), ["kill a#1", "kill b#1"]);
    rig.ends("b", ExitReason::Killed);
    assert_eq!(rig.ends("a", ExitReason::Killed).len(), 1);
    assert!(rig.exit.is_some());
}

/// A driver that sleeps too long is harmless: each deadline is acted on once, and a grace begins with its kill.
#[test]
fn a_late_tick_is_harmless() {
    let mut rig = Rig::running(options(), [stops_in(permanent("a"), Shutdown::Timeout(ms(10)))]);
    rig.terminate("t", "a");
    rig.now = ms(60_000);
    assert_eq!(rig.handle(Event::Tick), ["kill a#1"]);
    assert_eq!(rig.machine.poll_timeout(), Some(ms(61_000)));
    assert_eq!(rig.handle(Event::Tick), [""; 0]);
}

/// RT-04 ST-04 a child that gets stuck in the middle of the initial start: killed for its start's time, the start has failed and is rolled
/// back without it; stopped by somebody, the start goes on without it.
#[test]
fn a_child_that_gets_stuck_while_it_starts() {
    let late = Policy { start_timeout: Some(ms(10)), ..permanent("b") };
    let mut rig = Rig::ordered(options(), [permanent("a"), late, permanent("c")]);
    rig.begin();
    rig.up("a");
    assert_eq!(rig.pass(10), ["kill b#1"]);
    assert_eq!(rig.pass(1_000), ["stop a#1"], "it is not waited for");
    let mut rig = Rig::ordered(options(), [permanent("a"), brutal(permanent("b")), permanent("c")]);
    rig.begin();
    rig.up("a");
    assert_eq!(rig.terminate("gone", "b"), ["kill b#1"]);
    assert_eq!(rig.pass(1_000), ["gone: stuck b#1", "start c#1"]);
    assert_eq!(rig.up("c"), ["started"]);
    // One that was not part of the initial start holds nothing up.
    let mut rig = Rig::ordered(options(), [permanent("a"), brutal(permanent("b")), permanent("c")]);
    rig.begin();
    rig.up("a");
    rig.up("b");
    rig.terminate("gone", "b");
    assert_eq!(rig.pass(1_000), ["gone: stuck b#1"], "c is still starting");
    assert_eq!(rig.up("c"), ["started"]);
}

/// TM-18 an initial start that fails when the supervisor is stopping already changes nothing about that stop: its reason, its callers.
#[test]
fn an_initial_start_that_fails_during_a_stop() {
    let late = Policy { start_timeout: Some(ms(10)), ..permanent("b") };
    let mut rig = Rig::ordered(options(), [permanent("a"), late, permanent("c")]);
    rig.begin();
    rig.up("a");
    assert_eq!(rig.pass(10), ["kill b#1"]);
    assert_eq!(rig.shutdown("stop"), [""; 0], "b is on its way out");
    assert_eq!(rig.ends("b", ExitReason::Killed), ["stop a#1"]);
    assert_eq!(rig.stops("a"), ["stop: done", "exit shutdown"]);
}

/// ST-04 the start of all children has a time of its own: before it nothing happens, at it all is rolled back.
#[test]
fn the_whole_start_takes_too_long() {
    let within = MachineOptions { start_timeout: Some(ms(100)), ..options() };
    let mut rig = Rig::ordered(within, ["a", "b"].map(permanent));
    rig.begin();
    rig.up("a");
    assert_eq!(rig.pass(99), [""; 0]);
    // A deadline of another child is none of it.
    let mut other =
        Rig::ordered(within, [Policy { start_timeout: Some(ms(50)), ..permanent("a") }, permanent("b")]);
    other.begin();
    assert_eq!(other.pass(50), ["kill a#1"]);
    assert!(!other.machine.is_stopping());
    assert_eq!(rig.pass(1), ["stop b#1"]);
    assert!(rig.machine.is_stopping());
}
