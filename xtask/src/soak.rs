//! `cargo xtask soak`: breaks things at random, for as long as one likes, and checks every promise.
//!
//! What breaks them uses the stack, so it is a tool of its own, one for pods and one for the store's files; here it is only built for
//! release and started. Cargo takes our place, and the tool cargo's, so that Ctrl-C reaches the tool alone and its exit code is the
//! caller's.

use std::{ffi::OsString, path::PathBuf};

use crate::{
    metadata,
    run::{self, Error, Result},
};

/// The options of the verb. The tools say the same of them; here, so that `--help` tells of them before anything is built.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Break the event store's files instead of pods: kill processes that work on it, let operations fail, lose its power
    #[arg(long)]
    pub store: bool,

    /// How long, in minutes; a fraction is fine [default: 5; with --store, none]
    #[arg(long, value_name = "N")]
    pub minutes: Option<f64>,

    /// With --store: until so many processes were killed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), requires = "store")]
    pub kills: Option<u64>,

    /// How many tasks, and so pods at once, at most [default: 2000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "store")]
    pub pods: Option<u32>,

    /// What everything random follows from, as far as the scheduler lets it [default: another one each time, printed]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,

    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,

    /// Where the plot and the summary go, and the pods' store while it runs [default: target/soak]
    #[arg(long, value_name = "DIR", conflicts_with = "store")]
    pub out: Option<PathBuf>,
}

/// Runs the soak. On Unix this returns only if it could not be started: the tool's exit code becomes ours.
///
/// # Errors
///
/// A usage error for a soak of the store that does not say for how long; a failure when cargo does not start.
pub fn run(options: &Options) -> Result<u8> {
    if options.store && options.minutes.is_none() && options.kills.is_none() {
        return Err(Error::usage("soak: say for how long: --minutes N, or --kills N"));
    }
    let package = if options.store { "store-faults" } else { "pod-soak" };
    let mut command = run::cargo(["run", "--quiet", "--release", "--package", package, "--"]);
    command.args(arguments(options)?);
    run::hand_over(command)
}

/// What the tool is told.
fn arguments(options: &Options) -> Result<Vec<OsString>> {
    let mut arguments: Vec<OsString> = Vec::new();
    if options.store {
        arguments.push("soak".into());
    }
    let mut add = |name: &str, value: Option<OsString>| {
        if let Some(value) = value {
            arguments.extend([name.into(), value]);
        }
    };
    add("--minutes", options.minutes.map(|minutes| minutes.to_string().into()));
    add("--kills", options.kills.map(|kills| kills.to_string().into()));
    add("--pods", options.pods.map(|pods| pods.to_string().into()));
    add("--seed", options.seed.map(|seed| seed.to_string().into()));
    if !options.store {
        // Cargo runs at the root of the workspace; the path is meant from where we were called.
        let out = match &options.out {
            Some(out) => std::path::absolute(out)
                .map_err(|error| Error::failed(format!("the current folder: {error}")))?,
            None => metadata::read()?.target_directory.join("soak"),
        };
        add("--out", Some(out.into()));
    }
    if options.json {
        arguments.push("--json".into());
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_of_the_store_has_to_know_for_how_long() {
        let error = run(&Options { store: true, ..Options::default() }).unwrap_err();
        assert!(error.code() == 2 && error.to_string().contains("--minutes N"), "{error}");
    }

    #[test]
    fn what_was_said_is_passed_on() {
        let pods = Options {
            minutes: Some(0.5),
            seed: Some(7),
            json: true,
            out: Some("/a/b".into()),
            ..Options::default()
        };
        let expected = ["--minutes", "0.5", "--seed", "7", "--out", "/a/b", "--json"];
        assert_eq!(arguments(&pods).unwrap(), expected.map(OsString::from));
        let store = Options { store: true, minutes: Some(2.0), kills: Some(9), ..Options::default() };
        let expected = ["soak", "--minutes", "2", "--kills", "9"];
        assert_eq!(arguments(&store).unwrap(), expected.map(OsString::from));
    }
}
