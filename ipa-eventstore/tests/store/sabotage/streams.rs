//! Faults in creating, deleting and listing.

use std::collections::HashMap;
use std::time::SystemTime;

use async_trait::async_trait;
use ipa_eventstore::testkit::fixtures::{event, id, kind};
use ipa_eventstore::{
    Appended, EventStore, Expected, ListStreams, NewEvent, ReadAll, ReadStream, RecordedEvent, Snapshot,
    StoreError, StreamId, StreamInfo, StreamType,
};
use parking_lot::Mutex;

use super::store::{Answer, Fault, Healthy};

/// A deleted stream's events are still read with all others.
#[derive(Default)]
pub struct DeletionLeavesEvents(Mutex<Vec<RecordedEvent>>);

#[async_trait]
impl Fault for DeletionLeavesEvents {
    async fn read_all(&self, store: &Healthy, read: ReadAll) -> Answer<Vec<RecordedEvent>> {
        let mut events = store.read_all(read).await?;
        events.extend(self.0.lock().iter().cloned());
        events.sort_by_key(|event| event.position);
        Ok(events)
    }

    async fn delete_stream(&self, store: &Healthy, stream: &StreamId) -> Answer<()> {
        let events = store.read_stream(stream, ReadStream::new()).await?;
        store.delete_stream(stream).await?;
        self.0.lock().extend(events);
        Ok(())
    }
}

/// A deleted stream's snapshot is there for the next one of its name.
#[derive(Default)]
pub struct DeletionLeavesTheSnapshot(Mutex<HashMap<StreamId, Snapshot>>);

#[async_trait]
impl Fault for DeletionLeavesTheSnapshot {
    async fn delete_stream(&self, store: &Healthy, stream: &StreamId) -> Answer<()> {
        let snapshot = store.load_snapshot(stream).await?;
        store.delete_stream(stream).await?;
        self.0.lock().extend(snapshot.map(|snapshot| (stream.clone(), snapshot)));
        Ok(())
    }

    async fn load_snapshot(&self, store: &Healthy, stream: &StreamId) -> Answer<Option<Snapshot>> {
        Ok(store.load_snapshot(stream).await?.or_else(|| self.0.lock().get(stream).cloned()))
    }
}

/// Deleting what is not there is fine.
#[derive(Default)]
pub struct DeletingNothingIsFine;

#[async_trait]
impl Fault for DeletingNothingIsFine {
    async fn delete_stream(&self, store: &Healthy, stream: &StreamId) -> Answer<()> {
        let _ = store.delete_stream(stream).await;
        Ok(())
    }
}

/// A deleted stream is still listed.
#[derive(Default)]
pub struct DeletedIsListed(Mutex<Vec<StreamInfo>>);

#[async_trait]
impl Fault for DeletedIsListed {
    async fn list_streams(&self, store: &Healthy, list: ListStreams) -> Answer<Vec<StreamInfo>> {
        let mut infos = store.list_streams(list).await?;
        infos.extend(self.0.lock().iter().cloned());
        Ok(infos)
    }

    async fn delete_stream(&self, store: &Healthy, stream: &StreamId) -> Answer<()> {
        let info = store.stream_info(stream).await?;
        store.delete_stream(stream).await?;
        self.0.lock().push(info);
        Ok(())
    }
}

/// The versions of a new stream go on where the deleted one of its name was.
#[derive(Default)]
pub struct VersionsGoOnAfterDeletion(Mutex<HashMap<StreamId, u64>>);

#[async_trait]
impl Fault for VersionsGoOnAfterDeletion {
    fn shown(&self, mut event: RecordedEvent) -> Option<RecordedEvent> {
        event.version += self.0.lock().get(&event.stream).copied().unwrap_or(0);
        Some(event)
    }

    async fn delete_stream(&self, store: &Healthy, stream: &StreamId) -> Answer<()> {
        let version = store.stream_version(stream).await?;
        store.delete_stream(stream).await?;
        *self.0.lock().entry(stream.clone()).or_default() += version;
        Ok(())
    }
}

/// A new stream was created when the deleted one of its name was.
#[derive(Default)]
pub struct CreationOutlivesDeletion(Mutex<HashMap<StreamId, SystemTime>>);

impl Fault for CreationOutlivesDeletion {
    fn info(&self, mut info: StreamInfo) -> StreamInfo {
        let mut known = self.0.lock();
        info.created_at = *known.entry(info.id.clone()).or_insert(info.created_at);
        info
    }
}

/// Streams that are listed otherwise.
macro_rules! listing {
    ($($(#[$doc:meta])* $fault:ident, |$asked:ident, $infos:ident| $ask:expr, $change:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Default)]
            pub struct $fault;

            #[async_trait]
            impl Fault for $fault {
                async fn list_streams(&self, store: &Healthy, $asked: ListStreams) -> Answer<Vec<StreamInfo>> {
                    let ask: fn(ListStreams) -> ListStreams = $ask;
                    let mut $infos = store.list_streams(ask($asked.clone())).await?;
                    $change;
                    Ok($infos)
                }
            }
        )*
    };
}

listing! {
    /// Names are ordered without regard to case.
    ListIgnoresCase, |_asked, infos| |list| list,
        infos.sort_by_key(|info| info.id.as_str().to_lowercase());
    /// Streams are counted first, then chosen by type.
    TypeAfterLimit, |asked, infos|
        |mut list| { list.stream_type = None; list },
        infos.retain(|info| asked.stream_type.as_ref().is_none_or(|kind| *kind == info.stream_type));
    /// No list has more than a thousand streams.
    ListIsCut, |_asked, infos| |list| list, infos.truncate(1000);
    /// A stream of the store's own is listed with the others.
    OwnStreamIsListed, |_asked, infos| |list| list,
        infos.push(StreamInfo::created(id("~"), kind("system"), SystemTime::now()));
}

/// `after` is inclusive.
#[derive(Default)]
pub struct ListAfterIsInclusive;

#[async_trait]
impl Fault for ListAfterIsInclusive {
    async fn list_streams(&self, store: &Healthy, list: ListStreams) -> Answer<Vec<StreamInfo>> {
        let after = list.after.clone();
        let mut infos = store.list_streams(list).await?;
        if let Some(after) = after
            && let Ok(info) = store.stream_info(&after).await
        {
            infos.insert(0, info);
        }
        Ok(infos)
    }
}

/// The next page of a list begins at an offset: as many as were listed before.
#[derive(Default)]
pub struct PagesByOffset(Mutex<usize>);

#[async_trait]
impl Fault for PagesByOffset {
    async fn list_streams(&self, store: &Healthy, list: ListStreams) -> Answer<Vec<StreamInfo>> {
        let (Some(_), Some(count)) = (&list.after, list.max_count) else {
            let infos = store.list_streams(list).await?;
            *self.0.lock() = infos.len();
            return Ok(infos);
        };
        let infos = store.list_streams(ListStreams::new()).await?;
        let mut given = self.0.lock();
        let page: Vec<_> = infos.into_iter().skip(*given).take(count).collect();
        *given += page.len();
        Ok(page)
    }
}

/// A refused start gives the stream its type.
#[derive(Default)]
pub struct RefusedStartRetypes(Mutex<HashMap<StreamId, StreamType>>);

#[async_trait]
impl Fault for RefusedStartRetypes {
    fn info(&self, mut info: StreamInfo) -> StreamInfo {
        if let Some(retyped) = self.0.lock().get(&info.id) {
            info.stream_type = retyped.clone();
        }
        info
    }

    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let appended = store.append(stream, expected.clone(), events).await;
        if let (Err(StoreError::AlreadyExists { .. }), Expected::NoStream(kind)) = (&appended, expected) {
            self.0.lock().insert(stream.clone(), kind);
        }
        appended
    }
}

/// A generated id is always the same.
#[derive(Default)]
pub struct OneIdForAll;

impl Fault for OneIdForAll {
    fn generate(&self) -> StreamId {
        id("00000000-0000-0000-0000-000000000000")
    }
}

/// The creation of a stream is an event.
#[derive(Default)]
pub struct CreationIsAnEvent;

#[async_trait]
impl Fault for CreationIsAnEvent {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        mut events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        if let (Expected::NoStream(_), true) = (&expected, events.is_empty()) {
            events.push(event("created"));
        }
        store.append(stream, expected, events).await
    }
}

/// A stream is said to exist when another one begins with its name.
#[derive(Default)]
pub struct PrefixIsEnough;

#[async_trait]
impl Fault for PrefixIsEnough {
    async fn stream_info(&self, store: &Healthy, stream: &StreamId) -> Answer<StreamInfo> {
        let all = store.list_streams(ListStreams::new()).await?;
        let found = all.into_iter().find(|info| stream.as_str().starts_with(info.id.as_str()));
        found.ok_or(StoreError::StreamNotFound { stream: stream.clone() })
    }
}
