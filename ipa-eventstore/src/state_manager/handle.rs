//! The way to a state manager across its restarts, and the mailbox at its end.
//!
//! It is not an [`Address`](ipa_supervisor::Address) for the sake of its answers: a command that was queued and never
//! taken is told so (`Gone`, not `Lost`), there is no deadline after which an answer is thrown away, and readers
//! never queue behind commands.

use std::fmt;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use super::aggregate::{Aggregate, Versioned};
use super::error::{ExecuteError, StateGone};

/// The way to a stream's state manager: whoever that is now, across its restarts. Cheap to clone.
///
/// It comes with the [`child`](crate::StateManager::child) spec, and is what the child publishes in its supervisor's
/// directory: in a pod, `scope.find::<StateHandle<A>>("state")`. It keeps nothing running.
pub struct StateHandle<A: Aggregate>(Arc<Route<A>>);

/// A command that was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Executed {
    /// The version of its last event; of the state it was decided on, if it has no events.
    pub version: u64,
    /// How many events it has.
    pub events: usize,
}

pub(super) type Answer<A> = Result<Executed, ExecuteError<<A as Aggregate>::Rejection>>;

pub(super) struct Ask<A: Aggregate> {
    pub(super) command: A::Command,
    pub(super) reply: oneshot::Sender<Answer<A>>,
}

struct Route<A: Aggregate> {
    /// The mailbox of the incarnation that is up.
    mailbox: Mutex<Option<Mailbox<A>>>,
    /// The newest state; one channel for all incarnations, made by the first.
    published: OnceLock<watch::Sender<Arc<Versioned<A>>>>,
}

/// Boxed, because the channel keeps room for 32 messages however idle it is.
type Mailbox<A> = mpsc::Sender<Box<Ask<A>>>;

/// How many commands may be queued; further ones wait for a place.
const CAPACITY: usize = 1024;

impl<A: Aggregate> StateHandle<A> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Route { mailbox: Mutex::new(None), published: OnceLock::new() }))
    }

    /// Decides a command, stores its events, applies and publishes them, and answers, in that order.
    ///
    /// Commands are executed one at a time, in the order of their arrival. When this returns `Ok`, the events are
    /// stored, as durably as the store says, and [`state`](Self::state) and [`watch`](Self::watch) give a state that
    /// contains them.
    ///
    /// It has no deadline of its own; `tokio::time::timeout` gives it one.
    ///
    /// # Errors
    ///
    /// See [`ExecuteError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for a place in the mailbox (there are 1024), nothing happens; dropped later, the
    /// command is executed all the same. Its events are stored all or none.
    pub async fn execute(&self, command: A::Command) -> Answer<A> {
        let mailbox = self.0.mailbox.lock().clone();
        let (reply, answer) = oneshot::channel();
        let ask = Box::new(Ask { command, reply });
        let Some(mailbox) = mailbox else { return Err(ExecuteError::Gone) };
        mailbox.send(ask).await.map_err(|_| ExecuteError::Gone)?;
        // Not kept while waiting.
        drop(mailbox);
        answer.await.unwrap_or(Err(ExecuteError::Lost))
    }

    /// The newest state that was published. It does not wait for commands that are under way.
    ///
    /// # Errors
    ///
    /// [`StateGone`].
    pub async fn state(&self) -> Result<Arc<Versioned<A>>, StateGone> {
        self.published().map(|published| published.borrow().clone())
    }

    /// The state as it changes: it begins with the newest, and a slow reader skips what it was too slow for.
    ///
    /// It lasts across restarts of the state manager: the new one publishes what it has made from the stream. It ends
    /// when nothing can publish to it any more: the child's spec and all handles are gone.
    ///
    /// # Errors
    ///
    /// [`StateGone`].
    pub async fn watch(&self) -> Result<watch::Receiver<Arc<Versioned<A>>>, StateGone> {
        self.published().map(watch::Sender::subscribe)
    }

    /// Whether a state manager is up behind this handle.
    pub fn is_up(&self) -> bool {
        self.0.mailbox.lock().is_some()
    }

    fn published(&self) -> Result<&watch::Sender<Arc<Versioned<A>>>, StateGone> {
        if self.is_up() { self.0.published.get().ok_or(StateGone) } else { Err(StateGone) }
    }

    pub(super) fn publish(&self, state: Arc<Versioned<A>>) {
        let published = self.0.published.get_or_init(|| watch::Sender::new(state.clone()));
        // The replaced state is dropped here, after the channel's lock is released.
        drop(published.send_replace(state));
    }

    pub(super) fn open(&self) -> Open<A> {
        let (mailbox, inbox) = mpsc::channel(CAPACITY);
        // An earlier incarnation's was taken out when its run was over.
        *self.0.mailbox.lock() = Some(mailbox);
        Open { inbox, handle: self.clone() }
    }
}

impl<A: Aggregate> Clone for StateHandle<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Aggregate> fmt::Debug for StateHandle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateHandle").field("up", &self.is_up()).finish_non_exhaustive()
    }
}

/// An incarnation's mailbox, open as long as this lives.
pub(super) struct Open<A: Aggregate> {
    inbox: mpsc::Receiver<Box<Ask<A>>>,
    handle: StateHandle<A>,
}

impl<A: Aggregate> Open<A> {
    /// The next command. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Box<Ask<A>>> {
        self.inbox.recv().await
    }
}

impl<A: Aggregate> Drop for Open<A> {
    fn drop(&mut self) {
        let mailbox = self.handle.0.mailbox.lock().take();
        drop(mailbox);
        self.inbox.close();
        // Nobody has looked at these; commands are foreign, and no lock is held.
        while let Ok(ask) = self.inbox.try_recv() {
            let _ = ask.reply.send(Err(ExecuteError::Gone));
        }
    }
}
