//! `cargo xtask soak`: breaks things at random, for as long as one likes.
//!
//! What breaks them uses the stack, so it is a tool of its own; here it is only built and started. It takes our place, so that
//! Ctrl-C reaches it alone, and its exit code is the caller's.

use std::ffi::OsString;

use crate::{
    demo,
    run::{self, Error, Result},
};

/// The options of the verb.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Break the event store: kill processes that work on it, let operations on its files fail, lose its power
    #[arg(long)]
    pub store: bool,

    /// Go on for so many minutes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub minutes: Option<u64>,

    /// Go on until so many processes were killed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub kills: Option<u64>,

    /// What everything random follows from [default: another one each time, printed]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,

    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs the soak. Returns only if it could not be started: its exit code becomes ours.
///
/// # Errors
///
/// A usage error for options that leave open what to break or for how long; a failure when the tool does not start.
pub fn run(options: &Options) -> Result<u8> {
    if !options.store {
        return Err(Error::usage("soak: say what to break: --store"));
    }
    if options.minutes.is_none() && options.kills.is_none() {
        return Err(Error::usage("soak: say for how long: --minutes N, or --kills N"));
    }
    let mut command = run::cargo(["run", "--quiet", "--release", "--package", "store-faults", "--", "soak"]);
    command.args(store_args(options));
    demo::hand_over(command)
}

/// What the tool is told.
fn store_args(options: &Options) -> Vec<OsString> {
    let numbers = [("--minutes", options.minutes), ("--kills", options.kills), ("--seed", options.seed)];
    let mut args = Vec::new();
    for (name, number) in numbers {
        if let Some(number) = number {
            args.extend([name.into(), number.to_string().into()]);
        }
    }
    if options.json {
        args.push("--json".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_has_to_know_what_and_for_how_long() {
        let minutes = Options { minutes: Some(1), ..Options::default() };
        let store = Options { store: true, ..Options::default() };
        for (options, hint) in [(minutes, "--store"), (store, "--minutes N")] {
            let error = run(&options).unwrap_err();
            assert!(error.code() == 2 && error.to_string().contains(hint), "{error}");
        }
    }

    #[test]
    fn the_tool_gets_what_is_its_own() {
        let options =
            Options { store: true, kills: Some(7), seed: Some(3), json: true, ..Options::default() };
        assert_eq!(store_args(&options), ["--kills", "7", "--seed", "3", "--json"]);
    }
}
