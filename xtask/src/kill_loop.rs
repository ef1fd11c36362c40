//! `cargo xtask demo --kill-loop N`: is a killed run taken up where it stood?
//!
//! A first run that nobody disturbs shows how long a run usually takes. Then, N times: a new store; a run that is killed
//! (SIGKILL, the process itself alone) 1 to 3 times at random moments spread over that time; a last run with the same
//! command, left to itself. The example's own `--check` judges the store after each kill and at the end; on top of that,
//! what the store had counted may not shrink, and every task must be completed.
//!
//! Ctrl-C reaches the example as well, since it is in our process group, and ends both; the temporary folder is cleared
//! away by the next loop.

mod child;
mod moments;
mod report;
mod scratch;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::Deserialize;

use self::{
    child::{Ending, Run},
    moments::Random,
    report::{Kill, Report, Round},
    scratch::Scratch,
};
use crate::{
    demo::{self, Options},
    metadata,
    run::{Error, Result, plural},
};

/// A run that is to end by itself may take this many times the usual, and not less than [`PATIENCE_FLOOR`].
const PATIENCE: u32 = 20;

/// The least time that a run gets to end by itself.
const PATIENCE_FLOOR: Duration = Duration::from_secs(60);

/// The time that the first run gets, when nothing is known yet.
const FIRST_PATIENCE: Duration = Duration::from_secs(600);

/// Runs the loop and prints a row a round, or one JSON object.
///
/// # Errors
///
/// When a round finds a violation, or the first run does not complete its tasks.
pub fn run(program: &Path, rounds: u32, options: &Options) -> Result {
    let seed = options.seed.unwrap_or_else(Random::seed);
    let mut scratch = Scratch::new(&metadata::read()?.target_directory.join("xtask"))?;
    let report = rounds_of(&Demo::new(program, options, scratch.path()), rounds, seed, |line| {
        if !options.json {
            println!("{line}");
        }
    });
    let kept = match &report {
        Ok(report) if report.violations == 0 => String::new(),
        _ => format!("; the stores and outputs are in {}", scratch.keep().display()),
    };
    let report = report.map_err(|error| Error::failed(format!("{error}{kept}")))?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(Error::failed)?);
    }
    if report.violations == 0 {
        Ok(())
    } else {
        Err(Error::failed(format!(
            "kill loop: {}, see above; repeat with --seed {seed}{kept}",
            plural(report.violations, "violation")
        )))
    }
}

/// The example, and what each of its runs is given.
struct Demo<'a> {
    program: &'a Path,
    file: Option<&'a Path>,
    /// What every run gets beside its store.
    args: Vec<OsString>,
    /// Whether chaos wants a seed.
    chaos: bool,
    folder: &'a Path,
}

/// What `--check` prints.
#[derive(Debug, Clone, Default, Deserialize)]
struct Health {
    completed: u64,
    events: u64,
    violations: Vec<serde_json::Value>,
}

/// What a run prints at its end.
#[derive(Debug, Clone, Default, Deserialize)]
struct Summary {
    tasks: u64,
    completed: u64,
    #[serde(default)]
    steps_run: u64,
    #[serde(default)]
    steps_skipped_as_done: u64,
    #[serde(default)]
    child_restarts: u64,
    #[serde(default)]
    pod_restarts: u64,
}

/// The first run and all rounds; each line of the table goes to `line` as it comes.
fn rounds_of(demo: &Demo, rounds: u32, seed: u64, mut line: impl FnMut(&str)) -> Result<Report> {
    let started = Instant::now();
    let mut random = Random::new(seed);
    line(&format!(
        "kill loop: {}, seed {seed} (--seed {seed} repeats its moments)",
        plural(rounds as usize, "round")
    ));

    let first = demo.round(0, &[], FIRST_PATIENCE, &mut random)?;
    if let Some(violation) = first.violations.first() {
        return Err(Error::failed(format!("kill loop: the first run, which nobody killed: {violation}")));
    }
    let usual = Duration::from_millis(first.elapsed_ms);
    line(&format!("an undisturbed run: {} steps in {} ms\n", first.steps_run, first.elapsed_ms));
    line(&report::head());

    let patience = (usual * PATIENCE).max(PATIENCE_FLOOR);
    let mut report = Report::new(seed, usual);
    for number in 1..=rounds {
        let gaps = moments::gaps(&mut random, usual);
        let round = demo.round(number, &gaps, patience, &mut random)?;
        line(&round.row());
        report.add(round);
    }
    report.elapsed_ms = child::millis(started.elapsed());
    line(&format!("\n{}", report.closing()));
    Ok(report)
}

impl<'a> Demo<'a> {
    fn new(program: &'a Path, options: &'a Options, folder: &'a Path) -> Self {
        let mut args = demo::shared_args(options);
        args.extend(options.rest.iter().filter(|arg| *arg != "--").cloned());
        args.push("--json".into());
        Self { program, file: options.file.as_deref(), args, chaos: options.chaos.is_some(), folder }
    }

    /// One round: a run killed after each of the gaps, then one that ends by itself. An error is a program that could not
    /// be run at all; whatever else goes wrong is a violation.
    fn round(
        &self,
        number: u32,
        gaps: &[Duration],
        patience: Duration,
        random: &mut Random,
    ) -> Result<Round> {
        let started = Instant::now();
        let mut round = Round::new(number);
        let store = self.folder.join(format!("round-{number}.db"));
        let mark = format!("{}-{number}", self.folder.display());
        let mut before = Health::default();

        let mut gaps = gaps.iter();
        let last = loop {
            let gap = gaps.next();
            let run = self.run(&store, &mark, round.kills.len(), *gap.unwrap_or(&patience), random)?;
            match (run.ending, gap) {
                // A run that was quicker than its killer is the last one.
                (Ending::Exited(_), _) => break run,
                (Ending::Killed, None) => {
                    round.wrong(format!(
                        "did not end by itself within {} s, and was killed",
                        patience.as_secs()
                    ));
                    break run;
                }
                (Ending::Killed, Some(_)) => {
                    self.health(&store, &mut before, &mut round)?;
                    round.kills.push(Kill { after_ms: run.elapsed_ms, events: before.events });
                }
            }
        };
        self.judge_end(&last, &mut round);
        self.health(&store, &mut before, &mut round)?;
        if before.completed != round.tasks {
            round.wrong(format!(
                "the store has {} of {} tasks completed at the end",
                before.completed, round.tasks
            ));
        }
        round.events = before.events;
        for process in child::marked(&mark) {
            round.wrong(format!("{process} was started in this round and lives on"));
        }
        round.elapsed_ms = child::millis(started.elapsed());
        Ok(round)
    }

    fn run(
        &self,
        store: &Path,
        mark: &str,
        number: usize,
        limit: Duration,
        random: &mut Random,
    ) -> Result<Run> {
        let mut args = self.store_args(store);
        args.extend(self.args.iter().cloned());
        if self.chaos {
            args.extend(["--seed".into(), random.next().to_string().into()]);
        }
        child::run(self.program, &args, mark, &self.log(store, &format!("run-{number}")), limit)
    }

    /// Asks the example about the store; what was counted there may grow only.
    fn health(&self, store: &Path, before: &mut Health, round: &mut Round) -> Result {
        // Killed before it had made a store.
        if !store.exists() && before.events == 0 {
            return Ok(());
        }
        let mut args = self.store_args(store);
        if let Some(file) = self.file {
            args.extend(["--file".into(), file.into()]);
        }
        args.push("--check".into());
        let check = child::run(self.program, &args, "", &self.log(store, "check"), PATIENCE_FLOOR)?;
        let health: Option<Health> = child::last_object(&check.stdout);
        let Some(health) = health.filter(|_| matches!(check.ending, Ending::Exited(Some(0 | 1)))) else {
            round.wrong(format!(
                "--check {}, with nothing readable on stdout; stderr: {}",
                check.ending, check.stderr
            ));
            return Ok(());
        };
        for violation in &health.violations {
            let text = violation.as_str().map_or_else(|| violation.to_string(), String::from);
            round.wrong(format!("--check: {text}"));
        }
        if health.violations.is_empty() && check.ending != Ending::Exited(Some(0)) {
            round.wrong(format!("--check {} and names no violation; stderr: {}", check.ending, check.stderr));
        }
        for (what, was, is) in [
            ("events", before.events, health.events),
            ("completed tasks", before.completed, health.completed),
        ] {
            if is < was {
                round.wrong(format!("{what} in the store fell from {was} to {is}"));
            }
        }
        *before = health;
        Ok(())
    }

    /// The last run has to have completed everything.
    fn judge_end(&self, run: &Run, round: &mut Round) {
        if matches!(run.ending, Ending::Exited(code) if code != Some(0)) {
            round.wrong(format!("the last run {}; stderr: {}", run.ending, run.stderr));
        }
        let Some(summary) = child::last_object::<Summary>(&run.stdout) else {
            round.wrong(format!("the last run printed no summary; stderr: {}", run.stderr));
            return;
        };
        if summary.completed != summary.tasks {
            round.wrong(format!("{} of {} tasks completed", summary.completed, summary.tasks));
        }
        round.tasks = summary.tasks;
        round.steps_run = summary.steps_run;
        round.steps_skipped = summary.steps_skipped_as_done;
        round.restarts = summary.child_restarts + summary.pod_restarts;
    }

    fn store_args(&self, store: &Path) -> Vec<OsString> {
        vec!["--db".into(), store.into()]
    }

    fn log(&self, store: &Path, name: &str) -> PathBuf {
        store.with_extension(format!("{name}.log"))
    }
}

#[cfg(all(test, unix))]
mod tests;
