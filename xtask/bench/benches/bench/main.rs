//! The stack beside bare tokio, bare SQLite and its peers: `cargo xtask bench`.
//!
//! The rows are in [`rows`], what each contender does in the modules of its subject. A measurement is this program again, with the row's
//! name and the contender's; it prints one number.

mod children;
mod mailbox;
mod names;
mod pods;
mod rows;
mod store;
mod tool;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ipa_bench::plot;
use ipa_bench::report::Result as RowResult;
use ipa_bench::round::{self, MEASURE};
use ipa_bench::row::Row;

/// Measures the stack beside what is written by hand and beside its peers
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask bench",
    after_help = "Exit codes: 0 done, 1 a measurement failed or (with --check) a mark is not met."
)]
struct Options {
    /// Three rounds instead of seven, and without the long rows
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
    /// Where table and plots are written
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// What cargo bench adds; without effect
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, measure, row, contender, ..] = &arguments[..]
        && measure == MEASURE
    {
        return measure_one(row, contender);
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

fn measure_one(row: &str, contender: &str) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let row = rows::ROWS.iter().find(|candidate| candidate.name == row);
    let found = row.and_then(|row| row.contenders.iter().find(|candidate| candidate.name == contender));
    let Some(found) = found else {
        eprintln!("no such measurement");
        return ExitCode::FAILURE;
    };
    println!("{}", (found.measure)());
    ExitCode::SUCCESS
}

fn run(options: &Options) -> Result<bool, String> {
    let wanted = |row: &&Row| match &options.only {
        Some(part) => row.name.contains(part.as_str()),
        None => !(options.quick && row.long),
    };
    let rows: Vec<&Row> = rows::ROWS.iter().filter(wanted).collect();
    if rows.is_empty() {
        return Err("no row has such a name".to_owned());
    }
    let rounds = if options.quick { 3 } else { 7 };
    let total: usize = rows.iter().map(|row| row.contenders.len() * rounds).sum();
    let bar = ProgressBar::new(total as u64);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}, {eta} left") {
        bar.set_style(style);
    }
    let mut results = Vec::new();
    for row in rows {
        bar.set_message(row.name);
        let measured = round::run(row, rounds, || bar.inc(1))?;
        let result = RowResult::new(row, &measured);
        bar.suspend(|| println!("{}", result.markdown()));
        results.push(result);
    }
    bar.finish_and_clear();
    write(options, &results)?;
    let met = results.iter().all(RowResult::met);
    Ok(met || !options.check)
}

fn write(options: &Options, results: &[RowResult]) -> Result<(), String> {
    let said = |error: std::io::Error| format!("{}: {error}", options.out.display());
    std::fs::create_dir_all(&options.out).map_err(said)?;
    let table: String = results.iter().map(|result| result.markdown() + "\n").collect();
    std::fs::write(options.out.join("results.md"), table).map_err(said)?;
    let mut groups: BTreeMap<&str, Vec<RowResult>> = BTreeMap::new();
    for result in results {
        groups.entry(result.group).or_default().push(result.clone());
    }
    for (group, results) in groups {
        std::fs::write(options.out.join(format!("{group}.svg")), plot::svg(group, &results)).map_err(said)?;
    }
    if let Some(file) = &options.json {
        let json = serde_json::to_string_pretty(results).map_err(|error| error.to_string())?;
        std::fs::write(file, json).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}
