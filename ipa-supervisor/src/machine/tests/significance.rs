//! Significant children.

use super::*;
use crate::error::SpecError;
use crate::policy::{AutoShutdown, Strategy};

fn auto(auto_shutdown: AutoShutdown) -> MachineOptions {
    MachineOptions { auto_shutdown, ..options() }
}

fn significant(policy: Policy) -> Policy {
    Policy { significant: true, ..policy }
}

fn shut_down(rig: &Rig, by: &str) -> bool {
    matches!(&rig.exit, Some(ExitReason::Shutdown(Cause::Significant { child })) if child.as_str() == by)
}

/// SC-02 SC-03 SC-13 any_significant: an end by itself shuts down, a crash that is restarted does not, and neither is counted twice.
#[test]
fn any_significant() {
    let children = || [permanent("a"), significant(transient("s"))];
    let mut rig = Rig::running(auto(AutoShutdown::AnySignificant), children());
    assert_eq!(rig.crashes("s"), ["start s#2"]);
    rig.up("s");
    assert_eq!(rig.ends("s", ExitReason::Normal), ["stop a#1"]);
    rig.stops("a");
    assert!(shut_down(&rig, "s"));
    let mut rig = Rig::running(auto(AutoShutdown::AnySignificant), [significant(temporary("s"))]);
    rig.crashes("s");
    assert!(shut_down(&rig, "s"));
}

/// SC-01 SC-04 SC-06 ends of others, and stops by a caller, shut nothing down.
#[test]
fn what_shuts_nothing_down() {
    let children = || [transient("a"), significant(transient("s"))];
    let mut rig = Rig::running(auto(AutoShutdown::AnySignificant), children());
    assert_eq!(rig.ends("a", ExitReason::Normal), [""; 0]);
    rig.terminate("stop", "s");
    assert_eq!(rig.stops("s"), ["stop: done"]);
    assert!(rig.exit.is_none() && !rig.machine.is_stopping());
}

/// A significant child that ends while its supervisor stops anyway does not become the reason.
#[test]
fn the_first_reason_stands() {
    let children = [significant(transient("s")), permanent("b")];
    let mut rig = Rig::running(auto(AutoShutdown::AnySignificant), children);
    rig.shutdown("bye");
    rig.ends("s", ExitReason::Normal);
    rig.stops("b");
    assert!(matches!(rig.exit, Some(ExitReason::Shutdown(Cause::Requested(_)))), "{:?}", rig.exit);
}

/// SC-05 SC-12 all_significant: only the last that is active; one that declined is not, one that is restarting is.
#[test]
fn all_significant() {
    let children = || ["s", "t", "u"].map(|id| significant(transient(id)));
    let mut rig = Rig::ordered(auto(AutoShutdown::AllSignificant), children());
    rig.begin();
    rig.up("s");
    rig.declines("t");
    rig.up("u");
    assert_eq!(rig.ends("s", ExitReason::Normal), [""; 0], "u is active");
    assert_eq!(rig.crashes("u"), ["start u#2"], "it is restarted");
    rig.up("u");
    rig.ends("u", ExitReason::Normal);
    assert!(shut_down(&rig, "u"));
    let mut rig = Rig::running(auto(AutoShutdown::AllSignificant), children());
    rig.crashes("t");
    assert_eq!(rig.ends("s", ExitReason::Normal), [""; 0]);
    assert_eq!(rig.ends("u", ExitReason::Normal), [""; 0], "t is restarting");
}

/// SC-05 one that somebody is stopping is not active any more, however long that takes; one that its group is stopping is.
#[test]
fn those_that_somebody_stops_are_not_active() {
    let children = || ["s", "t"].map(|id| significant(transient(id)));
    let mut rig = Rig::running(auto(AutoShutdown::AllSignificant), children());
    assert_eq!(rig.terminate("stop", "s"), ["stop s#1"]);
    assert_eq!(rig.ends("t", ExitReason::Normal), [""; 0], "s is being stopped already");
    assert_eq!(rig.stops("s"), ["stop: done", "exit shutdown: significant child `t` ended"]);
    let all = MachineOptions { strategy: Strategy::OneForAll, ..auto(AutoShutdown::AllSignificant) };
    let mut rig = Rig::running(all, [children()[0].clone(), permanent("p"), children()[1].clone()]);
    assert_eq!(rig.crashes("p"), ["stop t#1"]);
    assert_eq!(rig.ends("s", ExitReason::Normal), [""; 0]);
    assert!(!rig.machine.is_stopping(), "both are started again with p");
    // Nor is one whose group, to which the other does not belong, starts it again: a temporary one is not, and none that somebody stops meanwhile.
    let rest = MachineOptions { strategy: Strategy::RestForOne, ..auto(AutoShutdown::AllSignificant) };
    for (last, stopped, shuts_down) in
        [(transient("t"), false, false), (temporary("t"), false, true), (transient("t"), true, true)]
    {
        let children = [significant(transient("s")), permanent("p"), significant(last)];
        let mut rig = Rig::running(rest, children);
        assert_eq!(rig.crashes("p"), ["stop t#1"]);
        if stopped {
            rig.terminate("stop", "t");
        }
        rig.ends("s", ExitReason::Normal);
        assert_eq!(rig.machine.is_stopping(), shuts_down);
    }
    // Stopped by somebody while another group is being restarted.
    let mut rig = Rig::running(
        rest,
        [significant(transient("t")), significant(transient("s")), permanent("p"), permanent("q")],
    );
    rig.terminate("stop", "t");
    assert_eq!(rig.crashes("p"), ["stop q#1"]);
    rig.ends("s", ExitReason::Normal);
    assert!(rig.machine.is_stopping());
}

/// SC-05 during the initial start, those that are still to come are active.
#[test]
fn those_to_come_are_active() {
    let children = ["s", "t"].map(|id| significant(transient(id)));
    let mut rig = Rig::ordered(auto(AutoShutdown::AllSignificant), children);
    rig.begin();
    assert_eq!(rig.up("s"), ["start t#1"]);
    assert_eq!(rig.ends("s", ExitReason::Normal), [""; 0]);
    rig.up("t");
    rig.ends("t", ExitReason::Normal);
    assert!(shut_down(&rig, "t"));
    // Not started yet, and not of the significant: it does not count.
    let children = [significant(transient("s")), permanent("late"), permanent("later")];
    let mut rig = Rig::ordered(auto(AutoShutdown::AllSignificant), children);
    rig.begin();
    rig.up("s");
    rig.ends("s", ExitReason::Normal);
    assert!(rig.machine.is_stopping());
}

/// CS-10 CS-13 CS-14 CS-15 what makes no sense is refused, at the beginning and later; what does is not.
#[test]
fn settings_that_make_no_sense() {
    let refused = |auto_shutdown, policy: Policy| {
        let error = Machine::<()>::ordered(auto(auto_shutdown), [(SlotId(0), policy)]).err();
        error.map(|error| std::mem::discriminant(&error))
    };
    let is = |error: SpecError| Some(std::mem::discriminant(&error));
    let (any, never) = (AutoShutdown::AnySignificant, AutoShutdown::Never);
    let permanent_one = is(SpecError::PermanentSignificant("x".into()));
    assert_eq!(refused(any, significant(permanent("s"))), permanent_one);
    assert_eq!(refused(never, significant(permanent("s"))), permanent_one);
    assert_eq!(refused(never, significant(transient("s"))), is(SpecError::UselessSignificant("x".into())));
    assert_eq!(refused(any, significant(transient("s"))), None);
    let silent = |silence| Policy { max_silence: Some(silence), ..permanent("s") };
    assert_eq!(refused(never, silent(Duration::ZERO)), is(SpecError::ZeroSilence("x".into())));
    assert_eq!(refused(never, silent(ms(1))), None);

    let mut rig = Rig::running(auto(never), [permanent("a")]);
    let lines = rig.start("start", significant(transient("s")));
    assert!(lines[0] == "forget s" && lines[1].contains("UselessSignificant"), "{lines:?}");
    let mut rig = Rig::dynamic(auto(any), []);
    let lines = rig.start("start", significant(transient("s")));
    assert!(lines[0] == "forget s" && lines[1].contains("UselessSignificant"), "{lines:?}");
}
