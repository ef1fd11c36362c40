//! Waiting before a restart, and being killed for silence.

use super::*;
use crate::backoff::Backoff;
use crate::policy::Strategy;

/// 100 ms, doubling, without jitter; forgotten after a run of 10 s.
fn patient(policy: Policy) -> Policy {
    let backoff = Backoff {
        initial: ms(100),
        max: ms(1_000),
        factor: 2.0,
        jitter: 0.0,
        reset_after: Duration::from_secs(10),
    };
    Policy { backoff: Some(Box::new(backoff)), ..policy }
}

fn never_too_many() -> MachineOptions {
    intensity(100, 1_000)
}

/// A restart waits for its backoff, which grows with each, and is forgotten after a healthy run of exactly that length.
#[test]
fn a_backoff_grows_and_is_forgotten() {
    let mut rig = Rig::running(never_too_many(), [patient(permanent("a"))]);
    for (crash, wait) in [100, 200, 400].into_iter().enumerate() {
        assert_eq!(rig.crashes("a"), [""; 0]);
        assert_eq!(rig.states(), [format!("a#{} Restarting", crash + 1)]);
        assert_eq!(rig.pass(wait - 1), [""; 0]);
        assert_eq!(rig.pass(1), [format!("start a#{}", crash + 2)]);
        rig.up("a");
    }
    rig.pass(9_999);
    rig.crashes("a");
    assert_eq!(rig.pass(799), [""; 0], "not quite a healthy run");
    assert_eq!(rig.pass(1), ["start a#5"]);
    rig.up("a");
    rig.pass(10_000);
    rig.crashes("a");
    assert_eq!(rig.pass(100), ["start a#6"]);
}

/// Two that wait at once each have their own time.
#[test]
fn each_waits_for_itself() {
    let mut rig = Rig::running(never_too_many(), ["a", "b"].map(|id| patient(permanent(id))));
    rig.crashes("a");
    rig.pass(50);
    rig.crashes("b");
    assert_eq!(rig.pass(50), ["start a#2"]);
    assert_eq!(rig.pass(50), ["start b#2"]);
}

/// DO-09 one that waits is stopped at once, and its time does nothing any more.
#[test]
fn a_wait_can_be_ended() {
    let mut rig = Rig::running(never_too_many(), [patient(permanent("a"))]);
    rig.crashes("a");
    assert_eq!(rig.terminate("stop", "a"), ["stop: done"]);
    assert_eq!(rig.pass(1_000), [""; 0]);
    assert_eq!(rig.machine.poll_timeout(), None);
}

/// A group waits for the backoff of the child that brought its restart about, when all of it is down.
#[test]
fn a_group_waits_too() {
    let options = MachineOptions { strategy: Strategy::OneForAll, ..never_too_many() };
    let mut rig = Rig::running(options, [permanent("a"), patient(permanent("b"))]);
    assert_eq!(rig.crashes("b"), ["stop a#1"]);
    rig.pass(30);
    assert_eq!(rig.stops("a"), [""; 0]);
    assert_eq!(rig.pass(69), [""; 0]);
    assert_eq!(rig.pass(1), ["start a#2"]);
    assert_eq!(rig.up("a"), ["start b#2"]);
}

/// The end of a backoff starts nothing while the group, widened meanwhile, is still being stopped; it is acted on once.
#[test]
fn a_backoff_that_ends_while_the_group_stops() {
    let options = MachineOptions { strategy: Strategy::RestForOne, ..never_too_many() };
    let mut rig = Rig::running(options, [permanent("a1"), permanent("a2"), patient(permanent("b"))]);
    assert_eq!(rig.crashes("b"), [""; 0]);
    assert_eq!(rig.machine.poll_timeout(), Some(ms(100)));
    assert_eq!(rig.crashes("a1"), ["stop a2#1"]);
    assert_eq!(rig.pass(100), [""; 0], "a2 is slow");
    assert_eq!(rig.states(), ["a1#1 Restarting", "a2#1 Stopping", "b#1 Restarting"]);
    assert_eq!(rig.machine.poll_timeout(), Some(ms(5_000)), "that of a2");
    assert_eq!(rig.stops("a2"), ["start a1#2"]);
    assert_eq!(rig.up("a1"), ["start a2#2"]);
    assert_eq!(rig.up("a2"), ["start b#2"]);
}

fn watched(policy: Policy) -> Policy {
    Policy { max_silence: Some(ms(100)), ..policy }
}

impl Rig {
    fn alive(&mut self, id: &str, working: bool) -> Vec<String> {
        let (slot, incarnation) = self.of(id);
        self.handle(Event::Alive { slot, incarnation, working })
    }
}

/// A child that works in silence for too long is killed, and restarted as after a crash; one that waits is not.
#[test]
fn silence_is_an_end() {
    let mut rig = Rig::running(options(), [watched(transient("a"))]);
    rig.pass(99);
    rig.alive("a", true);
    assert_eq!(rig.pass(99), [""; 0]);
    rig.alive("a", false);
    assert_eq!(rig.pass(10_000), [""; 0], "it waits");
    rig.alive("a", true);
    assert_eq!(rig.pass(100), ["kill a#1"]);
    assert_eq!(rig.ends("a", ExitReason::Killed), ["start a#2"]);
    rig.up("a");
    assert_eq!(rig.pass(100), ["kill a#2"], "one that never says anything is taken to work");
}

/// What an earlier incarnation said is nobody's, and silence in the middle of a stop is none.
#[test]
fn only_the_present_incarnation_speaks() {
    let mut rig = Rig::running(options(), [watched(permanent("a"))]);
    let (slot, first) = rig.of("a");
    rig.crashes("a");
    rig.up("a");
    rig.pass(50);
    rig.handle(Event::Alive { slot, incarnation: first, working: false });
    assert_eq!(rig.pass(50), ["kill a#2"]);
    let mut rig = Rig::running(options(), [watched(permanent("a"))]);
    rig.terminate("stop", "a");
    rig.alive("a", true);
    assert_eq!(rig.pass(4_999), [""; 0]);
    assert_eq!(rig.pass(1), ["kill a#1"], "at its deadline, as any other");
}

/// CS-02 a supervisor's shutdown is infinity unless it says otherwise; the caller's defaults do not change that.
#[test]
fn the_shutdown_of_supervisors() {
    use crate::policy::Settings;
    let shutdown = |kind, own, default| {
        let settings = Settings { kind: Some(kind), shutdown: own, ..Settings::default() };
        let defaults = Settings { shutdown: default, ..Settings::default() };
        Policy::resolve("a".into(), settings, defaults).shutdown
    };
    let two = Shutdown::Timeout(ms(2));
    assert_eq!(shutdown(Kind::Supervisor, None, None), Shutdown::Infinity);
    assert_eq!(shutdown(Kind::Supervisor, None, Some(two)), Shutdown::Infinity);
    assert_eq!(shutdown(Kind::Supervisor, Some(two), None), two);
    assert_eq!(shutdown(Kind::Worker, None, Some(two)), two);
    assert_eq!(shutdown(Kind::Worker, None, None), Shutdown::Timeout(ms(5_000)));
}
