//! An operating-system process as a child.
//!
//! A plain [`Child`] on the crate's public API. The one trick is in [`reaper`]: a thread per process holds the incarnation's
//! lease until the process has been waited for, so an incarnation has not ended before its process has, whatever becomes of
//! the task, of the supervisor, of the runtime. This file is what a user sees; [`recipe`] knows how to start the program,
//! [`lines`] how to log what it writes.

mod error;
mod lines;
mod reaper;
mod recipe;
mod watch;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

pub use self::error::ProcessError;
pub use self::recipe::{Output, ProcessInfo, StopSignal};
pub use self::watch::{ProcessEnd, ProcessWatch};

use self::reaper::Running;
use self::recipe::Recipe;
use self::watch::Sender;
use crate::child::{Child, Init};
use crate::context::Context;
use crate::policy::{Settings, StopMode};
use crate::reason::{BoxError, Exit, ExitReason};
use crate::spec::{ChildId, ChildSpec, OneShotSpec};

/// An operating-system process as a [`Child`]: the child that can be killed for good.
///
/// A task that never yields, a thread, a blocking closure can only be asked to end; if they do not listen, they are *stuck*.
/// A process can be made to end: SIGKILL is not a request. So this is the child for work that is not trusted to stop.
///
/// # What it is given
///
/// - A process group of its own, of which it is the leader. Signals go to the whole group, so what it starts stops with it.
/// - `/dev/null` as its standard input.
/// - Its output in the log, line by line, unless [`output`](Self::output) says otherwise.
/// - The environment and the working directory of this process, as far as [`env`](Self::env), [`env_clear`](Self::env_clear)
///   and [`current_dir`](Self::current_dir) leave them.
///
/// # What it ends with
///
/// Exit code 0 is [`Exit::Normal`]. Any other code, and a signal, is an error: [`ProcessError::Exited`]. A program that
/// cannot be executed is a failed start.
///
/// # What a stop does
///
/// SIGTERM (or the [`stop_signal`](Self::stop_signal)) goes to the group. At the deadline, which is the spec's
/// [`Shutdown`](crate::Shutdown), SIGKILL follows; with a brutal kill it comes first. After a stop, exit code 0, a death by
/// the stop's own signal, and the exit code 128 + that signal are a clean shutdown.
///
/// With [`StopMode::Drop`] there is no SIGTERM: the process is killed at once.
///
/// SIGKILL also goes to the group whenever the incarnation is given up: its task is aborted, its supervisor is, the runtime
/// is dropped. In each case the incarnation's [lease](crate::Lease) is held until the process has been waited for: no stop is
/// answered, no successor started, no name or permit tied to the lease given back before the process is gone. No signal is
/// ever sent to a number that might be another process's by then.
///
/// # Grandchildren
///
/// When the process ends, by itself or not, what is left of its group is sent SIGKILL. Nobody but init can wait for
/// grandchildren, so they may take an instant longer to be gone than the process; they execute no more of their own code. A
/// grandchild that leaves the group (`setsid`, a daemon) is out of reach, of a stop as well.
///
/// # What remains
///
/// If *this* process ends without its supervisors (killed with SIGKILL, by Ctrl-C or another signal that it does not handle, by
/// [`std::process::exit`], or while a start is being made), its children run on, as every process's do: each has a group of its own, to which a terminal's
/// Ctrl-C does not go. Whoever must find them again writes them down with [`before_exec`](Self::before_exec).
///
/// Nothing in this program may wait for *all* its children (`waitpid(-1)`) or ignore SIGCHLD: the exit status would be lost
/// ([`ProcessError::StatusLost`]), and the rest of the group not killed. SIGPIPE is to be ignored, as Rust's programs do.
///
/// # Cost
///
/// One thread for each process, and one more for each of its streams that goes to the log.
///
/// Defaults: [`StopMode::Cooperative`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ipa_supervisor::{ChildSpec, Output, Process, Restart, Supervisor};
///
/// let worker = Process::command("sleep").arg("1000").output(Output::Null);
/// let supervisor = Supervisor::builder()
///     .child(worker.spec("worker").restart(Restart::Transient))
///     .start()
///     .await?; // the program is running
/// supervisor.shutdown().await?; // the process is gone
/// # Ok(()) }
/// ```
#[must_use = "a process does nothing until a supervisor is given its spec"]
pub struct Process {
    recipe: Recipe,
    watch: Option<Sender>,
    running: Option<Running>,
}

impl Process {
    /// A program with no arguments yet. Without a `/` in its name it is looked for in `PATH`.
    pub fn command(program: impl AsRef<OsStr>) -> Self {
        Self { recipe: Recipe::new(program.as_ref()), watch: None, running: None }
    }

    /// A line for the shell: `sh -c line`. The shell is the group's leader; what it runs is in the group.
    pub fn shell(line: impl AsRef<OsStr>) -> Self {
        Self::command("sh").arg("-c").arg(line)
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.recipe.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.recipe.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.recipe.variables.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Leaves nothing in the environment but what [`env`](Self::env) sets after this. Default: that of this process.
    pub fn env_clear(mut self) -> Self {
        self.recipe.clear_environment = true;
        self.recipe.variables.clear();
        self
    }

    /// The working directory. Default: that of this process.
    ///
    /// A relative path of the program itself is relative to it; paths of output files are not.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.recipe.directory = Some(directory.into());
        self
    }

    /// Where standard output and standard error go. Default: [`Output::Log`].
    ///
    /// A file is opened once for both, so that what is written to it keeps its order.
    pub fn output(self, output: Output) -> Self {
        self.stdout(output.clone()).stderr(output)
    }

    /// Where standard output goes. Default: [`Output::Log`], at the level `info`.
    pub fn stdout(mut self, output: Output) -> Self {
        self.recipe.stdout = output;
        self
    }

    /// Where standard error goes. Default: [`Output::Log`], at the level `warn`.
    pub fn stderr(mut self, output: Output) -> Self {
        self.recipe.stderr = output;
        self
    }

    /// The signal that asks the process to stop. Default: SIGTERM.
    ///
    /// Processes inherit which signals are ignored: where this one was started with SIGINT ignored (as a job in the background
    /// of a shell is) or SIGHUP (by `nohup`), its children ignore it as well, unless they say otherwise.
    pub fn stop_signal(mut self, signal: StopSignal) -> Self {
        self.recipe.stop_signal = signal;
        self
    }

    /// Has `hook` called at each start with the number of the process *before the program is executed*.
    ///
    /// The process exists then, and waits. Only when `hook` has returned `Ok` is the program executed in it, under that same
    /// number. If `hook` fails, if the start is cancelled or timed out, or if this process dies meanwhile (by SIGKILL, even),
    /// the program is never executed. So a durable record of every program that ran is possible: what is not in the record has
    /// done nothing. An error of `hook` is a failed start ([`ProcessError::BeforeExec`]).
    ///
    /// Numbers of processes are used again once a process is gone, so a record that is to be acted upon after a crash needs
    /// more than the number: on Linux the boot id and the start time in `/proc/PID/stat`, which `execve` does not change.
    ///
    /// The process waits as a `/bin/sh`, which sets what a shell has of its own: `PWD`, `IFS`, `PPID`, `OPTIND` (where it may refuse what it finds),
    /// bash also `SHLVL` and `_`; and it may leave variables out whose names are not valid in a shell.
    ///
    /// # Cancel safety
    ///
    /// The hook's future is dropped when the start is cancelled; the program is then not executed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ipa_supervisor::{Output, Process, ProcessInfo, Supervisor};
    ///
    /// async fn record(process: ProcessInfo) -> Result<(), std::io::Error> {
    ///     // write process.pid where it survives, and sync
    ///     Ok(())
    /// }
    ///
    /// let worker = Process::command("sleep").arg("1000").output(Output::Null).before_exec(record);
    /// let supervisor = Supervisor::builder().child(worker.spec("worker")).start().await?;
    /// supervisor.shutdown().await?;
    /// # Ok(()) }
    /// ```
    pub fn before_exec<F, Fut, E>(mut self, hook: F) -> Self
    where
        F: Fn(ProcessInfo) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.recipe.before_exec = Some(Arc::new(move |info| {
            let recorded = hook(info);
            Box::pin(async move { recorded.await.map_err(Into::into) })
        }));
        self
    }

    /// The spec of a child that runs this process, anew at each start.
    pub fn spec(self, id: impl Into<ChildId>) -> ChildSpec {
        ChildSpec::new(id, move || self.clone())
    }

    /// The spec of a child that runs this process once, and a future that tells how the process ended.
    ///
    /// It tells the truth whatever becomes of the child's task, of the supervisor and of the runtime; see [`ProcessWatch`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ipa_supervisor::{DynamicSupervisor, Process, ProcessEnd};
    ///
    /// let jobs = DynamicSupervisor::builder().start().await?;
    /// let (spec, end) = Process::shell("exit 3").once("job");
    /// let _child = jobs.start_child(spec).await?;
    /// let ProcessEnd::Exited { status, .. } = end.await else { unreachable!() };
    /// assert_eq!(status.code(), Some(3));
    /// # jobs.shutdown().await?;
    /// # Ok(()) }
    /// ```
    pub fn once(mut self, id: impl Into<ChildId>) -> (OneShotSpec, ProcessWatch) {
        let (sender, watch) = watch::channel();
        self.watch = Some(sender);
        (ChildSpec::once_with(id, move || self), watch)
    }

    /// What `run` ends with after the process has ended without having been asked to.
    fn ended(&self, end: ProcessEnd) -> Result<Exit, BoxError> {
        let program = self.recipe.name();
        Err(Box::new(match end {
            ProcessEnd::Exited { status, .. } if status.success() => return Ok(Exit::Normal),
            ProcessEnd::Exited { status, .. } => ProcessError::Exited { program, status },
            ProcessEnd::NotExecuted => ProcessError::NotExecuted { program },
            ProcessEnd::Unknown { pid } => ProcessError::StatusLost { program, pid },
        }))
    }
}

/// A clone is the same program to be started, not the same process.
impl Clone for Process {
    fn clone(&self) -> Self {
        Self { recipe: self.recipe.clone(), watch: None, running: None }
    }
}

/// Leaves out the values of the environment, which may be secrets.
impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<&OsString> = self.recipe.variables.keys().collect();
        f.debug_struct("Process")
            .field("program", &self.recipe.program)
            .field("arguments", &self.recipe.arguments)
            .field("variables", &variables)
            .field("directory", &self.recipe.directory)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Child for Process {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let (mut running, info) = Running::start(self.recipe.clone(), self.watch.take(), cx).await?;
        if let Some(hook) = &self.recipe.before_exec {
            // Dropping `running`, here or by a cancelled start, kills the process at its gate.
            hook(info)
                .await
                .map_err(|source| ProcessError::BeforeExec { program: self.recipe.name(), source })?;
            running.release();
        }
        self.running = Some(running);
        Ok(Init::Ready)
    }

    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        let Some(running) = self.running.as_mut() else {
            return Err("a process's run was called before its init".into());
        };
        let reason = tokio::select! {
            biased;
            end = running.ended() => return self.ended(end),
            reason = cx.stopped() => reason,
        };
        let signal = self.recipe.stop_signal;
        running.signal(signal);
        match running.ended().await {
            ProcessEnd::Exited { status, .. } if signal.explains(status) => Ok(match reason {
                ExitReason::Shutdown(cause) => Exit::Shutdown(cause),
                _ => Exit::shutdown(),
            }),
            end => self.ended(end),
        }
    }

    fn defaults() -> Settings {
        Settings { stop_mode: Some(StopMode::Cooperative), ..Settings::default() }
    }
}
