//! Group restarts, step by step.

use super::*;
use crate::policy::Strategy;

fn strategy(strategy: Strategy) -> MachineOptions {
    MachineOptions { strategy, ..options() }
}

fn trio(kind: Strategy) -> Rig {
    Rig::running(strategy(kind), ["a", "b", "c"].map(permanent))
}

/// SG-02 one_for_all: the others stop in reverse, one at a time; then all start in order, one at a time.
#[test]
fn one_for_all_stops_in_reverse_and_starts_in_order() {
    let mut rig = trio(Strategy::OneForAll);
    assert_eq!(rig.crashes("b"), ["stop c#1"]);
    assert_eq!(rig.stops("c"), ["stop a#1"]);
    assert_eq!(rig.stops("a"), ["start a#2"]);
    assert_eq!(rig.up("a"), ["start b#2"]);
    assert_eq!(rig.up("b"), ["start c#2"]);
    assert_eq!(rig.up("c"), [""; 0]);
    assert_eq!(rig.states(), ["a#2 Running", "b#2 Running", "c#2 Running"]);
}

/// SG-03 SG-04 rest_for_one: those before are untouched.
#[test]
fn rest_for_one_leaves_those_before_alone() {
    let mut rig = trio(Strategy::RestForOne);
    assert_eq!(rig.crashes("b"), ["stop c#1"]);
    assert_eq!(rig.stops("c"), ["start b#2"]);
    assert_eq!(rig.up("b"), ["start c#2"]);
    rig.up("c");
    assert_eq!(rig.crashes("c"), ["start c#3"]);
    rig.up("c");
    assert_eq!(rig.crashes("a"), ["stop c#3"]);
}

/// SG-15 an end of a member that the group is about to stop is not counted and restarts nothing by itself; one of a child outside is.
#[test]
fn ends_during_a_group_stop() {
    let mut rig = Rig::running(
        MachineOptions { strategy: Strategy::RestForOne, ..intensity(2, 1000) },
        ["a", "b", "c", "d"].map(permanent),
    );
    assert_eq!(rig.crashes("b"), ["stop d#1"]);
    rig.notes.clear();
    assert_eq!(rig.crashes("c"), [""; 0]);
    assert_eq!(rig.notes(), ["exited c#1 failed: crash restart=false"]);
    // a is not of the group: its end is one more restart, and widens it.
    assert_eq!(rig.crashes("a"), [""; 0]);
    assert_eq!(rig.notes(), ["exited a#1 failed: crash restart=true", "restarting a#1"]);
    assert_eq!(rig.stops("d"), ["start a#2"]);
    assert_eq!(rig.up("a"), ["start b#2"]);
}

/// An end after the group is up again is an end like any other.
#[test]
fn ends_after_a_group_restart_count_again() {
    let mut rig = Rig::running(
        MachineOptions { strategy: Strategy::OneForAll, ..intensity(1, 1000) },
        ["a", "b"].map(permanent),
    );
    rig.crashes("b");
    rig.stops("a");
    rig.up("a");
    rig.up("b");
    assert_eq!(rig.crashes("a"), ["forget a", "stop b#2"]);
    assert!(rig.stops("b").last().unwrap().starts_with("exit shutdown: too many restarts"));
}

/// ST-17 while a group is restarted a further start waits, a restart or delete of a member waits, those of others do not.
#[test]
fn what_waits_for_a_group() {
    let mut rig = Rig::running(strategy(Strategy::RestForOne), ["a", "b", "c", "d"].map(transient));
    for id in ["a", "d"] {
        rig.ends(id, ExitReason::Normal);
    }
    assert_eq!(rig.crashes("b"), ["stop c#1"]);
    assert_eq!(rig.start("start", permanent("e")), [""; 0]);
    assert_eq!(rig.restart("a", "a"), ["start a#2"], "it is before the group");
    assert_eq!(rig.up("a"), ["a: up a#2"]);
    assert_eq!(rig.delete("running", "a"), ["running: Running"]);
    assert_eq!(rig.delete("delete", "d"), [""; 0], "it is of the group, and down");
    assert_eq!(rig.stops("c"), ["start b#2"]);
    assert_eq!(rig.up("b"), ["start c#2"]);
    assert_eq!(rig.up("c"), ["start d#2"]);
    assert_eq!(rig.up("d"), ["start e#1", "delete: Running"]);
    assert_eq!(rig.up("e"), ["start: up e#1"]);
}

/// ST-17 a start of an id that a child has waits for the end of the group restart as well, and is answered then.
#[test]
fn a_start_of_a_taken_id_waits_for_the_group() {
    let mut rig = trio(Strategy::RestForOne);
    assert_eq!(rig.crashes("b"), ["stop c#1"]);
    assert_eq!(rig.start("running", permanent("a")), [""; 0]);
    assert_eq!(rig.start("restarting", permanent("b")), [""; 0]);
    assert_eq!(rig.stops("c"), ["start b#2"]);
    assert_eq!(rig.up("b"), ["start c#2"]);
    let answers = ["forget a", "running: already started a#1", "forget b", "restarting: already started b#2"];
    assert_eq!(rig.up("c"), answers);
}

/// RT-20 a member whose start is part of the group restart cannot wait for the end of it; another child can.
#[test]
fn a_member_that_starts_cannot_wait_for_its_group() {
    let mut rig = Rig::running(strategy(Strategy::RestForOne), ["a", "b", "c"].map(permanent));
    rig.crashes("b");
    rig.stops("c");
    assert_eq!(rig.start_from(Some("b"), "inside", permanent("d")), ["forget d", "inside: WouldDeadlock"]);
    assert_eq!(rig.start_from(Some("a"), "outside", permanent("d")), [""; 0]);
    rig.up("b");
    assert_eq!(rig.start_from(Some("b"), "up by now", permanent("e")), [""; 0]);
    assert_eq!(rig.up("c"), ["start d#1", "start e#1"]);
    // One that is killed in the middle of such a start is still part of it.
    let late = Policy { start_timeout: Some(ms(10)), ..permanent("b") };
    let mut rig = Rig::running(strategy(Strategy::OneForAll), [permanent("a"), late]);
    rig.crashes("b");
    rig.stops("a");
    rig.up("a");
    assert_eq!(rig.pass(10), ["kill b#2"]);
    assert_eq!(rig.start_from(Some("b"), "inside", permanent("d")), ["forget d", "inside: WouldDeadlock"]);
}

/// DO-09 a member that is stopped while its group is stopped, or waits for its start, stays down; the others go on.
#[test]
fn a_member_that_is_stopped_stays_down() {
    let mut rig = trio(Strategy::OneForAll);
    rig.crashes("a");
    assert_eq!(rig.terminate("stop", "b"), ["stop b#1"]);
    assert_eq!(rig.stops("b"), ["stop: done"]);
    assert_eq!(rig.stops("c"), ["start a#2"]);
    assert_eq!(rig.terminate("late", "c"), ["late: done"]);
    assert_eq!(rig.up("a"), [""; 0]);
    assert_eq!(rig.states(), ["a#2 Running", "b#1 Undefined", "c#1 Undefined"]);
}

/// SG-11 a start that fails begins the group anew.
#[test]
fn a_failed_start_begins_the_group_anew() {
    let mut rig = trio(Strategy::OneForAll);
    rig.crashes("c");
    rig.stops("b");
    rig.stops("a");
    rig.up("a");
    assert_eq!(rig.crashes("b"), ["stop a#2"]);
    assert_eq!(rig.stops("a"), ["start a#3"]);
    let mut rig = trio(Strategy::RestForOne);
    rig.crashes("b");
    rig.stops("c");
    rig.up("b");
    assert_eq!(rig.crashes("c"), ["start c#3"], "only it and those behind it");
}

/// A stop in the middle of a group restart: a start that fails then is no restart any more.
#[test]
fn a_stop_ends_a_group_restart() {
    let mut rig = trio(Strategy::OneForAll);
    rig.crashes("c");
    rig.stops("b");
    rig.stops("a");
    rig.up("a");
    rig.notes.clear();
    assert_eq!(rig.shutdown("bye"), ["stop b#2"]);
    assert_eq!(rig.crashes("b"), ["stop a#2"]);
    assert!(rig.notes().iter().all(|note| !note.starts_with("restart")));
    rig.stops("a");
    assert!(rig.exit.is_some());
}

/// A start that fails by itself at the very moment of a stop is not tried again.
#[test]
fn a_failed_restart_is_not_tried_again_once_stopping() {
    let mut rig = Rig::running(options(), [permanent("a"), permanent("b")]);
    rig.crashes("a");
    rig.shutdown("bye");
    rig.notes.clear();
    rig.stops("b");
    rig.crashes("a");
    assert_eq!(rig.notes(), [""; 0]);
    assert!(rig.exit.is_some());
}
