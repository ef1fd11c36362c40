//! The workspace manager: a directory for the steps of one pod, made at `init`, removed at `terminate`.
//!
//! A child type of one's own: it implements [`Child`] and publishes a handle, and nothing more is needed for others to find and ask
//! it. Its one trick is in who removes the directory. After a crash, the steps still run in it and the next incarnation goes on with
//! it, so it stays; a pod that is stopped removes it; and what a pod that was killed left behind, the task's next pod
//! removes, for a task has one pod at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use ipa_supervisor::{
    BoxError, Child, ChildSpec, Context, Exit, ExitReason, Init, Settings, StopMode, async_trait,
};
use tokio::sync::{mpsc, oneshot};

use crate::chaos::Chaos;
use crate::peers::child;

/// The way to a workspace manager. It leads to one incarnation.
#[derive(Clone)]
pub struct WorkspaceHandle(mpsc::Sender<Ask>);

struct Ask {
    /// Which attempt at which step.
    attempt: String,
    reply: oneshot::Sender<PathBuf>,
}

impl WorkspaceHandle {
    /// The directory, for this attempt at a step. `None` if the manager is gone.
    pub async fn directory(&self, attempt: &str) -> Option<PathBuf> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Ask { attempt: attempt.to_owned(), reply }).await.ok()?;
        answer.await.ok()
    }
}

/// The workspace manager of a task's pod.
pub struct Workspace {
    task: String,
    /// All that is the task's: its pod's directory, and what earlier pods left.
    home: PathBuf,
    directory: PathBuf,
    chaos: Arc<Chaos>,
    asked: Option<mpsc::Receiver<Ask>>,
}

impl Workspace {
    /// The spec of the child, for one pod: the directory gets a name of its own, below `scratch`.
    pub fn spec(task: &str, scratch: &Path, chaos: Arc<Chaos>) -> ChildSpec {
        let (task, home) = (task.to_owned(), scratch.join(task));
        let directory = home.join(uuid::Uuid::now_v7().simple().to_string());
        ChildSpec::new(child::WORKSPACE, move || Workspace {
            task: task.clone(),
            home: home.clone(),
            directory: directory.clone(),
            chaos: chaos.clone(),
            asked: None,
        })
    }
}

#[async_trait]
impl Child for Workspace {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let (home, directory) = (self.home.clone(), self.directory.clone());
        cx.spawn_blocking(move || make(&home, &directory)).await??;
        let (handle, asked) = mpsc::channel(8);
        self.asked = Some(asked);
        cx.publish(WorkspaceHandle(handle));
        Ok(Init::Ready)
    }

    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        // Owned by this call, so that whoever asks is told at once when it is over.
        let Some(mut asked) = self.asked.take() else { return Ok(Exit::Normal) };
        loop {
            tokio::select! {
                _ = cx.stopped() => return Ok(Exit::Normal),
                Some(ask) = asked.recv() => {
                    self.chaos.maybe_panic(&self.task, child::WORKSPACE, &ask.attempt);
                    // Who does not wait any more does not mind.
                    let _ = ask.reply.send(self.directory.clone());
                }
            }
        }
    }

    async fn terminate(&mut self, cx: &mut Context, reason: &ExitReason) {
        if reason.is_abnormal() {
            return;
        }
        let (home, directory) = (self.home.clone(), self.directory.clone());
        // What cannot be removed now is left to the task's next pod.
        let _ = cx
            .spawn_blocking(move || {
                let _ = fs::remove_dir_all(directory);
                // Only if nothing else is in it.
                let _ = fs::remove_dir(home);
            })
            .await;
    }

    fn defaults() -> Settings {
        Settings { stop_mode: Some(StopMode::Cooperative), ..Settings::default() }
    }
}

/// Makes the directory, unless an earlier incarnation has, and removes all others beside it.
fn make(home: &Path, directory: &Path) -> io::Result<()> {
    let said = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", directory.display()));
    fs::create_dir_all(directory).map_err(said)?;
    for entry in fs::read_dir(home).map_err(said)? {
        let other = entry?.path();
        if other != directory {
            fs::remove_dir_all(other)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ipa_supervisor::Supervisor;

    use super::*;

    #[test]
    fn what_earlier_pods_left_goes_and_what_a_crash_left_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let home = scratch.path().join("t");
        fs::create_dir_all(home.join("old/deep")).unwrap();
        let directory = home.join("new");
        make(&home, &directory).unwrap();
        fs::write(directory.join("half"), "done").unwrap();
        make(&home, &directory).unwrap();
        assert!(directory.join("half").exists());
        assert_eq!(fs::read_dir(&home).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_stop_leaves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let spec = || Workspace::spec("t", scratch.path(), Arc::new(Chaos::new(0.0, 0)));
        let mut names = Vec::new();
        for _ in 0..2 {
            let supervisor = Supervisor::builder().child(spec()).start().await.unwrap();
            let made: Vec<_> = fs::read_dir(scratch.path().join("t")).unwrap().flatten().collect();
            names.push(made[0].file_name());
            supervisor.shutdown().await.unwrap();
            assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        }
        assert_ne!(names[0], names[1], "each pod has a fresh one");
    }
}
