//! How somebody who is not the supervisor learns how a process ended.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitStatus;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

pub(super) type Sender = oneshot::Sender<ProcessEnd>;

pub(super) fn channel() -> (Sender, ProcessWatch) {
    let (sender, receiver) = oneshot::channel();
    (sender, ProcessWatch(receiver))
}

/// How a process ended, whoever ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessEnd {
    /// With this status: an exit code, or a signal.
    Exited {
        /// The number it had. It may be another process's by now.
        pid: u32,
        /// The code or the signal.
        status: ExitStatus,
        /// Whether it had been told to end before it did: by a stop, or because its child was given up. What it ended with says
        /// little about its work then, exit code 0 included.
        stopped: bool,
    },
    /// Its program was never executed: the child was not started, its start failed, or it was ended while the process was held
    /// for [`before_exec`](crate::Process::before_exec).
    NotExecuted,
    /// It has ended, but its status was collected by something else in this program, which waits for all its children or
    /// ignores SIGCHLD.
    Unknown {
        /// The number it had.
        pid: u32,
    },
}

/// Resolves to how the one process of a [`Process::once`](crate::Process::once) ended.
///
/// The thread that waits for the process resolves it, after the process is gone and what it logged has been logged; no task,
/// supervisor or runtime has to live for that. The *child's* end follows: the supervisor may list it for an instant more.
///
/// Dropping it changes nothing for the process. Awaiting it is cancel safe; after it has resolved it must not be polled again.
///
/// # Panics
///
/// When polled after it has resolved.
#[derive(Debug)]
#[must_use = "without it nobody is told how the process ended, except the supervisor's observer"]
pub struct ProcessWatch(oneshot::Receiver<ProcessEnd>);

impl Future for ProcessWatch {
    type Output = ProcessEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ProcessEnd> {
        // The sender is dropped unused only by a start that never was or that failed.
        Pin::new(&mut self.0).poll(cx).map(|end| end.unwrap_or(ProcessEnd::NotExecuted))
    }
}
