//! `ipa-events`, the operator's tool for event stores: list, read, follow, count, check, copy, move.
//!
//! Everything but `import` opens the store read-only, beside whoever writes to it. `args` has what may be
//! asked, one module a verb does it, `failure` says in the tool's terms what went wrong, and with which exit
//! code; `text` and `bar` are how things look, `interrupt` is Ctrl-C.

mod args;
mod backup;
mod bar;
mod cat;
mod check;
mod export;
mod failure;
mod import;
mod input;
mod interrupt;
mod ls;
mod stat;
mod tail;
mod text;

use std::io::{self, BufWriter, StdoutLock};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use ipa_eventstore::SqliteEventStore;

use args::{Cli, Verb};
use failure::{Failure, STORE, USAGE};

fn main() -> ExitCode {
    // Prints help, with code 0, or what is wrong with the command line, with code 2.
    let cli = Cli::parse();
    // One thread beside this one: a verb may block here, and Ctrl-C must be heard.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(STORE, format!("no threads to be had: {error}")).report(),
    };
    // Dropping the runtime waits for what still works for a verb that was interrupted.
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let store = cli.verb.store();
    if store.file_name().is_none_or(|name| name == ":memory:") {
        return Err(Failure::new(USAGE, format!("{} is not the path of a file", store.display())));
    }
    let json = cli.json;
    match cli.verb {
        Verb::Ls(args) => ls::run(args, json).await,
        Verb::Cat(args) => cat::run(args, json).await,
        Verb::Tail(args) => tail::run(args, json).await,
        Verb::Stat(args) => stat::run(args, json).await,
        Verb::Check(args) => check::run(args, json).await,
        Verb::Backup(args) => backup::run(args, json).await,
        Verb::Export(args) => export::run(args, json).await,
        Verb::Import(args) => import::run(args, json).await,
    }
}

/// Opens the store for reading and closes it again, whatever comes of the verb.
async fn reading<T>(
    path: &Path,
    verb: impl AsyncFnOnce(&SqliteEventStore) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let of_store = |error| Failure::of_store(path, &error);
    let store = SqliteEventStore::open_read_only(path).await.map_err(of_store)?;
    let done = verb(&store).await;
    let closed = store.close().await.map_err(of_store);
    let done = done?;
    closed?;
    Ok(done)
}

type Out = BufWriter<StdoutLock<'static>>;

fn stdout() -> Out {
    BufWriter::new(io::stdout().lock())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
