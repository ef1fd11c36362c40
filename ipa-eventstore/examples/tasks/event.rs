//! What can happen to a task, and how that is written into its stream.
//!
//! Apart from the state that follows from it ([`crate::state`]), because stores outlive programs: this file is the format. Its
//! one trick is that an event is the pair that serde's adjacent tags make, the type's name and the data, and so exactly
//! what a store keeps.

use ipa_eventstore::{Json, NewEvent, RecordedEvent};
use ipa_supervisor::BoxError;
use serde::{Deserialize, Serialize};

use crate::order::{Order, OrderError};
use crate::orphans::Identity;
use crate::plan::Task;

/// The type of a task's stream. The stream has the task's id for its name.
pub const STREAM_TYPE: &str = "task";

/// Something that happened to a task. Attempts are counted from 1, for each step by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// The task is known from here on. Always the first event, and there is no other.
    TaskCreated {
        /// All that there is to do.
        definition: Task,
        /// Its [digest](Task::digest), by which another definition under the same id is noticed.
        digest: String,
    },
    /// A process exists for this attempt, and executes its program once this is stored: what is not in the store has not run.
    StepStarted {
        /// The step.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// By what the process is known again after a crash of this program.
        process: Identity,
    },
    /// The attempt ended with exit status 0. There is no later attempt.
    StepCompleted {
        /// The step.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// The exit status: 0.
        status: i32,
        /// The digest of what it wrote to stdout and stderr.
        output: String,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// The attempt ended otherwise.
    StepFailed {
        /// The step.
        step: String,
        /// Which attempt.
        attempt: u32,
        /// In words.
        reason: String,
        /// Whether it was cut off (by a crash, a stop) rather than failed by itself: such an attempt uses up no retry.
        cut_off: bool,
        /// Whether the step has no retry left.
        last: bool,
    },
    /// Every step is done. Nothing follows.
    TaskCompleted {},
    /// A step has failed for good, and none of the others runs any more. Nothing follows.
    TaskFailed {
        /// The step.
        step: String,
        /// Why it failed.
        reason: String,
    },
}

/// The same pair, with the data left as it is.
#[derive(Serialize, Deserialize)]
struct Stored<D> {
    r#type: String,
    data: D,
}

impl Event {
    /// The event for a new task.
    pub fn created(task: &Task) -> Event {
        Event::TaskCreated { definition: task.clone(), digest: task.digest() }
    }

    /// As it is to be stored.
    ///
    /// # Errors
    ///
    /// None that is known of: every event has a JSON form.
    pub fn encode(&self) -> Result<NewEvent, BoxError> {
        let Stored { r#type, data } = serde_json::from_value(serde_json::to_value(self)?)?;
        Ok(NewEvent::new(r#type, Json::of::<serde_json::Value>(&data)?)?)
    }

    /// As it was stored.
    ///
    /// # Errors
    ///
    /// An event of another kind, one whose data is of another shape, a definition whose steps wait for each other: somebody else
    /// wrote to this stream.
    pub fn decode(event: &RecordedEvent) -> Result<Event, BoxError> {
        let stored = Stored { r#type: event.event_type.to_string(), data: event.data()? };
        let stored: Stored<serde_json::Value> = stored;
        let event = serde_json::from_value(serde_json::to_value(stored)?)?;
        if let Event::TaskCreated { definition, .. } = &event {
            order_of(definition)?;
        }
        Ok(event)
    }
}

/// What the steps of a task wait for.
///
/// # Errors
///
/// None for a task of a [`Plan`](crate::plan::Plan), which has been checked.
pub fn order_of(task: &Task) -> Result<Order, OrderError> {
    Order::new(task.steps.iter().map(|step| (step.id.as_str(), step.after.as_slice())))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::SystemTime;

    use ipa_eventstore::{Position, StreamId};

    use super::*;
    use crate::plan::Plan;

    fn recorded(event: NewEvent) -> RecordedEvent {
        let stream = StreamId::new("t").unwrap();
        RecordedEvent::new(stream, 1, Position::START, SystemTime::UNIX_EPOCH, event)
    }

    fn events() -> Vec<Event> {
        let text = "[[task]]\nid = \"t\"\ntitle = \"T\"\n[[task.step]]\nid = \"s\"\ncommand = \"true\"\ntimeout = \"1s\"\n";
        let task = Plan::parse(Path::new("t.toml"), text).unwrap().tasks.remove(0);
        let process = Identity { group: 7, started: "1234".into(), boot: "b".into() };
        let step = || "s".to_owned();
        vec![
            // A place in a file is no part of a definition.
            Event::created(&Task { place: Default::default(), ..task }),
            Event::StepStarted { step: step(), attempt: 1, process },
            Event::StepCompleted { step: step(), attempt: 1, status: 0, output: "x".into(), took_ms: 5 },
            Event::StepFailed {
                step: step(),
                attempt: 1,
                reason: "exit 1".into(),
                cut_off: false,
                last: true,
            },
            Event::TaskCompleted {},
            Event::TaskFailed { step: step(), reason: "exit 1".into() },
        ]
    }

    #[test]
    fn events_come_back_as_they_were() {
        for event in events() {
            assert_eq!(Event::decode(&recorded(event.encode().unwrap())).unwrap(), event);
        }
    }

    #[test]
    fn the_format_is_the_one_that_stores_hold() {
        let stored: Vec<String> = events()
            .iter()
            .skip(1)
            .map(|event| event.encode().unwrap())
            .map(|event| format!("{} {}", event.event_type, event.data.get()))
            .collect();
        assert_eq!(
            stored,
            [
                r#"step_started {"attempt":1,"process":{"boot":"b","group":7,"started":"1234"},"step":"s"}"#,
                r#"step_completed {"attempt":1,"output":"x","status":0,"step":"s","took_ms":5}"#,
                r#"step_failed {"attempt":1,"cut_off":false,"last":true,"reason":"exit 1","step":"s"}"#,
                r#"task_completed {}"#,
                r#"task_failed {"reason":"exit 1","step":"s"}"#,
            ]
        );
    }

    #[test]
    fn what_others_wrote_is_refused() {
        let foreign = NewEvent::json("rained", &()).unwrap();
        assert!(Event::decode(&recorded(foreign)).unwrap_err().to_string().contains("rained"));
        let shapeless = NewEvent::json("step_started", &1).unwrap();
        assert!(Event::decode(&recorded(shapeless)).is_err());
        let mut circle = events().remove(0);
        let Event::TaskCreated { definition, .. } = &mut circle else { unreachable!() };
        definition.steps[0].after = vec!["s".into()];
        let error = Event::decode(&recorded(circle.encode().unwrap())).unwrap_err().to_string();
        assert!(error.contains("cycle"), "{error}");
    }
}
