//! What a run came to: the table for people, the summary for programs, the exit code for shells.
//!
//! Apart, because it only adds up and lays out: it is given rows and knows nothing of where they come from. Its one trick
//! is that the summary is the sum of the rows, so table and JSON cannot disagree.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

/// All tasks completed.
pub const EXIT_COMPLETED: u8 = 0;
/// Some task failed.
pub const EXIT_FAILED: u8 = 1;
/// Bad input: nothing was run, nothing was changed.
pub const EXIT_BAD_INPUT: u8 = 2;
/// Interrupted; the same command takes the run up where it stood.
pub const EXIT_INTERRUPTED: u8 = 130;

/// The longest title that the table shows, in characters.
const MAX_TITLE: usize = 44;

/// How a task stands when a run ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskState {
    /// No pod was started for it in this run.
    #[default]
    Waiting,
    /// Cut off in the middle.
    Interrupted,
    /// Every step is done.
    Completed,
    /// A step failed for good, or its pod could not be kept up.
    Failed,
}

impl TaskState {
    /// The word in the table.
    pub fn name(self) -> &'static str {
        match self {
            TaskState::Waiting => "waiting",
            TaskState::Interrupted => "interrupted",
            TaskState::Completed => "completed",
            TaskState::Failed => "failed",
        }
    }
}

/// One task's line in the table. All counts are of this run, apart from `steps_done`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskRow {
    /// The task's id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// How it stands.
    pub state: TaskState,
    /// Steps that are done, in this run or an earlier one.
    pub steps_done: u64,
    /// Steps it has.
    pub steps_total: u64,
    /// Steps that were run, each counted once however many attempts it took.
    pub steps_run: u64,
    /// Steps that were not run because the store has them as done.
    pub steps_skipped: u64,
    /// Attempts after a failed one.
    pub retries: u64,
    /// Children of its pod that were started again.
    pub child_restarts: u64,
    /// Times the whole pod was started again.
    pub pod_restarts: u64,
    /// From the first start of its pod to its end.
    pub elapsed: Duration,
}

/// The summary that `--json` prints: these fields and no others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Tasks of the file.
    pub tasks: u64,
    /// Those that are completed, in this run or an earlier one.
    pub completed: u64,
    /// Those that have failed. What is neither was interrupted, or never began.
    pub failed: u64,
    /// Steps that this run ran, each counted once however many attempts it took.
    pub steps_run: u64,
    /// Steps that an earlier run had done.
    pub steps_skipped_as_done: u64,
    /// Children that their pods' supervisors started again.
    pub child_restarts: u64,
    /// Pods that were started again.
    pub pod_restarts: u64,
    /// How long the run took, in milliseconds.
    pub elapsed_ms: u64,
}

impl Summary {
    /// Adds up the rows of a run that took `elapsed`.
    pub fn of(rows: &[TaskRow], elapsed: Duration) -> Summary {
        let count = |state| rows.iter().filter(|row| row.state == state).count() as u64;
        let sum = |field: fn(&TaskRow) -> u64| rows.iter().map(field).sum();
        Summary {
            tasks: rows.len() as u64,
            completed: count(TaskState::Completed),
            failed: count(TaskState::Failed),
            steps_run: sum(|row| row.steps_run),
            steps_skipped_as_done: sum(|row| row.steps_skipped),
            child_restarts: sum(|row| row.child_restarts),
            pod_restarts: sum(|row| row.pod_restarts),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The JSON object, on one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers are JSON")
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let mut line = format!("{} of {} completed", self.completed, plural(self.tasks, "task"));
        if self.failed > 0 {
            let _ = write!(line, ", {} failed", self.failed);
        }
        let open = self.tasks - self.completed - self.failed;
        if open > 0 {
            let _ = write!(line, ", {open} left");
        }
        let _ = write!(line, "; {} run", plural(self.steps_run, "step"));
        if self.steps_skipped_as_done > 0 {
            let _ = write!(line, ", {} done before", self.steps_skipped_as_done);
        }
        let _ = write!(
            line,
            "; {}, {}; {}",
            plural(self.child_restarts, "child restart"),
            plural(self.pod_restarts, "pod restart"),
            time(Duration::from_millis(self.elapsed_ms))
        );
        line
    }

    /// The process's exit code, when the run was or was not interrupted. A run whose last task ended while it was being interrupted
    /// is judged by its tasks.
    pub fn exit_code(&self, interrupted: bool) -> u8 {
        if interrupted && self.completed + self.failed < self.tasks {
            EXIT_INTERRUPTED
        } else if self.completed < self.tasks {
            EXIT_FAILED
        } else {
            EXIT_COMPLETED
        }
    }
}

/// The table of all tasks, in the order given, with the summary's line below it. Ends with a newline.
pub fn table(rows: &[TaskRow], summary: &Summary) -> String {
    let head =
        ["task", "title", "state", "steps", "skipped", "retries", "child restarts", "pod restarts", "time"];
    let head = head.map(str::to_owned);
    let cells = rows.iter().map(|row| {
        [
            row.id.clone(),
            shorten(&row.title, MAX_TITLE),
            row.state.name().to_owned(),
            format!("{}/{}", row.steps_done, row.steps_total),
            row.steps_skipped.to_string(),
            row.retries.to_string(),
            row.child_restarts.to_string(),
            row.pod_restarts.to_string(),
            time(row.elapsed),
        ]
    });
    let lines: Vec<[String; 9]> = std::iter::once(head).chain(cells).collect();
    let widths: [usize; 9] =
        std::array::from_fn(|at| lines.iter().map(|cells| cells[at].chars().count()).max().unwrap_or(0));

    let mut out = String::new();
    for cells in &lines {
        let mut line = String::new();
        for (at, cell) in cells.iter().enumerate() {
            let width = widths[at];
            // Words to the left, numbers to the right.
            let _ = if at < 3 { write!(line, "{cell:<width$}  ") } else { write!(line, "{cell:>width$}  ") };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let _ = writeln!(out, "\n{}", summary.line());
    out
}

/// Prints text to stdout. A reader that has gone is no reason to panic, as `print!` would: it wants no more.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = std::io::Write::write_all(&mut stdout, text.as_bytes());
    let _ = std::io::Write::flush(&mut stdout);
}

/// A time for people: `45 ms`, `12.3 s`, `2 m 05 s`.
pub fn time(time: Duration) -> String {
    let (millis, secs) = (time.as_millis(), time.as_secs());
    match secs {
        0 => format!("{millis} ms"),
        1..60 => format!("{}.{} s", secs, time.subsec_millis() / 100),
        60..3600 => format!("{} m {:02} s", secs / 60, secs % 60),
        _ => format!("{} h {:02} m", secs / 3600, secs / 60 % 60),
    }
}

/// `text` in at most `width` characters.
pub fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(3)).collect();
    format!("{}...", kept.trim_end())
}

fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<TaskRow> {
        vec![
            TaskRow {
                id: "walk".into(),
                title: "Walk the sources".into(),
                state: TaskState::Completed,
                steps_done: 4,
                steps_total: 4,
                steps_run: 3,
                steps_skipped: 1,
                retries: 2,
                child_restarts: 1,
                pod_restarts: 0,
                elapsed: Duration::from_millis(12_345),
            },
            TaskRow {
                id: "x".into(),
                title: "Zählen".into(),
                state: TaskState::Failed,
                steps_done: 0,
                steps_total: 10,
                steps_run: 1,
                pod_restarts: 1,
                elapsed: Duration::from_millis(45),
                ..TaskRow::default()
            },
        ]
    }

    #[test]
    fn the_summary_has_these_fields_and_no_others() {
        let summary = Summary::of(&rows(), Duration::from_millis(13_000));
        assert_eq!(
            summary.json(),
            r#"{"tasks":2,"completed":1,"failed":1,"steps_run":4,"steps_skipped_as_done":1,"child_restarts":1,"pod_restarts":1,"elapsed_ms":13000}"#
        );
        assert_eq!(
            summary.line(),
            "1 of 2 tasks completed, 1 failed; 4 steps run, 1 done before; 1 child restart, 1 pod restart; 13.0 s"
        );
    }

    #[test]
    fn the_table_is_aligned() {
        let rows = rows();
        let table = table(&rows, &Summary::of(&rows, Duration::from_secs(13)));
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines[0],
            "task  title             state      steps  skipped  retries  child restarts  pod restarts    time"
        );
        assert_eq!(
            lines[1],
            "walk  Walk the sources  completed    4/4        1        2               1             0  12.3 s"
        );
        assert_eq!(
            lines[2],
            "x     Zählen            failed      0/10        0        0               0             1   45 ms"
        );
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn exit_codes() {
        let of = |states: &[TaskState]| {
            let rows: Vec<TaskRow> =
                states.iter().map(|&state| TaskRow { state, ..TaskRow::default() }).collect();
            Summary::of(&rows, Duration::ZERO)
        };
        use TaskState::{Completed, Failed, Interrupted, Waiting};
        assert_eq!(of(&[Completed, Completed]).exit_code(false), EXIT_COMPLETED);
        assert_eq!(of(&[Completed, Failed]).exit_code(false), EXIT_FAILED);
        assert_eq!(of(&[Completed, Interrupted]).exit_code(true), EXIT_INTERRUPTED);
        assert_eq!(of(&[Failed, Waiting]).exit_code(true), EXIT_INTERRUPTED);
        assert_eq!(of(&[Completed, Waiting]).exit_code(false), EXIT_FAILED);
        assert_eq!(of(&[Completed, Completed]).exit_code(true), EXIT_COMPLETED);
    }

    #[test]
    fn times_and_titles() {
        let times = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1999, "1.9 s"),
            (59_999, "59.9 s"),
            (125_000, "2 m 05 s"),
            (3_720_000, "1 h 02 m"),
        ];
        for (millis, want) in times {
            assert_eq!(time(Duration::from_millis(millis)), want);
        }
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abc defg", 7), "abc...");
    }
}
