//! The work that is disturbed: several senders, each with streams of its own, doing random things to a store.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use fastrand::Rng;
use ipa_eventstore::{EventStore, Expected, SqliteEventStore, StoreError, StreamId, StreamType};
use tokio::task::JoinSet;

use crate::{
    door,
    history::{self, Note, Op, What},
    trouble::{Trouble, broken, tool, unexpected, whole},
};

/// How often an operation whose fate is unknown is sent again before it is left at that.
const RETRIES: u32 = 3;

/// Where notes go.
pub trait Notes: Send + Sync + 'static {
    /// Takes a note; when this returns it is safe from whatever happens to this process.
    ///
    /// # Errors
    ///
    /// When nobody takes notes any more.
    fn note(&self, note: &Note) -> io::Result<()>;
}

/// Notes that go into the shim's trace, among what was done to the files.
#[derive(Debug)]
pub struct Marks;

impl Notes for Marks {
    fn note(&self, note: &Note) -> io::Result<()> {
        door::mark(&serde_json::to_string(note)?)
    }
}

/// Notes that go to stdout, a line each, in one write each.
#[derive(Debug)]
pub struct Lines;

impl Notes for Lines {
    fn note(&self, note: &Note) -> io::Result<()> {
        let mut line = serde_json::to_vec(note)?;
        line.push(b'\n');
        io::stdout().lock().write_all(&line)
    }
}

/// Notes that stay in memory.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Vec<Note>>);

impl Memory {
    /// What was noted so far.
    pub fn notes(&self) -> Vec<Note> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Notes for Memory {
    fn note(&self, note: &Note) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(note.clone());
        Ok(())
    }
}

/// How a sent operation came out.
#[derive(Debug)]
pub enum Answer {
    /// It is done.
    Done,
    /// It is surely not done.
    NotDone(StoreError),
    /// Nobody knows.
    Unknown(StoreError),
}

impl Answer {
    /// Why it is not done for sure; nothing if it is done.
    pub fn error(self) -> Option<StoreError> {
        match self {
            Self::Done => None,
            Self::NotDone(error) | Self::Unknown(error) => Some(error),
        }
    }
}

/// Sends an operation once and notes what comes of it. Any answer but these three is a broken promise, since nothing that
/// is sent is wrong.
///
/// # Errors
///
/// When the store answers what it must not, or nobody takes notes.
pub async fn send(store: &SqliteEventStore, notes: &dyn Notes, op: &Op) -> Result<Answer, Trouble> {
    let taking = |note: Note| notes.note(&note).map_err(tool("taking a note"));
    let stream = StreamId::new(op.stream.clone()).map_err(unexpected("a stream's name"))?;
    let events = op.events().map_err(unexpected("an operation's events"))?;
    taking(Note::Sent(op.clone()))?;
    let answer = match op.what {
        What::Start { .. } => {
            let kind = StreamType::new("broken").map_err(unexpected("a stream's type"))?;
            store.append(&stream, Expected::NoStream(kind), events).await.map(Some)
        }
        What::Append { .. } => store.append(&stream, Expected::Exists, events).await.map(Some),
        What::Snapshot { version } => {
            let snapshot = history::snapshot(version).map_err(unexpected("a snapshot"))?;
            store.save_snapshot(&stream, snapshot).await.map(|()| None)
        }
        What::Delete => store.delete_stream(&stream).await.map(|()| None),
    };
    let id = op.id;
    match answer {
        Ok(appended) => {
            let version = appended.map_or(0, |appended| appended.version);
            let position = appended.and_then(|appended| appended.position);
            taking(Note::Done { op: id, version, position })?;
            Ok(Answer::Done)
        }
        Err(error @ StoreError::Indeterminate(_)) => {
            taking(Note::Unknown { op: id })?;
            Ok(Answer::Unknown(error))
        }
        Err(error @ (StoreError::Unavailable(_) | StoreError::Closed)) => {
            taking(Note::NotDone { op: id })?;
            Ok(Answer::NotDone(error))
        }
        Err(error) => broken(format!("{:?} of {} was answered: {}", op.what, op.stream, whole(&error))),
    }
}

/// Sends an operation again whose fate is unknown, until it is known.
///
/// # Errors
///
/// As [`send`].
pub async fn settle(
    store: &SqliteEventStore,
    notes: &dyn Notes,
    op: &Op,
    retries: u32,
) -> Result<Answer, Trouble> {
    let mut first = None;
    for _ in 0..retries {
        let answer = match (send(store, notes, op).await, op.what) {
            // The first time it was done, then.
            (Err(Trouble::Broken(_)), What::Delete) if is_gone(store, op).await => {
                notes.note(&Note::Done { op: op.id, version: 0, position: None }).map_err(tool("a note"))?;
                Answer::Done
            }
            (answer, _) => answer?,
        };
        match answer {
            Answer::Done => return Ok(Answer::Done),
            Answer::NotDone(error) | Answer::Unknown(error) => first = first.or(Some(error)),
        }
    }
    // Not done this time says nothing about the first time.
    notes.note(&Note::Unknown { op: op.id }).map_err(tool("taking a note"))?;
    Ok(Answer::Unknown(first.unwrap_or(StoreError::Closed)))
}

async fn is_gone(store: &SqliteEventStore, op: &Op) -> bool {
    match StreamId::new(op.stream.clone()) {
        Ok(stream) => matches!(store.stream_exists(&stream).await, Ok(false)),
        Err(_) => false,
    }
}

/// How much, and what.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What everything random follows from.
    pub seed: u64,
    /// How many senders.
    pub senders: u32,
    /// How many operations each; none is for ever.
    pub operations: Option<u32>,
    /// How many events an append has at most.
    pub batch: u32,
    /// The first number of an operation. No two may have the same in one store.
    pub first: u64,
}

/// Does the work; ends when it is done, or when the store or whoever takes the notes is gone.
///
/// # Errors
///
/// When the store breaks a promise by its answers.
pub async fn run(store: &SqliteEventStore, notes: Arc<dyn Notes>, plan: &Plan) -> Result<(), Trouble> {
    let mut senders = JoinSet::new();
    for number in 0..plan.senders {
        let sender = Sender {
            store: store.clone(),
            notes: notes.clone(),
            random: Rng::with_seed(plan.seed.wrapping_add(u64::from(number) << 32)),
            batch: plan.batch,
            next: plan.first + u64::from(number),
            step: u64::from(plan.senders),
            streams: (0..2).map(|n| format!("s{number}-{n}")).collect(),
        };
        let operations = plan.operations;
        senders.spawn(async move { sender.run(operations).await });
    }
    let mut outcome = Ok(());
    while let Some(ended) = senders.join_next().await {
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => broken(format!("a sender panicked: {error}")),
        };
        outcome = outcome.and(ended);
    }
    outcome
}

struct Sender {
    store: SqliteEventStore,
    notes: Arc<dyn Notes>,
    random: Rng,
    batch: u32,
    next: u64,
    step: u64,
    streams: Vec<String>,
}

impl Sender {
    async fn run(mut self, operations: Option<u32>) -> Result<(), Trouble> {
        let mut left = operations;
        while left != Some(0) {
            left = left.map(|left| left - 1);
            let Some(op) = self.choose().await? else {
                return Ok(());
            };
            match send(&self.store, &*self.notes, &op).await? {
                Answer::Done => {}
                Answer::NotDone(StoreError::Closed) => return Ok(()),
                // Another one then; the store may be well again by that time.
                Answer::NotDone(_) => {}
                Answer::Unknown(_) => {
                    settle(&self.store, &*self.notes, &op, RETRIES).await?;
                }
            }
        }
        Ok(())
    }

    /// Something that is right for the stream as it stands; nothing when the store is closed.
    async fn choose(&mut self) -> Result<Option<Op>, Trouble> {
        let at = self.random.usize(..self.streams.len());
        let stream = self.streams[at].clone();
        let id = StreamId::new(stream.clone()).map_err(unexpected("a stream's name"))?;
        let version = match self.store.stream_info(&id).await {
            Ok(info) => Some(info.version),
            Err(StoreError::StreamNotFound { .. }) => None,
            Err(StoreError::Closed) => return Ok(None),
            Err(error) => return Err(unexpected("looking at a stream")(error)),
        };
        let id = self.next;
        self.next += self.step;
        let events = if self.random.u32(..4) == 0 { self.random.u32(1..=self.batch) } else { 1 };
        // Mostly small; now and then one that needs pages of its own.
        let size = match self.random.u32(..12) {
            0 => self.random.u32(4_000..12_000),
            1..4 => self.random.u32(200..1_500),
            _ => self.random.u32(0..200),
        };
        let what = match (version, self.random.u32(..100)) {
            (None, _) => What::Start { events, size },
            (Some(_), 0..6) => What::Delete,
            (Some(version), 6..20) => What::Snapshot { version },
            (Some(_), _) => What::Append { events, size },
        };
        Ok(Some(Op { id, stream, what }))
    }
}
