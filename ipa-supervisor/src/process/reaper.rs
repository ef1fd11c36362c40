//! The thread that starts a process, waits for it, and holds the incarnation's lease meanwhile.
//!
//! The one trick is how it waits. It first waits without reaping (`WNOWAIT`): the ended process stays behind as a zombie, and
//! its number, which is the group's as well, can be nobody else's. Then, under the lock through which all signals go, it kills
//! what is left of the group, reaps the zombie, and forgets the number. So a signal is sent while the number is the process's,
//! or not at all.

use std::io::{PipeWriter, Write};
use std::process::Child;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tokio::sync::oneshot;

use super::error::ProcessError;
use super::recipe::{ProcessInfo, Recipe, Spawned, StopSignal};
use super::watch::{ProcessEnd, Sender};
use crate::context::Context;
use crate::lease::Lease;
use crate::log;
use crate::machine::ChildRef;

/// The task's side of a process. Its drop kills the group, unless the process has ended.
pub(super) struct Running {
    leader: Arc<Leader>,
    gate: Option<PipeWriter>,
    end: oneshot::Receiver<ProcessEnd>,
    pid: u32,
}

impl Running {
    /// Starts the process on a thread of its own, so that nothing (a file's `open`, `fork`, `exec`) blocks the runtime.
    ///
    /// Cancel safe: if it is dropped, the process is killed as soon as there is one.
    pub(super) async fn start(
        recipe: Recipe,
        watch: Option<Sender>,
        cx: &Context,
    ) -> Result<(Self, ProcessInfo), ProcessError> {
        let program = recipe.name();
        let lost = |source| ProcessError::Resources { program: program.clone(), source };
        let (started_sender, started) = oneshot::channel();
        let (end_sender, end) = oneshot::channel();
        let leader = Arc::new(Leader::default());
        // From here on whoever drops this kills the process, or has it killed as soon as it is there.
        let mut running = Self { leader: leader.clone(), gate: None, end, pid: 0 };
        let mut reaper = Reaper {
            recipe,
            leader,
            child: cx.child().clone(),
            started: Some(started_sender),
            end: Some(end_sender),
            watch,
            _lease: cx.lease(),
        };
        thread::Builder::new().name("ipa-process".into()).spawn(move || reaper.live()).map_err(lost)?;
        let (pid, gate) = match started.await {
            Ok(started) => started?,
            // The thread has panicked, before there was a process.
            Err(_) => return Err(lost(std::io::Error::other("the thread that waits for it panicked"))),
        };
        running.pid = pid;
        running.gate = gate;
        Ok((running, ProcessInfo::leader(pid)))
    }

    /// Lets a process that is held at its gate execute its program.
    pub(super) fn release(&mut self) {
        // Noted first: a process that dies between the two counts as having executed its program, as it may have.
        self.leader.0.lock().released = true;
        if let Some(mut gate) = self.gate.take() {
            // Refused only if the process has ended; its status tells.
            let _ = gate.write_all(b"\n");
        }
    }

    /// Sends the group a signal, unless the process has ended.
    pub(super) fn signal(&self, signal: StopSignal) {
        let sent = {
            let mut state = self.leader.0.lock();
            state.stopped = true;
            state.signal(signal.into())
        };
        self.tell(sent);
    }

    /// Apart from the sending, so that no subscriber runs under the lock.
    fn tell(&self, sent: Result<(), Errno>) {
        if let Err(error) = sent {
            log::said(|| tracing::warn!(pid = self.pid, %error, "a process could not be sent a signal"));
        }
    }

    /// Resolves when the process has ended. Cancel safe; resolves once.
    pub(super) async fn ended(&mut self) -> ProcessEnd {
        // Without an answer the thread has panicked, and what it knew is lost.
        (&mut self.end).await.unwrap_or(ProcessEnd::Unknown { pid: self.pid })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Before the gate is dropped with the other fields; its end of file would make the held process end by itself.
        let sent = {
            let mut state = self.leader.0.lock();
            state.stopped = true;
            state.kill()
        };
        self.tell(sent);
    }
}

/// The process as those see it who signal it.
#[derive(Default)]
struct Leader(Mutex<State>);

#[derive(Default)]
struct State {
    /// The number of the process and of its group, for as long as it is theirs.
    pid: Option<Pid>,
    /// It was to be killed, perhaps before it was there.
    killed: bool,
    /// It was told to end: by a stop, or because the child was given up.
    stopped: bool,
    /// It was let through its gate.
    released: bool,
}

impl State {
    fn signal(&self, signal: Signal) -> Result<(), Errno> {
        let Some(pid) = self.pid else { return Ok(()) };
        match kill_process_group(pid, signal) {
            // The leader has moved to another group, and has left nobody behind.
            Err(Errno::SRCH) => kill_process(pid, signal),
            sent => sent,
        }
    }

    fn kill(&mut self) -> Result<(), Errno> {
        self.killed = true;
        let Some(pid) = self.pid else { return Ok(()) };
        let group = self.signal(Signal::KILL);
        // Once more by its own number: a leader that has moved to another group while others stayed is killed as well.
        group.and(kill_process(pid, Signal::KILL))
    }
}

/// A process's number, and the gate if it is held at one.
type Started = (u32, Option<PipeWriter>);

/// What the thread holds. Fields drop in this order: the lease is last, so that the incarnation has ended after all else.
struct Reaper {
    recipe: Recipe,
    leader: Arc<Leader>,
    child: ChildRef,
    started: Option<oneshot::Sender<Result<Started, ProcessError>>>,
    end: Option<oneshot::Sender<ProcessEnd>>,
    watch: Option<Sender>,
    _lease: Lease,
}

impl Reaper {
    fn live(&mut self) {
        let Spawned { mut child, gate, lines } = match self.recipe.spawn(&self.child) {
            Ok(spawned) => spawned,
            Err(error) => return answer(&mut self.started, Err(error)),
        };
        let held = gate.is_some();
        self.enter(&child);
        // If nobody is there to take it, the process has been killed, and the gate is dropped unopened.
        answer(&mut self.started, Ok((child.id(), gate)));
        let end = self.reap(&mut child, held);
        // What the process wrote is in the log before anyone hears of its end.
        drop(lines);
        answer(&mut self.watch, end);
        answer(&mut self.end, end);
    }

    fn enter(&self, child: &Child) {
        let mut state = self.leader.0.lock();
        state.pid = Some(Pid::from_child(child));
        if state.killed {
            // Whoever wanted it dead is gone already; one that refuses is reported as stuck.
            let _ = state.kill();
        }
    }

    fn reap(&self, child: &mut Child, held: bool) -> ProcessEnd {
        let pid = child.id();
        let waited = loop {
            match waitid(WaitId::Pid(Pid::from_child(child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Err(Errno::INTR) => {}
                waited => break waited,
            }
        };
        let mut state = self.leader.0.lock();
        let stopped = state.stopped;
        let status = match waited {
            Ok(_) => {
                // Of what is left of the group, what runs as another user by now is let go.
                let _ = state.kill();
                // Does not block: the process is a zombie.
                child.wait().ok()
            }
            // Somebody else has reaped it: its number may be anybody's already.
            Err(_) => None,
        };
        state.pid = None;
        match status {
            _ if held && !state.released => ProcessEnd::NotExecuted,
            Some(status) => ProcessEnd::Exited { pid, status, stopped },
            None => ProcessEnd::Unknown { pid },
        }
    }
}

/// Answers whoever still listens.
fn answer<T>(sender: &mut Option<oneshot::Sender<T>>, value: T) {
    if let Some(sender) = sender.take() {
        let _ = sender.send(value);
    }
}
