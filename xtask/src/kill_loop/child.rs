//! One run of the example: started, and killed if it is not through in time.
//!
//! The trick: the end of its stdout tells us that it has ended, so waiting for that with a deadline needs neither signals
//! nor polling. Stdout may stay open longer than the run, held by a process that it started; then the deadline passes,
//! and the exit status tells the truth.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::Read,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;

use crate::run::{Error, Result};

/// The variable by which the processes of a round are known; what they start inherits it.
const MARK: &str = "IPA_KILL_LOOP";

/// How much of stderr a message shows, in bytes.
const TAIL: usize = 600;

/// How long the output of a run that has ended may take to reach us, if the pipe stays open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this exit code (none: by a signal that was not ours).
    Exited(Option<i32>),
    /// By our hand, at the deadline.
    Killed,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(Some(code)) => write!(f, "exited with {code}"),
            Self::Exited(None) => f.write_str("was ended by a signal"),
            Self::Killed => f.write_str("was killed at its deadline"),
        }
    }
}

/// A run that is over.
#[derive(Debug)]
pub struct Run {
    pub ending: Ending,
    pub elapsed_ms: u64,
    pub stdout: String,
    /// The end of it.
    pub stderr: String,
}

/// Runs the program in our working directory, with stderr in the file `log`, and kills it (it alone) after `limit`.
pub fn run(program: &Path, args: &[OsString], mark: &str, log: &Path, limit: Duration) -> Result<Run> {
    let broken = |error: std::io::Error| Error::failed(format!("running {}: {error}", program.display()));
    let stderr =
        File::create(log).map_err(|error| Error::failed(format!("creating {}: {error}", log.display())))?;
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(args)
        .env(MARK, mark)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(broken)?;

    let (sender, output) = mpsc::channel();
    if let Some(mut stdout) = child.stdout.take() {
        // Not joined: after a kill, a process that the example left behind may hold the pipe open.
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(read @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
    }
    let mut stdout = Vec::new();
    let timed_out = !read_until_closed(&output, &mut stdout, started + limit);
    // The child is not reaped before `wait`, so its id cannot have gone to another process.
    let ended_before = if timed_out { child.try_wait().map_err(broken)? } else { None };
    if timed_out && ended_before.is_none() {
        child.kill().map_err(broken)?;
    }
    let status = child.wait().map_err(broken)?;
    let killed = timed_out && ended_before.is_none() && status.code().is_none();
    if timed_out && !killed {
        // It ended by itself at the last instant, and what it printed is still on its way through the pipe. Bounded,
        // because the pipe's end may never come.
        read_until_closed(&output, &mut stdout, Instant::now() + LAST_WORDS);
    }
    let ending = if killed { Ending::Killed } else { Ending::Exited(status.code()) };
    Ok(Run {
        ending,
        elapsed_ms: millis(started.elapsed()),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: tail(log),
    })
}

/// Reads until all writers have closed the pipe (true) or the deadline has passed (false).
fn read_until_closed(output: &Receiver<Vec<u8>>, into: &mut Vec<u8>, deadline: Instant) -> bool {
    loop {
        match output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(bytes) => into.extend(bytes),
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

/// The last line that is a JSON object of this shape (or the whole text, if it is one).
pub fn last_object<T: DeserializeOwned>(text: &str) -> Option<T> {
    text.lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
        .or_else(|| serde_json::from_str(text).ok())
}

/// The processes that carry this mark, by number and name; none where there is no /proc.
pub fn marked(mark: &str) -> Vec<String> {
    let entry = format!("{MARK}={mark}");
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter(|process| {
            // Other users' processes cannot be read; what ended by now reads as empty.
            let variables = fs::read(process.path().join("environ")).unwrap_or_default();
            variables.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes())
        })
        .map(|process| {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            format!("process {} ({})", process.file_name().display(), name.trim_end())
        })
        .collect()
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(TAIL)..]);
    let text = text.trim();
    if text.is_empty() { "(empty)".to_string() } else { text.to_string() }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn shell(script: &str, limit: Duration) -> Run {
        let folder = TempDir::new("child");
        run(Path::new("/bin/sh"), &["-c".into(), script.into()], "", &folder.path().join("log"), limit)
            .unwrap()
    }

    #[test]
    fn a_run_that_ends_in_time_tells_everything() {
        let run = shell("echo out; echo err >&2; exit 3", Duration::from_secs(60));
        assert_eq!(
            (run.ending, run.stdout.as_str(), run.stderr.as_str()),
            (Ending::Exited(Some(3)), "out\n", "err")
        );
    }

    #[test]
    fn a_run_that_does_not_end_is_killed() {
        let run = shell("exec tail -f /dev/null", Duration::ZERO);
        assert_eq!(run.ending, Ending::Killed);
    }

    #[test]
    fn a_run_whose_pipe_stays_open_has_ended_all_the_same() {
        // The shell in the background holds stdout until it is given a line, after the run was looked at.
        let folder = TempDir::new("held");
        let fifo = folder.path().join("fifo");
        let script = format!("mkfifo {0}; (read x < {0}) & echo out", fifo.display());
        let run = shell(&script, Duration::from_secs(2));
        fs::write(fifo, "over\n").unwrap();
        assert_eq!((run.ending, run.stdout.as_str()), (Ending::Exited(Some(0)), "out\n"));
    }

    #[test]
    fn the_last_object_of_the_right_shape_counts() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct One {
            a: u8,
        }
        assert_eq!(last_object("{\"a\": 1}\nprogress\n{\"a\": 2}\n{\"b\": 3}\n"), Some(One { a: 2 }));
        assert_eq!(last_object("{\n  \"a\": 4\n}\n"), Some(One { a: 4 }));
        assert_eq!(last_object::<One>("nothing"), None);
    }
}
