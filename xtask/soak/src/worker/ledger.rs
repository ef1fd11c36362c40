//! The aggregate of each task: it counts commands, and its state shows whether any was lost, doubled or torn.
//!
//! A command has a number, one more than that of the command before, and one to three events, its parts. Each event carries the number,
//! the part, and a hash that depends on all events before it. So a replay tells whether the stream is what was acknowledged.

use ipa_eventstore::{Aggregate, EventId, Json, NewEvent, RecordedEvent, StreamId};
use ipa_supervisor::BoxError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::random::mix;

/// What a stream amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Which of the streams of this name, that were deleted and made anew, it is; 0 before it is known.
    pub generation: u64,
    /// The last command.
    pub seq: u64,
    /// How many of its parts there are, and are to be.
    pub part: u8,
    pub parts: u8,
    /// Of all events.
    pub chain: u64,
    /// The first event that did not follow from the state before it.
    pub broken: Option<String>,
}

/// What is asked of it.
pub enum Command {
    /// The command of this number. One that was executed before is not executed again.
    Add { task: usize, seq: u64, parts: u8 },
    /// A panic where it is decided.
    Panic,
}

/// What happened to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    Created { generation: u64 },
    Added { task: usize, generation: u64, seq: u64, part: u8, parts: u8, chain: u64 },
}

/// A command that comes before the one that it follows: one that was acknowledged is not there.
#[derive(Debug, thiserror::Error)]
#[error("command {asked} was asked for, and the last in the state is {last}")]
pub struct Missing {
    asked: u64,
    last: u64,
}

fn link(chain: u64, seq: u64, part: u8) -> u64 {
    mix(chain ^ mix(seq) ^ u64::from(part))
}

impl Ledger {
    /// Whether all parts of the last command are there.
    pub fn is_whole(&self) -> bool {
        self.part == self.parts
    }

    fn take_in(&mut self, event: &Event) -> Result<(), String> {
        match *event {
            Event::Created { generation } if self.generation == 0 => self.generation = generation,
            Event::Created { .. } => return Err("it is created twice".into()),
            Event::Added { generation, seq, part, parts, chain, .. } => {
                if (self.generation, seq, part) != (generation, self.seq, self.part + 1)
                    && (self.generation, seq, part, self.part) != (generation, self.seq + 1, 1, self.parts)
                {
                    return Err(format!(
                        "part {part} of command {seq} (generation {generation}) follows part {} of {} of command {} (generation {})",
                        self.part, self.parts, self.seq, self.generation
                    ));
                }
                if link(self.chain, seq, part) != chain {
                    return Err(format!("the hash of command {seq} does not follow"));
                }
                (self.seq, self.part, self.parts, self.chain) = (seq, part, parts, chain);
            }
        }
        Ok(())
    }
}

impl Aggregate for Ledger {
    type Command = Command;
    type Event = Event;
    type Rejection = Missing;
    const SNAPSHOT_SCHEMA: Option<u32> = Some(1);

    fn initial(_stream: &StreamId) -> Self {
        Self::default()
    }

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Missing> {
        let &Command::Add { task, seq, parts } = command else { panic!("{}: a command", super::AS_ORDERED) };
        if seq <= self.seq {
            return Ok(Vec::new());
        }
        if seq != self.seq + 1 {
            return Err(Missing { asked: seq, last: self.seq });
        }
        let mut chain = self.chain;
        Ok((1..=parts)
            .map(|part| {
                chain = link(chain, seq, part);
                Event::Added { task, generation: self.generation, seq, part, parts, chain }
            })
            .collect())
    }

    fn apply(&mut self, event: &Event) {
        if self.broken.is_none() {
            self.broken = self.take_in(event).err();
        }
    }

    fn encode(event: &Event) -> Result<NewEvent, BoxError> {
        Ok(match *event {
            Event::Created { .. } => NewEvent::json("created", event)?,
            // The same at each try, so that a second one is known for what it is.
            Event::Added { task, generation, seq, part, .. } => {
                NewEvent::json("added", event)?.id(EventId::from_uuid(Uuid::from_u64_pair(
                    generation << 24 | task as u64,
                    seq << 8 | u64::from(part),
                )))
            }
        })
    }

    fn decode(recorded: &RecordedEvent) -> Result<Event, BoxError> {
        Ok(recorded.data()?)
    }

    fn to_snapshot(&self) -> Result<Json, BoxError> {
        Ok(Json::of(self)?)
    }

    fn from_snapshot(_stream: &StreamId, state: &Json) -> Result<Self, BoxError> {
        Ok(state.decode()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(commands: u64) -> Vec<Event> {
        let mut ledger = Ledger::default();
        let mut events = vec![Event::Created { generation: 5 }];
        ledger.apply(&events[0]);
        for seq in 1..=commands {
            let added = ledger.decide(&Command::Add { task: 1, seq, parts: 2 }).unwrap();
            added.iter().for_each(|event| ledger.apply(event));
            events.extend(added);
        }
        events
    }

    fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Ledger {
        let mut ledger = Ledger::default();
        events.into_iter().for_each(|event| ledger.apply(event));
        ledger
    }

    #[test]
    fn a_stream_without_a_flaw_is_whole() {
        let ledger = replay(&events(4));
        assert_eq!((ledger.seq, ledger.is_whole(), ledger.broken), (4, true, None));
        assert!(replay(&events(4)[..8]).broken.is_none());
        assert!(!replay(&events(4)[..8]).is_whole());
    }

    #[test]
    fn an_event_that_is_lost_doubled_or_moved_is_seen() {
        let all = events(4);
        for at in 1..all.len() - 1 {
            let lost = all.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, event)| event);
            assert!(replay(lost).broken.is_some(), "without {at}");
            let mut doubled = all.clone();
            doubled.insert(at, all[at].clone());
            assert!(replay(&doubled).broken.is_some(), "{at} twice");
            let mut moved = all.clone();
            moved.swap(at, at + 1);
            assert!(replay(&moved).broken.is_some(), "{at} moved");
        }
    }

    #[test]
    fn a_command_is_executed_once_and_in_its_turn() {
        let ledger = replay(&events(4));
        assert!(ledger.decide(&Command::Add { task: 1, seq: 4, parts: 2 }).unwrap().is_empty());
        assert!(ledger.decide(&Command::Add { task: 1, seq: 6, parts: 2 }).is_err());
    }
}
