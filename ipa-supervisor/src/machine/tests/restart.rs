//! What follows from a child's end: policy by restart type, and the bound on restarts.

use super::*;

/// CR-01 a permanent child is restarted after every end, and counted every time.
#[test]
fn permanent_children_are_always_restarted() {
    for (reason, name) in all_ends() {
        let mut rig = Rig::running(intensity(1, 1000), [permanent("a")]);
        assert_eq!(rig.ends("a", reason.clone()), ["start a#2"], "{name}");
        rig.up("a");
        assert_eq!(rig.ends("a", reason)[0], "forget a", "{name} counts");
    }
}

/// CR-02 CR-03 a transient child that ends well is not restarted and not counted; its spec is kept, and it can be restarted.
#[test]
fn transient_children_may_end_well() {
    for (reason, name) in all_ends().into_iter().take(3) {
        let mut rig = Rig::running(intensity(0, 1000), [transient("a")]);
        assert_eq!(rig.ends("a", reason), [""; 0], "{name}");
        assert_eq!(rig.states(), ["a#1 Undefined"], "{name}");
        assert_eq!(rig.counts(), (1, 0, 0, 1), "{name}");
        assert_eq!(rig.start("start", transient("a")), ["forget a", "start: already present"], "{name}");
        assert_eq!(rig.restart("restart", "a"), ["start a#2"], "{name}");
        assert_eq!(rig.up("a"), ["restart: up a#2"], "{name}");
    }
}

/// CR-04 CR-14 a transient child that errs, panics or is killed is restarted, and counted.
#[test]
fn transient_children_are_restarted_after_a_crash() {
    for (reason, name) in all_ends().into_iter().skip(3) {
        let mut rig = Rig::running(intensity(1, 1000), [transient("a")]);
        assert_eq!(rig.ends("a", reason.clone()), ["start a#2"], "{name}");
        rig.up("a");
        assert!(
            rig.ends("a", reason).last().unwrap().starts_with("exit shutdown: too many restarts"),
            "{name}"
        );
    }
}

/// CR-05 a temporary child is never restarted and never counted; it is forgotten, and its id is free at once.
#[test]
fn temporary_children_are_forgotten() {
    for (reason, name) in all_ends() {
        let mut rig = Rig::running(intensity(0, 1000), [temporary("a")]);
        assert_eq!(rig.ends("a", reason), ["forget a"], "{name}");
        assert_eq!(rig.counts(), (0, 0, 0, 0), "{name}");
        assert_eq!(rig.start("again", temporary("a")), ["start a#1"], "{name}");
    }
}

/// CR-07 a restarted child keeps its id and its place, and has the next incarnation.
#[test]
fn a_restart_keeps_the_place() {
    let mut rig = Rig::running(options(), ["a", "b", "c"].map(permanent));
    rig.crashes("b");
    rig.up("b");
    assert_eq!(rig.states(), ["a#1 Running", "b#2 Running", "c#1 Running"]);
    let info = rig.machine.which_child(&Target::Id("b".into())).unwrap();
    assert_eq!((info.child.slot, info.restarts), (SlotId(1), 1));
}

/// CR-09 a restart whose start declines leaves the child undefined; no retry, and it can be restarted by hand.
#[test]
fn a_restart_may_be_declined() {
    let mut rig = Rig::running(options(), [permanent("a"), permanent("b")]);
    rig.crashes("a");
    assert_eq!(rig.declines("a"), [""; 0]);
    assert_eq!(rig.states(), ["a#2 Undefined", "b#1 Running"]);
    assert_eq!(rig.restart("restart", "a"), ["start a#3"]);
    assert_eq!(rig.up("a"), ["restart: up a#3"]);
}

/// CR-11 RI-06 a restart that fails is tried again, each attempt counted: with N = 4, five starts in all and then the end.
#[test]
fn failing_restarts_are_counted() {
    let mut rig = Rig::running(intensity(4, 1000), [permanent("a")]);
    for incarnation in 2..=5 {
        assert_eq!(rig.crashes("a"), [format!("start a#{incarnation}")]);
        assert_eq!(rig.state("a"), Some(ChildState::Restarting));
    }
    assert_eq!(rig.crashes("a")[0], "forget a");
    assert!(matches!(rig.exit, Some(ExitReason::Shutdown(Cause::Intensity(_)))));
}

/// CR-12 reports of an earlier incarnation, of a child that is gone, of a child never started: nothing follows.
#[test]
fn stale_reports_are_nobodys() {
    let mut rig = Rig::running(intensity(1, 1000), [permanent("a"), temporary("b")]);
    rig.crashes("a");
    rig.ends("b", ExitReason::Normal);
    let before = (rig.states(), rig.counts());
    rig.notes();
    for (slot, incarnation) in [(0, 1), (0, 3), (0, 0), (1, 1), (7, 1), (7, 0)] {
        let (slot, incarnation) = (SlotId(slot), Incarnation(incarnation));
        let end = || End::Exited(ExitReason::Killed);
        assert_eq!(rig.handle(Event::Ended { slot, incarnation, end: end() }), [""; 0]);
        assert_eq!(rig.handle(Event::Up { slot, incarnation }), [""; 0]);
        assert_eq!(rig.handle(Event::Lingers { slot, incarnation }), [""; 0]);
    }
    assert_eq!((rig.states(), rig.counts()), before);
    assert_eq!(rig.notes(), [""; 0]);
    assert_eq!(rig.up("a"), [""; 0], "and the present one comes up as if nothing had been");
    assert_eq!(rig.state("a"), Some(ChildState::Running));
}

/// CR-12 an end that is reported twice is one end.
#[test]
fn an_end_is_handled_once() {
    let mut rig = Rig::running(intensity(1, 1000), [transient("a")]);
    let (slot, incarnation) = rig.of("a");
    rig.ends("a", ExitReason::Normal);
    assert_eq!(rig.handle(Event::Ended { slot, incarnation, end: End::Exited(ExitReason::Killed) }), [""; 0]);
    assert_eq!(rig.state("a"), Some(ChildState::Undefined));
}

/// CR-16 the note of an end says how and whether a restart follows.
#[test]
fn ends_are_noted() {
    let mut rig = Rig::running(options(), [permanent("p"), transient("t"), temporary("o")]);
    rig.ends("p", ExitReason::Normal);
    rig.ends("t", ExitReason::Normal);
    rig.crashes("o");
    assert_eq!(
        rig.notes(),
        [
            "exited p#1 normal restart=true",
            "restarting p#1",
            "exited t#1 normal restart=false",
            "exited o#1 failed: crash restart=false",
        ]
    );
}

/// RI-01 RI-13 N restarts are carried out; on the next the offender is forgotten first, then the others stop in reverse.
#[test]
fn one_restart_too_many() {
    let mut rig = Rig::running(intensity(2, 1000), ["a", "b", "c", "d"].map(permanent));
    for _ in 0..2 {
        rig.crashes("b");
        rig.up("b");
    }
    rig.notes();
    assert_eq!(rig.crashes("b"), ["forget b", "stop d#1"]);
    assert_eq!(rig.notes(), ["exited b#3 failed: crash restart=true", "gave up"]);
    assert_eq!(rig.states(), ["a#1 Running", "c#1 Running", "d#1 Stopping"]);
    assert_eq!(rig.stops("d"), ["stop c#1"]);
    assert_eq!(rig.stops("c"), ["stop a#1"]);
    assert_eq!(rig.stops("a"), ["exit shutdown: too many restarts, the last of child `b` (failed: crash)"]);
}

/// RI-02 the count is the supervisor's, not the child's.
#[test]
fn children_share_the_count() {
    let mut rig = Rig::running(intensity(2, 1000), ["a", "b", "c"].map(permanent));
    assert_eq!(rig.crashes("a"), ["start a#2"]);
    assert_eq!(rig.crashes("b"), ["start b#2"]);
    assert_eq!(rig.crashes("c"), ["forget c", "stop b#2"]);
}

/// RI-03 with N = 0 the first restart is too many; what is not to be restarted does not count.
#[test]
fn no_restart_at_all() {
    let mut rig = Rig::running(intensity(0, 1000), [temporary("a"), transient("b"), permanent("c")]);
    rig.crashes("a");
    rig.ends("b", ExitReason::Normal);
    assert!(!rig.machine.is_stopping());
    assert_eq!(rig.crashes("c").first().unwrap(), "forget c");
    assert!(rig.exit.is_some());
}

/// RI-04 RI-05 the window is exact and inclusive: a restart exactly as old as the window counts, an older one does not.
#[test]
fn the_window_is_inclusive() {
    for (age, lives) in [(999, false), (1000, false), (1001, true)] {
        let mut rig = Rig::running(intensity(1, 1000), [permanent("a")]);
        rig.pass(7);
        rig.crashes("a");
        rig.up("a");
        rig.pass(age);
        rig.crashes("a");
        assert_eq!(rig.exit.is_none(), lives, "{age} ms");
    }
}

/// RI-07 N = 2: a death, a failing retry, a success: alive, with exactly two counted.
#[test]
fn a_retry_may_succeed() {
    let mut rig = Rig::running(intensity(2, 1000), [permanent("a")]);
    rig.crashes("a");
    rig.crashes("a");
    rig.up("a");
    assert_eq!(rig.states(), ["a#3 Running"]);
    rig.crashes("a");
    assert!(rig.exit.is_some(), "the third is one too many");
}

/// RI-11 what callers ask for is never counted: N = 0 survives three cycles and failed starts.
#[test]
fn manual_operations_are_not_counted() {
    let mut rig = Rig::running(intensity(0, 1000), [permanent("a")]);
    for incarnation in 2..5 {
        rig.terminate("t", "a");
        assert_eq!(rig.stops("a"), ["t: done"]);
        rig.restart("r", "a");
        assert_eq!(rig.up("a"), [format!("r: up a#{incarnation}")]);
    }
    rig.terminate("t", "a");
    rig.stops("a");
    rig.restart("r", "a");
    assert_eq!(rig.crashes("a"), ["r: child `a` failed to start: failed: crash"]);
    rig.start("s", permanent("b"));
    assert_eq!(rig.crashes("b"), ["forget b", "s: child `b` failed to start: failed: crash"]);
    assert!(!rig.machine.is_stopping());
}

/// RI-12 a successful restart resets nothing; only age does.
#[test]
fn only_age_forgets() {
    let mut rig = Rig::running(intensity(1, 1000), [permanent("a")]);
    for _ in 0..50 {
        rig.crashes("a");
        rig.up("a");
        rig.pass(2100);
    }
    rig.crashes("a");
    rig.up("a");
    assert_eq!(rig.state("a"), Some(ChildState::Running));
    rig.pass(900);
    rig.crashes("a");
    assert!(rig.exit.is_some());
}

/// RI-14 the reason for giving up is a shutdown, so that a transient supervisor is not restarted for it.
#[test]
fn giving_up_is_a_shutdown() {
    let mut rig = Rig::running(intensity(0, 1000), [permanent("a")]);
    rig.ends("a", ExitReason::Panicked("boom".into()));
    let reason = rig.exit.unwrap();
    assert!(!reason.is_abnormal());
    let ExitReason::Shutdown(Cause::Intensity(crash)) = reason else { panic!() };
    assert_eq!(crash.child.as_str(), "a");
    assert!(matches!(&crash.reason, ExitReason::Panicked(text) if &**text == "boom"));
}

/// RI-19 a machine begins with an empty history.
#[test]
fn history_is_not_inherited() {
    let options = intensity(1, 1000);
    let mut first = Rig::running(options, [permanent("a")]);
    first.crashes("a");
    let mut second = Rig::running(options, [permanent("a")]);
    assert_eq!(second.crashes("a"), ["start a#2"]);
}

/// SG-01 one_for_one: the dead one alone is replaced, wherever it stands.
#[test]
fn one_for_one() {
    for id in ["a", "b", "c"] {
        let mut rig = Rig::running(options(), ["a", "b", "c"].map(permanent));
        assert_eq!(rig.crashes(id), [format!("start {id}#2")]);
        rig.up(id);
        let others = rig.states().into_iter().filter(|state| state.ends_with("#1 Running")).count();
        assert_eq!(others, 2);
    }
}

/// SG-17 DO-15 the order is the order of start, never that of the ids: here in the stop.
#[test]
fn order_is_by_start() {
    let ids = ["ch7", "ch3", "ch10", "ch2", "ch5"];
    let mut rig = Rig::running(options(), ids.map(permanent));
    let listed: Vec<_> = rig.machine.which_children().map(|info| info.child.id.to_string()).collect();
    assert_eq!(listed, ids);
    rig.crashes("ch10");
    rig.up("ch10");
    assert_eq!(rig.shutdown("stop"), ["stop ch5#1"]);
    assert_eq!(rig.stops("ch5"), ["stop ch2#1"]);
    assert_eq!(rig.stops("ch2"), ["stop ch10#2"]);
    assert_eq!(rig.stops("ch10"), ["stop ch3#1"]);
    assert_eq!(rig.stops("ch3"), ["stop ch7#1"]);
}

/// CR-11 a restart whose start takes too long is a failed attempt, tried again when the late one is gone for good.
#[test]
fn a_late_restart_is_tried_again() {
    let late = Policy { start_timeout: Some(ms(100)), ..permanent("a") };
    let mut rig = Rig::running(intensity(2, 60_000), [late]);
    rig.crashes("a");
    assert_eq!(rig.pass(100), ["kill a#2"]);
    assert_eq!(rig.state("a"), Some(ChildState::Restarting));
    assert_eq!(rig.ends("a", ExitReason::Killed), ["start a#3"]);
    assert_eq!(rig.pass(1100), ["kill a#3"]);
    assert_eq!(rig.state("a"), Some(ChildState::Stuck), "nothing is started in its place");
    assert_eq!(rig.crashes("a").first().unwrap(), "forget a", "the third attempt is one too many");
}
