//! Which events may follow which.

use std::path::Path;

use super::*;
use crate::plan::Plan;

/// One, then two side by side (the first with a retry), then one.
const DIAMOND: &str = r#"
[[task]]
id = "t"
title = "T"
[[task.step]]
id = "a"
command = "true"
[[task.step]]
id = "b"
command = "true"
retries = 1
[[task.step]]
id = "c"
command = "true"
after = ["a"]
[[task.step]]
id = "d"
command = "true"
after = ["b", "c"]
"#;

fn created() -> TaskState {
    let task = Plan::parse(Path::new("t.toml"), DIAMOND).unwrap().tasks.remove(0);
    let mut state = TaskState::default();
    state.apply(&Event::created(&task));
    state
}

fn process(group: u32) -> Identity {
    Identity { group, started: "1".into(), boot: "b".into() }
}

fn start(step: &str, attempt: u32) -> Command {
    Command::Start { step: step.into(), attempt, process: process(attempt) }
}

fn complete(step: &str, attempt: u32) -> Command {
    Command::Complete { step: step.into(), attempt, output: Digest::EMPTY, took: Duration::from_millis(3) }
}

fn fail(step: &str, attempt: u32) -> Command {
    Command::Fail { step: step.into(), attempt, reason: format!("{step} is broken") }
}

fn cut_off(step: &str, attempt: u32) -> Command {
    Command::CutOff { step: step.into(), attempt, reason: "crash".into() }
}

/// The names of the events that a command has, or why it is refused.
fn decided(state: &TaskState, command: &Command) -> String {
    match state.decide(command) {
        Ok(events) => events
            .iter()
            .map(|event| event.encode().unwrap().event_type.to_string())
            .collect::<Vec<_>>()
            .join(" "),
        Err(refused) => refused.why.to_owned(),
    }
}

/// The state after these commands, none of which is refused.
fn after(commands: &[Command]) -> TaskState {
    let mut state = created();
    for command in commands {
        for event in state.decide(command).unwrap_or_else(|refused| panic!("{refused}")) {
            state.apply(&event);
        }
    }
    state
}

fn done(step: &str) -> [Command; 2] {
    [start(step, 1), complete(step, 1)]
}

#[test]
fn a_task_runs_from_start_to_end() {
    let state = created();
    assert_eq!((state.next(), state.done(), state.attempts()), (Next::Start(vec![0]), 0, 0));
    assert_eq!(state.digest(), state.task().map(Task::digest).as_deref());

    let state = after(&done("a"));
    assert_eq!((state.next(), state.done()), (Next::Start(vec![1, 2]), 1));
    let state = after(&[done("a"), done("c"), done("b")].concat());
    assert_eq!((state.next(), state.ending.clone()), (Next::Start(vec![3]), None));

    let mut all = [done("a"), done("c"), done("b")].concat();
    all.push(start("d", 1));
    let state = after(&all);
    assert_eq!(state.running().map(|(step, _)| step.id.as_str()).collect::<Vec<_>>(), ["d"]);
    assert_eq!(decided(&state, &complete("d", 1)), "step_completed task_completed");
    all.push(complete("d", 1));
    assert_eq!(after(&all).ending, Some(Ending::Completed));
}

#[test]
fn what_may_start() {
    let cases = [
        (vec![], start("a", 1), "step_started"),
        (vec![], start("x", 1), "the task has no such step"),
        (vec![], start("a", 2), "it is not the next attempt"),
        (vec![], start("b", 1), "it is not its turn"),
        (vec![start("a", 1)], start("a", 2), "another attempt runs"),
        (vec![start("a", 1), complete("a", 1)], start("a", 2), "it has completed"),
        (vec![start("a", 1), complete("a", 1)], start("a", 1), "it has completed"),
        (vec![start("a", 1), cut_off("a", 1)], start("a", 2), "step_started"),
        (vec![start("a", 1), fail("a", 1)], start("a", 2), "the task has ended"),
        ([done("a").to_vec(), vec![start("b", 1), fail("b", 1)]].concat(), start("b", 2), "step_started"),
        // The same process is the same start, told twice; another one is not.
        (vec![start("a", 1)], start("a", 1), ""),
        (
            vec![start("a", 1)],
            Command::Start { step: "a".into(), attempt: 1, process: process(99) },
            "another attempt runs",
        ),
    ];
    for (before, command, want) in cases {
        assert_eq!(decided(&after(&before), &command), want, "{command:?} after {before:?}");
    }
    let unborn = TaskState::default();
    assert_eq!(decided(&unborn, &start("a", 1)), "the task has no such step");
    assert_eq!(unborn.next(), Next::Wait);
}

#[test]
fn how_attempts_end() {
    let running = vec![start("a", 1)];
    let with = |command: Command| [running.clone(), vec![command]].concat();
    let cases = [
        (running.clone(), complete("a", 1), "step_completed"),
        (running.clone(), complete("a", 2), "this attempt does not run"),
        (running.clone(), fail("a", 2), "this attempt does not run"),
        (running.clone(), cut_off("a", 1), "step_failed"),
        (running.clone(), fail("a", 1), "step_failed task_failed"),
        // Told twice.
        (with(complete("a", 1)), complete("a", 1), ""),
        (with(cut_off("a", 1)), cut_off("a", 1), ""),
        (with(cut_off("a", 1)), fail("a", 1), ""),
        (with(fail("a", 1)), fail("a", 1), ""),
        // Too late: the attempt has ended otherwise.
        (with(complete("a", 1)), cut_off("a", 1), "this attempt does not run"),
        (with(complete("a", 1)), fail("a", 1), "this attempt does not run"),
        (with(cut_off("a", 1)), complete("a", 1), "this attempt does not run"),
        // A program that is not there: an attempt that fails without having begun. Nothing else may.
        (vec![], fail("a", 1), "step_failed task_failed"),
        (vec![], fail("a", 2), "this attempt does not run"),
        (vec![], fail("b", 1), "this attempt does not run"),
        (vec![], complete("a", 1), "this attempt does not run"),
        (vec![], cut_off("a", 1), "this attempt does not run"),
    ];
    for (before, command, want) in cases {
        assert_eq!(decided(&after(&before), &command), want, "{command:?} after {before:?}");
    }
}

#[test]
fn being_cut_off_uses_up_no_retry() {
    let mut commands = done("a").to_vec();
    for attempt in 1..=20 {
        commands.extend([start("b", attempt), cut_off("b", attempt)]);
    }
    commands.extend([start("b", 21), fail("b", 21)]);
    let state = after(&commands);
    assert_eq!((state.steps[1].attempts, state.steps[1].failures), (21, 1));
    assert_eq!(state.steps[1].state, StepState::Waiting, "its one retry is left");
    commands.extend([start("b", 22), fail("b", 22)]);
    let state = after(&commands);
    assert_eq!(state.ending, Some(Ending::Failed { step: "b".into(), reason: "b is broken".into() }));
}

#[test]
fn a_task_fails_when_the_last_of_its_steps_has_ended() {
    let mut commands = done("a").to_vec();
    commands.extend([start("c", 1), start("b", 1), fail("c", 1)]);
    let state = after(&commands);
    assert_eq!((state.ending.clone(), state.next()), (None, Next::Wait));
    assert_eq!(decided(&state, &start("b", 2)), "another attempt runs");
    for last in [complete("b", 1), cut_off("b", 1), fail("b", 1)] {
        let state = after(&[commands.clone(), vec![last]].concat());
        assert_eq!(state.ending, Some(Ending::Failed { step: "c".into(), reason: "c is broken".into() }));
    }
}

#[test]
fn chaos_panics_by_command() {
    let panicked = std::panic::catch_unwind(|| created().decide(&Command::Panic)).unwrap_err();
    assert!(chaos::is_to_blame(&ipa_supervisor::ExitReason::panicked(panicked)));
}
