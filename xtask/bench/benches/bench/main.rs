//! The stack beside bare tokio, bare SQLite and its peers: `cargo xtask bench`.
//!
//! The rows are in [`rows`], what each contender does in the modules of its subject. A measurement is this program again, with the run's
//! name and the contender's; it prints a number for each of its rows.

mod children;
mod elixir;
mod interrupt;
mod mailbox;
mod names;
mod output;
mod pods;
mod rows;
mod store;
mod tool;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ipa_bench::report::Result as RowResult;
use ipa_bench::round::{self, MEASURE};
use ipa_bench::row::{Run, When};

/// Measures the stack beside what is written by hand and beside its peers
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask bench",
    after_help = "Exit codes: 0 done, 1 a measurement failed or (with --check) a mark is not met, 130 interrupted."
)]
struct Options {
    /// Three rounds instead of seven, without the long rows and Elixir
    #[arg(long)]
    quick: bool,
    /// Only rows whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Writes the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fails where a mark is not met
    #[arg(long)]
    check: bool,
    /// Writes the results of all rows into BENCHMARKS.md
    #[arg(long, conflicts_with_all = ["quick", "only"])]
    write: bool,
    /// Where table and plots are written [default: target/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What cargo bench adds; without effect
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, measure, run, contender, ..] = &arguments[..]
        && measure == MEASURE
    {
        return measure_one(run, contender);
    }
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure_one(run: &str, contender: &str) -> ExitCode {
    // Panics are what is measured; nobody is to spend time on printing them.
    std::panic::set_hook(Box::new(|_| {}));
    let run = rows::RUNS.iter().find(|candidate| candidate.name == run);
    let found = run.and_then(|run| run.contenders.iter().find(|candidate| candidate.name == contender));
    let Some(found) = found else {
        eprintln!("no such measurement");
        return ExitCode::FAILURE;
    };
    println!("{}", round::printed(&(found.measure)()));
    ExitCode::SUCCESS
}

/// Whether every mark is met, or none was asked for.
fn run(options: &Options) -> Result<bool, String> {
    let runs = chosen(options);
    if runs.is_empty() {
        return Err("no row has such a name".to_owned());
    }
    let rounds = if options.quick { 3 } else { 7 };
    let total: usize = runs.iter().map(|run| run.contenders.len() * rounds).sum();
    let bar = ProgressBar::new(total as u64);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}, {eta} left") {
        bar.set_style(style);
    }
    let out = options.out.clone().unwrap_or_else(|| target().join("bench"));
    let scratch = Scratch::new(&out)?;
    let interrupted = interrupt::flag()?;
    let begun = Instant::now();
    let mut results = Vec::new();
    for run in runs {
        bar.set_message(run.name);
        let left_out = options.quick.then_some(("elixir", "left out with --quick"));
        let measured = round::run(run, rounds, &scratch.0, left_out, options.quick, || bar.inc(1));
        if interrupted.load(Ordering::Relaxed) {
            bar.finish_and_clear();
            drop(scratch);
            std::process::exit(130);
        }
        let only =
            |result: &RowResult| options.only.as_ref().is_none_or(|part| result.name.contains(part.as_str()));
        let measured: Vec<RowResult> =
            measured?.into_iter().filter(|result| run.when == When::Asked || only(result)).collect();
        for result in &measured {
            bar.suspend(|| println!("{}", result.markdown()));
        }
        results.extend(measured);
    }
    bar.finish_and_clear();
    output::write(&out, options.json.as_deref(), &results)?;
    if options.write {
        output::page(&results, begun.elapsed())?;
    }
    let short: Vec<&str> = results.iter().filter(|result| !result.met()).map(|result| result.name).collect();
    println!(
        "{} rows in {:.0} s, tables and plots in {}",
        results.len(),
        begun.elapsed().as_secs_f64(),
        out.display()
    );
    let unmeasured = |result: &&RowResult| result.marks.iter().any(|mark| mark.met.is_none());
    let unmeasured: Vec<&str> = results.iter().filter(unmeasured).map(|result| result.name).collect();
    if !unmeasured.is_empty() {
        println!("marks not measured, as a contender was not there: {}", unmeasured.join(", "));
    }
    if !short.is_empty() {
        println!("marks not met: {}", short.join(", "));
    }
    Ok(short.is_empty() || !options.check)
}

/// The runs that were asked for. One that has to be asked for goes by its own name, so that `--only pod` does not run a million.
fn chosen(options: &Options) -> Vec<&'static Run> {
    let wanted = |run: &&Run| match (&options.only, run.when) {
        (Some(part), When::Asked) => run.name == part,
        (Some(part), _) => run.rows.iter().any(|row| row.name.contains(part.as_str())),
        (None, when) => when == When::Always || (when == When::Full && !options.quick),
    };
    rows::RUNS.iter().filter(wanted).collect()
}

/// Cargo's target directory: this program is in its `release/deps`.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(3).map_or_else(|| PathBuf::from("target"), Path::to_path_buf)
}

/// Where measurements put their files; gone with this.
struct Scratch(PathBuf);

impl Scratch {
    fn new(out: &Path) -> Result<Self, String> {
        let scratch = out.join(format!("scratch-{}", std::process::id()));
        std::fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        Ok(Self(scratch))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left for whoever looks into the target directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
