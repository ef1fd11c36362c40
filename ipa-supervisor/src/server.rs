//! The mailbox server: a child that handles messages one at a time.
//!
//! Its [`Address`] outlives incarnations: it leads to whoever is the child now. Each incarnation has a mailbox of its own, new and
//! empty, and when its `run` is over, for whatever reason, the mailbox is closed at once, before `terminate`: callers are not
//! kept waiting for an answer that will not come.

use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use async_trait::async_trait;

use crate::address::{Address, Mailbox, Reader};
use crate::child::{Child, Init};
use crate::context::Context;
use crate::policy::Settings;
use crate::reason::{BoxError, Exit, ExitReason};
use crate::spec::{ChildId, ChildSpec};

/// A child that handles messages one at a time: OTP's `gen_server`.
///
/// Messages are one type, usually an enum. A question carries a [`Reply`](crate::Reply) and is asked with [`Address::call`]; a statement is
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
    // As `Child::init`, which has no size.
    fn init<'this, 'cx, 'init>(
        &'this mut self,
        cx: &'cx mut ServerContext<Self::Message>,
    ) -> Pin<Box<dyn Future<Output = Result<Init, BoxError>> + Send + 'init>>
    where
        'this: 'init,
        'cx: 'init,
        Self: 'init,
    {
        let _ = cx;
        Box::pin(poll_fn(|_| Poll::Ready(Ok(Init::Ready))))
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
    // As `init`.
    fn terminate<'this, 'cx, 'reason, 'terminate>(
        &'this mut self,
        cx: &'cx mut ServerContext<Self::Message>,
        reason: &'reason ExitReason,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'terminate>>
    where
        'this: 'terminate,
        'cx: 'terminate,
        'reason: 'terminate,
        Self: 'terminate,
    {
        let _ = (cx, reason);
        Box::pin(poll_fn(|_| Poll::Ready(())))
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
    /// Closed before the lease goes, which is the context's.
    reader: Reader<M>,
    context: Context,
}

impl<M> ServerContext<M> {
    /// The address of this server: for timers and streams that are to send it [`info`](Address::info).
    pub fn address(&self) -> &Address<M> {
        self.reader.address()
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
            Self::new(id, move || Served { reader: Some(Reader::new(&route)), server: factory(), cx: None });
        (spec, address)
    }
}

const OUT_OF_ORDER: &str = "a server was run before its init";

/// A [`Server`] as a [`Child`].
struct Served<S: Server> {
    /// Until `init` has it.
    reader: Option<Reader<S::Message>>,
    server: S,
    /// From `init` on.
    cx: Option<ServerContext<S::Message>>,
}

impl<S: Server> Served<S> {
    /// Closes the mailbox: who waits for an answer is not kept waiting.
    fn close(&self) {
        if let Some(own) = &self.cx {
            own.reader.close();
        }
    }
}

impl<S: Server> Drop for Served<S> {
    fn drop(&mut self) {
        // Before the server goes, which may take its time.
        self.close();
    }
}

impl<M: Send + 'static> ServerContext<M> {
    /// How a server that is watched says whether it works.
    fn says(&self) -> Option<impl Fn(bool) -> bool> {
        self.is_watched().then_some(|works| self.report_alive(works))
    }
}

#[async_trait]
impl<S: Server> Child for Served<S> {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let Some(reader) = self.reader.take() else { return Err(OUT_OF_ORDER.into()) };
        let own = self.cx.insert(ServerContext { reader, context: cx.clone() });
        let ready = self.server.init(own).await?;
        if ready == Init::Ready {
            if !Arc::ptr_eq(own.control(), cx.control()) {
                // It has put that of another in its place.
                own.context = cx.clone();
            }
            own.reader.open(cx.control().manner.steps_back());
            if let Some(entry) = cx.control().entry() {
                entry.publish(own.reader.published());
            }
        }
        Ok(ready)
    }

    fn poll_ready(&mut self, _cx: &mut Context, task: &mut task::Context<'_>) -> Poll<()> {
        // If there is none, `run` says so.
        self.cx.as_ref().map_or(Poll::Ready(()), |own| own.reader.poll_ready(task, own.says()))
    }

    // As async_trait would have it, but for the arguments, which it keeps twice: this is what a server waits in from its first message on.
    // The context is the server's own, and looked for again after each wait instead of being kept.
    fn run<'this, 'cx, 'run>(
        &'this mut self,
        _cx: &'cx mut Context,
    ) -> Pin<Box<dyn Future<Output = Result<Exit, BoxError>> + Send + 'run>>
    where
        'this: 'run,
        'cx: 'run,
        Self: 'run,
    {
        Box::pin(async move {
            loop {
                // A mailbox that is never empty would otherwise never let its thread go.
                tokio::task::coop::consume_budget().await;
                let Some(own) = &self.cx else { return Err(OUT_OF_ORDER.into()) };
                // The stop first.
                let next = poll_fn(|task| match own.look_for_stop(task) {
                    Poll::Ready(cause) => Poll::Ready(Err(cause)),
                    Poll::Pending => own.reader.poll_next(task, own.says()).map(Ok),
                });
                let message = match next.await {
                    Ok(message) => message,
                    Err(cause) => return Ok(Exit::Shutdown(cause)),
                };
                let Some(own) = &mut self.cx else { return Err(OUT_OF_ORDER.into()) };
                match self.server.handle(message, own).await? {
                    Flow::Continue => {}
                    Flow::Stop(exit) => return Ok(exit),
                }
            }
        })
    }

    // Not an `async fn`, which would be one more allocation around that of the server's.
    fn terminate<'this, 'cx, 'reason, 'terminate>(
        &'this mut self,
        _cx: &'cx mut Context,
        reason: &'reason ExitReason,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'terminate>>
    where
        'this: 'terminate,
        'cx: 'terminate,
        'reason: 'terminate,
        Self: 'terminate,
    {
        self.close();
        match &mut self.cx {
            Some(own) => self.server.terminate(own, reason),
            None => Box::pin(std::future::ready(())),
        }
    }

    fn defaults() -> Settings {
        S::defaults()
    }
}
