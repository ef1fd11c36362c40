//! The dynamic discipline: no order, labels instead of ids, nothing kept of the dead.

use super::*;

fn at_most(max: usize) -> MachineOptions {
    MachineOptions { max_children: Some(max), ..options() }
}

/// DS-01 labels need not be unique; each child is its slot, across restarts.
#[test]
fn ids_are_labels() {
    let mut rig = Rig::dynamic(options(), [permanent("a"), permanent("a")]);
    assert_eq!(rig.states(), ["a#1 Running", "a#1 Running"]);
    assert_eq!(rig.crashes("a"), ["start a#2"]);
    rig.up("a");
    let slots: Vec<_> = rig.machine.which_children().map(|info| info.child.slot).collect();
    assert_eq!(slots, [SlotId(0), SlotId(1)]);
    assert_eq!(rig.terminate("by label", "a"), ["by label: NotFound"]);
    assert_eq!(rig.terminate_slot("by slot", "a"), ["stop a#2"]);
}

/// DS-02 a start ends with the child, with nothing (it declined), or with the child's own error; nothing is kept of the last two.
#[test]
fn three_ends_of_a_start() {
    for make in [permanent, transient, temporary] {
        let mut rig = Rig::dynamic(options(), []);
        rig.start("1", make("a"));
        assert_eq!(rig.up("a"), ["1: up a#1"]);
        rig.start("2", make("b"));
        assert_eq!(rig.declines("b"), ["forget b", "2: ignored"]);
        rig.start("3", make("c"));
        assert_eq!(rig.crashes("c"), ["forget c", "3: child `c` failed to start: failed: crash"]);
        assert_eq!(rig.counts(), (1, 1, 0, 1));
    }
}

/// DS-03 a panic in the start fails that start alone.
#[test]
fn a_panic_in_a_start() {
    let mut rig = Rig::dynamic(options(), [permanent("a")]);
    rig.start("b", permanent("b"));
    let lines = rig.ends("b", ExitReason::Panicked("boom".into()));
    assert_eq!(lines, ["forget b", "b: child `b` failed to start: panicked: boom"]);
    assert_eq!(rig.states(), ["a#1 Running"]);
}

/// DS-05 beyond the limit nothing is started; a limit of zero allows nobody.
#[test]
fn the_limit() {
    let mut rig = Rig::dynamic(at_most(2), [permanent("a")]);
    rig.start("b", permanent("b"));
    assert_eq!(rig.start("c", permanent("c")), ["forget c", "c: max children 2"], "one that starts counts");
    let mut rig = Rig::dynamic(at_most(0), []);
    assert_eq!(rig.start("a", permanent("a")), ["forget a", "a: max children 0"]);
}

/// DS-06 a place is free when a temporary child ends, when one is terminated, when a start fails.
#[test]
fn places_are_freed() {
    let mut rig = Rig::dynamic(at_most(1), [temporary("a")]);
    assert_eq!(rig.ends("a", ExitReason::Normal), ["forget a"]);
    rig.start("b", permanent("b"));
    rig.crashes("b");
    rig.start("c", permanent("c"));
    rig.up("c");
    rig.terminate_slot("t", "c");
    assert_eq!(rig.start("d", permanent("d")), ["forget d", "d: max children 1"], "it is not gone yet");
    assert_eq!(rig.stops("c"), ["t: done", "forget c"]);
    assert_eq!(rig.start("e", permanent("e")), ["start e#1"]);
}

/// DS-07 DS-08 DS-15 a child that is restarted again and again keeps its one place, and is counted, though not active.
#[test]
fn restarts_keep_the_place() {
    let limit = MachineOptions { max_children: Some(1), ..intensity(1000, 1000) };
    let mut rig = Rig::dynamic(limit, [permanent("a")]);
    for _ in 0..100 {
        rig.crashes("a");
        assert_eq!(rig.counts(), (1, 0, 0, 1));
        assert_eq!(rig.start("b", permanent("b")), ["forget b", "b: max children 1"]);
    }
    rig.up("a");
    assert_eq!(rig.states(), ["a#101 Running"]);
}

/// CR-10 a restart that declines: the child is forgotten, and a later stop meets no ghost of it.
#[test]
fn a_declined_restart_is_forgotten() {
    let mut rig = Rig::dynamic(options(), [permanent("a")]);
    rig.crashes("a");
    assert_eq!(rig.declines("a"), ["forget a"]);
    assert_eq!(rig.counts(), (0, 0, 0, 0));
    assert_eq!(rig.shutdown("stop"), ["stop: done", "exit shutdown"]);
}

/// CR-02 of a transient child that ends well nothing is kept here.
#[test]
fn a_finished_transient_child_is_forgotten() {
    let mut rig = Rig::dynamic(options(), [transient("a")]);
    assert_eq!(rig.ends("a", ExitReason::Normal), ["forget a"]);
}

/// TM-02 DS-16 all are told at once and waited for together.
#[test]
fn all_stop_side_by_side() {
    let mut rig = Rig::dynamic(options(), ["a", "b", "c"].map(permanent));
    assert_eq!(rig.shutdown("stop"), ["stop a#1", "stop b#1", "stop c#1"]);
    for id in ["b", "a"] {
        assert_eq!(rig.stops(id), [format!("forget {id}")]);
    }
    assert_eq!(rig.stops("c"), ["forget c", "stop: done", "exit shutdown"]);
}

/// TM-13 in one stop each child is stopped as its own policy says.
#[test]
fn mixed_policies_in_one_stop() {
    let patient = stops_in(permanent("a"), Shutdown::Infinity);
    let mut rig = Rig::dynamic(options(), [patient, brutal(permanent("b"))]);
    assert_eq!(rig.shutdown("stop"), ["stop a#1", "kill b#1"]);
}

/// TM-14 two deadlines: each is killed at its own, and the stop takes as long as the longer.
#[test]
fn deadlines_run_side_by_side() {
    let timeout = |id, timeout| stops_in(permanent(id), Shutdown::Timeout(ms(timeout)));
    let mut rig = Rig::dynamic(options(), [timeout("a", 2000), timeout("b", 1000)]);
    rig.shutdown("stop");
    assert_eq!(rig.pass(999), [""; 0]);
    assert_eq!(rig.pass(1), ["kill b#1"]);
    rig.ends("b", ExitReason::Killed);
    assert_eq!(rig.pass(999), [""; 0]);
    assert_eq!(rig.pass(1), ["kill a#1"]);
    assert_eq!(rig.ends("a", ExitReason::Killed).last().unwrap(), "exit shutdown");
}

/// DS-16 each child's error is reported by itself.
#[test]
fn errors_of_a_stop_are_reported_one_by_one() {
    let mut rig = Rig::dynamic(options(), ["a", "b", "c"].map(permanent));
    rig.shutdown("stop");
    rig.crashes("a");
    rig.stops("b");
    rig.ends("c", ExitReason::Panicked("boom".into()));
    assert_eq!(rig.notes(), ["shutdown error a#1 failed: crash", "shutdown error c#1 panicked: boom"]);
}

/// DS-17 one bad permanent child takes all down; temporary ones never do.
#[test]
fn a_meltdown_takes_all() {
    let mut rig = Rig::dynamic(intensity(1, 1000), [permanent("a"), permanent("b"), temporary("c")]);
    for id in ["c", "a"] {
        rig.crashes(id);
    }
    assert_eq!(rig.crashes("b"), ["forget b", "stop a#2"]);
    assert_eq!(rig.stops("a").last().unwrap().split(',').next(), Some("exit shutdown: too many restarts"));
}

/// DS-20 starts run side by side, and the limit on them is exact.
#[test]
fn starts_run_side_by_side() {
    let mut rig = Rig::dynamic(at_most(3), []);
    let lines: Vec<_> = ["a", "b", "c", "d"].iter().flat_map(|id| rig.start("s", permanent(id))).collect();
    assert_eq!(lines, ["start a#1", "start b#1", "start c#1", "forget d", "s: max children 3"]);
}

/// RT-04 a stuck child keeps its place in the limit until it ends.
#[test]
fn a_stuck_child_keeps_its_place() {
    let mut rig = Rig::dynamic(at_most(1), [brutal(permanent("a"))]);
    rig.terminate_slot("t", "a");
    assert_eq!(rig.pass(1000), ["t: stuck a#1"]);
    assert_eq!(rig.start("b", permanent("b")), ["forget b", "b: max children 1"]);
    assert_eq!(rig.ends("a", ExitReason::Normal), ["forget a"]);
    assert_eq!(rig.start("b", permanent("b")), ["start b#1"]);
}

/// What is asked before the beginning waits for it.
#[test]
fn commands_before_the_beginning() {
    let mut rig = Rig::new(Machine::dynamic(options()).unwrap(), BTreeMap::new(), 0);
    assert_eq!(rig.start("a", permanent("a")), [""; 0]);
    assert_eq!(rig.begin(), ["started", "start a#1"]);
}
