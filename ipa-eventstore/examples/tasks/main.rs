//! A durable, supervised task runner, written as a layer above the stack would be: on its public API alone.
//!
//! `cargo xtask demo` runs it, `-- --help` says how it is used, `plan.rs` what a file of tasks holds. Kill it whenever you like and
//! give the same command again: it goes on where the store says that it was.
//!
//! - What comes in: [`args`], [`plan`], [`order`]. What goes out: [`progress`], [`report`].
//! - A task is a stream: [`event`] is its format, [`state`] its rules, [`history`] reads it, [`check`] judges it.
//! - A task's work is a pod: [`pod`] says of which children, [`workspace`], [`scheduler`] and [`sync`] are three of them, and they
//!   find each other with [`peers`].
//! - A run: [`setup`] refuses or prepares, [`orphans`] ends what the last one left, [`manager`] runs the pods, [`interrupt`] hears
//!   Ctrl-C, [`chaos`] makes things crash.

mod args;
mod chaos;
mod check;
mod digest;
mod event;
mod folders;
mod history;
mod interrupt;
mod manager;
mod order;
mod orphans;
mod peers;
mod plan;
mod pod;
mod progress;
mod report;
mod scheduler;
mod setup;
mod state;
mod sync;
mod workspace;

use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ipa_eventstore::SqliteEventStore;
use ipa_supervisor::BoxError;

use args::{Args, Quit};
use chaos::Chaos;
use interrupt::Interrupt;
use plan::Plan;
use progress::Progress;
use report::{EXIT_BAD_INPUT, EXIT_COMPLETED, EXIT_FAILED, EXIT_INTERRUPTED, Summary};
use setup::chain;

/// How long the end of the runtime may take once all is said and done.
const LAST_MOMENT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(Quit::Help(text)) => {
            report::print(&text);
            return ExitCode::from(EXIT_COMPLETED);
        }
        Err(Quit::Usage(line)) => return refuse(&line),
    };
    let plan = match Plan::load(&args.file) {
        Ok(plan) => plan,
        Err(error) => return refuse(&error.to_string()),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("no threads to be had: {error}")),
    };
    let code = runtime.block_on(async {
        if args.check { check(&args, &plan).await } else { run_or_quit(&args, &plan).await }
    });
    // What still runs is dropped here, and with it, by SIGKILL, the processes of all steps.
    runtime.shutdown_timeout(LAST_MOMENT);
    code
}

fn refuse(line: &str) -> ExitCode {
    eprintln!("error: {line}");
    ExitCode::from(EXIT_BAD_INPUT)
}

async fn check(args: &Args, plan: &Plan) -> ExitCode {
    let checked = async {
        let store = SqliteEventStore::open_read_only(&args.db).await?;
        check::check(&store, plan).await
    };
    match checked.await {
        Ok(health) => {
            report::print(&format!("{}\n", health.json()));
            ExitCode::from(if health.violations.is_empty() { EXIT_COMPLETED } else { EXIT_FAILED })
        }
        Err(error) => refuse(&format!("{}: {}", args.db.display(), chain(&error))),
    }
}

/// Runs the plan; at the second interrupt drops everything where it stands.
async fn run_or_quit(args: &Args, plan: &Plan) -> ExitCode {
    let mut interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => return refuse(&format!("cannot listen for Ctrl-C: {error}")),
    };
    let mut again = interrupt.clone();
    tokio::select! {
        biased;
        () = again.nth(2) => {
            eprintln!("interrupted again: ended at once; the same command goes on from here");
            ExitCode::from(EXIT_INTERRUPTED)
        }
        code = run(args, plan, &mut interrupt) => code,
    }
}

async fn run(args: &Args, plan: &Plan, interrupt: &mut Interrupt) -> ExitCode {
    let begun = Instant::now();
    let ready = match setup::prepare(args, plan).await {
        Ok(ready) => ready,
        Err(refused) => return refuse(&refused.to_string()),
    };
    let seed = args.seed.unwrap_or_else(|| RandomState::new().hash_one(std::process::id()));
    let progress = Progress::new(plan, args.json);
    if args.chaos > 0.0 {
        chaos::hush();
        progress.show(progress::Event::Note(&format!("chaos {}, --seed {seed}", args.chaos)));
    }
    let chaos = Chaos::new(args.chaos, seed);
    let ran: Result<_, BoxError> = manager::run(plan, ready, args, chaos, &progress, interrupt).await;
    progress.finish();
    let rows = match ran {
        Ok(rows) => rows,
        Err(error) => {
            eprintln!("error: {}: {}", args.db.display(), chain(&error));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let summary = Summary::of(&rows, begun.elapsed());
    if args.json {
        report::print(&format!("{}\n", summary.json()));
    } else {
        report::print(&format!("\n{}", report::table(&rows, &summary)));
    }
    ExitCode::from(summary.exit_code(interrupt.count() > 0))
}
