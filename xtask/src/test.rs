//! `cargo xtask test`: every test of the workspace in one call of cargo.
//!
//! One call, so nothing is built twice: `cargo test` without a choice of targets runs unit, integration and property
//! tests and the doctests, builds the examples, and leaves benches alone (`--all-targets` would run those that bring
//! their own `main` as if they were tests). With all features, so that no test is left out unseen.

use std::{
    io::{self, Write},
    time::Instant,
};

use crate::run::{self, Error, Result};

/// What `cargo test` is told before the caller's own arguments.
pub const ARGS: [&str; 3] = ["test", "--all-features", "--no-fail-fast"];

/// Runs the tests; `extra` goes to `cargo test` as it is.
///
/// # Errors
///
/// When a test fails or something does not build.
pub fn run(extra: &[String]) -> Result {
    let started = Instant::now();
    let mut command = run::cargo(ARGS);
    // A choice of packages is the caller's; cargo refuses some of them beside `--workspace`.
    if !chooses_packages(extra) {
        command.arg("--workspace");
    }
    command.args(extra);

    let mut tally = Tally::default();
    let mut stdout = io::stdout();
    let ok = run::lines(command, |line| {
        tally.read(&String::from_utf8_lossy(line));
        stdout.write_all(line)?;
        stdout.flush()
    })?;

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
    fn only_cargo_s_own_arguments_choose_packages() {
        let args = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        assert!(chooses_packages(&args("-p ipa-pod")));
        assert!(chooses_packages(&args("name --package=ipa-pod")));
        assert!(!chooses_packages(&args("name -- -p")));
        assert!(!chooses_packages(&[]));
    }
}
