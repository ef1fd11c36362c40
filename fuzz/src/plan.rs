//! The task file: every text is either refused in one line with its place, or is a plan that is all that `plan.rs` says of one.
//!
//! The input is the file as it is. What is accepted is judged here from the outside, without the code that accepted it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::tasks::plan::{Command, PROVIDED, Plan, PlanError, Step, Task};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Panics if a file is refused without its place, or a plan is accepted that no runner could run.
pub fn check(input: &[u8]) {
    let (file, result) = match std::str::from_utf8(input) {
        Ok(text) => (Path::new("t.toml").to_owned(), Plan::parse(Path::new("t.toml"), text)),
        // Only what reads files meets such bytes.
        Err(_) => {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let file = directory.path().join("t.toml");
            std::fs::write(&file, input).expect("a temporary file");
            let result = Plan::load(&file);
            assert!(result.is_err(), "what is not UTF-8 is no text");
            (file, result)
        }
    };
    match result {
        Ok(plan) => accepted(&plan, &String::from_utf8_lossy(input)),
        Err(error) => refused(&file, &error, &String::from_utf8_lossy(input)),
    }
}

fn refused(file: &Path, error: &PlanError, text: &str) {
    let PlanError::Invalid { place, .. } = error else { panic!("it was read: {error}") };
    let shown = error.to_string();
    let begin = format!("{}:{}:{}: ", file.display(), place.line, place.column);
    assert!(shown.len() > begin.len() && shown.starts_with(&begin), "no place: {shown}");
    assert!(!shown.contains(char::is_control), "more than a line: {shown:?}");
    // One more than there are: the place may be the end.
    let line = text.split('\n').nth(place.line.wrapping_sub(1));
    let line = line.unwrap_or_else(|| panic!("no such line: {shown}"));
    assert!((1..=line.chars().count() + 1).contains(&place.column), "no such column: {shown}");
}

fn accepted(plan: &Plan, text: &str) {
    assert!(!plan.tasks.is_empty());
    unique(plan.tasks.iter().map(|task| task.id.as_str()));
    for task in &plan.tasks {
        assert!(!task.title.trim().is_empty() && !task.title.contains(char::is_control), "{:?}", task.title);
        let line = text.split('\n').nth(task.place.line.wrapping_sub(1)).expect("a task stands on a line");
        assert!((1..=line.chars().count()).contains(&task.place.column), "{:?} in {line:?}", task.place);

        assert!(!task.steps.is_empty());
        unique(task.steps.iter().map(|step| step.id.as_str()));
        task.steps.iter().for_each(step);
        runs_to_its_end(task);

        // A task is carried in its first event, and known again by its digest.
        let json = serde_json::to_string(task).expect("a task is JSON");
        let back: Task = serde_json::from_str(&json).expect("a task's JSON is a task");
        assert_eq!(Task { place: task.place, ..back.clone() }, *task);
        assert_eq!(back.digest(), task.digest());
        assert_eq!(task.digest().len(), 16);
    }
}

fn step(step: &Step) {
    let argv = step.command.argv();
    assert!(argv.first().is_some_and(|program| !program.is_empty()));
    assert!(argv.iter().all(|word| !word.contains('\0')));
    if let Command::Shell(line) = &step.command {
        assert!(!line.trim().is_empty());
    }
    assert!(!step.command.to_string().contains('\n'), "{}", step.command);
    if let Some(timeout) = step.timeout {
        assert!(!timeout.is_zero() && timeout <= WEEK, "{timeout:?}");
    }
    for (name, value) in &step.env {
        assert!(!name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'), "{name:?}");
        assert!(!PROVIDED.contains(&name.as_str()), "{name}");
    }
}

/// Ids name directories, on file systems too that know no case.
fn unique<'a>(ids: impl Iterator<Item = &'a str>) {
    let mut seen = BTreeSet::new();
    for id in ids {
        let mut characters = id.chars();
        let first = characters.next().expect("an id is not empty");
        assert!(first.is_ascii_alphanumeric() || first == '_', "{id}");
        assert!(id.len() <= 64 && characters.all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)), "{id}");
        assert!(seen.insert(id.to_ascii_lowercase()), "{id} twice");
    }
}

/// Starts whatever may start until nothing is left.
fn runs_to_its_end(task: &Task) {
    let mut left: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for step in &task.steps {
        let after: BTreeSet<&str> = step.after.iter().map(String::as_str).collect();
        assert_eq!(after.len(), step.after.len(), "{} waits twice for one", step.id);
        assert!(after.iter().all(|name| task.steps.iter().any(|step| step.id == *name)), "{}", step.id);
        left.insert(&step.id, after);
    }
    while !left.is_empty() {
        let ready: Vec<&str> =
            left.iter().filter(|(_, after)| after.is_empty()).map(|(step, _)| *step).collect();
        assert!(!ready.is_empty(), "steps wait for each other: {left:?}");
        for step in ready {
            left.remove(step);
            left.values_mut().for_each(|after| {
                after.remove(step);
            });
        }
    }
}
