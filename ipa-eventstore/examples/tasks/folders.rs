//! Where things are kept beside the store.
//!
//! | | |
//! |---|---|
//! | `<store>.out/TASK/` | the task's results: the `OUT` of its steps |
//! | `<store>.out/.output/TASK/STEP.ATTEMPT` | what an attempt at a step wrote to stdout and stderr |
//! | `<store>.out/.progress/TASK.jsonl` | how the task got on, by the external sync |
//! | `<store>.work/TASK/POD/` | the `WORKSPACE` of a pod's steps |
//!
//! No task's id begins with a dot, so none of these is in the way of another.

use std::io;
use std::path::{Path, PathBuf};

use crate::args::Args;
use crate::plan::Plan;

/// The folders of one run, as absolute paths: steps run elsewhere.
#[derive(Clone, Debug)]
pub struct Folders {
    store: PathBuf,
    results: PathBuf,
    scratch: PathBuf,
}

impl Folders {
    /// Those that go with the store of these arguments. Makes none of them.
    ///
    /// # Errors
    ///
    /// When there is no current directory.
    pub fn new(args: &Args) -> io::Result<Folders> {
        Ok(Folders {
            store: std::path::absolute(&args.db)?,
            results: std::path::absolute(args.results_dir())?,
            scratch: std::path::absolute(args.scratch_dir())?,
        })
    }

    /// Whether anything stands where a folder or the store is to be, and is none. Changes nothing.
    ///
    /// # Errors
    ///
    /// The first that does, by its name.
    pub fn check(&self) -> io::Result<()> {
        let parents = self.store.ancestors().skip(1).find(|path| path.exists());
        for path in [&*self.results, &*self.scratch].into_iter().chain(parents) {
            if path.exists() && !path.is_dir() {
                return Err(io::Error::other(format!(
                    "{} is in the way: it is not a directory",
                    path.display()
                )));
            }
        }
        if self.store.exists() && !self.store.is_file() {
            return Err(io::Error::other(format!(
                "{} is in the way: it is not a file",
                self.store.display()
            )));
        }
        Ok(())
    }

    /// Makes all that the tasks of a plan need.
    ///
    /// # Errors
    ///
    /// The first that cannot be made, by its name.
    pub fn make(&self, plan: &Plan) -> io::Result<()> {
        let make = |path: &Path| {
            std::fs::create_dir_all(path).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot make {}: {error}", path.display()))
            })
        };
        if let Some(parent) = self.store.parent() {
            make(parent)?;
        }
        make(&self.scratch)?;
        make(&self.results.join(".progress"))?;
        for task in &plan.tasks {
            make(&self.out(&task.id))?;
            make(&self.results.join(".output").join(&task.id))?;
        }
        Ok(())
    }

    /// All results.
    pub fn results(&self) -> &Path {
        &self.results
    }

    /// Where pods have their workspaces.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// A task's results.
    pub fn out(&self, task: &str) -> PathBuf {
        self.results.join(task)
    }

    /// What an attempt at a step writes.
    pub fn output(&self, task: &str, step: &str, attempt: u32) -> PathBuf {
        self.results.join(".output").join(task).join(format!("{step}.{attempt}"))
    }

    /// How a task gets on.
    pub fn progress(&self, task: &str) -> PathBuf {
        self.results.join(".progress").join(format!("{task}.jsonl"))
    }
}
