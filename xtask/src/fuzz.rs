//! `cargo xtask fuzz`: has a fuzzer make up what comes from outside, and sees whether a promise breaks.
//!
//! cargo-fuzz builds the target; here it is started, watched and summed up. No sanitizer, for those need a nightly toolchain and look for
//! what safe code does not do: the targets' own assertions are what is tested. Working inputs go to `target/fuzz/`, and the repository
//! keeps the few in `fuzz/corpus/`, which `cargo xtask test` runs too.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::run::{self, Error, Result};

mod output;

use output::Seen;

/// How it ends when it was interrupted, and found nothing until then.
const INTERRUPTED: u8 = 130;

/// How often it says where it stands, where nobody sees a progress bar.
const EVERY: Duration = Duration::from_secs(30);

/// What may be chosen.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// What to fuzz; `--list` names them
    #[arg(required_unless_present = "list")]
    pub target: Option<String>,
    /// How long
    #[arg(long, value_name = "N", default_value = "60", value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// What the fuzzer's choices begin with [default: another one each time]
    #[arg(long, value_name = "S")]
    pub seed: Option<u32>,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub json: bool,
    /// List the targets, and run none
    #[arg(long)]
    pub list: bool,
}

/// Runs a target; gives back the exit code: 0, or 130 if it was interrupted.
///
/// # Errors
///
/// When something was found, cargo-fuzz is not installed, or there is no such target.
pub fn run(options: &Options) -> Result<u8> {
    let targets = targets(&run::root())?;
    let target = match &options.target {
        Some(target) if !options.list => target,
        _ => {
            let width = targets.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            targets.iter().for_each(|(name, what)| println!("{name:<width$}  {what}"));
            return Ok(0);
        }
    };
    if !targets.iter().any(|(name, _)| name == target) {
        let names: Vec<&str> = targets.iter().map(|(name, _)| name.as_str()).collect();
        return Err(Error::usage(format!("there is no target `{target}`; there are {}", names.join(", "))));
    }
    let binary = build(target)?;
    let folders = Folders::new(target)?;
    let summary = watch(fuzzer(&binary, options, &folders), options, &folders)?;
    folders.clear();
    if options.json {
        println!("{}", serde_json::json!({ "target": target, "summary": summary }));
    } else {
        println!("fuzz {target}: {summary}");
    }
    match &summary.finding {
        Some(finding) => Err(Error::failed(finding.told(target))),
        None if summary.interrupted => Ok(INTERRUPTED),
        None => Ok(0),
    }
}

/// The targets' names, and what the first line of each says.
fn targets(root: &Path) -> Result<Vec<(String, String)>> {
    let folder = root.join("fuzz/fuzz_targets");
    let failed = |error: std::io::Error| Error::failed(format!("{}: {error}", folder.display()));
    let mut targets = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some(name) = path.file_stem().filter(|_| path.extension().is_some_and(|end| end == "rs")) {
            let text = fs::read_to_string(&path).map_err(failed)?;
            let first = text.lines().next().unwrap_or_default().trim_start_matches("//!").trim();
            targets.push((name.to_string_lossy().into_owned(), first.to_owned()));
        }
    }
    targets.sort();
    Ok(targets)
}

/// Builds the target with cargo-fuzz; gives back its binary.
fn build(target: &str) -> Result<PathBuf> {
    let mut probe = run::cargo(["fuzz", "--version"]);
    let is_installed = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !is_installed.is_ok_and(|status| status.success()) {
        return Err(Error::failed(
            "cargo-fuzz is not installed; `cargo install --locked cargo-fuzz` adds it (it needs a C++ compiler)",
        ));
    }
    let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.arg("-vV");
    let host = run::output(rustc)?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
    run::check(run::cargo(["fuzz", "build", "--sanitizer", "none", "--target", &host, target]))?;
    let built = crate::metadata::read()?.target_directory.join(host).join("release").join(target);
    Ok(built.with_extension(env::consts::EXE_EXTENSION))
}

/// Where a run has its files.
struct Folders {
    /// The kept inputs: read only.
    kept: PathBuf,
    /// The inputs that this machine's runs found to reach something new.
    working: PathBuf,
    /// What broke a promise.
    findings: PathBuf,
    /// The fuzzer's own words.
    log: PathBuf,
    /// The targets' temporary files, in memory where the system has such a place.
    scratch: PathBuf,
}

impl Folders {
    fn new(target: &str) -> Result<Self> {
        let base = run::root().join("target/fuzz").join(target);
        let memory = Path::new("/dev/shm");
        let scratch = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let folders = Self {
            kept: run::root().join("fuzz/corpus").join(target),
            working: base.join("corpus"),
            findings: base.join("findings"),
            log: base.join("log"),
            scratch: scratch.join(format!("ipa-fuzz-{}", std::process::id())),
        };
        for folder in [&folders.working, &folders.findings, &folders.scratch] {
            fs::create_dir_all(folder)
                .map_err(|error| Error::failed(format!("{}: {error}", folder.display())))?;
        }
        Ok(folders)
    }

    /// Takes away what a target that died left behind.
    fn clear(&self) {
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

fn fuzzer(binary: &Path, options: &Options, folders: &Folders) -> Command {
    let mut command = Command::new(binary);
    // The first folder is the one that new inputs go to.
    command.args([&folders.working, &folders.kept]);
    command.arg(format!("-max_total_time={}", options.seconds));
    command.arg(format!("-artifact_prefix={}/", folders.findings.display()));
    command.args(["-print_final_stats=1", "-timeout=20"]);
    command.args(options.seed.map(|seed| format!("-seed={seed}")));
    command.env("TMPDIR", &folders.scratch);
    command
}

/// Runs the fuzzer to its end, or to Ctrl-C, which it hears too and ends by itself.
fn watch(mut command: Command, options: &Options, folders: &Folders) -> Result<output::Summary> {
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, interrupted.clone())
        .map_err(|error| Error::failed(format!("cannot listen for Ctrl-C: {error}")))?;
    let mut log = fs::File::create(&folders.log)
        .map_err(|error| Error::failed(format!("{}: {error}", folders.log.display())))?;
    let begun = Instant::now();
    let shown = run::shown(&command);
    let failed = |error| Error::failed(format!("cannot run `{shown}`: {error}"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(failed)?;

    let style = indicatif::ProgressStyle::with_template("{elapsed:>4} {wide_bar} {msg}");
    let bar = indicatif::ProgressBar::new(options.seconds);
    if let Ok(style) = style {
        bar.set_style(style);
    }
    let mut told = begun;
    let mut seen = Seen::default();
    if let Some(stderr) = child.stderr.take() {
        let mut lines = BufReader::new(stderr);
        let mut line = Vec::new();
        // Inputs are echoed as they are, so this is not always text.
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let _ = log.write_all(&line);
            seen.read(&String::from_utf8_lossy(&line));
            line.clear();
            bar.set_position(begun.elapsed().as_secs());
            bar.set_message(seen.to_string());
            if bar.is_hidden() && told.elapsed() > EVERY {
                told = Instant::now();
                eprintln!("{}: {seen}", run::time(begun.elapsed()));
            }
        }
    }
    bar.finish_and_clear();
    let status = child.wait().map_err(|error| Error::failed(format!("waiting for the fuzzer: {error}")))?;
    let interrupted = interrupted.load(Ordering::Relaxed);
    seen.end(status, interrupted, begun.elapsed(), &folders.log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_says_what_it_is_and_has_its_inputs() {
        let targets = targets(&run::root()).unwrap();
        let names: Vec<&str> = targets.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"log") && names.contains(&"plan"), "{names:?}");
        for (name, what) in &targets {
            assert!(what.len() > 20 && !what.ends_with('.'), "{name}: {what}");
            assert!(run::root().join("fuzz/corpus").join(name).is_dir(), "{name} has no inputs");
            let manifest = fs::read_to_string(run::root().join("fuzz/Cargo.toml")).unwrap();
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in the manifest");
        }
    }

    #[test]
    fn a_target_that_there_is_not_is_refused_with_those_that_there_are() {
        let target = Some("nothing".to_owned());
        let options = Options { target, seconds: 1, seed: None, json: false, list: false };
        let error = run(&options).unwrap_err();
        assert_eq!(error.code(), 2);
        assert!(error.to_string().contains("log, ") && error.to_string().contains("plan"), "{error}");
    }

    #[test]
    fn new_inputs_do_not_go_into_the_repository() {
        let folders = Folders {
            kept: "kept".into(),
            working: "working".into(),
            findings: "found".into(),
            log: "log".into(),
            scratch: "scratch".into(),
        };
        let options = Options { target: None, seconds: 7, seed: Some(3), json: false, list: false };
        let shown = run::shown(&fuzzer(Path::new("/x/plan"), &options, &folders));
        assert!(shown.starts_with("plan working kept -max_total_time=7 -artifact_prefix=found/"), "{shown}");
        assert!(shown.ends_with("-seed=3"), "{shown}");
    }
}
