//! The external sync: it tells the world outside, here a file of JSON lines, how the task is getting on.
//!
//! It stands for whatever a task has to be kept in step with: a tracker, a dashboard. Its one trick is that each line says of which
//! version of the task it speaks. So it goes on where the file ends, after a crash, a new pod or a new run, and says nothing twice;
//! a line that was cut short by a kill is taken away first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipa_eventstore::Versioned;
use ipa_supervisor::{BoxError, Child, ChildSpec, Context, Exit, ExitReason, Init, async_trait};
use serde::{Deserialize, Serialize};

use crate::chaos::Chaos;
use crate::peers::{Peers, State, child};
use crate::state::{Ending, TaskState};

/// A line of the file: how the task stood at a version. Versions rise from line to line, and may be left out where many
/// came at once.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    version: u64,
    task: String,
    state: String,
    done: usize,
    steps: usize,
    running: Vec<String>,
}

/// The external sync of a task's pod.
pub struct Sync {
    peers: Peers,
    path: PathBuf,
    chaos: Arc<Chaos>,
    out: Option<Lines>,
    state: Option<State>,
}

impl Sync {
    /// The spec of the child, which writes to this file.
    pub fn spec(peers: Peers, path: PathBuf, chaos: Arc<Chaos>) -> ChildSpec {
        ChildSpec::new(child::SYNC, move || Sync {
            peers: peers.clone(),
            path: path.clone(),
            chaos: chaos.clone(),
            out: None,
            state: None,
        })
    }

    fn write(&mut self, state: &Versioned<TaskState>) -> io::Result<()> {
        match &mut self.out {
            Some(out) => out.write(&line(self.peers.task(), state)),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Child for Sync {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let path = self.path.clone();
        self.out = Some(cx.spawn_blocking(move || Lines::open(&path)).await??);
        Ok(Init::Ready)
    }

    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        let mut state = self.state.insert(self.peers.state().await?).clone();
        let mut attempts = state.now().state.attempts();
        while let Some(now) = state.next().await {
            for nth in attempts..now.state.attempts() {
                self.chaos.maybe_panic(self.peers.task(), child::SYNC, &nth.to_string());
            }
            attempts = now.state.attempts();
            self.write(&now)?;
        }
        Ok(Exit::Normal)
    }

    /// Writes what came last: the children that make the news are stopped after this one, but the pod of a task that has
    /// ended is stopped when all is said.
    async fn terminate(&mut self, _cx: &mut Context, _reason: &ExitReason) {
        if let Some(now) = self.state.as_ref().map(State::now) {
            // Written by the next incarnation otherwise.
            let _ = self.write(&now);
        }
    }
}

fn line(task: &str, now: &Versioned<TaskState>) -> Line {
    let state = match &now.state.ending {
        Some(Ending::Completed) => "completed",
        Some(Ending::Failed { .. }) => "failed",
        None if now.state.running().next().is_some() => "running",
        None => "waiting",
    };
    Line {
        version: now.version,
        task: task.to_owned(),
        state: state.to_owned(),
        done: now.state.done(),
        steps: now.state.steps.len(),
        running: now.state.running().map(|(step, _)| step.id.clone()).collect(),
    }
}

/// The file, and how far it goes.
struct Lines {
    file: File,
    /// The version of the last line.
    last: u64,
}

impl Lines {
    fn open(path: &Path) -> io::Result<Lines> {
        let said = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(said)?,
        };
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = text[..whole].split(|byte| *byte == b'\n');
        let last =
            lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok()).map(|line| line.version).max();
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(said)?;
        file.set_len(whole as u64).map_err(said)?;
        Ok(Lines { file, last: last.unwrap_or(0) })
    }

    /// Appends the line, unless the file has gone as far already. In one piece, and to the system's cache: no wait worth a thread.
    fn write(&mut self, line: &Line) -> io::Result<()> {
        if line.version <= self.last {
            return Ok(());
        }
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        self.last = line.version;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(version: u64) -> Line {
        Line {
            version,
            task: "t".into(),
            state: "running".into(),
            done: 0,
            steps: 1,
            running: vec!["s".into()],
        }
    }

    fn versions(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str::<Line>(line).unwrap().version).collect()
    }

    #[test]
    fn it_goes_on_where_the_file_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl");
        let mut lines = Lines::open(&path).unwrap();
        for version in [1, 2, 2, 1, 4] {
            lines.write(&at(version)).unwrap();
        }
        drop(lines);
        assert_eq!(versions(&path), [1, 2, 4]);

        let mut lines = Lines::open(&path).unwrap();
        for version in [3, 4, 5] {
            lines.write(&at(version)).unwrap();
        }
        assert_eq!(versions(&path), [1, 2, 4, 5]);
    }

    #[test]
    fn a_line_that_was_cut_short_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl");
        let whole = serde_json::to_string(&at(7)).unwrap();
        for cut in [1, whole.len() / 2, whole.len()] {
            fs::write(&path, format!("{}\n{}", serde_json::to_string(&at(6)).unwrap(), &whole[..cut]))
                .unwrap();
            let mut lines = Lines::open(&path).unwrap();
            lines.write(&at(7)).unwrap();
            assert_eq!(versions(&path), [6, 7], "cut at {cut}");
        }
    }
}
