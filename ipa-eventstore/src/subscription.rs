//! Following a stream or the whole store: what is stored first, then what comes, without a seam.
//!
//! The one trick: the truth is always a read from a place. A wake-up carries nothing, so it may be
//! lost, doubled or early; between two wake-ups a subscriber costs its store nothing, and a slow one
//! has no queue that could fill up or lag.

use std::collections::VecDeque;
use std::fmt;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Position, RecordedEvent, StoreError, StreamId, StreamType};

/// What to follow, and from where.
///
/// ```
/// use ipa_eventstore::{Position, StreamId, Subscribe};
///
/// let stream = StreamId::new("agent-7")?;
/// let from_now_on = Subscribe::stream(&stream, 12); // version 12 is known already
/// let failures = Subscribe::all(Position::START).event_types(["failed"]);
/// # let _ = (from_now_on, failures);
/// # Ok::<(), ipa_eventstore::StoreError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it follows nothing until a store is given it"]
pub struct Subscribe {
    /// Which events, and after which.
    pub source: Source,
    /// Only events of these types; `None` is every type, an empty list none.
    pub event_types: Option<Vec<String>>,
}

/// Which events a subscription follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Those of one stream, with versions above `after`.
    Stream {
        /// The stream.
        stream: StreamId,
        /// The last version that is known already; 0 is none.
        after: u64,
    },
    /// Those of the whole store, after a position.
    All {
        /// The last position that is known already; [`Position::START`] is none.
        after: Position,
        /// Only events of streams of these types; `None` is every type, an empty list none.
        stream_types: Option<Vec<StreamType>>,
    },
}

impl Subscribe {
    /// Follows one stream, beginning with the first event above version `after`.
    pub fn stream(stream: &StreamId, after: u64) -> Self {
        Self::from(Source::Stream { stream: stream.clone(), after })
    }

    /// Follows the whole store, beginning with the first event after a position.
    pub fn all(after: Position) -> Self {
        Self::from(Source::All { after, stream_types: None })
    }

    /// Follows all streams of these types, beginning with the first event after a position.
    pub fn stream_types(after: Position, types: impl IntoIterator<Item = StreamType>) -> Self {
        Self::from(Source::All { after, stream_types: Some(types.into_iter().collect()) })
    }

    /// Gives only events of these types.
    pub fn event_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.event_types = Some(types.into_iter().map(Into::into).collect());
        self
    }
}

impl From<Source> for Subscribe {
    fn from(source: Source) -> Self {
        Self { source, event_types: None }
    }
}

/// A subscription: every event exactly once, in the order of commit, across the seam between what
/// was stored before and what is stored later.
///
/// A slow subscriber never slows an append and never loses an event; it is only late. An event is
/// seen only after its commit, so whoever reads on receipt finds it.
///
/// # How it ends
///
/// - Dropped: at once, leaving nothing behind.
/// - Its stream is deleted: [`next`](Self::next) gives
///   [`StreamNotFound`](StoreError::StreamNotFound) once, then `None`, also if a new stream takes
///   the name. A subscription to the whole store just does not see what was deleted before it got
///   there.
/// - Its store is closed: `None`. What it had not seen yet is there for the next subscription, from
///   the last version or position seen.
/// - A read fails: `next` gives the error and the next call reads again, from the same place.
///
/// A subscription is a handle to its store: while it lives, dropping the store's other handles does
/// not close the store.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use ipa_eventstore::{EventStore, Expected, InMemoryEventStore, NewEvent, StreamType, Subscribe};
///
/// let store = InMemoryEventStore::new();
/// let task = store.start_stream(&StreamType::new("task")?, None, vec![]).await?;
/// let mut events = store.subscribe(Subscribe::stream(&task, 0)).await?;
///
/// store.append(&task, Expected::Any, vec![NewEvent::json("started", &())?]).await?;
/// let event = events.next().await.expect("the store is open")?;
/// assert_eq!((event.version, &*event.event_type), (1, "started"));
/// # Ok::<(), ipa_eventstore::StoreError>(()) }).unwrap();
/// ```
#[must_use = "a subscription gives events only while `next` is called on it"]
pub struct Subscription {
    wake: watch::Receiver<()>,
    tail: Box<dyn Tail>,
    buffer: VecDeque<RecordedEvent>,
    at_end: bool,
    ended: bool,
}

impl Subscription {
    /// A subscription that reads from `tail`, and reads again after each change of `wake`; it ends
    /// when `wake`'s sender is gone. For implementations of a store.
    ///
    /// `wake` must have been subscribed before `tail` was made: what is committed in between is then
    /// in the first page or followed by a wake-up, or both.
    pub fn new(tail: impl Tail, wake: watch::Receiver<()>) -> Self {
        Self { tail: Box::new(tail), buffer: VecDeque::new(), wake, at_end: false, ended: false }
    }

    /// The next event; waits for one. `None` when the store was closed, and after the error that
    /// says that the stream was deleted.
    ///
    /// # Errors
    ///
    /// [`StreamNotFound`](StoreError::StreamNotFound) when the stream was deleted; otherwise a read
    /// that failed, which the next call tries again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped call loses no event.
    pub async fn next(&mut self) -> Option<Result<RecordedEvent, StoreError>> {
        // An event is taken from the buffer without an await, the place moves only when a page has
        // arrived, and `at_end` is only cleared after `changed`: every await below may be the last.
        loop {
            if let Some(event) = self.buffer.pop_front() {
                return Some(Ok(event));
            }
            if self.ended {
                return None;
            }
            if self.at_end {
                if self.wake.changed().await.is_err() {
                    self.ended = true;
                    continue;
                }
                self.at_end = false;
            }
            // Seen before the read, so that a commit during the read wakes us again.
            self.wake.borrow_and_update();
            match self.tail.next_page().await {
                Ok(page) => {
                    self.at_end = page.at_end;
                    self.buffer = page.events.into();
                }
                Err(StoreError::Closed) => self.ended = true,
                Err(error) => {
                    self.ended = matches!(error, StoreError::StreamNotFound { .. });
                    return Some(Err(error));
                }
            }
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("buffered", &self.buffer.len())
            .field("at_end", &self.at_end)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// What a subscription reads from: a place in a store. For implementations of a store.
#[async_trait]
pub trait Tail: Send + 'static {
    /// The events after the place, and moves the place behind them (and behind those that a filter
    /// left out).
    ///
    /// Must be cancel safe: the place moves only when the page is returned.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] ends the subscription, [`StoreError::StreamNotFound`] is handed on and
    /// ends it, everything else is handed on and the page read again by the next call.
    async fn next_page(&mut self) -> Result<Page, StoreError>;
}

/// A piece of what a subscription follows. For implementations of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The events, in order; may be empty before the end, where a filter left all out.
    pub events: Vec<RecordedEvent>,
    /// Whether there was nothing behind it when it was read.
    pub at_end: bool,
}
