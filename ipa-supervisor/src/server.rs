//! The mailbox server: a child that handles messages one at a time, and the typed address that leads to it.
//!
//! The address outlives incarnations: it leads to whoever is the child now. Each incarnation has a mailbox of its own, new and
//! empty, and when its `run` is over, for whatever reason, the mailbox is closed at once, before `terminate`: callers are not
//! kept waiting for an answer that will not come.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::child::{Child, Init};
use crate::context::Context;
use crate::inbox::{Closed, Inbox, Refused};
use crate::reason::{BoxError, Exit, ExitReason};
use crate::spec::{ChildId, ChildSpec, Settings};

/// A child that handles messages one at a time: OTP's `gen_server`.
///
/// Messages are one type, usually an enum. A question carries a [`Reply`] and is asked with [`Address::call`]; a statement is
/// sent with [`Address::cast`]; what the server's own timers and streams have to say comes in by [`Address::info`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ipa_supervisor::{
///     BoxError, ChildSpec, Flow, Reply, Server, ServerContext, Supervisor, async_trait,
/// };
///
/// #[derive(Default)]
/// struct Counter(u64);
///
/// enum Msg { Add(u64), Get(Reply<u64>) }
///
/// #[async_trait]
/// impl Server for Counter {
///     type Message = Msg;
///     async fn handle(&mut self, message: Msg, _cx: &mut ServerContext<Msg>) -> Result<Flow, BoxError> {
///         match message {
///             Msg::Add(n) => self.0 += n,
///             Msg::Get(reply) => reply.send(self.0),
///         }
///         Ok(Flow::Continue)
///     }
/// }
///
/// let (spec, counter) = ChildSpec::server("counter", Counter::default);
/// let supervisor = Supervisor::builder().child(spec).start().await?;
/// counter.cast(Msg::Add(2)).await?;
/// assert_eq!(counter.call(Msg::Get).await?, 2);
/// supervisor.shutdown().await?;
/// assert!(counter.call(Msg::Get).await.is_err());
/// # Ok(()) }
/// ```
#[async_trait]
pub trait Server: Send + 'static {
    /// What it is sent.
    type Message: Send + 'static;

    /// As [`Child::init`]. The address leads here from the moment this returns; it is published in the directory then.
    async fn init(&mut self, cx: &mut ServerContext<Self::Message>) -> Result<Init, BoxError> {
        let _ = cx;
        Ok(Init::Ready)
    }

    /// Handles one message. An error or a panic ends this incarnation.
    ///
    /// On a stop it is dropped at its next await; with [`StopMode::Cooperative`](crate::StopMode::Cooperative) it is let finish,
    /// and no further message is taken.
    async fn handle(
        &mut self,
        message: Self::Message,
        cx: &mut ServerContext<Self::Message>,
    ) -> Result<Flow, BoxError>;

    /// As [`Child::terminate`]. The mailbox is closed already.
    async fn terminate(&mut self, cx: &mut ServerContext<Self::Message>, reason: &ExitReason) {
        let _ = (cx, reason);
    }

    /// As [`Child::defaults`].
    fn defaults() -> Settings
    where
        Self: Sized,
    {
        Settings::default()
    }
}

/// Whether a server goes on after a message.
#[derive(Clone, Debug)]
pub enum Flow {
    /// It waits for the next.
    Continue,
    /// It ends, like this. What is queued is not handled.
    Stop(Exit),
}

/// A server's [`Context`], to which it derefs, with the server's own address.
#[derive(Debug)]
pub struct ServerContext<M> {
    context: Context,
    address: Address<M>,
}

impl<M> ServerContext<M> {
    /// The address of this server: for timers and streams that are to send it [`info`](Address::info).
    pub fn address(&self) -> &Address<M> {
        &self.address
    }
}

impl<M> Deref for ServerContext<M> {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl<M> DerefMut for ServerContext<M> {
    fn deref_mut(&mut self) -> &mut Context {
        &mut self.context
    }
}

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
    /// How many calls and casts may be queued. Default: 1024. An idle mailbox allocates nothing for them. Zero takes nothing
    /// but infos.
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
    /// It waits for a place; a call no longer than its deadline.
    #[default]
    Wait,
    /// It is refused at once.
    Refuse,
}

/// The way to a server, across its restarts. Cheap to clone.
///
/// While the server is not up (not yet, between two incarnations, not any more) messages are refused with `Gone`, at once.
pub struct Address<M>(Arc<Route<M>>);

struct Route<M> {
    mailbox: Mailbox,
    current: Mutex<Option<Open<M>>>,
    dropped_casts: AtomicU64,
}

/// An incarnation's mailbox, and the task that reads it.
struct Open<M> {
    inbox: Arc<Inbox<Envelope<M>, 1>>,
    task: Option<tokio::task::Id>,
}

struct Envelope<M> {
    message: M,
    cast: bool,
}

/// How long [`Address::call`] waits for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

impl<M: Send + 'static> Address<M> {
    fn new(mailbox: Mailbox) -> Self {
        Self(Arc::new(Route { mailbox, current: Mutex::new(None), dropped_casts: AtomicU64::new(0) }))
    }

    /// Asks, and waits for the answer, at most 5 seconds. `message` is given the [`Reply`] to put into the message.
    ///
    /// # Errors
    ///
    /// [`CallError`]. After [`CallError::TimedOut`] the message may still be handled; its answer is dropped. After
    /// [`CallError::Gone`] it may have been handled in part.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits for a place, nothing was sent; dropped later, the message is handled all the same.
    pub async fn call<T>(&self, message: impl FnOnce(Reply<T>) -> M) -> Result<T, CallError> {
        self.call_within(CALL_TIMEOUT, message).await
    }

    /// As [`call`](Self::call), with a deadline of one's own.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn call_within<T>(
        &self,
        timeout: Duration,
        message: impl FnOnce(Reply<T>) -> M,
    ) -> Result<T, CallError> {
        let Open { inbox, task } = self.open().ok_or(CallError::Gone)?;
        if task.is_some() && task == tokio::task::try_id() {
            return Err(CallError::WouldDeadlock);
        }
        let (reply, answer) = oneshot::channel();
        let envelope = Envelope { message: message(Reply(reply)), cast: false };
        let asked = async {
            self.post(&inbox, envelope).await.map_err(|refused| match refused {
                Refused::Closed(_) => CallError::Gone,
                Refused::Full(_) => CallError::Full,
            })?;
            answer.await.map_err(|_| CallError::Gone)
        };
        tokio::time::timeout(timeout, asked).await.unwrap_or(Err(CallError::TimedOut(timeout)))
    }

    /// Sends, without an answer. `Ok` says that it is queued; if the server ends before it gets there, the message is dropped
    /// and [counted](Self::dropped_casts).
    ///
    /// # Errors
    ///
    /// [`CastError`], with the message.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was sent.
    pub async fn cast(&self, message: M) -> Result<(), CastError<M>> {
        let Some(Open { inbox, .. }) = self.open() else { return Err(CastError::Gone(message)) };
        self.post(&inbox, Envelope { message, cast: true }).await.map_err(|refused| match refused {
            Refused::Closed(envelope) => CastError::Gone(envelope.message),
            Refused::Full(envelope) => CastError::Full(envelope.message),
        })
    }

    /// Sends without waiting and without bound: for the server's own timers and streams, which cannot wait.
    ///
    /// # Errors
    ///
    /// [`CastError::Gone`], with the message.
    pub fn info(&self, message: M) -> Result<(), CastError<M>> {
        let Some(Open { inbox, .. }) = self.open() else { return Err(CastError::Gone(message)) };
        inbox
            .push(0, Envelope { message, cast: true })
            .map_err(|Closed(envelope)| CastError::Gone(envelope.message))
    }

    /// Whether a server is up behind this address.
    pub fn is_up(&self) -> bool {
        self.0.current.lock().is_some()
    }

    /// How many casts and infos were queued and never handled, because their incarnation ended first.
    pub fn dropped_casts(&self) -> u64 {
        self.0.dropped_casts.load(Ordering::Relaxed)
    }

    fn open(&self) -> Option<Open<M>> {
        let current = self.0.current.lock();
        current.as_ref().map(|open| Open { inbox: open.inbox.clone(), task: open.task })
    }

    async fn post(
        &self,
        inbox: &Inbox<Envelope<M>, 1>,
        envelope: Envelope<M>,
    ) -> Result<(), Refused<Envelope<M>>> {
        match self.0.mailbox.when_full {
            WhenFull::Wait => {
                inbox.push_bounded(0, envelope).await.map_err(|Closed(envelope)| Refused::Closed(envelope))
            }
            WhenFull::Refuse => inbox.try_push_bounded(0, envelope),
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
        f.debug_struct("Address").field("up", &self.0.current.lock().is_some()).finish_non_exhaustive()
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
    /// The mailbox is full.
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

impl ChildSpec {
    /// A mailbox [`Server`], made anew by `factory` at each start, and its address.
    pub fn server<S: Server>(
        id: impl Into<ChildId>,
        factory: impl Fn() -> S + Send + Sync + 'static,
    ) -> (Self, Address<S::Message>) {
        Self::server_with(id, Mailbox::default(), factory)
    }

    /// As [`server`](Self::server), with a mailbox that is bounded in another way.
    pub fn server_with<S: Server>(
        id: impl Into<ChildId>,
        mailbox: Mailbox,
        factory: impl Fn() -> S + Send + Sync + 'static,
    ) -> (Self, Address<S::Message>) {
        let address = Address::new(mailbox);
        let route = address.clone();
        let spec =
            Self::new(id, move || Served { server: factory(), address: route.clone(), open: None, cx: None });
        (spec, address)
    }
}

/// A [`Server`] as a [`Child`].
struct Served<S: Server> {
    server: S,
    address: Address<S::Message>,
    open: Option<Opened<S::Message>>,
    cx: Option<ServerContext<S::Message>>,
}

#[async_trait]
impl<S: Server> Child for Served<S> {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let own = ServerContext { context: cx.clone(), address: self.address.clone() };
        let ready = self.server.init(self.cx.insert(own)).await?;
        if ready == Init::Ready {
            self.open = Some(Opened::new(&self.address));
            cx.publish(self.address.clone());
        }
        Ok(ready)
    }

    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        // Owned by this call, so that the mailbox is closed when it is over, returned or dropped.
        let (Some(open), Some(own)) = (self.open.take(), self.cx.as_mut()) else {
            return Err("a server's run was called before its init".into());
        };
        loop {
            // A mailbox that is never empty would otherwise never let its thread go.
            tokio::task::coop::consume_budget().await;
            cx.waiting();
            let envelope = tokio::select! {
                biased;
                reason = cx.stopped() => return Ok(stopped(reason)),
                envelope = open.inbox.pop() => envelope,
            };
            cx.working();
            match self.server.handle(envelope.message, own).await? {
                Flow::Continue => {}
                Flow::Stop(exit) => return Ok(exit),
            }
        }
    }

    async fn terminate(&mut self, _cx: &mut Context, reason: &ExitReason) {
        // Still open if a stop came before `run` did.
        self.open = None;
        if let Some(own) = self.cx.as_mut() {
            self.server.terminate(own, reason).await;
        }
    }

    fn defaults() -> Settings {
        S::defaults()
    }
}

fn stopped(reason: ExitReason) -> Exit {
    match reason {
        ExitReason::Shutdown(cause) => Exit::Shutdown(cause),
        _ => Exit::Normal,
    }
}

/// An incarnation's mailbox, open as long as this lives.
struct Opened<M> {
    inbox: Arc<Inbox<Envelope<M>, 1>>,
    route: Arc<Route<M>>,
}

impl<M: Send + 'static> Opened<M> {
    fn new(address: &Address<M>) -> Self {
        let inbox = Arc::new(Inbox::new(address.0.mailbox.capacity));
        let open = Open { inbox: inbox.clone(), task: tokio::task::try_id() };
        // An earlier incarnation's mailbox was closed and taken out when its run was over.
        *address.0.current.lock() = Some(open);
        Self { inbox, route: address.0.clone() }
    }
}

impl<M> Drop for Opened<M> {
    fn drop(&mut self) {
        let mut current = self.route.current.lock();
        let ours = current.as_ref().is_some_and(|open| Arc::ptr_eq(&open.inbox, &self.inbox));
        let gone = if ours { current.take() } else { None };
        drop(current);
        // Callers who waited in it are told now; their messages are foreign, so no lock is held.
        let left = self.inbox.close();
        let casts = left.iter().filter(|envelope| envelope.cast).count();
        self.route.dropped_casts.fetch_add(casts as u64, Ordering::Relaxed);
        drop((gone, left));
    }
}

#[cfg(test)]
mod tests;
