//! What people see while tasks run: bars on a terminal, plain lines elsewhere.
//!
//! Apart, because it only shows: it is told [`Event`]s, keeps no state that anything else reads, and a display that fails (a closed pipe)
//! stops nothing. Its one trick is that every event has one wording, [`Event::line`], whatever the view.
//!
//! | stdout is | without `--json` | with `--json` |
//! |---|---|---|
//! | a terminal | bars on stdout | bars or lines on stderr, as stderr is a terminal or not |
//! | a file or a pipe | lines on stdout | the same |

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use crate::plan::Plan;
use crate::report::{shorten, time};

/// Something to show. `task` and `step` are ids.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A task's pod was started for the first time in this run; `done` of its `total` steps are done already.
    TaskStarted { task: &'a str, done: usize, total: usize },
    /// A task needs no pod: it has ended in an earlier run, with `done` of its `total` steps.
    TaskEndedBefore { task: &'a str, done: usize, total: usize },
    /// An attempt at a step begins, the first being 1.
    StepStarted { task: &'a str, step: &'a str, attempt: u32 },
    /// A step's command ended with exit status 0.
    StepCompleted { task: &'a str, step: &'a str, took: Duration },
    /// An attempt failed: `reason` is such as `exit 1`, `killed by signal 9`, `timed out after 5.0 s`.
    StepFailed { task: &'a str, step: &'a str, attempt: u32, will_retry: bool, reason: &'a str },
    /// A child of the pod crashed and was started again.
    ChildRestarted { task: &'a str, child: &'a str, reason: &'a str },
    /// The pod ended before its task and was started again.
    PodRestarted { task: &'a str, reason: &'a str },
    /// All steps are done.
    TaskCompleted { task: &'a str, took: Duration },
    /// The task has failed for good.
    TaskFailed { task: &'a str, reason: &'a str },
    /// Anything else worth a line.
    Note(&'a str),
}

impl<'a> Event<'a> {
    /// The task it is about, and what happened, in words.
    fn line(&self) -> (&'a str, String) {
        match *self {
            Event::TaskStarted { task, done: 0, total } => (task, format!("started, {total} steps")),
            Event::TaskStarted { task, done, total } => {
                (task, format!("taken up, {done} of {total} steps done before"))
            }
            Event::TaskEndedBefore { task, done, total } if done == total => {
                (task, format!("done before, all {total} steps"))
            }
            Event::TaskEndedBefore { task, done, total } => {
                (task, format!("failed before, with {done} of {total} steps done"))
            }
            Event::StepStarted { task, step, attempt: 1 } => (task, format!("step {step} started")),
            Event::StepStarted { task, step, attempt } => {
                (task, format!("step {step} started, attempt {attempt}"))
            }
            Event::StepCompleted { task, step, took } => {
                (task, format!("step {step} completed (exit 0, {})", time(took)))
            }
            Event::StepFailed { task, step, attempt, will_retry, reason } => {
                let next = if will_retry { "will be retried" } else { "no retry left" };
                (task, format!("step {step} failed: {reason} (attempt {attempt}, {next})"))
            }
            Event::ChildRestarted { task, child, reason } => {
                (task, format!("child {child} restarted: {reason}"))
            }
            Event::PodRestarted { task, reason } => (task, format!("pod restarted: {reason}")),
            Event::TaskCompleted { task, took } => (task, format!("completed in {}", time(took))),
            Event::TaskFailed { task, reason } => (task, format!("failed: {reason}")),
            Event::Note(text) => ("", text.to_owned()),
        }
    }

    /// Is it worth a line of its own above the bars? What goes as planned is for the bars.
    fn stands_out(&self) -> bool {
        !matches!(
            self,
            Event::TaskStarted { .. }
                | Event::TaskEndedBefore { .. }
                | Event::StepStarted { .. }
                | Event::StepCompleted { .. }
        )
    }
}

/// The display of one run. Shared by reference; events may come from any thread.
pub struct Progress {
    start: Instant,
    /// The width of the column of task ids.
    width: usize,
    view: View,
}

enum View {
    Bars(Box<Bars>),
    Lines(Mutex<Box<dyn Write + Send>>),
}

impl Progress {
    /// The display that suits where the output goes: see the table above.
    pub fn new(plan: &Plan, json: bool) -> Progress {
        let (target, terminal, out): (_, _, Box<dyn Write + Send>) = if json {
            (ProgressDrawTarget::stderr(), std::io::stderr().is_terminal(), Box::new(std::io::stderr()))
        } else {
            (ProgressDrawTarget::stdout(), std::io::stdout().is_terminal(), Box::new(std::io::stdout()))
        };
        if terminal && !target.is_hidden() {
            Progress::bars(plan, target)
        } else {
            Progress::lines(plan, out)
        }
    }

    /// Plain lines to `out`.
    pub fn lines(plan: &Plan, out: Box<dyn Write + Send>) -> Progress {
        Progress { start: Instant::now(), width: column(plan), view: View::Lines(Mutex::new(out)) }
    }

    fn bars(plan: &Plan, target: ProgressDrawTarget) -> Progress {
        let width = column(plan);
        Progress { start: Instant::now(), width, view: View::Bars(Box::new(Bars::new(plan, target, width))) }
    }

    /// Shows an event.
    pub fn show(&self, event: Event<'_>) {
        let (task, what) = event.line();
        let secs = self.start.elapsed().as_secs_f64();
        let line = format!("{secs:6.1}s  {task:<width$}  {what}", width = self.width);
        match &self.view {
            // A reader that has gone is no reason to stop the work: the store has it all.
            View::Lines(out) => drop(writeln!(out.lock(), "{}", line.trim_end())),
            View::Bars(bars) => {
                if event.stands_out() {
                    drop(bars.all.println(line.trim_end()));
                }
                bars.show(event);
            }
        }
    }

    /// Takes the bars away, so that what is printed next has the terminal to itself. Lines stay.
    pub fn finish(&self) {
        match &self.view {
            View::Lines(out) => drop(out.lock().flush()),
            View::Bars(bars) => {
                bars.overall.finish_and_clear();
                drop(bars.all.clear());
            }
        }
    }
}

fn column(plan: &Plan) -> usize {
    plan.tasks.iter().map(|task| task.id.len()).max().unwrap_or(0).min(24)
}

/// One bar for all steps, below one for each task that runs.
struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
    style: ProgressStyle,
    width: usize,
    tasks: Mutex<HashMap<String, ProgressBar>>,
}

impl Bars {
    fn new(plan: &Plan, target: ProgressDrawTarget, width: usize) -> Bars {
        let style = |template: &str| {
            ProgressStyle::with_template(template).expect("the template is sound").progress_chars("=> ")
        };
        let all = MultiProgress::with_draw_target(target);
        let overall = all.add(ProgressBar::new(plan.steps() as u64));
        overall.set_style(style("{prefix} [{bar:30}] {pos}/{len} steps  {elapsed}"));
        overall.set_prefix(format!("{:<width$}", "all"));
        // So that the time goes on when nothing happens.
        overall.enable_steady_tick(Duration::from_millis(200));
        Bars {
            all,
            overall,
            style: style("{prefix} [{bar:30}] {pos}/{len} {wide_msg}"),
            width,
            tasks: Mutex::default(),
        }
    }

    fn show(&self, event: Event<'_>) {
        match event {
            Event::TaskStarted { task, done, total } => {
                let bar = self.all.insert_before(&self.overall, ProgressBar::new(total as u64));
                bar.set_style(self.style.clone());
                bar.set_prefix(format!("{:<width$}", shorten(task, self.width), width = self.width));
                bar.set_position(done as u64);
                self.overall.inc(done as u64);
                self.tasks.lock().insert(task.to_owned(), bar);
            }
            Event::TaskEndedBefore { done, .. } => self.overall.inc(done as u64),
            Event::StepCompleted { task, .. } => {
                self.overall.inc(1);
                self.with(task, |bar| bar.inc(1));
            }
            Event::StepStarted { task, step, attempt: 1 } => self.say(task, step.to_owned()),
            Event::StepStarted { task, step, attempt } => {
                self.say(task, format!("{step}, attempt {attempt}"))
            }
            Event::StepFailed { task, step, reason, .. } => {
                self.say(task, format!("{step} failed: {reason}"))
            }
            Event::ChildRestarted { task, child, .. } => self.say(task, format!("child {child} restarted")),
            Event::PodRestarted { task, .. } => self.say(task, "pod restarted".to_owned()),
            Event::TaskCompleted { task, .. } | Event::TaskFailed { task, .. } => {
                if let Some(bar) = self.tasks.lock().remove(task) {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                }
            }
            Event::Note(_) => {}
        }
    }

    fn say(&self, task: &str, what: String) {
        self.with(task, |bar| bar.set_message(what));
    }

    fn with(&self, task: &str, change: impl FnOnce(&ProgressBar)) {
        let bar = self.tasks.lock().get(task).cloned();
        if let Some(bar) = bar {
            change(&bar);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    /// A writer whose text can be read while the display owns it.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A reader that has gone.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
    }

    fn plan() -> Plan {
        let text =
            "[[task]]\nid = \"walk\"\ntitle = \"Walk\"\n[[task.step]]\nid = \"hash\"\ncommand = \"true\"\n";
        Plan::parse(Path::new("t.toml"), text).unwrap()
    }

    const TASK: &str = "walk";

    fn events() -> [Event<'static>; 14] {
        let step = "hash";
        [
            Event::TaskStarted { task: TASK, done: 0, total: 3 },
            Event::TaskStarted { task: TASK, done: 2, total: 3 },
            Event::TaskEndedBefore { task: TASK, done: 3, total: 3 },
            Event::TaskEndedBefore { task: TASK, done: 1, total: 3 },
            Event::StepStarted { task: TASK, step, attempt: 1 },
            Event::StepFailed { task: TASK, step, attempt: 1, will_retry: true, reason: "exit 75" },
            Event::StepStarted { task: TASK, step, attempt: 2 },
            Event::StepFailed {
                task: TASK,
                step,
                attempt: 2,
                will_retry: false,
                reason: "timed out after 5.0 s",
            },
            Event::StepCompleted { task: TASK, step, took: Duration::from_millis(45) },
            Event::ChildRestarted { task: TASK, child: "runner", reason: "panicked: chaos" },
            Event::PodRestarted { task: TASK, reason: "too many restarts" },
            Event::TaskCompleted { task: TASK, took: Duration::from_millis(1250) },
            Event::TaskFailed { task: TASK, reason: "step hash failed" },
            Event::Note("interrupted"),
        ]
    }

    #[test]
    fn every_event_is_one_line() {
        let page = Page::default();
        let progress = Progress::lines(&plan(), Box::new(page.clone()));
        events().into_iter().for_each(|event| progress.show(event));
        progress.finish();
        let text = String::from_utf8(page.0.lock().clone()).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once("s  ").unwrap().1).collect();
        assert_eq!(
            lines,
            [
                "walk  started, 3 steps",
                "walk  taken up, 2 of 3 steps done before",
                "walk  done before, all 3 steps",
                "walk  failed before, with 1 of 3 steps done",
                "walk  step hash started",
                "walk  step hash failed: exit 75 (attempt 1, will be retried)",
                "walk  step hash started, attempt 2",
                "walk  step hash failed: timed out after 5.0 s (attempt 2, no retry left)",
                "walk  step hash completed (exit 0, 45 ms)",
                "walk  child runner restarted: panicked: chaos",
                "walk  pod restarted: too many restarts",
                "walk  completed in 1.2 s",
                "walk  failed: step hash failed",
                "      interrupted",
            ]
        );
    }

    #[test]
    fn a_closed_pipe_stops_nothing() {
        let progress = Progress::lines(&plan(), Box::new(Closed));
        events().into_iter().for_each(|event| progress.show(event));
        progress.finish();
    }

    #[test]
    fn bars_follow_the_steps() {
        let progress = Progress::bars(&plan(), ProgressDrawTarget::hidden());
        let View::Bars(bars) = &progress.view else { panic!("bars were asked for") };
        progress.show(Event::TaskStarted { task: TASK, done: 1, total: 3 });
        progress.show(Event::StepCompleted { task: TASK, step: "hash", took: Duration::ZERO });
        assert_eq!(bars.overall.position(), 2);
        assert_eq!(bars.tasks.lock()[TASK].position(), 2);
        progress.show(Event::TaskCompleted { task: TASK, took: Duration::ZERO });
        assert!(bars.tasks.lock().is_empty());
        // What comes late, or for a task that has no bar, is no panic.
        progress.show(Event::StepCompleted { task: TASK, step: "hash", took: Duration::ZERO });
        progress.show(Event::TaskFailed { task: "nobody", reason: "x" });
        progress.finish();
    }
}
