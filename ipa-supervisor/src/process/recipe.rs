//! How a program is started: what a [`Process`](crate::Process) is made of, and the one call that makes it run.
//!
//! The one trick is the gate. A process that is to be recorded before it does anything is started as a shell that reads a line
//! from a pipe and then executes the program in its own place, under the same number. The pipe's only writer is this process,
//! and is closed on exec: if it dies, the shell reads the end of the file, and ends without executing anything.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeWriter};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::Signal;

use super::error::ProcessError;
use super::lines::{Lines, Stream};
use crate::machine::ChildRef;
use crate::reason::BoxError;

/// The gate. `read` fails at the end of the file; the program finds `/dev/null` where the gate was.
const GATE: &str = r#"read -r _ || exit 1; exec "$@" </dev/null"#;

/// Where what a process writes goes.
///
/// ```
/// use ipa_supervisor::{Output, Process};
///
/// let quiet = Process::command("make").output(Output::Append("build.log".into()));
/// let errors_only = Process::command("make").stdout(Output::Null).stderr(Output::Log);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// To `tracing`, line by line, target `ipa_supervisor::process`: standard output at `info`, standard error at `warn`, each
    /// with the fields `child` and `stream`. They are logged on a thread that is none of the runtime's, outside of any span.
    ///
    /// Bytes that are no UTF-8 are replaced, lines beyond 8 KiB broken between two characters, white space at the end of a line, or of what a line
    /// is broken into, and blank lines left out. All that the process itself wrote is logged before its end is reported. What a grandchild that has left the group
    /// writes after that is not waited for; it gets a broken pipe.
    #[default]
    Log,
    /// To where this process writes.
    Inherit,
    /// Nowhere.
    Null,
    /// To this file, which is made, or emptied, at each start.
    File(PathBuf),
    /// To the end of this file, which is made if it is not there.
    Append(PathBuf),
}

/// The numbers of a process that is about to execute its program; see [`Process::before_exec`](crate::Process::before_exec).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// The process's number.
    pub pid: u32,
    /// The number of its group, which is the same: it is the leader.
    pub group: u32,
}

impl ProcessInfo {
    pub(super) fn leader(pid: u32) -> Self {
        Self { pid, group: pid }
    }
}

/// The signal that asks a process to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopSignal {
    /// SIGTERM.
    #[default]
    Terminate,
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
    /// SIGQUIT. By default it dumps core.
    Quit,
    /// SIGHUP.
    Hangup,
}

impl From<StopSignal> for Signal {
    fn from(signal: StopSignal) -> Self {
        match signal {
            StopSignal::Terminate => Self::TERM,
            StopSignal::Interrupt => Self::INT,
            StopSignal::Quit => Self::QUIT,
            StopSignal::Hangup => Self::HUP,
        }
    }
}

impl StopSignal {
    /// Whether a process that was sent this has ended cleanly: with success, by the signal, or as shells tell of the signal.
    pub(super) fn explains(self, status: ExitStatus) -> bool {
        let signal = Signal::from(self).as_raw();
        status.success() || status.signal() == Some(signal) || status.code() == Some(128 + signal)
    }
}

type Recorded = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// A program and all that it is given.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) variables: BTreeMap<OsString, OsString>,
    pub(super) clear_environment: bool,
    pub(super) directory: Option<PathBuf>,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    pub(super) stop_signal: StopSignal,
    pub(super) before_exec: Option<Arc<dyn Fn(ProcessInfo) -> Recorded + Send + Sync>>,
}

/// A process that runs, or is held at its gate.
pub(super) struct Spawned {
    pub(super) child: Child,
    pub(super) gate: Option<PipeWriter>,
    /// The threads that log its output; dropping them waits for the last lines.
    pub(super) lines: Vec<Lines>,
}

impl Recipe {
    pub(super) fn new(program: &OsStr) -> Self {
        Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            variables: BTreeMap::new(),
            clear_environment: false,
            directory: None,
            stdout: Output::default(),
            stderr: Output::default(),
            stop_signal: StopSignal::default(),
            before_exec: None,
        }
    }

    /// The program's name for people.
    pub(super) fn name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    /// Starts it. Blocks: files are opened, and `exec` is waited for.
    pub(super) fn spawn(&self, of: &ChildRef) -> Result<Spawned, ProcessError> {
        let resources = |source| ProcessError::Resources { program: self.name(), source };
        let mut command = match self.before_exec {
            None => Command::new(&self.program),
            Some(_) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", GATE, "sh"]).arg(&self.program);
                shell
            }
        };
        command.args(&self.arguments).process_group(0);
        if self.clear_environment {
            command.env_clear();
        }
        command.envs(&self.variables);
        if let Some(directory) = &self.directory {
            fs::metadata(directory).map_err(|source| ProcessError::Directory {
                program: self.name(),
                directory: directory.clone(),
                source,
            })?;
            command.current_dir(directory);
        }
        if self.before_exec.is_some() {
            self.look_up().map_err(|source| self.not_executed(source))?;
        }
        let mut lines = Vec::new();
        let stdout = self.open(&self.stdout)?;
        let stderr = match &stdout {
            // One description of one file, and so one position in it.
            Some(file) if self.stderr == self.stdout => Some(file.try_clone().map_err(resources)?),
            _ => self.open(&self.stderr)?,
        };
        let mut stdio = |output, file: Option<File>, stream| match (output, file) {
            (_, Some(file)) => Ok(Stdio::from(file)),
            (&Output::Inherit, None) => Ok(Stdio::inherit()),
            (&Output::Log, None) => {
                let (pipe, logged) = Lines::start(of.clone(), stream).map_err(resources)?;
                lines.push(logged);
                Ok(pipe)
            }
            (_, None) => Ok(Stdio::null()),
        };
        command.stdout(stdio(&self.stdout, stdout, Stream::Stdout)?);
        command.stderr(stdio(&self.stderr, stderr, Stream::Stderr)?);
        let gate = match self.before_exec {
            None => {
                command.stdin(Stdio::null());
                None
            }
            Some(_) => {
                let (reader, writer) = io::pipe().map_err(resources)?;
                command.stdin(reader);
                Some(writer)
            }
        };
        let child = command.spawn().map_err(|source| self.not_executed(source))?;
        Ok(Spawned { child, gate, lines })
    }

    fn open(&self, output: &Output) -> Result<Option<File>, ProcessError> {
        let (path, opened) = match output {
            Output::File(path) => (path, File::create(path)),
            Output::Append(path) => (path, OpenOptions::new().create(true).append(true).open(path)),
            Output::Log | Output::Inherit | Output::Null => return Ok(None),
        };
        opened.map(Some).map_err(|source| ProcessError::Output {
            program: self.name(),
            path: path.clone(),
            source,
        })
    }

    fn not_executed(&self, source: io::Error) -> ProcessError {
        let directory = self.directory.clone().or_else(|| std::env::current_dir().ok()).unwrap_or_default();
        ProcessError::Spawn { program: self.name(), directory, source }
    }

    /// Looks for the program as the shell at the gate will, so that one that is missing fails the start, and before its hook
    /// is called. If it goes missing after that, the shell ends with the code 127.
    fn look_up(&self) -> io::Result<()> {
        let base = self.directory.as_deref().unwrap_or(Path::new(""));
        if self.program.as_bytes().contains(&b'/') {
            return executable(&base.join(&self.program));
        }
        let path = match self.variables.get(OsStr::new("PATH")) {
            Some(path) => Some(path.clone()),
            None if self.clear_environment => None,
            None => std::env::var_os("PATH"),
        };
        // Without a PATH each shell has one of its own.
        let Some(path) = path else { return Ok(()) };
        let mut missing = io::Error::from(Errno::NOENT);
        for directory in std::env::split_paths(&path) {
            match executable(&base.join(directory).join(&self.program)) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => missing = error,
                Err(_) => {}
            }
        }
        Err(missing)
    }
}

fn executable(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    match metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
        true => Ok(()),
        false => Err(Errno::ACCESS.into()),
    }
}
