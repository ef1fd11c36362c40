//! Each promise, broken.

use std::path::Path;
use std::time::SystemTime;

use ipa_eventstore::{Position, StreamId};

use super::*;
use crate::orphans::Identity;

fn plan() -> Plan {
    let task = |id: &str| {
        format!(
            "[[task]]\nid = \"{id}\"\ntitle = \"T\"\n[[task.step]]\nid = \"a\"\ncommand = \"x\"\n[[task.step]]\nid = \"b\"\ncommand = \"x\"\n"
        )
    };
    Plan::parse(Path::new("t.toml"), &format!("{}{}", task("one"), task("two"))).unwrap()
}

fn created() -> Event {
    Event::created(&plan().tasks[0])
}

fn start(step: &str, attempt: u32) -> Event {
    let process = Identity { group: 1, started: "1".into(), boot: "b".into() };
    Event::StepStarted { step: step.into(), attempt, process }
}

fn complete(step: &str, attempt: u32) -> Event {
    Event::StepCompleted { step: step.into(), attempt, status: 0, output: "".into(), took_ms: 1 }
}

fn fail(step: &str, attempt: u32) -> Event {
    Event::StepFailed { step: step.into(), attempt, reason: "x".into(), cut_off: true, last: false }
}

fn failed() -> Event {
    Event::TaskFailed { step: "a".into(), reason: "x".into() }
}

fn stream(task: &str, events: &[Event]) -> (StreamInfo, Vec<RecordedEvent>) {
    let (id, now) = (StreamId::new(task).unwrap(), SystemTime::UNIX_EPOCH);
    let recorded = |(event, version): (&Event, u64)| {
        let position = Position::from_parts(0, 0, version);
        RecordedEvent::new(id.clone(), version, position, now, event.encode().unwrap())
    };
    let info = StreamInfo::created(id.clone(), StreamType::new(STREAM_TYPE).unwrap(), now);
    (info.updated(events.len() as u64, now), events.iter().zip(1..).map(recorded).collect())
}

/// What is found in a task with these events, beside one that has not begun.
fn found(events: &[Event]) -> Health {
    judge(&plan(), &[stream("one", events), stream("two", &[Event::created(&plan().tasks[1])])])
}

#[test]
fn a_sound_store() {
    let events = [
        created(),
        start("a", 1),
        fail("a", 1),
        start("a", 2),
        complete("a", 2),
        // Its program was not there.
        fail("b", 1),
        start("b", 2),
        complete("b", 2),
        Event::TaskCompleted {},
    ];
    for end in 1..=events.len() {
        let health = found(&events[..end]);
        assert_eq!(health.violations, [""; 0], "after {end} events");
        assert_eq!(health.completed, u64::from(end == events.len()));
    }
    let health = found(&[created(), start("a", 1), fail("a", 1), failed()]);
    assert_eq!(health.json(), r#"{"tasks":2,"completed":0,"failed":1,"events":5,"violations":[]}"#);
}

#[test]
fn each_broken_promise_is_named() {
    let done = [created(), start("a", 1), complete("a", 1)];
    let after_done = |more: &[Event]| [&done[..], more].concat();
    let cases = [
        (after_done(&[start("a", 2)]), "event 4 starts step a, which has completed"),
        (after_done(&[start("a", 2), complete("a", 2)]), "event 5 completes step a once more"),
        (after_done(&[fail("a", 2)]), "event 4 fails step a, which has completed"),
        (after_done(&[Event::TaskCompleted {}]), "event 4 completes the task, but not all"),
        (after_done(&[failed(), start("b", 1)]), "event 5 comes after its end, event 4"),
        (after_done(&[start("b", 1), failed()]), "event 5 fails the task while steps run"),
        (after_done(&[created()]), "event 4 creates the task once more"),
        (vec![start("a", 1)], "event 1 comes before the task is created"),
        (vec![created(), start("a", 1), start("a", 2)], "event 3 starts step a while attempt 1 runs"),
        (vec![created(), complete("a", 1)], "event 2 completes attempt 1 at step a, which does not run"),
        (vec![created(), start("a", 2), fail("a", 1)], "event 3 fails attempt 1 at step a, while another"),
    ];
    for (events, want) in cases {
        let health = found(&events);
        assert!(health.violations.iter().any(|violation| violation.contains(want)), "{want}: {health:?}");
        assert!(health.violations.iter().all(|violation| violation.starts_with("task one: ")));
    }
}

#[test]
fn versions_and_tasks_that_are_missing_are_named() {
    let mut gap = stream("one", &[created(), start("a", 1), complete("a", 1)]);
    gap.1.remove(1);
    let health = judge(&plan(), &[gap]);
    let all = health.violations.join("\n");
    assert!(all.contains("version 3 stands where 2 should"), "{all}");
    assert!(all.contains("2 events, but its version is 3"), "{all}");
    assert!(all.contains("task two is lost"), "{all}");
    // Killed while it created the streams: nothing had begun.
    assert_eq!(judge(&plan(), &[stream("one", &[created()])]).violations, [""; 0]);
    assert_eq!(judge(&plan(), &[]), Health::default());
}
