//! Keeps thousands of pods in trouble, kills the whole process at random and takes it up again, and checks what was promised.
//!
//! `cargo xtask soak` runs it. One program, two roles: the [`parent`] starts a [`worker`] on a store, kills it with SIGKILL at random
//! moments and starts the next; the last one is left alone, so that its memory can be judged, and ends in good order. The parent knows what
//! the workers said was acknowledged ([`acks`]), and asks for it in each next life.

mod acks;
mod flat;
mod parent;
mod plot;
mod random;
mod show;
mod summary;
mod wire;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Keeps thousands of pods in trouble, kills and resumes the whole, and checks every promise
#[derive(Debug, Parser)]
#[command(
    name = "pod-soak",
    args_conflicts_with_subcommands = true,
    max_term_width = 100,
    after_help = "Exit codes: 0 every check held, 1 one did not, 2 the soak could not be run."
)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: parent::Options,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// One life of the process that is killed.
    #[command(hide = true)]
    Worker(worker::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.role {
        Some(Role::Worker(options)) => worker::run(options).map(|()| true),
        None => parent::run(&cli.options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
