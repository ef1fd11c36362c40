//! `cargo xtask ci`: everything that has to hold, stage by stage, up to the first that does not.

use std::{
    fmt::Write,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::{
    cases, demo, interleavings, layers,
    run::{self, Error, Result},
    test,
};

/// The rounds of the kill loop.
const KILL_LOOP: u32 = 2;

/// How many random programs are run: ten times as many as by `cargo xtask test`.
const CASES: u32 = 80_000;

/// From which seed: the same each time, so that what passed once passes again. Other seeds are for `cargo xtask test --seed`.
const SEED: u64 = 1;

/// One stage.
struct Stage {
    name: &'static str,
    /// What to type to run it alone.
    repeat: &'static str,
    run: fn() -> Result,
}

/// The stages, the quickest to fail first.
const STAGES: [Stage; 10] = [
    Stage { name: "format", repeat: "cargo fmt --all --check", run: format },
    Stage { name: "layers", repeat: "cargo xtask layers", run: layers::run },
    Stage {
        name: "clippy",
        repeat: "cargo clippy --workspace --all-targets --all-features -- -D warnings",
        run: clippy,
    },
    // Everything else builds with all features.
    Stage {
        name: "check",
        repeat: "cargo check --workspace",
        run: || run::check(run::cargo(["check", "--workspace"])),
    },
    Stage {
        name: "test",
        repeat: "cargo xtask test --seed 1",
        run: || test::run(&test::Options::default().seeded(SEED)),
    },
    Stage {
        name: "random",
        repeat: "cargo xtask test --cases 80000 --seed 1",
        run: || test::run(&test::Options::cases(CASES).seeded(SEED)),
    },
    Stage {
        name: "threads",
        repeat: "cargo xtask interleavings",
        run: || interleavings::run(&interleavings::Options::short()),
    },
    Stage {
        name: "docs",
        repeat: "RUSTDOCFLAGS='-D warnings' cargo doc --workspace --all-features --no-deps",
        run: docs,
    },
    Stage { name: "demo", repeat: "cargo xtask demo --kill-loop 2", run: demo },
    Stage {
        name: "cases",
        repeat: "cargo xtask cases",
        run: || cases::run(&cases::Options::of_the_project()),
    },
];

/// Runs the stages.
///
/// # Errors
///
/// When a stage fails; it is named, with the command to repeat it.
pub fn run() -> Result {
    run_stages(&STAGES, |line| println!("{line}"))
}

fn run_stages(stages: &[Stage], mut print: impl FnMut(&str)) -> Result {
    let mut done = Vec::new();
    for (at, stage) in stages.iter().enumerate() {
        print(&format!("\n== {}: {}", stage.name, stage.repeat));
        let started = Instant::now();
        let result = (stage.run)();
        let elapsed = started.elapsed();
        print(&format!(
            "== {}: {}, {}",
            stage.name,
            if result.is_ok() { "ok" } else { "failed" },
            run::time(elapsed)
        ));
        done.push((result.is_ok(), elapsed));
        if let Err(error) = result {
            print(&table(stages, &done));
            let stage = &stages[at];
            return Err(Error::failed(format!(
                "ci: stage `{}` failed: {error}\nRepeat it with: {}",
                stage.name, stage.repeat
            )));
        }
    }
    print(&table(stages, &done));
    Ok(())
}

fn table(stages: &[Stage], done: &[(bool, Duration)]) -> String {
    let mut table = String::from("\nstage    result       time\n");
    for (at, stage) in stages.iter().enumerate() {
        let (result, time) = match done.get(at) {
            Some((true, time)) => ("ok", run::time(*time)),
            Some((false, time)) => ("failed", run::time(*time)),
            None => ("not run", "-".to_string()),
        };
        let _ = writeln!(table, "{:<8} {result:<8} {time:>8}", stage.name);
    }
    let total = done.iter().map(|(_, time)| *time).sum();
    let _ = write!(table, "{:<8} {:<8} {:>8}", "total", "", run::time(total));
    table
}

fn format() -> Result {
    require("fmt", "rustfmt")?;
    run::check(run::cargo(["fmt", "--all", "--check"]))
}

fn clippy() -> Result {
    require("clippy", "clippy")?;
    run::check(run::cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ]))
}

fn docs() -> Result {
    let mut command = run::cargo(["doc", "--workspace", "--all-features", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    run::check(command)
}

fn demo() -> Result {
    demo::run(&demo::Options::rounds(KILL_LOOP)).map(|_| ())
}

/// Says in a clear line that a component of the toolchain is missing, where cargo would call it no such command.
fn require(verb: &str, component: &str) -> Result {
    let mut probe = run::cargo([verb, "--version"]);
    match probe.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Error::failed(format!(
            "{component} is not installed; `rustup component add {component}` adds it"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Stage = Stage { name: "good", repeat: "run good", run: || Ok(()) };
    const BAD: Stage = Stage { name: "bad", repeat: "run bad", run: || Err(Error::usage("it broke")) };
    const NEVER: Stage = Stage { name: "never", repeat: "run never", run: || panic!("ran after a failure") };

    #[test]
    fn the_first_failure_ends_it_and_says_how_to_repeat_it() {
        let mut lines = Vec::new();
        let error = run_stages(&[GOOD, BAD, NEVER], |line| lines.push(line.to_string())).unwrap_err();
        assert_eq!(error.code(), 1);
        let message = error.to_string();
        assert!(message.contains("stage `bad` failed: it broke") && message.contains("run bad"), "{message}");
        let table = lines.last().unwrap();
        assert!(table.contains("good     ok") && table.contains("bad      failed"), "{table}");
        assert!(table.contains("never    not run"), "{table}");
    }

    #[test]
    fn all_stages_run_when_none_fails() {
        let mut lines = Vec::new();
        run_stages(&[GOOD, GOOD], |line| lines.push(line.to_string())).unwrap();
        assert_eq!(lines.len(), 5);
        assert!(lines[4].contains("total"));
    }

    #[test]
    fn the_commands_shown_are_those_that_run() {
        assert!(
            STAGES.iter().any(|stage| stage.repeat == format!("cargo xtask demo --kill-loop {KILL_LOOP}"))
        );
        assert!(
            STAGES
                .iter()
                .any(|stage| stage.repeat == format!("cargo xtask test --cases {CASES} --seed {SEED}"))
        );
    }

    #[test]
    fn a_missing_component_is_named() {
        let error = require("no-such-verb", "rustfmt").unwrap_err();
        assert!(error.to_string().contains("rustup component add rustfmt"), "{error}");
    }
}
