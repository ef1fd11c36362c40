//! Faults in subscriptions.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ipa_eventstore::subscription::{Page, Tail};
use ipa_eventstore::testkit::fixtures::Polls;
use ipa_eventstore::{
    Appended, EventStore, Expected, Json, NewEvent, Position, ReadAll, ReadStream, RecordedEvent, Source,
    StoreError, StreamId, Subscribe, Subscription,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::store::{Answer, Fault, Healthy, from_tail, one, passed_on, pause};

/// Events that are stored and not committed yet, by the fault's reckoning.
#[derive(Default)]
struct Uncommitted(Mutex<HashSet<Position>>);

impl Uncommitted {
    fn hides(&self, event: &RecordedEvent) -> bool {
        self.0.lock().contains(&event.position)
    }

    /// Appends; the events count as committed a while later.
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        let appended = store.append(stream, expected, events).await?;
        let Some(position) = appended.position.filter(|_| !appended.duplicate) else {
            return Ok(appended);
        };
        self.0.lock().insert(position);
        // Some take longer than others.
        for _ in 0..=position.parts().2 % 3 {
            pause().await;
        }
        self.0.lock().remove(&position);
        Ok(appended)
    }
}

/// What a subscription skips is decided when it comes by, not when it is committed.
struct SkippingTail {
    inner: Subscription,
    uncommitted: Arc<Uncommitted>,
}

#[async_trait]
impl Tail for SkippingTail {
    async fn next_page(&mut self) -> Answer<Page> {
        loop {
            let event = passed_on(self.inner.next().await)?;
            if !self.uncommitted.hides(&event) {
                return Ok(one(event));
            }
        }
    }
}

/// A tail goes past the place of an event that is committed late.
#[derive(Default)]
pub struct SkipsALateCommitter(Arc<Uncommitted>);

#[async_trait]
impl Fault for SkipsALateCommitter {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        // One that is alone is not late: the position is taken and committed in one.
        if !stream.as_str().ends_with(char::is_numeric) {
            return store.append(stream, expected, events).await;
        }
        self.0.append(store, stream, expected, events).await
    }

    async fn subscribe(&self, store: &Healthy, from: Subscribe) -> Answer<Subscription> {
        let inner = store.subscribe(from).await?;
        Ok(from_tail(SkippingTail { inner, uncommitted: self.0.clone() }))
    }
}

/// Subscribers are told before the commit: who reads on receipt finds nothing.
#[derive(Default)]
pub struct PublishedBeforeCommit(Uncommitted);

#[async_trait]
impl Fault for PublishedBeforeCommit {
    async fn append(
        &self,
        store: &Healthy,
        stream: &StreamId,
        expected: Expected,
        events: Vec<NewEvent>,
    ) -> Answer<Appended> {
        self.0.append(store, stream, expected, events).await
    }

    async fn read_stream(
        &self,
        store: &Healthy,
        stream: &StreamId,
        read: ReadStream,
    ) -> Answer<Vec<RecordedEvent>> {
        let mut events = store.read_stream(stream, read).await?;
        events.retain(|event| !self.0.hides(event));
        Ok(events)
    }
}

/// A subscription whose events go through a function that may keep them back, double or change them.
struct ChangingTail {
    inner: Subscription,
    change: Box<dyn FnMut(RecordedEvent) -> Vec<RecordedEvent> + Send>,
}

#[async_trait]
impl Tail for ChangingTail {
    async fn next_page(&mut self) -> Answer<Page> {
        let event = passed_on(self.inner.next().await)?;
        Ok(Page { events: (self.change)(event), at_end: false })
    }
}

fn changed(
    inner: Subscription,
    change: impl FnMut(RecordedEvent) -> Vec<RecordedEvent> + Send + 'static,
) -> Subscription {
    from_tail(ChangingTail { inner, change: Box::new(change) })
}

/// Subscriptions that are made otherwise.
macro_rules! subscribing {
    ($($(#[$doc:meta])* $fault:ident, |$store:ident, $from:ident| $make:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Default)]
            pub struct $fault;

            #[async_trait]
            impl Fault for $fault {
                async fn subscribe(&self, $store: &Healthy, $from: Subscribe) -> Answer<Subscription> {
                    $make
                }
            }
        )*
    };
}

fn after(from: &mut Subscribe, change: impl Fn(u64) -> u64) {
    match &mut from.source {
        Source::Stream { after, .. } => *after = change(*after),
        Source::All { after, .. } => {
            let (generation, high, low) = after.parts();
            *after = Position::from_parts(generation, high, change(low));
        }
    }
}

fn is_in(types: &Option<Vec<String>>, event: &RecordedEvent) -> bool {
    types.as_ref().is_none_or(|types| types.iter().any(|wanted| **wanted == *event.event_type))
}

subscribing! {
    /// Of two events of different streams the later one comes first, if both are there.
    OutOfCommitOrder, |store, from| Ok(from_tail(SwappingTail(store.subscribe(from).await?)));
    /// `after` is inclusive.
    SubscribesInclusive, |store, from| {
        let mut from = from;
        after(&mut from, |after| after.saturating_sub(1));
        store.subscribe(from).await
    };
    /// Beyond the end is the end.
    BeyondIsTheEnd, |store, from| {
        let mut from = from;
        if let Source::Stream { stream, after } = &mut from.source {
            *after = store.stream_version(stream).await?.min(*after);
        }
        store.subscribe(from).await
    };
    /// The filter is for what is stored; what comes later all comes.
    FilterForHistoryOnly, |store, from| {
        let newest = store.read_all(ReadAll::new().backward().max_count(1)).await?;
        let newest = newest.first().map_or(Position::START, |event| event.position);
        let types = from.event_types.clone();
        let all = Subscribe::from(from.source);
        Ok(changed(store.subscribe(all).await?, move |event| {
            let wanted = event.position > newest || is_in(&types, &event);
            wanted.then_some(event).into_iter().collect()
        }))
    };
    /// An empty list of types is none.
    EmptyFilterIsNone, |store, from| {
        let mut from = from;
        from.event_types = from.event_types.filter(|types| !types.is_empty());
        store.subscribe(from).await
    };
    /// The data is left out, to be read by those who want it.
    PayloadLeftOut, |store, from| Ok(changed(store.subscribe(from).await?, |mut event| {
        event.data = Json::of(&()).unwrap();
        vec![event]
    }));
    /// Of the events of one append only the last is published.
    LastOfABatchOnly, |store, from| {
        Ok(from_tail(LastTail { inner: store.subscribe(from).await?, next: None }))
    };
    /// Where history ends and live begins an event comes twice.
    DoubledAtTheSeam, |store, from| {
        let newest = store.read_all(ReadAll::new().backward().max_count(1)).await?.pop();
        let newest = newest.map(|event| event.position);
        Ok(changed(store.subscribe(from).await?, move |event| match Some(event.position) == newest {
            true => vec![event.clone(), event],
            false => vec![event],
        }))
    };
    /// A subscriber that is more than two thousand behind loses what does not fit into its queue.
    SlowSubscribersLose, |store, from| {
        let stream = match &from.source {
            Source::Stream { stream, .. } => Some(stream.clone()),
            Source::All { .. } => None,
        };
        Ok(from_tail(BoundedTail { inner: store.subscribe(from).await?, store: store.clone(), stream }))
    };
    /// A stream that does not exist is waited for.
    MissingStreamIsWaitedFor, |store, from| match store.subscribe(from.clone()).await {
        Err(StoreError::StreamNotFound { .. }) => Ok(from_tail(WaitingTail { store: store.clone(), from, inner: None })),
        subscribed => subscribed,
    };
    /// A subscription to a stream that is deleted goes on with the next one of its name.
    GoesOnWithTheNext, |store, from| {
        let inner = Some(store.subscribe(from.clone()).await?);
        Ok(from_tail(WaitingTail { store: store.clone(), from, inner }))
    };
    /// A subscription to a stream that is deleted is not told.
    NotToldOfDeletion, |store, from| Ok(from_tail(SilentTail(store.subscribe(from).await?)));
    /// An event that is taken is lost if the call is dropped just then.
    LostWhenDropped, |store, from| Ok(from_tail(HastyTail(store.subscribe(from).await?)));
    /// Nothing that comes between subscribing and the first look is seen.
    LostAtTheSeam, |store, from| {
        let mut stored = Vec::new();
        let mut history = store.subscribe(from.clone()).await?;
        while let Some(event) = at_hand(&mut history).await {
            stored.push(event);
        }
        Ok(from_tail(SeamTail { stored, store: store.clone(), from, inner: None }))
    };
}

/// What a subscription has at hand, if it has.
async fn at_hand(inner: &mut Subscription) -> Option<RecordedEvent> {
    Polls::new(inner.next(), 1).await.flatten().and_then(Result::ok)
}

struct SwappingTail(Subscription);

#[async_trait]
impl Tail for SwappingTail {
    async fn next_page(&mut self) -> Answer<Page> {
        let first = passed_on(self.0.next().await)?;
        let events = match at_hand(&mut self.0).await {
            Some(second) if second.stream != first.stream => vec![second, first],
            Some(second) => vec![first, second],
            None => vec![first],
        };
        Ok(Page { events, at_end: false })
    }
}

struct LastTail {
    inner: Subscription,
    next: Option<RecordedEvent>,
}

#[async_trait]
impl Tail for LastTail {
    async fn next_page(&mut self) -> Answer<Page> {
        let mut last = match self.next.take() {
            Some(event) => event,
            None => passed_on(self.inner.next().await)?,
        };
        while let Some(event) = at_hand(&mut self.inner).await {
            if (&event.stream, event.recorded_at) != (&last.stream, last.recorded_at) {
                self.next = Some(event);
                break;
            }
            last = event;
        }
        Ok(one(last))
    }
}

/// Loses what is more than two thousand behind.
struct BoundedTail {
    inner: Subscription,
    store: Healthy,
    stream: Option<StreamId>,
}

#[async_trait]
impl Tail for BoundedTail {
    async fn next_page(&mut self) -> Answer<Page> {
        loop {
            let event = passed_on(self.inner.next().await)?;
            let version = match &self.stream {
                Some(stream) => self.store.stream_version(stream).await?,
                None => 0,
            };
            if version <= event.version + 2000 {
                return Ok(one(event));
            }
        }
    }
}

/// Subscribes as soon as the stream is there, and again when it has gone.
struct WaitingTail {
    store: Healthy,
    from: Subscribe,
    inner: Option<Subscription>,
}

#[async_trait]
impl Tail for WaitingTail {
    async fn next_page(&mut self) -> Answer<Page> {
        loop {
            match &mut self.inner {
                None => match self.store.subscribe(self.from.clone()).await {
                    Ok(subscription) => self.inner = Some(subscription),
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                },
                Some(inner) => match passed_on(inner.next().await) {
                    Err(StoreError::StreamNotFound { .. }) => self.inner = None,
                    got => return got.map(one),
                },
            }
        }
    }
}

struct SilentTail(Subscription);

#[async_trait]
impl Tail for SilentTail {
    async fn next_page(&mut self) -> Answer<Page> {
        match passed_on(self.0.next().await) {
            Err(StoreError::StreamNotFound { .. }) => std::future::pending().await,
            got => got.map(one),
        }
    }
}

struct HastyTail(Subscription);

#[async_trait]
impl Tail for HastyTail {
    async fn next_page(&mut self) -> Answer<Page> {
        let event = passed_on(self.0.next().await)?;
        tokio::task::yield_now().await;
        Ok(one(event))
    }
}

/// Gives what was stored, then what comes from its first look at the rest.
struct SeamTail {
    stored: Vec<RecordedEvent>,
    store: Healthy,
    from: Subscribe,
    inner: Option<Subscription>,
}

#[async_trait]
impl Tail for SeamTail {
    async fn next_page(&mut self) -> Answer<Page> {
        if self.inner.is_none() {
            let now = self.store.read_all(ReadAll::new().backward().max_count(1)).await?;
            match &mut self.from.source {
                Source::Stream { stream, after } => *after = self.store.stream_version(stream).await?,
                Source::All { after, .. } => *after = now.first().map_or(*after, |event| event.position),
            }
            self.inner = Some(self.store.subscribe(self.from.clone()).await?);
            return Ok(Page { events: std::mem::take(&mut self.stored), at_end: false });
        }
        match &mut self.inner {
            Some(inner) => passed_on(inner.next().await).map(one),
            None => Err(StoreError::Closed),
        }
    }
}

/// Deleting any stream ends those who follow all.
#[derive(Default)]
pub struct DeletionEndsAll(Arc<watch::Sender<Option<StreamId>>>);

struct EndingTail {
    inner: Subscription,
    deleted: watch::Receiver<Option<StreamId>>,
}

#[async_trait]
impl Tail for EndingTail {
    async fn next_page(&mut self) -> Answer<Page> {
        tokio::select! {
            biased;
            Ok(deleted) = self.deleted.wait_for(Option::is_some) => {
                let stream = deleted.clone().ok_or(StoreError::Closed)?;
                Err(StoreError::StreamNotFound { stream })
            }
            got = self.inner.next() => passed_on(got).map(one),
        }
    }
}

#[async_trait]
impl Fault for DeletionEndsAll {
    async fn delete_stream(&self, store: &Healthy, stream: &StreamId) -> Answer<()> {
        self.0.send_replace(Some(stream.clone()));
        store.delete_stream(stream).await
    }

    async fn subscribe(&self, store: &Healthy, from: Subscribe) -> Answer<Subscription> {
        let inner = store.subscribe(from).await?;
        Ok(from_tail(EndingTail { inner, deleted: self.0.subscribe() }))
    }
}

/// Those who follow the same share what comes: each event goes to one of them.
#[derive(Default)]
pub struct SubscribersShare(Arc<Mutex<HashSet<Position>>>);

#[async_trait]
impl Fault for SubscribersShare {
    async fn subscribe(&self, store: &Healthy, from: Subscribe) -> Answer<Subscription> {
        let given = self.0.clone();
        Ok(changed(store.subscribe(from).await?, move |event| {
            given.lock().insert(event.position).then_some(event).into_iter().collect()
        }))
    }
}

/// The first subscriber to go takes the wake-ups of all with it.
#[derive(Default)]
pub struct OneGoesAllGo(Arc<watch::Sender<bool>>);

struct LastWords {
    inner: Subscription,
    gone: Arc<watch::Sender<bool>>,
}

impl Drop for LastWords {
    fn drop(&mut self) {
        self.gone.send_replace(true);
    }
}

#[async_trait]
impl Tail for LastWords {
    async fn next_page(&mut self) -> Answer<Page> {
        if *self.gone.borrow() {
            return std::future::pending().await;
        }
        passed_on(self.inner.next().await).map(one)
    }
}

#[async_trait]
impl Fault for OneGoesAllGo {
    async fn subscribe(&self, store: &Healthy, from: Subscribe) -> Answer<Subscription> {
        let inner = store.subscribe(from).await?;
        Ok(from_tail(LastWords { inner, gone: self.0.clone() }))
    }
}
