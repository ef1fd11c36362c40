//! Operations on an ordered machine that runs: start, terminate, restart and delete of single children.

use super::*;

/// DO-01 a new child goes to the end of the order; the answer comes when it is up.
#[test]
fn start_child_appends() {
    let mut rig = Rig::running(options(), [permanent("z")]);
    assert_eq!(rig.start("start", permanent("a")), ["start a#1"]);
    assert_eq!(rig.up("a"), ["start: up a#1"]);
    assert_eq!(rig.states(), ["z#1 Running", "a#1 Running"]);
}

/// DO-02 a running child of that id: refused, with who it is, and the new spec is let go.
#[test]
fn start_of_a_running_child() {
    let mut rig = Rig::running(options(), [permanent("a")]);
    rig.crashes("a");
    rig.up("a");
    assert_eq!(rig.start("start", temporary("a")), ["forget a", "start: already started a#2"]);
    assert_eq!(rig.machine.policy(&Target::Id("a".into())).unwrap().restart, Restart::Permanent);
}

/// DO-03 a child of that id that is terminated, declined or finished: already present.
#[test]
fn start_of_a_child_that_is_kept() {
    let refused = ["forget a", "start: already present"];
    let mut rig = Rig::running(options(), [permanent("a")]);
    rig.terminate("t", "a");
    rig.stops("a");
    assert_eq!(rig.start("start", permanent("a")), refused);

    let mut rig = Rig::running(options(), []);
    rig.start("first", permanent("a"));
    rig.declines("a");
    assert_eq!(rig.start("start", permanent("a")), refused);

    let mut rig = Rig::running(options(), [transient("a")]);
    rig.ends("a", ExitReason::Normal);
    assert_eq!(rig.start("start", permanent("a")), refused);
}

/// DO-04 DO-18 DO-20 a restarting child is present, not started; it is listed as restarting, and not active.
#[test]
fn start_of_a_restarting_child() {
    let mut rig = Rig::running(options(), [permanent("a")]);
    rig.crashes("a");
    assert_eq!(rig.start("start", permanent("a")), ["forget a", "start: already present"]);
    assert_eq!(rig.states(), ["a#2 Restarting"]);
    assert_eq!(rig.counts(), (1, 0, 0, 1));
}

/// DO-05 a start that fails leaves nothing behind, and its id is free when the answer comes.
#[test]
fn a_failed_start_leaves_nothing() {
    for (reason, name) in all_ends() {
        let mut rig = Rig::running(options(), []);
        rig.start("start", permanent("a"));
        let lines = rig.ends("a", reason);
        assert_eq!(lines[0], "forget a", "{name}");
        assert!(lines[1].starts_with("start: child `a` failed to start"), "{name}");
        assert_eq!(rig.states(), [""; 0], "{name}");
        assert_eq!(rig.start("again", permanent("a")), ["start a#1"], "{name}");
    }
}

/// DO-06 terminate_child answers when the child is gone; its spec is kept, it is neither restarted nor counted.
#[test]
fn terminate_keeps_the_spec() {
    for policy in [permanent("a"), transient("a")] {
        let mut rig = Rig::running(intensity(0, 1000), [policy]);
        assert_eq!(rig.terminate("t", "a"), ["stop a#1"]);
        assert_eq!(rig.state("a"), Some(ChildState::Stopping));
        assert_eq!(rig.crashes("a"), ["t: done"], "whatever it ended with");
        assert_eq!(rig.states(), ["a#1 Undefined"]);
        assert_eq!(rig.counts(), (1, 0, 0, 1));
        assert!(!rig.machine.is_stopping());
    }
}

/// DO-07 terminate_child of a child that is not running is done; of a temporary one the second time not found.
#[test]
fn terminate_is_idempotent() {
    let mut rig = Rig::running(options(), [permanent("a"), temporary("b")]);
    rig.terminate("1", "a");
    rig.stops("a");
    assert_eq!(rig.terminate("2", "a"), ["2: done"]);
    rig.terminate("3", "b");
    assert_eq!(rig.stops("b"), ["3: done", "forget b"]);
    assert_eq!(rig.terminate("4", "b"), ["4: NotFound"]);
}

/// DO-07 two stops of one child are one stop, and both are answered when it is gone.
#[test]
fn terminates_join() {
    let mut rig = Rig::running(options(), [permanent("a")]);
    assert_eq!(rig.terminate("1", "a"), ["stop a#1"]);
    assert_eq!(rig.terminate("2", "a"), [""; 0]);
    assert_eq!(rig.stops("a"), ["1: done", "2: done"]);
}

/// DO-08 DO-12 DO-14 an unknown id is not found.
#[test]
fn unknown_ids() {
    let mut rig = Rig::running(options(), []);
    assert_eq!(rig.terminate("t", "a"), ["t: NotFound"]);
    assert_eq!(rig.restart("r", "a"), ["r: NotFound"]);
    assert_eq!(rig.delete("d", "a"), ["d: NotFound"]);
}

/// DO-09 terminate_child of a restarting child cancels the retry; it can be restarted later.
#[test]
fn terminate_cancels_a_retry() {
    let mut rig = Rig::running(options(), [permanent("a")]);
    rig.crashes("a");
    assert_eq!(rig.terminate("t", "a"), ["stop a#2"]);
    assert_eq!(rig.crashes("a"), ["t: done"]);
    assert_eq!(rig.states(), ["a#2 Undefined"]);
    rig.restart("r", "a");
    assert_eq!(rig.up("a"), ["r: up a#3"]);
}

/// DO-09 so it does while the late attempt is being killed, and when that turns out to be stuck.
#[test]
fn terminate_cancels_a_retry_that_is_being_killed() {
    let late = || Policy { start_timeout: Some(ms(100)), ..permanent("a") };
    let mut rig = Rig::running(options(), [late()]);
    rig.crashes("a");
    rig.pass(100);
    assert_eq!(rig.terminate("t", "a"), [""; 0], "killed already");
    assert_eq!(rig.ends("a", ExitReason::Killed), ["t: done"]);
    assert_eq!(rig.states(), ["a#2 Undefined"]);

    let mut rig = Rig::running(options(), [late()]);
    rig.crashes("a");
    rig.pass(1100);
    assert_eq!(rig.terminate("t", "a"), ["t: stuck a#2"]);
    assert_eq!(rig.ends("a", ExitReason::Normal), [""; 0], "it is not wanted any more");
    assert_eq!(rig.states(), ["a#2 Undefined"]);
}

/// DO-10 a temporary child that is terminated is gone: restart does not find it, start does not mind it.
#[test]
fn terminate_forgets_temporary_children() {
    let mut rig = Rig::running(options(), [temporary("a")]);
    rig.terminate("t", "a");
    assert_eq!(rig.stops("a"), ["t: done", "forget a"]);
    assert_eq!(rig.restart("r", "a"), ["r: NotFound"]);
    rig.start("s", temporary("a"));
    assert_eq!(rig.up("a"), ["s: up a#1"]);
}

/// DO-12 restart_child in every state; from undefined the child comes up in its old place.
#[test]
fn restart_child() {
    let mut rig = Rig::running(options(), ["a", "b"].map(permanent));
    assert_eq!(rig.restart("1", "a"), ["1: Running"]);
    rig.terminate("t", "a");
    rig.stops("a");
    assert_eq!(rig.restart("2", "a"), ["start a#2"]);
    assert_eq!(rig.up("a"), ["2: up a#2"]);
    assert_eq!(rig.states(), ["a#2 Running", "b#1 Running"]);
    rig.crashes("a");
    assert_eq!(rig.restart("3", "a"), ["3: Restarting"]);
}

/// DO-13 a restart_child that fails keeps the spec, and nothing tries again.
#[test]
fn a_failed_restart_child_keeps_the_spec() {
    let mut rig = Rig::running(options(), [permanent("a")]);
    rig.terminate("t", "a");
    rig.stops("a");
    rig.restart("r", "a");
    assert_eq!(rig.crashes("a"), ["r: child `a` failed to start: failed: crash"]);
    assert_eq!(rig.states(), ["a#2 Undefined"]);
    assert_eq!(rig.machine.poll_timeout(), None);
}

/// DO-14 delete_child in every state.
#[test]
fn delete_child() {
    let mut rig = Rig::running(options(), [permanent("a")]);
    assert_eq!(rig.delete("1", "a"), ["1: Running"]);
    rig.crashes("a");
    assert_eq!(rig.delete("2", "a"), ["2: Restarting"]);
    rig.up("a");
    rig.terminate("t", "a");
    assert_eq!(rig.delete("3", "a"), [""; 0], "behind the stop that is under way");
    assert_eq!(rig.stops("a"), ["t: done", "forget a", "3: done"]);
    assert_eq!(rig.start("s", permanent("a")), ["start a#1"]);
}

/// DO-15 delete and start: the end of the order.
#[test]
fn delete_and_start_moves_to_the_end() {
    let mut rig = Rig::running(options(), ["a", "b"].map(permanent));
    rig.terminate("t", "a");
    rig.stops("a");
    rig.delete("d", "a");
    rig.start("s", permanent("a"));
    rig.up("a");
    assert_eq!(rig.states(), ["b#1 Running", "a#1 Running"]);
}

/// DO-17 one child by its id.
#[test]
fn which_child() {
    let rig = Rig::running(options(), ["a", "b"].map(permanent));
    let info = rig.machine.which_child(&Target::Id("b".into())).unwrap();
    assert_eq!(info.child, ChildRef { id: "b".into(), slot: SlotId(1), incarnation: Incarnation(1) });
    assert_eq!((info.state, info.kind, info.restarts), (ChildState::Running, Kind::Worker, 0));
    assert_eq!(rig.machine.which_child(&Target::Id("c".into())), None);
}

/// DO-19 counts: specs are all, active those that are up or on their way out, kinds dead or alive.
#[test]
fn counts_by_state() {
    let supervisor = Policy { kind: Kind::Supervisor, ..permanent("s") };
    let mut rig = Rig::running(options(), [permanent("a"), supervisor, transient("b"), permanent("c")]);
    assert_eq!(rig.counts(), (4, 4, 1, 3));
    rig.ends("b", ExitReason::Normal);
    rig.crashes("s");
    assert_eq!(rig.counts(), (4, 2, 1, 3), "b is undefined, s restarting");
    rig.terminate("t", "a");
    assert_eq!(rig.counts(), (4, 2, 1, 3), "a may still be running");
    rig.stops("a");
    assert_eq!(rig.counts(), (4, 1, 1, 3));
}

/// DO-21 two starts of one id at once: one starts it, the other is told who runs.
#[test]
fn starts_of_one_id_are_serialised() {
    let mut rig = Rig::running(options(), []);
    rig.start("1", permanent("a"));
    assert_eq!(rig.start("2", permanent("a")), [""; 0]);
    assert_eq!(rig.up("a"), ["1: up a#1", "forget a", "2: already started a#1"]);
}

/// DO-21 if the first fails, the second has its turn.
#[test]
fn the_second_start_follows_a_failed_first() {
    let mut rig = Rig::running(options(), []);
    rig.start("1", permanent("a"));
    rig.start("2", permanent("a"));
    let lines = rig.crashes("a");
    assert_eq!(lines, ["forget a", "1: child `a` failed to start: failed: crash", "start a#1"]);
    assert_eq!(rig.up("a"), ["2: up a#1"]);
}

/// DO-21 a start that waited for a stop has its turn after it, though other children were added meanwhile.
#[test]
fn a_start_that_waited_for_a_stop() {
    let mut rig = Rig::running(options(), [temporary("a")]);
    rig.terminate("t", "a");
    assert_eq!(rig.start("1", temporary("a")), [""; 0]);
    assert_eq!(rig.start("2", permanent("b")), ["start b#1"]);
    assert_eq!(rig.stops("a"), ["t: done", "forget a", "start a#1"]);
    rig.up("b");
    assert_eq!(rig.up("a"), ["1: up a#1"]);
    assert_eq!(rig.counts(), (2, 2, 0, 2));
}

/// A stop of a child that is being started: the start is cancelled, the stop is done, a new spec is gone.
#[test]
fn terminate_cancels_a_start() {
    let mut rig = Rig::running(options(), []);
    rig.start("start", permanent("a"));
    assert_eq!(rig.terminate("t", "a"), ["stop a#1"]);
    assert_eq!(rig.stops("a"), ["t: done", "forget a", "start: Cancelled"]);
    assert_eq!(rig.states(), [""; 0]);
}

/// RT-20 what would wait for its own caller is refused, in every form; what does not wait is carried out.
#[test]
fn calls_that_would_wait_for_themselves() {
    let by_id = |id: &str| Target::Id(id.into());
    // A child that stops itself, running, starting or being restarted.
    let mut rig = Rig::running(options(), [permanent("a")]);
    assert_eq!(rig.command(Some("1"), Some("a"), Op::Terminate(by_id("a"))), ["1: WouldDeadlock"]);
    rig.crashes("a");
    assert_eq!(rig.command(Some("2"), Some("a"), Op::Terminate(by_id("a"))), ["2: WouldDeadlock"]);
    rig.up("a");
    // From its own start, and its own stop.
    rig.start("start", permanent("b"));
    for op in [Op::Restart(by_id("b")), Op::Delete(by_id("b")), Op::Terminate(by_id("b"))] {
        assert_eq!(rig.command(Some("3"), Some("b"), op), ["3: WouldDeadlock"]);
    }
    assert_eq!(rig.start_from(Some("b"), "4", permanent("b")), ["forget b", "4: WouldDeadlock"]);
    rig.up("b");
    rig.terminate("t", "b");
    assert_eq!(rig.command(Some("5"), Some("b"), Op::Terminate(by_id("b"))), ["5: WouldDeadlock"]);
    assert_eq!(rig.command(Some("6"), Some("b"), Op::Restart(by_id("b"))), ["6: WouldDeadlock"]);
    rig.stops("b");
    // Its supervisor.
    let stop = |tag| Event::Shutdown { tag, caller: Some(SlotId(0)), cause: Cause::Requested(None) };
    assert_eq!(rig.handle(stop(Some("7"))), ["7: WouldDeadlock"]);
    assert_eq!(rig.command(None, Some("a"), Op::Terminate(by_id("a"))), ["stop a#2"]);
    rig.stops("a");
    rig.restart("r", "a");
    rig.up("a");
    assert_eq!(rig.handle(stop(None)), ["stop a#3"]);
}

/// RT-20 from within the initial start, what would queue behind it is refused; a sibling's stop is not.
#[test]
fn calls_from_within_the_initial_start() {
    let mut rig = Rig::ordered(options(), ["a", "b", "c"].map(permanent));
    rig.begin();
    rig.up("a");
    assert_eq!(rig.start_from(Some("b"), "1", permanent("d")), ["forget d", "1: WouldDeadlock"]);
    for op in [Op::Restart(Target::Id("a".into())), Op::Delete(Target::Id("a".into()))] {
        assert_eq!(rig.command(Some("2"), Some("b"), op), ["2: WouldDeadlock"]);
    }
    let pending = Op::Terminate(Target::Id("c".into()));
    assert_eq!(rig.command(Some("3"), Some("b"), pending), ["3: WouldDeadlock"]);
    let sibling = Op::Terminate(Target::Id("a".into()));
    assert_eq!(rig.command(Some("4"), Some("b"), sibling), ["stop a#1"]);
    assert_eq!(rig.stops("a"), ["4: done"]);
    assert_eq!(rig.start_from(Some("a"), "5", permanent("e")), [""; 0], "one that is not part of it waits");
}

/// RT-18 TM-19 what waits for a child to have stopped is refused at once when the supervisor stops, however long that takes.
#[test]
fn a_stop_refuses_what_waits_for_a_child() {
    let mut rig = Rig::running(options(), [permanent("a")]);
    rig.terminate("terminate", "a");
    assert_eq!(rig.restart("restart", "a"), [""; 0]);
    assert_eq!(rig.start("start", permanent("a")), [""; 0]);
    assert_eq!(rig.shutdown("shutdown"), ["restart: ShuttingDown", "forget a", "start: ShuttingDown"]);
    assert_eq!(rig.stops("a"), ["terminate: done", "shutdown: done", "exit shutdown"]);
}

/// ST-17 what waits behind a stop is about the id, whichever child has it by then.
#[test]
fn an_id_that_is_given_to_another_child_meanwhile() {
    let mut rig = Rig::running(options(), [temporary("a")]);
    rig.terminate("t", "a");
    assert_eq!(rig.start("start", permanent("a")), [""; 0]);
    assert_eq!(rig.restart("restart", "a"), [""; 0]);
    assert_eq!(rig.delete("delete", "a"), [""; 0]);
    assert_eq!(rig.stops("a"), ["t: done", "forget a", "start a#1"]);
    assert_eq!(rig.up("a"), ["start: up a#1", "restart: Running", "delete: Running"]);
}
