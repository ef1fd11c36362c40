//! The initial start: order, rollback, children that decline, and what callers may do meanwhile.

use super::*;

/// ST-01 each child is started when the one before it is up, in list order; ST-02 the start is done after the last.
#[test]
fn children_start_one_after_the_other() {
    let mut rig = Rig::ordered(options(), [permanent("a"), permanent("b"), permanent("c")]);
    assert_eq!(rig.begin(), ["start a#1"]);
    assert_eq!(rig.up("a"), ["start b#1"]);
    assert_eq!(rig.up("b"), ["start c#1"]);
    assert_eq!(rig.up("c"), ["started"]);
}

/// ST-02 the start is reported once, whatever happens to the children afterwards.
#[test]
fn a_start_is_reported_once() {
    let mut rig = Rig::running(options(), [permanent("a")]);
    assert_eq!(rig.crashes("a"), ["start a#2"]);
    assert_eq!(rig.up("a"), [""; 0]);
}

/// ST-03 an empty list is a start.
#[test]
fn nothing_to_start() {
    let mut rig = Rig::ordered(options(), []);
    assert_eq!(rig.begin(), ["started"]);
    assert_eq!(rig.counts(), (0, 0, 0, 0));
}

/// ST-04 a failure in the third of four: the fourth is never started, the second and the first are stopped in that order.
#[test]
fn a_failed_start_is_rolled_back_in_reverse() {
    let mut rig = Rig::ordered(options(), ["a", "b", "c", "d"].map(permanent));
    rig.begin();
    rig.up("a");
    rig.up("b");
    assert_eq!(rig.crashes("c"), ["stop b#1"]);
    assert_eq!(rig.stops("b"), ["stop a#1"]);
    assert_eq!(rig.stops("a"), ["exit shutdown: child `c` failed to start: failed: crash"]);
    let Some(ExitReason::Shutdown(Cause::FailedToStart(failure))) = &rig.exit else { panic!() };
    assert_eq!(failure.child.as_str(), "c");
    assert!(!failure.timed_out);
}

/// ST-04 the rollback honours each child's shutdown policy.
#[test]
fn a_rollback_honours_shutdown_policies() {
    let slow = stops_in(permanent("b"), Shutdown::Timeout(ms(100)));
    let mut rig = Rig::ordered(options(), [brutal(permanent("a")), slow, permanent("c")]);
    rig.begin();
    rig.up("a");
    rig.up("b");
    assert_eq!(rig.crashes("c"), ["stop b#1"]);
    assert_eq!(rig.pass(99), [""; 0]);
    assert_eq!(rig.pass(1), ["kill b#1"]);
    assert_eq!(rig.ends("b", ExitReason::Killed), ["kill a#1"]);
    assert_eq!(rig.ends("a", ExitReason::Killed).len(), 1);
}

/// ST-05 every way of not coming up leads to the same rollback.
#[test]
fn failures_are_equal() {
    for (reason, name) in all_ends() {
        let mut rig = Rig::ordered(options(), [permanent("a"), permanent("b")]);
        rig.begin();
        rig.up("a");
        assert_eq!(rig.ends("b", reason), ["stop a#1"], "{name}");
        assert!(rig.stops("a")[0].starts_with("exit shutdown: child `b` failed to start"), "{name}");
    }
}

/// ST-06 a failed initial start is not tried again and not counted.
#[test]
fn an_initial_start_is_tried_once() {
    let mut rig = Rig::ordered(intensity(100, 1000), [permanent("a")]);
    rig.begin();
    assert_eq!(rig.crashes("a"), ["exit shutdown: child `a` failed to start: failed: crash"]);
    assert_eq!(rig.notes(), [""; 0], "no restart, no report of one");
}

/// ST-08 a child that crashed by itself before the rollback got to it is neither restarted nor stopped.
#[test]
fn a_rollback_restarts_nothing() {
    let mut rig = Rig::ordered(options(), ["a", "b", "c"].map(permanent));
    rig.begin();
    rig.up("a");
    rig.up("b");
    assert_eq!(rig.crashes("c"), ["stop b#1"]);
    assert_eq!(rig.crashes("a"), [""; 0], "while the rollback waits for b");
    assert_eq!(rig.stops("b").len(), 1, "and then there is only the exit");
    assert!(rig.exit.is_some());
}

/// ST-09 a permanent or transient child that declines is kept, undefined, and its siblings start.
#[test]
fn a_child_that_declines_is_kept() {
    for policy in [permanent("a"), transient("a")] {
        let mut rig = Rig::ordered(options(), [policy, permanent("b")]);
        rig.begin();
        assert_eq!(rig.declines("a"), ["start b#1"]);
        assert_eq!(rig.up("b"), ["started"]);
        assert_eq!(rig.states(), ["a#1 Undefined", "b#1 Running"]);
        assert_eq!(rig.counts(), (2, 1, 0, 2));
    }
}

/// ST-10 a temporary child that declines is not kept, in the initial list and in start_child.
#[test]
fn a_temporary_child_that_declines_is_forgotten() {
    let mut rig = Rig::ordered(options(), [temporary("a")]);
    rig.begin();
    assert_eq!(rig.declines("a"), ["forget a", "started"]);
    rig.start("caller", temporary("b"));
    assert_eq!(rig.declines("b"), ["forget b", "caller: ignored"]);
    assert_eq!(rig.counts(), (0, 0, 0, 0));
}

/// ST-11 start_child, restart_child and delete_child of a child that declined.
#[test]
fn a_child_that_declined_can_be_asked_again() {
    let mut rig = Rig::running(options(), []);
    rig.start("1", permanent("a"));
    assert_eq!(rig.declines("a"), ["1: ignored"]);
    assert_eq!(rig.start("2", permanent("a")), ["forget a", "2: already present"]);
    assert_eq!(rig.restart("3", "a"), ["start a#2"]);
    assert_eq!(rig.declines("a"), ["3: ignored"]);
    assert_eq!(rig.restart("4", "a"), ["start a#3"]);
    assert_eq!(rig.up("a"), ["4: up a#3"]);
    rig.terminate("5", "a");
    rig.stops("a");
    assert_eq!(rig.delete("6", "a"), ["forget a", "6: done"]);
}

/// Slots are whatever the driver calls them: the last number that there is, too.
#[test]
fn the_last_slot_that_there_is() {
    let mut machine: Machine<()> =
        Machine::ordered(options(), [(SlotId(7), permanent("a")), (SlotId(u64::MAX), permanent("b"))])
            .unwrap();
    let mut handle = |event| {
        machine.handle(Duration::ZERO, event);
        std::iter::from_fn(|| machine.poll_action())
            .filter(|action| !matches!(action, Action::Note(_)))
            .map(|action| match action {
                Action::Start { slot, incarnation } => format!("start {}#{}", slot.0, incarnation.0),
                Action::Started => "started".to_owned(),
                other => format!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(handle(Event::Begin), ["start 7#1"]);
    let up = |slot| Event::Up { slot: SlotId(slot), incarnation: Incarnation(1) };
    assert_eq!(handle(up(7)), [format!("start {}#1", u64::MAX)]);
    assert_eq!(handle(up(u64::MAX)), ["started"]);
}

/// ST-17 while an init is pending, starts wait for the initial start, stops of children that are up do not.
#[test]
fn stops_do_not_wait_for_the_initial_start() {
    let mut rig = Rig::ordered(options(), ["a", "b", "c"].map(permanent));
    rig.begin();
    rig.up("a");
    assert_eq!(rig.states(), ["a#1 Running", "b#1 Starting", "c#0 Undefined"]);
    assert_eq!(rig.start("start", permanent("d")), [""; 0]);
    assert_eq!(rig.terminate("stop a", "a"), ["stop a#1"]);
    assert_eq!(rig.stops("a"), ["stop a: done"]);
    assert_eq!(rig.terminate("stop c", "c"), [""; 0], "its turn has not come");
    assert_eq!(rig.up("b"), ["start c#1"]);
    assert_eq!(rig.up("c"), ["started", "start d#1", "stop c#1"]);
    assert_eq!(rig.up("d"), ["start: up d#1"]);
    assert_eq!(rig.stops("c"), ["stop c: done"]);
}

/// ST-17 so it is where the child is named by its slot; of one that there is not there is nothing to wait for.
#[test]
fn stops_by_slot_during_the_initial_start() {
    let mut rig = Rig::ordered(options(), ["a", "b"].map(permanent));
    rig.begin();
    let mut stop = |tag, slot| rig.command(Some(tag), None, Op::Terminate(Target::Slot(SlotId(slot))));
    assert_eq!(stop("none", 2), ["none: NotFound"]);
    assert_eq!(stop("stop b", 1), [""; 0], "its turn has not come");
    assert_eq!(stop("stop a", 0), ["stop a#1"]);
    assert_eq!(rig.stops("a"), ["stop a: done", "start b#1"]);
    assert_eq!(rig.up("b"), ["started", "stop b#1"]);
    assert_eq!(rig.stops("b"), ["stop b: done"]);
}

/// ST-17 in the running phase the init of one child delays no other's operations.
#[test]
fn a_pending_init_delays_nobody() {
    let mut rig = Rig::running(options(), [permanent("a")]);
    rig.start("b", permanent("b"));
    assert_eq!(rig.start("c", permanent("c")), ["start c#1"]);
    assert_eq!(rig.terminate("a", "a"), ["stop a#1"]);
    assert_eq!(rig.stops("a"), ["a: done"]);
    assert_eq!(rig.up("c"), ["c: up c#1"]);
    assert_eq!(rig.up("b"), ["b: up b#1"]);
}

/// ST-17 operations on one child keep their order: each finds the one before it done.
#[test]
fn operations_on_one_child_keep_their_order() {
    let mut rig = Rig::running(options(), []);
    rig.start("1", permanent("a"));
    assert_eq!(rig.restart("2", "a"), [""; 0]);
    assert_eq!(rig.delete("3", "a"), [""; 0]);
    assert_eq!(rig.start("4", permanent("a")), [""; 0]);
    assert_eq!(rig.up("a"), ["1: up a#1", "2: Running", "3: Running", "forget a", "4: already started a#1"]);
}

/// ST-18 a stop while an init is pending cancels it, then stops the others in reverse; what waits is refused.
#[test]
fn a_stop_cancels_the_initial_start() {
    let mut rig = Rig::ordered(options(), ["a", "b", "c"].map(permanent));
    rig.begin();
    rig.up("a");
    rig.start("waits", permanent("d"));
    assert_eq!(rig.shutdown("stop"), ["forget d", "waits: ShuttingDown", "stop b#1"]);
    assert_eq!(rig.stops("b"), ["stop a#1"]);
    assert_eq!(rig.stops("a"), ["stop: done", "exit shutdown"]);
}

/// ST-18 the child of a cancelled init may have come up a moment before: it is stopped like any other.
#[test]
fn up_after_the_stop_changes_nothing() {
    let mut rig = Rig::ordered(options(), ["a", "b"].map(permanent));
    rig.begin();
    assert_eq!(rig.shutdown("stop"), ["stop a#1"]);
    assert_eq!(rig.up("a"), [""; 0]);
    assert_eq!(rig.stops("a"), ["stop: done", "exit shutdown"]);
    assert_eq!(rig.notes(), [""; 0]);
}

/// ST-21 `started` is noted for children that came up, and for no others.
#[test]
fn only_real_starts_are_noted() {
    let mut rig = Rig::ordered(options(), [permanent("a"), permanent("b")]);
    rig.begin();
    rig.declines("a");
    rig.up("b");
    assert_eq!(rig.notes(), ["started b#1"]);
    rig.crashes("b");
    rig.crashes("b");
    rig.up("b");
    assert_eq!(
        rig.notes(),
        [
            "exited b#1 failed: crash restart=true",
            "restarting b#1",
            "restart failed b#2",
            "restarting b#2",
            "started b#3",
        ]
    );
}

/// A stop before the beginning ends at once, and nothing is started.
#[test]
fn a_stop_before_the_beginning() {
    let mut rig = Rig::ordered(options(), [permanent("a")]);
    assert_eq!(rig.shutdown("stop"), ["stop: done", "exit shutdown"]);
    assert_eq!(rig.begin(), [""; 0]);
}

/// A child whose own start timeout is over is killed, and that is a failed start that says so.
#[test]
fn a_start_timeout_fails_the_start() {
    let late = Policy { start_timeout: Some(ms(100)), ..permanent("b") };
    let mut rig = Rig::ordered(options(), [permanent("a"), late]);
    rig.begin();
    rig.up("a");
    assert_eq!(rig.pass(99), [""; 0]);
    assert_eq!(rig.pass(1), ["kill b#1"]);
    assert_eq!(rig.up("b"), [""; 0], "too late");
    assert_eq!(rig.ends("b", ExitReason::Killed), ["stop a#1"]);
    assert_eq!(rig.stops("a"), ["exit shutdown: child `b` did not start within its start timeout"]);
}

/// A child that survives the kill of its start timeout does not hold up the rollback, only its end.
#[test]
fn a_start_that_cannot_be_killed_is_rolled_back_around() {
    let late = Policy { start_timeout: Some(ms(100)), ..permanent("b") };
    let mut rig = Rig::ordered(options(), [permanent("a"), late, permanent("c")]);
    rig.begin();
    rig.up("a");
    assert_eq!(rig.pass(1100), ["kill b#1", "stop a#1"]);
    assert_eq!(rig.stops("a").len(), 1, "stalled");
    assert_eq!(rig.states(), ["a#1 Undefined", "b#1 Stuck", "c#0 Undefined"]);
    assert!(rig.exit.is_none());
    assert_eq!(rig.ends("b", ExitReason::Normal).len(), 1);
    assert!(rig.exit.is_some());
}

/// The whole start's timeout names the child that was starting, be it on its way out already.
#[test]
fn the_whole_start_has_a_timeout() {
    let whole = MachineOptions { start_timeout: Some(ms(150)), ..options() };
    let mut rig = Rig::ordered(whole, [permanent("a"), permanent("b"), permanent("c")]);
    rig.begin();
    rig.pass(100);
    rig.up("a");
    assert_eq!(rig.pass(50), ["stop b#1"]);
    assert_eq!(rig.stops("b"), ["stop a#1"]);
    assert_eq!(rig.stops("a"), ["exit shutdown: child `b` did not start within its start timeout"]);

    let late = Policy { start_timeout: Some(ms(100)), ..permanent("a") };
    let mut rig = Rig::ordered(whole, [late]);
    rig.begin();
    assert_eq!(rig.pass(150), ["kill a#1"]);
    assert_eq!(
        rig.ends("a", ExitReason::Killed),
        ["exit shutdown: child `a` did not start within its start timeout"]
    );
}

/// CS-08 two children of one id are refused before anything is started.
#[test]
fn duplicate_ids_are_refused() {
    let children = [(SlotId(0), permanent("a")), (SlotId(1), permanent("b")), (SlotId(2), temporary("a"))];
    let error = Machine::<()>::ordered(options(), children).unwrap_err();
    assert_eq!(error, SpecError::DuplicateChild("a".into()));
}

/// CS-10 a window of no length is refused, by both kinds of machine.
#[test]
fn a_zero_window_is_refused() {
    assert_eq!(Machine::<()>::ordered(intensity(1, 0), []).unwrap_err(), SpecError::ZeroWindow);
    assert_eq!(Machine::<()>::dynamic(intensity(1, 0)).unwrap_err(), SpecError::ZeroWindow);
}

/// CS-01 CS-11 the defaults are OTP's, with 3 restarts in 5 s.
#[test]
fn defaults() {
    let policy = Policy::new("a");
    assert_eq!(policy.restart, Restart::Permanent);
    assert_eq!(policy.shutdown, Shutdown::Timeout(ms(5000)));
    assert_eq!(policy.kind, Kind::Worker);
    assert_eq!(policy.start_timeout, None);
    assert_eq!(options().intensity, RestartIntensity::new(3, ms(5000)));
    assert_eq!(options().kill_grace, ms(1000));
}

/// CS-06 every mixture of restart, shutdown and kind is a child.
#[test]
fn every_mixture_is_valid() {
    let shutdowns =
        [Shutdown::Timeout(ms(0)), Shutdown::Timeout(ms(1000)), Shutdown::Infinity, Shutdown::BrutalKill];
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        for shutdown in shutdowns {
            for kind in [Kind::Worker, Kind::Supervisor] {
                let policy = Policy { restart, shutdown, kind, ..Policy::new("a") };
                let mut rig = Rig::running(options(), [policy.clone()]);
                assert_eq!(rig.machine.policy(&Target::Id("a".into())), Some(policy));
                let told = rig.shutdown("stop");
                let expected: &[&str] = match shutdown {
                    Shutdown::BrutalKill => &["kill a#1"],
                    Shutdown::Timeout(Duration::ZERO) => &["stop a#1", "kill a#1"],
                    _ => &["stop a#1"],
                };
                assert_eq!(told, expected);
                rig.stops("a");
                assert!(rig.exit.is_some());
            }
        }
    }
}

/// No duration is too long: the longest there is means for ever.
#[test]
fn the_longest_durations_are_for_ever() {
    let all = MachineOptions {
        intensity: RestartIntensity::new(3, Duration::MAX),
        kill_grace: Duration::MAX,
        start_timeout: Some(Duration::MAX),
        shutdown_timeout: Some(Duration::MAX),
        max_children: None,
        ..options()
    };
    let policy = Policy {
        start_timeout: Some(Duration::MAX),
        ..stops_in(permanent("a"), Shutdown::Timeout(Duration::MAX))
    };
    let mut rig = Rig::ordered(all, [policy, brutal(permanent("b"))]);
    rig.pass(10);
    rig.begin();
    rig.up("a");
    rig.up("b");
    rig.pass(10);
    assert_eq!(rig.crashes("a"), ["start a#2"]);
    rig.pass(10);
    assert_eq!(rig.crashes("a"), ["start a#3"]);
    rig.up("a");
    assert_eq!(rig.shutdown("stop"), ["kill b#1"]);
    assert_eq!(rig.ends("b", ExitReason::Killed), ["stop a#3"]);
    assert_eq!(rig.stops("a"), ["stop: done", "exit shutdown"]);
}
