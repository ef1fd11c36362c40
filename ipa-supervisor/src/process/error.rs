//! What can go wrong with a process, told to people.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use thiserror::Error;

use crate::reason::BoxError;

/// Why a [`Process`](crate::Process) did not start, or ended otherwise than it should.
///
/// It is what stands behind an [`ExitReason::Failed`](crate::ExitReason::Failed) of such a child:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ipa_supervisor::{DynamicSupervisor, Process, ProcessError, StartChildError};
///
/// let supervisor = DynamicSupervisor::builder().start().await?;
/// let error = supervisor.start_child(Process::command("no-such-program").spec("child")).await.unwrap_err();
/// let StartChildError::Failed(failure) = error else { unreachable!() };
/// let error = failure.reason.source().and_then(|error| error.downcast_ref::<ProcessError>());
/// assert!(matches!(error, Some(ProcessError::Spawn { program, .. }) if program == "no-such-program"));
/// # supervisor.shutdown().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The program could not be executed: there is none of that name, or it may not be. The start failed.
    #[error("cannot execute `{program}` (working directory `{}`): {source}", directory.display())]
    Spawn {
        /// The program, as it was given.
        program: String,
        /// The working directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The working directory is not there, or cannot be looked at. The start failed.
    #[error("cannot execute `{program}`: its working directory `{}` cannot be used: {source}", directory.display())]
    Directory {
        /// The program, as it was given.
        program: String,
        /// The working directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file for the output could not be opened. The start failed; nothing was executed.
    #[error("cannot open `{}` for the output of `{program}`: {source}", path.display())]
    Output {
        /// The program, as it was given.
        program: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or a pipe for the process could not be had. The start failed; nothing was executed.
    #[error("no thread or pipe to be had for `{program}`: {source}")]
    Resources {
        /// The program, as it was given.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The hook of [`before_exec`](crate::Process::before_exec) returned an error. The start failed; nothing was executed.
    #[error("`{program}` was not executed, because the hook before it failed: {source}")]
    BeforeExec {
        /// The program, as it was given.
        program: String,
        /// The hook's error.
        source: BoxError,
    },
    /// The process was ended by somebody else while it was held for the hook of
    /// [`before_exec`](crate::Process::before_exec). Nothing was executed.
    #[error("`{program}` was not executed: its process was ended by somebody else before that")]
    NotExecuted {
        /// The program, as it was given.
        program: String,
    },
    /// It ended with an exit code other than 0, or by a signal.
    #[error("`{program}` {}", told(*status))]
    Exited {
        /// The program, as it was given.
        program: String,
        /// The code or the signal.
        status: ExitStatus,
    },
    /// It has ended, but nobody knows how.
    #[error(
        "how `{program}` (process {pid}) ended is not known: something else in this program waits for all its children, \
         or ignores SIGCHLD"
    )]
    StatusLost {
        /// The program, as it was given.
        program: String,
        /// The process's number.
        pid: u32,
    },
}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(126), _) => "exited with code 126, a shell's word for a program that it cannot execute".into(),
        (Some(127), _) => "exited with code 127, a shell's word for a program that it cannot find".into(),
        (Some(code), _) => format!("exited with code {code}"),
        // The standard library knows the signals' names: "signal: 9 (SIGKILL)".
        (None, Some(_)) => format!("was ended by {status}"),
        (None, None) => format!("ended with {status}"),
    }
}
