//! `cargo xtask bench`: measures the stack beside what is written by hand and beside its peers.
//!
//! What measures uses the stack, so it is a tool of its own; here it is only built for release and started. It takes our place, so that
//! Ctrl-C reaches it alone and its exit code is the caller's.

use std::{ffi::OsString, path::PathBuf, process::Command};

use serde::Deserialize;

use crate::{
    metadata,
    run::{self, Error, Result},
};

/// The options of the verb. The tool says the same of them; here, so that `--help` tells of them before anything is built.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Three rounds of a quarter of the work instead of seven, without the long rows and Elixir: under a minute instead of about six
    #[arg(long)]
    pub quick: bool,

    /// Only rows whose name contains this; `million` runs a million pods, which is left out otherwise
    #[arg(long, value_name = "NAME")]
    pub only: Option<String>,

    /// Write the results to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Fail where a mark is not met
    #[arg(long)]
    pub check: bool,

    /// Write the results into BENCHMARKS.md
    #[arg(long)]
    pub write: bool,
}

/// Builds and runs the benchmarks. On Unix this returns only if they could not be started: the tool's exit code becomes ours.
///
/// # Errors
///
/// When something does not build, or does not start.
pub fn run(options: &Options) -> Result<u8> {
    let metadata = metadata::read()?;
    build_apart(&metadata)?;
    let build = ["bench", "--package", "ipa-bench", "--bench", "bench", "--no-run"];
    let mut build = run::cargo(build);
    build.arg("--message-format=json-render-diagnostics");
    let program = executable(&run::output(build)?)?;
    let mut command = Command::new(program);
    command.args(arguments(options)?);
    run::hand_over(command)
}

/// The store's peer brings an SQLite of its own, of which cargo allows but one in a workspace; so it is a package apart. Where it
/// cannot be built, its rows say that it is not there.
fn build_apart(metadata: &metadata::Metadata) -> Result {
    let manifest = metadata.workspace_root.join("xtask/bench/sqlite-es/Cargo.toml");
    if !manifest.exists() {
        return Ok(());
    }
    let mut build = run::cargo(["build", "--quiet", "--release", "--locked", "--manifest-path"]);
    build.arg(manifest).arg("--target-dir").arg(metadata.target_directory.join("sqlite-es"));
    if let Err(error) = run::check(build) {
        eprintln!("warning: sqlite-es is left out: {error}");
    }
    Ok(())
}

/// What cargo says of each thing it built.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

/// The benchmark's program among the messages of cargo.
fn executable(messages: &str) -> Result<PathBuf> {
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message = run::json(line, "a message of cargo")?;
        if let (Some(program), Some(target)) = (message.executable, message.target)
            && target.kind.iter().any(|kind| kind == "bench")
        {
            return Ok(program);
        }
    }
    Err(Error::failed("cargo did not say where the benchmark is"))
}

/// What the tool is told.
fn arguments(options: &Options) -> Result<Vec<OsString>> {
    let mut arguments: Vec<OsString> = Vec::new();
    let flags = [("--quick", options.quick), ("--check", options.check), ("--write", options.write)];
    arguments.extend(flags.into_iter().filter(|(_, on)| *on).map(|(flag, _)| flag.into()));
    if let Some(only) = &options.only {
        arguments.extend(["--only".into(), only.into()]);
    }
    if let Some(json) = &options.json {
        // The path is meant from where we were called.
        let json = std::path::absolute(json)
            .map_err(|error| Error::failed(format!("the current folder: {error}")))?;
        arguments.extend(["--json".into(), json.into()]);
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_passed_on() {
        let options = Options {
            quick: true,
            only: Some("pod".into()),
            json: Some("/a/b".into()),
            check: true,
            ..Options::default()
        };
        let expected = ["--quick", "--check", "--only", "pod", "--json", "/a/b"];
        assert_eq!(arguments(&options).unwrap(), expected.map(OsString::from));
    }

    #[test]
    fn the_benchmark_is_found_among_what_cargo_built() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"]},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bench"]},"executable":"/t/release/deps/bench-1"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages).unwrap(), PathBuf::from("/t/release/deps/bench-1"));
        assert!(executable("").is_err());
    }
}
