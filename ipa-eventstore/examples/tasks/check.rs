//! `--check`: is what the store holds what the runner promises?
//!
//! Apart from the state that the runner itself works with, and deliberately written without it: these are the promises, one by one,
//! looked for in the plain events. It reads beside a run, or after one that was killed, and changes nothing.

use std::collections::{HashMap, HashSet};

use ipa_eventstore::{
    EventStore, ListStreams, ReadStream, RecordedEvent, SqliteEventStore, StreamInfo, StreamType,
};
use ipa_supervisor::BoxError;
use serde::Serialize;

use crate::event::{Event, STREAM_TYPE};
use crate::plan::Plan;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Tasks in the store.
    pub tasks: u64,
    /// Those that have completed.
    pub completed: u64,
    /// Those that have failed.
    pub failed: u64,
    /// Events of all tasks.
    pub events: u64,
    /// Each promise that is broken, in words.
    pub violations: Vec<String>,
}

impl Health {
    /// The JSON object, on one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and strings are JSON")
    }
}

/// Reads all tasks of a store and judges them.
///
/// # Errors
///
/// Those of the store: it is not there, it is another program's, it is damaged.
pub async fn check(store: &SqliteEventStore, plan: &Plan) -> Result<Health, BoxError> {
    let tasks = ListStreams::new().stream_type(StreamType::new(STREAM_TYPE)?);
    let mut streams = Vec::new();
    for info in store.list_streams(tasks).await? {
        let events = store.read_stream(&info.id, ReadStream::new()).await?;
        streams.push((info, events));
    }
    Ok(judge(plan, &streams))
}

fn judge(plan: &Plan, streams: &[(StreamInfo, Vec<RecordedEvent>)]) -> Health {
    let mut health = Health { tasks: streams.len() as u64, ..Health::default() };
    for (info, events) in streams {
        health.events += events.len() as u64;
        let mut wrong = |what: String| health.violations.push(format!("task {}: {what}", info.id));
        for (event, want) in events.iter().zip(1..) {
            if event.version != want {
                wrong(format!("version {} stands where {want} should", event.version));
            }
        }
        // A run may append between the two reads, and does not take away.
        if (events.len() as u64) < info.version {
            wrong(format!("{} events, but its version is {}", events.len(), info.version));
        }
        judge_task(events, &mut wrong);
        let last = events.last().map(|event| &*event.event_type);
        health.completed += u64::from(last == Some("task_completed"));
        health.failed += u64::from(last == Some("task_failed"));
    }
    let known: HashSet<&str> = streams.iter().map(|(info, _)| info.id.as_str()).collect();
    // Work begins when every task has its stream.
    if streams.iter().any(|(_, events)| events.len() > 1) {
        for task in plan.tasks.iter().filter(|task| !known.contains(&*task.id)) {
            health.violations.push(format!("task {} is lost: there was work, and it has no stream", task.id));
        }
    }
    health
}

/// What may follow what, within a task.
fn judge_task(events: &[RecordedEvent], wrong: &mut impl FnMut(String)) {
    let mut completed = HashSet::new();
    let mut running: HashMap<String, u32> = HashMap::new();
    let mut steps: Option<HashSet<String>> = None;
    let mut ended = None;
    for recorded in events {
        let version = recorded.version;
        if let Some(end) = ended {
            wrong(format!("event {version} comes after its end, event {end}"));
        }
        let event = match Event::decode(recorded) {
            Ok(event) => event,
            Err(error) => {
                wrong(format!("event {version} cannot be read: {error}"));
                continue;
            }
        };
        if steps.is_none() && !matches!(event, Event::TaskCreated { .. }) {
            wrong(format!("event {version} comes before the task is created"));
        }
        match event {
            Event::TaskCreated { definition, digest } => {
                if definition.digest() != digest {
                    wrong(format!("the digest of event {version} is not that of its definition"));
                }
                if steps.replace(definition.steps.into_iter().map(|step| step.id).collect()).is_some() {
                    wrong(format!("event {version} creates the task once more"));
                }
            }
            Event::StepStarted { step, attempt, .. } => {
                if completed.contains(&step) {
                    wrong(format!("event {version} starts step {step}, which has completed"));
                }
                if let Some(other) = running.insert(step.clone(), attempt) {
                    wrong(format!("event {version} starts step {step} while attempt {other} runs"));
                }
            }
            Event::StepCompleted { step, attempt, .. } => {
                if running.remove(&step) != Some(attempt) {
                    wrong(format!(
                        "event {version} completes attempt {attempt} at step {step}, which does not run"
                    ));
                }
                if !completed.insert(step.clone()) {
                    wrong(format!("event {version} completes step {step} once more"));
                }
            }
            Event::StepFailed { step, attempt, .. } => {
                // One whose program is not there fails without having begun.
                if running.remove(&step).is_some_and(|other| other != attempt) {
                    wrong(format!(
                        "event {version} fails attempt {attempt} at step {step}, while another runs"
                    ));
                }
                if completed.contains(&step) {
                    wrong(format!("event {version} fails step {step}, which has completed"));
                }
            }
            Event::TaskCompleted {} => {
                ended = Some(version);
                if steps.as_ref().is_some_and(|steps| *steps != completed) {
                    wrong(format!(
                        "event {version} completes the task, but not all of its steps have completed"
                    ));
                }
            }
            Event::TaskFailed { .. } => {
                ended = Some(version);
                if !running.is_empty() {
                    wrong(format!("event {version} fails the task while steps run"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
