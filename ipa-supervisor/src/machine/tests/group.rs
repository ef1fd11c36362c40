//! A group restart that cannot go on.

use super::*;
use crate::policy::Strategy;

fn started(machine: &mut Machine<u32>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(action) = machine.poll_action() {
        match action {
            Action::Start { slot, .. } => lines.push(format!("start {}", slot.0)),
            Action::Reply(tag, Err(Refusal::Stuck(_))) => lines.push(format!("{tag} stuck")),
            _ => {}
        }
    }
    lines
}

/// RT-04 SG-02 a member that does not end holds its group up until it does, whatever is asked of it or of others meanwhile.
#[test]
fn a_stuck_member_holds_its_group_up() {
    let options = MachineOptions { strategy: Strategy::OneForAll, ..MachineOptions::default() };
    let late = Policy { start_timeout: Some(Duration::from_secs(1)), ..Policy::new("b") };
    let children = [Policy::new("a"), late, Policy::new("c")];
    let mut machine: Machine<u32> = Machine::ordered(options, (0..).map(SlotId).zip(children)).unwrap();
    let (first, second) = (Incarnation(1), Incarnation(2));
    let at = Duration::from_secs;
    let ended = |slot, incarnation| Event::Ended {
        slot: SlotId(slot),
        incarnation,
        end: End::Exited(ExitReason::failed("crash")),
    };
    let terminate = |tag, slot| {
        let op = Op::Terminate(Target::Slot(SlotId(slot)));
        Event::Command(Command { tag: Some(tag), caller: None, op })
    };
    machine.handle(at(0), Event::Begin);
    for slot in 0..3 {
        machine.handle(at(0), Event::Up { slot: SlotId(slot), incarnation: first });
    }
    machine.handle(at(1), ended(0, first));
    machine.handle(at(1), ended(2, first));
    machine.handle(at(1), ended(1, first));
    machine.handle(at(1), Event::Up { slot: SlotId(0), incarnation: second });
    started(&mut machine);
    // b does not come up, and does not end when it is killed.
    machine.handle(at(2), Event::Tick);
    machine.handle(at(3), Event::Tick);
    machine.handle(at(3), terminate(1, 1));
    assert_eq!(started(&mut machine), ["1 stuck"]);
    machine.handle(at(3), terminate(2, 0));
    machine.handle(at(3), ended(0, second));
    assert_eq!(started(&mut machine), [""; 0], "c is not started while b may still run");
    machine.handle(at(4), ended(1, second));
    assert_eq!(started(&mut machine), ["start 2"]);
}

/// ST-17 operations on one child keep their order behind a group restart, too.
#[test]
fn what_waits_for_a_group_keeps_its_order() {
    let options = MachineOptions { strategy: Strategy::OneForAll, ..options() };
    let mut rig = Rig::running(options, ["a", "b"].map(permanent));
    assert_eq!(rig.crashes("a"), ["stop b#1"]);
    assert_eq!(rig.start("start", permanent("x")), [""; 0]);
    assert_eq!(rig.restart("restart", "x"), [""; 0]);
    assert_eq!(rig.delete("delete", "x"), [""; 0]);
    rig.stops("b");
    rig.up("a");
    assert_eq!(rig.up("b"), ["start x#1"]);
    assert_eq!(rig.up("x"), ["start: up x#1", "restart: Running", "delete: Running"]);
}

/// ST-17 what waits for a start that a group restart takes back comes before what is asked after it.
#[test]
fn what_waits_for_a_start_comes_before_what_waits_for_a_group() {
    let options = MachineOptions { strategy: Strategy::OneForAll, ..options() };
    let mut rig = Rig::running(options, [permanent("a")]);
    rig.start("1", permanent("x"));
    assert_eq!(rig.restart("restart", "x"), [""; 0]);
    assert_eq!(rig.crashes("a"), ["stop x#1"]);
    assert_eq!(rig.start("2", permanent("x")), [""; 0]);
    assert_eq!(rig.stops("x"), ["forget x", "1: Cancelled", "restart: NotFound", "start a#2"]);
    assert_eq!(rig.up("a"), ["start x#1"]);
    assert_eq!(rig.up("x"), ["2: up x#1"]);
}
