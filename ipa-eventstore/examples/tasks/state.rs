//! The state of a task: what its events amount to, and which events may come next.
//!
//! Apart, because it is pure: no clock, no process, no store. A task's state manager keeps one of these, and whatever anybody
//! wants to happen to the task is a [`Command`] that [`decide`](TaskState::decide) turns into events or refuses. So what
//! the rules promise holds whoever crashes and retries: above all, that no attempt at a step begins once it has completed.
//!
//! Two tricks. Every command may be given twice: whoever crashed between asking and hearing the answer asks again, and what
//! has been done already is answered with no events. And a task ends in the same append as the step that ends it, so there is no
//! moment at which all is done and the task is not.

use std::sync::Arc;
use std::time::Duration;

use ipa_eventstore::{Aggregate, NewEvent, RecordedEvent, StreamId};
use ipa_supervisor::BoxError;

use crate::chaos;
use crate::digest::Digest;
use crate::event::{Event, order_of};
use crate::order::{Next, Order, StepState};
use crate::orphans::Identity;
use crate::plan::{Step, Task};

/// What somebody wants to happen to a task.
#[derive(Clone, Debug)]
pub enum Command {
    /// An attempt begins: its process is there, held until this is stored.
    Start { step: String, attempt: u32, process: Identity },
    /// An attempt ended with exit status 0.
    Complete { step: String, attempt: u32, output: Digest, took: Duration },
    /// An attempt ended otherwise, by itself. Or it never began, as its program is not there.
    Fail { step: String, attempt: u32, reason: String },
    /// An attempt was cut off, by a crash or a stop.
    CutOff { step: String, attempt: u32, reason: String },
    /// Chaos wants the state manager to panic. An aggregate is pure and rolls no dice, so the panic comes as a command.
    Panic,
}

/// Why a command was refused. None of these is to be expected of a scheduler that asks the state first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} step `{step}` (attempt {attempt}) was refused: {why}")]
pub struct Refused {
    what: &'static str,
    step: String,
    attempt: u32,
    why: &'static str,
}

/// What a task's events amount to.
#[derive(Clone, Debug, Default)]
pub struct TaskState {
    /// How the task ended, if it has.
    pub ending: Option<Ending>,
    /// The steps, in the order of the file. Empty before the task is created.
    pub steps: Vec<StepRecord>,
    definition: Option<Arc<Definition>>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every step is done.
    Completed,
    /// A step has failed for good, for this reason.
    Failed { step: String, reason: String },
}

/// Where a step stands.
#[derive(Clone, Debug, Default)]
pub struct StepRecord {
    /// In which of four states it is.
    pub state: StepState,
    /// How many attempts have begun.
    pub attempts: u32,
    /// How many of those failed by themselves, and so used up a retry (the first failure does not).
    pub failures: u32,
    /// The process of the last attempt.
    pub process: Option<Identity>,
    /// Why the last attempt that failed did.
    reason: String,
}

#[derive(Debug)]
struct Definition {
    task: Task,
    digest: String,
    order: Order,
}

impl TaskState {
    /// What the events of a whole stream amount to.
    pub fn of(events: &[Event]) -> TaskState {
        let mut state = TaskState::default();
        events.iter().for_each(|event| state.apply(event));
        state
    }

    /// What there is to do; `None` before the task is created.
    pub fn task(&self) -> Option<&Task> {
        self.definition.as_ref().map(|definition| &definition.task)
    }

    /// The digest that the task was created with.
    pub fn digest(&self) -> Option<&str> {
        self.definition.as_ref().map(|definition| definition.digest.as_str())
    }

    /// What is to be done next.
    pub fn next(&self) -> Next {
        let Some(definition) = &self.definition else { return Next::Wait };
        let states: Vec<StepState> = self.steps.iter().map(|step| step.state).collect();
        definition.order.next(&states)
    }

    /// How many steps are done.
    pub fn done(&self) -> usize {
        self.steps.iter().filter(|step| step.state == StepState::Done).count()
    }

    /// How many attempts have begun, of all steps.
    pub fn attempts(&self) -> u32 {
        self.steps.iter().map(|step| step.attempts).sum()
    }

    /// The steps of which an attempt has begun and not ended, as far as the store knows.
    pub fn running(&self) -> impl Iterator<Item = (&Step, &StepRecord)> {
        let definitions = self.task().into_iter().flat_map(|task| &task.steps);
        definitions.zip(&self.steps).filter(|(_, record)| record.state == StepState::Running)
    }

    fn index(&self, step: &str) -> Option<usize> {
        self.task()?.steps.iter().position(|candidate| candidate.id == step)
    }

    fn change(&mut self, step: &str, attempt: u32, change: impl FnOnce(&mut StepRecord)) {
        if let Some(at) = self.index(step) {
            self.steps[at].attempts = attempt;
            change(&mut self.steps[at]);
        }
    }
}

impl Aggregate for TaskState {
    type Command = Command;
    type Event = Event;
    type Rejection = Refused;

    fn initial(_stream: &StreamId) -> Self {
        TaskState::default()
    }

    /// The events for a command; none if it has been done already.
    ///
    /// # Errors
    ///
    /// [`Refused`], if the rules do not allow it.
    fn decide(&self, command: &Command) -> Result<Vec<Event>, Refused> {
        let (what, step, attempt) = match command {
            Command::Start { step, attempt, .. } => ("to start", step, *attempt),
            Command::Complete { step, attempt, .. } => ("to complete", step, *attempt),
            Command::Fail { step, attempt, .. } => ("to fail", step, *attempt),
            Command::CutOff { step, attempt, .. } => ("to cut off", step, *attempt),
            Command::Panic => chaos::panic("state"),
        };
        let refused = |why| Err(Refused { what, step: step.clone(), attempt, why });
        let Some(at) = self.index(step) else { return refused("the task has no such step") };
        let record = &self.steps[at];
        let runs = record.state == StepState::Running && record.attempts == attempt;
        let has_ended = record.state != StepState::Running && record.attempts == attempt;

        let event = match command {
            Command::Start { process, .. } => {
                if runs && record.process.as_ref() == Some(process) {
                    return Ok(vec![]);
                }
                match (&self.ending, record.state) {
                    (Some(_), _) => return refused("the task has ended"),
                    (_, StepState::Done) => return refused("it has completed"),
                    (_, StepState::Failed) => return refused("it has failed, and no retry is left"),
                    (_, StepState::Running) => return refused("another attempt runs"),
                    (None, StepState::Waiting) => {}
                }
                if attempt != record.attempts + 1 {
                    return refused("it is not the next attempt");
                }
                if !matches!(self.next(), Next::Start(ready) if ready.contains(&at)) {
                    return refused("it is not its turn");
                }
                Event::StepStarted { step: step.clone(), attempt, process: process.clone() }
            }
            Command::Complete { output, took, .. } => {
                if has_ended && record.state == StepState::Done {
                    return Ok(vec![]);
                }
                if !runs {
                    return refused("this attempt does not run");
                }
                let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                let output = output.to_string();
                Event::StepCompleted { step: step.clone(), attempt, status: 0, output, took_ms }
            }
            Command::Fail { reason, .. } | Command::CutOff { reason, .. } => {
                let cut_off = matches!(command, Command::CutOff { .. });
                if has_ended && record.state != StepState::Done {
                    return Ok(vec![]);
                }
                let never_began = !cut_off
                    && matches!(self.next(), Next::Start(ready) if ready.contains(&at))
                    && attempt == record.attempts + 1;
                if !runs && !never_began {
                    return refused("this attempt does not run");
                }
                let retries = self.task().map_or(0, |task| task.steps[at].retries);
                let last = !cut_off && record.failures >= retries;
                Event::StepFailed { step: step.clone(), attempt, reason: reason.clone(), cut_off, last }
            }
            Command::Panic => chaos::panic("state"),
        };

        let mut after = self.clone();
        after.apply(&event);
        let mut events = vec![event];
        match after.next() {
            Next::Completed => events.push(Event::TaskCompleted {}),
            Next::Failed(first) => {
                let step = after.task().map(|task| task.steps[first].id.clone()).unwrap_or_default();
                events.push(Event::TaskFailed { step, reason: after.steps[first].reason.clone() });
            }
            Next::Start(_) | Next::Wait => {}
        }
        Ok(events)
    }

    /// Changes the state by an event that has happened.
    fn apply(&mut self, event: &Event) {
        match event {
            Event::TaskCreated { definition: task, digest } => {
                // A definition without an order is no event that was decoded or decided.
                let Ok(order) = order_of(task) else { return };
                self.steps = vec![StepRecord::default(); task.steps.len()];
                self.definition =
                    Some(Arc::new(Definition { task: task.clone(), digest: digest.clone(), order }));
            }
            Event::StepStarted { step, attempt, process } => self.change(step, *attempt, |record| {
                record.state = StepState::Running;
                record.process = Some(process.clone());
            }),
            Event::StepCompleted { step, attempt, .. } => {
                self.change(step, *attempt, |record| record.state = StepState::Done);
            }
            Event::StepFailed { step, attempt, reason, cut_off, last } => {
                self.change(step, *attempt, |record| {
                    record.state = if *last { StepState::Failed } else { StepState::Waiting };
                    record.failures += u32::from(!cut_off);
                    record.reason = reason.clone();
                });
            }
            Event::TaskCompleted {} => self.ending = Some(Ending::Completed),
            Event::TaskFailed { step, reason } => {
                self.ending = Some(Ending::Failed { step: step.clone(), reason: reason.clone() });
            }
        }
    }

    fn encode(event: &Event) -> Result<NewEvent, BoxError> {
        event.encode()
    }

    fn decode(event: &RecordedEvent) -> Result<Event, BoxError> {
        Event::decode(event)
    }
}

#[cfg(test)]
mod tests;
