//! `cargo xtask interleavings`: the registry and the supervisor's handshakes through the interleavings of their threads and tasks.
//!
//! The scenarios are the crates' own. They are built with a cfg that puts loom's and shuttle's types in place of locks, tasks and
//! clocks, so into a target folder of their own: the ordinary build stays as it is.

use std::{
    env, fmt,
    io::{self, Write},
    num::NonZeroU64,
    path::PathBuf,
    process::Command,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::run::{self, Error, Result};

/// How the scenarios are run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many random interleavings each of the large scenarios is run through
    ///
    /// The small scenarios are run through all of theirs, whatever this says.
    #[arg(long, value_name = "N", default_value = "10000")]
    iterations: NonZeroU64,
    /// Where the random interleavings begin; the same seed gives the same ones [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
}

impl Options {
    /// Fewer, for CI.
    pub fn short() -> Self {
        Self { iterations: NonZeroU64::new(2_000).unwrap_or(NonZeroU64::MIN), seed: None }
    }
}

/// The suites: what `cargo test` is told of each, and what its runner is.
const SUITES: [(&[&str], &[&str]); 2] = [
    (&["-p", "ipa-registry", "--test", "interleavings"], &[]),
    (&["-p", "ipa-supervisor", "--lib"], &["interleavings::"]),
];

/// Optimizing dependencies takes longer here than it saves, but for what does each switch of tasks.
const PROFILE: [&str; 5] = [
    "profile.dev.package.\"*\".opt-level=0",
    "profile.dev.package.corosensei.opt-level=1",
    "profile.dev.package.shuttle-engine.opt-level=1",
    "profile.dev.package.shuttle-std.opt-level=1",
    "profile.dev.package.smallvec.opt-level=1",
];

/// Runs all scenarios.
///
/// # Errors
///
/// When a scenario fails or something does not build; the message says how to run the same interleavings again.
pub fn run(options: &Options) -> Result {
    let started = Instant::now();
    let seed = options.seed.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Short enough to be typed.
        u64::from(since.subsec_nanos())
    });
    let repeat = format!("cargo xtask interleavings --iterations {} --seed {seed}", options.iterations);
    println!("interleavings: {repeat}");

    let mut tally = Tally::default();
    let mut all_ok = true;
    for (suite, runner) in SUITES {
        let mut stdout = io::stdout();
        let ok = run::lines(command(suite, runner, options.iterations, seed), |line| {
            tally.read(&String::from_utf8_lossy(line));
            stdout.write_all(line)?;
            stdout.flush()
        })?;
        all_ok &= ok;
    }
    let summary = format!("{tally} in {}, seed {seed}", run::time(started.elapsed()));
    if !all_ok {
        return Err(Error::failed(format!("interleavings: {summary}\nRepeat it with: {repeat}")));
    }
    if tally.exhausted == 0 || tally.random == 0 {
        return Err(Error::failed(format!("interleavings: no scenario has run; {summary}")));
    }
    println!("\ninterleavings: ok, {summary}");
    Ok(())
}

fn command(suite: &[&str], runner: &[&str], iterations: NonZeroU64, seed: u64) -> Command {
    let mut command = run::cargo(["test", "--no-fail-fast"]);
    command
        .args(PROFILE.iter().flat_map(|setting| ["--config", setting]))
        .args(suite)
        .arg("--target-dir")
        .arg(target())
        .arg("--")
        .args(runner)
        .arg("--nocapture")
        .env("IPA_INTERLEAVINGS", iterations.to_string())
        .env("IPA_INTERLEAVINGS_SEED", seed.to_string())
        .env("CARGO_ENCODED_RUSTFLAGS", flags())
        // They would overrule what is asked for here.
        .env_remove("RUSTFLAGS")
        .env_remove("SHUTTLE_RANDOM_SEED")
        .env_remove("LOOM_MAX_PREEMPTIONS");
    command
}

/// A folder beside those of the ordinary build.
fn target() -> PathBuf {
    let ordinary = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    run::root().join(ordinary).join("interleavings")
}

/// The caller's flags and the cfg, as cargo wants them encoded.
fn flags() -> String {
    let encoded = env::var("CARGO_ENCODED_RUSTFLAGS").ok();
    let plain = env::var("RUSTFLAGS").ok();
    with_cfg(encoded.as_deref(), plain.as_deref())
}

fn with_cfg(encoded: Option<&str>, plain: Option<&str>) -> String {
    let mut flags: Vec<&str> = match encoded {
        Some(encoded) => encoded.split('\x1f').filter(|flag| !flag.is_empty()).collect(),
        None => plain.unwrap_or_default().split_whitespace().collect(),
    };
    flags.extend(["--cfg", "ipa_interleavings"]);
    flags.join("\x1f")
}

/// What the scenarios say of themselves.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    exhausted: u64,
    random: u64,
    interleavings: u64,
}

impl Tally {
    /// `name: all 371 interleavings`, with bounds behind it, or `name: 1000 random interleavings, seed 1`
    fn read(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for around in words.windows(3) {
            match *around {
                ["all", count, "interleavings" | "orders"] => {
                    self.exhausted += 1;
                    self.interleavings += count.parse::<u64>().unwrap_or_default();
                }
                [count, "random", "interleavings,"] => {
                    self.random += 1;
                    self.interleavings += count.parse::<u64>().unwrap_or_default();
                }
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} interleavings: all there are within the bounds of {} scenarios, and random ones of {}",
            self.interleavings, self.exhausted, self.random
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_scenarios_add_up() {
        let mut tally = Tally::default();
        for line in [
            "test a::b ... a::b: all 371 interleavings\n",
            "c: all 29 interleavings of at most 3 preemptions\n",
            "d: all 600 orders\n",
            "test e ... e: 1000 random interleavings, seed 7\n",
            "test e ... ok\n",
        ] {
            tally.read(line);
        }
        assert_eq!(tally, Tally { exhausted: 3, random: 1, interleavings: 2000 });
    }

    #[test]
    fn the_cfg_comes_on_top_of_the_callers_flags() {
        assert_eq!(with_cfg(None, None), "--cfg\x1fipa_interleavings");
        assert_eq!(with_cfg(None, Some("-C debuginfo=0")), "-C\x1fdebuginfo=0\x1f--cfg\x1fipa_interleavings");
        assert_eq!(
            with_cfg(Some("-Copt-level=1"), Some("-C ignored")),
            "-Copt-level=1\x1f--cfg\x1fipa_interleavings"
        );
    }
}
