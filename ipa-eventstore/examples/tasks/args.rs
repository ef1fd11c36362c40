//! The command line: what may be asked of the runner, with its defaults and units.
//!
//! Apart, because it knows nothing of plans, pods or stores: it turns words into an [`Args`] or into a [`Quit`], which says
//! what to print and where. Its one trick is that a usage error is one line, as every other bad input is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;

/// The most pods that `--parallel` allows at once.
pub const MAX_PARALLEL: usize = 4096;

/// Run a file of tasks durably: each task in a supervised pod of its own, its history in an event store.
///
/// A run that was killed, by whatever means, is taken up where it stood: steps that were done are not run again.
///
/// Exit codes: 0 all tasks completed, 1 some failed, 2 bad input, 130 interrupted.
#[derive(Clone, Debug, Parser, PartialEq)]
#[command(name = "tasks", max_term_width = 100)]
pub struct Args {
    /// The file of tasks (TOML). By default the one that ships with the example
    #[arg(long, value_name = "FILE", default_value_os_t = shipped_file(), hide_default_value = true)]
    pub file: PathBuf,

    /// The store that keeps the tasks' histories; created, with its directory, when it is not there
    #[arg(long, value_name = "FILE", default_value = ".ipa/tasks.db")]
    pub db: PathBuf,

    /// Begin anew: forget what the store and the results beside it hold
    #[arg(long, conflicts_with = "check")]
    pub fresh: bool,

    /// How many pods run at once; by default as many as the machine has cores
    #[arg(long, value_name = "N", default_value_t = cores(), value_parser = parallel)]
    pub parallel: usize,

    /// The probability, per step, that each child of a pod panics: 0 <= P < 1
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    pub chaos: f64,

    /// The seed of --chaos, to see the same panics again; by default another one each time
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,

    /// Print the summary as one JSON object on stdout; progress then goes to stderr
    #[arg(long)]
    pub json: bool,

    /// Run nothing: print a JSON object on the store's health
    #[arg(long)]
    pub check: bool,
}

/// Why there are no [`Args`] to go on with.
#[derive(Clone, Debug, PartialEq)]
pub enum Quit {
    /// The help was asked for: print it to stdout and exit with 0.
    Help(String),
    /// The command line makes no sense: print this one line to stderr and exit with 2.
    Usage(String),
}

impl Args {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    ///
    /// [`Quit::Help`] for `--help`; [`Quit::Usage`], one line, for an unknown option, a missing value or one out of range.
    pub fn read(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Args, Quit> {
        Args::try_parse_from(words).map_err(|error| {
            if error.use_stderr() {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                let first = first.strip_prefix("error: ").unwrap_or(first);
                Quit::Usage(format!("{first} (see --help)"))
            } else {
                Quit::Help(error.to_string())
            }
        })
    }

    /// Where the results of all tasks stay, one directory a task: beside the store, named after it. A step's `OUT` is
    /// `results_dir().join(task)`.
    pub fn results_dir(&self) -> PathBuf {
        beside(&self.db, ".out")
    }

    /// Where pods make their scratch directories: beside the store too, so that a step's `mv` from its `WORKSPACE` to its
    /// `OUT` stays in one file system and is atomic.
    pub fn scratch_dir(&self) -> PathBuf {
        beside(&self.db, ".work")
    }
}

/// The workspace this example was built in: the `SOURCE_ROOT` of the steps.
pub fn source_root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

fn shipped_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tasks/tasks.toml")
}

fn beside(db: &Path, suffix: &str) -> PathBuf {
    let mut name = db.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_PARALLEL))
}

fn parallel(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=MAX_PARALLEL).contains(&n) => Ok(n),
        _ => Err(format!("a whole number from 1 to {MAX_PARALLEL} is wanted")),
    }
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(p) if (0.0..1.0).contains(&p) => Ok(p),
        _ => Err("a probability is wanted: 0 <= P < 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Args, Quit> {
        Args::read(std::iter::once("tasks").chain(words.iter().copied()))
    }

    fn usage(words: &[&str]) -> String {
        match read(words) {
            Err(Quit::Usage(line)) => line,
            other => panic!("{words:?} gave {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn defaults() {
        let args = read(&[]).unwrap();
        assert!(args.file.ends_with("examples/tasks/tasks.toml") && args.file.exists());
        assert_eq!(args.db, Path::new(".ipa/tasks.db"));
        assert_eq!(args.results_dir(), Path::new(".ipa/tasks.db.out"));
        assert_eq!(args.scratch_dir(), Path::new(".ipa/tasks.db.work"));
        assert!(args.parallel >= 1);
        assert_eq!((args.chaos, args.seed), (0.0, None));
        assert!(!args.fresh && !args.json && !args.check);
        assert!(source_root().join("Cargo.lock").exists());
    }

    #[test]
    fn values() {
        let args = read(&["--parallel", "7", "--chaos", "0.25", "--seed", "9", "--fresh", "--json"]).unwrap();
        assert_eq!((args.parallel, args.chaos, args.seed), (7, 0.25, Some(9)));
        assert!(args.fresh && args.json);
    }

    #[test]
    fn bad_values_are_one_line_that_names_the_option() {
        for chaos in ["1", "1.5", "-0.1", "NaN", "inf", "much", ""] {
            let line = usage(&[&format!("--chaos={chaos}")]);
            assert!(line.contains("--chaos") && line.contains("0 <= P < 1"), "{line}");
            assert_eq!(line.lines().count(), 1);
        }
        for n in ["0", "-1", "4097", "x", "99999999999999999999"] {
            let line = usage(&[&format!("--parallel={n}")]);
            assert!(line.contains("--parallel") && line.contains("from 1 to"), "{line}");
        }
        assert!(usage(&["--seed=-1"]).contains("--seed"));
        assert!(usage(&["--nonsense"]).contains("--nonsense"));
        assert!(usage(&["--file"]).contains("--file"));
        assert!(usage(&["--check", "--fresh"]).contains("--fresh"));
    }

    #[test]
    fn help_is_not_an_error() {
        let Err(Quit::Help(text)) = read(&["--help"]) else { panic!("no help") };
        assert!(text.contains(".ipa/tasks.db") && text.contains("Exit codes"));
    }
}
