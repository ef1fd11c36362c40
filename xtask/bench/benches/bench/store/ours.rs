//! The stack's own store, as its defaults are.

use std::path::Path;

use ipa_eventstore::{
    EventStore, Expected, Json, NewEvent, ReadStream, SqliteEventStore, StreamId, StreamType,
};

use super::{DATA, Store};
use crate::tool::name;

#[derive(Clone)]
pub struct Ours {
    store: SqliteEventStore,
    data: Json,
}

fn stream(n: usize) -> StreamId {
    StreamId::new(name(n)).expect("a name")
}

impl Store for Ours {
    async fn open(directory: &Path) -> Self {
        let store = SqliteEventStore::open(directory.join("ours.db")).await.expect("the store opens");
        Self { store, data: Json::parse(DATA).expect("it is JSON") }
    }

    async fn create(&self, n: usize) {
        let kind = StreamType::new("task").expect("a name");
        self.store.start_stream(&kind, Some(stream(n)), vec![]).await.expect("the stream is new");
    }

    async fn append(&self, n: usize, events: usize) {
        let event = || NewEvent::new("stepped", self.data.clone()).expect("a type");
        let events = (0..events).map(|_| event()).collect();
        self.store.append(&stream(n), Expected::Any, events).await.expect("the events are stored");
    }

    async fn read(&self, n: usize) -> usize {
        self.store.read_stream(&stream(n), ReadStream::new()).await.expect("the stream is read").len()
    }

    async fn exists(&self, n: usize) -> bool {
        self.store.stream_exists(&stream(n)).await.expect("the store answers")
    }

    async fn close(self) {
        self.store.close().await.expect("the store closes");
    }
}
