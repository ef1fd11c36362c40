//! `cargo xtask test`: every test of the workspace in one call of cargo.
//!
//! One call, so nothing is built twice: `cargo test` without a choice of targets runs unit, integration and property
//! tests and the doctests, builds the examples, and leaves benches alone (`--all-targets` would run those that bring
//! their own `main` as if they were tests). With all features, so that no test is left out unseen.
//!
//! Asked for a number of cases, it runs the suite of random lifecycles alone: nobody asks for 20,000 programs to see unit tests
//! pass. The numbers travel as environment variables, and the suite says in a file what it ran, as libtest shows no output of
//! tests that pass.

use std::{
    env, fs,
    io::{self, Write},
    path::PathBuf,
    process::{self, Command},
    time::Instant,
};

use clap::Args;

use crate::run::{self, Error, Result};

/// What `cargo xtask test` is told.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// Run random lifecycles of pods alone, so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    cases: Option<u32>,
    /// Begin what is random from this seed
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Passed on to `cargo test`: `-- -p ipa-pod name`, `-- name -- --nocapture`
    #[arg(last = true, value_name = "CARGO TEST ARGS")]
    pub args: Vec<String>,
}

impl Options {
    /// So many random lifecycles, and nothing else.
    pub fn cases(cases: u32) -> Self {
        Self { cases: Some(cases), ..Self::default() }
    }

    /// The same from this seed.
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }
}

/// What `cargo test` is told before the caller's own arguments.
pub const ARGS: [&str; 3] = ["test", "--all-features", "--no-fail-fast"];

/// The suite of random lifecycles.
const LIFECYCLES: [&str; 4] = ["-p", "ipa-pod", "--test", "lifecycles"];

/// Runs the tests.
///
/// # Errors
///
/// When a test fails or something does not build.
pub fn run(options: &Options) -> Result {
    let started = Instant::now();
    let lifecycles = Summary::new();
    let mut command = command(options);
    command.env("IPA_SUMMARY", &lifecycles.0);

    let mut tally = Tally::default();
    let mut stdout = io::stdout();
    let ok = run::lines(command, |line| {
        tally.read(&String::from_utf8_lossy(line));
        stdout.write_all(line)?;
        stdout.flush()
    })?;

    lifecycles.print();
    let summary = format!("{tally} in {}", run::time(started.elapsed()));
    if ok {
        println!("\ntest: ok, {summary}");
        Ok(())
    } else if tally.failed > 0 {
        let names: String = tally.names.iter().map(|name| format!("\n  failed: {name}")).collect();
        Err(Error::failed(format!("test: {summary}{names}")))
    } else {
        Err(Error::failed(format!("test: cargo failed before every test had run (see above); {summary}")))
    }
}

fn command(options: &Options) -> Command {
    let mut command = run::cargo(ARGS);
    if let Some(cases) = options.cases {
        command.args(LIFECYCLES).env("IPA_CASES", cases.to_string());
    } else if !chooses_packages(&options.args) {
        // A choice of packages is the caller's; cargo refuses some of them beside `--workspace`.
        command.arg("--workspace");
    }
    if let Some(seed) = options.seed {
        // The machine's walk takes a seed other than zero.
        let walk = seed.max(1).to_string();
        command.env("IPA_SEED", seed.to_string()).env("PROPTEST_RNG_SEED", seed.to_string());
        command.env("IPA_WALK_SEED", walk);
    }
    command.args(&options.args);
    command
}

/// A file in which the suite of lifecycles says what it ran. Removed when dropped.
struct Summary(PathBuf);

impl Summary {
    fn new() -> Self {
        Self(env::temp_dir().join(format!("ipa-lifecycles-{}.txt", process::id())))
    }

    /// Nothing, if that suite was not run.
    fn print(&self) {
        if let Ok(text) = fs::read_to_string(&self.0) {
            println!("\n{text}");
        }
    }
}

impl Drop for Summary {
    fn drop(&mut self) {
        // There is none if that suite was not run.
        let _ = fs::remove_file(&self.0);
    }
}

fn chooses_packages(extra: &[String]) -> bool {
    extra.iter().take_while(|arg| *arg != "--").any(|arg| {
        arg.starts_with("-p") || arg.starts_with("--package") || arg.starts_with("--manifest-path")
    })
}

/// The sums of libtest's `test result:` lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    binaries: usize,
    passed: u64,
    failed: u64,
    ignored: u64,
    /// The tests that failed.
    names: Vec<String>,
}

impl Tally {
    /// `test name ... FAILED`, and
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
    fn read(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            let name =
                line.strip_prefix("test ").and_then(|test| test.trim_end().strip_suffix(" ... FAILED"));
            self.names.extend(name.map(String::from));
            return;
        };
        self.binaries += 1;
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} ignored in {}",
            self.passed,
            self.failed,
            self.ignored,
            run::plural(self.binaries, "suite")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up_and_other_lines_do_not_count() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests\n",
            "test a ... ok\n",
            "test b::c ... FAILED\n",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.20s\n",
            "my test result: 7 passed\n",
        ] {
            tally.read(line);
        }
        assert_eq!(
            tally,
            Tally { binaries: 2, passed: 13, failed: 2, ignored: 1, names: vec!["b::c".into()] }
        );
        assert_eq!(tally.to_string(), "13 passed, 2 failed, 1 ignored in 2 suites");
    }

    #[test]
    fn cases_run_the_lifecycles_alone_and_a_seed_reaches_all_that_is_random() {
        let shown = |options: &Options| {
            let command = command(options);
            let envs = command.get_envs().map(|(name, value)| {
                format!("{}={}", name.to_string_lossy(), value.unwrap_or_default().to_string_lossy())
            });
            (run::shown(&command), envs.collect::<Vec<_>>())
        };
        let (line, envs) = shown(&Options::cases(20));
        assert!(line.contains("--test lifecycles") && !line.contains("--workspace"), "{line}");
        assert_eq!(envs, ["IPA_CASES=20"]);
        let (line, envs) = shown(&Options { seed: Some(7), ..Options::default() });
        assert!(line.ends_with("--workspace"), "{line}");
        assert_eq!(envs, ["IPA_SEED=7", "IPA_WALK_SEED=7", "PROPTEST_RNG_SEED=7"]);
    }

    #[test]
    fn only_cargo_s_own_arguments_choose_packages() {
        let args = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        assert!(chooses_packages(&args("-p ipa-pod")));
        assert!(chooses_packages(&args("name --package=ipa-pod")));
        assert!(!chooses_packages(&args("name -- -p")));
        assert!(!chooses_packages(&[]));
    }
}
