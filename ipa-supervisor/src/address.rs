//! The way to a mailbox server, across its restarts: calls, casts, and the mailbox of the incarnation of the moment.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{self, Poll, ready};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::task::Id;

use crate::inbox::{Closed, Inbox, Refused, places};
use crate::log;
use crate::ports::{Holds, Published};
use crate::sync::oneshot;
use crate::sync::time::{self, Instant};

/// How a server's mailbox is bounded.
///
/// ```
/// use ipa_supervisor::{Mailbox, WhenFull};
///
/// let mailbox = Mailbox { capacity: 8, when_full: WhenFull::Refuse };
/// assert_eq!(Mailbox::default().capacity, 1024);
/// # let _ = mailbox;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mailbox {
    /// How many calls and casts may be queued. Default: 1024. A mailbox that has had none allocates nothing for
    /// them, and one that is empty again keeps a page at most, or two large messages' worth. Zero takes nothing but infos; more than `u32::MAX` is `u32::MAX`.
    pub capacity: usize,
    /// What happens to a call or cast that finds it full. Default: it waits.
    pub when_full: WhenFull,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self { capacity: 1024, when_full: WhenFull::Wait }
    }
}

/// What happens to a call or cast that finds the mailbox full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It waits for a place; a call no longer than its deadline. The server itself is refused, as it would wait for itself.
    #[default]
    Wait,
    /// It is refused at once.
    Refuse,
}

/// The way to a server, across its restarts. Cheap to clone.
///
/// While the server is not up (not yet, between two incarnations, not any more) messages are refused with `Gone`, at once.
pub struct Address<M>(Arc<Route<M>>);

/// With the mailbox in it, which each incarnation opens and closes.
struct Route<M> {
    inbox: Inbox<Envelope<M>, 1>,
    capacity: u32,
    when_full: WhenFull,
    /// Whether the reader lets others go before it takes the first message of this opening. Here, where there is room for it.
    steps_back: AtomicBool,
    /// What its reader has said since the last message: [`NOTHING`], [`WAITS`], [`WORKS`].
    said: AtomicU8,
    dropped_casts: AtomicU64,
}

/// A reader has said nothing of itself since it took the last message.
const NOTHING: u8 = 0;
/// It has said that it waits for one.
const WAITS: u8 = 1;
/// It has said that it works, for the one that it is about to take.
const WORKS: u8 = 2;

struct Envelope<M> {
    message: M,
    cast: bool,
}

/// How long [`Address::call`] waits for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

impl<M: Send + 'static> Address<M> {
    pub(crate) fn new(mailbox: Mailbox) -> Self {
        let Mailbox { capacity, when_full } = mailbox;
        let (inbox, capacity, dropped_casts) = (Inbox::closed(), places(capacity), AtomicU64::new(0));
        let (steps_back, said) = (AtomicBool::new(false), AtomicU8::new(NOTHING));
        Self(Arc::new(Route { inbox, capacity, when_full, steps_back, said, dropped_casts }))
    }

    /// Asks, and waits for the answer, at most 5 seconds. `message` is given the [`Reply`] to put into the message; it is called
    /// whether the server is up or not.
    ///
    /// # Errors
    ///
    /// [`CallError`]. After [`CallError::TimedOut`] the message may still be handled; its answer is dropped. After
    /// [`CallError::Gone`] it may have been handled in part.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for a place, nothing was sent; dropped later, the message is handled all the same.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with timers, if it has to wait.
    pub async fn call<T>(&self, message: impl FnOnce(Reply<T>) -> M) -> Result<T, CallError> {
        self.call_within(CALL_TIMEOUT, message).await
    }

    /// As [`call`](Self::call), with a deadline of one's own.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Panics
    ///
    /// As [`call`](Self::call).
    pub async fn call_within<T>(
        &self,
        timeout: Duration,
        message: impl FnOnce(Reply<T>) -> M,
    ) -> Result<T, CallError> {
        // From here, though it is not looked at before it has to be.
        let deadline = Instant::now().checked_add(timeout);
        let (reply, answer) = oneshot::channel();
        let envelope = Envelope { message: message(Reply(reply)), cast: false };
        let mut asked = pin!(async {
            self.post(envelope, tokio::task::try_id()).await.map_err(|refused| match refused {
                Refused::Closed(_) => CallError::Gone,
                Refused::Full(_) => CallError::Full,
                Refused::Own(_) => CallError::WouldDeadlock,
            })?;
            answer.await.map_err(|_| CallError::Gone)
        });
        // The server is let go on once before a timer is set, which would be half of what most calls cost.
        if let Some(answered) = twice(asked.as_mut()).await {
            return answered;
        }
        match deadline {
            Some(deadline) => {
                time::timeout_at(deadline, asked).await.unwrap_or(Err(CallError::TimedOut(timeout)))
            }
            None => asked.await,
        }
    }

    /// Sends, without an answer. `Ok` says that it is queued; if the server ends before it gets there, the message is dropped
    /// and [counted](Self::dropped_casts). A mailbox that is full may make it [wait](WhenFull::Wait) for as long as that lasts, but not the
    /// server itself, which makes the places: that is refused.
    ///
    /// # Errors
    ///
    /// [`CastError`], with the message.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was sent.
    pub async fn cast(&self, message: M) -> Result<(), CastError<M>> {
        self.post(Envelope { message, cast: true }, None).await.map_err(|refused| match refused {
            // Only who asks for an answer is told that it asks itself.
            Refused::Closed(envelope) | Refused::Own(envelope) => CastError::Gone(envelope.message),
            Refused::Full(envelope) => CastError::Full(envelope.message),
        })
    }

    /// Sends without waiting and without bound: for the server's own timers and streams, which cannot wait.
    ///
    /// # Errors
    ///
    /// [`CastError::Gone`], with the message.
    pub fn info(&self, message: M) -> Result<(), CastError<M>> {
        self.0
            .inbox
            .push(0, Envelope { message, cast: true })
            .map_err(|Closed(envelope)| CastError::Gone(envelope.message))
    }

    /// Whether a server is up behind this address.
    pub fn is_up(&self) -> bool {
        !self.0.inbox.is_closed()
    }

    /// How many casts and infos were queued and never handled, because their incarnation ended first.
    pub fn dropped_casts(&self) -> u64 {
        self.0.dropped_casts.load(Ordering::Relaxed)
    }

    async fn post(&self, envelope: Envelope<M>, asker: Option<Id>) -> Result<(), Refused<Envelope<M>>> {
        let route = &*self.0;
        match route.inbox.try_push_bounded(0, envelope, asker) {
            // Where nobody will ever make a place, to wait for one would be for ever: no mailbox of none has any, and the server makes them.
            Err(Refused::Full(envelope))
                if route.when_full == WhenFull::Wait && route.capacity > 0 && !route.inbox.is_read_here() =>
            {
                let pushed = route.inbox.push_in_turn(0, envelope).await;
                pushed.map_err(|Closed(envelope)| Refused::Closed(envelope))
            }
            pushed => pushed,
        }
    }
}

/// Polls now, and again when whoever else is ready has been polled.
async fn twice<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut again = false;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if again => Poll::Ready(None),
        Poll::Pending => {
            again = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

impl<M: Send + 'static> Holds for Route<M> {
    fn type_name(&self) -> &'static str {
        std::any::type_name::<Address<M>>()
    }

    fn give(self: Arc<Self>, wanted: &mut dyn Any) {
        if let Some(wanted) = wanted.downcast_mut() {
            *wanted = Some(Address(self));
        }
    }
}

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M> fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("up", &!self.0.inbox.is_closed()).finish_non_exhaustive()
    }
}

/// The way to answer a call. Dropped unsent, the caller gets [`CallError::Gone`].
#[derive(Debug)]
#[must_use = "dropping it tells the caller that the server is gone"]
pub struct Reply<T>(oneshot::Sender<T>);

impl<T> Reply<T> {
    /// Answers. A caller that does not wait any more does not mind.
    pub fn send(self, answer: T) {
        let _ = self.0.send(answer);
    }

    /// Whether the caller does not wait any more, so that the work for the answer can be saved.
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }
}

/// Why a call got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server is not up, or ended before it answered, or dropped the call.
    #[error("the server is gone, or ended before it answered")]
    Gone,
    /// No answer came in time.
    #[error("no answer came within {0:?}")]
    TimedOut(Duration),
    /// The mailbox is full.
    #[error("the server's mailbox is full")]
    Full,
    /// The server called itself.
    #[error("this call would wait for its own caller")]
    WouldDeadlock,
}

/// Why a message was not queued. It comes back.
#[derive(Error)]
#[non_exhaustive]
pub enum CastError<M> {
    /// The server is not up.
    #[error("the server is gone")]
    Gone(M),
    /// The mailbox is full, and it refuses then, or the server itself would wait for a place.
    #[error("the server's mailbox is full")]
    Full(M),
}

impl<M> CastError<M> {
    /// The message that was not queued.
    pub fn into_message(self) -> M {
        match self {
            Self::Gone(message) | Self::Full(message) => message,
        }
    }
}

impl<M> fmt::Debug for CastError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone(_) => "Gone(..)",
            Self::Full(_) => "Full(..)",
        })
    }
}

/// The reading end of a mailbox, which is closed when this is dropped, if it was not before. One for each incarnation.
///
/// There is one at a time: it goes before its incarnation's lease, with which the incarnation ends, and the next one begins after that.
pub(crate) struct Reader<M>(Address<M>);

impl<M: Send + 'static> Reader<M> {
    /// The mailbox is not open yet.
    pub(crate) fn new(address: &Address<M>) -> Self {
        Self(address.clone())
    }

    /// The address, to be published.
    pub(crate) fn published(&self) -> Published {
        Published::shared(self.0.0.clone())
    }

    /// Opens the mailbox, new and empty. It is read on the current task; with `steps_back` not before that has let others go, as what is
    /// there by then may block it. See [`Child::poll_ready`](crate::Child::poll_ready).
    pub(crate) fn open(&self, steps_back: bool) {
        let route = &*self.0.0;
        route.steps_back.store(steps_back, Ordering::Relaxed);
        route.said.store(NOTHING, Ordering::Relaxed);
        route.inbox.open(route.capacity);
    }

    /// Waits until there is a message, which is left where it is: a stop that comes meanwhile finds it there.
    ///
    /// `says` is told that the reader waits, and that it works when there is a message, each once. It answers whether somebody was woken for
    /// that, who is let go on first: the message may block the worker that was to run them.
    pub(crate) fn poll_ready(&self, cx: &task::Context<'_>, says: Option<impl Fn(bool) -> bool>) -> Poll<()> {
        let route = &*self.0.0;
        let say = |works| {
            let word = if works { WORKS } else { WAITS };
            says.as_ref().is_some_and(|says| route.said.swap(word, Ordering::Relaxed) < word && says(works))
        };
        let wakes = route.said.load(Ordering::Relaxed) == NOTHING && say(false);
        let steps_back = route.steps_back.load(Ordering::Relaxed);
        // Where there is none yet, the wait for it is as good.
        route.steps_back.store(false, Ordering::Relaxed);
        ready!(route.inbox.poll_any(cx));
        if say(true) || wakes || steps_back {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Takes the next message, when there is one, as [`poll_ready`](Self::poll_ready) has it. Cancel safe.
    pub(crate) fn poll_next(&self, cx: &task::Context<'_>, says: Option<impl Fn(bool) -> bool>) -> Poll<M> {
        let route = &*self.0.0;
        let works = || route.said.load(Ordering::Relaxed) == WORKS;
        if route.steps_back.load(Ordering::Relaxed) || (says.is_some() && !works()) {
            ready!(self.poll_ready(cx, says));
        }
        let message = ready!(route.inbox.poll_pop(cx)).message;
        route.said.store(NOTHING, Ordering::Relaxed);
        Poll::Ready(message)
    }
}

impl<M> Reader<M> {
    pub(crate) fn address(&self) -> &Address<M> {
        &self.0
    }

    /// Closes the mailbox.
    pub(crate) fn close(&self) {
        let route = &*self.0.0;
        let left = route.inbox.close();
        let casts = left.iter().filter(|envelope| envelope.cast).count();
        route.dropped_casts.fetch_add(casts as u64, Ordering::Relaxed);
        // Callers who waited in it are told now. Their messages are foreign: no lock is held, and a panic in the drop of one must
        // not meet the panic of the server's that this may be the unwinding of.
        for envelope in left {
            log::caught("the drop of a message that was not handled", || drop(envelope));
        }
    }
}

impl<M> Drop for Reader<M> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<M> fmt::Debug for Reader<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
