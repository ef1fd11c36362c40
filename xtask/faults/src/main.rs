//! The command line: the soak, its parts, and the processes that they start.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use store_faults::{busy, count, fault, full, kill, power, soak, trouble::Trouble};

/// Breaks the event store and shows what it promises
#[derive(Debug, Parser)]
#[command(name = "store-faults", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Kill a working process at random moments, let operations on files fail, lose the power, and check every promise
    ///
    /// Exit codes: 0 every promise was kept, 1 one was not, 2 it could not be run, 130 interrupted (and none was broken so far).
    Soak(soak::Options),
    /// Lose the power of a working process many times
    Power(power::Rounds),
    /// Build what a loss of power left once more, as a failed round says
    Lose(power::Again),
    /// A process that works, for losses of power
    #[command(hide = true)]
    Work(power::Work),
    /// A process that works until it is killed
    #[command(hide = true)]
    WorkUntilKilled(kill::Work),
    /// A process whose files fail it
    #[command(hide = true)]
    Loop(fault::Options),
    /// A process whose disk is full
    #[command(hide = true)]
    Full(full::Options),
    /// A process that holds the store's lock for writing
    #[command(hide = true)]
    Hold(busy::Options),
    /// A process that counts syncs
    #[command(hide = true)]
    Count(count::Options),
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::from(2);
        }
    };
    match runtime.block_on(run(Cli::parse())) {
        Ok(code) => code,
        Err(trouble) => {
            eprintln!("error: {trouble}");
            ExitCode::from(trouble.code())
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Trouble> {
    match cli.verb {
        Verb::Soak(options) => {
            let program = std::env::current_exe();
            let program = program
                .map_err(|source| Trouble::Tool { doing: "finding this program".to_owned(), source })?;
            let summary = soak::run(&program, options).await?;
            return Ok(if summary.interrupted { ExitCode::from(130) } else { ExitCode::SUCCESS });
        }
        Verb::Power(options) => power::rounds(&program()?, &options).await,
        Verb::Lose(options) => power::again(&options),
        Verb::Work(options) => power::work(options).await,
        Verb::WorkUntilKilled(options) => kill::work(options).await,
        Verb::Loop(options) => print(&fault::work(options).await?),
        Verb::Full(options) => print(&full::work(options).await?),
        Verb::Hold(options) => busy::hold(options),
        Verb::Count(options) => print(&count::count(options).await?),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// What a parent reads.
fn print(what: &impl serde::Serialize) -> Result<(), Trouble> {
    let failed = |source| Trouble::Tool { doing: "writing to stdout".to_owned(), source };
    let mut line = serde_json::to_vec(what).map_err(|error| failed(error.into()))?;
    line.push(b'\n');
    std::io::stdout().write_all(&line).map_err(failed)
}

/// This program, for the processes that it starts.
fn program() -> Result<PathBuf, Trouble> {
    let failed = |source| Trouble::Tool { doing: "finding this program".to_owned(), source };
    std::env::current_exe().map_err(failed)
}
