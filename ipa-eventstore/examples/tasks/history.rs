//! A task's stream, read: what happened, how the task stands, and what of it happened in this run.
//!
//! Apart, because it is where the report's numbers come from. Its one trick is that they are read off the store and not
//! counted along the way: whatever crashed, they are true.

use std::collections::HashMap;

use ipa_eventstore::{EventStore, ReadStream, StoreError, StreamId};
use ipa_supervisor::BoxError;

use crate::event::Event;
use crate::plan::Task;
use crate::report::{self, TaskRow};
use crate::state::{Ending, TaskState};

/// A task's events and their state.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The events, oldest first; the first has version 1.
    pub events: Vec<Event>,
    /// What they amount to.
    pub state: TaskState,
}

impl History {
    /// Reads a task's stream; `None` if it has none.
    ///
    /// # Errors
    ///
    /// Those of the store, and an event that is not one of a task's.
    pub async fn load(store: &dyn EventStore, task: &str) -> Result<Option<History>, BoxError> {
        let stream = StreamId::new(task)?;
        let recorded = match store.read_stream(&stream, ReadStream::new()).await {
            Err(StoreError::StreamNotFound { .. }) => return Ok(None),
            read => read?,
        };
        let events = recorded.iter().map(|event| {
            Event::decode(event).map_err(|error| format!("event {} of stream {task}: {error}", event.version))
        });
        Ok(Some(History::of(events.collect::<Result<_, _>>()?)))
    }

    /// That of these events.
    pub fn of(events: Vec<Event>) -> History {
        let state = TaskState::of(&events);
        History { events, state }
    }

    /// The version of the last event.
    pub fn version(&self) -> u64 {
        self.events.len() as u64
    }

    /// The task's line of the report, as far as the store knows it. This run's events are those after `before`.
    pub fn row(&self, task: &Task, before: u64) -> TaskRow {
        let mut row = TaskRow {
            id: task.id.clone(),
            title: task.title.clone(),
            state: match self.state.ending {
                Some(Ending::Completed) => report::TaskState::Completed,
                Some(Ending::Failed { .. }) => report::TaskState::Failed,
                None => report::TaskState::Waiting,
            },
            steps_done: self.state.done() as u64,
            steps_total: task.steps.len() as u64,
            ..TaskRow::default()
        };
        let mut steps: HashMap<&str, Seen> = HashMap::new();
        for (version, event) in (1..).zip(&self.events) {
            let now = version > before;
            match event {
                Event::StepStarted { step, attempt, .. } => {
                    let seen = steps.entry(step).or_default();
                    row.steps_run += u64::from(now && !seen.run);
                    seen.run |= now;
                    row.retries += u64::from(now && seen.tries(*attempt));
                }
                Event::StepFailed { step, attempt, cut_off, .. } => {
                    let seen = steps.entry(step).or_default();
                    row.retries += u64::from(now && seen.tries(*attempt));
                    seen.failed = !cut_off;
                }
                Event::StepCompleted { .. } => row.steps_skipped += u64::from(!now),
                Event::TaskCreated { .. } | Event::TaskCompleted {} | Event::TaskFailed { .. } => {}
            }
        }
        row
    }
}

/// What was seen of a step so far.
#[derive(Default)]
struct Seen {
    /// It was started in this run.
    run: bool,
    /// The last attempt at it.
    attempt: u32,
    /// That failed by itself.
    failed: bool,
}

impl Seen {
    /// Takes note of an attempt; whether it is a new one after one that failed. (One whose program is not there fails without
    /// having been started.)
    fn tries(&mut self, attempt: u32) -> bool {
        let again = self.failed && attempt > self.attempt;
        self.failed &= attempt == self.attempt;
        self.attempt = attempt;
        again
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::orphans::Identity;
    use crate::plan::Plan;

    #[test]
    fn a_row_counts_what_happened_in_this_run() {
        let text = "[[task]]\nid = \"t\"\ntitle = \"T\"\n[[task.step]]\nid = \"a\"\ncommand = \"x\"\n[[task.step]]\nid = \"b\"\ncommand = \"x\"\nretries = 1\n";
        let task = Plan::parse(Path::new("t.toml"), text).unwrap().tasks.remove(0);
        let start = |step: &str, attempt| Event::StepStarted {
            step: step.into(),
            attempt,
            process: Identity { group: 1, started: "".into(), boot: "".into() },
        };
        let fail = |step: &str, attempt, cut_off| Event::StepFailed {
            step: step.into(),
            attempt,
            reason: "x".into(),
            cut_off,
            last: false,
        };
        let complete = |step: &str, attempt| Event::StepCompleted {
            step: step.into(),
            attempt,
            status: 0,
            output: "".into(),
            took_ms: 1,
        };
        let events = vec![
            Event::created(&task),
            start("a", 1),
            complete("a", 1),
            start("b", 1),
            // An earlier run was killed here: version 4.
            fail("b", 1, true),
            start("b", 2),
            fail("b", 2, false),
            // Its program was not there for a moment.
            fail("b", 3, false),
            start("b", 4),
            complete("b", 4),
            Event::TaskCompleted {},
        ];
        let history = History::of(events);
        let counts = |before| {
            let row = history.row(&task, before);
            (row.steps_run, row.steps_skipped, row.retries, row.steps_done)
        };
        assert_eq!(counts(4), (1, 1, 2, 2));
        assert_eq!(counts(1), (2, 0, 2, 2));
        assert_eq!(counts(11), (0, 2, 0, 2));
        assert_eq!(history.row(&task, 4).state, report::TaskState::Completed);
    }
}
