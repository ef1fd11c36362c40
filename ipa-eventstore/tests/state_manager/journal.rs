//! An aggregate that shows what was done to it: every event says which command it is of, and on which state that was
//! decided.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use ipa_eventstore::{Aggregate, EventId, Json, NewEvent, Position, RecordedEvent, StreamId, Versioned};
use ipa_supervisor::BoxError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How many events there are, and a hash over all of them in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    pub events: u64,
    pub hash: u64,
}

#[derive(Clone, Copy, Debug)]
pub enum Command {
    Write {
        id: u64,
        events: u64,
        /// Its events have ids of its own, so that it can be given again.
        repeatable: bool,
    },
    Crash,
}

/// An event: one of those of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Which command; 0 is somebody who does not ask the state manager.
    pub command: u64,
    pub part: u64,
    pub of: u64,
    /// The hash of the state that the command was decided on.
    pub seen: u64,
    #[serde(skip)]
    repeatable: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("never")]
pub struct Never;

impl Entry {
    pub fn foreign(part: u64, of: u64) -> Self {
        Self { command: 0, part, of, seen: 0, repeatable: false }
    }
    pub fn stored(&self) -> NewEvent {
        let event = NewEvent::json("entry", self).unwrap();
        if !self.repeatable {
            return event;
        }
        event.id(EventId::from_uuid(Uuid::from_u128(u128::from(self.command) << 64 | u128::from(self.part))))
    }
}

impl Aggregate for Journal {
    type Command = Command;
    type Event = Entry;
    type Rejection = Never;
    const SNAPSHOT_SCHEMA: Option<u32> = Some(1);

    fn initial(_stream: &StreamId) -> Self {
        Self::default()
    }
    fn decide(&self, command: &Command) -> Result<Vec<Entry>, Never> {
        match *command {
            Command::Write { id, events, repeatable } => Ok((0..events)
                .map(|part| Entry { command: id, part, of: events, seen: self.hash, repeatable })
                .collect()),
            Command::Crash => panic!("as asked"),
        }
    }
    fn apply(&mut self, entry: &Entry) {
        let mut hasher = DefaultHasher::new();
        (self.hash, entry.command, entry.part, entry.seen).hash(&mut hasher);
        *self = Self { events: self.events + 1, hash: hasher.finish() };
    }
    fn encode(entry: &Entry) -> Result<NewEvent, BoxError> {
        Ok(entry.stored())
    }
    fn decode(recorded: &RecordedEvent) -> Result<Entry, BoxError> {
        Ok(recorded.data()?)
    }
    fn to_snapshot(&self) -> Result<Json, BoxError> {
        Ok(Json::of(self)?)
    }
    fn from_snapshot(_stream: &StreamId, state: &Json) -> Result<Self, BoxError> {
        Ok(state.decode()?)
    }
}

/// What a caller was told of its command in the end.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    Done { version: u64, events: u64 },
    Unknown,
}

/// A stream as it is stored, and what its prefixes amount to.
pub struct Truth {
    /// By version, from 0.
    prefixes: Vec<(Option<Position>, Journal)>,
    /// The commands in it: the versions before and after, and whether it was decided on what stands before it.
    pub commands: BTreeMap<u64, (u64, u64, bool)>,
}

impl Truth {
    /// Checks that the stream is made of whole commands, each there once.
    pub fn of(stored: &[RecordedEvent]) -> Self {
        let mut state = Journal::default();
        let mut prefixes = vec![(None, state)];
        let mut commands = BTreeMap::new();
        let mut due: Option<Entry> = None;
        for (event, version) in stored.iter().zip(1..) {
            let entry: Entry = event.data().unwrap();
            assert_eq!(event.version, version, "dense");
            match due {
                Some(due) => assert_eq!(entry, due, "a command is whole"),
                None => assert_eq!(entry.part, 0, "a command is whole"),
            }
            if entry.part == 0 && entry.command != 0 {
                let place = (version - 1, version - 1 + entry.of, entry.seen == state.hash);
                assert!(commands.insert(entry.command, place).is_none(), "{} is there twice", entry.command);
            }
            due = Some(Entry { part: entry.part + 1, ..entry }).filter(|due| due.part < due.of);
            state.apply(&entry);
            prefixes.push((Some(event.position), state));
        }
        assert_eq!(due, None, "a command is whole");
        Self { prefixes, commands }
    }

    pub fn state(&self) -> Journal {
        self.prefixes[self.prefixes.len() - 1].1
    }

    /// Whether what was seen is a prefix of the stream.
    pub fn is_prefix(&self, seen: &Versioned<Journal>) -> bool {
        let prefix = self.prefixes.get(seen.version as usize);
        prefix.is_some_and(|prefix| *prefix == (seen.position, seen.state))
    }

    /// Whether what was told is true of this stream.
    pub fn bears_out(&self, command: u64, told: Told) -> bool {
        match told {
            Told::Done { events: 0, version } => version < self.prefixes.len() as u64,
            Told::Done { version, events } => {
                self.commands.get(&command) == Some(&(version - events, version, true))
            }
            Told::Unknown => true,
        }
    }

    /// No command is in the stream that nobody gave.
    pub fn has_only(&self, given: &BTreeMap<u64, Told>) {
        let given: BTreeSet<_> = given.keys().collect();
        assert!(self.commands.keys().all(|command| given.contains(command)));
    }
}
