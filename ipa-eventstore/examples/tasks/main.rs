//! A durable, supervised task runner.
//!
//! `cargo run --example tasks -- --help` says how it is used; `plan.rs` says what a file of tasks holds.

#![allow(dead_code, reason = "the runtime that uses the rest is added on top")]

mod args;
mod order;
mod plan;
mod progress;
mod report;

use std::process::ExitCode;

use args::{Args, Quit};
use plan::{Plan, PlanError};
use report::{EXIT_BAD_INPUT, EXIT_COMPLETED};

fn main() -> ExitCode {
    let args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(Quit::Help(text)) => {
            report::print(&text);
            return ExitCode::from(EXIT_COMPLETED);
        }
        Err(Quit::Usage(line)) => {
            eprintln!("error: {line}");
            return ExitCode::from(EXIT_BAD_INPUT);
        }
    };
    match show(&args) {
        Ok(()) => ExitCode::from(EXIT_COMPLETED),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(EXIT_BAD_INPUT)
        }
    }
}

/// Prints the plan.
fn show(args: &Args) -> Result<(), PlanError> {
    let plan = Plan::load(&args.file)?;
    for task in &plan.tasks {
        report::print(&format!("{}  {}  [{}]\n", task.id, task.title, task.digest()));
        for step in &task.steps {
            report::print(&format!("    {}  after [{}]  {}\n", step.id, step.after.join(", "), step.command));
        }
    }
    Ok(())
}
