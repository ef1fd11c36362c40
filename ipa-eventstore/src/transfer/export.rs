//! A store's events, written as lines.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::error::ExportError;
use super::format::{EndLine, EventLine, FORMAT, FORMAT_VERSION, Header, Line, SnapshotLine, StreamLine};
use crate::rules::PAGE;
use crate::{
    EventStore, ListStreams, Position, Progress, ReadAll, ReadStream, RecordedEvent, Snapshot, StoreError,
    StreamId, StreamType,
};

/// Writes a store, or some of its streams, as [lines](super).
///
/// The events are those up to the store's last position when the export begins, whatever is
/// appended meanwhile.
#[must_use = "nothing is exported until `run` is called"]
pub struct Export<'a> {
    store: &'a dyn EventStore,
    streams: Vec<StreamId>,
    stream_type: Option<StreamType>,
}

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Exported {
    /// How many streams.
    pub streams: u64,
    /// How many events.
    pub events: u64,
    /// How many snapshots. One of a version that is not exported any more is left out.
    pub snapshots: u64,
    /// How many streams were deleted while they were exported: of those there may be the first events
    /// only.
    pub deleted_meanwhile: u64,
}

/// A stream that is to be exported.
struct Stream {
    stream_type: StreamType,
    created_at: SystemTime,
    /// When it was listed.
    version: u64,
    /// The last version that was written; `None` if its line was not yet.
    written: Option<u64>,
}

impl<'a> Export<'a> {
    /// Of every stream of the store.
    pub fn new(store: &'a dyn EventStore) -> Self {
        Self { store, streams: Vec::new(), stream_type: None }
    }

    /// Only of this stream, and of others that are named so.
    pub fn stream(mut self, stream: StreamId) -> Self {
        self.streams.push(stream);
        self
    }

    /// Only of streams of this type.
    pub fn stream_type(mut self, stream_type: StreamType) -> Self {
        self.stream_type = Some(stream_type);
        self
    }

    /// Writes; tells `progress` how many events are written. What is written must be buffered by the
    /// caller, and is flushed at the end.
    ///
    /// # Errors
    ///
    /// [`StreamNotFound`](StoreError::StreamNotFound) for a stream that is named and does not exist, whatever reading the store gives
    /// (an event that is missing is [`Damaged`](StoreError::Damaged)), and what writing gives.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed in the store; what was written is cut short, without the last line.
    pub async fn run(
        self,
        mut out: impl Write,
        mut progress: impl FnMut(Progress),
    ) -> Result<Exported, ExportError> {
        // The order matters: a stream that has events up to this position is in the list, or is deleted.
        let last = self.store.read_all(ReadAll::new().backward().max_count(1)).await?;
        let last = last.last().map(|event| event.position);
        for stream in &self.streams {
            self.store.stream_info(stream).await?;
        }
        let (mut streams, total) = self.list().await?;

        line(&mut out, &Header { format: FORMAT.into(), version: FORMAT_VERSION })?;
        let mut end = EndLine::default();
        let mut after = Position::START;
        let types = self.stream_type.clone();
        while last.is_some_and(|last| after < last) {
            let mut read = ReadAll::new().after(after).max_count(PAGE);
            read.stream_types = types.clone().map(|kind| vec![kind]);
            let page = self.store.read_all(read).await?;
            let Some(newest) = page.last() else { break };
            after = newest.position;
            for event in page.into_iter().filter(|event| last.is_some_and(|last| event.position <= last)) {
                let due = streams.get(&event.stream).map(|stream| stream.written.unwrap_or(0) + 1);
                if let Some(due) = due.filter(|due| *due != event.version) {
                    return Err(self.missing(&event.stream, due).await.into());
                }
                write_event(&mut out, &mut streams, event, &mut end)?;
            }
            progress(Progress::new("events", end.events, total));
        }
        for (id, stream) in &streams {
            self.look_behind(id, stream, last).await?;
        }
        for (id, stream) in streams.iter_mut().filter(|(_, stream)| stream.written.is_none()) {
            write_stream(&mut out, id, stream, &mut end)?;
        }
        let mut deleted_meanwhile = 0;
        let (now, _) = self.list().await?;
        for (id, stream) in streams {
            // Or deleted and created again.
            if now.get(&id).is_none_or(|now| now.created_at != stream.created_at) {
                deleted_meanwhile += 1;
                continue;
            }
            match self.snapshot(&id, &stream).await {
                Ok(Some(snapshot)) => {
                    line(&mut out, &Line::Snapshot(SnapshotLine::new(id, snapshot)))?;
                    end.snapshots += 1;
                }
                Ok(None) => {}
                Err(StoreError::StreamNotFound { .. }) => deleted_meanwhile += 1,
                Err(error) => return Err(error.into()),
            }
        }
        line(&mut out, &Line::End(end))?;
        out.flush()?;
        let EndLine { streams, events, snapshots } = end;
        Ok(Exported { streams, events, snapshots, deleted_meanwhile })
    }

    /// Why an event of a stream was not among those of the whole store where it is due: as the stream itself says, or else in our words.
    async fn missing(&self, id: &StreamId, version: u64) -> StoreError {
        let read = ReadStream::new().after(version - 1).max_count(1);
        match self.store.read_stream(id, read).await {
            Err(error) if !matches!(error, StoreError::StreamNotFound { .. }) => error,
            Ok(_) | Err(_) => {
                let text = format!("event {version} is not where it is due in the order of positions");
                let source = Arc::new(std::io::Error::other(text));
                let path = PathBuf::from("the event store");
                StoreError::Damaged { path, stream: Some(id.clone()), version: Some(version), source }
            }
        }
    }

    /// Looks whether the events that the stream had when it was listed, and that were not exported, came after `last`.
    async fn look_behind(
        &self,
        id: &StreamId,
        stream: &Stream,
        last: Option<Position>,
    ) -> Result<(), StoreError> {
        let written = stream.written.unwrap_or(0);
        if written >= stream.version {
            return Ok(());
        }
        match self.store.read_stream(id, ReadStream::new().after(written).max_count(1)).await {
            Ok(next) if next.iter().any(|event| Some(event.position) <= last) => {
                Err(self.missing(id, written + 1).await)
            }
            // Deleted meanwhile.
            Ok(_) | Err(StoreError::StreamNotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The stream's snapshot, if it is of what was exported.
    async fn snapshot(&self, id: &StreamId, stream: &Stream) -> Result<Option<Snapshot>, StoreError> {
        let snapshot = self.store.load_snapshot(id).await?;
        let Some(snapshot) = snapshot.filter(|snapshot| Some(snapshot.version) <= stream.written) else {
            return Ok(None);
        };
        // Another stream has taken the name meanwhile.
        if self.store.stream_info(id).await?.created_at != stream.created_at {
            return Err(StoreError::not_found(id));
        }
        Ok(Some(snapshot))
    }

    /// The streams that are asked for, and how many events they have together.
    async fn list(&self) -> Result<(BTreeMap<StreamId, Stream>, u64), StoreError> {
        let named: HashSet<&StreamId> = self.streams.iter().collect();
        let mut streams = BTreeMap::new();
        let mut total = 0;
        let mut list = ListStreams::new().max_count(PAGE);
        list.stream_type = self.stream_type.clone();
        loop {
            let page = self.store.list_streams(list.clone()).await?;
            let Some(last) = page.last() else {
                return Ok((streams, total));
            };
            list = list.after(last.id.clone());
            for info in page.into_iter().filter(|info| named.is_empty() || named.contains(&info.id)) {
                total += info.version;
                let (stream_type, created_at, version) = (info.stream_type, info.created_at, info.version);
                streams.insert(info.id, Stream { stream_type, created_at, version, written: None });
            }
        }
    }
}

fn write_event(
    out: &mut impl Write,
    streams: &mut BTreeMap<StreamId, Stream>,
    event: RecordedEvent,
    end: &mut EndLine,
) -> Result<(), ExportError> {
    let Some(stream) = streams.get_mut(&event.stream) else {
        return Ok(());
    };
    if stream.written.is_none() {
        write_stream(out, &event.stream, stream, end)?;
    }
    stream.written = Some(event.version);
    line(out, &Line::Event(EventLine::from(event)))?;
    end.events += 1;
    Ok(())
}

fn write_stream(
    out: &mut impl Write,
    id: &StreamId,
    stream: &mut Stream,
    end: &mut EndLine,
) -> Result<(), ExportError> {
    stream.written = Some(0);
    end.streams += 1;
    line(out, &Line::Stream(StreamLine::new(id.clone(), stream.stream_type.clone(), stream.created_at)))
}

fn line(out: &mut impl Write, line: &impl Serialize) -> Result<(), ExportError> {
    // serde_json's error holds the writer's; nothing that is written here has no JSON form.
    serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}
