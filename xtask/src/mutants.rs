//! `cargo xtask mutants`: does a test notice when a rule is changed?
//!
//! cargo-mutants changes one thing at a time and runs the tests; a change that none notices is a survivor. Without a shard: the machine
//! to the end, against its tests that need no runtime. With `--shard K/N`: a part of the loops around it and of the lease, against all
//! tests of their crate, which take longer. A change that makes no difference that a test could see is left out, in `.cargo/mutants.toml`,
//! with the reason.

use std::process::{Command, Stdio};

use crate::run::{self, Error, Result};

/// The rules.
const MACHINE: [&str; 6] = [
    "ipa-supervisor/src/machine.rs",
    "ipa-supervisor/src/machine/*.rs",
    "ipa-supervisor/src/table.rs",
    "ipa-supervisor/src/intensity.rs",
    "ipa-supervisor/src/backoff.rs",
    "ipa-supervisor/src/policy.rs",
];

/// What drives them.
const LOOPS: [&str; 8] = [
    "ipa-supervisor/src/driver.rs",
    "ipa-supervisor/src/seat.rs",
    "ipa-supervisor/src/inbox.rs",
    "ipa-supervisor/src/incarnation.rs",
    "ipa-supervisor/src/lease.rs",
    "ipa-supervisor/src/control.rs",
    "ipa-supervisor/src/stop_request.rs",
    "ipa-supervisor/src/nested.rs",
];

/// What may be chosen.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// Instead of the machine, this part of the loops and the lease: 0/4, 1/4, 2/4, 3/4 are all of them
    #[arg(long, value_name = "K/N")]
    pub shard: Option<String>,
    /// List the changes, and test none
    #[arg(long)]
    pub list: bool,
}

/// Runs it; what it found is in `target/mutants/`.
///
/// # Errors
///
/// When there are survivors, or cargo-mutants is not installed.
pub fn run(options: &Options) -> Result {
    if !is_installed() {
        return Err(Error::failed(
            "cargo-mutants is not installed; `cargo install --locked cargo-mutants` adds it",
        ));
    }
    match command(options)?.status() {
        // 3: some changes made a test wait for ever, and the rest was noticed as well.
        Ok(status) if matches!(status.code(), Some(0 | 3)) => Ok(()),
        Ok(status) if status.code() == Some(2) => Err(Error::failed(
            "mutants: some changes were noticed by no test; they are listed in target/mutants/mutants.out/missed.txt",
        )),
        Ok(status) => Err(Error::failed(format!("mutants: cargo-mutants failed ({status})"))),
        Err(error) => Err(Error::failed(format!("cannot run cargo mutants: {error}"))),
    }
}

fn command(options: &Options) -> Result<Command> {
    let mut command = run::cargo(["mutants", "--package", "ipa-supervisor", "--output", "target/mutants"]);
    // The tests take seconds; a change that makes one of them wait for ever is noticed, too.
    command.args(["--minimum-test-timeout", "30", "--no-shuffle"]);
    let files: &[&str] = match &options.shard {
        None => &MACHINE,
        Some(shard) => {
            check_shard(shard)?;
            command.args(["--shard", shard]);
            &LOOPS
        }
    };
    for file in files {
        command.args(["--file", file]);
    }
    if options.list {
        command.arg("--list");
    }
    command.args(["--", if options.shard.is_some() { "--tests" } else { "--lib" }]);
    Ok(command)
}

fn check_shard(shard: &str) -> Result {
    let parts =
        shard.split_once('/').and_then(|(k, n)| Some((k.parse::<u32>().ok()?, n.parse::<u32>().ok()?)));
    match parts {
        Some((k, n)) if k < n => Ok(()),
        _ => Err(Error::usage(format!("`{shard}` is no shard: K/N with K from 0 to N - 1, such as 0/4"))),
    }
}

fn is_installed() -> bool {
    let mut probe = run::cargo(["mutants", "--version"]);
    probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(shard: Option<&str>) -> Result<String> {
        command(&Options { shard: shard.map(String::from), list: false }).map(|command| run::shown(&command))
    }

    #[test]
    fn the_machine_is_tested_without_a_runtime_and_the_loops_with_everything() {
        let machine = shown(None).unwrap();
        assert!(machine.contains("machine/*.rs") && machine.ends_with("-- --lib"), "{machine}");
        let loops = shown(Some("1/4")).unwrap();
        assert!(loops.contains("--shard 1/4") && loops.contains("driver.rs"), "{loops}");
        assert!(!loops.contains("machine") && loops.ends_with("-- --tests"), "{loops}");
    }

    #[test]
    fn a_shard_that_makes_no_sense_is_refused() {
        for shard in ["", "4/4", "1", "a/b", "-1/4"] {
            assert_eq!(shown(Some(shard)).unwrap_err().code(), 2, "{shard}");
        }
    }

    #[test]
    fn what_is_changed_exists() {
        for file in MACHINE.iter().chain(&LOOPS) {
            assert!(run::root().join(file.trim_end_matches("/*.rs")).exists(), "{file}");
        }
    }
}
