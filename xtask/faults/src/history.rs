//! What was asked of a store and what it answered, and whether what is found in it can be true.
//!
//! Apart from everything that breaks things: the judge knows no fault, only notes of what was sent and what was answered.
//! The trick: each stream has one sender that waits for each answer, so what may be stored of a stream is what a
//! beginning of its operations comes to, and the operations whose fate is unknown count both ways.

use std::collections::BTreeMap;

use ipa_eventstore::{EventId, NewEvent, Position, Snapshot, StoreError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::trouble::{Trouble, broken};

mod judge;

pub use judge::{Found, Promise};

/// Something to be done to a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Its number; the ids and the data of its events follow from it.
    pub id: u64,
    /// The stream.
    pub stream: String,
    /// What is to be done.
    pub what: What,
}

/// What is to be done to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Create it with so many first events (one at least), each of about so many bytes.
    Start { events: u32, size: u32 },
    /// Append so many events.
    Append { events: u32, size: u32 },
    /// Save the snapshot of this version.
    Snapshot { version: u64 },
    /// Delete it.
    Delete,
}

/// What a sender notes down: before it sends, and when it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The store is about to be opened.
    Opening,
    /// It is open.
    Opened,
    /// It is about to be closed.
    Closing,
    /// It is closed: all is in the file.
    Closed,
    /// An operation is about to be sent, perhaps once more.
    Sent(Op),
    /// It is done: the stream's version after it, and the position of its last event.
    Done { op: u64, version: u64, position: Option<Position> },
    /// It is surely not done.
    NotDone { op: u64 },
    /// Nobody knows.
    Unknown { op: u64 },
}

/// A stream as it is stored: its events in order, each as operation and number in it, and its snapshot's version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// The events.
    pub events: Vec<(u64, u32)>,
    /// The version of its snapshot.
    pub snapshot: Option<u64>,
}

/// All notes of a store.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// What was stored at the beginning.
    base: BTreeMap<String, Stored>,
    streams: BTreeMap<String, Vec<Step>>,
    /// Which stream an operation is of.
    places: BTreeMap<u64, String>,
    /// The moment up to which the store was closed properly.
    closed: usize,
}

#[derive(Debug, Clone)]
struct Step {
    op: Op,
    /// The moment at which it was sent first.
    sent: usize,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Done { at: usize, version: u64, position: Option<Position> },
    NotDone,
    Unknown,
}

/// What an event carries besides its id.
#[derive(Serialize, Deserialize)]
struct Data {
    op: u64,
    n: u32,
    pad: String,
}

impl Op {
    /// The events of a start or an append; none for all else.
    ///
    /// # Errors
    ///
    /// When the store refuses to build them: never.
    pub fn events(&self) -> Result<Vec<NewEvent>, StoreError> {
        let (count, size) = match self.what {
            What::Start { events, size } | What::Append { events, size } => (events, size),
            What::Snapshot { .. } | What::Delete => return Ok(Vec::new()),
        };
        let event = |n| {
            let data = Data { op: self.id, n, pad: pad(self.id, n, size) };
            Ok(NewEvent::json("noted", &data)?.id(event_id(self.id, n)))
        };
        (0..count).map(event).collect()
    }

    /// How many events it has.
    pub fn count(&self) -> u32 {
        match self.what {
            What::Start { events, .. } | What::Append { events, .. } => events,
            What::Snapshot { .. } | What::Delete => 0,
        }
    }

    /// What becomes of the stream.
    fn apply(&self, stored: Option<Stored>) -> Option<Stored> {
        let events = |stored: &mut Stored| stored.events.extend((0..self.count()).map(|n| (self.id, n)));
        match (self.what, stored) {
            (What::Start { .. }, None) => {
                let mut stored = Stored::default();
                events(&mut stored);
                Some(stored)
            }
            (What::Append { .. }, Some(mut stored)) => {
                events(&mut stored);
                Some(stored)
            }
            (What::Snapshot { version }, Some(mut stored)) => {
                let last = stored.events.len() as u64;
                if version <= last && stored.snapshot.is_none_or(|earlier| earlier <= version) {
                    stored.snapshot = Some(version);
                }
                Some(stored)
            }
            (What::Delete, _) => None,
            // Refused: it stands already, or is not there.
            (_, stored) => stored,
        }
    }
}

impl History {
    /// Of a store in which this stands.
    pub fn of(base: BTreeMap<String, Stored>) -> Self {
        Self { base, ..Self::default() }
    }

    /// Takes in a note that was made at this moment; moments rise.
    ///
    /// # Errors
    ///
    /// When an answer has no question.
    pub fn take(&mut self, at: usize, note: Note) -> Result<(), Trouble> {
        match note {
            Note::Opening | Note::Opened | Note::Closing => {}
            Note::Closed => self.closed = at,
            Note::Sent(op) => {
                let steps = self.streams.entry(op.stream.clone()).or_default();
                // Sent once more, it is in the open again.
                match steps.last_mut() {
                    Some(last) if last.op.id == op.id => last.end = None,
                    _ => {
                        self.places.insert(op.id, op.stream.clone());
                        steps.push(Step { op, sent: at, end: None });
                    }
                }
            }
            Note::Done { op, version, position } => self.end(op, End::Done { at, version, position })?,
            Note::NotDone { op } => self.end(op, End::NotDone)?,
            Note::Unknown { op } => self.end(op, End::Unknown)?,
        }
        Ok(())
    }

    /// The operations that were sent and have no answer, or one that says that nobody knows.
    pub fn open_ends(&self) -> impl Iterator<Item = &Op> {
        let is_open = |step: &&Step| matches!(step.end, None | Some(End::Unknown));
        self.streams.values().filter_map(|steps| steps.last()).filter(is_open).map(|step| &step.op)
    }

    /// Whether an operation was sent, but is not known to be done.
    pub fn is_to_do(&self, op: u64) -> bool {
        let mut steps =
            self.places.get(&op).and_then(|stream| self.streams.get(stream)).into_iter().flatten();
        steps.any(|step| step.op.id == op && !matches!(step.end, Some(End::Done { .. })))
    }

    /// How many events were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        let done = |step: &&Step| matches!(step.end, Some(End::Done { .. }));
        self.streams.values().flatten().filter(done).map(|step| u64::from(step.op.count())).sum()
    }

    fn end(&mut self, op: u64, end: End) -> Result<(), Trouble> {
        let step = self
            .places
            .get(&op)
            .and_then(|stream| self.streams.get_mut(stream))
            .and_then(|steps| steps.last_mut())
            .filter(|step| step.op.id == op);
        match step {
            Some(step) => step.end = Some(end),
            None => return broken(format!("an answer to operation {op}, which was not sent last")),
        }
        Ok(())
    }
}

/// The id of an event: what it is of can be read in it.
fn event_id(op: u64, n: u32) -> EventId {
    EventId::from_uuid(Uuid::from_u128((u128::from(op) << 64) | u128::from(n)))
}

/// The snapshot of a version. Its state says of which.
///
/// # Errors
///
/// When the store refuses to build it: never.
pub fn snapshot(version: u64) -> Result<Snapshot, StoreError> {
    Snapshot::json(version, 1, &format!("state {version}"))
}

/// Letters that follow from the operation and the number, so that a page in the wrong place shows.
fn pad(op: u64, n: u32, size: u32) -> String {
    let letter = |at: u32| char::from(b'a' + ((op + u64::from(n) * 7 + u64::from(at / 64)) % 26) as u8);
    (0..size).map(letter).collect()
}
