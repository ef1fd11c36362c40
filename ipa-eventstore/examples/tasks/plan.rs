//! What there is to do: tasks, their steps, and the commands of these.
//!
//! Apart, because a plan is plain data: it is read from a file ([`Plan::load`]), carried in a task's first event, and
//! compared by [`Task::digest`]. Its one trick is that a [`Plan`] is always sound: whatever a file may have wrong, the shape
//! (`plan/file.rs`) and the sense (`plan/check.rs`), is an error with its place before a plan exists, so that nothing that
//! runs has to look again.
//!
//! # The rules of a step
//!
//! * A step waits for the steps that it names in `after`; without `after` for the step before it; with `after = []` for none. Steps
//!   that wait for nothing open run side by side.
//! * A shell line runs as `sh -c LINE`; an array is a program with its arguments, and no shell. A step completes with exit
//!   status 0; with any other, by a signal or at its `timeout` it has failed, and is run again at most `retries` times.
//! * It inherits the runner's environment, then gets its own `env`, then what is [`PROVIDED`]:
//!   `TASK_ID`; `STEP_ID`; `ATTEMPT`, 1 for the first; `SOURCE_ROOT`, the workspace that the example was built in;
//!   `WORKSPACE`, also its current directory, a fresh one for each start of the task's pod, gone with the pod;
//!   `OUT`, the task's directory of results, which stays.
//! * What a later step needs goes to `OUT`: the pod may have been started anew in between. A step may run more than once
//!   (a retry, a crash between its end and its record), so it writes in `WORKSPACE` and, as its last act, moves its result
//!   to `OUT`. Both are in one file system, so `OUT` holds whole results only.

mod check;
mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::digest::Digest;

/// The names in a step's environment that are the runner's to set.
pub const PROVIDED: [&str; 6] = ["TASK_ID", "STEP_ID", "ATTEMPT", "SOURCE_ROOT", "WORKSPACE", "OUT"];

/// The longest file that is read, in bytes: a guard against being pointed at something else.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// A file of tasks, checked: ids are unique and fit for directories, every command has a program, no steps wait for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where it was read from, as it was given.
    pub file: PathBuf,
    /// At least one, in the order of the file.
    pub tasks: Vec<Task>,
}

/// One task: a stream in the store, a pod while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// 1 to 64 of `A-Z a-z 0-9 . _ -`, the first a letter, a digit or `_`: it names the stream and a directory. No two ids of a plan
    /// differ in case alone.
    pub id: String,
    /// What people read: one line, not empty.
    pub title: String,
    /// At least one, in the order of the file.
    pub steps: Vec<Step>,
    /// Where the task stands in its file. Not part of its definition.
    #[serde(skip)]
    pub place: Place,
}

/// One command of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// As a task's id; unique in its task.
    pub id: String,
    /// What runs.
    pub command: Command,
    /// How long one attempt may take. `None`: as long as it likes.
    #[serde(default, rename = "timeout_ms", with = "millis", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How often it is run again after it has failed. Default 0.
    #[serde(default)]
    pub retries: u32,
    /// Added to the environment it inherits. None of [`PROVIDED`].
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The ids of the steps it waits for, the step before it spelled out where the file left that unsaid.
    pub after: Vec<String>,
}

/// What a step runs. In TOML and JSON a string is a shell line, an array a program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Command {
    /// A program, searched in `PATH`, and its arguments. Never empty.
    Argv(Vec<String>),
    /// A line for `sh -c`.
    Shell(String),
}

/// A place in a file, both numbers from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Why there is no plan. Displayed as one line that begins with the file and, where there is one, the place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The file cannot be read: no such file, no permission, a directory.
    #[error("{}: cannot be read: {source}", one_line(&file.display().to_string()))]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a file of tasks, or what it says makes no sense.
    #[error("{}:{}:{}: {}", one_line(&file.display().to_string()), place.line, place.column, one_line(message))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Where in it.
        place: Place,
        /// What is wrong, naming the task and the step.
        message: String,
    },
}

impl Plan {
    /// Reads and checks a file of tasks.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it, with its place.
    pub fn load(file: &Path) -> Result<Plan, PlanError> {
        let unreadable = |source| PlanError::Unreadable { file: file.to_owned(), source };
        let mut bytes = Vec::new();
        let opened = std::fs::File::open(file).map_err(unreadable)?;
        opened.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(unreadable(std::io::Error::other(format!("it is longer than {MAX_FILE} bytes"))));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => Plan::parse(file, text),
            Err(error) => {
                let sound = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let place = Place::of(&sound, sound.len());
                Err(PlanError::Invalid { file: file.to_owned(), place, message: "not UTF-8 text".to_owned() })
            }
        }
    }

    /// Checks the text of a file of tasks; `file` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`Plan::load`], apart from those of reading.
    pub fn parse(file: &Path, text: &str) -> Result<Plan, PlanError> {
        let tasks = file::parse(text).and_then(|tasks| check::tasks(text, tasks));
        match tasks {
            Ok(tasks) => Ok(Plan { file: file.to_owned(), tasks }),
            Err(fault) => Err(PlanError::Invalid {
                file: file.to_owned(),
                place: Place::of(text, fault.at),
                message: fault.message,
            }),
        }
    }

    /// How many steps all tasks have together.
    pub fn steps(&self) -> usize {
        self.tasks.iter().map(|task| task.steps.len()).sum()
    }

    /// An error at the place of `task`, for what only shows later: `what` goes on after "task `x`: ".
    pub fn fault(&self, task: &Task, what: impl fmt::Display) -> PlanError {
        PlanError::Invalid {
            file: self.file.clone(),
            place: task.place,
            message: format!("task `{}`: {what}", task.id),
        }
    }
}

impl Task {
    /// A fingerprint of what the task does: its id, and its steps with all that they say. Not of its title or its place. The same
    /// on every machine and in every build; 16 hexadecimal digits.
    ///
    /// It is taken over JSON whose fields have one order.
    pub fn digest(&self) -> String {
        let definition = serde_json::to_vec(&(&self.id, &self.steps))
            .expect("strings, numbers and maps of strings are JSON");
        Digest::of(&definition).to_string()
    }
}

impl Command {
    /// The program and its arguments, as a process is to be started with them.
    pub fn argv(&self) -> Vec<&str> {
        match self {
            Command::Argv(words) => words.iter().map(String::as_str).collect(),
            Command::Shell(line) => vec!["sh", "-c", line],
        }
    }
}

/// For people: a shell line as it is, cut to its first line; words in quotes where they need them.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Shell(line) => {
                let line = line.trim();
                let first = line.lines().next().unwrap_or_default();
                f.write_str(first)?;
                if first.len() < line.len() { f.write_str(" ...") } else { Ok(()) }
            }
            Command::Argv(words) => {
                for (at, word) in words.iter().enumerate() {
                    let gap = if at == 0 { "" } else { " " };
                    let plain = !word.is_empty()
                        && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-./=:,+%@".contains(c));
                    if plain { write!(f, "{gap}{word}")? } else { write!(f, "{gap}{word:?}")? }
                }
                Ok(())
            }
        }
    }
}

// By hand and not `untagged`, whose only error is that no variant matched.
impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Command;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a shell line (a string) or a program and its arguments (an array of strings)")
            }
            fn visit_str<E: de::Error>(self, line: &str) -> Result<Command, E> {
                Ok(Command::Shell(line.to_owned()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Command, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = seq.next_element()? {
                    words.push(word);
                }
                Ok(Command::Argv(words))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Place {
    /// The place of the byte `at` of `text`; its end if there is none such.
    fn of(text: &str, at: usize) -> Place {
        let before = &text.as_bytes()[..at.min(text.len())];
        let start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        Place {
            line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
            column: 1 + String::from_utf8_lossy(&before[start..]).chars().count(),
        }
    }
}

/// What is wrong, at a byte of the text.
struct Fault {
    at: usize,
    message: String,
}

/// Text as one line without control characters, so that nothing a file holds can break or disguise a message.
fn one_line(text: &str) -> String {
    text.trim_end().replace('\n', ", ").chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// An optional [`Duration`] as a number of milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests;
