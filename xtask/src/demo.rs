//! `cargo xtask demo`: builds the example `tasks` and runs it, once or in a kill loop.
//!
//! Once built, the example takes xtask's place (`exec`), so that there is no process between the terminal and it: Ctrl-C
//! reaches it alone, and its exit code is the caller's.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use crate::{
    kill_loop,
    run::{self, Error, Result},
};

/// The example that the demo is (of `ipa-eventstore`).
const EXAMPLE: &str = "tasks";

/// The options that take a value and are ours to read, wherever they stand among the example's own.
const VALUES: [&str; 5] = ["--kill-loop", "--seed", "--program", "--file", "--chaos"];

/// The options without a value that are ours to read.
const SWITCHES: [&str; 1] = ["--json"];

/// The options of the verb.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Run N rounds on a temporary store instead: kill the run (SIGKILL) 1 to 3 times at random moments, take it up
    /// again, and check the store after each kill and at the end
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub kill_loop: Option<u32>,

    /// The seed of the kill loop's moments, and of --chaos (an integer) [default: another one each time, printed]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,

    /// The probability, per step, that each child of a pod panics: 0 <= P < 1 [default: 0]
    #[arg(long, value_name = "P")]
    pub chaos: Option<String>,

    /// The file of tasks to run [default: the one that comes with the example]
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Print one JSON object on stdout: the run's summary, or the kill loop's
    #[arg(long)]
    pub json: bool,

    /// Run this program instead of building the example (say one built with --release)
    #[arg(long, value_name = "PROGRAM")]
    pub program: Option<PathBuf>,

    /// Passed on to the example: --db FILE [default: .ipa/tasks.db], --fresh, --parallel N; all of them: `demo -- --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "EXAMPLE ARGS")]
    pub rest: Vec<OsString>,
}

impl Options {
    /// A kill loop of so many rounds.
    pub fn rounds(rounds: u32) -> Self {
        Self { kill_loop: Some(rounds), ..Self::default() }
    }
}

/// Runs the demo. With a plain run on Unix this returns only if the example could not be started: its exit code becomes
/// ours.
///
/// # Errors
///
/// When the example does not build or start, or when a round of the kill loop finds something wrong; a usage error for
/// options that make no sense in a kill loop.
pub fn run(options: &Options) -> Result<u8> {
    match options.kill_loop {
        None => run::hand_over(command(&program(options)?, options)),
        Some(rounds) => {
            refuse_in_kill_loop(&options.rest)?;
            kill_loop::run(&program(options)?, rounds, options).map(|()| 0)
        }
    }
}

/// Puts our own options in front of the example's: clap reads up to the first option that it does not know and leaves
/// everything after that to the example.
pub fn ours_first(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let (mut ours, mut rest) = (Vec::new(), Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let name = arg.to_str().unwrap_or_default();
        if name == "--" {
            rest.push(arg);
            rest.extend(args.by_ref());
        } else if VALUES.contains(&name) {
            ours.push(arg);
            ours.extend(args.next());
        } else if SWITCHES.contains(&name) || VALUES.iter().any(|option| is_set(name, option)) {
            ours.push(arg);
        } else {
            rest.push(arg);
        }
    }
    ours.append(&mut rest);
    ours
}

/// Whether the argument is `--option=...`.
fn is_set(arg: &str, option: &str) -> bool {
    arg.strip_prefix(option).is_some_and(|rest| rest.starts_with('='))
}

/// In a kill loop the store is the loop's own, and each resume has to find what the run before it left.
fn refuse_in_kill_loop(rest: &[OsString]) -> Result {
    for option in ["--db", "--fresh", "--check"] {
        if rest.iter().filter_map(|arg| arg.to_str()).any(|arg| arg == option || is_set(arg, option)) {
            return Err(Error::usage(format!(
                "{option} makes no sense with --kill-loop, which uses a store of its own"
            )));
        }
    }
    Ok(())
}

/// The plain run's command.
fn command(program: &Path, options: &Options) -> Command {
    let mut command = Command::new(program);
    if let Some(seed) = options.seed {
        command.arg("--seed").arg(seed.to_string());
    }
    command.args(shared_args(options));
    if options.json {
        command.arg("--json");
    }
    command.args(&options.rest);
    command
}

/// The example's arguments that every run of it gets.
pub fn shared_args(options: &Options) -> Vec<OsString> {
    let mut args = Vec::new();
    if let Some(file) = &options.file {
        args.extend(["--file".into(), file.clone().into_os_string()]);
    }
    if let Some(chaos) = &options.chaos {
        args.extend(["--chaos".into(), chaos.into()]);
    }
    args
}

/// The program to run: the given one, or the example, built now.
fn program(options: &Options) -> Result<PathBuf> {
    match &options.program {
        None => build(),
        Some(program) => {
            let folder =
                env::current_dir().map_err(|error| Error::failed(format!("the current folder: {error}")))?;
            let program = folder.join(program);
            if program.is_file() {
                Ok(program)
            } else {
                Err(Error::usage(format!("--program {}: there is no such file", program.display())))
            }
        }
    }
}

fn build() -> Result<PathBuf> {
    // The selection of packages and features that the tests have, or cargo would build half of the dependencies again.
    let mut command = run::cargo(["build", "--workspace", "--all-features", "--example", EXAMPLE]);
    command.arg("--message-format=json-render-diagnostics");
    let shown = run::shown(&command);
    built(&run::output(command)?, EXAMPLE)
        .ok_or_else(|| Error::failed(format!("`{shown}` named no program for the example `{EXAMPLE}`")))
}

/// The executable of an example, from cargo's messages.
fn built(messages: &str, example: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        target: Option<Target>,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        kind: Vec<String>,
        name: String,
    }
    messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok()).find_map(|message| {
        let target = message.target.filter(|_| message.reason == "compiler-artifact")?;
        let is_example = target.name == example && target.kind.iter().any(|kind| kind == "example");
        message.executable.filter(|_| is_example)
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn args(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn our_options_are_found_among_the_example_s() {
        assert_eq!(
            ours_first(args("--fresh --kill-loop 2 --parallel 4 --seed=7 --json --x")),
            args("--kill-loop 2 --seed=7 --json --fresh --parallel 4 --x")
        );
        assert_eq!(ours_first(args("-- --json --kill-loop 2")), args("-- --json --kill-loop 2"));
        assert_eq!(ours_first(args("--seedling 1 --kill-loop")), args("--kill-loop --seedling 1"));
    }

    #[test]
    fn a_plain_run_gets_everything_but_what_is_ours() {
        let options = Options {
            seed: Some(7),
            chaos: Some("0.2".into()),
            file: Some("my.toml".into()),
            json: true,
            rest: args("--fresh --parallel 4"),
            ..Options::default()
        };
        let command = command(Path::new("/bin/tasks"), &options);
        let passed: Vec<_> = command.get_args().map(OsStr::to_os_string).collect();
        assert_eq!(passed, args("--seed 7 --file my.toml --chaos 0.2 --json --fresh --parallel 4"));
    }

    #[test]
    fn a_kill_loop_has_a_store_of_its_own() {
        for refused in ["--db x", "--db=x", "--parallel 2 --fresh", "--check"] {
            assert_eq!(refuse_in_kill_loop(&args(refused)).unwrap_err().code(), 2, "{refused}");
        }
        assert!(refuse_in_kill_loop(&args("--parallel 2")).is_ok());
    }

    #[test]
    fn the_program_is_found_in_cargo_s_messages() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"tasks"},"executable":null}
{"reason":"build-script-executed","package_id":"x"}
not json
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"tasks"},"executable":"/t/tasks"}
{"reason":"compiler-artifact","target":{"kind":["example"],"name":"tasks"},"executable":"/t/examples/tasks"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(built(messages, "tasks"), Some(PathBuf::from("/t/examples/tasks")));
        assert_eq!(built(messages, "other"), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_a_usage_error() {
        let options = Options { program: Some("no/such/program".into()), ..Options::default() };
        assert_eq!(program(&options).unwrap_err().code(), 2);
    }
}
