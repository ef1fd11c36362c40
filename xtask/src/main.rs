//! Runs everything: the tests, the layer check, the cases.

mod cases;
mod layers;
mod metadata;
mod run;
mod test;
#[cfg(test)]
mod testing;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs what the workspace runs: tests, checks, the demo, CI.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 all is well, 1 something failed, 2 the call makes no sense."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run every test of the workspace: unit, integration, property and doctests
    Test {
        /// Passed on to `cargo test`: `-- -p ipa-pod name`, `-- name -- --nocapture`
        #[arg(last = true, value_name = "CARGO TEST ARGS")]
        args: Vec<String>,
    },
    /// Check that the crates of the stack use one another downward only
    Layers,
    /// Print which cases of the list have no test that runs
    Cases(cases::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Test { args } => test::run(&args),
        Verb::Layers => layers::run(),
        Verb::Cases(options) => cases::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.code())
        }
    }
}
