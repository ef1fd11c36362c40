//! The spans around a store's calls, as a subscriber sees them.

use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ipa_eventstore::{EventStore, Expected, ReadStream, Snapshot};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::{Place, shared};
use crate::conformance::{events, stream};

/// Writes down the spans of this crate.
#[derive(Clone, Default)]
struct Spans {
    ids: Arc<AtomicU64>,
    seen: Arc<Mutex<Vec<String>>>,
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("ipa_eventstore")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = Fields(span.metadata().name().to_owned());
        span.record(&mut text);
        self.seen.lock().unwrap().push(text.0);
        Id::from_u64(self.ids.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Each call has a span that says what it is about.
#[tokio::test]
async fn calls_have_spans() {
    let place = Place::new();
    let store = place.open().await;
    let a = stream(&shared(&store), "a", 2).await;
    let spans = Spans::default();
    // While there is but one subscriber, tracing asks the thread that first comes by a span for its own, and another test's has none.
    let _second = tracing::Dispatch::new(Spans::default());
    let guard = tracing::subscriber::set_default(spans.clone());
    store.append(&a, Expected::Exact(2), events(3)).await.unwrap();
    store.save_snapshot(&a, Snapshot::json(4, 1, &()).unwrap()).await.unwrap();
    store.read_stream(&a, ReadStream::new()).await.unwrap();
    store.delete_stream(&a).await.unwrap();
    drop(guard);
    let seen = spans.seen.lock().unwrap().clone();
    let [append, snapshot, read, delete] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(append, "append stream=a expected=Exact(2) events=3");
    assert_eq!(snapshot, "save_snapshot stream=a version=4");
    assert!(read.starts_with("read path=") && read.ends_with("events.db"), "{read}");
    assert_eq!(delete, "delete_stream stream=a");
    store.close().await.unwrap();
}
