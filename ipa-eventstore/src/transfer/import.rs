//! Lines, appended to a store.
//!
//! The one trick: every version of the file is looked up in the store before it is appended, so that
//! what is there already is skipped, event by event, and an import that was interrupted can be run
//! again. The store is taken to have no other writer meanwhile; if it has, an append is refused and
//! nothing is lost.

use std::collections::{HashMap, HashSet};
use std::io::BufRead;

use serde::Serialize;

use super::error::ImportError;
use super::format::{EventLine, Line, SnapshotLine, StreamLine};
use super::lines::Lines;
use crate::{EventId, EventStore, Expected, NewEvent, ReadStream, StoreError, StreamId, StreamType};

/// How many events are appended at once.
const GROUP_EVENTS: usize = 1000;

/// From how many bytes on no further event is appended with them.
const GROUP_BYTES: usize = 16 << 20;

/// Appends the [lines](super) of an export to a store.
///
/// Streams are created where there are none of their name, with their first events. Events whose id is
/// stored already at their place are skipped and counted, so importing a file twice changes nothing, and
/// an import that was interrupted is finished by running it again. Everything else that does not
/// agree is an error that names the line. Consecutive events of one stream are one append, of 1000 events at
/// most: whole or absent.
///
/// Imported events get new positions and times, from the store, in the order of the file.
#[must_use = "nothing is imported until `run` is called"]
pub struct Import<'a> {
    store: &'a dyn EventStore,
    dry_run: bool,
    done: Imported,
    streams: HashMap<StreamId, Target>,
    group: Option<Group>,
    /// In a dry run: the events that would be in the store by now.
    would_be: HashSet<EventId>,
}

/// What was imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Imported {
    /// How many streams were created.
    pub streams: u64,
    /// How many events were appended.
    pub events: u64,
    /// How many snapshots were saved.
    pub snapshots: u64,
    /// How many streams were there already.
    pub streams_skipped: u64,
    /// How many events were there already.
    pub events_skipped: u64,
    /// How many snapshots were not newer than what was there.
    pub snapshots_skipped: u64,
}

/// A stream of the file, as it stands in the store.
struct Target {
    exists: bool,
    version: u64,
    /// As the file has it, with the line; `None` before that.
    declared: Option<(u64, StreamType)>,
}

/// Events of one stream, one after the other.
struct Group {
    stream: StreamId,
    /// The version of the first.
    first: u64,
    events: Vec<NewEvent>,
    lines: Vec<u64>,
    bytes: usize,
}

impl Group {
    fn line(&self, index: usize) -> u64 {
        self.lines.get(index).copied().unwrap_or_default()
    }
}

const ANOTHER_HISTORY: &str = "the two are different histories: import into another store";
const TWICE: &str = "an id can be in a store once: import into another store";

impl<'a> Import<'a> {
    /// Into this store.
    pub fn new(store: &'a dyn EventStore) -> Self {
        Self {
            store,
            dry_run: false,
            done: Imported::default(),
            streams: HashMap::new(),
            group: None,
            would_be: HashSet::new(),
        }
    }

    /// Only reads: everything is checked and counted as it would be imported. What is not seen is an
    /// event whose id the store has in another stream.
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// What was imported until now: also after an error, and after a [`run`](Self::run) that was dropped.
    pub fn done(&self) -> Imported {
        self.done
    }

    /// Imports up to the end of the input, which is read between the appends, blocking.
    ///
    /// # Errors
    ///
    /// [`ImportError`], which names the line. What came before it (but for the group it belongs to)
    /// is imported.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the import between two groups; the one that was being appended is stored
    /// or is not, and is not counted. To go on, run a new import of the whole input.
    pub async fn run(&mut self, mut lines: Lines<impl BufRead>) -> Result<(), ImportError> {
        while let Some((line, record)) = lines.next_line()? {
            match record {
                Line::Event(event) => self.event(line, event).await?,
                Line::Stream(stream) => {
                    self.append_group().await?;
                    self.stream(line, stream).await?;
                }
                Line::Snapshot(snapshot) => {
                    self.append_group().await?;
                    self.snapshot(line, snapshot).await?;
                }
                Line::End(_) => {
                    self.append_group().await?;
                    self.create_empty_streams().await?;
                }
            }
        }
        Ok(())
    }

    async fn stream(&mut self, line: u64, stream: StreamLine) -> Result<(), ImportError> {
        let target = self.target(line, &stream.name).await?;
        if let Some((before, _)) = &target.declared {
            let problem = format!("stream {} is in line {before} already", stream.name);
            return Err(conflict(line, problem, "remove one of the two lines"));
        }
        let exists = target.exists;
        target.declared = Some((line, stream.stream_type.clone()));
        if exists {
            let stored = self.store.stream_info(&stream.name).await.map_err(at(line))?.stream_type;
            if stored != stream.stream_type {
                let problem = format!(
                    "stream {} is of type {} here, of type {stored} in the store",
                    stream.name, stream.stream_type
                );
                return Err(conflict(line, problem, ANOTHER_HISTORY));
            }
            self.done.streams_skipped += 1;
        }
        Ok(())
    }

    /// Adds an event to the group, which is appended before if the event does not belong to it.
    async fn event(&mut self, line: u64, event: EventLine) -> Result<(), ImportError> {
        let goes_on = self.group.as_ref().is_some_and(|group| {
            group.stream == event.stream
                && group.first.checked_add(group.events.len() as u64) == Some(event.version)
                && group.events.len() < GROUP_EVENTS
                && group.bytes < GROUP_BYTES
        });
        if !goes_on {
            self.append_group().await?;
        }
        let group = self.group.get_or_insert_with(|| Group {
            stream: event.stream,
            first: event.version,
            events: Vec::new(),
            lines: Vec::new(),
            bytes: 0,
        });
        if let Some(index) = group.events.iter().position(|before| before.id == event.event.id) {
            let problem = format!("event id {} is in line {} already", event.event.id, group.line(index));
            return Err(conflict(line, problem, TWICE));
        }
        group.bytes += event.event.data.get().len();
        group.events.push(event.event);
        group.lines.push(line);
        Ok(())
    }

    async fn append_group(&mut self) -> Result<(), ImportError> {
        let Some(mut group) = self.group.take() else {
            return Ok(());
        };
        let line = group.line(0);
        let target = self.target(line, &group.stream).await?;
        let (exists, version) = (target.exists, target.version);
        let declared = target.declared.as_ref().map(|(_, stream_type)| stream_type.clone());
        if group.first > version + 1 {
            let problem = format!(
                "version {} of stream {}, which is at {version}: what is between them is missing",
                group.first, group.stream
            );
            return Err(conflict(line, problem, "import what comes before it first"));
        }
        self.skip_stored(&mut group, version).await?;
        if group.events.is_empty() {
            return Ok(());
        }
        let expected = match (exists, declared) {
            (true, _) => Expected::Exact(version),
            (false, Some(stream_type)) => Expected::NoStream(stream_type),
            (false, None) => {
                let problem = format!("stream {} is neither in the store nor in a line before", group.stream);
                return Err(conflict(line, problem, "add the stream's line, or import into its store"));
            }
        };
        let count = group.events.len() as u64;
        self.append(group, expected, version + count).await?;
        self.done.streams += u64::from(!exists);
        self.done.events += count;
        Ok(())
    }

    /// Takes off the group what the store has, at the same versions.
    async fn skip_stored(&mut self, group: &mut Group, version: u64) -> Result<(), ImportError> {
        let overlap =
            usize::try_from(version + 1 - group.first).unwrap_or(usize::MAX).min(group.events.len());
        if overlap == 0 {
            return Ok(());
        }
        let read = ReadStream::new().after(group.first - 1).max_count(overlap);
        let stored = match self.store.read_stream(&group.stream, read).await {
            Ok(stored) => stored,
            // In a dry run it would be there by now.
            Err(StoreError::StreamNotFound { .. }) if self.dry_run => Vec::new(),
            Err(error) => return Err(at(group.line(0))(error)),
        };
        for (index, event) in group.events.iter().take(overlap).enumerate() {
            let version = group.first + index as u64;
            let same = match stored.get(index) {
                Some(stored) => stored.id == event.id,
                None => self.would_be.contains(&event.id),
            };
            if !same {
                let problem = format!(
                    "version {version} of stream {} is event {} here, another one in the store",
                    group.stream, event.id
                );
                return Err(conflict(group.line(index), problem, ANOTHER_HISTORY));
            }
        }
        group.events.drain(..overlap);
        group.lines.drain(..overlap);
        group.first += overlap as u64;
        self.done.events_skipped += overlap as u64;
        Ok(())
    }

    async fn append(&mut self, group: Group, expected: Expected, version: u64) -> Result<(), ImportError> {
        let line_of = |id: EventId| {
            let index = group.events.iter().position(|event| event.id == id);
            group.line(index.unwrap_or(0))
        };
        if self.dry_run {
            for event in &group.events {
                if !self.would_be.insert(event.id) {
                    let problem = format!("event id {} is in a line before already", event.id);
                    return Err(conflict(line_of(event.id), problem, TWICE));
                }
            }
        } else {
            match self.store.append(&group.stream, expected, group.events.clone()).await {
                Ok(appended) if appended.version == version => {}
                Ok(appended) => {
                    let problem = format!(
                        "events of stream {} are stored already, up to version {}",
                        group.stream, appended.version
                    );
                    return Err(conflict(group.line(0), problem, ANOTHER_HISTORY));
                }
                Err(StoreError::PartialDuplicate { id, stored_in, version, .. }) => {
                    let problem = format!(
                        "event id {id} is stored already, as version {version} of stream {stored_in}"
                    );
                    return Err(conflict(line_of(id), problem, TWICE));
                }
                Err(error) => return Err(at(group.line(0))(error)),
            }
        }
        if let Some(target) = self.streams.get_mut(&group.stream) {
            (target.exists, target.version) = (true, version);
        }
        Ok(())
    }

    async fn snapshot(&mut self, line: u64, record: SnapshotLine) -> Result<(), ImportError> {
        let SnapshotLine { stream, snapshot } = record;
        let target = self.target(line, &stream).await?;
        if !target.exists && target.declared.is_none() {
            let problem = format!("stream {stream} is neither in the store nor in a line before");
            return Err(conflict(line, problem, "add the stream's line, or import into its store"));
        }
        if snapshot.version > target.version {
            let problem = format!(
                "the snapshot is of version {}, but stream {stream} is at {}",
                snapshot.version, target.version
            );
            return Err(conflict(line, problem, "import the stream's events first"));
        }
        if !target.exists {
            self.create(line, &stream).await?;
        }
        let stored = match self.store.load_snapshot(&stream).await {
            Ok(stored) => stored,
            Err(StoreError::StreamNotFound { .. }) if self.dry_run => None,
            Err(error) => return Err(at(line)(error)),
        };
        if stored.is_some_and(|stored| stored.version >= snapshot.version) {
            self.done.snapshots_skipped += 1;
            return Ok(());
        }
        if !self.dry_run {
            self.store.save_snapshot(&stream, snapshot).await.map_err(at(line))?;
        }
        self.done.snapshots += 1;
        Ok(())
    }

    /// The streams of the file that no event has created, in its order.
    async fn create_empty_streams(&mut self) -> Result<(), ImportError> {
        let declared = |(stream, target): (&StreamId, &Target)| match &target.declared {
            Some((line, _)) if !target.exists => Some((*line, stream.clone())),
            _ => None,
        };
        let mut empty: Vec<_> = self.streams.iter().filter_map(declared).collect();
        empty.sort();
        for (line, stream) in empty {
            self.create(line, &stream).await?;
        }
        Ok(())
    }

    /// Creates a stream that is declared and does not exist, without events.
    async fn create(&mut self, line: u64, stream: &StreamId) -> Result<(), ImportError> {
        let Some(target) = self.streams.get_mut(stream) else {
            return Ok(());
        };
        if let Some((_, stream_type)) = &target.declared
            && !self.dry_run
        {
            let expected = Expected::NoStream(stream_type.clone());
            self.store.append(stream, expected, Vec::new()).await.map_err(at(line))?;
        }
        target.exists = true;
        self.done.streams += 1;
        Ok(())
    }

    /// How a stream stands in the store: asked once.
    async fn target(&mut self, line: u64, stream: &StreamId) -> Result<&mut Target, ImportError> {
        if !self.streams.contains_key(stream) {
            let (exists, version) = match self.store.stream_info(stream).await {
                Ok(info) => (true, info.version),
                Err(StoreError::StreamNotFound { .. }) => (false, 0),
                Err(error) => return Err(at(line)(error)),
            };
            self.streams.insert(stream.clone(), Target { exists, version, declared: None });
        }
        let unknown = || Target { exists: false, version: 0, declared: None };
        Ok(self.streams.entry(stream.clone()).or_insert_with(unknown))
    }
}

fn conflict(line: u64, problem: String, remedy: &'static str) -> ImportError {
    ImportError::Conflict { line, problem, remedy }
}

fn at(line: u64) -> impl FnOnce(StoreError) -> ImportError {
    move |source| ImportError::Store { line, source }
}
