//! A child on a thread of its own, for code that blocks.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::child::{Child, Init, IntoExit};
use crate::context::Context;
use crate::lease::Lease;
use crate::lineage::CURRENT;
use crate::policy::{Settings, StopMode};
use crate::reason::{BoxError, Exit};
use crate::spec::{ChildId, ChildSpec};

type Run = dyn Fn(&BlockingContext) -> Result<Exit, BoxError> + Send + Sync;

impl ChildSpec {
    /// A closure that blocks, called anew at each start on an operating-system thread of its own.
    ///
    /// A thread cannot be killed. On a stop, its [`BlockingContext`] says so, and the closure is waited for, within the child's
    /// shutdown time; one that does not return by then makes the child *stuck*, for the thread holds the incarnation's lease until
    /// it returns. What must be killable for good belongs in a [`Process`](crate::Process).
    ///
    /// A panic in the closure is the child's.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use ipa_supervisor::{ChildSpec, Supervisor};
    ///
    /// let spec = ChildSpec::blocking("sampler", |cx| {
    ///     while !cx.stopped_within(Duration::from_secs(1)) {
    ///         // read a sensor that blocks
    ///     }
    /// });
    /// let supervisor = Supervisor::builder().child(spec).start().await?;
    /// supervisor.shutdown().await?; // the thread has ended
    /// # Ok(()) }
    /// ```
    pub fn blocking<E: IntoExit>(
        id: impl Into<ChildId>,
        run: impl Fn(&BlockingContext) -> E + Send + Sync + 'static,
    ) -> Self {
        let run: Arc<Run> = Arc::new(move |cx| run(cx).into_exit());
        Self::new(id, move || Blocking { run: run.clone(), thread: None })
    }
}

/// What a blocking child sees: its [`Context`], and the request to stop in a form that a thread can wait for.
#[derive(Debug)]
pub struct BlockingContext {
    context: Context,
    /// Its other end is dropped on a stop.
    stop: Receiver<()>,
}

impl BlockingContext {
    /// The child's context. The thread is within the child's runtime, so that what spawns there does so from here, too.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whether the child has been asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.stopped_within(Duration::ZERO)
    }

    /// Blocks until the child is asked to stop, at most for so long; answers whether it was.
    pub fn stopped_within(&self, time: Duration) -> bool {
        matches!(self.stop.recv_timeout(time), Err(RecvTimeoutError::Disconnected) | Ok(()))
    }

    /// Blocks until the child is asked to stop.
    pub fn stopped(&self) {
        let _ = self.stop.recv();
    }
}

struct Blocking {
    run: Arc<Run>,
    thread: Option<Thread>,
}

struct Thread {
    ended: oneshot::Receiver<thread::Result<Result<Exit, BoxError>>>,
    stop: Option<std::sync::mpsc::Sender<()>>,
}

/// What the thread owns. Fields drop in this order: the lease last.
struct Work {
    run: Arc<Run>,
    cx: BlockingContext,
    tell: oneshot::Sender<thread::Result<Result<Exit, BoxError>>>,
    lease: Lease,
}

#[async_trait]
impl Child for Blocking {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let (stop, stopped) = channel();
        let (tell, ended) = oneshot::channel();
        let cx_of_thread = BlockingContext { context: cx.clone(), stop: stopped };
        let work = Work { run: self.run.clone(), cx: cx_of_thread, tell, lease: cx.lease() };
        let runtime = Handle::current();
        thread::Builder::new().name(cx.id().as_str().replace('\0', "?")).spawn(move || {
            let Work { run, cx, tell, lease } = work;
            // So that the child's context can do there what it can do elsewhere: spawn, for one.
            let _entered = runtime.enter();
            let within = cx.context.control().within();
            let call = || CURRENT.sync_scope(within, || run(&cx));
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
            // All that is the child's goes before the word of its end, and the lease last.
            drop((run, cx));
            let _ = tell.send(result);
            drop(lease);
        })?;
        self.thread = Some(Thread { ended, stop: Some(stop) });
        Ok(Init::Ready)
    }

    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        let Some(thread) = self.thread.as_mut() else {
            return Err("a blocking child's run was called before its init".into());
        };
        let ended = tokio::select! {
            ended = &mut thread.ended => ended,
            _ = cx.stopped() => {
                thread.stop = None;
                (&mut thread.ended).await
            }
        };
        match ended {
            Ok(Ok(result)) => result,
            Ok(Err(payload)) => std::panic::resume_unwind(payload),
            // The thread always tells, unless telling itself panicked.
            Err(_) => Err("the child's thread ended without a word".into()),
        }
    }

    fn defaults() -> Settings {
        Settings { stop_mode: Some(StopMode::Cooperative), ..Settings::default() }
    }
}
