//! The scheduler: it starts a task's steps as children of the task's pod, and records how they end.
//!
//! It knows nothing that is not in the store. Each time around it looks at the task's state and does what is missing: a step
//! that is recorded as running and that it does not look after is a leftover, of an incarnation before it or of an earlier run, and
//! is ended and recorded as cut off; a step whose turn it is gets an attempt. So a restart of the scheduler needs no
//! memory and no special case.
//!
//! An attempt is [`Attempt::run`], from the workspace to the record of its end, on a task of its own.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipa_pod::PodStatus;
use ipa_supervisor::{
    BoxError, ChildSpec, Context, Exit, Output, Process, ProcessEnd, ProcessError, Shutdown, StartChildError,
    StartFailure, StopMode, TerminateChildError,
};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::args::source_root;
use crate::digest::Digest;
use crate::order::Next;
use crate::orphans::Identity;
use crate::peers::{Peers, State, child};
use crate::plan::Step;
use crate::pod::Shared;
use crate::report::time;
use crate::state::Command;
use crate::workspace::WorkspaceHandle;

/// How long a step that is stopped or timed out may take to end after SIGTERM; SIGKILL follows.
const GRACE: Duration = Duration::from_secs(2);

/// How long a stop may wait for the last records. What is not recorded then, the task's next pod records.
const LAST_RECORDS: Duration = Duration::from_millis(500);

/// The spec of the child. It is let finish, so that a stop of the pod is recorded.
pub fn spec(peers: Peers, shared: Arc<Shared>) -> ChildSpec {
    ChildSpec::task(child::SCHEDULER, move |cx| {
        Scheduler { peers: peers.clone(), shared: shared.clone() }.run(cx)
    })
    .stop_mode(StopMode::Cooperative)
}

/// The attempts under way, each with the step that it is at.
type Attempts = JoinSet<(String, Result<(), BoxError>)>;

#[derive(Clone)]
struct Scheduler {
    peers: Peers,
    shared: Arc<Shared>,
}

impl Scheduler {
    async fn run(self, cx: Context) -> Result<Exit, BoxError> {
        let mut state = self.peers.state().await?;
        let mut attempts = Attempts::new();
        let mut ours = HashSet::new();
        loop {
            tokio::select! {
                biased;
                _ = cx.stopped() => break,
                turn = self.turn(&cx, &mut state, &mut attempts, &mut ours) => turn?,
            }
        }
        // The steps were stopped before this child. The state manager is stopped after it, unless it was what the pod gave up on.
        if state.is_up() {
            let recorded = async { while attempts.join_next().await.is_some() {} };
            let _ = timeout(LAST_RECORDS, recorded).await;
        }
        Ok(Exit::Normal)
    }

    /// Does what is missing, then waits for news: of an attempt, or of the state. Dropped halfway, it is done again.
    async fn turn(
        &self,
        cx: &Context,
        state: &mut State,
        attempts: &mut Attempts,
        ours: &mut HashSet<String>,
    ) -> Result<(), BoxError> {
        if !self.stops() {
            self.reconcile(cx, state, attempts, ours).await?;
        }
        tokio::select! {
            Some(ended) = attempts.join_next() => {
                let (step, result) = of_task(ended);
                ours.remove(&step);
                result
            }
            Some(_) = state.next() => Ok(()),
            // No attempt, and no news to come: the state manager is gone for good, and so will this be.
            else => std::future::pending().await,
        }
    }

    /// Does what the state says is missing.
    async fn reconcile(
        &self,
        cx: &Context,
        state: &mut State,
        attempts: &mut Attempts,
        ours: &mut HashSet<String>,
    ) -> Result<(), BoxError> {
        let now = state.now();
        if now.state.ending.is_some() {
            self.peers.scope().pod().request_stop("the task has ended");
            return Ok(());
        }
        for (step, record) in now.state.running().filter(|(step, _)| !ours.contains(&step.id)) {
            self.end_leftover(state, &step.id, record.attempts).await?;
        }
        let (Next::Start(ready), Some(task)) = (now.state.next(), now.state.task()) else { return Ok(()) };
        for at in ready {
            let step = task.steps[at].clone();
            if ours.insert(step.id.clone()) {
                let number = now.state.steps[at].attempts + 1;
                // The context holds the lease: no successor of this incarnation is started before the last of its attempts is gone.
                let (scheduler, state, cx) = (self.clone(), state.clone(), cx.clone());
                let attempt = Attempt { scheduler, state, cx, step, number };
                attempts.spawn(async move { (attempt.step.id.clone(), attempt.run().await) });
            }
        }
        Ok(())
    }

    /// Ends a step's process, if there is one, and records that.
    async fn end_leftover(&self, state: &mut State, step: &str, attempt: u32) -> Result<(), BoxError> {
        self.end(step).await?;
        let reason = "cut off by a crash".to_owned();
        state.execute(Command::CutOff { step: step.to_owned(), attempt, reason }).await?;
        Ok(())
    }

    async fn end(&self, step: &str) -> Result<(), TerminateChildError> {
        match self.peers.scope().pod().terminate_child(child_of(step)).await {
            Ok(()) | Err(TerminateChildError::NotFound | TerminateChildError::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the pod stops: then steps end because they are told to, and nothing is started any more. The pod says so before
    /// it stops its first child.
    fn stops(&self) -> bool {
        matches!(self.peers.scope().pod().status(), PodStatus::Stopping | PodStatus::Stuck)
    }
}

/// A panic in an attempt is one of the scheduler.
fn of_task<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    match ended {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Nobody aborts them but the runtime, at its end.
            Err(error) => panic!("an attempt was aborted: {error}"),
        },
    }
}

/// The name of a step among the pod's children.
fn child_of(step: &str) -> String {
    format!("step:{step}")
}

/// One attempt at a step.
struct Attempt {
    scheduler: Scheduler,
    state: State,
    cx: Context,
    step: Step,
    number: u32,
}

impl Attempt {
    async fn run(&self) -> Result<(), BoxError> {
        let Scheduler { peers, shared } = &self.scheduler;
        let (task, label) = (peers.task(), format!("{}.{}", self.step.id, self.number));
        let mut state = self.state.clone();

        let ask = |workspace: WorkspaceHandle| {
            let label = label.clone();
            async move { workspace.directory(&label).await }
        };
        let directory = tokio::select! {
            directory = peers.ask(child::WORKSPACE, ask) => directory?,
            // Nobody may answer any more.
            _ = self.cx.stopped() => return Ok(()),
        };
        let output = shared.folders.output(task, &self.step.id, self.number);
        let (spec, mut ended) = self.process(&directory, &output).once(child_of(&self.step.id));
        match peers.scope().pod().start_child(spec.shutdown(Shutdown::Timeout(GRACE))).await {
            Ok(_) => {}
            Err(StartChildError::Failed(failure)) => return self.not_started(&failure).await,
            // The pod is about to stop, or has been.
            Err(StartChildError::Closed | StartChildError::Cancelled) => return Ok(()),
            // An earlier incarnation asked for it and crashed before there was anything to be found.
            Err(StartChildError::AlreadyStarted(_)) => return Ok(self.scheduler.end(&self.step.id).await?),
            Err(error) => return Err(error.into()),
        }
        let since = Instant::now();
        if shared.chaos.strikes(task, child::STATE, &label) {
            state.strike().await;
        }
        shared.chaos.maybe_panic(task, child::SCHEDULER, &label);

        let end = match self.step.timeout {
            None => Some(ended.await),
            Some(limit) => timeout(limit, &mut ended).await.ok(),
        };
        let (step, attempt) = (self.step.id.clone(), self.number);
        let command = match (end, self.step.timeout) {
            (None, limit) => {
                self.scheduler.end(&step).await?;
                let reason = format!("timed out after {}", time(limit.unwrap_or_default()));
                Command::Fail { step, attempt, reason }
            }
            // Not even success is to be trusted then: a program may exit with 0 when it is told to stop.
            (Some(ProcessEnd::Exited { stopped: true, .. }), _) => {
                Command::CutOff { step, attempt, reason: "cut off by the stop of its pod".to_owned() }
            }
            (Some(ProcessEnd::Exited { status, .. }), _) if status.success() => {
                let took = since.elapsed();
                let output = tokio::task::spawn_blocking(move || digest_of(&output)).await??;
                Command::Complete { step, attempt, output, took }
            }
            (Some(ProcessEnd::Exited { status, .. }), _) => {
                Command::Fail { step, attempt, reason: told(status) }
            }
            (Some(_), _) => {
                Command::CutOff { step, attempt, reason: "cut off, and nobody knows how".to_owned() }
            }
        };
        state.execute(command).await?;
        Ok(())
    }

    /// The step's program. It is held until the store knows of its process, and never executed if the store does not learn of it.
    fn process(&self, directory: &Path, output: &Path) -> Process {
        let Scheduler { peers, shared } = &self.scheduler;
        let argv = self.step.command.argv();
        let mut process = Process::command(argv[0]).args(&argv[1..]);
        for (name, value) in &self.step.env {
            process = process.env(name, value);
        }
        let (state, step, attempt) = (self.state.clone(), self.step.id.clone(), self.number);
        process
            .env("TASK_ID", peers.task())
            .env("STEP_ID", &self.step.id)
            .env("ATTEMPT", self.number.to_string())
            .env("SOURCE_ROOT", source_root())
            .env("WORKSPACE", directory)
            .env("OUT", shared.folders.out(peers.task()))
            .current_dir(directory)
            .output(Output::File(output.to_owned()))
            .before_exec(move |info| {
                let (mut state, step) = (state.clone(), step.clone());
                async move {
                    let process = tokio::task::spawn_blocking(move || Identity::of(info.pid)).await??;
                    state.execute(Command::Start { step, attempt, process }).await?;
                    Ok::<(), BoxError>(())
                }
            })
    }

    /// A program that is not there is a failure of the step's own. One that could not be recorded is the scheduler's.
    async fn not_started(&self, failure: &Arc<StartFailure>) -> Result<(), BoxError> {
        let process = failure.reason.source().and_then(|source| source.downcast_ref::<ProcessError>());
        match process {
            _ if self.scheduler.stops() => Ok(()),
            Some(ProcessError::BeforeExec { .. } | ProcessError::NotExecuted { .. }) | None => {
                Err(failure.clone().into())
            }
            Some(error) => {
                let (step, attempt) = (self.step.id.clone(), self.number);
                self.state
                    .clone()
                    .execute(Command::Fail { step, attempt, reason: error.to_string() })
                    .await?;
                Ok(())
            }
        }
    }
}

/// How a process ended, in a few words.
fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The digest of a file. Blocks.
fn digest_of(path: &PathBuf) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let (mut digest, mut buffer) = (Digest::EMPTY, vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest),
            read => digest = digest.and(&buffer[..read]),
        }
    }
}
