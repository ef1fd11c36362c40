//! The sense of the file: what its shape allows and a runner cannot do.
//!
//! Apart from the shape, because these are the rules that people meet: each is one line here and one message.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use toml::Spanned;

use super::file::{RawStep, RawTask};
use super::{Command, Fault, PROVIDED, Place, Step, Task};
use crate::order::{Order, OrderError};

/// The most characters an id has: it becomes the name of a directory.
const MAX_ID: usize = 64;

/// The longest timeout: a week. What is longer is a slip of the hand, and so long that clocks must not be added to it.
const MAX_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Makes tasks of what the file says.
pub fn tasks(text: &str, raw: Vec<RawTask>) -> Result<Vec<Task>, Fault> {
    if raw.is_empty() {
        return Err(Fault {
            at: 0,
            message: "there is no task: a file of tasks has at least one [[task]]".to_owned(),
        });
    }
    let mut seen = Ids::new(text);
    raw.into_iter()
        .map(|raw| {
            let name = format!("task {}", quoted(raw.id.get_ref()));
            seen.admit(&raw.id).map_err(|fault| fault.within(&name))?;
            task(text, raw).map_err(|fault| fault.within(&name))
        })
        .collect()
}

fn task(text: &str, raw: RawTask) -> Result<Task, Fault> {
    let title = raw.title.get_ref();
    if title.trim().is_empty() || title.chars().any(char::is_control) {
        return fault(&raw.title, "the title must be one line, and not empty");
    }
    if raw.step.is_empty() {
        return fault(&raw.id, "there is no step: a task has at least one [[task.step]]");
    }

    let mut seen = Ids::new(text);
    let mut before = None;
    let mut spans = Vec::with_capacity(raw.step.len());
    let mut steps = Vec::with_capacity(raw.step.len());
    for raw in raw.step {
        let name = format!("step {}", quoted(raw.id.get_ref()));
        seen.admit(&raw.id).map_err(|fault| fault.within(&name))?;
        spans.push(Spans::of(&raw));
        let step = step(raw, before).map_err(|fault| fault.within(&name))?;
        before = Some(step.id.clone());
        steps.push(step);
    }

    if let Err(error) = Order::new(steps.iter().map(|step| (step.id.as_str(), step.after.as_slice()))) {
        let message = error.to_string();
        let (step, at) = match error {
            OrderError::Unknown { step, name } => {
                let named = steps[step].after.iter().position(|after| *after == name);
                (step, named.and_then(|at| spans[step].after.get(at).copied()).unwrap_or(spans[step].id))
            }
            OrderError::Cycle { steps: cycle, .. } => (cycle[0], spans[cycle[0]].id),
        };
        return Err(Fault { at, message }.within(&format!("step `{}`", steps[step].id)));
    }

    let place = Place::of(text, raw.id.span().start);
    Ok(Task { id: raw.id.into_inner(), title: raw.title.into_inner(), steps, place })
}

fn step(raw: RawStep, before: Option<String>) -> Result<Step, Fault> {
    command(&raw.command)?;
    let timeout = raw.timeout.as_ref().map(timeout).transpose()?;
    let after = match raw.after {
        None => Vec::from_iter(before),
        Some(names) => {
            if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
                return fault(twice.1, format!("`after` names {} twice", quoted(twice.1.get_ref())));
            }
            names.into_iter().map(Spanned::into_inner).collect()
        }
    };
    Ok(Step {
        id: raw.id.into_inner(),
        command: raw.command.into_inner(),
        timeout,
        retries: raw.retries,
        env: env(raw.env)?,
        after,
    })
}

fn command(command: &Spanned<Command>) -> Result<(), Fault> {
    let empty = match command.get_ref() {
        Command::Shell(line) => line.trim().is_empty(),
        Command::Argv(words) => words.first().is_none_or(|program| program.is_empty()),
    };
    if empty {
        return fault(command, "the command is empty");
    }
    if command.get_ref().argv().iter().any(|word| word.contains('\0')) {
        return fault(command, "the command has a NUL character, which no process can be given");
    }
    Ok(())
}

fn env(raw: BTreeMap<Spanned<String>, Spanned<String>>) -> Result<BTreeMap<String, String>, Fault> {
    for (name, value) in &raw {
        let text = name.get_ref();
        if text.is_empty() || text.contains(['=', '\0']) {
            return fault(name, format!("{} is no name for the environment", quoted(text)));
        }
        if PROVIDED.contains(&text.as_str()) {
            return fault(name, format!("{text} in the environment is set by the runner"));
        }
        if value.get_ref().contains('\0') {
            return fault(value, format!("{text} has a NUL character, which no process can be given"));
        }
    }
    Ok(raw.into_iter().map(|(name, value)| (name.into_inner(), value.into_inner())).collect())
}

fn timeout(raw: &Spanned<String>) -> Result<Duration, Fault> {
    let text = raw.get_ref();
    let Some(time) = duration(text) else {
        return fault(
            raw,
            format!("the timeout {} is no time such as \"500ms\", \"30s\", \"5m\" or \"1h\"", quoted(text)),
        );
    };
    if time.is_zero() || time > MAX_TIMEOUT {
        return fault(raw, format!("the timeout {} is not between 1ms and 168h", quoted(text)));
    }
    Ok(time)
}

/// A whole number and its unit: `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let millis: u64 = match unit.trim_start() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
}

/// The ids so far, by their lower case: ids are names of directories, and some file systems know no case.
struct Ids<'a> {
    text: &'a str,
    seen: HashMap<String, (String, usize)>,
}

impl<'a> Ids<'a> {
    fn new(text: &'a str) -> Self {
        Ids { text, seen: HashMap::new() }
    }

    fn admit(&mut self, id: &Spanned<String>) -> Result<(), Fault> {
        let (text, at) = (id.get_ref(), id.span().start);
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if text.is_empty()
            || text.len() > MAX_ID
            || text.starts_with(['.', '-'])
            || !text.chars().all(allowed)
        {
            return fault(
                id,
                format!(
                    "an id has 1 to {MAX_ID} characters of A-Z a-z 0-9 . _ -, the first a letter, a digit or _, for it names a directory"
                ),
            );
        }
        match self.seen.insert(text.to_ascii_lowercase(), (text.clone(), at)) {
            None => Ok(()),
            Some((other, first)) => {
                let line = Place::of(self.text, first).line;
                let how = if other == *text { "is taken" } else { "differs in case alone from one" };
                fault(id, format!("the id {how} already, on line {line}"))
            }
        }
    }
}

/// Where a step's id and the names it waits for begin.
struct Spans {
    id: usize,
    after: Vec<usize>,
}

impl Spans {
    fn of(raw: &RawStep) -> Spans {
        let after = raw.after.iter().flatten().map(|name| name.span().start).collect();
        Spans { id: raw.id.span().start, after }
    }
}

impl Fault {
    /// Says whose fault it is: "task `x`: ...".
    fn within(mut self, whose: &str) -> Fault {
        let joint = if self.message.starts_with("step `") { ", " } else { ": " };
        self.message = format!("{whose}{joint}{}", self.message);
        self
    }
}

fn fault<T, V>(at: &Spanned<V>, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { at: at.span().start, message: message.into() })
}

/// A name for a message: in backquotes, escaped, and cut when it is long.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(MAX_ID).collect();
    let dots = if short.len() < text.len() { "..." } else { "" };
    format!("`{}{dots}`", short.escape_debug())
}
