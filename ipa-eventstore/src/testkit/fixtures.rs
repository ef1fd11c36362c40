//! What the cases are written with: names, events and streams made in a line, and subscriptions that
//! fail rather than hang. A store's own tests may use them too.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::{
    Expected, NewEvent, ReadAll, ReadStream, RecordedEvent, StoreError, StreamId, StreamType, Subscription,
};

pub use super::Store;

/// How long a subscription may leave a case waiting for one event: a minute. A store that is that
/// slow and a store that has lost the event look the same.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A stream's name.
pub fn id(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

/// A stream's type.
pub fn kind(name: &str) -> StreamType {
    StreamType::new(name).unwrap()
}

/// What creates a stream of type "task".
pub fn create() -> Expected {
    Expected::NoStream(kind("task"))
}

/// A new event of this type.
pub fn event(event_type: &str) -> NewEvent {
    NewEvent::json(event_type, &serde_json::json!({ "of": event_type })).unwrap()
}

/// So many new events, of types e1, e2, e3 ...
pub fn events(count: usize) -> Vec<NewEvent> {
    (1..=count).map(|n| event(&format!("e{n}"))).collect()
}

/// Creates a stream of type "task" with so many events.
pub async fn stream(store: &Store, name: &str, count: usize) -> StreamId {
    let id = id(name);
    store.append(&id, create(), events(count)).await.unwrap();
    id
}

/// The events' versions.
pub fn versions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version).collect()
}

/// The events' types.
pub fn types(events: &[RecordedEvent]) -> Vec<&str> {
    events.iter().map(|event| &*event.event_type).collect()
}

/// Every event of a stream.
pub async fn all_of(store: &Store, stream: &StreamId) -> Vec<RecordedEvent> {
    store.read_stream(stream, ReadStream::new()).await.unwrap()
}

/// Every event of the store.
pub async fn everything(store: &Store) -> Vec<RecordedEvent> {
    store.read_all(ReadAll::new()).await.unwrap()
}

/// The next event of a subscription; none within [`PATIENCE`] is a failure and not a hang.
pub async fn next(subscription: &mut Subscription) -> RecordedEvent {
    tokio::time::timeout(PATIENCE, subscription.next())
        .await
        .expect("an event within a minute")
        .expect("the subscription goes on")
        .expect("an event")
}

/// As [`next`], so many.
pub async fn take(subscription: &mut Subscription, count: usize) -> Vec<RecordedEvent> {
    let mut events = Vec::with_capacity(count);
    for _ in 0..count {
        events.push(next(subscription).await);
    }
    events
}

/// Fails if the subscription has an event by now. It looks often enough for a store whose tasks run
/// on this thread; one that reads elsewhere may be late and get away with it, but is never accused
/// wrongly. So it is the last look of a case, and never the only one.
pub async fn assert_silent(subscription: &mut Subscription) {
    for _ in 0..20 {
        if let Some(got) = Polls::new(subscription.next(), 1).await {
            panic!("nothing was to come, and this did: {got:?}");
        }
        tokio::task::yield_now().await;
    }
}

/// Fails unless the subscription ends as one does whose stream is deleted: told why, and for good.
pub async fn assert_deleted(subscription: &mut Subscription) {
    let ended = tokio::time::timeout(PATIENCE, subscription.next());
    match ended.await.expect("an end within a minute") {
        Some(Err(StoreError::StreamNotFound { .. })) => {}
        other => panic!("the stream was deleted, and its subscription gave {other:?}"),
    }
    assert!(subscription.next().await.is_none());
    assert!(subscription.next().await.is_none());
}

/// A future that is dropped after so many polls: `None` if it was not ready by then.
///
/// Each poll follows a wake-up of the future's own, so counting up from 0 drops it at each of its
/// awaits in turn.
#[must_use = "futures do nothing unless polled"]
pub struct Polls<F> {
    future: Option<Pin<Box<F>>>,
    left: usize,
}

impl<F: Future> Polls<F> {
    /// The future, to be polled so many times at most.
    pub fn new(future: F, polls: usize) -> Self {
        Self { future: Some(Box::pin(future)), left: polls }
    }
}

impl<F: Future> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.left > 0
            && let Some(future) = &mut this.future
        {
            this.left -= 1;
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => return Poll::Ready(Some(output)),
                Poll::Pending if this.left > 0 => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        this.future = None;
        Poll::Ready(None)
    }
}
