//! Runs everything: the tests, the demo and its kill loop, the layer check, the cases, CI.
//!
//! Apart from the stack, and using nothing of it, so that it builds while the stack does not. It calls cargo for all that
//! is to be built. Each verb is a module; `main` only reads the command line and turns results into exit codes.

mod bench;
mod cases;
mod ci;
mod demo;
mod fuzz;
mod interleavings;
mod kill_loop;
mod layers;
mod metadata;
mod mutants;
mod run;
mod soak;
mod test;
#[cfg(test)]
mod testing;

use std::{env, ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

/// Runs what the workspace runs: tests, checks, the demo, CI
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Exit codes: 0 all is well, 1 something failed, 2 the call makes no sense.\n\
                  A plain `demo` ends with the example's own exit code."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run every test of the workspace: unit, integration, property and doctests
    ///
    /// With --cases the random lifecycles of pods alone. What of them was run, and from which seed, is printed either way. Needs a Rust toolchain and a C
    /// compiler, nothing else. Exit codes: 0 all passed, 1 not.
    Test(test::Options),
    /// Build and run the example `tasks`: tasks in supervised pods, their history in a store
    ///
    /// Exit codes: the example's own; with --kill-loop 0 all rounds are well, 1 a violation, 2 bad usage.
    Demo(demo::Options),
    /// Have a fuzzer make up files from outside, and see whether a promise breaks (needs cargo-fuzz)
    ///
    /// Exit codes: 0 nothing was found, 1 something was, 2 there is no such target, 130 interrupted (and nothing was found so far).
    Fuzz(fuzz::Options),
    /// Run the registry and the supervisor's handshakes through the interleavings of their threads, under loom and shuttle
    ///
    /// The first run builds into a target folder of its own. Exit codes: 0 every scenario holds, 1 not; the seed is printed.
    Interleavings(interleavings::Options),
    /// Check that the crates of the stack use one another downward only
    ///
    /// Reads `cargo metadata` (dev- and build-dependencies included). Exit codes: 0 they do, 1 not.
    Layers,
    /// Print which cases of a list have no test that really runs
    ///
    /// A test names its cases at the beginning of its doc comment (`/// RI-06 ...`). Exit codes: 0 none is missing, 1 some
    /// are, 2 the list cannot be read.
    Cases(cases::Options),
    /// Change the rules one by one and see whether a test notices (needs cargo-mutants)
    ///
    /// Exit codes: 0 every change was noticed, 1 some were not, 2 the shard makes no sense.
    Mutants(mutants::Options),
    /// Break things at random, for as long as you like, and check that every promise is kept
    ///
    /// Exit codes: 0 all were kept, 1 one was not, 2 it could not be run, 130 interrupted (and all were kept so far).
    Soak(soak::Options),
    /// Measure the stack beside bare tokio, bare SQLite and its peers, in one run
    ///
    /// Table and plots go to target/bench. Exit codes: 0 done, 1 it could not be measured or, with --check, a mark is not met, 130
    /// interrupted.
    Bench(bench::Options),
    /// Run format, layers, clippy, check, test, more random lifecycles, interleavings, docs, a short kill loop and cases, up to the first failure
    ///
    /// Exit codes: 0 all is well, 1 a stage failed; it is named, with the command to repeat it.
    Ci,
}

fn main() -> ExitCode {
    let result = match Cli::parse_from(args(env::args_os())).verb {
        Verb::Test(options) => test::run(&options).map(|()| 0),
        Verb::Demo(options) => demo::run(&options),
        Verb::Fuzz(options) => fuzz::run(&options),
        Verb::Interleavings(options) => interleavings::run(&options).map(|()| 0),
        Verb::Layers => layers::run().map(|()| 0),
        Verb::Cases(options) => cases::run(&options).map(|()| 0),
        Verb::Mutants(options) => mutants::run(&options).map(|()| 0),
        Verb::Soak(options) => soak::run(&options),
        Verb::Bench(options) => bench::run(&options),
        Verb::Ci => ci::run().map(|()| 0),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.code())
        }
    }
}

/// The process's arguments, with the demo's own options before those that it passes on.
fn args(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<_> = args.collect();
    if args.get(1).is_some_and(|verb| verb == "demo") {
        let rest = demo::ours_first(args.split_off(2));
        args.extend(rest);
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, error::ErrorKind};

    fn parse(text: &str) -> Result<Verb, clap::Error> {
        Cli::try_parse_from(args(text.split(' ').map(OsString::from))).map(|cli| cli.verb)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn test_passes_on_what_follows_the_dashes() {
        let Verb::Test(options) = parse("xtask test -- -p ipa-pod name -- --nocapture").unwrap() else {
            panic!()
        };
        assert_eq!(options.args, ["-p", "ipa-pod", "name", "--", "--nocapture"]);
        assert!(parse("xtask test name").is_err());
        assert!(parse("xtask test --cases 20 --seed 7").is_ok());
        assert!(parse("xtask test --cases 0").is_err());
    }

    #[test]
    fn the_demo_s_options_may_stand_anywhere() {
        let Verb::Demo(options) =
            parse("xtask demo --fresh --kill-loop 3 --parallel 2 --chaos=0.1 --json").unwrap()
        else {
            panic!()
        };
        assert_eq!((options.kill_loop, options.json, options.chaos.as_deref()), (Some(3), true, Some("0.1")));
        assert_eq!(options.rest, ["--fresh", "--parallel", "2"]);
        assert!(parse("xtask demo --kill-loop 0").is_err());
        assert!(parse("xtask demo --kill-loop").is_err());
    }

    #[test]
    fn a_soak_ends_by_minutes_or_by_kills() {
        let Verb::Soak(options) = parse("xtask soak --store --kills 1000 --json").unwrap() else { panic!() };
        assert!(options.store && options.json && options.kills == Some(1000) && options.minutes.is_none());
        assert!(parse("xtask soak --kills 3").is_err(), "only of the store");
        assert!(parse("xtask soak --store --pods 3").is_err(), "only of pods");
    }

    #[test]
    fn the_demo_s_help_is_ours_first_and_the_example_s_after_dashes() {
        assert_eq!(parse("xtask demo --help").unwrap_err().kind(), ErrorKind::DisplayHelp);
        let Verb::Demo(options) = parse("xtask demo -- --help").unwrap() else { panic!() };
        assert_eq!(options.rest, ["--help"]);
    }
}
