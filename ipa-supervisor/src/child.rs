//! The trait that every child implements: three calls, on a task of the child's own, and what it waits for between them.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use async_trait::async_trait;

use crate::context::Context;
use crate::policy::Settings;
use crate::reason::{BoxError, Exit, ExitReason};

/// What a child's `init` decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// It is up; its start is reported as done, and `run` is called.
    Ready,
    /// It does not want to run now (OTP's `ignore`). Not an error: its spec is kept, not running, and it can be started
    /// with `restart_child`; a temporary one, or one of a dynamic supervisor, is forgotten.
    Ignore,
}

/// A supervised child: `init`, then `run`, then `terminate`, on one value, on one task.
///
/// - `init` runs before the start is reported. An error or a panic fails the start. A stop that arrives meanwhile drops
///   it (but see [`StopMode::CooperativeInit`](crate::StopMode::CooperativeInit)).
/// - `run` is the child's life, from when it is [ready](Self::poll_ready): at once, unless its type says otherwise. On a stop it is dropped at its next await, or sees [`Context::stopped`] and finishes by
///   itself, as its [`StopMode`](crate::StopMode) says.
/// - `terminate` runs after `run`, on the same value: within the shutdown deadline on a stop, within the same time, from its first wait, after
///   `run` ended by itself, an error and a panic included (5 seconds if the child's shutdown is a brutal kill). It does not
///   run after an `init` that failed or was cancelled (there `Drop` cleans up), nor after a kill.
///
/// The nearest in OTP is `gen_server`'s `init/1` and `terminate/2` with the loop between them left to you.
///
/// State that must survive belongs in a store before anything is answered from it: a restart begins with a fresh value. It may go on
/// on the task of the incarnation before it, so tokio's task id does not tell incarnations apart; [`Context::child`] does.
///
/// # Panics
///
/// A panic anywhere in these calls ends this incarnation as [`ExitReason::Panicked`] and nothing else. With
/// `panic = "abort"` there is no supervision of panics: the process ends.
///
/// # A child that blocks
///
/// A child must not block its thread. A supervisor never waits for a child's code, but a thread that is blocked polls nobody
/// else either, and a task that never yields cannot be aborted. Work that blocks belongs in [`Context::spawn_blocking`], or
/// in a process of its own, which can be killed for good ([`Process`](crate::Process)).
///
/// ```
/// use ipa_supervisor::{BoxError, Child, Context, Exit, Init, async_trait};
///
/// struct Ticker { ticks: u64 }
///
/// #[async_trait]
/// impl Child for Ticker {
///     async fn init(&mut self, _cx: &mut Context) -> Result<Init, BoxError> {
///         self.ticks = 0;
///         Ok(Init::Ready)
///     }
///     async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
///         let mut interval = tokio::time::interval(std::time::Duration::from_secs(1));
///         loop {
///             interval.tick().await;
///             self.ticks += 1;
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Child: Send + 'static {
    /// Gets ready. The start is reported when this returns.
    // As an `async fn` would be, but that it has no size: most children have nothing to do here, and boxing it allocates nothing.
    fn init<'this, 'cx, 'init>(
        &'this mut self,
        cx: &'cx mut Context,
    ) -> Pin<Box<dyn Future<Output = Result<Init, BoxError>> + Send + 'init>>
    where
        'this: 'init,
        'cx: 'init,
        Self: 'init,
    {
        let _ = cx;
        Box::pin(poll_fn(|_| Poll::Ready(Ok(Init::Ready))))
    }

    /// The child's life. `Ok` is a normal end, `Err` an abnormal one.
    ///
    /// It is called after the start has been reported, so a stop may come before: with [`StopMode::Drop`](crate::StopMode::Drop) it is not
    /// called then, and `terminate` is. What must happen at every start belongs in [`init`](Self::init).
    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError>;

    /// Cleans up. `reason` is what `run` ended with, or the shutdown that ended it.
    // As `init`.
    fn terminate<'this, 'cx, 'reason, 'terminate>(
        &'this mut self,
        cx: &'cx mut Context,
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

    /// What the child waits for before it runs. Default: nothing.
    ///
    /// Polled when the child is up, until it is ready; then [`run`](Self::run) is called. A child that spends its life in a wait, as a server
    /// does, waits here: a `run` is a block of memory, and one that is not called is none. The nearest elsewhere is `poll_ready` of tower's
    /// `Service`.
    ///
    /// When a stop is requested it is not polled any more. With [`StopMode::Drop`](crate::StopMode::Drop) `run` is not called then, but `terminate` is; with the
    /// others the child counts as ready, and its `run` sees the stop. To [`max_silence`](crate::ChildSpec::max_silence) a child works meanwhile, unless it
    /// says that it [waits](Context::waiting).
    ///
    /// On a runtime with several workers a child lets its worker go once between `init` and `run`, so that a `run` which blocks at once does not
    /// hold up the answer to its own start. One that was pending here has done that, which spares a tenth of what its start takes. A child
    /// whose last run has awaited something is restarted without: if what it waits for may be there already then, as a message may be, and may
    /// block it, it is pending once by itself, and wakes itself.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::task::{Context as Task, Poll};
    /// use ipa_supervisor::{BoxError, Child, ChildSpec, Context, Exit, Supervisor, async_trait};
    /// use tokio::sync::mpsc;
    ///
    /// /// Adds up what it is sent from its first number on, and ends when nobody is left to send more.
    /// struct Sum { first: Option<u64>, numbers: mpsc::Receiver<u64>, done: Option<mpsc::Sender<u64>> }
    ///
    /// #[async_trait]
    /// impl Child for Sum {
    ///     fn poll_ready(&mut self, _cx: &mut Context, task: &mut Task<'_>) -> Poll<()> {
    ///         self.numbers.poll_recv(task).map(|first| self.first = first)
    ///     }
    ///     async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
    ///         let mut sum = self.first.take().unwrap_or(0);
    ///         while let Some(number) = self.numbers.recv().await {
    ///             sum += number;
    ///         }
    ///         if let Some(done) = self.done.take() {
    ///             done.send(sum).await?;
    ///         }
    ///         Ok(Exit::Normal)
    ///     }
    /// }
    ///
    /// let (send, numbers) = mpsc::channel(8);
    /// let (done, mut sum) = mpsc::channel(1);
    /// let spec = ChildSpec::once_with("sum", || Sum { first: None, numbers, done: Some(done) });
    /// let supervisor = Supervisor::builder().start().await?;
    /// supervisor.start_child(spec).await?;
    /// send.send(2).await?;
    /// send.send(3).await?;
    /// drop(send);
    /// assert_eq!(sum.recv().await, Some(5));
    /// # supervisor.shutdown().await?;
    /// # Ok(()) }
    /// ```
    fn poll_ready(&mut self, cx: &mut Context, task: &mut task::Context<'_>) -> Poll<()> {
        let _ = (cx, task);
        Poll::Ready(())
    }

    /// What this type of child wants where the caller says nothing. Beats the supervisor's own defaults.
    fn defaults() -> Settings
    where
        Self: Sized,
    {
        Settings::default()
    }
}

/// What an async function may return to be a child: `()`, an [`Exit`], or a `Result` of one; one that never returns will do as well.
///
/// ```
/// use ipa_supervisor::{ChildSpec, Exit};
///
/// let _ = ChildSpec::task("plain", |_cx| async {});
/// let _ = ChildSpec::task("fallible", |_cx| async { std::fs::read("settings").map(|_| ()) });
/// let _ = ChildSpec::task("worded", |_cx| async { Exit::shutdown_with("nothing to do") });
/// let _ = ChildSpec::task("endless", |_cx| async { loop { tokio::task::yield_now().await } });
/// ```
#[diagnostic::on_unimplemented(
    message = "a child cannot end with `{Self}`",
    note = "a child's function returns `()`, an `Exit`, or a `Result` of either; a `;` after its last expression makes that `()`"
)]
pub trait IntoExit {
    /// The result of a [`Child::run`] that this stands for.
    fn into_exit(self) -> Result<Exit, BoxError>;
}

impl IntoExit for () {
    fn into_exit(self) -> Result<Exit, BoxError> {
        Ok(Exit::Normal)
    }
}

/// For the name that `!` has on stable Rust: what a function pointer returns. Not exported.
pub trait Returns {
    /// What is returned.
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}

/// A child that never returns: `async { loop { .. } }`.
impl IntoExit for <fn() -> ! as Returns>::Output {
    fn into_exit(self) -> Result<Exit, BoxError> {
        self
    }
}

impl IntoExit for Exit {
    fn into_exit(self) -> Result<Exit, BoxError> {
        Ok(self)
    }
}

impl<T: IntoExit, E: Into<BoxError>> IntoExit for Result<T, E> {
    fn into_exit(self) -> Result<Exit, BoxError> {
        self.map_err(Into::into)?.into_exit()
    }
}

/// How one incarnation ended, as its lease reports it.
#[derive(Clone, Debug)]
pub enum End {
    /// `init` answered [`Init::Ignore`].
    Declined,
    /// It ended for this reason; if its start had not been reported, the start failed with it.
    Exited(ExitReason),
}

/// The text of a panic's payload.
pub(crate) fn panic_text(payload: Box<dyn std::any::Any + Send>) -> Arc<str> {
    let text = match payload.downcast::<String>() {
        Ok(text) => return Arc::from(*text),
        Err(payload) => match payload.downcast::<&'static str>() {
            Ok(text) => return Arc::from(*text),
            Err(payload) => {
                // The payload is foreign, and so is its Drop, which may panic with a payload of the same kind:
                // the second one is leaked rather than chased.
                let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(payload)));
                if let Err(second) = dropped {
                    std::mem::forget(second);
                }
                "panic: <non-string>"
            }
        },
    };
    Arc::from(text)
}
